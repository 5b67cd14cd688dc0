"""How much a forge still lets one credential ask, learned from what it answers."""

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeGuard

from app.domain.errors import ForgeRateLimited
from app.transport import Reply

# Where each forge writes it: limit, what remains of it, and the second (epoch) it is new again.
HEADERS = (
    ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),  # GitHub
    ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),  # GitLab
)
# The part of a limit that is about reading repositories; GitHub counts searches apart.
OUR_RESOURCES = frozenset({"", "core"})

# The IETF's draft counts the seconds from now instead; in 2001 nobody polled forges.
LEAST_EPOCH_S = 1_000_000_000

# A choice: no forge's period is longer (GitHub's is an hour), so a moment further off is a mistake
# of the forge's, or our clock has been set back since it was noted.
LONGEST_PERIOD = timedelta(days=1)
# More digits than these are no count and no moment.
MOST_DIGITS = 12

# GitHub's advice for a limit that does not say how long it lasts: a minute, then longer.
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(minutes=15)


class Allowance:
    """What one credential may still ask; safe for many threads.

    Args:
        share: The part (0 to 1) of the limit that polling may use; the rest is left to others.
        now: The clock.
    """

    def __init__(self, *, share: float, now: Callable[[], datetime]) -> None:
        self._share = share
        self._now = now
        self._lock = threading.Lock()
        self._limit = 0
        self._remaining = 0
        self._reset_at: datetime | None = None
        self._paused_until: datetime | None = None
        self._pause = FIRST_PAUSE

    def check(self) -> None:
        """Let a request pass, or refuse it before it is sent.

        Raises:
            ForgeRateLimited: Our share is used up, or the forge asked to wait.
        """
        now = self._now()
        with self._lock:
            if _is_ahead(self._paused_until, now):
                raise ForgeRateLimited(
                    "the forge asked to wait before the next request", reset_at=self._paused_until
                )
            if not _is_ahead(self._reset_at, now):
                return
            if self._remaining <= round(self._limit * (1 - self._share)):
                raise ForgeRateLimited(
                    f"our share of the forge's allowance is used up "
                    f"({self._remaining} of {self._limit} remain)",
                    reset_at=self._reset_at,
                )

    def learn(self, reply: Reply) -> None:
        """Take in what an answer's headers say; an answer that says nothing changes nothing."""
        now = self._now()
        told = _told(reply.headers, now=now)
        if told is None:
            return
        with self._lock:
            limit, remaining, reset_at = told
            # Answers may overtake one another: within one period only the least counts.
            if _is_ahead(self._reset_at, now) and reset_at < self._reset_at:
                return
            if reset_at == self._reset_at:
                remaining = min(remaining, self._remaining)
            self._limit, self._remaining, self._reset_at = limit, remaining, reset_at

    def pause(self, until: datetime | None = None) -> ForgeRateLimited:
        """Refuse everything ``until`` then, or for a while that doubles each time; return why."""
        with self._lock:
            moment = until
            if moment is None:
                moment = self._now() + self._pause
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
            if _is_ahead(self._paused_until, moment):
                moment = self._paused_until
            self._paused_until = moment
            return ForgeRateLimited("the forge's rate limit is reached", reset_at=moment)

    def resume(self) -> None:
        """Note that the forge answers again, so that the next untold pause is a short one."""
        with self._lock:
            self._pause = FIRST_PAUSE

    def spent_until(self, reply: Reply) -> datetime | None:
        """Return when the allowance is new, if this answer says that nothing of it remains."""
        told = _told(reply.headers, now=self._now())
        return told[2] if told is not None and told[1] <= 0 else None


def _told(headers: Mapping[str, str], *, now: datetime) -> tuple[int, int, datetime] | None:
    if headers.get("X-RateLimit-Resource", "") not in OUR_RESOURCES:
        return None
    for names in HEADERS:
        numbers = [headers.get(name, "").strip() for name in names]
        if all(text.isascii() and text.isdigit() for text in numbers):
            if max(map(len, numbers)) > MOST_DIGITS:
                return None
            limit, remaining, reset_s = map(int, numbers)
            is_epoch = reset_s >= LEAST_EPOCH_S
            wait_s = reset_s - now.timestamp() if is_epoch else reset_s
            if wait_s > LONGEST_PERIOD.total_seconds():
                return None
            reset_at = datetime.fromtimestamp(reset_s, UTC) if is_epoch else None
            return limit, remaining, reset_at or now + timedelta(seconds=reset_s)
    return None


def _is_ahead(moment: datetime | None, now: datetime) -> TypeGuard[datetime]:
    """Tell whether a moment is still to come, and not so far off that it cannot be meant."""
    return moment is not None and now < moment <= now + LONGEST_PERIOD
