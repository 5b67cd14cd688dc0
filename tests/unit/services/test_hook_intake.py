"""A webhook wakes the repository that it means, and is written down without anybody waiting."""

import hashlib
import hmac
import json
import logging
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from app.domain.errors import StorageUnavailable
from app.domain.hook import HookChange, Verdict
from app.domain.refs import RefFilter
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.services import hook_intake
from app.services.hook_intake import (
    CHANGES_KEPT,
    FORGED_A_MINUTE,
    MOVED_S,
    HookIntake,
    Outcome,
    Reception,
    Woken,
)
from app.settings.types import Forge
from app.storage.hooks import HookRecord, Received
from tests.fakes.clock import NOON

SECRET = Secret("sesame")
GITHUB = Forge("github", "github", "https://github.com", None, hook_secret=SECRET)
WORK = Forge("work", "gitea", "https://git.example.com", None, hook_secret=SECRET)
DEAF = Forge("deaf", "gitlab", "https://gitlab.com", None)
WEBSITE = Repository("acme/website", "https://github.com/Acme/website.git", "github")
BY_SSH = Repository("acme/keys", "ssh://git@github.com/acme/keys", "git")
TOOLS = Repository("acme/tools", "https://git.example.com/acme/tools", "work")
MAIN = "refs/heads/main"
OLD, NEW = "a" * 40, "b" * 40


class FakeStore:
    """Keeps what is written down, at once, later or not at all."""

    def __init__(self) -> None:
        self.records: list[HookRecord] = []
        self.received: list[Received] = []
        self.taken: list[tuple[list[int], Verdict]] = []
        self.where_moved: dict[str, str] = {}
        self.asked_where = 0
        self.failure: Exception | None = None
        self.is_closed = False
        self.is_slow = False

    def add(self, records: Sequence[HookRecord]) -> "Future[int]":
        if self.is_closed:
            raise StorageUnavailable("closed")
        self.records += records
        done: Future[int] = Future()
        if self.failure is not None:
            done.set_exception(self.failure)
        elif not self.is_slow:
            done.set_result(len(records))
        return done

    def moved(self) -> dict[str, str]:
        self.asked_where += 1
        if self.is_closed:
            raise StorageUnavailable("closed")
        return self.where_moved

    def list_received(self) -> list[Received]:
        return self.received

    def take(
        self, positions: Sequence[int], *, verdict: Verdict, reason: str | None = None
    ) -> None:
        self.taken.append((list(positions), verdict))


class Scene:
    """An intake of two forges, and what it wakes."""

    def __init__(self, *repositories: Repository) -> None:
        self.store = FakeStore()
        self.woken: list[str] = []
        self.answer = Woken.YES
        self.seconds = 100.0
        self.intake = HookIntake(
            store=self.store,
            forges={forge.name: forge for forge in (GITHUB, WORK, DEAF)},
            repositories=repositories or (WEBSITE, BY_SSH, TOOLS),
            wake=self.wake,
            now=lambda: NOON,
            monotonic=lambda: self.seconds,
        )

    def wake(self, name: str) -> Woken:
        self.woken.append(name)
        return self.answer

    def push(
        self,
        url: str = "https://github.com/acme/website",
        *,
        forge: str = "github",
        delivery: str = "1",
        ref: str = MAIN,
        secret: Secret = SECRET,
    ) -> Reception:
        told = {"ref": ref, "before": OLD, "after": NEW, "repository": {"clone_url": url}}
        return self.send(told, forge=forge, delivery=delivery, secret=secret)

    def send(
        self,
        told: Any,
        *,
        forge: str = "github",
        event: str = "push",
        delivery: str = "1",
        secret: Secret = SECRET,
    ) -> Reception:
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        signature = hmac.new(secret.reveal().encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "content-type": "application/json",
            "x-github-event": event,
            "x-github-delivery": delivery,
            "x-hub-signature-256": f"sha256={signature}",
        }
        return self.intake.receive(forge, headers, body)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_only_forges_with_a_secret_are_listened_to(scene: Scene) -> None:
    assert [scene.intake.takes(name) for name in ("github", "work", "deaf", "?")] == [
        *(True, True),
        *(False, False),
    ]


