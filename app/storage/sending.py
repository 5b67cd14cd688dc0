"""What becomes of deliveries while they are sent: claims, attempts, and the state of their events.

All of it works on many deliveries at once: a lane's next thirty-two are claimed by three statements
and not by a hundred, and that many attempts are recorded by six.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, Row, String, bindparam, case, func, insert, select, update

from app.domain.delivery import LONGEST_RETRY_AFTER, Confirmation, DeliveryState
from app.domain.event import EventState
from app.storage.records import AttemptResult, Prepared
from app.storage.tables import attempts, deliveries, events
from app.storage.types import milliseconds, plain

# The database keeps the beginning of an answer; the rest helps nobody and may be endless.
LONGEST_ANSWER = 1024
EXPIRED_AT_ONCE = 500  # a choice: the rest is for the next time
INTERRUPTED = "the process ended before the outcome was recorded; it may have been received"

# Made once: SQLAlchemy takes longer to make a statement than SQLite to run it.
_OF_THESE = deliveries.c.position.in_(bindparam("positions", expanding=True))
_STANDING = select(
    deliveries.c.position,
    deliveries.c.event_position,
    deliveries.c.state,
    deliveries.c.finished_at,
    deliveries.c.claimed_until,
    deliveries.c.claim_fence,
    deliveries.c.attempts_made,
    deliveries.c.first_attempt_at,
    deliveries.c.confirmation,
    deliveries.c.body.is_not(None).label("has_body"),
)
_LOCK = _STANDING.where(_OF_THESE).order_by(deliveries.c.position).with_for_update()
_CLAIM = (
    update(deliveries)
    .where(_OF_THESE)
    .values(
        state=DeliveryState.SENDING.value,
        claimed_until=bindparam("until"),
        claim_fence=bindparam("fence"),
    )
)
_RELEASE = (
    update(deliveries)
    .where(_OF_THESE, deliveries.c.finished_at.is_(None))
    .values(
        state=case(
            (deliveries.c.attempts_made > 0, DeliveryState.WAITING.value),
            else_=DeliveryState.PENDING.value,
        ),
        claimed_until=None,
        claim_fence=None,
    )
)
_RECORDED = select(attempts.c.delivery_position, attempts.c.started_at).where(
    attempts.c.delivery_position.in_(bindparam("positions", expanding=True)),
    attempts.c.duration_ms.is_not(None),
)
_OF_EVENTS = events.c.position.in_(bindparam("positions", expanding=True))
_LOCK_EVENTS = (
    select(events.c.position).where(_OF_EVENTS).order_by(events.c.position).with_for_update()
)
_SET_EVENTS = update(events).where(_OF_EVENTS).values(state=bindparam("new_state"))
_BY_EVENT = (
    select(
        deliveries.c.event_position,
        deliveries.c.receiver,
        deliveries.c.state,
        deliveries.c.finished_at,
    )
    .where(deliveries.c.event_position.in_(bindparam("positions", expanding=True)))
    .order_by(deliveries.c.position)
)
_KEEP_BYTES = (
    update(deliveries)
    .where(deliveries.c.position == bindparam("of"))
    .values(
        body=bindparam("new_body"),
        headers=bindparam("new_headers"),
        payload=func.coalesce(bindparam("new_payload", type_=String), deliveries.c.payload),
    )
)
_INSERT_ATTEMPTS = insert(attempts)
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
        asked_until=bindparam("asked_until"),
        finished_at=bindparam("ended_at"),
        last_status=bindparam("status"),
        last_error=bindparam("error"),
        confirmation=bindparam("told"),
        claimed_until=None,
        claim_fence=None,
    )
)


def lock(connection: Connection, positions: Collection[int]) -> dict[int, Row[Any]]:
    """Read how deliveries stand, and keep others from changing it until the transaction ends."""
    rows = connection.execute(_LOCK, {"positions": list(positions)})
    return {row.position: row for row in rows}


def claim(
    connection: Connection,
    prepared: Sequence[Prepared],
    *,
    at: datetime,
    until: datetime,
    fence: int,
) -> list[int]:
    """Claim deliveries up to the first that cannot be claimed, and keep the bytes that are new."""
    standing = lock(connection, [item.position for item in prepared])

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
        {
            "of": item.position,
            "new_body": item.body,
            "new_headers": dict(item.headers),
            "new_payload": item.payload,
        }
        for item in taken
        if item.body is not None and not standing[item.position].has_body
    ]
    if new:
        connection.execute(_KEEP_BYTES, new)
    connection.execute(_CLAIM, {"positions": positions, "until": until, "fence": fence})
    return positions


def release(connection: Connection, positions: Collection[int]) -> None:
    """Give claims back: each delivery stands where it stood before."""
    connection.execute(_RELEASE, {"positions": list(positions)})


def conclude(connection: Connection, results: Sequence[AttemptResult]) -> None:
    """Record attempts and what they made of their deliveries and events.

    One that was recorded before is left alone: a commit can be durable and its answer be lost.
    """
    standing = lock(connection, [result.position for result in results])
    known = _recorded(connection, standing)
    fresh = [
        _as_confirmed(r, standing[r.position])
        for r in results
        if r.position in standing and (r.position, r.started_at) not in known
    ]
    if not fresh:
        return
    _record(connection, [_attempt_row(result) for result in fresh], standing)
    connection.execute(_CONCLUDE, [_conclusion(result) for result in fresh])
    settle_events(
        connection, {standing[r.position].event_position for r in fresh if r.retry_at is None}
    )


def cancel(connection: Connection, standing: Collection[Row[Any]], now: datetime) -> None:
    """Give up deliveries that ``lock`` read and that are neither finished nor being sent."""
    connection.execute(
        update(deliveries)
        .where(deliveries.c.position.in_([row.position for row in standing]))
        .values(
            state=DeliveryState.CANCELLED.value,
            finished_at=now,
            next_attempt_at=None,
            claimed_until=None,
            claim_fence=None,
        )
    )
    settle_events(connection, {row.event_position for row in standing})


def _as_confirmed(result: AttemptResult, standing: Row[Any]) -> AttemptResult:
    """Return what a result comes to where the receiver's own word came before it."""
    if standing.confirmation != Confirmation.CONFIRMED.value:
        return result
    is_waiting = result.state is DeliveryState.WAITING
    state = DeliveryState.DELIVERED if is_waiting else result.state
    return replace(result, state=state, retry_at=None, confirmation=standing.confirmation)


