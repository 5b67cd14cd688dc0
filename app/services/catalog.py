"""The repositories that are watched, each with its newest standing, in memory.

An unchanged poll writes nothing at once: what it learned is noted here and flushed together with
the others' every few seconds. A crash then costs a poll, never a change.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from app.domain.errors import NotFound, StorageUnavailable
from app.domain.repository import Repository
from app.storage.records import PollRecord, PollState, Watched

# A choice: what is kept of polls while the database is down; standings are kept all the same.
MOST_RECORDS = 50_000
MOVED_TO = "moved_to"  # the fact that polls tell: None where it is over


class Store(Protocol):
    """Where the catalog comes from and is kept."""

    def sync_repositories(
        self, wanted: Sequence[Repository], *, now: datetime, fence: int
    ) -> list[Watched]:
        """Make the database's repositories those of the configuration; none is ever deleted."""
        ...

    def flush_polls(
        self, states: Sequence[PollState], records: Sequence[PollRecord], *, fence: int
    ) -> None:
        """Write how polling fares."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One repository as the configuration wants it, and as it stands."""

    repository: Repository
    watched: Watched


class Catalog:
    """Safe to use from many threads; only a repository's own poll notes its standing."""

    def __init__(self, store: Store, *, now: Callable[[], datetime], fence: int) -> None:
        self._store = store
        self._now = now
        self._fence = fence
        self._entries: dict[int, Entry] = {}
        self._ids: dict[str, int] = {}
        self._unwritten: dict[int, PollState] = {}
        self._records: list[PollRecord] = []
        self._last: dict[int, PollRecord] = {}
        self._changed = threading.Condition()

    def load(self, wanted: Sequence[Repository]) -> list[Entry]:
        """Take the configured repositories into the database, and what it knows of them here."""
        known = self._store.sync_repositories(wanted, now=self._now(), fence=self._fence)
        entries = [Entry(*pair) for pair in zip(wanted, known, strict=True)]
        with self._changed:
            self._entries = {entry.watched.id: entry for entry in entries}
            self._ids = {entry.repository.name: entry.watched.id for entry in entries}
        return entries

    def get(self, repository_id: int) -> Entry:
        """Return an entry by its number.

        Raises:
            NotFound: It is not watched.
        """
        entry = self._entries.get(repository_id)
        if entry is None:
            raise NotFound(f"no repository with number {repository_id} is watched")
        return entry

    def find(self, repository_id: int) -> Entry | None:
        """Return an entry by its number, None where it is not watched."""
        return self._entries.get(repository_id)

    def by_name(self, name: str) -> Entry:
        """Return an entry by its name.

        Raises:
            NotFound: It is not watched.
        """
        repository_id = self._ids.get(name)
        if repository_id is None:
            raise NotFound(f"no repository named {name!r} is watched")
        return self.get(repository_id)

    def entries(self) -> list[Entry]:
        """Return every entry as it stands at this moment."""
        with self._changed:
            return list(self._entries.values())

    def pause(self, repository_id: int, at: datetime | None) -> None:
        """Note that a repository is paused since ``at``, or is not (None)."""
        with self._changed:
            entry = self.get(repository_id)
            watched = replace(entry.watched, paused_at=at)
            self._entries[repository_id] = Entry(entry.repository, watched)

    def replan(self, repository_id: int, at: datetime, reason: str) -> None:
        """Note that a repository's next poll comes at another time than its last one decided."""
        with self._changed:
            entry = self._entries.get(repository_id)
            if entry is not None:
                self._put(entry, replace(entry.watched, next_poll_at=at, next_poll_reason=reason))

    def learn(self, repository_id: int, facts: Mapping[str, Any]) -> None:
        """Note what a forge tells of a repository beside its refs; what else is known stays.

        What is told to be None is forgotten.
        """
        with self._changed:
            entry = self._entries.get(repository_id)
            if entry is not None:
                told = _facts({**entry.watched.facts, **facts})
                self._put(entry, replace(entry.watched, facts=told))

    def _put(self, entry: Entry, watched: Watched) -> None:
        self._entries[watched.id] = Entry(entry.repository, watched)
        self._unwritten[watched.id] = _state(watched)

    def note(self, watched: Watched, record: PollRecord) -> None:
        """Note a poll's outcome, to be written with the next flush."""
        with self._changed:
            entry = self._entries.get(watched.id)
            if entry is None:
                return
            # What was done and learned meanwhile stays: of the facts a poll tells only where the
            # repository is now, and has the others as they were when it began.
            polled = {name: told for name, told in watched.facts.items() if name == MOVED_TO}
            facts = _facts({**watched.facts, **entry.watched.facts, **polled})
            self._put(entry, replace(watched, paused_at=entry.watched.paused_at, facts=facts))
            self._records.append(record)
            self._last[watched.id] = record
            self._changed.notify_all()

    def live(self, repository_id: int) -> PollState | None:
        """Return how polling fares at this moment, or None where that is not known here."""
        entry = self._entries.get(repository_id)
        return _state(entry.watched) if entry else None

    def wait_for_poll(
        self, repository_id: int, *, since: datetime, wait_s: float
    ) -> PollRecord | None:
        """Wait for the end of a poll that began at ``since`` or later; None if none did in time."""

        def ended() -> PollRecord | None:
            last = self._last.get(repository_id)
            return last if last and last.started_at >= since else None

        with self._changed:
            return self._changed.wait_for(ended, wait_s)

    def flush(self) -> None:
        """Write what was noted; what the database cannot take now is kept for the next time.

        What it refuses is dropped, since it would refuse it for ever and all that follows with it.

        Raises:
            RepoSentryError: It could not be written.
        """
        with self._changed:
            states, self._unwritten = self._unwritten, {}
            records, self._records = self._records, []
        if not (records or states):
            return
        try:
            self._store.flush_polls(list(states.values()), records, fence=self._fence)
        except StorageUnavailable:
            with self._changed:
                self._unwritten = states | self._unwritten
                self._records = (records + self._records)[-MOST_RECORDS:]
            raise


def _facts(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if value is not None}


def _state(watched: Watched) -> PollState:
    return PollState(
        repository_id=watched.id,
        validator=watched.validator,
        read_by=watched.read_by,
        last_poll_at=watched.last_poll_at,
        last_outcome=watched.last_outcome,
        next_poll_at=watched.next_poll_at,
        next_poll_reason=watched.next_poll_reason,
        interval_s=watched.interval_s,
        failures=watched.failures,
        error_code=watched.error_code,
        error_message=watched.error_message,
        error_since=watched.error_since,
        facts=watched.facts,
    )
