"""Many deliveries owed again, given up or hastened at once, a little in each transaction.

What is meant is looked for while nobody is held up, and looked at again where it is changed.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Update, insert, or_, select, update

from app.domain.delivery import DEPLOY_GAP, OPEN_STATES, DeliveryState
from app.domain.event import EventState
from app.storage import sending
from app.storage.database import Database
from app.storage.filters import DeliveryFilter, delivery_conditions
from app.storage.records import Owed
from app.storage.store import delivery_row
from app.storage.tables import deliveries, events

AT_ONCE = 500  # deliveries in one transaction; other writers take their turns between them
READ_AT_ONCE = 20_000  # a choice: each reading may look at all that is owed

_STILL_GOOD = frozenset({DeliveryState.DELIVERED.value, *(state.value for state in OPEN_STATES)})
_OLD = (
    deliveries.c.position,
    deliveries.c.event_position,
    deliveries.c.receiver,
    deliveries.c.payload,
)


def redeliver_many(
    database: Database,
    wanted: DeliveryFilter,
    *,
    receivers: Mapping[str, str] | None,
    known: Mapping[str, str] | None,
    now: datetime,
    limit: int,
) -> int:
    """Owe again what is finished and matches, oldest first; return how many."""
    conditions = [deliveries.c.finished_at.is_not(None), *delivery_conditions(wanted)]
    if wanted.state is None and wanted.confirmation is None:
        conditions.append(deliveries.c.state == DeliveryState.DEAD.value)
    targets = _Targets(receivers, known)
    made = 0
    for old in _in_chunks(database, conditions):
        work = partial(_redeliver, old=old, targets=targets, now=now, limit=limit - made)
        made += database.write(work)
        if made >= limit:
            break
    return made


def cancel_many(database: Database, wanted: DeliveryFilter, *, now: datetime) -> int:
    """Give up what is unfinished and matches, except what is being sent; return how many."""
    conditions = [deliveries.c.finished_at.is_(None), *delivery_conditions(wanted)]
    return sum(
        database.write(partial(_cancel, chosen=chosen, state=wanted.state, now=now))
        for chosen in _in_chunks(database, conditions)
    )


def hasten(database: Database, receiver: str, *, now: datetime) -> None:
    """Let what waits for its next try to a receiver be due at once.

    Not what was refused with 401, 403 or 404: its few tries are for a person who is deploying, and
    would be used up. And not what the receiver itself asked to wait for.
    """
    status, asked_until = deliveries.c.last_status, deliveries.c.asked_until
    is_meant = (
        deliveries.c.finished_at.is_(None),
        deliveries.c.receiver == receiver,
        deliveries.c.state == DeliveryState.WAITING.value,
        deliveries.c.next_attempt_at > now,
        or_(status.is_(None), status.not_in(DEPLOY_GAP)),
        or_(asked_until.is_(None), asked_until <= now),
    )
    for chosen in _in_chunks(database, is_meant):
        of = deliveries.c.position.in_([row.position for row in chosen])
        sooner = update(deliveries).where(of, *is_meant).values(next_attempt_at=now)
        database.write(partial(_execute, statement=sooner))


def _in_chunks(
    database: Database, conditions: Sequence[ColumnElement[bool]]
) -> Iterator[Sequence[Any]]:
    """Read what matches, oldest first; nothing that comes after the beginning."""
    position = deliveries.c.position
    with database.read() as connection:
        newest = connection.scalar(select(position).order_by(position.desc()).limit(1)) or 0
    reached = 0
    while reached < newest:
        within = (position > reached, position <= newest)
        wanted = select(*_OLD).where(*conditions, *within).order_by(position).limit(READ_AT_ONCE)
        with database.read() as connection:
            found = connection.execute(wanted).all()
        for begin in range(0, len(found), AT_ONCE):
            yield found[begin : begin + AT_ONCE]
        reached = found[-1].position if len(found) == READ_AT_ONCE else newest


@dataclass(frozen=True, slots=True)
class _Targets:
    """To whom an old delivery is owed again: to others instead, or to the same."""

    instead: Mapping[str, str] | None
    known: Mapping[str, str] | None

    def of(self, old: Row[Any]) -> Mapping[str, str]:
        """Return them with their payload formats."""
        if self.instead is not None:
            return self.instead
        if self.known is None:
            return {old.receiver: old.payload}
        return {old.receiver: self.known[old.receiver]} if old.receiver in self.known else {}


@dataclass(frozen=True, slots=True)
class _Past:
    """What an event was owed, as (receiver, position, state, redelivery)."""

    event_id: str
    repository_id: int
    deliveries: list[tuple[str, int, str, int]]

    def has_since(self, receiver: str, old: Row[Any]) -> bool:
        """Tell whether a receiver took or is owed it anew; another one: whether at all."""
        after = old.position if receiver == old.receiver else 0
        return any(
            name == receiver and position > after and state in _STILL_GOOD
            for name, position, state, _ in self.deliveries
        )

    def next_number(self, receiver: str) -> int:
        """Return the number of the receiver's next redelivery."""
        numbers = [number for name, _, _, number in self.deliveries if name == receiver]
        return max(numbers, default=-1) + 1


