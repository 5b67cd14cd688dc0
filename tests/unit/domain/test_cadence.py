"""The next turn comes neither too soon nor too late, and says why."""

from datetime import timedelta

from hypothesis import given, strategies as st

from app.domain.cadence import Pace, next_turn
from app.domain.errors import ForgeDenied, ForgeRateLimited, ForgeUnavailable
from tests.fakes.clock import NOON

PACE = Pace(floor=timedelta(seconds=15), ceiling=timedelta(minutes=15))


@given(failures=st.integers(1, 1000), is_denied=st.booleans())
def test_a_failure_never_waits_less_than_the_interval_nor_more_than_the_ceiling(
    failures: int, is_denied: bool
) -> None:
    error = ForgeDenied("404") if is_denied else ForgeUnavailable("timed out")

    turn = next_turn(PACE, now=NOON, failures=failures, error=error)

    assert PACE.floor <= turn.wait <= PACE.ceiling
    assert turn.at == NOON + turn.wait


def test_an_outage_is_tried_often_enough_to_notice_its_end() -> None:
    turn = next_turn(PACE, now=NOON, failures=100, error=ForgeUnavailable("502"))

    assert turn.wait == PACE.floor * 8
    assert turn.reason == "waits 2 min after 100 failed polls"


def test_a_rate_limit_that_has_reset_already_is_not_asked_at_once() -> None:
    error = ForgeRateLimited("spent", reset_at=NOON - timedelta(hours=1))

    assert next_turn(PACE, now=NOON, failures=1, error=error).wait == PACE.floor


def test_an_interval_above_the_ceiling_is_kept() -> None:
    slow = Pace(floor=timedelta(hours=1), ceiling=timedelta(minutes=15))

    turn = next_turn(slow, now=NOON, failures=3, error=ForgeUnavailable("502"))

    assert turn.wait == slow.floor


def test_a_repository_polled_once_a_day_may_fail_for_years() -> None:
    daily = Pace(floor=timedelta(days=1), ceiling=timedelta(days=7))

    turn = next_turn(daily, now=NOON, failures=1000, error=ForgeDenied("404"))

    assert turn.wait == daily.ceiling
