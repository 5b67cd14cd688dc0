"""The plan gives every repository its pace; another fleet or other limits make it anew."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.domain.allowance import Limits
from app.domain.errors import ForgeUnavailable
from app.domain.plan import Probing
from app.domain.refs import RefFilter
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.forges.probe import Probe
from app.services import planner
from app.services.catalog import Catalog
from app.services.planner import Planner, owner_of, plan_for, seen_by
from app.services.prober import Prober
from app.services.scheduler import Call
from app.settings.types import Forge
from app.storage.records import PollRecord
from tests.fakes.clock import FakeClock
from tests.fakes.probe import FakeProbe
from tests.fakes.store import FENCE, FakeStore

GITHUB = Forge(
    "github", "github", "https://github.com", "https://api.github.com", tokens=(Secret("t"),)
)
GIT = Forge("git", "git", "", None)
CEILING = timedelta(minutes=15)
PLENTY = Limits(3600, 648, 3600, 1440)
SCARCE = Limits(3600, 12, 0, 0, 3600)  # 12 requests a minute, and one a second by git


def repositories(count: int, owner: str = "acme") -> list[Repository]:
    return [
        Repository(f"{owner}/r{n}", f"https://github.com/{owner}/r{n}", forge="github")
        for n in range(count)
    ]


class Scene:
    """A planner with its surroundings."""

    def __init__(self, watched: Sequence[Repository], limits: Limits) -> None:
        self.clock = FakeClock()
        self.catalog = Catalog(FakeStore(), now=self.clock, fence=FENCE)
        self.catalog.load(watched)
        self.granted = limits
        self.way = "rest"
        self.spared: frozenset[str] = frozenset()
        self.probe = FakeProbe(lambda repository: repository.url)
        self.made: list[tuple[Probing, str]] = []
        self.brought: dict[int, datetime] = {}
        self.seats: dict[int, datetime] = {}
        self.prober = Prober(
            catalog=self.catalog,
            probe_for=self._make,
            wake=lambda _: None,
            now=self.clock,
            timeout=timedelta(seconds=10),
        )
        self.planner = Planner(
            catalog=self.catalog,
            settings={"github": GITHUB, "git": GIT},
            forges=self,
            prober=self.prober,
            probes=self,
            polls=self,
            now=self.clock,
            ceiling=CEILING,
        )

    # The forges.

    def limits(self, forge_name: str, /) -> Limits:
        return self.granted

    def way_of(self, repository: Repository, /) -> str:
        return self.way

    def spare(self, forge_name: str, urls: frozenset[str], /) -> None:
        self.spared = urls

    def _make(self, forge: str, probing: Probing, key: str) -> Probe:
        self.made.append((probing, key))
        return self.probe

    # The seats of probes, and those of repositories.

    def add(self, number: int, /, *, due_at: datetime, wait: timedelta, reason: str) -> None:
        self.seats[number] = due_at

    def remove(self, number: int, /) -> None:
        del self.seats[number]

    def start(self) -> None:
        pass

    def bring(self, repository_id: int, at: datetime, /) -> bool:
        self.brought[repository_id] = at
        return True

    # What happens.

    def ask(self) -> None:
        for number in self.seats:
            self.prober.ask(number, Call("schedule", self.clock()))

    def poll_all(self) -> None:
        for entry in self.catalog.entries():
            watched = replace(entry.watched, digest="d", last_poll_at=self.clock())
            number = watched.id
            record = PollRecord(number, self.clock(), 20, "schedule", "unchanged")
            self.catalog.note(watched, record)
            self.planner.polled(number, self.clock())

    def settle(self) -> None:
        self.planner.plan()
        self.ask()
        self.poll_all()
        self.planner.plan()

    def rest(self, number: int) -> tuple[timedelta, str]:
        pace = self.planner.pace(self.catalog.get(number))
        return pace.rest or pace.floor, pace.reason


@pytest.fixture
def listed() -> Scene:
    """Twenty repositories of one owner, more than can be polled one by one."""
    made = Scene(repositories(20), SCARCE)
    made.settle()
    return made


def test_a_few_repositories_keep_their_own_pace() -> None:
    scene = Scene(repositories(3), PLENTY)
    scene.settle()

    assert scene.rest(1) == (timedelta(seconds=15), "")
    assert (scene.made, scene.spared) == ([], frozenset())
    assert scene.planner.plans()["github"].is_kept


def test_who_is_covered_is_read_in_full_at_the_ceiling_and_the_reason_says_so(
    listed: Scene,
) -> None:
    assert listed.made == [(Probing.LISTING, "acme")]
    assert listed.rest(1) == (
        timedelta(seconds=870),
        "watched by the list of acme's repositories every 13 s; read in full every 15 min",
    )


def test_a_failed_poll_of_who_is_covered_is_repeated_soon(listed: Scene) -> None:
    assert listed.planner.pace(listed.catalog.get(1)).floor == timedelta(seconds=15)


def test_until_a_probe_covers_them_repositories_are_polled_by_what_is_left_over() -> None:
    scene = Scene(repositories(20), SCARCE)
    scene.planner.plan()

    rest, reason = scene.rest(1)

    assert timedelta(seconds=15) < rest < CEILING
    assert reason.endswith("until the list of acme's repositories shows it")


def test_when_a_probe_fails_its_repositories_are_brought_forward_one_after_the_other(
    listed: Scene,
) -> None:
    listed.probe.error = ForgeUnavailable("timed out after 10 s")
    listed.ask()
    listed.planner.plan()

    rest, _ = listed.rest(1)
    moments = sorted(listed.brought.values())

    assert sorted(listed.brought) == list(range(1, 21))
    assert rest < CEILING
    assert moments[-1] == listed.clock() + rest
    assert len(set(moments)) == 20
    assert listed.catalog.get(1).watched.next_poll_at == listed.brought[1]


def test_when_a_probe_fails_again_and_again_another_way_is_planned(listed: Scene) -> None:
    listed.granted = replace(SCARCE, graphql_per_hour=3600.0, graphql_per_minute=1440.0)
    listed.planner.plan()
    listed.probe.error = ForgeUnavailable("timed out after 10 s")
    for _ in range(3):
        listed.ask()
    listed.planner.plan()
    listed.planner.plan()
    during = {group.probing for group in listed.planner.plans()["github"].groups}
    listed.probe.error = None
    listed.clock.go(minutes=11)
    listed.planner.plan()
    after = {group.probing for group in listed.planner.plans()["github"].groups}

    assert Probing.LISTING not in during
    assert Probing.BATCH in during
    assert after == {Probing.LISTING}


def test_who_does_not_show_in_a_list_is_polled_alone(listed: Scene) -> None:
    hidden = listed.catalog.get(7).repository.url
    listed.probe.hides = {hidden}
    listed.ask()
    listed.ask()
    listed.planner.hurry()
    listed.planner.plan()

    alone = [g for g in listed.planner.plans()["github"].groups if g.probing is Probing.NONE]

    assert [group.members for group in alone] == [(7,)]
    assert listed.rest(7) == (timedelta(seconds=15), "")


def test_a_stretched_pace_says_why() -> None:
    tags = RefFilter(("*",), wants_pulls=True)  # in no list
    watched = [replace(one, refs=tags) for one in repositories(20)]
    scene = Scene(watched, replace(SCARCE, git_per_hour=0.0))
    scene.settle()

    rest, reason = scene.rest(1)

    assert rest > timedelta(seconds=90)
    assert reason.endswith("for which the forge's allowance suffices")
    assert not scene.planner.plans()["github"].is_kept


def test_who_may_be_polled_more_often_is_brought_forward_one_after_the_other() -> None:
    watched = [replace(one, refs=RefFilter(("*",), wants_pulls=True)) for one in repositories(20)]
    scene = Scene(watched, replace(SCARCE, git_per_hour=0.0))
    scene.settle()
    slow, _ = scene.rest(1)
    for number in range(1, 21):
        late = number > 2
        scene.catalog.replan(number, scene.clock() + (slow if late else timedelta(0)), "slowly")
    (failed,) = [entry.watched for entry in scene.catalog.entries() if entry.watched.id == 20]
    record = PollRecord(20, scene.clock(), 20, "schedule", "failed")
    scene.catalog.note(replace(failed, failures=3), record)

    scene.granted = replace(PLENTY, git_per_hour=0.0)
    scene.planner.plan()

    rest, _ = scene.rest(1)
    moments = [scene.brought[number] for number in range(3, 20)]
    assert rest < slow
    assert sorted(scene.brought) == list(range(3, 20))
    assert len(set(moments)) == 17
    assert scene.clock() < min(moments) < max(moments) == scene.clock() + rest


def test_a_plan_lasts_until_something_changes(listed: Scene) -> None:
    first = listed.planner.plans()["github"]
    listed.planner.plan()
    listed.clock.go(seconds=70)
    listed.planner.plan()
    same = listed.planner.plans()["github"]
    listed.granted = PLENTY
    listed.planner.plan()

    assert same is first
    assert {g.probing for g in listed.planner.plans()["github"].groups} == {Probing.NONE}
    assert listed.seats == {}


def test_a_defect_in_planning_leaves_everyone_their_own_pace(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(planner, "plan_for", break_down)
    scene = Scene(repositories(20), SCARCE)
    scene.planner.plan()

    assert scene.rest(1) == (timedelta(seconds=15), "")
    assert [record.message for record in caplog.records] == ["planning broke"]


def test_a_way_that_is_set_aside_for_a_while_turns_no_plan_over(listed: Scene) -> None:
    first = listed.planner.plans()["github"]
    listed.way = "ls-refs"
    listed.clock.go(seconds=70)
    listed.planner.plan()

    assert listed.planner.plans()["github"] is first


def test_a_paused_repository_is_in_no_plan(listed: Scene) -> None:
    listed.catalog.pause(1, listed.clock())
    listed.planner.hurry()
    listed.planner.plan()

    members = {n for g in listed.planner.plans()["github"].groups for n in g.members}

    assert members == set(range(2, 21))


def test_a_forge_without_repositories_has_no_plan(listed: Scene) -> None:
    listed.catalog.load([])
    listed.planner.hurry()
    listed.planner.plan()

    assert listed.planner.plans() == {}


def test_what_git_is_to_read_is_told_to_the_forges() -> None:
    scene = Scene(repositories(500), replace(SCARCE, git_per_hour=60_000.0))
    scene.settle()

    assert len(scene.spared) == 500


def test_without_a_credential_no_probe_sees_anything_and_a_token_is_advised() -> None:
    anonymous = replace(GITHUB, tokens=())
    (one,) = repositories(1)

    plan = plan_for(anonymous, "github", [], Limits(0, 0, 0, 0, 0), ceiling=CEILING)

    assert seen_by(anonymous, one) == frozenset()
    assert seen_by(GITHUB, one) == {Probing.LISTING, Probing.BATCH}
    assert seen_by(None, one) == frozenset()
    assert plan.is_kept


@pytest.mark.parametrize(
    ("url", "forge", "owner"),
    [
        ("https://github.com/Acme/website", GITHUB, "acme"),
        ("https://github.com/acme/website.git", GITHUB, "acme"),
        ("ssh://git@github.com/acme/website.git", GITHUB, "acme"),
        ("https://x.io/scm/acme/r", Forge("x", "gitea", "https://x.io/scm", None), "acme"),
        ("https://x.io/website", GIT, ""),
        ("/srv/git/website.git", None, ""),
    ],
)
def test_an_owner_is_the_first_part_of_the_path_at_the_forge(
    url: str, forge: Forge | None, owner: str
) -> None:
    assert owner_of(forge, Repository("r", url)) == owner
