"""Many histories: in several processes, with those that fail made short and told."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context

from app.simulation.history import Outcome, run
from app.simulation.plan import Happening, Plan

AT_ONCE = 40  # histories that one process lives before it reports
MOST_TRIES = 150  # runs that making one history shorter may cost
LAST_LINES = 60
MOST_FAILURES = 20  # then a campaign ends: there is enough to do


@dataclass(frozen=True, slots=True)
class Tally:
    """What several histories came to; ``failed`` holds each broken one's number and why."""

    histories: int = 0
    polls: int = 0
    kills: int = 0
    events: int = 0
    deliveries: int = 0
    requests: int = 0
    virtual_s: float = 0
    failed: tuple[tuple[int, str], ...] = ()

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.histories + other.histories,
            self.polls + other.polls,
            self.kills + other.kills,
            self.events + other.events,
            self.deliveries + other.deliveries,
            self.requests + other.requests,
            self.virtual_s + other.virtual_s,
            self.failed + other.failed,
        )

    def __str__(self) -> str:
        days = self.virtual_s / 86_400
        return (
            f"{self.histories:,} histories of {days:,.1f} days in all: {self.polls:,} polls, "
            f"{self.events:,} events, {self.deliveries:,} deliveries, {self.requests:,} requests, "
            f"{self.kills:,} kills; {len(self.failed)} broke a promise"
        )


def tally(seeds: Sequence[int]) -> Tally:
    """Live the histories of these numbers."""
    total = Tally()
    for seed in seeds:
        total += _counted(run(seed))
    return total


def campaign(seeds: range, *, processes: int, progress: Callable[[Tally], None]) -> Tally:
    """Live the histories of a range of numbers, in so many processes.

    Args:
        seeds: Which.
        processes: How many live histories beside each other; 1: none but this.
        progress: Told now and then how far it is.
    """
    total = Tally()
    for part in _parts(seeds, processes):
        total += part
        progress(total)
        if len(total.failed) >= MOST_FAILURES:
            break
    return replace(total, failed=tuple(sorted(total.failed)))


def cores() -> int:
    """Return how many processes can work at once."""
    return os.cpu_count() or 1


def shortened(outcome: Outcome) -> Outcome:
    """Return a history that breaks the same promise with fewer things happening in it."""
    best, tries = outcome, 0
    size = max(1, len(best.plan.happenings) // 2)
    while tries < MOST_TRIES:
        shorter = None
        for plan in _without(best.plan, size):
            tries += 1
            tried = run(plan)
            if tried.broken and outcome.broken and tried.broken.promise == outcome.broken.promise:
                shorter = tried
                break
            if tries >= MOST_TRIES:
                break
        if shorter is not None:
            best = shorter
        elif size == 1:
            break
        else:
            size //= 2
        size = max(1, min(size, len(best.plan.happenings)))
        if not best.plan.happenings:
            break
    return best


def told(outcome: Outcome) -> str:
    """Tell how a history broke a promise, and how to live it again."""
    short = shortened(outcome)
    plan = short.plan
    lines = [
        f"seed {plan.seed} breaks {outcome.broken}",
        f"run it again: reposentry simulate --seed {plan.seed}",
        f"shortened to {len(plan.happenings)} happenings, it breaks {short.broken}:",
        *(f"  {happening}" for happening in sorted(plan.happenings, key=_moment)),
        f"the last of {len(short.story)} lines of its story:",
        *(f"  {_line(line)}" for line in short.story[-LAST_LINES:]),
    ]
    return "\n".join(lines)


def _counted(outcome: Outcome) -> Tally:
    broken = ((outcome.plan.seed, str(outcome.broken)),) if outcome.broken else ()
    return Tally(
        1,
        outcome.polls,
        outcome.kills,
        outcome.events,
        outcome.deliveries,
        outcome.requests,
        outcome.virtual_s,
        broken,
    )


def _parts(seeds: range, processes: int) -> Iterator[Tally]:
    chunks = [seeds[begin : begin + AT_ONCE] for begin in range(0, len(seeds), AT_ONCE)]
    if processes == 1:
        yield from map(tally, chunks)
        return
    # As Windows does it, everywhere.
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    handed_in = [pool.submit(tally, chunk) for chunk in chunks]
    try:
        for part in as_completed(handed_in):
            yield part.result()
    finally:  # not by the pool's own context: that one would wait for all that was handed in
        pool.shutdown(cancel_futures=True)


def _without(plan: Plan, size: int) -> Iterator[Plan]:
    """Leave out so many happenings, one group after the other; a second process at last."""
    happenings = plan.happenings
    for begin in range(0, len(happenings), size):
        yield replace(plan, happenings=happenings[:begin] + happenings[begin + size :])
    if size == 1 and plan.processes > 1:
        yield replace(plan, processes=1)


def _moment(happening: Happening) -> tuple[int, int]:
    return happening.ms or 0, happening.step or 0


def _line(line: tuple[object, ...]) -> str:
    ms, *what = line
    return f"{int(str(ms)) / 1000:9.3f} s  {' '.join(map(str, what))}"
