"""The whole fleet at a glance: the last day by the hour, and the one sentence about it all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.services.status.answers import Hour, Latency, Need
from app.storage.entries import HourCount
from app.storage.queries import Queries

HOURS_SHOWN = 24
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is read for the overview, kept for a moment."""

    repositories: Mapping[str, int]
    hours: tuple[Hour, ...]
    owed: int
    waiting: int
    held: int
    latency: Latency
    needs: tuple[Need, ...]


class Hours:
    """Counts what happened in the last day."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._counted: dict[datetime, HourCount] = {}

    def read(self, now: datetime) -> tuple[Hour, ...]:
        """Count the last day by the hour; hours that are long over are counted only once."""
        current = hour_of(now)
        hours = [current - HOUR * ago for ago in reversed(range(HOURS_SHOWN))]
        settled = {hour: count for hour, count in self._counted.items() if hours[0] <= hour}
        open_hours = [hour for hour in hours if hour not in settled]
        counts = settled | {one.hour: one for one in self._queries.count_hours(open_hours)}
        # What was found in the last minutes of an hour may be written in the next one.
        self._counted = {hour: count for hour, count in counts.items() if hour < current - HOUR}
        dead: dict[datetime, int] = {}
        for at in self._queries.list_dead_times(limit=500):
            dead[hour_of(at)] = dead.get(hour_of(at), 0) + 1
        return tuple(
            Hour(hour, counts[hour].changes, counts[hour].finished, dead.get(hour, 0))
            for hour in hours
        )


def hour_of(moment: datetime) -> datetime:
    """Return when the hour of a moment begins."""
    return moment.replace(minute=0, second=0, microsecond=0)


def judge(fleet: Fleet, needs: Sequence[Need], watched: int) -> tuple[str, str]:
    """Return the level and the one sentence that says whether everything is all right."""
    if needs:
        count = "One thing needs" if len(needs) == 1 else f"{len(needs)} things need"
        return "trouble", f"{count} a person."
    if not watched:
        return "empty", "Nothing is watched yet."
    failing = fleet.repositories.get("failing", 0)
    if failing:
        which = "one repository does" if failing == 1 else f"{failing:,} repositories do"
        return "busy", f"All is well, but {which} not answer just now and will be asked again."
    if fleet.waiting:
        which = "one delivery waits" if fleet.waiting == 1 else f"{fleet.waiting:,} deliveries wait"
        return "busy", f"All is well, but {which} for the next try."
    return "ok", "All is well."
