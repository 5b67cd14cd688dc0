"""Ends the process that imports it, as ``kill -9`` does, just before one chosen step.

Python imports a module of this name by itself when its folder is on PYTHONPATH. A step is a write
to the database, a commit, or an HTTP request; ``DIE_BEFORE_STEP`` counts them from 1. Steps that
only keep the lease or note polls are not counted, since they come with the clock.
"""

import http.client
import itertools
import os
import signal
import threading
from typing import Any

STEPS = itertools.count(1)
LOCK = threading.Lock()  # guards that a step is taken by one thread alone
UNCOUNTED = ("leases", "polls", "poll_hours", "validator")
WRITES = ("INSERT", "UPDATE", "DELETE", "RELEASE")


def step(fatal: int) -> None:
    """Count a step; the fatal one is never taken, and nothing after it is either."""
    with LOCK:
        if next(STEPS) >= fatal:
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
            threading.Event().wait()  # until the blow has fallen


def doom(fatal: int) -> None:
    """Lie in wait at every step."""
    from sqlalchemy import Engine, event

    def on_statement(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        is_write = statement.split(maxsplit=1)[0].upper() in WRITES
        if is_write and not any(word in statement for word in UNCOUNTED):
            connection.info["has_written"] = True
            step(fatal)

    def on_commit(connection: Any) -> None:
        if connection.info.pop("has_written", False):
            step(fatal)

    event.listen(Engine, "before_cursor_execute", on_statement)
    event.listen(Engine, "commit", on_commit)
    send = http.client.HTTPConnection.putrequest

    def putrequest(self: http.client.HTTPConnection, *arguments: Any, **options: Any) -> None:
        step(fatal)
        send(self, *arguments, **options)

    http.client.HTTPConnection.putrequest = putrequest  # type: ignore[method-assign] # on purpose


if "DIE_BEFORE_STEP" in os.environ:
    doom(int(os.environ["DIE_BEFORE_STEP"]))
