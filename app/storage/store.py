"""Repositories and their snapshots: what was seen last, and the step from there to what is new."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from functools import cache, partial
from typing import Any

from sqlalchemy import Connection, Insert, bindparam, delete, func, insert, select, update

from app.domain.delivery import DeliveryState
from app.domain.details import Details
from app.domain.errors import NotFound
from app.domain.event import Event, EventState, delivery_id
from app.domain.paths import touched_to_json
from app.domain.repository import Repository
from app.domain.round_trips import Move
from app.storage import history, holds
from app.storage.database import Database
from app.storage.details import keep, known
from app.storage.lease import check_fence
from app.storage.records import Advance, Owed, PollRecord, PollState, Watched
from app.storage.roster import COLUMNS, sync, watched_of
from app.storage.tables import deliveries, events, refs, repositories
from app.storage.upsert import upsert_into

# Choices: how many refs one statement names (older SQLites allow 999), and for how many rows a
# flush holds up other writers.
NAMED_AT_ONCE = 500
FLUSHED_AT_ONCE = 500
# A choice: as many events of a repository are looked at for those that a forge's log tells too.
NEWEST_MOVES = 200

# Made once: SQLAlchemy takes longer to make a statement than SQLite to run it.
_MOVE = (
    update(repositories)
    .where(
        repositories.c.id == bindparam("of_id"),
        repositories.c.sequence == bindparam("from_sequence"),
        repositories.c.digest.is_not_distinct_from(bindparam("from_digest")),
    )
    .values(
        sequence=bindparam("to_sequence"),
        digest=bindparam("to_digest"),
        watched=bindparam("to_watched"),
        refs_count=bindparam("to_refs_count"),
        default_branch=bindparam("to_default_branch"),
        last_change_at=func.coalesce(
            bindparam("changed_at", type_=repositories.c.last_change_at.type),
            repositories.c.last_change_at,
        ),
    )
)
_WRITTEN = select(events.c.id, events.c.position).where(
    events.c.repository_id == bindparam("of_id"), events.c.sequence > bindparam("from_sequence")
)
_INSERT_EVENTS = insert(events)
_INSERT_DELIVERIES = insert(deliveries)


class Store:
    """Keeps what is watched; safe to use from many threads.

    Where a ``fence`` is asked for, LeaseLost is raised, and nothing written, if another process
    has taken the lease. StorageUnavailable means that nothing was written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def sync_repositories(
        self, wanted: Sequence[Repository], *, now: datetime, fence: int
    ) -> list[Watched]:
        """Make the repositories of the configuration file those of the database.

        A repository is known by its URL, or else by the URL under which it was first seen. One
        that is no longer wanted is retired and keeps its history; one that comes back goes on from
        its last snapshot. One that the API managed is the file's from now on.

        Returns:
            How each of them stands, in the order of ``wanted``.
        """

        def work(connection: Connection) -> list[Watched]:
            check_fence(connection, fence)
            return sync(connection, wanted, at=now)

        return self._database.write(work)

    def watched(self, repository_id: int) -> Watched:
        """Return how a repository stands.

        Raises:
            NotFound: There is none with that number.
        """
        found = self._find(repositories.c.id == repository_id)
        if not found:
            raise NotFound(f"there is no repository with number {repository_id}")
        return found[0]

    def list_watched(self) -> list[Watched]:
        """List all that are not retired."""
        return self._find(repositories.c.retired_at.is_(None))

    def find_by_name(self, name: str) -> Watched | None:
        """Find the one that has this name now."""
        found = self._find(repositories.c.name == name, repositories.c.retired_at.is_(None))
        return found[0] if found else None

    def pause(self, repository_id: int, *, at: datetime | None) -> None:
        """Note that people paused a repository, or (None) let it go on.

        Raises:
            NotFound: There is none with that number.
        """
        change = update(repositories).where(repositories.c.id == repository_id)
        counted = self._database.write(
            lambda connection: connection.execute(change.values(paused_at=at)).rowcount
        )
        if not counted:
            raise NotFound(f"there is no repository with number {repository_id}")

    def snapshot(self, repository_id: int) -> dict[str, str]:
        """Return the refs as they were last written, by their full names."""
        question = select(refs.c.name, refs.c.commit_id).where(
            refs.c.repository_id == repository_id
        )
        with self._database.read() as connection:
            # Straight from the driver: a repository may have tens of thousands, and SQLAlchemy's
            # rows would take as long again (25,000 refs of SQLite: 20 ms and not 34).
            return dict(connection.execute(question).cursor.fetchall())

    def moves(self, repository_id: int, *, since: datetime) -> list[Move]:
        """List what was found since then, oldest first, among the newest 200 events."""
        question = (
            select(events.c.ref, events.c.before, events.c.after, events.c.detected_at)
            .where(events.c.repository_id == repository_id)
            .order_by(events.c.sequence.desc())
            .limit(NEWEST_MOVES)
        )
        with self._database.read() as connection:
            found = connection.execute(question).all()
        return [(row.ref, row.before, row.after) for row in reversed(found) if row[3] >= since]

    def advance(self, step: Advance, *, fence: int) -> bool:
        """Take a step whole or not at all: the new refs, their events, and who is owed them.

        Returns:
            False, with nothing written, when the snapshot is no longer the step's start.
        """
        return self._database.write(lambda connection: _advance(connection, step, fence=fence))

    def keep_details(self, event_id: str, details: Details) -> "Future[None]":
        """Add to an event what was told of it later; returns at once.

        Raises:
            StorageUnavailable: The database is closed. All else reaches the future.
        """
        return self._database.write_soon(partial(keep, event_id=event_id, details=details))

    def flush_polls(
        self, states: Sequence[PollState], records: Sequence[PollRecord], *, fence: int
    ) -> None:
        """Write how polling fares, and which polls took place.

        The polls are written last and at once: after a failure all of it can be handed in again,
        and no poll counts twice.
        """
        rows = sorted(map(history.polling, states), key=lambda row: row["of_id"])
        for begin in range(0, len(rows), FLUSHED_AT_ONCE):
            chunk = rows[begin : begin + FLUSHED_AT_ONCE]
            self._database.write(partial(history.write_states, rows=chunk, fence=fence))
        if records:
            self._database.write(partial(history.write_records, records=records, fence=fence))

    def prune(self, *, events_before: datetime, polls_before: datetime, limit: int = 1000) -> int:
        """Delete history in small transactions: finished events, and polls, that are too old.

        Of polls a repository keeps its last 200 at most. Refs are never deleted here.

        Args:
            events_before: Events found earlier go, with deliveries and attempts, once all their
                deliveries are finished; so do storms that ended earlier, and webhooks that came.
            polls_before: Polls and hourly counts that are older go.
            limit: The most rows to delete in one transaction; other writers take their turns
                between them.

        Returns:
            How many rows went.
        """
        gone = self._delete(history.prune_events, events_before, limit)
        gone += self._delete(holds.prune, events_before, limit)
        gone += self._delete(history.prune_hooks, events_before, limit)
        gone += self._delete(history.prune_polls, polls_before, limit)
        gone += self._delete(history.prune_hours, polls_before, limit)
        with self._database.read() as connection:
            crowded = history.crowded(connection)
        for repository_id, newest in crowded:
            gone += self._database.write(
                partial(history.prune_crowd, repository_id=repository_id, newest=newest)
            )
        return gone

    def _delete(
        self, prune: Callable[[Connection, datetime, int], int], before: datetime, limit: int
    ) -> int:
        """Delete a little at a time until nothing is left to delete."""
        total = 0
        while True:
            gone = self._database.write(lambda connection: prune(connection, before, limit))
            total += gone
            if gone < limit:
                return total

    def _find(self, *conditions: Any) -> list[Watched]:
        question = select(*COLUMNS).where(*conditions).order_by(repositories.c.id)
        with self._database.read() as connection:
            return [watched_of(row) for row in connection.execute(question)]


