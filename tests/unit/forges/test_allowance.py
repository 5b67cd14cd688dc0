"""How much may be asked is learned from what a forge answers."""

from datetime import UTC, datetime, timedelta

import pytest

from app.domain.errors import ForgeRateLimited
from app.forges.allowance import Allowance
from app.transport import Reply

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def allowance(clock: Clock) -> Allowance:
    return Allowance(share=0.8, now=clock)


def told(remaining: int, *, reset_at: datetime = NOON + HOUR, resource: str = "core") -> Reply:
    headers = {
        "X-RateLimit-Resource": resource,
        "X-RateLimit-Limit": "5000",
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(int(reset_at.timestamp())),
    }
    return Reply(200, headers, b"")


def refusal(allowance: Allowance) -> ForgeRateLimited:
    with pytest.raises(ForgeRateLimited) as caught:
        allowance.admit()
    return caught.value


def test_what_is_not_known_is_allowed(allowance: Allowance) -> None:
    allowance.learn(Reply(200, {}, b""))

    allowance.admit()


def test_polling_uses_its_share_and_no_more(allowance: Allowance) -> None:
    allowance.learn(told(1401))
    allowance.admit()
    allowance.learn(told(1400))

    assert refusal(allowance).reset_at == NOON + HOUR


def test_a_tenth_of_the_share_is_kept_for_what_is_urgent(allowance: Allowance) -> None:
    allowance.learn(told(1001))
    refusal(allowance)
    allowance.admit(urgent=True)
    allowance.learn(told(1000))

    with pytest.raises(ForgeRateLimited):
        allowance.admit(urgent=True)


def test_a_new_period_is_a_new_allowance(allowance: Allowance, clock: Clock) -> None:
    allowance.learn(told(0))
    refusal(allowance)

    clock.now = NOON + HOUR
    allowance.admit()
    allowance.learn(told(4999, reset_at=NOON + 2 * HOUR))
    allowance.admit()


def test_answers_that_overtake_one_another_do_not_raise_what_remains(
    allowance: Allowance,
) -> None:
    allowance.learn(told(1400))
    allowance.learn(told(1402))
    allowance.learn(told(4000, reset_at=NOON - HOUR))

    refusal(allowance)


def test_another_resources_limit_is_not_ours(allowance: Allowance) -> None:
    allowance.learn(told(0, resource="search"))

    allowance.admit()


@pytest.mark.parametrize("odd", ["", "soon", "-1", "9" * 30, "٣"])
def test_headers_that_make_no_sense_are_passed_over(allowance: Allowance, odd: str) -> None:
    reply = told(0)
    allowance.learn(Reply(200, {**reply.headers, "X-RateLimit-Reset": odd}, b""))

    allowance.admit()


def test_a_reset_in_seconds_from_now_is_understood(allowance: Allowance) -> None:
    headers = {"RateLimit-Limit": "10", "RateLimit-Remaining": "0", "RateLimit-Reset": "30"}
    allowance.learn(Reply(200, headers, b""))

    assert refusal(allowance).reset_at == NOON + timedelta(seconds=30)


def test_pauses_that_are_not_told_grow_until_the_forge_answers_again(
    allowance: Allowance, clock: Clock
) -> None:
    pauses = []
    for _ in range(6):
        pauses.append(allowance.pause().reset_at - clock.now)
        clock.now = clock.now + pauses[-1]
    allowance.resume()
    pauses.append(allowance.pause().reset_at - clock.now)

    assert [pause.seconds // 60 for pause in pauses] == [1, 2, 4, 8, 15, 15, 1]


def test_the_longer_of_two_pauses_counts(allowance: Allowance) -> None:
    allowance.pause(NOON + HOUR)
    allowance.pause(NOON + timedelta(seconds=1))

    assert refusal(allowance).reset_at == NOON + HOUR


@pytest.mark.parametrize("reset", ["253402300799", "9" * 5000, "-1", "NaN", "1e9", "١٢٣"])
def test_a_moment_that_no_forge_would_mean_is_no_information(
    clock: Clock, allowance: Allowance, reset: str
) -> None:
    nonsense = told(0)
    allowance.learn(Reply(200, {**nonsense.headers, "X-RateLimit-Reset": reset}, b""))

    allowance.admit()
    allowance.learn(told(0))

    assert refusal(allowance).reset_at == NOON + HOUR


def test_a_clock_that_was_set_back_shuts_no_forge_out_for_long(
    clock: Clock, allowance: Allowance
) -> None:
    clock.now = NOON + timedelta(days=300)
    allowance.learn(told(0, reset_at=clock.now + HOUR))
    allowance.pause()

    clock.now = NOON

    allowance.admit()
    allowance.learn(told(0))
    assert refusal(allowance).reset_at == NOON + HOUR
