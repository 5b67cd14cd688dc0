"""A repository's turn: poll it, note how it went, and say when its next turn is."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from app.domain.cadence import Pace, Turn, next_turn
from app.domain.errors import ForgeBusy, LeaseLost, RepoSentryError
from app.domain.event import Event
from app.domain.repository import Repository
from app.services.branch_monitor import BranchMonitor, Finding
from app.services.catalog import MOVED_TO, Catalog, Entry
from app.services.scheduler import Call, NextCall
from app.storage.records import PollRecord, Watched

log = logging.getLogger(__name__)

# Waits after a failure are lengthened by up to this share, so that the repositories of a forge
# that failed together do not come back together.
FAILURE_JITTER = 0.1
# Why a poll takes place, where somebody waits for it, and where somebody said what it will find.
AWAITED = frozenset({"wake", "hook"})
TOLD = AWAITED | {"probe"}
HEARSAY = frozenset({"hook", "probe"})


# A choice: where a probe or a webhook told of a move and the refs know nothing of it, they are
# asked once more so much later, since a forge's servers do not all hear of a push at once.
ONCE_MORE = timedelta(seconds=5)
# A choice: our own pacing never asks for less, and a clock may stand still in between.
LEAST_WAIT = timedelta(milliseconds=50)


class Paces(Protocol):
    """Says how often each repository is polled."""

    def pace(self, entry: Entry, /) -> Pace:
        """Return how often a repository is polled now, and why."""
        ...

    def polled(self, repository_id: int, started_at: datetime, /) -> None:
        """Note a poll that went well, and when it began."""
        ...


class Steady:
    """Every repository at its own interval."""

    def __init__(self, ceiling: timedelta) -> None:
        self._ceiling = ceiling

    def pace(self, entry: Entry, /) -> Pace:
        """Return the repository's own interval."""
        return Pace(entry.repository.interval, self._ceiling)

    def polled(self, repository_id: int, started_at: datetime, /) -> None:
        """Do nothing: nobody else looks."""


class Observer(Protocol):
    """Hears of every change as it is recorded."""

    def found(self, repository: Repository, event: Event) -> None:
        """Take note; must not block and must not raise."""
        ...