def confirm(
    connection: Connection, delivery_id: str, receiver: str, now: datetime
) -> DeliveryState | None:
    """Note a receiver's own word on a delivery; it ends the waiting for another try.

    What is being sent is left to its own end, and what has ended stays as it is. Returns how it
    stood before, None where there is none.
    """
    wanted = select(deliveries.c.position, deliveries.c.event_position, deliveries.c.state).where(
        deliveries.c.id == delivery_id, deliveries.c.receiver == receiver
    )
    row = connection.execute(wanted.with_for_update()).one_or_none()
    if row is None:
        return None
    values: dict[str, Any] = {"confirmation": Confirmation.CONFIRMED.value}
    is_waiting = row.state == DeliveryState.WAITING.value
    if is_waiting:
        values |= {
            "state": DeliveryState.DELIVERED.value,
            "finished_at": now,
            "next_attempt_at": None,
        }
    connection.execute(
        update(deliveries).where(deliveries.c.position == row.position).values(values)
    )
    if is_waiting:
        settle_events(connection, [row.event_position])
    return DeliveryState(row.state)


def expire(connection: Connection, before: datetime) -> dict[str, str]:
    """Give up waiting for the word on what was taken before then; return its ids and receivers."""
    wanted = (
        select(deliveries.c.position, deliveries.c.id, deliveries.c.receiver)
        .where(
            deliveries.c.confirmation == Confirmation.AWAITED.value,
            deliveries.c.finished_at < before,
        )
        .order_by(deliveries.c.position)
        .limit(EXPIRED_AT_ONCE)
        .with_for_update()
    )
    rows = connection.execute(wanted).all()
    if rows:
        connection.execute(
            update(deliveries)
            .where(deliveries.c.position.in_([row.position for row in rows]))
            .values(confirmation=Confirmation.UNCONFIRMED.value)
        )
    return {row.id: row.receiver for row in rows}


def settle_events(connection: Connection, positions: Collection[int]) -> None:
    """Let events' states follow from their deliveries: for each receiver the newest counts."""
    if not positions:
        return
    # Another process may cancel an event's other delivery at this moment: one waits for the other.
    these = {"positions": list(positions)}
    connection.execute(_LOCK_EVENTS, these).all()
    rows = connection.execute(_BY_EVENT, these)
    of_event: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        of_event[row.event_position].append(row)  # type: ignore[arg-type] # a row all the same
    by_state: dict[EventState, list[int]] = defaultdict(list)
    for of, its in of_event.items():
        by_state[_event_state(its)].append(of)
    for state, its_events in by_state.items():
        connection.execute(_SET_EVENTS, {"positions": its_events, "new_state": state.value})


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


def _recorded(connection: Connection, positions: Collection[int]) -> set[tuple[int, datetime]]:
    rows = connection.execute(_RECORDED, {"positions": list(positions)})
    return {(position, started_at) for position, started_at in rows}


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
    connection.execute(_INSERT_ATTEMPTS, numbered)
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
    asked_for = result.answer.retry_after
    asked_until = None
    if asked_for is not None:  # not its next try: our own back-off may put that off further
        asked_until = ended_at + min(asked_for, LONGEST_RETRY_AFTER)
    return {
        "of": result.position,
        "new_state": result.state.value,
        "retry_at": result.retry_at,
        "asked_until": asked_until,
        "ended_at": ended_at if result.retry_at is None else None,
        "status": result.answer.status,
        "error": plain(result.answer.error, LONGEST_ANSWER),
        "told": result.confirmation,
    }
