"""A circuit opens after five failures in a row, and closes at the first answer."""

from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from app.domain.breaker import FAILURES_IN_A_ROW, LONGEST_WAIT, Breaker
from app.domain.delivery import Answer, RetryPolicy
from tests.fakes.clock import NOON

POLICY = RetryPolicy()
BUSY, TAKEN = Answer(503), Answer(202)


def a_breaker(*, failures: int = 0, policy: RetryPolicy = POLICY, of: str = "website") -> Breaker:
    breaker = Breaker(policy)
    for _ in range(failures):
        breaker.hear(BUSY, of=of, at=NOON, chance=0)
    return breaker


@pytest.mark.parametrize("status", [None, 408, 425, 429, 500, 503, 599])
def test_five_failures_in_a_row_open_it(status: int | None) -> None:
    breaker = a_breaker(failures=FAILURES_IN_A_ROW - 1)
    was_open = breaker.is_open

    breaker.hear(Answer(status, error="it says why"), of="tools", at=NOON, chance=0)

    assert (was_open, breaker.is_open) == (False, True)
    assert breaker.reason == "it says why"


@pytest.mark.parametrize("status", [200, 202, 301, 400, 401, 403, 404, 410, 422])
def test_any_other_answer_begins_the_count_anew(status: int) -> None:
    breaker = a_breaker(failures=FAILURES_IN_A_ROW - 1)

    breaker.hear(Answer(status), of="website", at=NOON, chance=0)
    breaker.hear(BUSY, of="website", at=NOON, chance=0)

    assert not breaker.is_open
    assert breaker.failures == 1


@pytest.mark.parametrize("status", [202, 400, 404, 410])
def test_the_first_answer_closes_it(status: int) -> None:
    breaker = a_breaker(failures=FAILURES_IN_A_ROW)

    breaker.hear(Answer(status), of="tools", at=NOON, chance=0, is_probe=True)

    assert not breaker.is_open
    assert breaker.next_probe_at is None
    assert breaker.failures == 0


def test_the_wait_for_the_next_probe_doubles_up_to_a_minute() -> None:
    breaker, waits = a_breaker(failures=FAILURES_IN_A_ROW), []
    for _ in range(7):
        waits.append(breaker.wait(NOON).total_seconds())
        breaker.hear(BUSY, of="website", at=NOON, chance=0, is_probe=True)

    assert waits == [5, 10, 20, 40, 60, 60, 60]


def test_what_was_under_way_when_it_opened_does_not_put_the_probe_off() -> None:
    breaker = a_breaker(failures=FAILURES_IN_A_ROW)
    planned_at = breaker.next_probe_at

    breaker.hear(BUSY, of="tools", at=NOON + timedelta(seconds=4), chance=0)

    assert breaker.next_probe_at == planned_at


def test_retry_after_is_honoured_up_to_the_longest_wait() -> None:
    breaker = a_breaker(failures=FAILURES_IN_A_ROW)

    breaker.hear(
        Answer(503, retry_after=timedelta(minutes=3)), of="x", at=NOON, chance=0, is_probe=True
    )
    asked = breaker.wait(NOON)
    breaker.hear(
        Answer(503, retry_after=timedelta(days=1)), of="x", at=NOON, chance=0, is_probe=True
    )

    assert asked == timedelta(minutes=3)
    assert breaker.wait(NOON) == POLICY.longest


def test_a_clock_that_was_set_back_does_not_put_the_probe_off() -> None:
    breaker = a_breaker(failures=FAILURES_IN_A_ROW)

    assert breaker.is_probe_due(NOON - timedelta(days=3))


def test_one_alone_is_suspect_until_another_fails() -> None:
    breaker = a_breaker(failures=FAILURES_IN_A_ROW, of="website")
    alone = breaker.suspect

    breaker.hear(BUSY, of="tools", at=NOON, chance=0, is_probe=True)
    breaker.hear(BUSY, of="tools", at=NOON, chance=0, is_probe=True)

    assert alone == "website"
    assert breaker.suspect is None


def test_after_a_restart_it_is_open_and_asks_at_once() -> None:
    breaker = Breaker(POLICY)

    breaker.reopen(NOON - timedelta(hours=1), "it answered 503", at=NOON)

    assert breaker.is_open
    assert breaker.is_probe_due(NOON)
    assert breaker.suspect is None


ANSWERS = st.builds(
    Answer,
    st.sampled_from([None, 202, 404, 410, 429, 500, 503]),
    retry_after=st.none() | st.timedeltas(timedelta(), timedelta(days=400)),
)
POLICIES = st.builds(
    lambda first_s, more_s: RetryPolicy(
        timedelta(seconds=first_s), timedelta(seconds=first_s + more_s)
    ),
    st.floats(0.1, 300),
    st.floats(0, 3600),
)


@given(
    policy=POLICIES,
    steps=st.lists(
        st.tuples(st.floats(-100, 900), ANSWERS, st.floats(0, 1, exclude_max=True)), max_size=40
    ),
)
def test_one_probe_at_a_time_and_never_a_wait_beyond_the_policy(
    policy: RetryPolicy, steps: list[tuple[float, Answer, float]]
) -> None:
    breaker, at = Breaker(policy), NOON
    for passed_s, answer, chance in steps:
        at += timedelta(seconds=passed_s)
        is_probe = breaker.is_open
        if is_probe:
            at += breaker.wait(at)
            assert breaker.is_probe_due(at)
            breaker.begin_probe()
            assert not breaker.is_probe_due(at)
        breaker.hear(answer, of="website", at=at, chance=chance, is_probe=is_probe)
        breaker.end_probe()
        assert breaker.wait(at) <= policy.longest
        if breaker.is_open and answer.retry_after is None:
            assert breaker.wait(at) <= LONGEST_WAIT
            assert breaker.wait(at) >= min(policy.first, LONGEST_WAIT) / 2 or not is_probe
        assert breaker.is_open == (breaker.failures >= FAILURES_IN_A_ROW)
