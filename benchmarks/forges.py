"""A fleet of thousands at one GitHub that enforces its limits: how soon, and for how much of them.

Pushes come at the pace of a day at work, to repositories that are pushed to very unequally. How
much of the allowance was used is counted by the fake GitHub, not by the program. Then the same
while every probe fails, and while every probe lies: each repository's own poll must find it all.
"""

import argparse
import contextlib
import random
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.fake_github import FakeGitHubProcess, repository_name
from benchmarks.fleet import wait_all_polled, write_configuration
from benchmarks.row import HEAD, Row
from benchmarks.usage import IS_TOLD, cpu_s, memory_mib
from tests.fakes.process import RunningSentry

SEED = 20260101
MOST_USED = 0.60  # of one token's allowance; what the whole fleet must do with
DAY_S, HOUR_S, MINUTE_S = 86_400.0, 3600.0, 60.0
# Once every repository is known: a plan is made and its probes have begun.
SETTLING_S = 90.0
# What the last push of a run may take to be noticed, beyond the promise.
GRACE_S = 30.0
REFUSALS = ("403", "429")
MODES = ("honest", "failing", "lying")
PROBES = ("listing", "graphql")


@dataclass(slots=True)
class Chosen:
    """What a run is like."""

    mode: str
    repositories: int
    organisations: int
    minutes: float
    pushes_a_day: float
    latency_ms: float
    max_interval_s: float
    settling_s: float = SETTLING_S
    keep: Path | None = None

    @property
    def promise_s(self) -> float:
        """How soon every push must be noticed."""
        return 15.0 if self.mode == "honest" else self.max_interval_s


