"""What becomes of deliveries while they are sent: claims, attempts, and the state of their events.

All of it works on many deliveries at once: a lane's next thirty-two are claimed by three statements
and not by a hundred, and that many attempts are recorded by six.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, insert, select, update

from app.domain.delivery import DeliveryState
from app.domain.event import EventState
from app.storage.records import AttemptResult, Prepared
from app.storage.tables import attempts, deliveries, events
from app.storage.types import milliseconds, plain

# The database keeps the beginning of an answer; the rest helps nobody and may be endless.
LONGEST_ANSWER = 1024
INTERRUPTED = "the process ended before the outcome was recorded; it may have been received"

_STANDING = select(
    deliveries.c.position,
    deliveries.c.event_position,
    deliveries.c.state,
    deliveries.c.finished_at,
    deliveries.c.claimed_until,
    deliveries.c.claim_fence,
    deliveries.c.attempts_made,
    deliveries.c.first_attempt_at,
    deliveries.c.body.is_not(None).label("has_body"),
)
_KEEP_BYTES = (
    update(deliveries)
    .where(deliveries.c.position == bindparam("of"))
    .values(body=bindparam("new_body"), headers=bindparam("new_headers"))
)
_COUNT_ATTEMPT = (
    update(deliveries)
    .where(deliveries.c.position == bindparam("of"))
    .values(attempts_made=bindparam("number"), first_attempt_at=bindparam("first_at"))
)
_CONCLUDE = (
    update(deliveries)
    .where(deliveries.c.position == bindparam("of"), deliveries.c.finished_at.is_(None))
    .values(
        state=bindparam("new_state"),
        next_attempt_at=bindparam("retry_at"),
        finished_at=bindparam("ended_at"),
        last_status=bindparam("status"),
        last_error=bindparam("error"),
        claimed_until=None,
        claim_fence=None,
    )
)
_SET_EVENT = (
    update(events).where(events.c.position == bindparam("of")).values(state=bindparam("new_state"))
)


def claim(
    connection: Connection,
    prepared: Sequence[Prepared],
    *,
    at: datetime,
    until: datetime,
    fence: int,
) -> list[int]:
    """Claim deliveries up to the first that cannot be claimed, and keep the bytes that are new."""
    standing = _lock(connection, [item.position for item in prepared])

    def is_free(item: Prepared) -> bool:
        row = standing.get(item.position)
        if row is None or row.finished_at is not None or row.state == DeliveryState.HELD.value:
            return False
        has_run_out = row.claimed_until is None or row.claimed_until <= at
        return has_run_out or row.claim_fence < fence

    taken = list(takewhile(is_free, prepared))
    if not taken:
        return []
    positions = [item.position for item in taken]
    _record(
        connection,
        [
            {"delivery_position": position, "started_at": at, "error": INTERRUPTED}
            for position in positions
            if standing[position].state == DeliveryState.SENDING.value
        ],
        standing,
    )
    new = [
        {"of": item.position, "new_body": item.body, "new_headers": dict(item.headers)}
        for item in taken
        if not standing[item.position].has_body
    ]
    if new:
        connection.execute(_KEEP_BYTES, new)
    connection.execute(
        update(deliveries)
        .where(deliveries.c.position.in_(positions))
        .values(state=DeliveryState.SENDING.value, claimed_until=until, claim_fence=fence)
    )
    return positions


def release(connection: Connection, positions: Collection[int]) -> None:
    """Give claims back: each delivery stands where it stood before."""
    before = case(
        (deliveries.c.attempts_made > 0, DeliveryState.WAITING.value),
        else_=DeliveryState.PENDING.value,
    )
    connection.execute(
        update(deliveries)
        .where(deliveries.c.position.in_(positions), deliveries.c.finished_at.is_(None))
        .values(state=before, claimed_until=None, claim_fence=None)
    )


def conclude(connection: Connection, results: Sequence[AttemptResult]) -> None:
    """Record attempts and what they made of their deliveries and events.

    One that was recorded before is left alone: a commit can be durable and its answer be lost.
    """
    standing = _lock(connection, [result.position for result in results])
    known = _recorded(connection, standing)
    fresh = [
        r for r in results if r.position in standing and (r.position, r.started_at) not in known
    ]
    if not fresh:
        return
    _record(connection, [_attempt_row(result) for result in fresh], standing)
    connection.execute(_CONCLUDE, [_conclusion(result) for result in fresh])
    settle_events(
        connection, {standing[r.position].event_position for r in fresh if r.retry_at is None}
    )


def settle_events(connection: Connection, positions: Collection[int]) -> None:
    """Let events' states follow from their deliveries: for each receiver the newest counts."""
    if not positions:
        return
    # Another process may cancel an event's other delivery at this moment: one waits for the other.
    connection.execute(
        select(events.c.position)
        .where(events.c.position.in_(positions))
        .order_by(events.c.position)
        .with_for_update()
    ).all()
    rows = connection.execute(
        select(
            deliveries.c.event_position,
            deliveries.c.receiver,
            deliveries.c.state,
            deliveries.c.finished_at,
        )
        .where(deliveries.c.event_position.in_(positions))
        .order_by(deliveries.c.position)
    )
    of_event: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        of_event[row.event_position].append(row)  # type: ignore[arg-type] # a row all the same
    changes = [{"of": of, "new_state": _event_state(its).value} for of, its in of_event.items()]
    connection.execute(_SET_EVENT, changes)


