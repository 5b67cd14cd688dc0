"""Something done again and again in a thread of its own, whatever becomes of one time."""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Periodic:
    """Calls ``work`` every ``every_s`` seconds, first after one wait, until it is stopped."""

    def __init__(self, name: str, work: Callable[[], None], *, every_s: float) -> None:
        self._name = name
        self._work = work
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End, after the call that is under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - one of the loops that must not die
                log.warning("periodic work failed", extra={"work": self._name, "error": str(error)})
