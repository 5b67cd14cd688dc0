"""Which receivers nothing is sent to, or one delivery at a time: decided by people and answers."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Column, Connection, Insert, insert, or_, select, update

from app.domain.delivery import DeliveryState
from app.storage.tables import deliveries, receivers
from app.storage.types import plain
from app.storage.upsert import upsert_into

LONGEST_REASON = 1024  # characters; a choice


@dataclass(frozen=True, slots=True)
class ReceiverState:
    """What is wrong with a receiver: a person paused it, it said that it is gone, it fails.

    While it is open, from ``opened_at``, one delivery at a time tries whether it answers again.
    """

    paused_at: datetime | None = None
    disabled_at: datetime | None = None
    disabled_reason: str | None = None
    opened_at: datetime | None = None
    opened_reason: str | None = None

    @property
    def is_closed(self) -> bool:
        """Whether nothing at all is sent to it."""
        return self.paused_at is not None or self.disabled_at is not None


_ALL = select(receivers)


def read_all(connection: Connection) -> dict[str, ReceiverState]:
    """Return the receivers with which something is wrong."""
    found = {
        row.name: ReceiverState(
            row.paused_at, row.disabled_at, row.disabled_reason, row.opened_at, row.opened_reason
        )
        for row in connection.execute(_ALL)
    }
    return {name: state for name, state in found.items() if state != ReceiverState()}


def disable(connection: Connection, name: str, at: datetime, reason: str) -> None:
    """Note that a receiver said that it is gone; the first time and reason stay."""
    _close(
        connection,
        name,
        receivers.c.disabled_at,
        {"disabled_at": at, "disabled_reason": plain(reason, LONGEST_REASON)},
    )


def pause(connection: Connection, name: str, at: datetime) -> None:
    """Note that a person paused a receiver; the first time stays."""
    _close(connection, name, receivers.c.paused_at, {"paused_at": at})


def enable(connection: Connection, name: str, now: datetime) -> None:
    """Let go of all that had stopped a receiver; if nothing had, do nothing."""
    stopped = or_(
        receivers.c.paused_at.is_not(None),
        receivers.c.disabled_at.is_not(None),
        receivers.c.opened_at.is_not(None),
    )
    nothing = dict.fromkeys(column.name for column in receivers.c if not column.primary_key)
    freed = connection.execute(
        update(receivers).where(receivers.c.name == name, stopped).values(nothing)
    )
    if freed.rowcount:
        connection.execute(
            update(deliveries)
            .where(*_waits_for(name))
            .values(first_attempt_at=None, next_attempt_at=now)
        )


def note_circuit(
    connection: Connection, name: str, opened_at: datetime | None, reason: str | None
) -> None:
    """Note since when and why a receiver is tried by one delivery at a time; None: no longer."""
    told = {"opened_at": opened_at, "opened_reason": plain(reason, LONGEST_REASON)}
    if opened_at is None:
        closed = {"opened_at": None, "opened_reason": None}
        connection.execute(update(receivers).where(receivers.c.name == name).values(closed))
    else:
        connection.execute(_open(connection.dialect.name), {"name": name, **told})


@cache
def _open(dialect: str) -> Insert:
    names = ("opened_at", "opened_reason")
    return upsert_into(receivers, dialect, lambda new: {name: new[name] for name in names})


def _waits_for(name: str) -> tuple[Any, ...]:
    return (
        deliveries.c.finished_at.is_(None),
        deliveries.c.receiver == name,
        deliveries.c.state == DeliveryState.WAITING.value,
    )


def _close(connection: Connection, name: str, moment: Column[Any], values: dict[str, Any]) -> None:
    known = connection.execute(
        select(moment).where(receivers.c.name == name).with_for_update()
    ).one_or_none()
    if known is None:
        connection.execute(insert(receivers).values(name=name, **values))
    elif known[0] is None:
        connection.execute(update(receivers).where(receivers.c.name == name).values(values))
