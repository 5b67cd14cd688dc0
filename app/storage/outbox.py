"""The deliveries that are owed: the first of each lane, claims that run out, attempts recorded.

A *lane* is what one receiver is owed from one repository, in the order of ``position``. Deliveries
that are held for a person are no part of it and hold nothing back.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from app.domain.delivery import DeliveryState, Parcel
from app.domain.errors import Conflict, NotFound
from app.domain.event import EventState
from app.storage import bulk, lanes, receivers as closed, sending
from app.storage.database import Database
from app.storage.filters import DeliveryFilter
from app.storage.lease import check_fence
from app.storage.receivers import ReceiverState
from app.storage.records import AttemptResult, Lane, Owed, Prepared
from app.storage.store import delivery_row
from app.storage.tables import deliveries, events

_LAST = select(func.max(deliveries.c.position))


class Outbox:
    """Safe to use from many threads; what needs the lease takes its fencing number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # What is owed.

    def lanes(self, *, fence: int) -> list[Lane]:
        """List every lane that has something unfinished, by its first."""
        with self._database.read() as connection:
            return lanes.read_all(connection, fence)

    def lanes_since(self, position: int, *, fence: int) -> list[Lane]:
        """List the lanes to which something came after ``position``, by their first."""
        with self._database.read() as connection:
            return lanes.read_since(connection, position, fence)

    def last_position(self) -> int:
        """Return the position of the newest delivery, 0 when there is none."""
        with self._database.read() as connection:
            return connection.scalar(_LAST) or 0

    def parcels(
        self,
        receiver: str,
        repository_id: int,
        *,
        limit: int,
        fence: int,
        shard: tuple[int, int] | None = None,
        now: datetime | None = None,
    ) -> list[Parcel]:
        """List a lane's first unfinished deliveries in their order.

        Args:
            receiver: Whose lane.
            repository_id: From which repository.
            limit: The most to list.
            fence: The lease's number.
            shard: Where their order does not matter: ``(k, n)`` means those whose position leaves
                ``k`` when divided by ``n``. They are those that are due at ``now``, chosen by how
                long they have been; if none is, the one that is due soonest.
            now: The time, which a shard needs.
        """
        of = lanes.Of(receiver, repository_id)
        with self._database.read() as connection:
            if shard is None or now is None:
                return lanes.read_parcels(connection, of, limit=limit, fence=fence)
            return lanes.read_shard(connection, of, shard, limit=limit, fence=fence, now=now)

    # Sending.

    def claim(
        self, prepared: Sequence[Prepared], *, at: datetime, until: datetime, fence: int
    ) -> list[int]:
        """Claim deliveries for sending, and keep their bytes; return the positions claimed.

        It stops at the first that cannot be claimed, so that nothing overtakes it. A delivery that
        a dead process had claimed gets that attempt recorded, since it may have been received.

        Raises:
            LeaseLost: Another process holds the lease; nothing is claimed.
        """

        def work(connection: Connection) -> list[int]:
            check_fence(connection, fence)
            return sending.claim(connection, prepared, at=at, until=until, fence=fence)

        return self._database.write(work)

    def conclude(
        self, results: Sequence[AttemptResult], *, release: Sequence[int] = (), fence: int
    ) -> "Future[None]":
        """Record attempts and what became of their deliveries; give other claims back.

        Returns at once; the future tells when it is durable, or raises LeaseLost or
        StorageUnavailable, in which case nothing was written.
        """

        def work(connection: Connection) -> None:
            check_fence(connection, fence)
            if results:
                sending.conclude(connection, results)
            if release:
                sending.release(connection, release)

        return self._database.write_soon(work)

    def hasten(self, receiver: str, *, now: datetime) -> None:
        """Let what waits for its next try be due at once.

        Not what waits for a deployment, or for a time that the receiver itself asked for.
        It is done little by little, as ``redeliver_many`` does.
        """
        bulk.hasten(self._database, receiver, now=now)

    # What the receiver's own word says of what it took.

    def confirm(self, delivery_id: str, receiver: str, *, now: datetime) -> DeliveryState | None:
        """Note that a delivery had its effect; one that waits for its next try is delivered by it.

        The word may come before our own answer is recorded, and after it had been given up.

        Returns:
            How it stood before; None when that receiver has no delivery with that id.
        """

        def work(connection: Connection) -> DeliveryState | None:
            return sending.confirm(connection, delivery_id, receiver, now)

        return self._database.write(work)

    def expire_confirmations(self, *, before: datetime) -> dict[str, str]:
        """Give up waiting for the word on what was taken before then.

        Returns:
            Those deliveries' ids, each with its receiver.
        """
        return self._database.write(lambda connection: sending.expire(connection, before))

    # What people do.

    def redeliver(
        self,
        event_id: str,
        *,
        receivers: Mapping[str, str],
        only_former: bool = False,
        now: datetime,
    ) -> list[str]:
        """Owe an event once more and return the new deliveries' ids.

        Args:
            event_id: Which event.
            receivers: To whom, each with its payload format.
            only_former: Leave out those that were never owed this event.
            now: The time.

        Raises:
            NotFound: There is no such event.
            Conflict: None of the receivers was ever owed this event.
        """

        def work(connection: Connection) -> list[str]:
            wanted = select(events).where(events.c.id == event_id).with_for_update()
            event = connection.execute(wanted).one_or_none()
            if event is None:
                raise NotFound(f"no event has the id {event_id}")
            counted = connection.execute(
                select(deliveries.c.receiver, func.max(deliveries.c.redelivery))
                .where(deliveries.c.event_position == event.position)
                .group_by(deliveries.c.receiver)
            )
            former = {name: int(highest or 0) for name, highest in counted}
            chosen = [n for n in receivers if not only_former or n in former]
            if not chosen:
                raise Conflict("none of today's receivers was ever owed this event; name one")
            rows = [
                delivery_row(
                    Owed(event.id, name, receivers[name]),
                    event_position=event.position,
                    repository_id=event.repository_id,
                    redelivery=former.get(name, -1) + 1,
                    at=now,
                )
                for name in chosen
            ]
            connection.execute(insert(deliveries), rows)
            connection.execute(
                update(events)
                .where(events.c.position == event.position)
                .values(state=EventState.OPEN.value)
            )
            return [row["id"] for row in rows]

        return self._database.write(work)

    def retry(self, delivery_id: str, *, now: datetime) -> None:
        """Try a waiting delivery now.

        Raises:
            NotFound: There is no such delivery.
            Conflict: It is finished, held, or being sent at this moment.
        """

        def work(connection: Connection) -> None:
            row = _by_id(connection, delivery_id)
            if row.finished_at is not None:
                raise Conflict(f"the delivery is {row.state}; redeliver its event instead")
            if row.state not in {DeliveryState.WAITING.value, DeliveryState.PENDING.value}:
                raise Conflict(f"the delivery is {row.state}")
            connection.execute(
                update(deliveries)
                .where(deliveries.c.position == row.position)
                .values(next_attempt_at=now)
            )

        self._database.write(work)

    def cancel(self, delivery_id: str, *, now: datetime) -> None:
        """Give up an unfinished delivery; it is not sent after that.

        Raises:
            NotFound: There is no such delivery.
            Conflict: It is finished already, or being sent at this moment.
        """

        def work(connection: Connection) -> None:
            row = _by_id(connection, delivery_id)
            if row.finished_at is not None:
                raise Conflict(f"the delivery is {row.state} already")
            if row.claimed_until is not None and row.claimed_until > now:
                raise Conflict("the delivery is being sent; try again in some seconds")
            sending.cancel(connection, [row], now)

        self._database.write(work)

    def redeliver_many(
        self,
        wanted: DeliveryFilter,
        *,
        receivers: Mapping[str, str] | None = None,
        known: Mapping[str, str] | None = None,
        now: datetime,
        limit: int = 10_000,
    ) -> int:
        """Owe again, oldest first, what is finished and matches; the dead if no state is named.

        Left out is what that receiver took or is owed since. It is done little by little, so that
        other writers take their turns; what was done stays done if the rest fails.

        Args:
            wanted: Which deliveries.
            receivers: To whom instead, each with its payload format; None: to the same.
            known: Today's receivers with their payload formats: nobody else is owed anything.
                None means that all of them still are, each with the format it had.
            now: The time.
            limit: The most new deliveries.

        Returns:
            How many new deliveries there are.
        """
        return bulk.redeliver_many(
            self._database, wanted, receivers=receivers, known=known, now=now, limit=limit
        )

    def cancel_many(self, wanted: DeliveryFilter, *, now: datetime) -> int:
        """Give up what is unfinished and matches, except what is being sent; return how many.

        It is done little by little, as ``redeliver_many`` does.
        """
        return bulk.cancel_many(self._database, wanted, now=now)

    # Receivers.

    def receiver_states(self) -> dict[str, ReceiverState]:
        """Return the receivers with which something is wrong, and what."""
        with self._database.read() as connection:
            return closed.read_all(connection)

    def disable_receiver(self, name: str, *, reason: str, at: datetime) -> None:
        """Send nothing more to a receiver until it is enabled; the first reason stays."""
        self._database.write(lambda connection: closed.disable(connection, name, at, reason))

    def pause_receiver(self, name: str, *, at: datetime) -> None:
        """Send nothing more to a receiver until it is enabled; to pause it twice is no error."""
        self._database.write(lambda connection: closed.pause(connection, name, at))

    def enable_receiver(self, name: str, *, now: datetime) -> None:
        """Send to a receiver again, whatever had stopped it; if nothing had, do nothing.

        What waits for its next try is due at once, and is tried for its whole time anew: a long
        pause would otherwise leave it a single try.
        """
        self._database.write(lambda connection: closed.enable(connection, name, now))

    def note_circuit(self, name: str, *, opened_at: datetime | None, reason: str | None) -> None:
        """Note since when one delivery at a time tries a receiver, and why; None: no longer."""
        self._database.write(
            lambda connection: closed.note_circuit(connection, name, opened_at, reason)
        )


def _by_id(connection: Connection, wanted: str) -> Row[Any]:
    # Locked, since another process may be about to claim it.
    chosen = select(deliveries).where(deliveries.c.id == wanted).with_for_update()
    row = connection.execute(chosen).one_or_none()
    if row is None:
        raise NotFound(f"no delivery has the id {wanted}")
    return row
