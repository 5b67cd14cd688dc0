"""What polling left behind: each repository's newest standing, its polls, and how old rows go."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Insert, Table, bindparam, delete, func, insert, select, update

from app.domain.event import EventState
from app.storage.lease import check_fence
from app.storage.records import PollRecord, PollState
from app.storage.tables import deliveries, events, hooks, poll_hours, polls, repositories
from app.storage.types import milliseconds, plain
from app.storage.upsert import upsert_into

POLLS_KEPT = 200  # of each repository; a choice
NAMED_AT_ONCE = 500  # positions in one statement; older SQLites allow 999
LONGEST_ERROR = 10_000  # characters; a choice

_FINISHED = (EventState.DELIVERED, EventState.FAILED, EventState.IGNORED)


def polling(state: PollState) -> dict[str, Any]:
    """Return the columns of a repository that tell how polling fares."""
    return {
        "of_id": state.repository_id,
        "validator": dict(state.validator) or None,
        "read_by": state.read_by,
        "last_poll_at": state.last_poll_at,
        "last_outcome": state.last_outcome,
        "next_poll_at": state.next_poll_at,
        "next_poll_reason": plain(state.next_poll_reason, 200),
        "interval_s": state.interval_s,
        "failures": state.failures,
        "error_code": state.error_code,
        "error_message": plain(state.error_message, LONGEST_ERROR),
        "error_since": state.error_since,
        "facts": dict(state.facts) or None,
    }


def write_states(connection: Connection, rows: Sequence[dict[str, Any]], *, fence: int) -> None:
    """Write how polling fares for repositories, as ``polling`` spelled it."""
    check_fence(connection, fence)
    values: dict[str, Any] = {name: bindparam(name) for name in rows[0] if name != "of_id"}
    of_id = repositories.c.id == bindparam("of_id")
    connection.execute(update(repositories).where(of_id).values(values), rows)


def write_records(connection: Connection, records: Sequence[PollRecord], *, fence: int) -> None:
    """Keep the polls that tell something, and count all of them by the hour."""
    check_fence(connection, fence)
    kept = [_poll_row(record) for record in records if record.outcome != "unchanged"]
    if kept:
        connection.execute(insert(polls), kept)
    connection.execute(_add_to_hours(connection.dialect.name), _count(records))


@cache
def _add_to_hours(dialect: str) -> Insert:
    counters = ("changed", "unchanged", "failed", "took_ms")
    return upsert_into(
        poll_hours, dialect, lambda new: {name: poll_hours.c[name] + new[name] for name in counters}
    )


def _poll_row(record: PollRecord) -> dict[str, Any]:
    return {
        "repository_id": record.repository_id,
        "started_at": record.started_at,
        "duration_ms": milliseconds(record.duration_ms),
        "reason": record.reason,
        "outcome": record.outcome,
        "read_by": record.read_by,
        "changes": record.changes,
        "error_code": record.error_code,
        "error_message": plain(record.error_message, LONGEST_ERROR),
    }


def _count(records: Iterable[PollRecord]) -> list[dict[str, Any]]:
    """Add polls up for each repository and hour, in the order of their keys."""
    counted: dict[tuple[int, datetime], dict[str, Any]] = {}
    for record in records:
        hour = record.started_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        nothing = {"changed": 0, "unchanged": 0, "failed": 0, "took_ms": 0}
        row = counted.setdefault((record.repository_id, hour), nothing)
        row[record.outcome] += 1
        row["took_ms"] += milliseconds(record.duration_ms)
    return [
        {"repository_id": repository_id, "hour": hour, **row}
        for (repository_id, hour), row in sorted(counted.items())
    ]


def prune_events(connection: Connection, before: datetime, limit: int) -> int:
    """Delete finished events, oldest first; deliveries and attempts go with them."""
    owed = (
        select(deliveries.c.position)
        .where(deliveries.c.event_position == events.c.position, deliveries.c.finished_at.is_(None))
        .exists()
    )
    old = (
        select(events.c.position)
        .where(
            events.c.detected_at < before,
            events.c.state.in_([state.value for state in _FINISHED]),
            ~owed,
        )
        .order_by(events.c.detected_at)
        .limit(limit)
    )
    return _delete(connection, events, connection.scalars(old).all())


def prune_polls(connection: Connection, before: datetime, limit: int) -> int:
    """Delete polls, oldest first."""
    old = (
        select(polls.c.position)
        .where(polls.c.started_at < before)
        .order_by(polls.c.started_at)
        .limit(limit)
    )
    return _delete(connection, polls, connection.scalars(old).all())


def prune_hours(connection: Connection, before: datetime, limit: int) -> int:
    """Delete hourly counts, oldest first."""
    old = (
        select(poll_hours.c.repository_id, poll_hours.c.hour)
        .where(poll_hours.c.hour < before)
        .order_by(poll_hours.c.hour)
        .limit(limit)
    )
    rows = [{"of_id": of_id, "at_hour": hour} for of_id, hour in connection.execute(old)]
    if rows:
        one = delete(poll_hours).where(
            poll_hours.c.repository_id == bindparam("of_id"),
            poll_hours.c.hour == bindparam("at_hour"),
        )
        connection.execute(one, rows)
    return len(rows)


def prune_hooks(connection: Connection, before: datetime, limit: int) -> int:
    """Delete webhooks that came before then, oldest first."""
    old = (
        select(hooks.c.position)
        .where(hooks.c.received_at < before)
        .order_by(hooks.c.received_at)
        .limit(limit)
    )
    return _delete(connection, hooks, connection.scalars(old).all())


def crowded(connection: Connection) -> list[tuple[int, int]]:
    """List repositories with too many polls, each with the newest position that must go."""
    many = (
        select(polls.c.repository_id)
        .group_by(polls.c.repository_id)
        .having(func.count() > POLLS_KEPT)
    )
    return [
        (repository_id, position)
        for repository_id in connection.scalars(many).all()
        for position in connection.scalars(
            select(polls.c.position)
            .where(polls.c.repository_id == repository_id)
            .order_by(polls.c.position.desc())
            .offset(POLLS_KEPT)
            .limit(1)
        )
    ]


def prune_crowd(connection: Connection, repository_id: int, newest: int) -> int:
    """Delete one repository's polls up to and with the position ``newest``."""
    surplus = delete(polls).where(
        polls.c.repository_id == repository_id, polls.c.position <= newest
    )
    return connection.execute(surplus).rowcount


def _delete(connection: Connection, table: Table, positions: Sequence[int]) -> int:
    for begin in range(0, len(positions), NAMED_AT_ONCE):
        chunk = positions[begin : begin + NAMED_AT_ONCE]
        connection.execute(delete(table).where(table.c.position.in_(chunk)))
    return len(positions)