class Poller:
    """Serves the scheduler's calls.

    ``describe`` is handed what receivers are owed, and must neither block nor raise; ``owed`` is
    called after it, when they may be told.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        monitor: BranchMonitor,
        observers: tuple[Observer, ...],
        describe: Callable[[Repository, Sequence[Event]], None],
        owed: Callable[[], None],
        lease_lost: Callable[[], None],
        now: Callable[[], datetime],
        chance: Callable[[], float],
        ceiling: timedelta,
        timeout: timedelta,
        paces: Paces | None = None,
    ) -> None:
        self._catalog = catalog
        self._monitor = monitor
        self._observers = observers
        self._describe = describe
        self._owed = owed
        self._lease_lost = lease_lost
        self._now = now
        self._chance = chance
        self._ceiling = ceiling
        self._timeout = timeout
        self._paces = paces or Steady(ceiling)
        # Told to have moved, and not seen to have: the refs are asked once more.
        self._asked_again: set[int] = set()
        # The code of each failing repository's last warning, by its id; a repository is polled by
        # one thread at a time. Kept here and not with the rest, so that a start tells anew.
        self._warned_of: dict[int, str | None] = {}

    def poll(self, repository_id: int, call: Call) -> NextCall:
        """Serve one call, whatever the outcome."""
        entry = self._catalog.get(repository_id)
        started_at = self._now()
        error: RepoSentryError | None = None
        finding = Finding(entry.watched)
        try:
            finding = self._monitor.poll(
                entry.repository,
                entry.watched,
                catch_up=self._is_catch_up(entry, started_at),
                woken=call.reason in TOLD,
                urgent=call.reason in AWAITED,
            )
        except ForgeBusy as busy:
            return self._put_off(entry, call, busy)
        except LeaseLost:
            self._lease_lost()
            return NextCall(started_at + self._ceiling, self._ceiling)
        except RepoSentryError as failure:
            error = failure
        except Exception as failure:
            # Noted like any other: a repository that cannot be polled must not look well.
            log.exception("poll broke", extra={"repository": entry.repository.name})
            name = type(failure).__name__
            error = RepoSentryError(f"a defect of this program ({name}); see the log")
        return self._conclude(entry, finding, error, started_at=started_at, reason=call.reason)

    def _put_off(self, entry: Entry, call: Call, busy: ForgeBusy) -> NextCall:
        """Wait for our slot; nothing was asked, so that this is neither a poll nor a failure."""
        now = self._now()
        at = max(busy.at, now + LEAST_WAIT)
        pace = self._paces.pace(entry)
        self._catalog.replan(entry.watched.id, at, "waits for its slot in the forge's allowance")
        reason = call.reason if call.reason in TOLD else "slot"
        return NextCall(at, max(pace.floor, at - now), reason)

    def _is_catch_up(self, entry: Entry, at: datetime) -> bool:
        """Tell whether the last poll was longer ago than its own plan explains."""
        watched = entry.watched
        if watched.last_poll_at is None or watched.next_poll_at is None:
            return False
        return at - watched.next_poll_at > entry.repository.interval + self._timeout

    def _conclude(
        self,
        entry: Entry,
        finding: Finding,
        error: RepoSentryError | None,
        *,
        started_at: datetime,
        reason: str,
    ) -> NextCall:
        ended_at = self._now()
        failures = entry.watched.failures + 1 if error else 0
        if not error:
            self._paces.polled(entry.watched.id, started_at)
        turn = next_turn(self._paces.pace(entry), now=ended_at, failures=failures, error=error)
        then = "retry" if error else "schedule"
        if error:
            jitter = turn.wait * FAILURE_JITTER * self._chance()
            turn = Turn(turn.at + jitter, turn.wait + jitter, turn.reason)
        elif self._is_asked_again(entry, finding, reason) and turn.wait > ONCE_MORE:
            turn = Turn(
                ended_at + ONCE_MORE, turn.wait, f"once more, since a {reason} told of a move"
            )
            then = reason
        record = PollRecord(
            repository_id=entry.watched.id,
            started_at=started_at,
            duration_ms=round((ended_at - started_at).total_seconds() * 1000),
            reason=reason,
            outcome="failed" if error else "changed" if finding.changed else "unchanged",
            read_by=None if error else finding.watched.read_by,
            changes=len(finding.events),
            error_code=error.code if error else None,
            error_message=str(error) if error else None,
        )
        # First of all, so that nothing that breaks below leaves an old standing behind.
        watched = _news(finding.watched, entry.watched)
        self._catalog.note(_standing(watched, record, turn, failures, ended_at), record)
        self._report(entry, finding, record)
        return NextCall(turn.at, turn.wait, then)

    def _is_asked_again(self, entry: Entry, finding: Finding, reason: str) -> bool:
        """Tell whether somebody spoke of a move that the refs do not show, for the first time."""
        number = entry.watched.id
        if reason not in HEARSAY or finding.changed or number in self._asked_again:
            self._asked_again.discard(number)
            return False
        self._asked_again.add(number)
        return True

    def _report(self, entry: Entry, finding: Finding, record: PollRecord) -> None:
        repository = entry.repository
        if finding.owed:
            self._describe(repository, finding.undescribed)
        if finding.events:
            self._owed()
        for event in finding.events:
            log.info(
                "change found",
                extra={
                    "repository": repository.name,
                    "ref": event.ref,
                    "kind": event.kind.value,
                    "event": event.id,
                },
            )
            for observer in self._observers:
                observer.found(repository, event)
        self._warn(repository, record)
        log.debug("poll finished", extra={"repository": repository.name, "outcome": record.outcome})

    def _warn(self, repository: Repository, record: PollRecord) -> None:
        """Tell of a failure once, and again when it becomes another; tell of its end as loudly."""
        told = self._warned_of.get(record.repository_id)
        if record.outcome == "failed" and record.error_code != told:
            self._warned_of[record.repository_id] = record.error_code
            log.warning(
                "poll failed",
                extra={
                    "repository": repository.name,
                    "code": record.error_code,
                    "error": record.error_message,
                },
            )
        elif record.outcome != "failed" and self._warned_of.pop(record.repository_id, None):
            log.warning("poll works again", extra={"repository": repository.name})


def _news(watched: Watched, begun: Watched) -> Watched:
    """Leave out where the repository was when the poll began: a probe may know better by now."""
    if watched.facts.get(MOVED_TO) != begun.facts.get(MOVED_TO):
        return watched
    others = {name: told for name, told in watched.facts.items() if name != MOVED_TO}
    return replace(watched, facts=others)


def _standing(
    watched: Watched, record: PollRecord, turn: Turn, failures: int, ended_at: datetime
) -> Watched:
    return replace(
        watched,
        last_poll_at=record.started_at,
        last_outcome=record.outcome,
        next_poll_at=turn.at,
        next_poll_reason=turn.reason,
        interval_s=turn.wait.total_seconds(),
        failures=failures,
        error_code=record.error_code,
        error_message=record.error_message,
        error_since=(watched.error_since or ended_at) if failures else None,
    )
