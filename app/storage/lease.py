"""Which of several processes may write what polling and delivering find: the holder of one row.

Each holder has a higher number, the *fence*. Whoever writes under an earlier one is refused in the
very transaction, so a process that stalled and woke up again does no harm.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeAlias

from sqlalchemy import Connection, Row, Update, insert, select, update

from app.domain.errors import Conflict, LeaseLost
from app.storage.database import Database
from app.storage.tables import leases

NAME = "sentinel"
_STANDING = select(leases.c.holder, leases.c.fence, leases.c.renewals, leases.c.renewed_at).where(
    leases.c.name == NAME
)
_NEWEST = select(leases.c.fence).where(leases.c.name == NAME).with_for_update(read=True)
_LeaseRow: TypeAlias = Row[str | None, int, int, datetime]


def check_fence(connection: Connection, fence: int) -> None:
    """Refuse to go on under a number that is no longer the newest.

    The row stays locked for others until the transaction ends, so that a takeover comes either
    before this check or after this commit.

    Raises:
        LeaseLost: Another process holds the lease.
    """
    newest = connection.scalar(_NEWEST)
    if newest != fence:
        raise LeaseLost(f"another process polls and delivers now (fence {newest}, not {fence})")


class Lease:
    """The right to poll and deliver; one process at a time has it.

    A holder counts up ``renewals``. It is dead when that has not moved for ``ttl`` by our own
    monotonic clock, whatever the clocks of the machines say; and at once when ``renewed_at`` is
    older than that, so that a restart need not wait.
    """

    def __init__(
        self,
        database: Database,
        *,
        holder: str,
        ttl: timedelta,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        """Prepare to ask for it.

        Args:
            database: Where the row is.
            holder: Who asks; unique for each start of each process.
            ttl: How long a silent holder is believed to live.
            now: The clock.
            monotonic: Seconds that only go forward.
        """
        self._database = database
        self._holder = holder
        self._ttl = ttl
        self._now = now
        self._monotonic = monotonic
        self._fence: int | None = None
        self._seen: tuple[int, int] | None = None  # fence and renewals, when last they moved
        self._seen_at = 0.0

    def try_acquire(self) -> int | None:
        """Take it if it is free or its holder is dead; return the fencing number, else None.

        Raises:
            StorageError: It could not be asked for.
        """
        row = self._look() or self._make()
        if row is None or not self._is_free(row):
            return None
        take = _step(row.fence, row.renewals).values(
            holder=self._holder,
            fence=row.fence + 1,
            renewals=row.renewals + 1,
            renewed_at=self._now(),
        )
        if not self._database.write(lambda connection: connection.execute(take).rowcount == 1):
            return None
        self._fence = int(row.fence) + 1
        return self._fence

    def renew(self) -> bool:
        """Show life; False when another process has taken the lease."""
        return self._update(renewals=leases.c.renewals + 1, renewed_at=self._now())

    def release(self) -> None:
        """Give it back, so that another process need not wait; nothing if it is not held."""
        self._update(holder=None, renewals=leases.c.renewals + 1)
        self._fence = None

    def _look(self) -> _LeaseRow | None:
        with self._database.read() as connection:
            return connection.execute(_STANDING).one_or_none()

    def _make(self) -> _LeaseRow | None:
        """Make the row, unless another process that begins as well is quicker."""
        row = {"name": NAME, "fence": 0, "renewals": 0, "renewed_at": self._now()}
        try:
            self._database.write(lambda connection: connection.execute(insert(leases), row).close())
        except Conflict:
            return None
        return self._look()

    def _is_free(self, row: _LeaseRow) -> bool:
        if row.holder is None or row.holder == self._holder:
            return True
        if self._now() - row.renewed_at > self._ttl:
            return True
        if self._seen != (row.fence, row.renewals):
            self._seen, self._seen_at = (row.fence, row.renewals), self._monotonic()
        return self._monotonic() - self._seen_at >= self._ttl.total_seconds()

    def _update(self, **values: object) -> bool:
        if self._fence is None:
            return False
        mine = update(leases).where(
            leases.c.name == NAME, leases.c.fence == self._fence, leases.c.holder == self._holder
        )
        return self._database.write(
            lambda connection: connection.execute(mine.values(**values)).rowcount == 1
        )


def _step(fence: int, renewals: int) -> Update:
    """Change the row only as it was seen: of several that try, one succeeds."""
    return update(leases).where(
        leases.c.name == NAME, leases.c.fence == fence, leases.c.renewals == renewals
    )
