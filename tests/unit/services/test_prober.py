"""Probes wake what moved, cover whom they show, and cover nobody when they fail or are late."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.domain.errors import (
    ForgeBusy,
    ForgeDenied,
    ForgeRateLimited,
    ForgeSignInRefused,
    ForgeUnavailable,
)
from app.domain.plan import ForgePlan, Group, Probing
from app.domain.repository import Repository
from app.forges.client import HERE
from app.forges.probe import Facts, Probe
from app.services.catalog import Catalog
from app.services.prober import LONGEST_WAIT, Prober
from app.services.scheduler import Call, NextCall
from app.storage.records import PollRecord
from tests.fakes.clock import NOON, FakeClock
from tests.fakes.probe import FakeProbe
from tests.fakes.store import FENCE, FakeStore

EVERY = timedelta(seconds=13)
A_QUARTER = timedelta(minutes=15)
WEBSITE = Repository("acme/website", "https://github.com/acme/website", forge="github")
DOCS = Repository("acme/docs", "https://github.com/acme/docs", forge="github")
SITE, MANUAL = 1, 2  # their numbers


class Seats:
    """Notes who has a seat, and since when."""

    def __init__(self) -> None:
        self.due: dict[int, datetime] = {}
        self.has_started = False

    def add(self, number: int, /, *, due_at: datetime, wait: timedelta, reason: str) -> None:
        self.due[number] = due_at

    def remove(self, number: int, /) -> None:
        del self.due[number]

    def start(self) -> None:
        self.has_started = True


class Scene:
    """A prober with one probe for the list of acme's repositories."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = FakeStore()
        self.catalog = Catalog(self.store, now=self.clock, fence=FENCE)
        self.catalog.load([WEBSITE, DOCS])
        self.heads = {WEBSITE.url: "a1", DOCS.url: "a1"}
        self.made: list[tuple[str, Probing, str]] = []
        self.probe = FakeProbe(lambda repository: self.heads[repository.url])
        self.woken: list[int] = []
        self.seats = Seats()
        self.prober = Prober(
            catalog=self.catalog,
            probe_for=self._make,
            wake=self.woken.append,
            now=self.clock,
            timeout=timedelta(seconds=10),
        )
        self.follow(SITE, MANUAL)

    def _make(self, forge: str, probing: Probing, key: str) -> Probe | None:
        self.made.append((forge, probing, key))
        return self.probe if forge == "github" else None

    def follow(self, *members: int, probing: Probing = Probing.LISTING, key: str = "acme") -> None:
        group = Group(probing, key, members, EVERY, A_QUARTER)
        self.prober.follow([ForgePlan("github", (group,))], self.seats)

    def ask(self, reason: str = "schedule") -> NextCall:
        (number,) = self.seats.due
        return self.prober.ask(number, Call(reason, self.clock()))

    def poll(self, *numbers: int) -> None:
        """Note that these were polled, and all was well."""
        for number in numbers:
            watched = replace(
                self.catalog.get(number).watched, digest="d", last_poll_at=self.clock()
            )
            record = PollRecord(number, self.clock(), 20, "schedule", "unchanged")
            self.catalog.note(watched, record)
            self.prober.polled(number, self.clock())

    def settle(self) -> None:
        """Ask for the first time, and poll everything after it."""
        self.ask()
        self.clock.go(seconds=1)
        self.poll(SITE, MANUAL)

    def covered(self) -> list[int]:
        assert self.prober.covered() == {n for n in (SITE, MANUAL) if self.prober.is_covered(n)}
        return sorted(self.prober.covered())


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_probe_covers_who_was_polled_after_it_began_to_look(scene: Scene) -> None:
    before = scene.covered()
    scene.poll(SITE, MANUAL)
    scene.clock.go(seconds=1)
    scene.ask()
    at_first = scene.covered()
    scene.clock.go(seconds=1)
    scene.poll(SITE)

    assert (before, at_first, scene.covered()) == ([], [], [SITE])
    assert scene.woken == []


def test_what_moved_is_woken_and_nothing_else(scene: Scene) -> None:
    scene.settle()
    scene.heads[DOCS.url] = "b2"
    scene.clock.go(seconds=13)

    follow = scene.ask()

    assert scene.woken == [MANUAL]
    assert follow == NextCall(scene.clock() + EVERY, EVERY)


