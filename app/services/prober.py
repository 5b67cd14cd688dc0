"""Asks the plan's probes at their pace, and wakes the repositories that moved.

A probe only wakes. What it covers is polled by itself all the same, if rarely; and a probe that
failed, or is late, covers nobody.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Protocol

from app.domain.errors import (
    ForgeBusy,
    ForgeDenied,
    ForgeRateLimited,
    ForgeSignInRefused,
    RepoSentryError,
)
from app.domain.plan import ForgePlan, Group, ProbeHealth, Probing
from app.forges.client import HERE
from app.forges.probe import Facts, Probe, Seen
from app.services.catalog import MOVED_TO, Catalog, Entry
from app.services.scheduler import Call, NextCall

log = logging.getLogger(__name__)

# An answer that is this many times its pace late covers nobody any more.
LATE = 3
# A choice: from the third failure in a row on, another way is looked for.
FAILURES = 3
# A choice: a list is read in full the first time, which may take several answers.
ANSWERS = 2
# Asked again so much later with each failure, at most; a probe that fails costs next to nothing.
LONGEST_WAIT = timedelta(minutes=1)
# A choice: how far a forge's clock may be from ours.
CLOCKS_APART = timedelta(minutes=2)
# Nothing is asked of a probe that is gone; its seat is.
GONE = timedelta(days=1)


class Seats(Protocol):
    """Where probes wait for their turn: a scheduler of their own."""

    def add(self, number: int, /, *, due_at: datetime, wait: timedelta, reason: str) -> None:
        """Give a probe its turn."""
        ...

    def remove(self, number: int, /) -> None:
        """Give it none any more."""
        ...

    def start(self) -> None:
        """Begin to call them; to be called again and again."""
        ...


@dataclass(slots=True, eq=False)
class _Watch:
    """One probe at work; what others read is replaced and not changed."""

    forge: str
    probe: Probe
    group: Group
    members: frozenset[int]
    covered: frozenset[int] = frozenset()
    # Covered, but not polled since: what moved before the probe began would be missed.
    unsettled: dict[int, datetime] = field(default_factory=dict)
    asked_at: datetime | None = None
    answered_at: datetime | None = None
    answers: int = 0
    failures: int = 0
    failing_since: datetime | None = None
    error: RepoSentryError | None = None
    moved: int = 0
    requests: int = 0
    points: int = 0
    last: tuple[int, int] = (0, 0)  # of the last answer: repositories, and requests for them

    def missed(self) -> frozenset[int]:
        """Return who is not shown, and will not be."""
        if isinstance(self.error, ForgeDenied):
            # A credential that was refused is another matter: a person will mend it.
            is_for_good = not isinstance(self.error, ForgeSignInRefused)
            return self.members if is_for_good else frozenset()
        if self.answers < ANSWERS or self.failures:
            return frozenset()
        return self.members - self.covered

    def is_well(self, now: datetime) -> bool:
        """Tell whether it would have shown what moved."""
        if self.answered_at is None or self.error is not None:
            return False
        return now - self.answered_at <= self.group.every * LATE


class Prober:
    """Safe for many threads; each probe is asked by one at a time.

    Args:
        catalog: What is watched.
        probe_for: Makes a probe of a forge's for a group; None where there is none.
        wake: Brings a repository's poll forward.
        now: The clock.
        timeout: How long one question may take.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        probe_for: Callable[[str, Probing, str], Probe | None],
        wake: Callable[[int], None],
        now: Callable[[], datetime],
        timeout: timedelta,
    ) -> None:
        self._catalog = catalog
        self._probe_for = probe_for
        self._wake = wake
        self._now = now
        self._timeout_s = timeout.total_seconds()
        self._lock = threading.Lock()
        self._numbers: dict[tuple[str, Probing, str], int] = {}
        self._watches: dict[int, _Watch] = {}
        self._of: dict[int, _Watch] = {}
        self._made = 0

    # What the plan wants.

    def follow(self, plans: Iterable[ForgePlan], seats: Seats) -> None:
        """Ask as these plans say; a probe that was there before goes on, with other members."""
        with self._lock:
            wanted = {
                (plan.forge, group.probing, group.key): group
                for plan in plans
                for group in plan.groups
                if group.probing is not Probing.NONE
            }
            for key in self._numbers.keys() - wanted.keys():
                number = self._numbers.pop(key)
                seats.remove(number)
                self._watches.pop(number, None)
            taken_up = [self._take_up(key, group) for key, group in wanted.items()]
            begun = [number for number in taken_up if number is not None]
            self._of = {
                repository_id: watch
                for watch in self._watches.values()
                for repository_id in watch.members
            }
            now = self._now()
            for turn, number in enumerate(begun):
                every = self._watches[number].group.every
                due_at = now + every * (turn / len(begun))
                seats.add(number, due_at=due_at, wait=every, reason="start")
            if self._watches:
                seats.start()

    def _take_up(self, key: tuple[str, Probing, str], group: Group) -> int | None:
        """Return a probe's number if it is new."""
        forge, probing, name = key
        members = frozenset(group.members)
        number = self._numbers.get(key)
        if number is not None:
            watch = self._watches[number]
            if watch.members != members:
                watch.members, watch.answers = members, 0
                watch.covered &= members
                watch.unsettled = {n: at for n, at in watch.unsettled.items() if n in members}
            watch.group = group
            return None
        probe = self._probe_for(forge, probing, name)
        if probe is None:
            return None
        self._made += 1
        self._numbers[key] = self._made
        self._watches[self._made] = _Watch(forge, probe, group, members)
        return self._made

    # A probe's turn.

    def ask(self, number: int, call: Call) -> NextCall:
        """Serve one call, whatever the outcome."""
        asked_at = self._now()
        watch = self._watches.get(number)
        if watch is None:
            return NextCall(asked_at + GONE, GONE)
        watch.asked_at = asked_at
        every = watch.group.every
        entries = [entry for one in watch.members if (entry := self._entry(one)) is not None]
        try:
            seen = watch.probe.ask(
                [entry.repository for entry in entries], timeout_s=self._timeout_s
            )
        except ForgeBusy as busy:
            return NextCall(max(busy.at, asked_at), every, "slot")
        except RepoSentryError as error:
            return self._fail(watch, error)
        except Exception as failure:
            log.exception("probe broke", extra={"forge": watch.forge, "probe": watch.probe.name})
            name = type(failure).__name__
            return self._fail(
                watch, RepoSentryError(f"a defect of this program ({name}); see the log")
            )
        self._heed(watch, seen, entries, asked_at)
        return NextCall(max(asked_at + every, self._now()), every)

    def _entry(self, repository_id: int) -> Entry | None:
        entry = self._catalog.find(repository_id)
        if entry is None or not entry.repository.enabled or entry.watched.paused_at is not None:
            return None
        return entry

    def _fail(self, watch: _Watch, error: RepoSentryError) -> NextCall:
        now = self._now()
        is_new = watch.error is None or watch.error.code != error.code
        watch.failures += 1
        watch.failing_since = watch.failing_since or now
        watch.error = error
        if is_new:
            log.warning(
                "probe failed",
                extra={
                    "forge": watch.forge,
                    "probe": watch.probe.name,
                    "code": error.code,
                    "error": str(error),
                },
            )
        every = watch.group.every
        wait = min(every * 2 ** min(watch.failures - 1, 20), max(LONGEST_WAIT, every))
        at = now + wait
        if isinstance(error, ForgeRateLimited):
            at = max(at, error.reset_at)
        return NextCall(at, max(wait, at - now), "retry")

    def _heed(
        self, watch: _Watch, seen: Seen, entries: Sequence[Entry], asked_at: datetime
    ) -> None:
        if watch.error is not None:
            log.warning(
                "probe works again", extra={"forge": watch.forge, "probe": watch.probe.name}
            )
        of_url: dict[str, list[Entry]] = {}
        for entry in entries:
            of_url.setdefault(entry.repository.url, []).append(entry)
        with self._lock:
            new = self._cover(watch, _numbers(seen.covered, of_url))
            moved = _numbers(seen.moved, of_url) - new
            for entry in entries:
                since = _since_its_poll(entry, seen) if entry.watched.id in new else Since.QUIET
                if since is not Since.QUIET:
                    watch.unsettled[entry.watched.id] = asked_at
                if since is Since.MOVED:
                    moved |= {entry.watched.id}
            watch.answered_at, watch.error, watch.failing_since = self._now(), None, None
            watch.failures = 0
            watch.answers += 1
            watch.moved += len(moved)
            watch.requests += seen.requests
            watch.points += seen.points
            watch.last = len(entries), seen.requests
        for repository_id in sorted(moved):
            self._wake(repository_id)
        for url, facts in seen.facts.items():
            for entry in of_url.get(url, ()):
                self._learn(entry, facts)

    def _cover(self, watch: _Watch, shown: frozenset[int]) -> frozenset[int]:
        """Note who is covered; return who was not before."""
        covered = shown & watch.members
        new = covered - watch.covered
        for number in watch.unsettled.keys() - covered:
            del watch.unsettled[number]
        watch.covered = covered
        return new

    def _learn(self, entry: Entry, facts: Facts) -> None:
        told = {
            name: value
            for name in (MOVED_TO, "is_archived", "is_disabled")
            if (value := getattr(facts, name)) is not None
        }
        known = (self._catalog.find(entry.watched.id) or entry).watched.facts
        if any(value != known.get(name, HERE) for name, value in told.items()):
            is_here = told.get(MOVED_TO) == HERE
            self._catalog.learn(entry.watched.id, told | ({MOVED_TO: None} if is_here else {}))

    # What others ask.

    def is_covered(self, repository_id: int) -> bool:
        """Tell whether a probe would have shown that it moved since its last poll."""
        watch = self._of.get(repository_id)
        return (
            watch is not None
            and repository_id in watch.covered
            and repository_id not in watch.unsettled
            and watch.is_well(self._now())
        )

    def covered(self) -> set[int]:
        """Return the numbers of all that are covered."""
        now = self._now()
        with self._lock:
            well = [watch for watch in self._watches.values() if watch.is_well(now)]
            return set().union(*(watch.covered - watch.unsettled.keys() for watch in well))

    def polled(self, repository_id: int, started_at: datetime) -> None:
        """Note a poll that went well: from its beginning on, the probe shows what moves."""
        watch = self._of.get(repository_id)
        if watch is None or not watch.unsettled:
            return
        with self._lock:
            since = watch.unsettled.get(repository_id)
            if since is not None and since <= started_at:
                del watch.unsettled[repository_id]

    def failing(self) -> dict[Probing, set[int]]:
        """Return whose probe, of each sort, has failed again and again."""
        with self._lock:
            watches = [one for one in self._watches.values() if one.failures >= FAILURES]
            return _by_probing((one.group.probing, one.members) for one in watches)

    def unseen(self) -> dict[Probing, set[int]]:
        """Return whom each sort of probe does not show: it lacks them, or is denied to us."""
        with self._lock:
            watches = list(self._watches.values())
            missed = [(one.group.probing, one.missed()) for one in watches]
        return _by_probing(
            (probing, frozenset(n for n in numbers if self._entry(n)))
            for probing, numbers in missed
        )

    def batch_size(self, forge: str, usual: int) -> int:
        """Return how many repositories one query takes there, as measured, or else the usual.

        Where several queries were needed, that is what one took. Where one was enough, it might
        have taken more.
        """
        with self._lock:
            seen = [
                watch.last
                for watch in self._watches.values()
                if watch.forge == forge and watch.group.probing is Probing.BATCH
            ]
        taken = [-(-count // requests) for count, requests in seen if requests > 1]
        whole = [count for count, requests in seen if requests == 1]
        return min(taken) if taken else max([usual, *whole])

    def name_of(self, repository_id: int) -> str | None:
        """Return the name of the probe that should cover a repository."""
        watch = self._of.get(repository_id)
        return watch.probe.name if watch else None

    def healths(self) -> tuple[ProbeHealth, ...]:
        """Tell how each probe fares."""
        now = self._now()
        with self._lock:
            return tuple(
                ProbeHealth(
                    name=watch.probe.name,
                    forge=watch.forge,
                    probing=watch.group.probing,
                    every=watch.group.every,
                    members=len(watch.members),
                    covered=len(watch.covered) if watch.is_well(now) else 0,
                    asked_at=watch.asked_at,
                    answered_at=watch.answered_at,
                    error=str(watch.error) if watch.error else None,
                    failing_since=watch.failing_since,
                    moved=watch.moved,
                    requests=watch.requests,
                    points=watch.points,
                )
                for watch in self._watches.values()
            )


def _numbers(urls: Iterable[str], of_url: Mapping[str, Sequence[Entry]]) -> frozenset[int]:
    return frozenset(entry.watched.id for url in urls for entry in of_url.get(url, ()))


class Since(Enum):
    """What became of a repository after its last poll, as far as its probe's first answer tells."""

    QUIET = auto()
    MOVED = auto()
    UNKNOWN = auto()


def _since_its_poll(entry: Entry, seen: Seen) -> Since:
    """Tell whether one that is covered from now on moved before the probe began to look.

    Else a start would wake everything at once. Who is not known to have been quiet is covered
    from its next poll on.
    """
    facts = seen.facts.get(entry.repository.url)
    watched = entry.watched
    if watched.last_poll_at is None or watched.digest is None or watched.error_code is not None:
        return Since.UNKNOWN
    if facts is None or facts.pushed_at is None:
        return Since.UNKNOWN
    is_quiet = facts.pushed_at + CLOCKS_APART < watched.last_poll_at
    return Since.QUIET if is_quiet else Since.MOVED


def _by_probing(found: Iterable[tuple[Probing, frozenset[int]]]) -> dict[Probing, set[int]]:
    gathered: dict[Probing, set[int]] = {}
    for probing, numbers in found:
        if numbers:
            gathered.setdefault(probing, set()).update(numbers)
    return gathered
