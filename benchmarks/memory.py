"""Resident memory while a fleet is polled."""

import time
from collections.abc import Iterator

from benchmarks.fleet import a_watched_fleet
from benchmarks.row import Row
from benchmarks.usage import IS_TOLD, NOT_TOLD, memory_mib

BUDGETS_MIB = {1_000: (95.0, "15s"), 10_000: (130.0, "30s")}
# Every repository several times: what grows with polls would show.
WATCHED_S = 60.0


def measure() -> Iterator[Row]:
    """Poll for a while, and return the most that was used."""
    for count, (budget_mib, interval) in BUDGETS_MIB.items():
        what = f"memory (RSS) polling {count:,} repositories every {interval}"
        if not IS_TOLD:
            yield Row(what, budget_mib, "MiB", None, NOT_TOLD)
            continue
        with a_watched_fleet(count=count, interval=interval) as (sentry, _):
            seen_mib = [memory_mib(sentry.pid)]
            until = time.monotonic() + WATCHED_S
            while time.monotonic() < until:
                time.sleep(1)
                seen_mib.append(memory_mib(sentry.pid))
        beside = f"at most, over {WATCHED_S:g} s; at the end {seen_mib[-1]:.0f} MiB"
        yield Row(what, budget_mib, "MiB", max(seen_mib), beside)
