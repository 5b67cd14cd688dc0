"""How moments are spelled for machines, wherever we do it: payloads, API, commands and logs."""

from datetime import UTC, datetime


def instant(moment: datetime) -> str:
    """Write a moment as RFC 3339 in UTC, with milliseconds.

    >>> instant(datetime(2026, 3, 1, 12, 0, 0, 250_900, tzinfo=UTC))
    '2026-03-01T12:00:00.250Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
