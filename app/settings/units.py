"""Durations, rates and shares as people write them: ``15s``, ``5/s``, ``80%``."""

import re
from datetime import timedelta

# Longest first, so that writing a duration back takes the largest unit that fits.
_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)")
_PER = {"s": 1, "m": 60, "h": 3600}


def parse_duration(text: str) -> timedelta:
    """Read a duration: numbers with the units ms, s, m, h and d, the largest first.

    >>> parse_duration("1h30m"), parse_duration("500ms")
    (datetime.timedelta(seconds=5400), datetime.timedelta(microseconds=500000))

    Raises:
        ValueError: It is not one; the message says how to write it.
    """
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise ValueError(f"has no unit; write {text}s, {text}m or {text}h")
    parts = _PART.findall(text)
    units = [unit for _, unit in parts]
    is_whole = re.fullmatch(rf"(?:{_PART.pattern}\s*)+", text) is not None
    if not is_whole or units != [unit for unit in _UNITS if unit in units]:
        raise ValueError("is not a duration; write 500ms, 15s, 10m, 8h, 30d or 1h30m")
    try:
        return sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta())
    except OverflowError:
        raise ValueError("is longer than time itself; write a shorter duration") from None


def format_duration(duration: timedelta) -> str:
    """Write a duration so that ``parse_duration`` reads the same; what is below 1 ms is dropped.

    >>> format_duration(timedelta(minutes=90)), format_duration(timedelta())
    ('1h30m', '0s')
    """
    written = ""
    for unit, length in _UNITS.items():
        count, duration = divmod(duration, length)
        if count:
            written += f"{count}{unit}"
    return written or "0s"


def parse_rate(text: str) -> float:
    """Read a rate and return it for each second.

    >>> parse_rate("5/s"), parse_rate("30/m")
    (5.0, 0.5)

    Raises:
        ValueError: It is not one, or nothing would ever pass.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*/\s*([smh])", text)
    if match is None or not float(match[1]):
        raise ValueError("is not a rate; write 5/s, 30/m or 100/h")
    return float(match[1]) / _PER[match[2]]


def format_rate(per_second: float) -> str:
    """Write a rate with the unit that makes it a whole number, where one does.

    >>> format_rate(5.0), format_rate(0.5)
    ('5/s', '30/m')
    """
    for unit, seconds in _PER.items():
        count = round(per_second * seconds, 6)
        if count.is_integer():
            return f"{count:.0f}/{unit}"
    return f"{per_second * _PER['h']:g}/h"


def parse_share(text: str) -> float:
    """Read a percentage of 1 to 100 and return it as a share of one.

    >>> parse_share("80%")
    0.8

    Raises:
        ValueError: It is not one.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*%", text)
    if match is None or not 1 <= float(match[1]) <= 100:  # noqa: PLR2004 - what a percentage is
        raise ValueError("is not a percentage of 1% to 100%; write 80%")
    return float(match[1]) / 100


def format_share(share: float) -> str:
    """Write a share of one as a percentage.

    >>> format_share(0.995)
    '99.5%'
    """
    return f"{share * 100:g}%"
