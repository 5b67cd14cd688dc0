"""How each forge's repositories are watched: plans made anew as the fleet and the limits change.

A plan's probes are asked by the prober; the pace of every repository's own polls comes from here.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import urlsplit

from app.domain.allowance import Limits, Resource
from app.domain.cadence import Pace, in_words
from app.domain.plan import USUAL_BATCH, ForgePlan, Group, Member, Probing, make_plan
from app.domain.repository import Repository
from app.services.catalog import Catalog, Entry
from app.services.prober import Prober, Seats
from app.settings.types import Forge, Settings

log = logging.getLogger(__name__)

# A choice: what a forge grants changes seldom, and the ways to it now and then.
PLANNED_FOR = timedelta(minutes=1)
# A choice: limits that differ by less are the same, and so a plan is not turned over for nothing.
SAME = 0.05
# Choices: how long a repository that a probe does not show is watched otherwise; and how long where
# the probe failed, which may be over soon.
UNSEEN_FOR = timedelta(hours=1)
FAILED_FOR = timedelta(minutes=2)
REST = "rest"  # the way of reading that a forge counts
# Whose owner does not matter, since no list shows it: no URL, no owner.
NOBODYS = ("", "")
# What each kind of forge has probes for; they need a credential, or ask in vain. GitLab's list says
# too little too late (projects move there once an hour), and the others have no order to it.
SEEN_AT: Mapping[str, frozenset[Probing]] = {
    "github": frozenset({Probing.LISTING, Probing.BATCH}),
}


class Forges(Protocol):
    """What is known of the forges."""

    def limits(self, forge_name: str, /) -> Limits:
        """Return what polling may spend there."""
        ...

    def way_of(self, repository: Repository, /) -> str:
        """Return the way by which a poll would read now."""
        ...

    def spare(self, forge_name: str, urls: frozenset[str], /) -> None:
        """Have these read by git, so that the API's allowance suffices for the rest."""
        ...


class Seating(Protocol):
    """Where repositories wait for their polls."""

    def bring(self, repository_id: int, at: datetime, /) -> bool:
        """Bring a poll forward to then; False where it comes sooner anyway."""
        ...


@dataclass(frozen=True, slots=True)
class _Place:
    """What a plan says of some repositories; shared by all of a group."""

    forge: str
    group: Group
    reason: str


@dataclass(frozen=True, slots=True)
class _Basis:
    """What a plan was made of; of the members only their hash, since there may be many."""

    members: int
    batch: int
    limits: Limits

    def is_like(self, other: "_Basis | None") -> bool:
        """Tell whether a plan made of the other is good for this too."""
        if other is None or _differ(self.limits, other.limits):
            return False
        return (self.members, self.batch) == (other.members, other.batch)


