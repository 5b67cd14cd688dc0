"""What an answer means, and when to try again."""

from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from app.domain.delivery import Answer, RetryPolicy, Verdict, is_given_up, judge, next_wait
from tests.fakes.clock import NOON

POLICY = RetryPolicy()


@pytest.mark.parametrize(
    "status", [300, 301, 302, 307, 308, 400, 405, 411, 413, 414, 415, 422, 431]
)
def test_an_answer_that_will_not_change_is_final(status: int) -> None:
    assert judge(status, expect="2xx", attempt=1) is Verdict.DEAD


@pytest.mark.parametrize("status", [None, 408, 425, 429, 500, 502, 503, 504, 599])
def test_an_answer_that_may_change_is_waited_for(status: int | None) -> None:
    assert judge(status, expect="2xx", attempt=50) is Verdict.RETRY


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_deployment_is_waited_for_but_not_for_long(status: int) -> None:
    verdicts = [judge(status, expect="2xx", attempt=attempt) for attempt in (1, 2, 3)]
    waits = [next_wait(POLICY, Answer(status), attempt=n, chance=0) for n in (1, 2)]

    assert verdicts == [Verdict.RETRY, Verdict.RETRY, Verdict.DEAD]
    assert sum(waits, timedelta()) <= timedelta(hours=1)


def test_another_success_than_the_expected_one_was_not_taken() -> None:
    assert judge(202, expect="202", attempt=1) is Verdict.DELIVERED
    assert judge(200, expect="202", attempt=1) is Verdict.DEAD
    assert judge(204, expect="2xx", attempt=1) is Verdict.DELIVERED


def test_gone_is_gone() -> None:
    assert judge(410, expect="2xx", attempt=1) is Verdict.DISABLE


@given(attempt=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_a_wait_is_never_longer_than_the_policy_says_nor_next_to_nothing(
    attempt: int, chance: float
) -> None:
    wait = next_wait(POLICY, Answer(503), attempt=attempt, chance=chance)

    assert POLICY.first / 2 <= wait <= POLICY.longest


@given(seconds=st.integers(0, 10**9), attempt=st.integers(1, 20))
def test_what_the_receiver_asks_for_is_the_least_up_to_a_day(seconds: int, attempt: int) -> None:
    asked = Answer(429, retry_after=timedelta(seconds=seconds))

    wait = next_wait(POLICY, asked, attempt=attempt, chance=0.9)

    assert min(timedelta(seconds=seconds), timedelta(days=1)) <= wait <= timedelta(days=1)


def test_it_is_given_up_when_the_next_try_would_come_too_late() -> None:
    just, late = NOON + POLICY.give_up, NOON + POLICY.give_up + timedelta(seconds=1)

    assert not is_given_up(POLICY, first_attempt_at=NOON, retry_at=just)
    assert is_given_up(POLICY, first_attempt_at=NOON, retry_at=late)
