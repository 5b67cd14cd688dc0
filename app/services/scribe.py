"""Writes down what came of attempts, that of all lanes together while a write is under way."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

from app.domain.errors import LeaseLost, StorageUnavailable
from app.storage.records import AttemptResult

Conclude: TypeAlias = "Callable[[Sequence[AttemptResult], Sequence[int]], Future[None]]"

# As many as one transaction records without holding the others up.
MOST = 64


@dataclass(frozen=True, slots=True)
class _Entry:
    """What one lane wants written, and whom to tell that it is; some are written alone."""

    results: Sequence[AttemptResult]
    release: Sequence[int]
    done: "Future[None]" = field(default_factory=Future)
    is_alone: bool = False


class Scribe:
    """Safe to use from many threads; one write is under way at a time.

    A thousand repositories with one delivery each would otherwise be a thousand transactions, of a
    dozen statements each.
    """

    def __init__(self, conclude: Conclude) -> None:
        """Make it; ``conclude`` writes, and returns at once."""
        self._conclude = conclude
        self._lock = threading.Lock()
        self._entries: deque[_Entry] = deque()
        self._is_writing = False

    def record(
        self, results: Sequence[AttemptResult], release: Sequence[int] = ()
    ) -> "Future[None]":
        """Return at once; the future tells when it is durable, or why it is not."""
        entry = _Entry(tuple(results), tuple(release))
        with self._lock:
            self._entries.append(entry)
            if self._is_writing:
                return entry.done
            self._is_writing = True
        self._write_next()
        return entry.done

    def _write_next(self) -> None:
        with self._lock:
            together = self._take()
            self._is_writing = bool(together)
        if together:
            self._write(together)

    def _take(self) -> list[_Entry]:
        """Take what goes into one transaction; call it with the lock held."""
        together = [self._entries.popleft()] if self._entries else []
        room = MOST - sum(len(entry.results) for entry in together)
        while self._entries and not (together[0].is_alone or self._entries[0].is_alone):
            room -= len(self._entries[0].results)
            if room < 0:
                break
            together.append(self._entries.popleft())
        return together

    def _write(self, together: list[_Entry]) -> None:
        results = [result for entry in together for result in entry.results]
        release = [position for entry in together for position in entry.release]
        try:
            written = self._conclude(results, release)
        except Exception as error:  # noqa: BLE001 - told to those who wait for it
            written = Future()
            written.set_exception(error)
        written.add_done_callback(partial(self._settle, together))

    def _settle(self, together: list[_Entry], written: "Future[None]") -> None:
        error = written.exception()
        is_common = isinstance(error, LeaseLost | StorageUnavailable)
        if error is not None and not is_common and len(together) > 1:
            # Something is wrong with one of them, and the others shall not be sent again for that.
            alone = [replace(entry, is_alone=True) for entry in together]
            with self._lock:
                self._entries.extendleft(reversed(alone))
        else:
            for entry in together:
                if error is None:
                    entry.done.set_result(None)
                else:
                    entry.done.set_exception(error)
        self._write_next()