def test_a_start_wakes_only_what_was_pushed_to_since_its_last_poll(scene: Scene) -> None:
    scene.poll(SITE, MANUAL)
    scene.clock.go(minutes=20)
    scene.probe.facts = {
        WEBSITE.url: Facts(pushed_at=NOON - timedelta(days=3)),
        DOCS.url: Facts(pushed_at=NOON + timedelta(minutes=10)),
    }

    scene.ask()

    assert scene.woken == [MANUAL]
    assert scene.covered() == [SITE]


def test_who_was_never_polled_is_not_covered_however_long_ago_it_was_pushed_to(
    scene: Scene,
) -> None:
    scene.probe.facts = {WEBSITE.url: Facts(pushed_at=NOON - timedelta(days=3))}

    scene.ask()

    assert (scene.woken, scene.covered()) == ([], [])


def test_a_probe_that_fails_covers_nobody_and_says_so_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.settle()
    scene.probe.error = ForgeUnavailable("timed out after 10 s")
    waits = [scene.ask().wait for _ in range(5)]
    failing = scene.covered()
    (health,) = scene.prober.healths()
    scene.probe.error = None
    scene.ask()

    assert failing == []
    assert waits == [EVERY, EVERY * 2, EVERY * 4, LONGEST_WAIT, LONGEST_WAIT]
    assert (health.covered, health.error) == (0, "timed out after 10 s")
    assert scene.covered() == [SITE, MANUAL]
    assert [record.message for record in caplog.records] == ["probe failed", "probe works again"]


def test_what_moved_while_a_probe_failed_is_woken_when_it_works_again(scene: Scene) -> None:
    scene.settle()
    scene.probe.error = ForgeUnavailable("timed out after 10 s")
    scene.ask()
    scene.heads[WEBSITE.url] = "b2"
    scene.probe.error = None

    scene.ask()

    assert scene.woken == [SITE]


def test_a_probe_that_is_late_covers_nobody(scene: Scene) -> None:
    scene.settle()
    scene.clock.go(seconds=3 * 13 - 2)
    on_time = scene.covered()
    scene.clock.go(seconds=2)

    assert (on_time, scene.covered()) == ([SITE, MANUAL], [])


def test_a_probe_that_waits_for_its_slot_has_not_failed(scene: Scene) -> None:
    scene.settle()
    scene.probe.error = ForgeBusy("its turn comes", at=scene.clock() + timedelta(seconds=4))

    follow = scene.ask()

    assert (follow.at, follow.reason) == (scene.clock() + timedelta(seconds=4), "slot")
    assert scene.covered() == [SITE, MANUAL]


def test_a_spent_allowance_is_waited_out(scene: Scene) -> None:
    reset_at = scene.clock() + timedelta(minutes=40)
    scene.probe.error = ForgeRateLimited("spent", reset_at=reset_at)

    assert scene.ask().at == reset_at


def test_a_defect_of_a_probe_costs_its_cover_and_no_more(scene: Scene) -> None:
    scene.settle()
    scene.heads.clear()

    follow = scene.ask()

    assert (scene.covered(), follow.wait) == ([], EVERY)


def test_who_is_not_shown_is_told_to_the_planner_after_a_second_look(scene: Scene) -> None:
    scene.probe.hides = {DOCS.url}
    scene.settle()
    at_first = scene.prober.unseen()
    scene.ask()

    assert scene.covered() == [SITE]
    assert (at_first, scene.prober.unseen()) == ({}, {Probing.LISTING: {MANUAL}})


def test_a_probe_that_fails_again_and_again_is_told_to_the_planner(scene: Scene) -> None:
    scene.probe.error = ForgeUnavailable("timed out after 10 s")
    scene.ask()
    scene.ask()
    at_first = scene.prober.failing()
    scene.ask()

    assert (at_first, scene.prober.failing()) == ({}, {Probing.LISTING: {SITE, MANUAL}})


