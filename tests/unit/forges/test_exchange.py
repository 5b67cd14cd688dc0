"""What a server's refusal means, and when it wants to be asked again."""

from datetime import UTC, datetime, timedelta

import pytest

from app.forges.exchange import LONGEST_WAIT, retry_after

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["999999999", "9" * 5000, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_server_that_asks_for_years_is_asked_again_within_a_day(text: str) -> None:
    assert retry_after({"Retry-After": text}, now=NOON) == NOON + LONGEST_WAIT
    assert timedelta(days=1) == LONGEST_WAIT


@pytest.mark.parametrize("text", ["-1", "1.5", "NaN", "Sun, 99 Nov 2026 12:10:00 GMT", "\x00"])
def test_what_is_neither_seconds_nor_a_date_says_nothing(text: str) -> None:
    assert retry_after({"Retry-After": text}, now=NOON) is None
