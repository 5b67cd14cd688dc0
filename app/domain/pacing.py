"""How many deliveries a receiver with a rate may be sent at this moment."""

from datetime import datetime, timedelta
from math import ceil

# What is left of a token after many small additions.
_GRAIN = 1e-6


class TokenBucket:
    """Fills at ``rate`` tokens a second and holds those of one second, at least one.

    A clock that is set back neither fills it nor keeps it from filling.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    >>> bucket = TokenBucket(5, noon)
    >>> bucket.take(32, noon), bucket.take(1, noon)
    (5, 0)
    >>> bucket.wait(noon), bucket.take(32, noon + timedelta(milliseconds=400))
    (datetime.timedelta(microseconds=200000), 2)
    """

    def __init__(self, rate: float, at: datetime) -> None:
        self._rate = rate
        self._at = at
        self._tokens = float(self.burst)

    @property
    def burst(self) -> int:
        """The most it holds."""
        return max(1, ceil(self._rate))

    def available(self, now: datetime) -> int:
        """Return how many tokens there are."""
        passed_s = max(0.0, (now - self._at).total_seconds())
        self._at = now
        self._tokens = min(float(self.burst), self._tokens + passed_s * self._rate)
        return int(self._tokens + _GRAIN)

    def take(self, most: int, now: datetime) -> int:
        """Take as many as there are, at most so many; return how many."""
        taken = max(0, min(most, self.available(now)))
        self._tokens -= taken
        return taken

    def give_back(self, unused: int) -> None:
        """Put back what was taken and not needed."""
        self._tokens = min(float(self.burst), self._tokens + unused)

    def wait(self, now: datetime, *, wanted: int = 1) -> timedelta:
        """Return how long until there are as many as wanted."""
        if self.available(now) >= wanted:
            return timedelta()
        missing_s = (min(wanted, self.burst) - self._tokens) / self._rate
        return timedelta(microseconds=ceil(missing_s * 1e6 - _GRAIN))
