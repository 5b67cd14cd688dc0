"""Storms: more changes in one poll than go out unasked, held until a person decides.

A later change of a ref that is in an open hold joins it, so that no change of a ref overtakes an
earlier one. Whoever joins a hold or ends it locks its row first: one waits for the other.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from app.domain.delivery import DeliveryState
from app.domain.errors import Conflict, NotFound
from app.domain.event import Event, hold_id
from app.storage import sending
from app.storage.database import Database
from app.storage.entries import HoldEntry
from app.storage.tables import deliveries, events, holds, repositories

NAMED_AT_ONCE = 500  # refs or positions in one statement; older SQLites allow 999
LISTED = 200  # a choice: a person decides on each of them


class HoldState(StrEnum):
    """What became of a storm: it waits for a person, it was sent, or it was cancelled."""

    HELD = "held"
    RELEASED = "released"
    DISMISSED = "dismissed"


_OPEN = (
    select(holds.c.id)
    .where(holds.c.repository_id == bindparam("of_id"), holds.c.state == HoldState.HELD.value)
    .order_by(holds.c.first_sequence)
)
_ENTRY = (
    select(
        holds.c.id,
        repositories.c.name,
        holds.c.created_at,
        holds.c.changes,
        holds.c.state,
        holds.c.finished_at,
        holds.c.first_sequence,
        holds.c.last_sequence,
    )
    .join(repositories, holds.c.repository_id == repositories.c.id)
    .order_by(holds.c.created_at.desc(), holds.c.id)
)


class Holds:
    """The storms that a person decides on; safe to use from many threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, state: str | None = None) -> "list[HoldEntry]":
        """List the newest storms, newest first; None means any state."""
        wanted = _ENTRY if state is None else _ENTRY.where(holds.c.state == state)
        with self._database.read() as connection:
            return [HoldEntry(*row) for row in connection.execute(wanted.limit(LISTED))]

    def get(self, wanted: str) -> HoldEntry:
        """Get one storm.

        Raises:
            NotFound: There is none with that id.
        """
        with self._database.read() as connection:
            row = connection.execute(_ENTRY.where(holds.c.id == wanted)).one_or_none()
        if row is None:
            raise NotFound(f"there is no storm {wanted}")
        return HoldEntry(*row)

    def release(self, wanted: str, *, now: datetime) -> None:
        """Let all that a storm holds go out, in its order, from now on.

        Raises:
            NotFound: There is none with that id.
            Conflict: It was released or dismissed already.
        """
        self._database.write(lambda connection: _release(connection, wanted, now))

    def dismiss(self, wanted: str, *, now: datetime) -> None:
        """Cancel all that a storm holds.

        Raises:
            NotFound: There is none with that id.
            Conflict: It was released or dismissed already.
        """
        self._database.write(lambda connection: _dismiss(connection, wanted, now))


# In the transaction of a repository's step.


def place(
    connection: Connection, repository_id: int, owed: Sequence[Event], *, hold: bool, at: datetime
) -> dict[str, str]:
    """Decide which events of a step are held, and by which hold, by their ids.

    Args:
        connection: The transaction of the step.
        repository_id: Whose step.
        owed: The step's events that somebody is owed, in their order.
        hold: Whether the step is a storm: what joins no open hold is then held by a new one.
        at: The time.
    """
    held: dict[str, str] = {}
    if not owed:
        return held
    for of in _lock_open(connection, repository_id):
        refs = _refs_in(connection, of, [e.ref for e in owed if e.id not in held])
        joining = [e for e in owed if e.ref in refs and e.id not in held]
        if joining:
            _join(connection, of, joining)
            held |= dict.fromkeys((e.id for e in joining), of)
    rest = [e for e in owed if e.id not in held]
    if hold and rest:
        made = hold_id(event=owed[0].id)
        _open(connection, made, repository_id, rest, at)
        held |= dict.fromkeys((e.id for e in rest), made)
    return held


