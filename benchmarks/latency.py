"""From a push to its receipt, and what it costs to be that quick."""

import random
import statistics
import time
from collections.abc import Iterator

from benchmarks.fleet import a_watched_fleet, name_of
from benchmarks.row import Row
from benchmarks.usage import IS_TOLD, NOT_TOLD, cpu_s
from tests.fakes.receiver import RecordingReceiver

REPOSITORIES = 100
INTERVAL_S = 15.0
PUSHES_EACH = 3
SEED = 20260101


def measure() -> Iterator[Row]:
    """Push to every repository at moments that know nothing of the polls."""
    conditions = f"{REPOSITORIES} repositories polled every {INTERVAL_S:g} s"
    with (
        RecordingReceiver() as receiver,
        a_watched_fleet(count=REPOSITORIES, interval=f"{INTERVAL_S:g}s", receiver=receiver.url) as (
            sentry,
            git,
        ),
    ):
        began_s, began_cpu_s = time.monotonic(), cpu_s(sentry.pid) if IS_TOLD else 0.0
        lags_s: list[float] = []
        chance = random.Random(SEED)  # noqa: S311 - repeatable, and no secret
        for _ in range(PUSHES_EACH):
            pushed_s = {}
            order = chance.sample(range(REPOSITORIES), REPOSITORIES)
            for number in order:
                time.sleep(chance.expovariate(REPOSITORIES / INTERVAL_S))
                pushed_s[name_of(number)] = time.time()
                git.push(name_of(number))
            seen = len(lags_s)
            records = receiver.wait_for(seen + REPOSITORIES, 3 * INTERVAL_S)[seen:]
            lags_s += [
                record.at_s - pushed_s[record.json["repository"]["full_name"]] for record in records
            ]
        core = (cpu_s(sentry.pid) - began_cpu_s if IS_TOLD else 0.0) / (time.monotonic() - began_s)
    p95_s = statistics.quantiles(lags_s, n=100)[94]
    beside = f"p50 {statistics.median(lags_s):.2f} s, worst {max(lags_s):.2f} s, n {len(lags_s)}"
    yield Row(f"push → receipt p95, {conditions}", INTERVAL_S + 0.25, "s", p95_s, beside)
    measured = 100 * core if IS_TOLD else None
    yield Row(f"CPU, {conditions}", 10.0, "% of a core", measured, "" if IS_TOLD else NOT_TOLD)