def _advance(connection: Connection, step: Advance, *, fence: int) -> bool:
    check_fence(connection, fence)
    if not _move(connection, step):
        return False
    _write_refs(connection, step)
    wanted = {owed.event_id for owed in step.owed}
    held = holds.place(
        connection,
        step.repository_id,
        [event for event in step.events if event.id in wanted],
        hold=step.hold,
        at=step.at,
    )
    if step.events:
        _write_events(connection, step, wanted, held)
    if step.owed:
        _owe(connection, step, held)
    return True


def _move(connection: Connection, step: Advance) -> bool:
    values = {
        "of_id": step.repository_id,
        "from_sequence": step.from_sequence,
        "from_digest": step.from_digest,
        "to_sequence": step.from_sequence + len(step.events),
        "to_digest": step.to_digest,
        "to_watched": dict(step.watched),
        "to_refs_count": step.refs_count,
        "to_default_branch": step.default_branch,
        "changed_at": step.at if step.events else None,
    }
    return connection.execute(_MOVE, values).rowcount == 1


def _write_refs(connection: Connection, step: Advance) -> None:
    for begin in range(0, len(step.removals), NAMED_AT_ONCE):
        connection.execute(
            delete(refs).where(
                refs.c.repository_id == step.repository_id,
                refs.c.name.in_(step.removals[begin : begin + NAMED_AT_ONCE]),
            )
        )
    rows = [
        {
            "repository_id": step.repository_id,
            "name": name,
            "commit_id": commit_id,
            "changed_at": step.at,
        }
        for name, commit_id in step.upserts.items()
    ]
    if rows:
        connection.execute(_upsert_refs(connection.dialect.name), rows)


