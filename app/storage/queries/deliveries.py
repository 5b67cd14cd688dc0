"""What is asked of deliveries: which there were, what came of them, and how many are owed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, select

from app.domain.delivery import Confirmation
from app.domain.errors import NotFound
from app.storage.entries import AttemptEntry, DeliveryDetail, DeliveryEntry, EventEntry, Page
from app.storage.filters import DeliveryFilter, delivery_conditions
from app.storage.queries.asking import Asking
from app.storage.queries.paging import decode_cursor, page
from app.storage.queries.reach import DISORDER, RARE_STATES, STRETCH, last_position
from app.storage.queries.rows import along, in_this_order, rows
from app.storage.tables import attempts, deliveries, events, repositories

# A choice: who has so many dead deliveries need not be told of more.
DEAD_SEARCHED = 500
# Few, as the rare states are.
RARE_CONFIRMATIONS = frozenset({Confirmation.AWAITED, Confirmation.UNCONFIRMED})
# A delivery that is tried for days has hundreds of attempts; the newest tell enough.
ATTEMPTS_SHOWN = 100
DELIVERIES_SHOWN = 100

IS_DEAD = deliveries.c.state == "dead"
IS_UNCONFIRMED = deliveries.c.confirmation == Confirmation.UNCONFIRMED.value

_NEWEST_DELIVERIES = (deliveries.c.position.desc(),)

_DELIVERY = (
    deliveries.c.receiver,
    deliveries.c.redelivery,
    deliveries.c.payload,
    deliveries.c.state,
    deliveries.c.confirmation,
    deliveries.c.attempts_made,
    deliveries.c.next_attempt_at,
    deliveries.c.created_at,
    deliveries.c.finished_at,
    deliveries.c.last_status,
    deliveries.c.last_error,
)


class DeliveryQueries(Asking):
    """Questions about deliveries."""

    def list_deliveries(
        self, wanted: DeliveryFilter, *, limit: int, cursor: str | None = None
    ) -> Page[DeliveryEntry]:
        """List deliveries, newest first.

        Raises:
            InputInvalid: The cursor is not one of this list's.
        """
        before = None if cursor is None else decode_cursor(cursor, "deliveries", int)[0]
        position = deliveries.c.position
        conditions = delivery_conditions(wanted)
        with self._database.read() as connection:
            bottom, top = _owed_between(connection, wanted)
            top = top if before is None else min(before, top)
            floor = None
            if not _is_indexed(wanted) and top - STRETCH > bottom:
                bottom = floor = top - STRETCH
            conditions += (position >= bottom, position < top)
            found = _read_deliveries(
                connection, *conditions, limit=limit + 1, index=_delivery_index(wanted)
            )
        return page(found, limit, "deliveries", lambda last: (last.position,), floor)

    def get_delivery(self, delivery_id: str) -> DeliveryDetail:
        """Get one delivery with its attempts and the request it makes.

        Raises:
            NotFound: There is none with that id.
        """
        with self._database.read() as connection:
            found = _read_deliveries(connection, deliveries.c.id == delivery_id, limit=1)
            if not found:
                raise NotFound(f"there is no delivery {delivery_id}")
            return _detail(connection, found[0])

    def list_event_deliveries(self, event: EventEntry) -> tuple[DeliveryDetail, ...]:
        """List an event's deliveries with attempts and requests, in the order they were owed."""
        with self._database.read() as connection:
            found = _read_deliveries(
                connection,
                deliveries.c.event_position == event.position,
                limit=DELIVERIES_SHOWN,
            )
            return tuple(_detail(connection, delivery) for delivery in reversed(found))

    def list_next_owed(self, receiver: str, *, limit: int) -> tuple[DeliveryEntry, ...]:
        """List some of what a receiver is owed: the first of a repository before its successors."""
        with self._database.read() as connection:
            found = _read_deliveries(
                connection,
                deliveries.c.finished_at.is_(None),
                deliveries.c.receiver == receiver,
                # By the whole index: PostgreSQL does not see that its first two are given.
                order=[
                    deliveries.c.finished_at,
                    deliveries.c.receiver,
                    deliveries.c.repository_id,
                    deliveries.c.position,
                ],
                limit=limit,
                index="ix_deliveries_owed",
            )
        return tuple(found)

    def list_dead_times(self, *, limit: int) -> tuple[datetime, ...]:
        """List when the newest dead deliveries were given up."""
        statement = (
            select(deliveries.c.finished_at)
            .where(deliveries.c.state == "dead")
            .order_by(deliveries.c.position.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return tuple(at for (at,) in rows(connection, statement) if at is not None)

    def count_deliveries(self, states: Sequence[str]) -> dict[str, int]:
        """Count the deliveries in each of these states, up to ``COUNT_LIMIT``."""
        return self._count_bounded(
            {
                state: select(deliveries.c.position).where(deliveries.c.state == state)
                for state in states
            }
        )

    def count_all_owed(self) -> int:
        """Count the unfinished deliveries, up to ``COUNT_LIMIT``."""
        owed = select(deliveries.c.position).where(deliveries.c.finished_at.is_(None))
        return self._count_bounded({"owed": owed})["owed"]

    def count_matching(self, wanted: DeliveryFilter, *, is_owed: bool | None = None) -> int:
        """Count the deliveries that match, up to ``COUNT_LIMIT``; None: finished or not."""
        conditions = delivery_conditions(wanted)
        if is_owed is not None:
            finished_at = deliveries.c.finished_at
            conditions.append(finished_at.is_(None) if is_owed else finished_at.is_not(None))
        matching = select(deliveries.c.position).where(*conditions)
        return self._count_bounded({"all": matching})["all"]


def not_anew(
    which: ColumnElement[bool], told: Column[Any], *, since: datetime | None = None
) -> Select[Any]:
    """Choose one column of the newest deliveries like that which were not made anew since.

    The newest are chosen first: to look for those of lately alone could be to look at all.
    """
    table = deliveries.c
    like_that = (
        select(table.position, table.event_position, table.receiver, table.created_at)
        .where(which)
        .order_by(deliveries.c.position.desc())
        .limit(DEAD_SEARCHED)
        .subquery("like_that")
    )
    later = deliveries.alias("later")
    anew = select(later.c.position).where(
        later.c.event_position == like_that.c.event_position,
        later.c.receiver == like_that.c.receiver,
        later.c.position > like_that.c.position,
    )
    lately = () if since is None else (like_that.c.created_at >= since,)
    return select(like_that.c[told.name]).where(~anew.exists(), *lately)


def _read_deliveries(
    connection: Connection,
    *conditions: ColumnElement[bool],
    limit: int,
    index: str | None = None,
    order: Sequence[ColumnElement[Any]] = _NEWEST_DELIVERIES,
) -> list[DeliveryEntry]:
    """Read the deliveries that meet the conditions, the first ``limit`` in that order.

    They are told newest first, and joined after they are chosen, as events are.
    """
    columns = (deliveries.c.position, deliveries.c.id, deliveries.c.event_position, *_DELIVERY)
    first = select(*columns).where(*conditions).order_by(*order).limit(limit)
    chosen = along(first, deliveries, index).subquery("chosen")
    statement = (
        select(
            chosen.c.position,
            chosen.c.id,
            events.c.id.label("event_id"),
            repositories.c.name.label("repository_name"),
            events.c.ref,
            events.c.kind,
            *(chosen.c[column.name] for column in _DELIVERY),
        )
        .join_from(chosen, events, events.c.position == chosen.c.event_position)
        .join(repositories, repositories.c.id == events.c.repository_id)
        .order_by(chosen.c.position.desc())
        .limit(limit)
    )
    return [DeliveryEntry(*row) for row in rows(connection, in_this_order(statement))]


def _delivery_index(wanted: DeliveryFilter) -> str:
    """Return the index that leads to the fewest deliveries, ending in the position."""
    if wanted.confirmation in RARE_CONFIRMATIONS:
        return "ix_deliveries_confirmation_position"
    if wanted.state is not None and (wanted.receiver is None or wanted.state != "delivered"):
        return "ix_deliveries_state_position"
    if wanted.receiver is not None:
        return "ix_deliveries_receiver_position"
    return "PRIMARY" if wanted.confirmation is None else "ix_deliveries_confirmation_position"


def _is_indexed(wanted: DeliveryFilter) -> bool:
    """Tell whether an index leads to what is wanted, and to little else."""
    if wanted.state in RARE_STATES or wanted.confirmation in RARE_CONFIRMATIONS:
        return True
    with_index = (wanted.state, wanted.receiver, wanted.confirmation)
    return wanted.repository_id is None and sum(one is not None for one in with_index) <= 1


def _owed_between(connection: Connection, wanted: DeliveryFilter) -> tuple[int, int]:
    """Return the positions from which on and before which deliveries can match the moments."""
    bottom, top = 0, last_position(connection, deliveries.c.position) + 1
    if wanted.since is not None:
        bottom = _position_at(connection, wanted.since - DISORDER, bottom, top)
    if wanted.until is not None:
        top = _position_at(connection, wanted.until + DISORDER, bottom, top)
    return bottom, top


def _position_at(connection: Connection, moment: datetime, low: int, high: int) -> int:
    """Find the first position that was owed at a moment or later, by halving: no index tells it."""
    position, created_at = deliveries.c.position, deliveries.c.created_at
    while low < high:
        middle = (low + high) // 2
        after = select(position, created_at).where(position >= middle).order_by(position).limit(1)
        found = connection.execute(after).first()
        if found is None or found.created_at >= moment:
            high = middle
        else:
            low = found.position + 1
    return low


def _detail(connection: Connection, delivery: DeliveryEntry) -> DeliveryDetail:
    statement = (
        select(
            attempts.c.number,
            attempts.c.started_at,
            attempts.c.duration_ms,
            attempts.c.status,
            attempts.c.error,
            attempts.c.answer,
        )
        .where(attempts.c.delivery_position == delivery.position)
        .order_by(attempts.c.number.desc())
        .limit(ATTEMPTS_SHOWN)
    )
    tries = [AttemptEntry(*row) for row in rows(connection, statement)]
    request = select(deliveries.c.body, deliveries.c.headers).where(
        deliveries.c.position == delivery.position
    )
    body, headers = connection.execute(request).one()
    return DeliveryDetail(delivery, tuple(reversed(tries)), body, headers)