def _event_state(rows: Iterable[Row[Any]]) -> EventState:
    rows = list(rows)
    unfinished = [row.state for row in rows if row.finished_at is None]
    if unfinished:
        is_held = all(state == DeliveryState.HELD.value for state in unfinished)
        return EventState.HELD if is_held else EventState.OPEN
    newest = {row.receiver: row.state for row in rows}.values()
    if DeliveryState.DEAD.value in newest:
        return EventState.FAILED
    if DeliveryState.DELIVERED.value in newest:
        return EventState.DELIVERED
    return EventState.IGNORED


def _lock(connection: Connection, positions: Collection[int]) -> dict[int, Row[Any]]:
    """Read how deliveries stand, and keep others from changing it until the transaction ends."""
    wanted = (
        _STANDING.where(deliveries.c.position.in_(positions))
        .order_by(deliveries.c.position)
        .with_for_update()
    )
    return {row.position: row for row in connection.execute(wanted)}


def _recorded(connection: Connection, positions: Collection[int]) -> set[tuple[int, datetime]]:
    wanted = select(attempts.c.delivery_position, attempts.c.started_at).where(
        attempts.c.delivery_position.in_(positions), attempts.c.duration_ms.is_not(None)
    )
    return {(position, started_at) for position, started_at in connection.execute(wanted)}


def _record(
    connection: Connection, rows: Sequence[dict[str, Any]], standing: Mapping[int, Row[Any]]
) -> None:
    """Add attempts, each with the next number of its delivery."""
    if not rows:
        return
    blank = {"duration_ms": None, "status": None, "error": None, "answer": None}
    numbered = [
        {**blank, **row, "number": standing[row["delivery_position"]].attempts_made + 1}
        for row in rows
    ]
    connection.execute(insert(attempts), numbered)
    counted = [
        {
            "of": row["delivery_position"],
            "number": row["number"],
            "first_at": standing[row["delivery_position"]].first_attempt_at or row["started_at"],
        }
        for row in numbered
    ]
    connection.execute(_COUNT_ATTEMPT, counted)


def _attempt_row(result: AttemptResult) -> dict[str, Any]:
    return {
        "delivery_position": result.position,
        "started_at": result.started_at,
        "duration_ms": milliseconds(result.duration_ms),
        "status": result.answer.status,
        "error": plain(result.answer.error, LONGEST_ANSWER),
        "answer": plain(result.answer.body, LONGEST_ANSWER),
    }


def _conclusion(result: AttemptResult) -> dict[str, Any]:
    ended_at = result.started_at + timedelta(milliseconds=result.duration_ms)
    return {
        "of": result.position,
        "new_state": result.state.value,
        "retry_at": result.retry_at,
        "ended_at": ended_at if result.retry_at is None else None,
        "status": result.answer.status,
        "error": plain(result.answer.error, LONGEST_ANSWER),
    }