def test_a_probe_that_is_denied_shows_nobody_and_one_without_a_sign_in_may_yet(
    scene: Scene,
) -> None:
    scene.probe.error = ForgeDenied("404: no such organisation")
    scene.ask()
    denied = scene.prober.unseen()
    scene.probe.error = ForgeSignInRefused("401: Bad credentials")
    scene.ask()

    assert denied == {Probing.LISTING: {SITE, MANUAL}}
    assert scene.prober.unseen() == {}


def test_a_paused_repository_is_not_asked_about(scene: Scene) -> None:
    scene.catalog.pause(MANUAL, scene.clock())

    scene.ask()

    assert scene.probe.asked == [("acme/website",)]


def test_a_new_plan_keeps_the_probe_and_changes_whom_it_covers(scene: Scene) -> None:
    scene.settle()
    scene.follow(SITE)
    fewer = scene.covered()
    scene.follow(SITE, MANUAL)
    scene.ask()

    assert fewer == [SITE]
    assert len(scene.made) == 1
    assert scene.covered() == [SITE]
    assert scene.woken == []


def test_a_probe_that_no_plan_wants_is_asked_no_more(scene: Scene) -> None:
    (number,) = scene.seats.due
    scene.prober.follow([ForgePlan("github")], scene.seats)

    follow = scene.prober.ask(number, Call("schedule", scene.clock()))

    assert scene.seats.due == {}
    assert scene.probe.asked == []
    assert follow.wait >= timedelta(hours=1)


def test_probes_begin_one_after_the_other(scene: Scene) -> None:
    groups = tuple(Group(Probing.BATCH, str(n), (n,), EVERY, A_QUARTER) for n in (SITE, MANUAL))
    scene.prober.follow([ForgePlan("github", groups)], scene.seats)

    assert sorted(scene.seats.due.values()) == [NOON, NOON + EVERY / 2]
    assert scene.seats.has_started


def test_where_there_is_no_probe_nobody_is_covered(scene: Scene) -> None:
    group = Group(Probing.LISTING, "acme", (SITE,), EVERY, A_QUARTER)
    scene.prober.follow([ForgePlan("gitlab", (group,))], scene.seats)

    assert (scene.covered(), scene.prober.healths()) == ([], ())


def test_facts_are_kept_with_the_repository_and_written_down(scene: Scene) -> None:
    new = "https://github.com/acme/site"
    scene.probe.facts = {WEBSITE.url: Facts(moved_to=new, is_archived=True)}
    scene.ask()
    scene.probe.facts = {WEBSITE.url: Facts(is_archived=False)}
    scene.ask()
    scene.poll(SITE)
    scene.catalog.flush()

    assert scene.catalog.get(SITE).watched.facts == {"moved_to": new, "is_archived": False}
    assert scene.store.states[-1].facts == {"moved_to": new, "is_archived": False}


def test_a_repository_that_a_probe_finds_where_it_is_configured_has_moved_no_longer(
    scene: Scene,
) -> None:
    scene.probe.facts = {WEBSITE.url: Facts(moved_to="https://github.com/acme/site")}
    scene.ask()
    begun = scene.catalog.get(SITE)
    scene.probe.facts = {WEBSITE.url: Facts(moved_to=HERE, is_archived=False)}
    scene.ask()

    assert begun.watched.facts
    assert scene.catalog.get(SITE).watched.facts == {"is_archived": False}


def test_each_probes_health_is_told(scene: Scene) -> None:
    scene.settle()
    scene.heads[DOCS.url] = "b2"
    scene.ask()

    (health,) = scene.prober.healths()

    assert (health.name, health.every, health.members, health.covered) == (
        "the list of acme's repositories",
        EVERY,
        2,
        2,
    )
    assert (health.moved, health.requests, health.points, health.error) == (1, 2, 2, None)
    assert health.asked_at == health.answered_at == scene.clock()


def test_how_many_repositories_a_query_takes_is_measured(scene: Scene) -> None:
    scene.follow(SITE, MANUAL, probing=Probing.BATCH, key="1")
    before = scene.prober.batch_size("github", usual=30)
    scene.ask()
    in_one = scene.prober.batch_size("github", usual=30)
    scene.probe.requests = 2
    scene.ask()
    in_two = scene.prober.batch_size("github", usual=30)

    assert (before, in_one, in_two) == (30, 30, 1)
    assert scene.prober.batch_size("elsewhere", usual=30) == 30