@cache
def _upsert_refs(dialect: str) -> Insert:
    names = ("commit_id", "changed_at")
    return upsert_into(refs, dialect, lambda new: {name: new[name] for name in names})


def _write_events(
    connection: Connection, step: Advance, wanted: Collection[str], held: Mapping[str, str]
) -> None:
    rows = [
        _event_row(event, step, is_wanted=event.id in wanted, hold_id=held.get(event.id))
        for event in step.events
    ]
    # In this order: a later position is a later event.
    connection.execute(_INSERT_EVENTS, rows)


def _event_row(
    event: Event, step: Advance, *, is_wanted: bool, hold_id: str | None
) -> dict[str, Any]:
    state = EventState.OPEN if is_wanted else EventState.IGNORED
    return {
        "id": event.id,
        "repository_id": step.repository_id,
        "sequence": event.sequence,
        "kind": event.kind.value,
        "ref": event.ref,
        "before": event.before,
        "after": event.after,
        "forced": event.forced,
        "pushed_at": event.pushed_at,
        "detected_at": event.detected_at,
        "catch_up": event.catch_up,
        "state": (EventState.HELD if hold_id else state).value,
        "hold_id": hold_id,
        "paths": None if event.paths is None else touched_to_json(event.paths),
        **known(step.details.get(event.id)),
    }


def _owe(connection: Connection, step: Advance, held: Mapping[str, str]) -> None:
    where = {"of_id": step.repository_id, "from_sequence": step.from_sequence}
    positions = {str(of): int(position) for of, position in connection.execute(_WRITTEN, where)}
    in_order = sorted(step.owed, key=lambda owed: positions[owed.event_id])
    rows = [
        delivery_row(
            owed,
            event_position=positions[owed.event_id],
            repository_id=step.repository_id,
            redelivery=0,
            at=step.at,
            is_held=owed.event_id in held,
        )
        for owed in in_order
    ]
    connection.execute(_INSERT_DELIVERIES, rows)


def delivery_row(
    owed: Owed,
    *,
    event_position: int,
    repository_id: int,
    redelivery: int,
    at: datetime,
    is_held: bool = False,
) -> dict[str, Any]:
    """Return the row of a delivery that has not been tried: due at once, unless it is held."""
    return {
        "id": delivery_id(event=owed.event_id, receiver=owed.receiver, redelivery=redelivery),
        "event_position": event_position,
        "repository_id": repository_id,
        "receiver": owed.receiver,
        "redelivery": redelivery,
        "payload": owed.payload,
        "state": (DeliveryState.HELD if is_held else DeliveryState.PENDING).value,
        "attempts_made": 0,
        "next_attempt_at": None if is_held else at,
        "created_at": at,
    }
