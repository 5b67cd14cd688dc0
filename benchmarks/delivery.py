"""From detection to receipt: how soon, how many, and whether one bad receiver slows the others."""

import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.canned_git import OTHER_BRANCHES, CannedGit
from benchmarks.fleet import a_watched_fleet, configure, name_of, wait_all_polled
from benchmarks.row import Row
from tests.fakes.process import RunningSentry, eventually
from tests.fakes.receiver import Record, RecordingReceiver

SEED = 20260101
ANSWER_S = 0.02

# A thousand changes a minute for six receivers are a hundred deliveries a second.
CHANGES_A_MINUTE = 1_000
RECEIVERS = 6
REPOSITORIES = 250
INTERVAL = "5s"
# Slices of this length, well and ill in turn, so that a busy machine is busy for both.
SLICE_S = 15.0
WARM_UP_S = 5.0
PAIRS = 4
HANGING = "hanging"
HANGING_TIMEOUT = "2s"
SETTLE_DEADLINE_S = 60.0
REST_S = 1.0  # nothing arrived for so long: nothing is under way

# What is owed before anything is sent, and then sent as fast as it goes.
OWING_REPOSITORIES = 500
OWED = OWING_REPOSITORIES * (1 + OTHER_BRANCHES)
OWED_DEADLINE_S = 120.0


def measure() -> Iterator[Row]:
    """Measure how soon and how undisturbed, then how many."""
    yield from measure_lag()
    yield from measure_throughput()


def answer_slowly(_: Record) -> int:
    """Take as long as a receiver does that has something to do."""
    time.sleep(ANSWER_S)
    return 202


def measure_lag() -> Iterator[Row]:
    """Push at a steady pace, while one of the receivers hangs for its whole time now and then."""
    names = [HANGING, *(f"well-{number}" for number in range(1, RECEIVERS))]
    with ExitStack() as stack:
        receivers = {
            name: stack.enter_context(RecordingReceiver(answer=answer_slowly)) for name in names
        }
        settings: dict[str, dict[str, Any]] = {
            name: {"url": each.url} for name, each in receivers.items()
        }
        # It hangs for all of its time at every attempt, and soon is asked again.
        retry = {"first": "1s", "longest": "2s", "give_up": "1h"}
        settings[HANGING] |= {"timeout": HANGING_TIMEOUT, "retry": retry}
        _, git = stack.enter_context(
            a_watched_fleet(count=REPOSITORIES, interval=INTERVAL, receivers=settings)
        )
        lags = push_in_slices(git, receivers)
    well, ill = lags[False], lags[True]
    p99_s = percentile(well, 99)
    a_second = RECEIVERS * CHANGES_A_MINUTE / 60
    yield Row(
        f"detection → receipt p99, {CHANGES_A_MINUTE:,} changes a minute, "
        f"{a_second:.0f} deliveries/s, each answered in {1000 * ANSWER_S:.0f} ms",
        250,
        "ms",
        1000 * p99_s,
        f"p50 {1000 * statistics.median(well):.0f} ms, worst {1000 * max(well):.0f} ms, "
        f"n {len(well):,}",
    )
    yield Row(
        f"the same for {RECEIVERS - 1} receivers while another hangs for its whole time",
        1.2,
        "x",
        percentile(ill, 99) / p99_s,
        f"p99 {1000 * percentile(ill, 99):.0f} ms, p50 {1000 * statistics.median(ill):.0f} ms, "
        f"n {len(ill):,}; {PAIRS} slices of {SLICE_S:g} s each, in turn",
    )


