"""When to poll a repository next: its pace while all is well, its patience while it is not."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.errors import ForgeRateLimited, RepoSentryError

# An outage ends for all repositories at once, and nothing is noticed until the next try: waiting
# longer than this many intervals would cost more delay than it spares the forge.
LONGEST_OUTAGE_WAIT = 8


@dataclass(frozen=True, slots=True)
class Pace:
    """A repository's shortest interval, and the longest that it is ever left alone.

    ``rest`` is how long it is left alone while all is well, for the reason given; None: the
    shortest interval.
    """

    floor: timedelta
    ceiling: timedelta
    rest: timedelta | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """When a repository is polled next, and the sentence that explains it."""

    at: datetime
    wait: timedelta
    reason: str


def next_turn(
    pace: Pace, *, now: datetime, failures: int = 0, error: RepoSentryError | None = None
) -> Turn:
    """Decide when to poll again, ``failures`` polls in a row having failed with ``error``.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> pace = Pace(timedelta(seconds=15), timedelta(minutes=15))
    >>> next_turn(pace, now=noon).reason
    'every 15 s'
    """
    if error is None or failures == 0:
        rest = pace.floor if pace.rest is None else pace.rest
        return Turn(now + rest, rest, pace.reason or f"every {in_words(rest)}")
    if isinstance(error, ForgeRateLimited):
        wait = max(error.reset_at - now, pace.floor)
        return Turn(now + wait, wait, "the forge's rate limit resets then")
    longest = pace.floor * LONGEST_OUTAGE_WAIT if error.retryable else pace.ceiling
    doublings = min(failures, 20)  # a second is twelve days then, and a month fits a timedelta
    wait = min(pace.floor * 2**doublings, longest, max(pace.ceiling, pace.floor))
    again = "failed poll" if failures == 1 else f"{failures} failed polls"
    return Turn(now + wait, wait, f"waits {in_words(wait)} after {again}")


def in_words(duration: timedelta) -> str:
    """Say a duration briefly, as people do.

    >>> [in_words(timedelta(seconds=s)) for s in (0.5, 15, 90, 900, 7200, 200000)]
    ['0.5 s', '15 s', '90 s', '15 min', '2 h', '2.3 days']
    """
    seconds = duration.total_seconds()
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.1f}".removesuffix(".0") + " s"