def _redeliver(
    connection: Connection,
    *,
    old: Sequence[Row[Any]],
    targets: _Targets,
    now: datetime,
    limit: int,
) -> int:
    pasts = _lock_events(connection, {row.event_position for row in old})
    rows: list[dict[str, Any]] = []
    done: set[tuple[int, str]] = set()
    for one in old:
        past = pasts.get(one.event_position)
        if past is None:  # too old, and deleted meanwhile
            continue
        for receiver, payload in targets.of(one).items():
            key = (one.event_position, receiver)
            if key in done or past.has_since(receiver, one) or len(rows) == limit:
                continue
            done.add(key)
            rows.append(
                delivery_row(
                    Owed(past.event_id, receiver, payload),
                    event_position=one.event_position,
                    repository_id=past.repository_id,
                    redelivery=past.next_number(receiver),
                    at=now,
                )
            )
    if rows:
        connection.execute(insert(deliveries), rows)
        reopened = {row["event_position"] for row in rows}
        connection.execute(
            update(events)
            .where(events.c.position.in_(reopened))
            .values(state=EventState.OPEN.value)
        )
    return len(rows)


def _lock_events(connection: Connection, positions: Collection[int]) -> dict[int, _Past]:
    """Read what events were owed; whoever redelivers or settles them meanwhile waits."""
    wanted = (
        select(events.c.position, events.c.id, events.c.repository_id)
        .where(events.c.position.in_(positions))
        .order_by(events.c.position)
        .with_for_update()
    )
    found = connection.execute(wanted).all()
    owed: dict[int, list[tuple[str, int, str, int]]] = defaultdict(list)
    for row in connection.execute(
        select(
            deliveries.c.event_position,
            deliveries.c.receiver,
            deliveries.c.position,
            deliveries.c.state,
            deliveries.c.redelivery,
        ).where(deliveries.c.event_position.in_(positions))
    ):
        owed[row.event_position].append((row.receiver, row.position, row.state, row.redelivery))
    return {row.position: _Past(row.id, row.repository_id, owed[row.position]) for row in found}


def _execute(connection: Connection, *, statement: Update) -> None:
    connection.execute(statement)


def _cancel(
    connection: Connection, *, chosen: Sequence[Row[Any]], state: str | None, now: datetime
) -> int:
    standing = sending.lock(connection, [row.position for row in chosen])
    given_up = [
        row
        for row in standing.values()
        if row.finished_at is None
        and (state is None or row.state == state)
        and (row.claimed_until is None or row.claimed_until <= now)
    ]
    sending.cancel(connection, given_up, now)
    return len(given_up)