def _lock_open(connection: Connection, repository_id: int) -> list[str]:
    """List a repository's open holds, which stay open until the transaction ends."""
    found = connection.scalars(_OPEN, {"of_id": repository_id}).all()
    if not found:
        return []
    still_open = (
        select(holds.c.id)
        .where(holds.c.id.in_(found), holds.c.state == HoldState.HELD.value)
        .order_by(holds.c.first_sequence)
        .with_for_update()
    )
    return list(connection.scalars(still_open))


def _refs_in(connection: Connection, of: str, refs: Sequence[str]) -> set[str]:
    """Return which of these refs are in a hold."""
    found: set[str] = set()
    for begin in range(0, len(refs), NAMED_AT_ONCE):
        chunk = refs[begin : begin + NAMED_AT_ONCE]
        wanted = select(events.c.ref).where(events.c.hold_id == of, events.c.ref.in_(chunk))
        found.update(connection.scalars(wanted.distinct()))
    return found


def _open(
    connection: Connection, of: str, repository_id: int, held: Sequence[Event], at: datetime
) -> None:
    row = {
        "id": of,
        "repository_id": repository_id,
        "created_at": at,
        "changes": len(held),
        "first_sequence": held[0].sequence,
        "last_sequence": held[-1].sequence,
        "state": HoldState.HELD.value,
    }
    connection.execute(insert(holds), row)


def _join(connection: Connection, of: str, joining: Sequence[Event]) -> None:
    connection.execute(
        update(holds)
        .where(holds.c.id == of)
        .values(changes=holds.c.changes + len(joining), last_sequence=joining[-1].sequence)
    )


# What people do.


def _release(connection: Connection, of: str, now: datetime) -> None:
    _end(connection, of, HoldState.RELEASED, now)
    _settle(connection, of, {"state": DeliveryState.PENDING.value, "next_attempt_at": now})


def _dismiss(connection: Connection, of: str, now: datetime) -> None:
    _end(connection, of, HoldState.DISMISSED, now)
    _settle(connection, of, {"state": DeliveryState.CANCELLED.value, "finished_at": now})


def _end(connection: Connection, of: str, state: HoldState, now: datetime) -> None:
    wanted = select(holds.c.state).where(holds.c.id == of).with_for_update()
    found = connection.scalar(wanted)
    if found is None:
        raise NotFound(f"there is no storm {of}")
    if found != HoldState.HELD.value:
        raise Conflict(f"the storm is {found} already")
    connection.execute(
        update(holds).where(holds.c.id == of).values(state=state.value, finished_at=now)
    )


def _settle(connection: Connection, of: str, values: Mapping[str, object]) -> None:
    """Change what a storm holds, and let its events' states follow.

    They are named one by one: to join events and deliveries is not planned well by PostgreSQL,
    whose figures know nothing of a storm yet (20,000 took more than 30 s, November 2026).
    """
    wanted = select(events.c.position).where(events.c.hold_id == of).order_by(events.c.position)
    positions = connection.scalars(wanted).all()
    chunks = [positions[at : at + NAMED_AT_ONCE] for at in range(0, len(positions), NAMED_AT_ONCE)]
    for chunk in chunks:
        connection.execute(
            update(deliveries)
            .where(
                deliveries.c.event_position.in_(chunk),
                deliveries.c.state == DeliveryState.HELD.value,
            )
            .values(**values)
        )
    # Only now, since whoever sends or cancels locks deliveries before events as well.
    for chunk in chunks:
        sending.settle_events(connection, chunk)


def prune(connection: Connection, before: datetime, limit: int) -> int:
    """Delete storms that ended before then."""
    old = (
        select(holds.c.id)
        .where(holds.c.state != HoldState.HELD.value, holds.c.finished_at < before)
        .limit(limit)
    )
    found = connection.scalars(old).all()
    for begin in range(0, len(found), NAMED_AT_ONCE):
        chunk = found[begin : begin + NAMED_AT_ONCE]
        connection.execute(delete(holds).where(holds.c.id.in_(chunk)))
    return len(found)
