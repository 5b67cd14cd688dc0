"""The cheapest mix of ways to watch a fleet: who is polled alone, and who is probed together.

Owners that look alike (as many repositories, promised the same) are one *clan*, so that ten
thousand owners take no longer than a dozen. A clan's owners stand on *rungs*: polled one by one;
then listed; then asked about in batches, the most urgent of its repositories first. An owner climbs
only where the rung below costs more than is granted.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import ceil, floor, inf

from app.domain.allowance import Limits, Resource

# What lies between a probe's answer and the refs that were read because of it, in seconds (a
# choice: an answer of the forge takes 0.2 to 1 s, and there are two). A probe is asked so much
# more often than was promised, but never twice as often.
READING_S = 2.0
# A choice: as many requests an hour as Bitbucket documents for git are polite everywhere, where
# the forge counts what its API is asked, and does not say how git's requests count.
POLITE_GIT = 60_000.0
# A choice: where no repository may wait longer than is polite, that goes before; up to a hundred a
# second.
MOST_GIT = 360_000.0
# A choice: a repository's own poll comes so much before its longest time is over, as part of it
# and in seconds at most: it may have to wait for its slot, and an answer takes its time too.
AHEAD, MOST_AHEAD_S = 0.1, 30.0
# A choice: what a plan takes of what is granted while that suffices, so that pushes in plenty, or
# another's use of the same credential, break no promise.
COMFORT = 0.8
# As many as one query is told to ask about (GitHub: connections of 100 a point).
LARGEST_BATCH = 100
# Sums of many small numbers differ from what was meant by so much at most.
SLACK = 1 + 1e-9
# And where nothing is granted, what was added and taken away again leaves a crumb: less than this,
# in an hour, is nothing.
CRUMB = 1e-6

# Beyond so many times the ceiling, nothing is watched any more.
FARTHEST = 8.0**5

REST, MINUTE = Resource.REST, Resource.REST_MINUTE
POINTS, POINTS_MINUTE, GIT = Resource.GRAPHQL, Resource.GRAPHQL_MINUTE, Resource.GIT
ORDER = (REST, MINUTE, POINTS, POINTS_MINUTE, GIT)

Cost = tuple[float, float, float, float, float]  # in the order above, an hour
FREE: Cost = (0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Kin:
    """Repositories of one owner that are alike; times in seconds.

    ``is_listed`` and ``is_batched`` say which probes can see them.
    """

    count: int
    interval: float
    is_rest: bool
    is_listed: bool
    is_batched: bool
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Clan:
    """``owners`` owners, each with the same kin, the most urgent first."""

    kin: tuple[Kin, ...]
    owners: int


@dataclass(frozen=True, slots=True)
class Rung:
    """How each of a clan's kin is watched: alone, by git, by a list, in batches."""

    places: str  # a letter for each kin: a, g, l or b
    cost: Cost