@dataclass(slots=True)
class Outcome:
    """What was seen of a run."""

    lags_s: list[float] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    took_s: float = 0.0
    cpu_s: float = 0.0
    memory_mib: float = 0.0


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for, and return the exit code: 1 where a promise is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks forges", description=__doc__)
    parser.add_argument("--mode", choices=(*MODES, "all"), default="all")
    parser.add_argument("--repositories", type=int, default=10_000)
    parser.add_argument("--organisations", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--pushes-a-day", type=float, default=15_000)
    parser.add_argument("--latency", type=float, default=100.0, help="GitHub's, in milliseconds")
    parser.add_argument("--settling", type=float, default=SETTLING_S, help="seconds")
    parser.add_argument(
        "--max-interval", type=float, default=120.0, help="seconds, while probes fail or lie"
    )
    parser.add_argument("--keep", type=Path, help="a folder for the program's log")
    told = parser.parse_args(arguments)
    is_met = True
    for mode in MODES if told.mode == "all" else (told.mode,):
        chosen = Chosen(
            mode=mode,
            repositories=told.repositories,
            organisations=told.organisations,
            minutes=told.minutes,
            pushes_a_day=told.pushes_a_day,
            latency_ms=told.latency,
            # As people have it, while probes are well.
            max_interval_s=900.0 if mode == "honest" else told.max_interval,
            settling_s=told.settling,
            keep=told.keep,
        )
        outcome = run(chosen)
        print(HEAD)  # noqa: T201 - a command's answer
        for row in rows(chosen, outcome):
            print(row, flush=True)  # noqa: T201 - as above
            is_met &= row.is_met
        print("\n".join(("", *spent(outcome), "")), flush=True)  # noqa: T201 - as above
    return 0 if is_met else 1


def run(chosen: Chosen) -> Outcome:
    """Let the program watch the fleet while it is pushed to."""
    options = (
        f"--organisations={chosen.organisations}",
        f"--repositories={chosen.repositories}",
        f"--latency={chosen.latency_ms}",
    )
    names = [
        repository_name(number, organisations=chosen.organisations)
        for number in range(chosen.repositories)
    ]
    with (
        tempfile.TemporaryDirectory() as folder,
        FakeGitHubProcess(*options) as github,
        contextlib.ExitStack() as stack,
    ):
        file = write_configuration(
            Path(folder),
            {name: github.url(name) for name in names},
            polling={"interval": "15s", "max_interval": f"{chosen.max_interval_s:g}s"},
            forges={"github": github.settings()},
        )
        sentry = RunningSentry("run", "-c", str(file), folder=Path(folder))
        stack.enter_context(sentry)
        sentry.wait_ready()
        wait_all_polled(sentry, len(names), deadline_s=1800.0)
        outcome = Outcome()
        time.sleep(chosen.settling_s)
        for surface in PROBES if chosen.mode != "honest" else ():
            how = {"failing": {"fails": True}, "lying": {"lies": True}}[chosen.mode]
            github.control("show", surface=surface, **how)
        github.control("forget")
        began_s, began_cpu_s = time.monotonic(), cpu_s(sentry.pid) if IS_TOLD else 0.0
        pushed = push_for(chosen, github, names)
        outcome.took_s = time.monotonic() - began_s
        outcome.told = github.control("report")
        if IS_TOLD:
            outcome.cpu_s = cpu_s(sentry.pid) - began_cpu_s
            outcome.memory_mib = memory_mib(sentry.pid)
        wait_noticed(sentry, pushed, chosen.promise_s + GRACE_S)
        if chosen.keep is not None:
            (chosen.keep / f"{chosen.mode}.log").write_text(sentry.output, encoding="utf-8")
            shutil.copy(Path(folder) / "fleet.db", chosen.keep / f"{chosen.mode}.db")
        compare(outcome, pushed, sentry.events(), chosen.promise_s)
    return outcome


Pushes = Mapping[str, Sequence[tuple[float, str]]]


def push_for(chosen: Chosen, github: FakeGitHubProcess, names: Sequence[str]) -> Pushes:
    """Push at moments that know nothing of the polls; return when to what, and the commit."""
    chance = random.Random(SEED)  # noqa: S311 - repeatable, and no secret
    # A few are pushed to often and most hardly ever, as real ones are (Zipf's law).
    order = chance.sample(names, len(names))
    weights = [1 / (rank + 10) for rank in range(len(order))]
    pushed: dict[str, list[tuple[float, str]]] = defaultdict(list)
    until = time.monotonic() + chosen.minutes * MINUTE_S
    while True:
        wait_s = chance.expovariate(chosen.pushes_a_day / DAY_S)
        if time.monotonic() + wait_s >= until:
            time.sleep(max(0.0, until - time.monotonic()))
            return pushed
        time.sleep(wait_s)
        name = chance.choices(order, weights)[0]
        at_s = time.time()
        pushed[name].append((at_s, github.push(name)))


def wait_noticed(sentry: RunningSentry, pushed: Pushes, deadline_s: float) -> None:
    """Wait until the last push to each repository is an event, if that comes in time."""
    last = {commits[-1][1] for commits in pushed.values()}
    until = time.monotonic() + deadline_s
    while last - {event["after"] for event in sentry.events()} and time.monotonic() < until:
        time.sleep(2.0)


def compare(
    outcome: Outcome, pushed: Pushes, events: Iterable[Mapping[str, Any]], promise_s: float
) -> None:
    """Find out when each push was noticed: with itself, or with one after it."""
    noticed: dict[str, float] = {}
    for event in events:
        noticed[event["after"]] = datetime.fromisoformat(event["detected_at"]).timestamp()
    for name, commits in pushed.items():
        for number, (at_s, commit) in enumerate(commits):
            found = [noticed[later] for _, later in commits[number:] if later in noticed]
            at = datetime.fromtimestamp(at_s, UTC).strftime("%H:%M:%S.%f")[:-3]
            if not found:
                outcome.missed.append(f"{name} {commit[:7]} of {at}")
                continue
            outcome.lags_s.append(min(found) - at_s)
            if outcome.lags_s[-1] > promise_s:
                outcome.late.append(f"{name} of {at} by {outcome.lags_s[-1]:.1f} s")


def rows(chosen: Chosen, outcome: Outcome) -> Iterator[Row]:
    """Return what was promised, and what came of it."""
    whose = (
        f"{chosen.repositories:,} repositories of {chosen.organisations} owners, one token, "
        f"probes {chosen.mode}"
    )
    count = len(outcome.lags_s) + len(outcome.missed)
    lags_s = sorted(outcome.lags_s) or [float("inf")]
    p95_s = lags_s[min(len(lags_s) - 1, int(0.95 * len(lags_s)))]
    beside = (
        f"p50 {statistics.median(lags_s):.1f} s, worst {lags_s[-1]:.1f} s, n {count}, "
        f"{chosen.pushes_a_day:,.0f} pushes a day"
    )
    if chosen.mode == "honest":
        yield Row(f"push → noticed p95, {whose}", chosen.promise_s, "s", p95_s, beside)
    else:
        beside += f", max_interval {chosen.max_interval_s:g} s"
        yield Row(f"push → noticed, the latest, {whose}", chosen.promise_s, "s", lags_s[-1], beside)
    missed = "; ".join([*outcome.missed[:5], *(f"late: {one}" for one in outcome.late[:9])])
    yield Row(f"pushes missed, {whose}", 0.0, "", float(len(outcome.missed)), missed)
    yield from _shares(chosen, outcome)
    refused = {
        f"{account}: {status}": n
        for account, one in outcome.told["accounts"].items()
        for status, n in one["statuses"].items()
        if status in REFUSALS
    }
    yield Row("answers 403 and 429", 0.0, "", float(sum(refused.values())), str(refused or ""))
    core = 100 * outcome.cpu_s / max(1.0, outcome.took_s)
    beside = f"{outcome.memory_mib:.0f} MiB of memory"
    yield Row("CPU of all of it", 50.0, "% of a core", core if IS_TOLD else None, beside)


def _shares(chosen: Chosen, outcome: Outcome) -> Iterator[Row]:
    """Return how much of each limit was used, as the forge counted it.

    While probes are well, the pace of the measured time is what an hour would take. While they
    ail, what was used since the start counts: it is spent until the share is, and then no more.
    """
    told = next(iter(outcome.told["accounts"].values()))
    budget = 100 * MOST_USED
    for name, words in (("core", "REST"), ("graphql", "GraphQL")):
        limit, used = told[name]["limit"], told[name]["used"]
        an_hour = used * HOUR_S / outcome.took_s
        counted = an_hour if chosen.mode == "honest" else told[name]["used_of_it"]
        beside = (
            f"{an_hour:,.0f} an hour at the pace of {chosen.minutes:g} minutes; "
            f"{told[name]['used_of_it']:,} since the start, the first look included"
        )
        yield Row(f"used of {limit:,} {words} an hour", budget, "%", 100 * counted / limit, beside)
    for name, words in (("rest_minute", "REST requests"), ("graphql_minute", "GraphQL points")):
        limit, most = told[name]["limit"], told[name]["most"]
        what = f"used of {limit:,} {words} in the worst minute"
        yield Row(what, budget, "%", 100 * most / limit, f"{most:,}")
    beside = f"{told['shut_out']}, {outcome.told['sign_ins_failed']} sign-ins failed"
    yield Row("requests at once", 64.0, "", float(told["most_at_once"]), beside)


def spent(outcome: Outcome) -> Iterator[str]:
    """Return a table of what each way of reading took for each change that was found."""
    changes = max(1, len(outcome.lags_s))
    yield "| way | requests | unchanged | points | requests a change | points a change |"
    yield "| --- | --- | --- | --- | --- | --- |"
    gathered: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for one in outcome.told["accounts"].values():
        for column, counts in enumerate((one["asked"], one["unchanged"], one["points"])):
            for way, count in counts.items():
                gathered[way][column] += count
    total = [sum(column) for column in zip(*gathered.values(), strict=True)] or [0, 0, 0]
    for way, (asked, unchanged, points) in [*sorted(gathered.items()), ("all", total)]:
        each = f"{asked / changes:.1f} | {points / changes:.2f}"
        yield f"| {way} | {asked:,} | {unchanged:,} | {points:,} | {each} |"
