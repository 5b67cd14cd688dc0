"""Which of the processes that share a database polls and delivers: the one that holds the lease."""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from app.domain.errors import StorageError

log = logging.getLogger(__name__)

# A dead process is replaced after this long; a stalled one must have stopped sending by then.
TTL = timedelta(seconds=5)
RENEW_S = 1.5
# The lease is asked for or renewed every RENEW_S or less; a database that leaves that unanswered
# for so long does not do its work.
LONGEST_SILENCE_S = 10.0


class Lease(Protocol):
    """One row that one process at a time holds."""

    def try_acquire(self) -> int | None:
        """Take it if it is free or its holder is dead; return the fencing number."""
        ...

    def renew(self) -> bool:
        """Keep it; False when another process has taken it."""
        ...

    def release(self) -> None:
        """Give it back, if it is still held."""
        ...


class Leadership:
    """Seeks the lease, keeps it, and tells when it was won and when it was lost.

    ``on_gain`` and ``on_loss`` are called from this object's own thread and may take their time:
    renewals go on in another.
    """

    def __init__(
        self,
        *,
        lease: Lease,
        on_gain: Callable[[int], None],
        on_loss: Callable[[], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._lease = lease
        self._on_gain = on_gain
        self._on_loss = on_loss
        self._monotonic = monotonic
        self._stopping = threading.Event()
        self._over = threading.Event()  # the term shall end, for whatever reason
        self._done = threading.Event()  # the term has ended; the lease need not be kept
        self._renewed_at: float | None = None
        self._fence: int | None = None
        self._first_try = threading.Event()
        self._answered_at = monotonic()
        self._refusal: str | None = None
        self._thread = threading.Thread(target=self._run, name="leadership", daemon=True)

    def start(self) -> None:
        """Seek the lease."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Give the lease back, after ``on_loss`` has ended the work that needs it."""
        self._stopping.set()
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def lose(self, fence: int) -> None:
        """Say that a write under ``fence`` was refused: another process holds the lease now.

        What is left of an earlier term may say so long after, and has no say in this one.
        """
        if fence == self._fence:
            self._renewed_at = None
            self._over.set()

    def wait_for_first_try(self, timeout_s: float) -> bool:
        """Wait until it is known whether this process begins as the active one."""
        return self._first_try.wait(timeout_s)

    @property
    def may_send(self) -> bool:
        """Whether the lease is surely still held: no other process can have taken it yet."""
        renewed_at = self._renewed_at
        return renewed_at is not None and self._monotonic() - renewed_at < TTL.total_seconds()

    @property
    def database_trouble(self) -> str | None:
        """What ails the database, or None; known without asking it, which could take for ever."""
        if self._refusal is not None:
            return self._refusal
        silent_s = self._monotonic() - self._answered_at
        if silent_s > LONGEST_SILENCE_S:
            return f"it has not answered for {silent_s:.0f} s"
        return None

    @property
    def is_alive(self) -> bool:
        """Whether the lease is sought or kept."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            begun_at = self._monotonic()
            fence = self._try()
            if fence is None:
                self._first_try.set()
                self._stopping.wait(RENEW_S / 2)
                continue
            if not self._hold(fence, begun_at):
                self._stopping.wait(RENEW_S)  # another process may fare better

    def _try(self) -> int | None:
        try:
            fence = self._lease.try_acquire()
        except StorageError as error:
            log.warning("lease cannot be asked for", extra={"error": str(error)})
            self._note(str(error))
        except Exception as error:  # one of the loops that must not die
            log.exception("lease cannot be asked for")
            self._note(str(error))
        else:
            self._note(None)
            return fence
        return None

    def _note(self, refusal: str | None) -> None:
        """Note whether the database answered, for those who ask how it is."""
        self._refusal = refusal
        if refusal is None:
            self._answered_at = self._monotonic()

    def _hold(self, fence: int, begun_at: float) -> bool:
        """Do the work of the active process until the lease is lost or given up.

        Returns:
            Whether the work could begin.
        """
        self._over.clear()
        self._done.clear()
        self._renewed_at = begun_at
        self._fence = fence
        keeper = threading.Thread(
            target=self._keep, args=(fence,), name="lease-keeper", daemon=True
        )
        has_begun = False
        try:
            keeper.start()
            log.info("this process polls and delivers now", extra={"fence": fence})
            self._on_gain(fence)
            has_begun = True
            self._first_try.set()
            if not self._stopping.is_set():
                self._over.wait()
        except Exception:  # one of the loops that must not die
            log.exception("the active work could not begin")
        self._let_go(keeper)
        return has_begun

    def _keep(self, fence: int) -> None:
        """Renew the lease, also while the work that needs it is being ended."""
        took_s = 0.0
        # From beginning to beginning: a slow database must not stretch the time between two.
        while not self._done.wait(max(0.0, RENEW_S - took_s)):
            begun_at = self._monotonic()
            if not self._renew(fence, begun_at):
                return
            took_s = self._monotonic() - begun_at

    def _renew(self, fence: int, begun_at: float) -> bool:
        """Renew once; False when another process has taken the lease."""
        try:
            is_kept = self._lease.renew()
        except Exception as error:  # noqa: BLE001 - one of the loops that must not die
            log.warning("lease could not be renewed", extra={"error": str(error)})
            self._note(str(error))
            if not self.may_send:
                self._over.set()
            return True
        self._note(None)
        if is_kept:
            self._renewed_at = begun_at
            return True
        log.warning("another process polls and delivers now")
        self.lose(fence)
        return False

    def _let_go(self, keeper: threading.Thread) -> None:
        """End the work, and give the lease back whatever becomes of that."""
        try:
            self._on_loss()
        except Exception:
            log.exception("the active work did not end cleanly")
        self._done.set()
        if keeper.ident is not None:
            keeper.join()
        self._fence = None
        self._renewed_at = None
        try:
            self._lease.release()
        except Exception as error:  # noqa: BLE001 - one of the loops that must not die
            log.warning("lease could not be given back", extra={"error": str(error)})