def push_in_slices(
    git: CannedGit, receivers: Mapping[str, RecordingReceiver]
) -> dict[bool, list[float]]:
    """Return the lags of the well receivers, by whether the other one hung meanwhile."""
    chance = random.Random(SEED)  # noqa: S311 - repeatable, and no secret
    # Each repository rests for long between two pushes, so that no two become one change.
    order = itertools.cycle(chance.sample(range(REPOSITORIES), REPOSITORIES))
    lags: dict[bool, list[float]] = {False: [], True: []}
    well = [receiver for name, receiver in receivers.items() if name != HANGING]
    push_steadily(git, order, WARM_UP_S, chance)
    for number in range(PAIRS):
        for is_ill in (False, True) if number % 2 else (True, False):
            settle(receivers)
            receivers[HANGING].answer = "hang" if is_ill else answer_slowly
            before = {id(each): len(each.records) for each in well}
            pushed = push_steadily(git, order, SLICE_S, chance)
            for receiver in well:
                count = before[id(receiver)] + pushed
                records = receiver.wait_for(count, SETTLE_DEADLINE_S)
                lags[is_ill] += map(lag_s, records[before[id(receiver)] : count])
    return lags


def push_steadily(
    git: CannedGit, order: Iterator[int], seconds: float, chance: random.Random
) -> int:
    """Push to one repository after the other at moments that know nothing of the polls."""
    until = time.monotonic() + seconds
    pushed = 0
    while time.monotonic() < until:
        git.push(name_of(next(order)))
        pushed += 1
        time.sleep(chance.expovariate(CHANGES_A_MINUTE / 60))
    return pushed


def settle(receivers: Mapping[str, RecordingReceiver]) -> None:
    """Let the one that hung catch up with the others, and what follows from it come to rest."""
    hung = receivers[HANGING]
    hung.answer = answer_slowly
    seen: list[int] = []

    def has_caught_up() -> bool:
        time.sleep(REST_S)
        seen.append(sum(len(each.records) for each in receivers.values()))
        arrived = [len({record.delivery for record in each.records}) for each in receivers.values()]
        return len(set(arrived)) == 1 and seen[-1:] == seen[-2:-1]

    eventually(has_caught_up, deadline_s=SETTLE_DEADLINE_S, what="the one that hung catches up")


def lag_s(record: Record) -> float:
    """Return how long after its detection a change arrived."""
    detected_at = datetime.fromisoformat(record.json["reposentry"]["detected_at"])
    return record.at_s - detected_at.timestamp()


def percentile(values: Sequence[float], percent: int) -> float:
    """Return what that share of the values does not exceed."""
    return statistics.quantiles(values, n=100)[percent - 1]


def measure_throughput() -> Iterator[Row]:
    """Owe thousands of deliveries to one receiver that is paused, and let them go."""
    with ExitStack() as stack:
        receiver = stack.enter_context(RecordingReceiver())
        git = stack.enter_context(CannedGit())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = configure(
            folder,
            git,
            count=OWING_REPOSITORIES,
            interval="10m",
            receiver=receiver.url,
            baseline="trigger",
        )
        sentry = RunningSentry("run", "-c", str(file), folder=folder)
        stack.enter_context(sentry).wait_ready()
        switch(sentry, "pause")
        wait_all_polled(sentry, OWING_REPOSITORIES)
        before = len(receiver.records)  # it may have been sent something before it was paused
        began_s = time.monotonic()
        switch(sentry, "resume")
        receiver.wait_for(OWED, OWED_DEADLINE_S)
        took_s = time.monotonic() - began_s
    sent = OWED - before
    yield Row(
        "one delivery of many, sustained, SQLite with synchronous=FULL",
        3.33,  # 300 a second
        "ms",
        1000 * took_s / sent,
        f"{sent / took_s:.0f} deliveries/s, n {sent:,}, one receiver, concurrency 8",
    )


def switch(sentry: RunningSentry, verb: str) -> None:
    """Pause the receiver, or resume it."""
    origin = {"Origin": f"http://127.0.0.1:{sentry.port}"}
    answer = sentry.request("POST", f"/api/v1/receivers/ci/{verb}", headers=origin)
    assert answer.status // 100 == 2, answer  # noqa: PLR2004, S101 - a mistake of ours
