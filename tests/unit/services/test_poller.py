"""A turn is noted, explained and followed by the next, however it went."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.domain.cadence import Pace
from app.domain.details import Commit, Details, Person
from app.domain.errors import (
    ForgeBusy,
    ForgeDenied,
    ForgeRateLimited,
    ForgeUnavailable,
    InputInvalid,
    StorageUnavailable,
)
from app.domain.event import Event
from app.domain.paths import PathFilter
from app.domain.repository import Repository
from app.forges.client import RefsReply
from app.services import catalog
from app.services.branch_monitor import BranchMonitor
from app.services.catalog import Catalog, Entry
from app.services.poller import ONCE_MORE, Paces, Poller
from app.services.scheduler import Call, NextCall
from app.settings.types import Receiver
from app.storage.records import PollRecord, Watched
from tests.fakes.clock import FakeClock
from tests.fakes.git_client import FakeGitClient
from tests.fakes.store import FENCE, FakeStore, some_refs

WEBSITE = Repository("acme/website", "https://git.example.com/acme/website", receivers=("ci",))
FLOOR = WEBSITE.interval


class Scene:
    """A poller with its surroundings, and what it told."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.clock = FakeClock()
        self.client = FakeGitClient(some_refs(main="a1"))
        self.catalog = Catalog(self.store, now=self.clock, fence=FENCE)
        self.catalog.load([WEBSITE])
        self.found_events: list[Event] = []
        self.break_down = False
        self.owed = 0
        self.told: list[tuple[str, int]] = []  # what is to be described, and how much was owed
        self.losses = 0
        self.watched_for = timedelta(minutes=10)
        self.polled_at: list[datetime] = []
        self.poller = self.new_poller()

    def new_poller(self, paces: Paces | None = None) -> Poller:
        return Poller(
            catalog=self.catalog,
            monitor=BranchMonitor(
                store=self.store,
                client_for=lambda repository: self.client,
                receivers={"ci": Receiver("ci", "https://ci.example.com/", changes=("updated",))},
                now=self.clock,
                fence=FENCE,
                timeout=timedelta(seconds=10),
            ),
            observers=(self,),
            describe=self._describe,
            owed=self._owe,
            lease_lost=self._lose,
            now=self.clock,
            chance=lambda: 0.5,
            ceiling=timedelta(minutes=15),
            timeout=timedelta(seconds=10),
            paces=paces,
        )

    def pace(self, entry: Entry, /) -> Pace:
        return Pace(FLOOR, timedelta(minutes=15), rest=self.watched_for, reason="watched")

    def polled(self, repository_id: int, started_at: datetime, /) -> None:
        self.polled_at.append(started_at)

    def found(self, repository: Repository, event: Event) -> None:
        if self.break_down:
            raise RuntimeError("a defect")
        self.found_events.append(event)

    def _describe(self, repository: Repository, events: Sequence[Event]) -> None:
        self.told.extend((event.ref, self.owed) for event in events)

    def _owe(self) -> None:
        self.owed += 1

    def _lose(self) -> None:
        self.losses += 1

    def poll(self, reason: str = "schedule") -> NextCall:
        return self.poller.poll(1, Call(reason, self.clock()))

    def push(self, at: str) -> None:
        self.client.refs = dict(some_refs(main=at))
        self.client.etag += "x"

    @property
    def standing(self) -> Watched:
        return self.catalog.get(1).watched

    @property
    def last(self) -> PollRecord:
        last = self.catalog.wait_for_poll(1, since=self.clock.at - timedelta(days=1), wait_s=0)
        assert last is not None
        return last


@pytest.fixture
def scene() -> Scene:
    made = Scene()
    made.poll("start")
    return made


