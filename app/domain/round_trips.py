"""Refs that moved and came back between two looks, which no snapshot can show."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import TypeAlias

from app.domain.details import Push
from app.domain.refs import LONGEST_REF
from app.domain.snapshot import Refs

# A choice: of one poll no more are recorded.
MOST_ROUND_TRIPS = 20
HEX_DIGITS = frozenset("0123456789abcdef")
ID_LENGTHS = (40, 64)  # SHA-1 and SHA-256

Move: TypeAlias = tuple[str, str, str]  # a ref, where it was and where it went


def round_trips(
    pushes: Iterable[Push],
    refs: Refs,
    recorded: Iterable[Move],
    *,
    since: datetime | None = None,
) -> list[Push]:
    """List the pushes that took refs away and back again, each ref's oldest first.

    A forge's log may lag, or lack some: only what begins and ends where a ref is, without a gap
    between, is believed. Of a very long way its beginning is told as one push. What is recorded as
    one move may have been several pushes.

    Args:
        pushes: What the forge noted, oldest first.
        refs: Where the refs are, before and after.
        recorded: What is recorded already and may be in the log as well, oldest first.
        since: Pushes from before only tell what was recorded.
    """
    by_ref: dict[str, list[Push]] = defaultdict(list)
    for push in pushes:
        if _makes_sense(push):
            by_ref[push.ref].append(push)
    for ref, before, after in recorded:
        _forget(by_ref.get(ref, []), before, after)
    found: list[Push] = []
    for ref in sorted(by_ref):
        newest = [push for push in by_ref[ref] if since is None or push.at >= since]
        way = _way(newest, refs.get(ref))
        room = MOST_ROUND_TRIPS - len(found)
        if room < 2:  # noqa: PLR2004 - there and back
            break
        found += way if len(way) <= room else _shortened(way, room)
    return found


def _forget(pushes: list[Push], before: str, after: str) -> None:
    """Take the first pushes out that lead from here to there without a gap, if any do."""
    for begin, push in enumerate(pushes):
        if push.before != before:
            continue
        end = begin
        while pushes[end].after != after:
            end += 1
            if end == len(pushes) or pushes[end].before != pushes[end - 1].after:
                break
        else:
            del pushes[begin : end + 1]
            return


def _way(pushes: Sequence[Push], here: str | None) -> Sequence[Push]:
    """Return the pushes of one ref from here to here; none where they do not lead so."""
    starts = (number for number, push in enumerate(pushes) if _is(push.before, here))
    way = pushes[next(starts, len(pushes)) :]
    joined = all(one.after == two.before for one, two in pairwise(way))
    leads_back = len(way) > 1 and joined and _is(way[-1].after, here)
    return way if leads_back and all(push.before != push.after for push in way) else ()


def _makes_sense(push: Push) -> bool:
    """Tell whether a line of a log is what an event can be made of and every database can hold."""
    ends = push.before + push.after
    return (
        len(push.before) == len(push.after) in ID_LENGTHS
        and HEX_DIGITS.issuperset(ends)
        and len(push.ref) <= LONGEST_REF
        and not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in push.ref)
    )


def _is(at: str, here: str | None) -> bool:
    return not at.strip("0") if here is None else at == here


def _shortened(way: Sequence[Push], room: int) -> list[Push]:
    kept = way[len(way) - room + 1 :]
    beginning = replace(way[len(way) - room], before=way[0].before, forced=None)
    return [beginning, *kept]