@dataclass(frozen=True, slots=True)
class Terms:
    """What a mix must keep to.

    ``ceiling`` is the longest time between two polls of a repository's own, in seconds. Of the
    repositories' changes there are ``changes`` an hour for each. ``batch`` is how many
    repositories one query takes.
    """

    granted: Mapping[Resource, float | None]
    ceiling: float
    changes: float
    batch: int
    is_unchanged_free: bool

    @property
    def chunk(self) -> int:
        """How many repositories are asked about together."""
        return self.batch * max(1, LARGEST_BATCH // self.batch)


@dataclass(slots=True)
class Mix:
    """A choice for every clan: how many of its owners stand on which rung.

    ``pace`` gives each kin's time between two looks; ``by_git`` says that the polls of those that
    are probed are read by git.
    """

    terms: Terms
    pace: Callable[[Kin], float]
    ceiling: float
    by_git: bool
    standing: list[list[tuple[Rung, int]]] = field(default_factory=list)
    spent: list[float] = field(default_factory=lambda: [0.0] * len(ORDER))

    def fits(self, share: float = 1.0) -> bool:
        """Tell whether no resource is asked for more than this share of what is granted."""
        return all(self.over(resource, share) <= 0 for resource in ORDER)

    def over(self, resource: Resource, share: float) -> float:
        """Return how much more is asked of a resource than there is."""
        granted = self.terms.granted[resource]
        if granted is None:
            return -inf
        return self.spent[ORDER.index(resource)] - granted * share * SLACK - CRUMB


def granted_by(limits: Limits, *, reads: float) -> dict[Resource, float | None]:
    """Return what may be spent of each resource in an hour; None where nobody counts.

    ``reads`` is how many an hour it takes for nobody to wait beyond the ceiling.
    """

    def hourly(per_minute: float | None) -> float | None:
        return None if per_minute is None else per_minute * 60

    counts = (limits.rest_per_hour, limits.rest_per_minute)
    is_counting = any(one is not None for one in counts)
    git = limits.git_per_hour
    polite = min(max(POLITE_GIT, reads), MOST_GIT)
    return {
        REST: limits.rest_per_hour,
        MINUTE: hourly(limits.rest_per_minute),
        POINTS: limits.graphql_per_hour,
        POINTS_MINUTE: hourly(limits.graphql_per_minute),
        GIT: polite if git is None and is_counting else git,
    }


def lead(interval: float) -> float:
    """Return how often to ask a probe so that what it shows is read within the interval.

    >>> [lead(seconds) for seconds in (2, 15, 60)]
    [1.0, 13.0, 58.0]
    """
    return max(interval - READING_S, interval / 2)


def net(ceiling: float) -> float:
    """Return how often to read what is probed, so that none waits longer than the ceiling.

    >>> [net(seconds) for seconds in (60, 900)]
    [54.0, 870.0]
    """
    return ceiling - min(ceiling * AHEAD, MOST_AHEAD_S)


def find_mix(clans: Sequence[Clan], terms: Terms) -> Mix:
    """Return the cheapest mix that fits.

    Nothing is stretched where some mix allows that, and nobody waits beyond the ceiling where that
    can be helped; else all wait equally long. Where nothing at all is granted, none fits.
    """
    mix = find_unstretched(clans, terms)
    if mix.fits():
        return mix

    def at(stretch: float) -> Mix:
        return _choose(clans, terms, _stretched(terms.ceiling, stretch), terms.ceiling)

    most = max((_longest_stretch(kin, terms.ceiling) for c in clans for kin in c.kin), default=1.0)
    if at(most).fits():
        return _least(at, 1.0, most)

    def evenly(times: float) -> Mix:
        ceiling = terms.ceiling * times
        return _choose(clans, terms, lambda kin: max(kin.interval, ceiling), ceiling)

    longest = 8.0
    while longest < FARTHEST and not evenly(longest).fits():
        longest *= 8
    return _least(evenly, longest / 8, longest)


def find_unstretched(clans: Sequence[Clan], terms: Terms) -> Mix:
    """Return the cheapest mix that keeps every interval; it need not fit."""
    pace = _stretched(terms.ceiling, 1.0)
    return _choose(clans, terms, pace, terms.ceiling, shares=(COMFORT, 1.0))


def _least(at: Callable[[float], Mix], low: float, high: float) -> Mix:
    """Find the least stretch that fits, to a hundredth; ``high`` fits, if any does."""
    best = at(high)
    for _ in range(40):
        if high - low <= low * 0.01:
            break
        middle = (low * high) ** 0.5
        mix = at(middle)
        if mix.fits():
            best, high = mix, middle
        else:
            low = middle
    return best


def _stretched(ceiling: float, stretch: float) -> Callable[[Kin], float]:
    def pace(kin: Kin) -> float:
        factor = 1 + (stretch - 1) / kin.weight
        return min(kin.interval * factor, max(ceiling, kin.interval))

    return pace


def _longest_stretch(kin: Kin, ceiling: float) -> float:
    return 1 + max(0.0, ceiling / kin.interval - 1) * kin.weight


def _choose(
    clans: Sequence[Clan],
    terms: Terms,
    pace: Callable[[Kin], float],
    ceiling: float,
    *,
    shares: tuple[float, ...] = (1.0,),
) -> Mix:
    """Return the first mix that fits, comfortably if that can be; else the last that was tried."""
    for share, by_git, has_reserve in product(shares, (False, True), (False, True)):
        mix = Mix(terms, pace, ceiling, by_git=by_git)
        _climb(clans, mix, share, has_reserve=has_reserve)
        if mix.fits(share):
            break
    return mix


def _climb(clans: Sequence[Clan], mix: Mix, share: float, *, has_reserve: bool) -> None:
    ladder = _Ladder(clans, mix, share)
    ladder.list_owners()
    ladder.batch(has_reserve=has_reserve)
    ladder.read_by_git()
    mix.standing = ladder.standing()
    for at in range(len(ORDER)):
        mix.spent[at] = sum(rung.cost[at] * owners for row in mix.standing for rung, owners in row)
    _count_batches(clans, mix)


@dataclass(slots=True)
class _Step:
    """From one rung to a higher one: what an owner's climb saves of REST, and its points."""

    clan: int
    below: str
    rung: Rung
    saves: float
    points: float


class _Ladder:
    """Lets owners climb until what is spent is granted."""

    def __init__(self, clans: Sequence[Clan], mix: Mix, share: float) -> None:
        self._clans = clans
        self._mix = mix
        self._share = share
        self._rungs: list[dict[str, tuple[Rung, int]]] = []
        for clan in clans:
            rung = _rung(clan.kin, "a" * len(clan.kin), mix)
            self._rungs.append({rung.places: (rung, clan.owners)})
            self._add(rung.cost, clan.owners)

    def standing(self) -> list[list[tuple[Rung, int]]]:
        return [[pair for pair in rungs.values() if pair[1]] for rungs in self._rungs]

    def list_owners(self) -> None:
        """Ask for owners' lists where that saves most."""
        for scarce in (GIT, MINUTE, REST):
            if self._over(scarce) <= 0:
                continue
            at = ORDER.index(scarce)
            steps = []
            for number, clan in enumerate(self._clans):
                for below, (rung, owners) in list(self._rungs[number].items()):
                    listed = _listed(clan.kin, self._mix, at) if owners else None
                    if listed is not None and "l" not in below:
                        saves = rung.cost[at] - listed.cost[at]
                        steps.append(_Step(number, below, listed, saves, 0.0))
            for step in sorted(steps, key=lambda step: -step.saves):
                if self._over(scarce) <= 0:
                    break
                if step.saves > 0:
                    self._take(step, ceil(self._over(scarce) / step.saves))

    def batch(self, *, has_reserve: bool) -> None:
        """Ask about repositories in batches, where a point saves most."""
        if max(self._over(MINUTE), self._over(REST), self._over(GIT)) <= 0:
            return
        left = self._points_left(has_reserve=has_reserve)
        steps = [
            step
            for number in range(len(self._clans))
            for below in list(self._rungs[number])
            for step in self._steps(number, below)
        ]
        for step in sorted(steps, key=lambda step: -step.saves / step.points):
            wanted = self._wanted(step)
            if left < inf:
                wanted = min(wanted, floor(max(0.0, left) * SLACK / step.points))
            left -= self._take(step, wanted) * step.points

    def read_by_git(self) -> None:
        """Read by git what the API may not be asked for: those polled alone first, then any."""
        for instead in ("a", "alb"):
            steps = [
                step
                for number in range(len(self._clans))
                for below in list(self._rungs[number])
                if (step := self._step_to_git(number, below, instead)) is not None
            ]
            for step in sorted(steps, key=lambda step: step.points / step.saves):
                wanted = self._wanted(step)
                room = -self._over(GIT)
                if wanted and room < inf and step.points > 0:
                    wanted = min(wanted, floor(max(0.0, room) * SLACK / step.points))
                self._take(step, wanted)

    def _step_to_git(self, number: int, below: str, instead: str) -> _Step | None:
        """Return what it takes to read by git; ``points`` are requests of git's."""
        rung, owners = self._rungs[number][below]
        kin = self._clans[number].kin
        places = "".join(
            "g" if place in instead and one.is_rest else place
            for place, one in zip(below, kin, strict=True)
        )
        if places == below or not owners:
            return None
        above = _rung(kin, places, self._mix)
        scarce = [ORDER.index(r) for r in (MINUTE, REST) if self._over(r) > 0]
        saves = sum(rung.cost[at] - above.cost[at] for at in scarce)
        at = ORDER.index(GIT)
        if saves <= 0:
            return None
        return _Step(number, below, above, saves, above.cost[at] - rung.cost[at])

    def _points_left(self, *, has_reserve: bool) -> float:
        left = min(-self._over(POINTS), -self._over(POINTS_MINUTE))
        if has_reserve and left < inf:
            terms = self._mix.terms
            paces = [self._mix.pace(k) for c in self._clans for k in c.kin if k.is_batched]
            left -= (terms.chunk / terms.batch) * 3600 / lead(min(paces, default=inf))
        return left

    def _steps(self, number: int, below: str) -> Iterator[_Step]:
        """Tell an owner's steps into batches: those whose probing saves most by the point first."""
        rung, owners = self._rungs[number][below]
        kin = self._clans[number].kin
        if not owners:
            return
        pending: list[_Step] = []
        places, cost = rung.places, rung.cost
        scarce = [ORDER.index(r) for r in (MINUTE, REST, GIT) if self._over(r) > 0]
        for at in range(len(kin)):
            if not kin[at].is_batched or not _is_probed(kin[at], self._mix):
                continue
            above = _rung(kin, places[:at] + "b" + places[at + 1 :], self._mix)
            saves = sum(cost[i] - above.cost[i] for i in scarce)
            step = _Step(number, places, above, saves, above.cost[2] - cost[2])
            while pending and step.saves * pending[-1].points > pending[-1].saves * step.points:
                last = pending.pop()  # together they save more by the point than one at a time
                step = _Step(
                    number, last.below, above, last.saves + step.saves, last.points + step.points
                )
            pending.append(step)
            places, cost = above.places, above.cost
        yield from (step for step in pending if step.saves > 0)

    def _wanted(self, step: _Step) -> int:
        """Return how many owners must take a step for what is asked to be granted."""
        before = self._rungs[step.clan].get(step.below)
        if before is None:
            return 0
        wanted = 0
        for resource in (MINUTE, REST, GIT):
            at = ORDER.index(resource)
            saves = before[0].cost[at] - step.rung.cost[at]
            if self._over(resource) > 0 and saves > 0:
                wanted = max(wanted, ceil(self._over(resource) / saves))
        return wanted

    def _take(self, step: _Step, wanted: int) -> int:
        """Have up to so many owners climb; return how many did."""
        rungs = self._rungs[step.clan]
        rung, there = rungs.get(step.below, (step.rung, 0))
        moved = max(0, min(wanted, there))
        if moved:
            rungs[step.below] = (rung, there - moved)
            _, above = rungs.get(step.rung.places, (step.rung, 0))
            rungs[step.rung.places] = (step.rung, above + moved)
            self._add(rung.cost, -moved)
            self._add(step.rung.cost, moved)
        return moved

    def _add(self, cost: Cost, times: int) -> None:
        spent = self._mix.spent
        for at, one in enumerate(cost):
            spent[at] += one * times

    def _over(self, resource: Resource) -> float:
        return self._mix.over(resource, self._share)


def _is_probed(kin: Kin, mix: Mix) -> bool:
    """Tell whether probing is worth it: not where each is read in full about as often."""
    return mix.pace(kin) * 2 <= mix.ceiling


def _listed(kin: Sequence[Kin], mix: Mix, at: int) -> Rung | None:
    """Return the cheapest way to list an owner: all it can show, or all but the most urgent."""
    best: Rung | None = None
    for first in range(len(kin)):
        places = "".join(
            "l" if number >= first and one.is_listed and _is_probed(one, mix) else "a"
            for number, one in enumerate(kin)
        )
        if "l" in places:
            rung = _rung(kin, places, mix)
            if best is None or rung.cost[at] < best.cost[at]:
                best = rung
    return best


def _rung(kin: Sequence[Kin], places: str, mix: Mix) -> Rung:
    """Count what an owner costs in an hour; batches as if they were full."""
    terms = mix.terms
    rest = minute = points = git = 0.0
    fastest, listed_changes = inf, 0.0
    for one, place in zip(kin, places, strict=True):
        pace = mix.pace(one)
        changes = one.count * terms.changes
        if place in "ag":
            polls = one.count * 3600 / pace
            if one.is_rest and place == "a":
                minute += polls
                rest += min(changes, polls) if terms.is_unchanged_free else polls
            else:
                git += polls
            continue
        if place == "l":
            fastest, listed_changes = min(fastest, lead(pace)), listed_changes + changes
        else:
            points += one.count / terms.batch * 3600 / lead(pace)
        nets = one.count * 3600 / max(net(mix.ceiling), pace)
        if one.is_rest and not mix.by_git:
            minute += nets + changes
            rest += changes if terms.is_unchanged_free else nets + changes
        else:
            git += nets + changes
    if fastest < inf:
        asked = 3600 / fastest
        minute += asked
        rest += min(asked, listed_changes) if terms.is_unchanged_free else asked
    return Rung(places, (rest, minute, points, points, git))


def _count_batches(clans: Sequence[Clan], mix: Mix) -> None:
    """Count the points of batches as they will be asked: the most urgent together."""
    runs: dict[float, int] = {}
    for clan, rungs in zip(clans, mix.standing, strict=True):
        for rung, owners in rungs:
            for one, place in zip(clan.kin, rung.places, strict=True):
                if place == "b":
                    pace = mix.pace(one)
                    runs[pace] = runs.get(pace, 0) + one.count * owners
    points = 0.0
    for count, pace in chunks(sorted(runs.items()), mix.terms.chunk):
        points += ceil(count / mix.terms.batch) * 3600 / lead(pace)
    mix.spent[ORDER.index(POINTS)] = mix.spent[ORDER.index(POINTS_MINUTE)] = points


def chunks(runs: Sequence[tuple[float, int]], size: int) -> Iterator[tuple[int, float]]:
    """Cut runs of equal paces into chunks; tell how many are in each, and its shortest pace.

    >>> list(chunks([(15, 150), (60, 70)], 100))
    [(100, 15), (100, 15), (20, 60)]
    """
    filled, first = 0, 0.0
    for pace, count in runs:
        left = count
        while left:
            if not filled:
                first = pace
                if left >= size:  # whole ones, one like the other
                    for _ in range(left // size):
                        yield size, pace
                    left %= size
                    continue
            took = min(left, size - filled)
            filled, left = filled + took, left - took
            if filled == size:
                yield filled, first
                filled = 0
    if filled:
        yield filled, first


def scaled(terms: Terms, times: float) -> Terms:
    """Return the terms with so many times the allowance; git's is nobody's to multiply."""
    granted = {
        resource: figure if figure is None or resource is GIT else figure * times
        for resource, figure in terms.granted.items()
    }
    return replace(terms, granted=granted)