def test_a_push_wakes_its_repository_and_is_written_down(scene: Scene) -> None:
    reception = scene.push()

    assert reception == Reception(Outcome.WOKEN, "polled at once", ("acme/website",))
    assert scene.woken == ["acme/website"]
    (record,) = scene.store.records
    assert (record.verdict, record.delivery, record.forge) == (Verdict.PENDING, "1", "github")
    assert record.change == HookChange(MAIN, OLD, NEW)
    assert scene.intake.told("acme/website") == (HookChange(MAIN, OLD, NEW),)
    assert scene.intake.told("acme/tools") == ()


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/acme/website",
        "https://GitHub.com/Acme/Website.git",
        "git@github.com:acme/website.git",
        "ssh://git@github.com/ACME/website",
        "git://github.com/acme/website.git/",
        "https://user:secret@github.com:443/acme/website.git",
        # Seen by another host from inside, as a Gitea with a wrong ROOT_URL says.
        "http://localhost:3000/acme/website",
    ],
)
def test_a_repository_is_known_in_any_spelling(scene: Scene, url: str) -> None:
    assert scene.push(url).repositories == ("acme/website",)


def test_a_repository_over_ssh_is_woken_by_its_hosts_forge(scene: Scene) -> None:
    assert scene.push("https://github.com/acme/keys").repositories == ("acme/keys",)


@pytest.mark.parametrize("url", ["", "https://[", "/srv/git/x.git", "https://github.com/", "x"])
def test_what_is_no_address_means_no_repository(scene: Scene, url: str) -> None:
    assert scene.push(url).outcome is Outcome.IGNORED


def test_a_forge_wakes_no_other_forges_repositories(scene: Scene) -> None:
    reception = scene.push("https://git.example.com/acme/tools", forge="github")

    assert reception.outcome is Outcome.IGNORED
    assert scene.woken == []


def test_one_that_was_renamed_is_known_by_its_new_name(scene: Scene) -> None:
    scene.store.where_moved = {
        "acme/website": "https://github.com/acme/site",
        "gone": "https://github.com/acme/site",
    }

    assert scene.push("https://github.com/acme/site").repositories == ("acme/website",)
    assert scene.push("https://github.com/x/y", delivery="2").outcome is Outcome.IGNORED
    assert scene.store.asked_where == 1
    scene.seconds += MOVED_S
    assert scene.push("https://github.com/x/y", delivery="3").outcome is Outcome.IGNORED
    assert scene.store.asked_where == 2


def test_the_same_delivery_wakes_once(scene: Scene) -> None:
    outcomes = [scene.push().outcome for _ in range(3)]

    assert outcomes == [Outcome.WOKEN, Outcome.IGNORED, Outcome.IGNORED]
    assert len(scene.store.records) == 1


def test_old_deliveries_are_forgotten(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook_intake, "DELIVERIES_KEPT", 2)

    outcomes = [scene.push(delivery=number).outcome for number in "12312"]

    assert outcomes == [Outcome.WOKEN] * 5


def test_what_is_not_watched_wakes_nothing() -> None:
    narrow = Repository("a/b", "https://github.com/a/b", "github", refs=RefFilter(("release-*",)))
    off = Repository("a/off", "https://github.com/a/off", "github", enabled=False)
    scene = Scene(narrow, off)

    receptions = [
        scene.push("https://github.com/a/b"),
        scene.push("https://github.com/a/off", delivery="2"),
        scene.push("https://github.com/a/b", ref="refs/heads/release-1", delivery="3"),
        scene.send({"action": "opened"}, event="issues", delivery="4"),
    ]

    assert [one.outcome.value for one in receptions] == ["ignored", "ignored", "woken", "ignored"]
    assert scene.woken == ["a/b"]


def test_a_pull_request_wakes_those_who_watch_them() -> None:
    pulls = Repository("pulls", WEBSITE.url, "github", refs=RefFilter(wants_pulls=True))
    scene = Scene(WEBSITE, pulls)
    told = {
        "action": "opened",
        "number": 7,
        "pull_request": {"head": {"sha": NEW}},
        "repository": {"html_url": "https://github.com/acme/website"},
    }

    assert scene.send(told, event="pull_request").repositories == ("pulls",)


def test_two_repositories_at_one_address_are_both_woken() -> None:
    mains = Repository("mains", WEBSITE.url, "github", refs=RefFilter(("main",)))
    scene = Scene(WEBSITE, mains)

    reception = scene.push()

    assert reception.repositories == ("acme/website", "mains")
    assert [record.part for record in scene.store.records] == [0, 1]