class Planner:
    """Safe for many threads.

    Args:
        catalog: What is watched.
        settings: The configured forges by name.
        forges: What they grant.
        prober: Who asks the probes.
        probes: Where these wait for their turn.
        polls: Where repositories wait for theirs.
        now: The clock.
        ceiling: The longest time between two polls of a repository's own.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        settings: Mapping[str, Forge],
        forges: Forges,
        prober: Prober,
        probes: Seats,
        polls: Seating,
        now: Callable[[], datetime],
        ceiling: timedelta,
    ) -> None:
        self._catalog = catalog
        self._settings = settings
        self._forges = forges
        self._prober = prober
        self._probes = probes
        self._polls = polls
        self._now = now
        self._ceiling = ceiling
        self._lock = threading.Lock()  # one plans at a time
        self._planned_at: datetime | None = None
        self._is_stale = True
        self._bases: dict[str, _Basis] = {}
        self._plans: dict[str, ForgePlan] = {}
        self._places: dict[int, _Place] = {}
        self._owners: dict[int, tuple[str, str]] = {}  # by the repository's number: URL, owner
        self._ways: dict[tuple[str, str, bool, bool], str] = {}  # of those that are read alike
        self._blind: dict[tuple[Probing, int], datetime] = {}  # until when
        self._left_alone: dict[str, timedelta] = {}  # by forge: the pace of who is not covered
        self._covered: set[int] = set()

    def plans(self) -> Mapping[str, ForgePlan]:
        """Return the plan of each forge that has repositories here."""
        return dict(self._plans)

    def hurry(self) -> None:
        """Have plans made anew the next time: the fleet has changed."""
        self._is_stale = True

    def plan(self) -> None:
        """Look at what has changed, and plan anew where something has; to be called often.

        Never raises: without a plan, or by an old one, polling goes on.
        """
        with self._lock:
            now = self._now()
            try:
                if self._is_due(now):
                    self._planned_at, self._is_stale = now, False
                    self._plan(now)
                self._mind(now)
            except Exception:
                log.exception("planning broke")

    def _is_due(self, now: datetime) -> bool:
        if self._is_stale or self._planned_at is None:
            return True
        is_old = not timedelta(0) <= now - self._planned_at < PLANNED_FOR
        return is_old or any(
            _differ(basis.limits, self._forges.limits(name)) for name, basis in self._bases.items()
        )

    def _plan(self, now: datetime) -> None:
        self._note_blind(now)
        self._ways = {key: way for key, way in self._ways.items() if way == REST}
        fleet: dict[str, list[Member]] = {}
        for entry in self._catalog.entries():
            if entry.repository.enabled and entry.watched.paused_at is None:
                member = self._member(entry)
                fleet.setdefault(entry.repository.forge, []).append(member)
        has_changed = self._plans.keys() != fleet.keys()
        for name, members in fleet.items():
            limits = self._forges.limits(name)
            batch = self._prober.batch_size(name, usual=USUAL_BATCH)
            basis = _Basis(hash(tuple(members)), batch, limits)
            if basis.is_like(self._bases.get(name)):
                continue
            self._bases[name] = basis
            self._plans[name] = plan_for(
                self._settings.get(name), name, members, limits, ceiling=self._ceiling, batch=batch
            )
            has_changed = True
            log.info(
                "plan made",
                extra={
                    "forge": name,
                    "repositories": len(members),
                    "kept": self._plans[name].is_kept,
                },
            )
        for gone in self._plans.keys() - fleet.keys():
            del self._plans[gone], self._bases[gone]
        if has_changed:
            self._places = {
                repository_id: place
                for plan in self._plans.values()
                for place in _places(plan, self._ceiling)
                for repository_id in place.group.members
            }
            self._prober.follow(self._plans.values(), self._probes)
            for plan in self._plans.values():
                self._forges.spare(plan.forge, self._urls_by_git(plan))
                self._hasten(plan, now)

    def _urls_by_git(self, plan: ForgePlan) -> frozenset[str]:
        entries = (
            self._catalog.find(number)
            for group in plan.groups
            if group.by_git
            for number in group.members
        )
        return frozenset(entry.repository.url for entry in entries if entry is not None)

    def _member(self, entry: Entry) -> Member:
        repository, number = entry.repository, entry.watched.id
        forge = self._settings.get(repository.forge)
        is_seen = seen_by(forge, repository)
        for probing in is_seen:
            if (probing, number) in self._blind:
                is_seen = is_seen - {probing}
        known = self._owners.get(number) if is_seen else NOBODYS
        if known is None or known[0] not in {repository.url, ""}:
            known = self._owners[number] = (repository.url, owner_of(forge, repository))
        return Member(
            id=number,
            owner=known[1],
            interval=repository.interval,
            way=self._way(repository),
            is_seen=is_seen,
            priority=repository.priority,
        )

    def _way(self, repository: Repository) -> str:
        """Return how a repository is usually read, as are all that are configured alike.

        What is set aside comes back: a plan that took it for gone would overdo the rest, and the
        next one the other way round.
        """
        scheme, _, _ = repository.url.partition("://")
        refs = repository.refs
        key = (repository.forge, scheme, bool(refs.tags), refs.wants_pulls)
        way = self._ways.get(key)
        if way is None:
            way = self._ways[key] = self._forges.way_of(repository)
        return way

    def _note_blind(self, now: datetime) -> None:
        self._blind = {key: until for key, until in self._blind.items() if now < until}
        failing, unseen = self._prober.failing(), self._prober.unseen()
        for found, lasts in ((failing, FAILED_FOR), (unseen, UNSEEN_FOR)):
            for probing, numbers in found.items():
                self._blind.update(dict.fromkeys(((probing, n) for n in numbers), now + lasts))

    # Whom no probe covers.

    def _mind(self, now: datetime) -> None:
        """Let those whom no probe covers be polled as often as what is left over allows."""
        covered = self._prober.covered()
        uncovered: dict[str, list[int]] = {}
        for plan in self._plans.values():
            probed = [g.members for g in plan.groups if g.probing is not Probing.NONE]
            alone = [n for members in probed for n in members if n not in covered]
            self._left_alone[plan.forge] = _pace_of_rest(plan, len(alone))
            uncovered[plan.forge] = [n for n in alone if n in self._covered]
        # Those who were, and are in no probe's group any more, have waited long enough as well.
        for number in self._covered - covered:
            place = self._places.get(number)
            if place is not None and place.group.probing is Probing.NONE:
                uncovered.setdefault(place.forge, []).append(number)
        self._covered = covered
        for numbers in uncovered.values():
            self._bring(numbers, now)
        if self._prober.failing():
            self._is_stale = True

    def _hasten(self, plan: ForgePlan, now: datetime) -> None:
        """Bring forward who is polled alone and would wait longer than this plan has them wait."""
        for group in plan.groups:
            if group.probing is Probing.NONE:
                late = [n for n in group.members if self._is_late(n, now)]
                self._bring(late, now)

    def _is_late(self, number: int, now: datetime) -> bool:
        entry = self._catalog.find(number)
        # After a failed poll its patience counts; who was covered till now is brought anyway.
        if entry is None or entry.watched.failures or number in self._covered:
            return False
        pace = self.pace(entry)
        rest = pace.floor if pace.rest is None else pace.rest
        next_at = entry.watched.next_poll_at
        return next_at is not None and next_at > now + rest

    def _bring(self, numbers: Sequence[int], now: datetime) -> None:
        for turn, number in enumerate(numbers):
            entry = self._catalog.find(number)
            if entry is None:
                continue
            pace = self.pace(entry)
            rest = pace.floor if pace.rest is None else pace.rest
            at = now + rest * ((turn + 1) / len(numbers))
            if self._polls.bring(number, at):
                self._catalog.replan(number, at, pace.reason)

    # What the poller asks.

    def pace(self, entry: Entry) -> Pace:
        """Return how often a repository is polled now, and why."""
        interval, number = entry.repository.interval, entry.watched.id
        ceiling = max(self._ceiling, interval)
        place = self._places.get(number)
        if place is None:
            return Pace(interval, ceiling)
        group = place.group
        if group.probing is Probing.NONE:
            if group.every <= interval:
                return Pace(interval, ceiling)
            return Pace(group.every, max(ceiling, group.every), reason=place.reason)
        if self._prober.is_covered(number):
            return Pace(interval, ceiling, rest=group.interval, reason=place.reason)
        alone = min(max(interval, self._left_alone.get(place.forge, interval)), ceiling)
        reason = f"every {in_words(alone)}, until {_who(group)} shows it"
        return Pace(interval, ceiling, rest=alone, reason=reason)

    def polled(self, repository_id: int, started_at: datetime) -> None:
        """Note a poll that went well, and when it began."""
        self._prober.polled(repository_id, started_at)


def plan_for(
    forge: Forge | None,
    name: str,
    members: Iterable[Member],
    limits: Limits,
    *,
    ceiling: timedelta,
    batch: int = USUAL_BATCH,
) -> ForgePlan:
    """Plan for a configured forge, and say too what a credential would change."""
    signs_in = forge is not None and forge.signs_in
    is_github = forge is not None and forge.kind == "github"
    plan = make_plan(
        name,
        members,
        limits,
        ceiling=ceiling,
        batch=batch,
        is_unchanged_free=is_github and signs_in,
    )
    if is_github and not signs_in and not plan.is_kept:
        advice = (
            f"With a token (forges.{name}.token) unchanged answers cost nothing, "
            "and whole owners are watched at once."
        )
        plan = replace(plan, sentences=(*plan.sentences, advice))
    return plan


def expected_plans(settings: Settings, forges: Forges) -> dict[str, ForgePlan]:
    """Plan for a configuration as it would be watched, by what the forges usually grant."""
    fleet: dict[str, list[Member]] = {}
    for number, repository in enumerate(settings.repositories):
        if repository.enabled:
            forge = settings.forges.get(repository.forge)
            member = Member(
                id=number,
                owner=owner_of(forge, repository),
                interval=repository.interval,
                way=forges.way_of(repository),
                is_seen=seen_by(forge, repository),
                priority=repository.priority,
            )
            fleet.setdefault(repository.forge, []).append(member)
    ceiling = settings.polling.max_interval
    return {
        name: plan_for(
            settings.forges.get(name), name, members, forges.limits(name), ceiling=ceiling
        )
        for name, members in sorted(fleet.items())
    }


def seen_by(forge: Forge | None, repository: Repository) -> frozenset[Probing]:
    """Return by which probes a repository can be noticed; pull requests show in none."""
    if forge is None or not forge.signs_in or repository.refs.wants_pulls:
        return frozenset()
    return SEEN_AT.get(forge.kind, frozenset())


def owner_of(forge: Forge | None, repository: Repository) -> str:
    """Return whose it is at its forge: the first part of its path there."""
    if forge is not None and forge.url and repository.url.startswith(forge.url + "/"):
        path = repository.url.removeprefix(forge.url + "/")  # ten times as fast as to parse it
        owner, slash, _ = path.partition("/")
        return owner.lower() if slash else ""
    remote = repository.remote
    root = urlsplit(forge.url).path.strip("/") if forge is not None else ""
    path = remote.path
    if remote.scheme in {"http", "https"} and root:
        path = path.removeprefix(root + "/")
    owner, slash, _ = path.strip("/").partition("/")
    return owner.lower() if slash and remote.scheme != "file" else ""


def _places(plan: ForgePlan, ceiling: timedelta) -> Iterable[_Place]:
    for group in plan.groups:
        yield _Place(plan.forge, group, _reason(group, ceiling))


def _reason(group: Group, ceiling: timedelta) -> str:
    every = in_words(group.every)
    if group.probing is Probing.NONE:
        return f"every {every}, for which the forge's allowance suffices"
    longest = max(ceiling, group.interval)
    return f"watched by {_who(group)} every {every}; read in full every {in_words(longest)}"


def _who(group: Group) -> str:
    if group.probing is Probing.LISTING:
        return f"the list of {group.key}'s repositories"
    return f"a query for {len(group.members)} repositories"


def _pace_of_rest(plan: ForgePlan, count: int) -> timedelta:
    """Return how often so many can be polled by what the plan leaves over, and keeps for them."""
    probed = [group.interval for group in plan.groups if group.probing is not Probing.NONE]
    if not probed or not count:
        return timedelta(0)
    in_full = min(probed)
    left = count * 3600 / in_full.total_seconds()
    for one in plan.spends:
        if one.resource in {Resource.REST_MINUTE, Resource.GIT}:
            if one.granted is None:
                return timedelta(0)
            left += max(0.0, one.granted - one.planned)
    return min(timedelta(seconds=count * 3600 / left), in_full)


def _differ(one: Limits, other: Limits) -> bool:
    pairs = (
        (one.rest_per_hour, other.rest_per_hour),
        (one.rest_per_minute, other.rest_per_minute),
        (one.graphql_per_hour, other.graphql_per_hour),
        (one.graphql_per_minute, other.graphql_per_minute),
        (one.git_per_hour, other.git_per_hour),
    )
    return any(
        (a is None) is not (b is None)
        or (a is not None and b is not None and abs(a - b) > SAME * max(a, b))
        for a, b in pairs
    )
