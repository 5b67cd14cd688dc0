"""The charts' geometry: bars and gauges as plain numbers, drawn by the templates as inline SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.allowance import Budget
from app.services.status.answers import Forecast, Hour
from app.services.status.forges import forecast
from app.storage.entries import PollHour

STEP = 10  # units from one hour to the next
WIDTH = 8
HALF = 50  # units above and below the middle line
LEAST = 2  # units: one event in an hour of many is still seen
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: where, what it is (a CSS class), and what it says on hover."""

    x: int
    y: float
    height: float
    what: str
    says: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars in a box ``width`` units wide; ``top`` is the largest count in it."""

    width: int
    bars: tuple[Bar, ...]
    top: int


def activity(hours: Sequence[Hour]) -> Chart:
    """Draw changes upwards and deliveries downwards, hour by hour, to one scale."""
    top = max((max(hour.changes, hour.finished) for hour in hours), default=0)
    bars: list[Bar] = []
    for index, hour in enumerate(hours):
        x, clock = index * STEP + 1, f"{hour.hour:%H:%M} UTC"
        up = _height(hour.changes, top, HALF)
        good = _height(hour.finished - hour.dead, top, HALF)
        dead = _height(hour.dead, top, HALF)
        if up:
            bars.append(Bar(x, HALF - up, up, "changes", f"{clock}: {hour.changes:,} changes"))
        if good:
            says = f"{clock}: {hour.finished - hour.dead:,} deliveries"
            bars.append(Bar(x, HALF, good, "taken", says))
        if dead:
            says = f"{clock}: {hour.dead:,} deliveries given up"
            bars.append(Bar(x, HALF + good, dead, "dead", says))
    return Chart(len(hours) * STEP, tuple(bars), top)


def polls(hours: Sequence[PollHour], *, until: datetime, count: int = 48) -> Chart:
    """Draw a repository's polls of the last ``count`` hours, and mark what they found."""
    current = until.replace(minute=0, second=0, microsecond=0)
    first = current - HOUR * (count - 1)
    top = max((hour.changed + hour.unchanged + hour.failed for hour in hours), default=0)
    bars: list[Bar] = []
    for hour in hours:
        index = round((hour.hour - first) / HOUR)
        if not 0 <= index < count:
            continue
        x, clock = index * STEP + 1, f"{hour.hour:%d %b %H:%M} UTC"
        total = hour.changed + hour.unchanged + hour.failed
        height = _height(total, top, 40)
        bars.append(Bar(x, 60 - height, height, "polls", f"{clock}: {total:,} polls"))
        if hour.changed:
            bars.append(Bar(x, 4, 10, "changes", f"{clock}: {hour.changed:,} found changes"))
        if hour.failed:
            bars.append(Bar(x, 64, 10, "dead", f"{clock}: {hour.failed:,} failed"))
    return Chart(count * STEP, tuple(bars), top)


@dataclass(frozen=True, slots=True)
class Gauge:
    """What of a limit is spent, in per cent of it, and what will be when it is new.

    ``mark`` is where our share ends. ``tone`` is a CSS class: calm, busy or bad.
    """

    spent: float
    expected: float
    mark: float | None
    tone: str
    forecast: Forecast | None = None


def budget(one: Budget, *, share: float, now: datetime) -> Gauge:
    """Draw what all who ask with a credential have spent of one limit."""
    spent = _percent(one.limit - one.remaining, one.limit)
    ahead = forecast(one, now)
    expected = max(spent, _percent(ahead.spent, one.limit)) if ahead else spent
    mark = round(100 * share, 1)
    tone = "bad" if spent >= mark else "busy" if expected > mark else "calm"
    return Gauge(spent, expected, mark if mark < 100 else None, tone, ahead)  # noqa: PLR2004


def planned(asked: float, granted: float) -> Gauge:
    """Draw what a plan asks of what it may."""
    spent = _percent(asked, granted)
    return Gauge(spent, spent, None, "busy" if spent >= 100 else "calm")  # noqa: PLR2004 - all of it


def _percent(part: float, whole: float) -> float:
    return round(min(100.0, max(0.0, 100 * part / whole)), 1) if whole > 0 else 100.0


def _height(count: int, top: int, most: int) -> float:
    return round(max(LEAST, most * count / top), 1) if count and top else 0
