"""What a forge counts of those who ask: allowances, points within a minute, refusals, bans.

Nothing here is forgiving: who goes on asking after being told to wait is shut out for longer.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

HOUR_S = 3600.0
MINUTE_S = 60.0


@dataclass(slots=True)
class Window:
    """``limit`` within a period that begins with the first question, as GitHub counts an hour.

    ``used`` counts within the period, and ``total`` since somebody began to count.
    """

    limit: int
    period_s: float = HOUR_S
    used: int = 0
    total: int = 0
    ends_s: float = 0.0

    def look(self, now_s: float) -> None:
        """Begin a new period where the last one is over."""
        if now_s >= self.ends_s:
            self.used = 0
            self.ends_s = now_s + self.period_s

    @property
    def remaining(self) -> int:
        """What is left; never less than nothing."""
        return max(0, self.limit - self.used)

    def spend(self, points: int = 1) -> None:
        """Take some away."""
        self.used += points
        self.total += points

    def told(self) -> dict[str, int]:
        """Return the figures, as JSON spells them."""
        return {"limit": self.limit, "used": self.total, "used_of_it": self.used}


@dataclass(slots=True)
class Sliding:
    """At most ``limit`` points within any ``period_s`` seconds; ``most`` is the worst that was."""

    limit: int
    period_s: float = MINUTE_S
    most: int = 0
    _spent: deque[tuple[float, int]] = field(default_factory=deque)
    _sum: int = 0

    def spend(self, now_s: float, points: int = 1) -> bool:
        """Count a question, also one that is refused; tell whether it is within the limit."""
        while self._spent and self._spent[0][0] <= now_s - self.period_s:
            self._sum -= self._spent.popleft()[1]
        self._spent.append((now_s, points))
        self._sum += points
        self.most = max(self.most, self._sum)
        return self._sum <= self.limit


@dataclass(slots=True)
class ShutOut:
    """A time in which everything is refused; each question within it, after a few, prolongs it.

    ``patience`` questions are forgiven: those that were under way when the first was refused.
    """

    first_s: float = 60.0
    patience: int = 20
    until_s: float = 0.0
    asked: int = 0
    times: int = 0

    def begin(self, now_s: float) -> None:
        """Refuse everything for a while, for longer each time."""
        if now_s >= self.until_s:
            self.times += 1
            self.asked = 0
        self.until_s = max(self.until_s, now_s + self.first_s * 2 ** (self.times - 1))

    def refuses(self, now_s: float) -> bool:
        """Tell whether a question is refused, and count it."""
        if now_s >= self.until_s:
            return False
        self.asked += 1
        if self.asked > self.patience:
            self.until_s = max(self.until_s, now_s + self.first_s * 2**self.times)
        return True


@dataclass(slots=True)
class Failures:
    """Sign-ins that failed from one address: ``limit`` of them within ``period_s`` ban it."""

    limit: int = 30
    period_s: float = 180.0
    ban_s: float = 3600.0
    total: int = 0
    banned_until_s: float = 0.0
    _at_s: deque[float] = field(default_factory=deque)

    def note(self, now_s: float) -> None:
        """Count one that failed."""
        self.total += 1
        self._at_s.append(now_s)
        while self._at_s and self._at_s[0] <= now_s - self.period_s:
            self._at_s.popleft()
        if len(self._at_s) >= self.limit:
            self.banned_until_s = now_s + self.ban_s

    def bans(self, now_s: float) -> bool:
        """Tell whether the address is shut out."""
        return now_s < self.banned_until_s


@dataclass(slots=True)
class Ledger:
    """What was asked and answered: by purpose and status, and why it was refused."""

    asked: Counter[str] = field(default_factory=Counter)  # by purpose
    unchanged: Counter[str] = field(default_factory=Counter)  # the 304s among them
    points: Counter[str] = field(default_factory=Counter)  # by purpose, of the longer limit
    statuses: Counter[int] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)  # by reason
    at_once: int = 0
    most_at_once: int = 0

    def note(self, purpose: str, status: int, points: int) -> None:
        """Count one answer."""
        self.asked[purpose] += 1
        self.statuses[status] += 1
        self.unchanged[purpose] += status == 304
        self.points[purpose] += points

    def enter(self) -> None:
        """Count a question that is under way."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)

    def leave(self) -> None:
        """Count it out."""
        self.at_once -= 1

    def told(self) -> dict[str, object]:
        """Return all of it, as JSON spells it."""
        return {
            "asked": dict(self.asked),
            "unchanged": dict(self.unchanged),
            "points": dict(self.points),
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "refused": dict(self.refused),
            "most_at_once": self.most_at_once,
        }
