"""A rate is kept over any time, whatever the clock does."""

from datetime import timedelta

from hypothesis import given, strategies as st

from app.domain.pacing import TokenBucket
from tests.fakes.clock import NOON

RATES = st.floats(0.01, 500)
STEPS = st.lists(
    st.tuples(st.integers(-3_600_000, 60_000), st.integers(0, 40)), min_size=1, max_size=60
)


@given(rate=RATES, steps=STEPS)
def test_no_more_is_given_than_the_time_that_passed_allows(
    rate: float, steps: list[tuple[int, int]]
) -> None:
    """What the clock was set back, and then catches up on, is counted as time that passed."""
    bucket, at, passed_s, given_out = TokenBucket(rate, NOON), NOON, 0.0, 0
    for step_ms, wanted in steps:
        at += timedelta(milliseconds=step_ms)
        passed_s += max(0.0, step_ms / 1000)
        given_out += bucket.take(wanted, at)
        assert given_out <= passed_s * rate + bucket.burst + 0.001


@given(rate=RATES, back_s=st.floats(0, 1e7))
def test_a_clock_that_was_set_back_makes_nobody_wait_longer(rate: float, back_s: float) -> None:
    bucket = TokenBucket(rate, NOON)
    bucket.take(bucket.burst, NOON)
    at = NOON - timedelta(seconds=back_s)

    wait = bucket.wait(at)

    assert wait <= timedelta(seconds=1 / rate, microseconds=2)
    assert bucket.take(1, at + wait) == 1


@given(rate=RATES, wanted=st.integers(1, 40), already_s=st.floats(0, 5))
def test_after_the_wait_it_told_there_is_what_was_wanted(
    rate: float, wanted: int, already_s: float
) -> None:
    bucket = TokenBucket(rate, NOON)
    bucket.take(bucket.burst, NOON)
    at = NOON + timedelta(seconds=already_s)

    at += bucket.wait(at, wanted=wanted)

    assert bucket.take(wanted, at) == min(wanted, bucket.burst)
    assert bucket.wait(at, wanted=1) >= timedelta()


@given(rate=RATES, unused=st.integers(0, 1000))
def test_what_is_given_back_never_makes_it_hold_more_than_a_second_is_worth(
    rate: float, unused: int
) -> None:
    bucket = TokenBucket(rate, NOON)

    bucket.give_back(unused)

    assert bucket.available(NOON) == bucket.burst