def test_what_a_receiver_is_owed_is_described_before_it_is_sent_and_nothing_else_is(
    scene: Scene,
) -> None:
    scene.client.refs = dict(some_refs(main="b2", new="b2"))
    scene.client.etag += "x"

    scene.poll()

    assert [event.ref for event in scene.found_events] == ["refs/heads/main", "refs/heads/new"]
    assert scene.told == [("refs/heads/main", 0)]
    assert scene.owed == 1


def test_an_unchanged_poll_is_noted_and_followed_after_the_interval(scene: Scene) -> None:
    scene.clock.go(seconds=15)

    follow = scene.poll()

    assert follow == NextCall(scene.clock() + FLOOR, FLOOR, "schedule")
    assert scene.last.outcome == "unchanged"
    assert scene.standing.next_poll_reason == "every 15 s"
    assert scene.owed == 0


def test_a_change_is_told_to_the_dispatcher_and_the_observers(scene: Scene) -> None:
    scene.push("b2")

    scene.poll()

    assert scene.owed == 1
    assert [event.ref for event in scene.found_events] == ["refs/heads/main"]
    assert (scene.last.outcome, scene.last.changes) == ("changed", 1)


def test_failures_double_the_wait_and_success_ends_them(scene: Scene) -> None:
    scene.client.error = ForgeUnavailable("timed out after 10 s")
    waits = [scene.poll().wait for _ in range(5)]
    failed = scene.standing
    scene.client.error = None

    recovered = scene.poll()

    assert waits == [FLOOR * times * 1.05 for times in (2, 4, 8, 8, 8)]
    assert (failed.failures, failed.error_code) == (5, "forge_unavailable")
    assert failed.error_since == scene.clock()
    assert recovered.wait == FLOOR
    assert scene.standing.error_code is None


def test_a_refused_repository_is_asked_ever_more_rarely(scene: Scene) -> None:
    scene.client.error = ForgeDenied("404: no such repository, or no access to it")

    waits = [scene.poll().wait for _ in range(9)]

    assert waits[-1] == timedelta(minutes=15) * 1.05