def test_a_standby_writes_down_what_the_other_process_shall_act_on(scene: Scene) -> None:
    scene.answer = Woken.ELSEWHERE

    assert scene.push().outcome is Outcome.WOKEN
    assert [record.verdict for record in scene.store.records] == [Verdict.RECEIVED]


def test_a_paused_repository_is_not_woken(scene: Scene) -> None:
    scene.answer = Woken.PAUSED

    assert scene.push().outcome is Outcome.IGNORED
    assert scene.store.records == []


def test_what_another_process_took_is_acted_on(scene: Scene) -> None:
    change = HookChange(MAIN, OLD, NEW)
    scene.store.received = [
        Received(1, "acme/website", change),
        Received(2, "acme/website", change),
        Received(3, None, change),
        Received(4, "acme/tools", None),
    ]

    scene.intake.pick_up()

    assert scene.woken == ["acme/website"]
    assert scene.store.taken == [([1, 2], Verdict.PENDING), ([3, 4], Verdict.IGNORED)]
    assert scene.intake.told("acme/website") == (change, change)


def test_what_was_paused_meanwhile_is_let_go(scene: Scene) -> None:
    scene.store.received = [Received(1, "acme/website", HookChange(MAIN, OLD, NEW))]
    scene.answer = Woken.PAUSED

    scene.intake.pick_up()

    assert scene.store.taken == [([1], Verdict.IGNORED)]


def test_the_forged_are_refused_and_only_some_are_written_down(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    forged = [scene.push(secret=Secret("other")) for _ in range(FORGED_A_MINUTE * 3)]
    at_first = len(scene.store.records)
    scene.seconds += 60
    scene.push(secret=Secret("other"))

    assert {one.outcome for one in forged} == {Outcome.FORGED}
    assert at_first == FORGED_A_MINUTE
    assert len(scene.store.records) == FORGED_A_MINUTE + 1
    assert {record.verdict for record in scene.store.records} == {Verdict.FORGED}
    assert len(caplog.records) == FORGED_A_MINUTE + 1
    assert scene.woken == []


def test_what_is_not_signed_is_said_to_be_so(scene: Scene) -> None:
    assert scene.intake.receive("github", {}, b"{}").note == "it is not signed"


def test_a_ping_and_what_cannot_be_read_are_answered(scene: Scene) -> None:
    assert scene.send({"zen": "."}, event="ping").outcome is Outcome.PING
    assert scene.send(b"{").outcome is Outcome.UNREADABLE
    assert scene.store.records == []


@pytest.mark.parametrize("trouble", ["closed", "failing"])
def test_a_database_in_trouble_costs_the_record_and_not_the_wake(
    scene: Scene, trouble: str
) -> None:
    scene.store.is_closed = trouble == "closed"
    scene.store.failure = StorageUnavailable("it is away") if trouble == "failing" else None

    assert scene.push().outcome is Outcome.WOKEN
    assert scene.push("https://github.com/x/y", delivery="2").outcome is Outcome.IGNORED
    assert scene.woken == ["acme/website"]


def test_a_slow_database_is_not_flooded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook_intake, "MOST_WAITING", 3)
    scene.store.is_slow = True

    for number in range(10):
        scene.push(delivery=str(number))

    assert len(scene.woken) == 10
    assert len(scene.store.records) == 3


def test_little_is_remembered_of_many(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook_intake, "REPOSITORIES_KEPT", 1)
    for number in range(CHANGES_KEPT + 5):
        scene.push(delivery=str(number))

    kept = len(scene.intake.told("acme/website"))
    scene.push("https://git.example.com/acme/tools", forge="work", delivery="x")

    assert kept == CHANGES_KEPT
    assert scene.intake.told("acme/website") == ()


@settings(max_examples=200, deadline=None)
@given(
    body=st.binary(max_size=200) | st.text().map(str.encode),
    event=st.text(st.characters(codec="latin-1"), max_size=20),
    kind=st.sampled_from(["application/json", "application/x-www-form-urlencoded", "é"]),
)
def test_whatever_is_sent_is_answered(body: bytes, event: str, kind: str) -> None:
    scene = Scene()
    signature = hmac.new(b"sesame", body, hashlib.sha256).hexdigest()
    signed = {"x-hub-signature-256": f"sha256={signature}"}

    for headers in ({}, signed):
        scene.intake.receive(
            "github", {**headers, "content-type": kind, "x-github-event": event}, body
        )
