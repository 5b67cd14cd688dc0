"""What is asked of receivers: what was decided about them, and who is owed or refused what."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select

from app.storage.entries import ReceiverEntry
from app.storage.queries.asking import Asking
from app.storage.queries.deliveries import DEAD_SEARCHED, IS_DEAD, IS_UNCONFIRMED, not_anew
from app.storage.queries.rows import along, rows
from app.storage.tables import deliveries, receivers

# A choice: whoever has more receivers has no use for one more name.
RECEIVERS_NAMED = 100


class ReceiverQueries(Asking):
    """Questions about receivers."""

    def list_receivers(self) -> tuple[ReceiverEntry, ...]:
        """List what people and answers have decided about receivers."""
        statement = select(
            receivers.c.name,
            receivers.c.paused_at,
            receivers.c.disabled_at,
            receivers.c.disabled_reason,
            receivers.c.opened_at,
            receivers.c.opened_reason,
        ).limit(1000)
        with self._database.read() as connection:
            return tuple(ReceiverEntry(*row) for row in rows(connection, statement))

    def count_owed(self, names: Sequence[str]) -> dict[str, int]:
        """Count the unfinished deliveries of each receiver, up to ``COUNT_LIMIT``."""
        return self._count_bounded(
            {
                name: select(deliveries.c.position).where(
                    deliveries.c.finished_at.is_(None), deliveries.c.receiver == name
                )
                for name in names
            }
        )

    def list_owed_receivers(self) -> tuple[str, ...]:
        """Name the first ``RECEIVERS_NAMED`` receivers that are owed something, in order."""
        # One look at the index for each: to collect them from all that is owed would read it all.
        # PostgreSQL finds the place only when the index is spelled out, MariaDB when it is not.
        found: list[str] = []
        receiver, finished_at = deliveries.c.receiver, deliveries.c.finished_at
        with self._database.read() as connection:
            in_order = (finished_at,) if connection.dialect.name == "postgresql" else ()
            while len(found) < RECEIVERS_NAMED:
                after = (receiver > found[-1],) if found else ()
                first = (
                    select(receiver)
                    .where(finished_at.is_(None), *after)
                    .order_by(*in_order, receiver)
                    .limit(1)
                )
                name = connection.execute(along(first, deliveries, "ix_deliveries_owed")).scalar()
                if name is None:
                    break
                found.append(name)
        return tuple(found)

    def list_refusers(self) -> tuple[str, ...]:
        """Name the receivers of the newest dead deliveries that were not made anew since."""
        dead = not_anew(IS_DEAD, deliveries.c.receiver).distinct().limit(DEAD_SEARCHED)
        with self._database.read() as connection:
            return tuple(sorted(name for (name,) in rows(connection, dead)))

    def count_unconfirmed(self, *, since: datetime) -> dict[str, int]:
        """Count by receiver the newest that nobody confirmed and that were not made anew since.

        Only those owed since then count, and only the newest ``DEAD_SEARCHED`` are looked at.
        """
        found = not_anew(IS_UNCONFIRMED, deliveries.c.receiver, since=since).subquery()
        statement = select(found.c.receiver, func.count()).group_by(found.c.receiver)
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(statement)}
