"""What many ask for at once, read for one of them and kept for a moment."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

T = TypeVar("T")

# What the whole fleet looks like is read once for all who ask within this time.
KEPT_FOR = timedelta(seconds=2)


class Kept(Generic[T]):
    """A value that is read again when someone asks and it is older than ``KEPT_FOR``."""

    def __init__(self, read: Callable[[], T], now: Callable[[], datetime]) -> None:
        self._read = read
        self._now = now
        # Held while reading, so that of many who ask at once only one reads.
        self._lock = threading.Lock()
        self._kept: tuple[datetime, T] | None = None

    def get(self) -> T:
        """Return the value, at most ``KEPT_FOR`` old."""
        with self._lock:
            now = self._now()
            if self._kept is None or not now - KEPT_FOR < self._kept[0] <= now:
                self._kept = (now, self._read())
            return self._kept[1]

    def forget(self) -> None:
        """Read anew for whoever asks next."""
        with self._lock:
            self._kept = None
