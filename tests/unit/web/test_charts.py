"""A plot is drawn by the server, to scale and in words."""

from datetime import UTC, datetime, timedelta

from app.services.status.answers import Hour
from app.storage.entries import PollHour
from app.web.pages import charts

NOON = datetime(2026, 11, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_no_bar_leaves_the_chart_and_the_least_is_still_seen() -> None:
    hours = [Hour(NOON, 100_000, 90_000, 45_000), Hour(NOON + HOUR, 1, 1, 0)]

    chart = charts.activity(hours)

    assert chart.top == 100_000
    assert all(bar.y >= 0 and bar.y + bar.height <= 100 for bar in chart.bars)
    assert min(bar.height for bar in chart.bars) >= charts.LEAST
    assert {bar.what for bar in chart.bars} == {"changes", "taken", "dead"}


def test_a_quiet_day_has_no_bars() -> None:
    assert charts.activity([Hour(NOON, 0, 0, 0)]).bars == ()
    assert charts.activity([]).bars == ()


def test_polls_stand_at_their_hour_and_older_ones_are_left_out() -> None:
    hours = [
        PollHour(NOON - 100 * HOUR, 0, 10, 0, 100),
        PollHour(NOON - HOUR, 1, 238, 2, 100),
        PollHour(NOON, 0, 120, 0, 100),
    ]

    chart = charts.polls(hours, until=NOON + timedelta(minutes=30))

    assert [(bar.x, bar.what) for bar in chart.bars] == [
        (461, "polls"),
        (461, "changes"),
        (461, "dead"),
        (471, "polls"),
    ]
