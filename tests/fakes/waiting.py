"""Waiting for what is to come, with a deadline and without a fixed sleep."""

import time
from collections.abc import Callable

STEP_S = 0.005


def wait_until(happened: Callable[[], bool], *, deadline_s: float = 5.0) -> None:
    """Return as soon as it happened; fail the test when it has not by the deadline."""
    ends_at = time.monotonic() + deadline_s
    while not happened():
        if time.monotonic() > ends_at:
            raise AssertionError(f"did not happen within {deadline_s:g} s")
        time.sleep(STEP_S)
