"""A plan asks no more than is granted, keeps what can be kept, and says what cannot."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import timedelta
from math import ceil

import pytest
from hypothesis import given, settings, strategies as st

from app.domain.allowance import Limits, Resource
from app.domain.mix import POLITE_GIT, net
from app.domain.plan import ForgePlan, Group, Member, Probing, make_plan

SEEN = frozenset({Probing.LISTING, Probing.BATCH})
A_QUARTER = timedelta(minutes=15)
IN_FULL = timedelta(seconds=870)  # half a minute ahead of it
# One token at GitHub: 5,000 requests an hour and 900 a minute, 5,000 points; of these the share of
# 80 %, less a tenth of that for people.
ONE_TOKEN = Limits(3600, 648, 3600, 1440)


def fleet(
    count: int,
    owners: int,
    *,
    every_s: float = 15,
    way: str = "rest",
    is_seen: frozenset[Probing] = SEEN,
) -> list[Member]:
    every = timedelta(seconds=every_s)
    return [Member(n, f"owner-{n % owners}", every, way, is_seen) for n in range(count)]


def plan_for(
    members: Sequence[Member],
    limits: Limits = ONE_TOKEN,
    *,
    ceiling: timedelta = A_QUARTER,
    batch: int = 30,
    is_unchanged_free: bool = True,
) -> ForgePlan:
    return make_plan(
        "github",
        members,
        limits,
        ceiling=ceiling,
        batch=batch,
        is_unchanged_free=is_unchanged_free,
    )


def spent(plan: ForgePlan, resource: Resource) -> float:
    return next((one.planned for one in plan.spends if one.resource is resource), 0.0)


def kinds(plan: ForgePlan) -> set[Probing]:
    return {group.probing for group in plan.groups}


def test_a_few_repositories_are_polled_one_by_one() -> None:
    plan = plan_for(fleet(3, 1))

    assert [(g.probing, g.members, g.every) for g in plan.groups] == [
        (Probing.NONE, (0, 1, 2), timedelta(seconds=15))
    ]
    assert plan.is_kept
    assert plan.sentences == (
        (
            "3 repositories are polled one by one, every 15 s: "
            "12 requests a minute in all of the 648 granted."
        ),
    )


def test_ten_thousand_repositories_of_a_hundred_owners_fit_one_token_with_room_to_spare() -> None:
    plan = plan_for(fleet(10_000, 100))

    assert plan.is_kept
    assert kinds(plan) == {Probing.LISTING}
    assert {len(group.members) for group in plan.groups} == {100}
    assert {group.every for group in plan.groups} == {timedelta(seconds=13)}
    assert spent(plan, Resource.REST_MINUTE) / 60 < 0.6 * 900
    assert spent(plan, Resource.REST) < 0.6 * 5000
    assert spent(plan, Resource.GRAPHQL) == 0
    assert all(group.by_git and group.interval == IN_FULL for group in plan.groups)
    assert plan.sentences == (
        (
            "10,000 repositories of 100 owners are watched by their lists, asked every 13 s: "
            "462 requests a minute of the 648 granted."
        ),
        "What is watched so is read in full every 15 min, by git, whatever the answers say.",
    )


def test_repositories_without_a_common_owner_are_asked_about_in_batches() -> None:
    plan = plan_for(fleet(1000, 1000), batch=100)

    assert plan.is_kept
    assert kinds(plan) == {Probing.BATCH, Probing.NONE}
    assert max(len(g.members) for g in plan.groups if g.probing is Probing.BATCH) == 100


def test_a_plan_that_cannot_keep_its_promise_says_what_could() -> None:
    plan = plan_for(fleet(1000, 1000))

    assert not plan.is_kept
    assert plan.sentences[:2] == (
        (
            "1,000 repositories every 15 s need 9,415 points an hour by GraphQL against 3,600; "
            "4,000 requests a minute one by one over REST against 648; "
            "240,000 an hour by git against 60,000."
        ),
        (
            "So each is looked at every 20 s at the latest; that can be kept; "
            "for what is promised it takes 2 such tokens, of different users."
        ),
    )


def test_where_nobody_counts_everything_is_polled_at_its_pace() -> None:
    plan = plan_for(fleet(10_000, 3, way="ls-refs", is_seen=frozenset()), Limits())

    assert plan.is_kept
    assert [group.every for group in plan.groups] == [timedelta(seconds=15)]


def test_what_the_api_does_not_grant_is_read_by_git() -> None:
    anonymous = Limits(43, 648, 0, 0)

    plan = plan_for(fleet(10, 2, is_seen=frozenset()), anonymous, is_unchanged_free=False)

    assert plan.is_kept
    assert all(group.by_git for group in plan.groups)
    assert spent(plan, Resource.GIT) == 2400


@pytest.mark.parametrize("points", [0, 3600])
def test_while_the_api_grants_nothing_unlike_repositories_are_read_by_git_as_promised(
    points: float,
) -> None:
    """What their requests added and took away again once left a crumb, and all waited 12 h."""
    promised = (5, 30, 60, 300, 7, 11)
    members = [
        Member(n, f"owner-{n}", timedelta(seconds=promised[n % 6]), "rest", SEEN) for n in range(50)
    ]

    for count in range(1, len(members)):
        plan = plan_for(members[:count], Limits(0, 0, points, points))

        assert plan.is_kept
        assert all(
            group.every <= members[n].interval for group in plan.groups for n in group.members
        )
        assert "-0" not in " ".join(plan.sentences)


def test_a_higher_priority_is_stretched_less() -> None:
    every = timedelta(seconds=15)
    members = [
        Member(n, "", every, "rest", frozenset(), priority=4.0 if n < 10 else 1.0)
        for n in range(2000)
    ]

    plan = plan_for(members, Limits(3600, 648, 0, 0, 0))
    paces = {number: group.every for group in plan.groups for number in group.members}

    assert every < paces[0] < paces[1999] <= A_QUARTER


def test_where_even_the_ceiling_does_not_fit_all_wait_equally_long_and_it_is_said() -> None:
    plan = plan_for(fleet(20_000, 1, is_seen=frozenset()), Limits(3600, 648, 0, 0, 0))

    (pace,) = {group.every for group in plan.groups}
    assert pace > A_QUARTER
    assert any("longer than max_interval" in sentence for sentence in plan.sentences)


def test_where_nothing_is_granted_nothing_is_planned_and_it_is_said() -> None:
    plan = plan_for(fleet(5, 1), Limits(0, 0, 0, 0, 0))

    assert not plan.is_kept
    assert plan.sentences == (
        "Nothing may be asked of this forge now; every repository is tried again every 15 min.",
    )
    assert all(one.planned == 0 for one in plan.spends)


def test_an_empty_fleet_has_an_empty_plan() -> None:
    plan = plan_for([])

    assert (plan.groups, plan.sentences, plan.is_kept) == ((), (), True)


def test_one_urgent_repository_does_not_make_its_owners_list_dear() -> None:
    urgent = Member(0, "acme", timedelta(seconds=2), "rest", SEEN)
    others = [Member(n, "acme", timedelta(minutes=1), "rest", SEEN) for n in range(1, 1000)]

    plan = plan_for([urgent, *others])

    alone = next(group for group in plan.groups if group.probing is Probing.NONE)
    listed = next(group for group in plan.groups if group.probing is Probing.LISTING)
    assert plan.is_kept
    assert (alone.members, listed.every) == ((0,), timedelta(seconds=58))


def test_ten_thousand_repositories_are_planned_in_no_time() -> None:
    members = fleet(10_000, 100)

    best = min(_took(lambda: plan_for(members)) for _ in range(5))

    assert best < 0.1  # usually 0.008 s


def _took(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


# Whatever the fleet and the limits.

INTERVALS = [timedelta(seconds=s) for s in (1, 5, 15, 16, 60, 300, 3600)]
OWNERS = ["", "a", "b", "c", "d"]


@st.composite
def members_of_any_kind(draw: st.DrawFn) -> list[Member]:
    return [
        Member(
            number,
            draw(st.sampled_from(OWNERS)),
            draw(st.sampled_from(INTERVALS)),
            draw(st.sampled_from(["rest", "ls-refs"])),
            draw(st.sampled_from([frozenset(), SEEN, frozenset({Probing.BATCH})])),
            draw(st.sampled_from([0.5, 1.0, 3.0])),
        )
        for number in range(draw(st.integers(0, 25)))
    ]


def some(most: float) -> st.SearchStrategy[float | None]:
    return st.none() | st.floats(0, most)


LIMITS = st.builds(Limits, some(5000), some(100), some(5000), some(200), some(5000))


def needed(
    plan: ForgePlan, members: Sequence[Member], batch: int, *, free: bool
) -> dict[str, float]:
    """Count anew what a plan asks in an hour, but for what changes cost."""
    found: defaultdict[str, float] = defaultdict(float)
    of = {member.id: member for member in members}
    for group in plan.groups:
        asked = 3600 / group.every.total_seconds()
        if group.probing is Probing.LISTING:
            found["minute"] += asked
            found["rest"] += 0 if free else asked
        elif group.probing is Probing.BATCH:
            found["points"] += ceil(len(group.members) / batch) * asked
        for number in group.members:
            reads = 3600 / group.interval.total_seconds()
            if of[number].way == "rest" and not group.by_git:
                found["minute"] += reads
                found["rest"] += 0 if free else reads
            else:
                found["git"] += reads
    return found


@settings(max_examples=30, deadline=None)
@given(
    members_of_any_kind(),
    LIMITS,
    st.sampled_from([60, 900]),
    st.sampled_from([1, 30, 100]),
    st.booleans(),
)
def test_no_plan_asks_more_than_is_granted(
    members: list[Member], limits: Limits, ceiling_s: int, batch: int, free: bool
) -> None:
    plan = plan_for(
        members,
        limits,
        ceiling=timedelta(seconds=ceiling_s),
        batch=batch,
        is_unchanged_free=free,
    )
    if any("Nothing may be asked" in sentence for sentence in plan.sentences):
        return

    asked = needed(plan, members, batch, free=free)
    counted = limits.rest_per_hour is not None or limits.rest_per_minute is not None
    reads = len(members) * (3600 / net(ceiling_s) + 2 / 24)
    polite = max(POLITE_GIT, reads)
    git = polite if limits.git_per_hour is None and counted else limits.git_per_hour
    for name, granted in (
        ("rest", limits.rest_per_hour),
        ("minute", limits.rest_per_minute and limits.rest_per_minute * 60),
        ("points", limits.graphql_per_hour),
        ("points", limits.graphql_per_minute and limits.graphql_per_minute * 60),
        ("git", git),
    ):
        assert granted is None or asked[name] <= granted * 1.0001 + 1e-6
    for one in plan.spends:
        assert one.granted is None or one.planned <= one.granted * 1.0001


@settings(max_examples=30, deadline=None)
@given(members_of_any_kind(), LIMITS, st.sampled_from([60, 900]))
def test_everyone_is_planned_for_once_and_none_waits_beyond_the_ceiling_unsaid(
    members: list[Member], limits: Limits, ceiling_s: int
) -> None:
    ceiling = timedelta(seconds=ceiling_s)
    plan = plan_for(members, limits, ceiling=ceiling)
    of = {member.id: member for member in members}

    assert sorted(n for group in plan.groups for n in group.members) == sorted(of)
    said = " ".join(plan.sentences)
    for group in plan.groups:
        for number in group.members:
            promised = of[number].interval
            if plan.is_kept:
                assert group.every <= promised
            if "longer than max_interval" not in said and "Nothing may" not in said:
                assert group.interval <= max(ceiling, promised) * 1.001


@settings(max_examples=30, deadline=None)
@given(members_of_any_kind(), LIMITS, st.sampled_from([30, 100]))
def test_what_some_simple_mix_keeps_is_kept(
    members: list[Member], limits: Limits, batch: int
) -> None:
    """All alone, all by git, all listed, all in batches: if one of these does, the promise is."""
    plan = plan_for(members, limits, batch=batch)
    every = {member.id: member.interval for member in members}
    net = {number: max(A_QUARTER, interval) for number, interval in every.items()}

    def alone(*, by_git: bool) -> list[Group]:
        return [
            Group(Probing.NONE, "", (m.id,), m.interval, m.interval, by_git=by_git) for m in members
        ]

    def probed(probing: Probing, *, by_git: bool) -> list[Group]:
        found = []
        for owner in OWNERS:
            seen = [m for m in members if m.owner == owner and probing in m.is_seen]
            seen = [m for m in seen if m.interval * 2 <= A_QUARTER]
            if seen:
                fastest = min(m.interval.total_seconds() for m in seen)
                lead = timedelta(seconds=max(fastest - 2, fastest / 2))
                ids = tuple(m.id for m in seen)
                found.append(Group(probing, owner, ids, lead, IN_FULL, by_git=by_git))
        covered = {number for group in found for number in group.members}
        rest = [m for m in members if m.id not in covered]
        return found + [
            Group(Probing.NONE, "", (m.id,), m.interval, net[m.id] and m.interval) for m in rest
        ]

    for mix in (
        alone(by_git=False),
        alone(by_git=True),
        probed(Probing.LISTING, by_git=False),
        probed(Probing.LISTING, by_git=True),
        probed(Probing.BATCH, by_git=True),
    ):
        asked = needed(ForgePlan("", tuple(mix)), members, batch, free=True)
        changes = len(members) * 2 / 24 * 2
        counted = limits.rest_per_hour is not None or limits.rest_per_minute is not None
        git = POLITE_GIT if limits.git_per_hour is None and counted else limits.git_per_hour
        fits = all(
            granted is None or asked[name] + more <= granted
            for name, granted, more in (
                ("rest", limits.rest_per_hour, changes),
                ("minute", limits.rest_per_minute and limits.rest_per_minute * 60, changes),
                ("points", limits.graphql_per_hour, 0.0),
                ("points", limits.graphql_per_minute and limits.graphql_per_minute * 60, 0.0),
                ("git", git, changes),
            )
        )
        assert plan.is_kept or not fits


def test_one_repository_is_spoken_of_as_one() -> None:
    plan = plan_for(fleet(1, 1), Limits(3600, 2, 3600, 1440))

    assert plan.sentences[0].startswith("1 repository is watched by GraphQL, 30 to a query, asked")


@pytest.mark.parametrize("count", [1, 2, 500])
def test_figures_read_well(count: int) -> None:
    plan = plan_for(fleet(count, 1, every_s=60), Limits(3600, 3, 0, 0))

    assert all("  " not in sentence and sentence.endswith(".") for sentence in plan.sentences)
