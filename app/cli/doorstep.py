"""What answers while the pages are still being made: probes at once, everything else when it can.

Flask and the pages take a quarter of the start-up, and polling and delivering need neither.
"""

import json
import threading
from collections.abc import Callable, Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

LONGEST_WAIT_S = 5.0  # so that requests that come too early do not hold all threads


class Doorstep:
    """A WSGI application that is there before the one that it stands for."""

    def __init__(
        self, make: Callable[[], WSGIApplication], *, ready: Callable[[], tuple[bool, str]]
    ) -> None:
        """Stand for what ``make`` will make; ``ready`` tells what the readiness probe says."""
        self._make = make
        self._ready = ready
        self._made = threading.Event()
        self._application: WSGIApplication | None = None

    def open(self) -> None:
        """Make the application; from then on it answers everything."""
        self._application = self._make()
        self._made.set()

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Answer a request, or have it answered."""
        if self._application is None:
            path = environ.get("PATH_INFO")
            if path == "/health/live":
                return _answer(start, {"status": "alive"})
            if path == "/health/ready":
                is_ready, reason = self._ready()
                return _answer(start, {"ready": is_ready, "reason": reason}, is_well=is_ready)
            self._made.wait(LONGEST_WAIT_S)
        if self._application is None:
            return _answer(start, {"ready": False, "reason": "starting"}, is_well=False)
        return self._application(environ, start)


def _answer(
    start: StartResponse, body: dict[str, object], *, is_well: bool = True
) -> Iterable[bytes]:
    payload = json.dumps(body).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(payload))),
        ("Cache-Control", "no-store"),
    ]
    start("200 OK" if is_well else "503 Service Unavailable", headers)
    return [payload]