def test_a_failure_is_told_once_and_so_is_its_end(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    for error in (
        ForgeUnavailable("timed out after 10 s"),
        ForgeUnavailable("connection refused"),
        ForgeDenied("404: no such repository, or no access to it"),
        None,
        None,
    ):
        scene.client.error = error
        scene.poll()

    assert [(r.levelname, r.message, getattr(r, "code", None)) for r in caplog.records] == [
        ("WARNING", "poll failed", "forge_unavailable"),
        ("WARNING", "poll failed", "forge_denied"),
        ("WARNING", "poll works again", None),
    ]


def test_a_failure_that_lasts_is_told_again_after_a_start(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.client.error = ForgeUnavailable("timed out after 10 s")
    scene.poll()
    caplog.clear()

    scene.poller = scene.new_poller()
    scene.poll("start")

    assert scene.standing.failures == 2
    assert [record.message for record in caplog.records] == ["poll failed"]


def test_a_rate_limit_is_waited_out(scene: Scene) -> None:
    reset_at = scene.clock() + timedelta(minutes=40)
    scene.client.error = ForgeRateLimited("spent", reset_at=reset_at)

    follow = scene.poll()

    assert reset_at <= follow.at <= reset_at + timedelta(minutes=4)
    assert scene.standing.next_poll_reason == "the forge's rate limit resets then"


def test_a_database_that_fails_costs_a_poll_and_no_change(scene: Scene) -> None:
    scene.push("b2")
    scene.store.is_down = True
    scene.poll()
    failed = scene.last.error_code
    scene.store.is_down = False

    scene.poll()

    assert failed == StorageUnavailable.code
    assert len(scene.found_events) == 1


def test_a_defect_is_a_failed_poll_and_not_a_repository_that_looks_well(scene: Scene) -> None:
    scene.client.error = UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    follow = scene.poll()

    assert follow.wait > FLOOR
    assert (scene.last.outcome, scene.last.error_code) == ("failed", "internal")
    assert scene.last.error_message == "a defect of this program (UnicodeEncodeError); see the log"
    assert scene.standing.failures == 1


def test_a_change_is_noted_although_an_observer_broke(scene: Scene) -> None:
    scene.push("b2")
    scene.break_down = True
    with pytest.raises(RuntimeError):
        scene.poll()
    scene.break_down = False

    scene.poll()

    assert scene.standing.sequence == 1
    assert scene.last.outcome == "unchanged"
    assert len(scene.store.events) == 1


def test_a_lost_lease_ends_the_polling(scene: Scene) -> None:
    scene.push("b2")
    scene.store.fence += 1

    scene.poll()

    assert scene.losses == 1
    assert scene.found_events == []


def test_what_is_found_after_a_pause_of_ours_is_marked(scene: Scene) -> None:
    scene.push("b2")
    scene.clock.go(hours=1)

    scene.poll("start")

    assert scene.found_events[0].catch_up


def test_what_is_found_after_an_outage_of_the_forge_is_not_our_pause(scene: Scene) -> None:
    scene.client.error = ForgeUnavailable("502")
    for _ in range(6):
        scene.clock.at = scene.poll().at
    scene.client.error = None
    scene.push("b2")

    scene.poll()

    assert not scene.found_events[0].catch_up


def test_notes_are_flushed_together_and_kept_while_the_database_is_down(scene: Scene) -> None:
    scene.poll()
    scene.store.is_down = True
    with pytest.raises(StorageUnavailable):
        scene.catalog.flush()
    scene.poll()
    scene.store.is_down = False

    scene.catalog.flush()
    scene.catalog.flush()

    assert len(scene.store.records) == 3
    assert len(scene.store.states) == 1


def test_notes_that_can_never_be_written_are_dropped_and_hold_no_others_up(scene: Scene) -> None:
    scene.poll()
    scene.store.refuses = True
    with pytest.raises(InputInvalid):
        scene.catalog.flush()
    scene.store.refuses = False
    scene.poll()

    scene.catalog.flush()

    assert len(scene.store.records) == 1


def test_a_long_outage_of_the_database_keeps_only_the_newest_notes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "MOST_RECORDS", 10)
    scene.store.is_down = True
    for _ in range(12):
        scene.clock.go(seconds=15)
        scene.poll()
        with pytest.raises(StorageUnavailable):
            scene.catalog.flush()
    scene.store.is_down = False

    scene.catalog.flush()

    assert len(scene.store.records) == 10
    assert scene.store.records[-1] == scene.last


def test_a_poll_that_was_told_of_something_asks_for_what_came_back(scene: Scene) -> None:
    for reason in ("schedule", "retry", "start", "slot"):
        scene.poll(reason)
    assert scene.client.log_asked_since == []

    for reason in ("probe", "hook", "wake"):
        scene.poll(reason)

    assert len(scene.client.log_asked_since) == 3
    assert scene.client.urgencies == [False] * 6 + [True] * 2


def test_what_was_described_on_the_way_is_not_asked_again() -> None:
    scene = Scene()
    scene.catalog.load([replace(WEBSITE, paths=PathFilter(("src/**",)))])
    ada = Person("Ada", "ada@example.com")
    commit = Commit("b2", "x", ada, ada, scene.clock(), added=("src/a",), modified=(), removed=())
    scene.client.details = Details((commit,), total=1, forced=False)
    scene.poll("start")
    scene.push("b2")

    scene.poll()

    assert [event.name for event in scene.found_events] == ["main"]
    assert scene.told == []


def test_a_poll_that_must_wait_for_its_slot_is_no_poll_and_no_failure(scene: Scene) -> None:
    before, last = scene.standing, scene.last
    scene.client.error = ForgeBusy("its turn comes", at=scene.clock() + timedelta(seconds=4))

    follow = scene.poll("schedule")

    assert (follow.at - scene.clock(), follow.reason) == (timedelta(seconds=4), "slot")
    assert scene.last == last
    assert (scene.standing.failures, scene.standing.last_poll_at) == (0, before.last_poll_at)
    assert scene.standing.next_poll_at == follow.at
    assert scene.standing.next_poll_reason == "waits for its slot in the forge's allowance"


@pytest.mark.parametrize("reason", ["wake", "hook", "probe"])
def test_who_waits_for_a_slot_is_still_awaited(scene: Scene, reason: str) -> None:
    scene.client.error = ForgeBusy("its turn comes", at=scene.clock() - timedelta(seconds=1))

    follow = scene.poll(reason)

    assert follow.reason == reason
    assert follow.at > scene.clock()


@pytest.mark.parametrize("reason", ["hook", "probe"])
def test_a_move_that_was_told_of_and_is_not_seen_is_looked_for_once_more(
    scene: Scene, reason: str
) -> None:
    first = scene.poll(reason)
    said = scene.standing.next_poll_reason
    second = scene.poll(first.reason)
    third = scene.poll(reason)

    assert (first.at - scene.clock(), first.reason) == (ONCE_MORE, reason)
    assert said == f"once more, since a {reason} told of a move"
    assert (second.wait, second.reason) == (FLOOR, "schedule")
    assert third.at - scene.clock() == ONCE_MORE


def test_a_move_that_was_told_of_and_seen_is_believed(scene: Scene) -> None:
    scene.push("b2")

    assert scene.poll("probe") == NextCall(scene.clock() + FLOOR, FLOOR, "schedule")


def test_who_is_watched_otherwise_rests_until_a_poll_fails(scene: Scene) -> None:
    poller = scene.new_poller(paces=scene)
    rested = poller.poll(1, Call("schedule", scene.clock()))
    reason = scene.standing.next_poll_reason
    scene.client.error = ForgeUnavailable("timed out after 10 s")
    failed = poller.poll(1, Call("schedule", scene.clock()))

    assert (rested.wait, reason) == (timedelta(minutes=10), "watched")
    assert failed.wait == FLOOR * 2 * 1.05
    assert scene.polled_at == [scene.clock()]


def test_what_is_learned_beside_polls_is_written_without_one(scene: Scene) -> None:
    scene.catalog.flush()
    scene.catalog.learn(1, {"is_archived": True})
    scene.catalog.replan(1, scene.clock(), "soon")
    scene.catalog.learn(9, {"is_archived": True})
    scene.catalog.replan(9, scene.clock(), "soon")
    scene.catalog.flush()

    state = scene.store.states[-1]
    assert (state.facts, state.next_poll_reason) == ({"is_archived": True}, "soon")
    assert len(scene.store.records) == 1


def test_what_is_learned_in_the_course_of_a_poll_is_not_undone_by_its_end(scene: Scene) -> None:
    scene.catalog.learn(1, {"is_archived": False})
    begun = scene.catalog.get(1).watched
    scene.poll()
    scene.catalog.flush()
    record = scene.store.records[-1]

    scene.catalog.learn(1, {"is_archived": True})
    scene.catalog.note(replace(begun, facts={**begun.facts, "moved_to": "https://x/y"}), record)

    facts = scene.catalog.get(1).watched.facts
    assert facts == {"is_archived": True, "moved_to": "https://x/y"}
    scene.catalog.note(replace(begun, facts={"moved_to": None}), record)
    assert scene.catalog.get(1).watched.facts == {"is_archived": True}


def test_where_a_probe_finds_a_repository_in_the_course_of_a_poll_is_not_undone_by_its_end(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.catalog.learn(1, {"moved_to": "https://x/y"})
    ask = scene.client.list_refs

    def told_meanwhile(*told: Any, **named: Any) -> RefsReply:
        scene.catalog.learn(1, {"moved_to": None})
        return ask(*told, **named)

    monkeypatch.setattr(scene.client, "list_refs", told_meanwhile)
    scene.poll()

    assert scene.catalog.get(1).watched.facts == {}
