"""From the start of the process to the first 200 of /health/ready, with a fleet to watch."""

import statistics
import time
from collections.abc import Iterator

from benchmarks.fleet import a_watched_fleet
from benchmarks.row import Row
from benchmarks.usage import IS_TOLD, cpu_s

STARTS = 5
BUDGETS_S = {1_000: 0.7, 10_000: 1.0}


def measure() -> Iterator[Row]:
    """Start a program that knows its repositories already, several times over."""
    for count, budget_s in BUDGETS_S.items():
        with a_watched_fleet(count=count, interval="60s") as (sentry, _):
            took_s, worked_s = [], []
            for _ in range(STARTS):
                sentry.stop()
                sentry.start().wait_ready()
                took_s.append(time.monotonic() - sentry.started_at)
                worked_s.append(cpu_s(sentry.pid) if IS_TOLD else 0.0)
        spread = f"median of {STARTS}, {min(took_s):.2f}-{max(took_s):.2f} s"
        if IS_TOLD:
            spread += f", of which CPU {statistics.median(worked_s):.2f} s"
        what = f"start-up to the first /health/ready, {count:,} repositories"
        yield Row(what, budget_s, "s", statistics.median(took_s), spread)
