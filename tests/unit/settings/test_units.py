"""Durations, rates and shares are read as written, and written as read."""

from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from app.settings.units import format_duration, format_rate, parse_duration, parse_rate


@given(st.integers(0, 10**12).map(lambda count: timedelta(milliseconds=count)))
def test_a_duration_that_is_written_is_read_again(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@given(st.integers(1, 10_000), st.sampled_from("smh"))
def test_a_rate_that_is_written_is_read_again(count: int, unit: str) -> None:
    rate = parse_rate(f"{count}/{unit}")

    assert parse_rate(format_rate(rate)) == pytest.approx(rate)


@pytest.mark.parametrize(
    "text", ["", "s", "1w", "1s1m", "1h1h", "-5s", "1e3s", "15S", "٣s", "5 5s"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_a_duration_that_no_clock_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than time itself"):
        parse_duration("9999999999999d")
