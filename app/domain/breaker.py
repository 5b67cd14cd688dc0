"""When a receiver has failed so often that only one delivery at a time asks whether it is back."""

from collections.abc import Hashable
from datetime import datetime, timedelta

from app.domain.delivery import Answer, RetryPolicy, is_transient

FAILURES_IN_A_ROW = 5
# A choice: once a receiver is back, it is not left alone for longer than that.
LONGEST_WAIT = timedelta(minutes=1)


class Breaker:
    """The circuit to one receiver: closed while it answers, open after five failures in a row.

    No answer, 408, 425, 429 and 5xx are failures; any other answer closes the circuit. While it is
    open, one probe at a time is made, each after a longer wait. ``opened_at`` is None while it is
    closed. ``suspect`` is from whom all failures in a row came, and None when they came from
    several: as long as it is one alone, the fault may be its own.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    >>> breaker = Breaker(RetryPolicy())
    >>> for _ in range(5):
    ...     breaker.hear(Answer(503), of="acme/website", at=noon, chance=0)
    >>> breaker.is_open, breaker.reason, breaker.next_probe_at - noon
    (True, 'it answered 503', datetime.timedelta(seconds=5))
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._probes_failed = 0
        self.failures = 0
        self.suspect: Hashable | None = None
        self.opened_at: datetime | None = None
        self.reason: str | None = None
        self.next_probe_at: datetime | None = None
        self.is_probing = False

    @property
    def is_open(self) -> bool:
        """Whether only probes are sent."""
        return self.opened_at is not None

    def reopen(self, opened_at: datetime, reason: str | None, *, at: datetime) -> None:
        """Begin as it was left before a restart, with a probe at once."""
        self.opened_at, self.reason, self.next_probe_at = opened_at, reason, at
        self.failures = FAILURES_IN_A_ROW

    def is_probe_due(self, now: datetime) -> bool:
        """Tell whether a probe may be made."""
        return self.is_open and not self.is_probing and self.wait(now) <= timedelta()

    def wait(self, now: datetime) -> timedelta:
        """Return how long until the next probe; none if the clock was set back since."""
        if self.next_probe_at is None:
            return timedelta()
        wait = self.next_probe_at - now
        return timedelta() if wait > self._policy.longest else max(wait, timedelta())

    def hurry(self, at: datetime) -> None:
        """Let the next probe be made now, since a person asks for it."""
        if self.is_open:
            self.next_probe_at = at

    def begin_probe(self) -> None:
        """Say that a probe is being made; no other may be until it ends."""
        self.is_probing = True

    def end_probe(self, *, not_before: datetime | None = None) -> None:
        """Say that it is over; if nothing was sent, the next need not wait, or until then."""
        self.is_probing = False
        if self.is_open and not_before is not None:
            self.next_probe_at = not_before

    def hear(
        self,
        answer: Answer,
        *,
        of: Hashable,
        at: datetime,
        chance: float,
        is_probe: bool = False,
    ) -> None:
        """Take note of an attempt's outcome; ``chance`` in [0, 1) is for the jitter."""
        if not is_transient(answer.status):
            self._close()
            return
        self.failures += 1
        self.suspect = of if self.failures == 1 or self.suspect == of else None
        if is_probe and self.is_open:
            self._probes_failed += 1
            self.next_probe_at = at + self._wait_after(answer, chance)
        elif not self.is_open and self.failures >= FAILURES_IN_A_ROW:
            self.opened_at = at
            self.reason = answer.error or f"it answered {answer.status}"
            self.next_probe_at = at + self._wait_after(answer, chance)

    def _wait_after(self, answer: Answer, chance: float) -> timedelta:
        """Double the wait each time; what one answer asks for counts up to the longest wait."""
        most = min(LONGEST_WAIT, self._policy.longest)
        doublings: int = min(self._probes_failed, 32)
        wait = min(most, self._policy.first * (1 << doublings)) * (1 - chance / 2)
        if answer.retry_after is not None:
            wait = max(wait, min(answer.retry_after, self._policy.longest))
        return wait

    def _close(self) -> None:
        self.failures = self._probes_failed = 0
        self.suspect = self.opened_at = self.reason = self.next_probe_at = None
