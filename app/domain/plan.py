"""How a forge's repositories are watched within its allowance: what is asked, and how often."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice

from app.domain.allowance import Limits, Resource
from app.domain.cadence import in_words
from app.domain.mix import (
    GIT,
    MINUTE,
    ORDER,
    POINTS,
    Clan,
    Kin,
    Mix,
    Terms,
    chunks,
    find_mix,
    find_unstretched,
    granted_by,
    lead,
    net,
    scaled,
)

# A choice: GitHub's queries are slow for more than these at first (reports of 502 at 50 and 100).
USUAL_BATCH = 30
# A choice: what is assumed of a repository of which nothing is known.
USUAL_PUSHES_A_DAY = 2.0
# A choice: nobody has more tokens than these, so that to ask for more is no advice.
MOST_TOKENS = 64


class Probing(StrEnum):
    """What looks after a repository between its own polls."""

    NONE = "none"  # nothing does: its own polls come at its interval
    LISTING = "listing"  # its owner's list of repositories, newest push first
    BATCH = "batch"  # one query for many repositories (GraphQL)


@dataclass(frozen=True, slots=True)
class Member:
    """A repository as the planner sees it.

    ``id`` is its number, ``owner`` the first part of its path at the forge (empty where there is
    none). ``interval`` is what was promised. ``way`` is how its own poll reads: ``rest``,
    ``ls-refs`` or ``ls-remote``. ``is_seen`` says by which probes it can be noticed.
    """

    id: int
    owner: str
    interval: timedelta
    way: str
    is_seen: frozenset[Probing] = frozenset()
    priority: float = 1.0


@dataclass(frozen=True, slots=True)
class Group:
    """Repositories that are watched alike: probed together ``every`` so often, or each alone.

    ``interval`` is between two polls of each member's own. ``key`` names the group within its
    forge: an owner for a listing, a number for a batch, empty for those that are not probed.
    ``by_git`` says that their own polls had better be read by git, although the API could be asked.
    """

    probing: Probing
    key: str
    members: tuple[int, ...]
    every: timedelta
    interval: timedelta
    by_git: bool = False


@dataclass(frozen=True, slots=True)
class Spend:
    """What the plan asks of one resource, against what polling may have of it, both an hour."""

    resource: Resource
    planned: float
    granted: float | None


@dataclass(frozen=True, slots=True)
class ForgePlan:
    """One forge's plan.

    ``is_kept`` says whether every member is looked at within its interval. ``sentences`` explain
    the choice to people, and what would make a promise possible that cannot be kept.
    """

    forge: str
    groups: tuple[Group, ...] = ()
    spends: tuple[Spend, ...] = ()
    is_kept: bool = True
    sentences: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class ProbeHealth:
    """How one probe fares.

    It looks after ``members`` repositories, and ``covered`` of them would be noticed now: none
    while it fails or is late. ``asked_at`` and ``answered_at`` are of its last question and of its
    last good answer. ``moved``, ``requests`` and ``points`` are counted since it began.
    """

    name: str
    forge: str
    probing: Probing
    every: timedelta
    members: int
    covered: int
    asked_at: datetime | None = None
    answered_at: datetime | None = None
    error: str | None = None
    failing_since: datetime | None = None
    moved: int = 0
    requests: int = 0
    points: int = 0


# An owner's name, and the numbers of its members by their kin.
_Household = tuple[str, tuple[tuple[int, ...], ...]]


def make_plan(
    forge: str,
    members: Iterable[Member],
    limits: Limits,
    *,
    ceiling: timedelta,
    batch: int = USUAL_BATCH,
    is_unchanged_free: bool = True,
    pushes_a_day: float = USUAL_PUSHES_A_DAY,
) -> ForgePlan:
    """Plan how the members are watched: the cheapest mix that keeps what was promised.

    Nothing is asked beyond the limits. Where no mix keeps every promise, all intervals are
    stretched alike, those of a higher priority less, up to the ceiling; where even that does not
    fit, all wait equally long, and the plan says so.

    Args:
        forge: Its name.
        members: Who is watched there.
        limits: What polling may spend.
        ceiling: The longest time between two polls of a repository's own.
        batch: How many repositories one query takes, as was measured.
        is_unchanged_free: Whether an unchanged answer costs nothing of the hourly allowance.
        pushes_a_day: How often each repository is pushed to.
    """
    families = _families(members)
    clans = [Clan(kin, len(households)) for kin, households in families.items()]
    longest = ceiling.total_seconds()
    everyone = sum(
        one.count * len(households) for kin, households in families.items() for one in kin
    )
    changes = pushes_a_day / 24
    terms = Terms(
        granted=granted_by(limits, reads=everyone * (3600 / net(longest) + changes)),
        ceiling=longest,
        changes=changes,
        batch=max(1, batch),
        is_unchanged_free=is_unchanged_free,
    )
    mix = find_mix(clans, terms)
    is_possible = mix.fits()
    groups = tuple(_groups(families, mix))
    is_kept = is_possible and all(mix.pace(k) <= k.interval for c in clans for k in c.kin)
    return ForgePlan(
        forge=forge,
        groups=groups,
        spends=tuple(_spends(mix)),
        is_kept=is_kept,
        sentences=tuple(_sentences(clans, groups, mix, is_kept=is_kept)),
    )


def _families(members: Iterable[Member]) -> dict[tuple[Kin, ...], list[_Household]]:
    """Put the owners together that look alike.

    Who no list can show belongs to nobody, and stands alone.
    """
    alike: dict[tuple[str, timedelta, str, frozenset[Probing], float], list[int]]
    alike = defaultdict(list)
    for one in members:
        alike[one.owner, one.interval, one.way, one.is_seen, one.priority].append(one.id)
    of_owner: dict[str, list[tuple[Kin, tuple[int, ...]]]] = defaultdict(list)
    families: dict[tuple[Kin, ...], list[_Household]] = defaultdict(list)
    for (owner, interval, way, is_seen, priority), ids in alike.items():
        seconds = max(0.001, interval.total_seconds())
        is_rest, is_batched = way == "rest", Probing.BATCH in is_seen
        if Probing.LISTING in is_seen:
            kin = Kin(len(ids), seconds, is_rest, True, is_batched, priority)
            of_owner[owner].append((kin, tuple(ids)))
            continue
        kin = Kin(1, seconds, is_rest, False, is_batched, priority)
        families[(kin,)] += [("", ((number,),)) for number in ids]
    for owner, kinds in of_owner.items():
        kinds.sort(key=lambda pair: (pair[0].interval, -pair[0].weight, pair[0].is_rest))
        family = tuple(one for one, _ in kinds)
        families[family].append((owner, tuple(ids for _, ids in kinds)))
    return families


def _groups(families: Mapping[tuple[Kin, ...], Sequence[_Household]], mix: Mix) -> Iterator[Group]:
    alone: dict[tuple[float, bool], list[int]] = defaultdict(list)
    batched: list[tuple[float, int]] = []
    in_full = timedelta(seconds=net(mix.ceiling))
    for (kin, households), rungs in zip(families.items(), mix.standing, strict=True):
        paces = [mix.pace(one) for one in kin]
        waiting = iter(sorted(households))
        for rung, owners in rungs:
            for owner, members in islice(waiting, owners):
                listed: list[int] = []
                for ids, place, pace in zip(members, rung.places, paces, strict=True):
                    if place == "l":
                        listed += ids
                    elif place == "b":
                        batched += [(pace, number) for number in ids]
                    else:
                        alone[pace, place == "g"] += ids
                if listed:
                    fastest = min(p for p, at in zip(paces, rung.places, strict=True) if at == "l")
                    every = timedelta(seconds=lead(fastest))
                    yield Group(
                        Probing.LISTING, owner, tuple(listed), every, in_full, by_git=mix.by_git
                    )
    yield from _batches(sorted(batched), mix)
    for (pace, by_git), numbers in sorted(alone.items()):
        every = timedelta(seconds=pace)
        yield Group(Probing.NONE, "", tuple(numbers), every, every, by_git=by_git)


def _batches(batched: Sequence[tuple[float, int]], mix: Mix) -> Iterator[Group]:
    in_full = timedelta(seconds=net(mix.ceiling))
    for number, begin in enumerate(range(0, len(batched), mix.terms.chunk), start=1):
        chunk = batched[begin : begin + mix.terms.chunk]
        yield Group(
            Probing.BATCH,
            str(number),
            tuple(member for _, member in chunk),
            timedelta(seconds=lead(chunk[0][0])),
            in_full,
            by_git=mix.by_git,
        )


def _spends(mix: Mix) -> Iterator[Spend]:
    for resource, planned in zip(ORDER, mix.spent, strict=True):
        granted = mix.terms.granted[resource]
        # Where nothing is granted, nothing is asked, whatever is wished for.
        asked = planned if granted is None else min(planned, granted)
        if planned > 0 or granted is not None:
            yield Spend(resource, max(0.0, asked), granted)


# What people are told.


def _sentences(
    clans: Sequence[Clan], groups: Sequence[Group], mix: Mix, *, is_kept: bool
) -> Iterator[str]:
    if not groups:
        return
    if not mix.fits():
        yield (
            "Nothing may be asked of this forge now; every repository is tried again every "
            f"{in_words(timedelta(seconds=mix.terms.ceiling))}."
        )
        return
    by_probing: dict[Probing, list[Group]] = defaultdict(list)
    for group in groups:
        by_probing[group.probing].append(group)
    if not is_kept:
        yield from _what_is_missing(clans, mix)
    listings, batches = by_probing[Probing.LISTING], by_probing[Probing.BATCH]
    if listings:
        yield _of_listings(listings, mix)
    if batches:
        yield _of_batches(batches, mix)
    if listings or batches:
        how = ", by git" if mix.by_git else ""
        longest = in_words(timedelta(seconds=mix.ceiling))
        yield f"What is watched so is read in full every {longest}{how}, whatever the answers say."
    for by_git in (False, True):
        alone = [group for group in by_probing[Probing.NONE] if group.by_git is by_git]
        if alone:
            yield _of_those_alone(alone, mix)


def _of_listings(groups: Sequence[Group], mix: Mix) -> str:
    count = sum(len(group.members) for group in groups)
    asked = sum(60 / group.every.total_seconds() for group in groups)
    whose = "an owner" if len(groups) == 1 else f"{len(groups):,} owners"
    lists = "its list" if len(groups) == 1 else "their lists"
    return (
        f"{_repositories(count)} of {whose} {_is_or_are(count)} watched by {lists}, "
        f"asked {_range(groups)}: {_each_minute(asked)}{_of(mix, MINUTE, 60)}."
    )


def _of_batches(groups: Sequence[Group], mix: Mix) -> str:
    count = sum(len(group.members) for group in groups)
    points = mix.spent[ORDER.index(POINTS)]
    return (
        f"{_repositories(count)} {_is_or_are(count)} watched by GraphQL, "
        f"{mix.terms.batch} to a query, asked {_range(groups)}: "
        f"{round(points):,} points an hour{_of(mix, POINTS, 1)}."
    )


def _of_those_alone(groups: Sequence[Group], mix: Mix) -> str:
    count = sum(len(group.members) for group in groups)
    how = " by git" if groups[0].by_git else ""
    text = f"{_repositories(count)} {_is_or_are(count)} polled one by one{how}, {_range(groups)}"
    asked = mix.spent[ORDER.index(MINUTE)] / 60
    if not how and asked:
        text += f": {_each_minute(asked)} in all{_of(mix, MINUTE, 60)}"
    return text + "."


def _what_is_missing(clans: Sequence[Clan], mix: Mix) -> Iterator[str]:
    """Say what the promise would take, by each way of reading, and what would make it possible."""
    pairs = [(one, clan.owners) for clan in clans for one in clan.kin]
    count = sum(one.count * owners for one, owners in pairs)
    shortest = min(one.interval for one, _ in pairs)
    longest = max(one.interval for one, _ in pairs)
    wish = "every " + in_words(timedelta(seconds=shortest))
    if longest > shortest:
        wish += " to " + in_words(timedelta(seconds=longest))
    yield (
        f"{_repositories(count)} {wish} {'needs' if count == 1 else 'need'} "
        + "; ".join(_needs(pairs, mix))
        + "."
    )
    latest = max(mix.pace(one) for one, _ in pairs)
    kept = in_words(timedelta(seconds=latest))
    beyond = ", longer than max_interval" if latest > mix.terms.ceiling * 1.001 else ""
    tokens = _tokens(clans, mix.terms)
    more = (
        f"; for what is promised it takes {tokens} such tokens, of different users"
        if tokens
        else ""
    )
    yield f"So each is looked at every {kept} at the latest{beyond}; that can be kept{more}."


def _needs(pairs: Sequence[tuple[Kin, int]], mix: Mix) -> Iterator[str]:
    batched = [(one, owners) for one, owners in pairs if one.is_batched]
    points_granted = mix.terms.granted[POINTS]
    if batched and points_granted is not None:
        size = mix.terms.batch
        runs: dict[float, int] = defaultdict(int)
        for one, owners in batched:
            runs[one.interval] += one.count * owners
        points = sum(
            -(-number // size) * 3600 / lead(pace)
            for number, pace in chunks(sorted(runs.items()), mix.terms.chunk)
        )
        yield f"{round(points):,} points an hour by GraphQL against {round(points_granted):,}"
    alone = {
        is_rest: sum(
            one.count * owners / one.interval for one, owners in pairs if one.is_rest is is_rest
        )
        for is_rest in (True, False)
    }
    minute = mix.terms.granted[MINUTE]
    if alone[True]:
        against = "" if minute is None else f" against {round(minute / 60):,}"
        yield f"{round(alone[True] * 60):,} requests a minute one by one over REST{against}"
    hour = mix.terms.granted[ORDER[0]]
    if alone[True] and not mix.terms.is_unchanged_free and hour is not None:
        yield f"{round(alone[True] * 3600):,} an hour against {round(hour):,}, as each one counts"
    git = mix.terms.granted[GIT]
    if git is not None:
        needed = round(sum(alone.values()) * 3600)
        yield f"{needed:,} an hour by git against {round(git):,}"


def _tokens(clans: Sequence[Clan], terms: Terms) -> int | None:
    """Return how many times the allowance would do; None where that is no way."""
    enough = bisect_left(
        range(MOST_TOKENS + 1),
        True,
        lo=2,
        key=lambda times: find_unstretched(clans, scaled(terms, times)).fits(),
    )
    return enough if enough <= MOST_TOKENS else None


def _range(groups: Sequence[Group]) -> str:
    shortest, longest = min(g.every for g in groups), max(g.every for g in groups)
    words = f"every {in_words(shortest)}"
    return words if in_words(longest) == in_words(shortest) else f"{words} to {in_words(longest)}"


def _of(mix: Mix, resource: Resource, per: int) -> str:
    granted = mix.terms.granted[resource]
    return "" if granted is None else f" of the {round(granted / per):,} granted"


def _repositories(count: int) -> str:
    return f"{count:,} {'repository' if count == 1 else 'repositories'}"


def _is_or_are(count: int) -> str:
    return "is" if count == 1 else "are"


def _each_minute(requests: float) -> str:
    text = f"{requests:.1f}".removesuffix(".0") if requests < 10 else f"{round(requests):,}"  # noqa: PLR2004
    return f"{text} {'request' if text == '1' else 'requests'} a minute"
