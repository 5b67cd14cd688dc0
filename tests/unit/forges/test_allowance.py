"""How much may be asked is learned from what a forge answers."""

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain.allowance import CredentialState, Limits, Resource
from app.domain.errors import ForgeBusy, ForgeRateLimited, ForgeSignInRefused
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


def test_what_only_describes_changes_leaves_the_rest_to_what_finds_them(
    allowance: Allowance, clock: Clock
) -> None:
    for spent in range(1, 502):  # half of what may be spent at once
        allowance.learn(told(5000 - spent))

    with pytest.raises(ForgeRateLimited, match="spread"):
        allowance.admit(yields=True)
    allowance.admit()
    clock.now += timedelta(minutes=1)
    allowance.admit(yields=True)


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


@pytest.mark.parametrize("by", ["api", "git"])
def test_no_wait_lasts_longer_where_the_clock_is_set_back(clock: Clock, by: str) -> None:
    allowance = Allowance(share=0.8, now=clock, signs_in=True)
    clock.now = NOON + HOUR
    allowance.learn(told(0, reset_at=clock.now + HOUR))
    allowance.exhaust(Resource.GRAPHQL, clock.now + HOUR)
    allowance.pause(clock.now + HOUR)
    allowance.refuse(by, "Bad credentials")

    clock.now -= timedelta(seconds=1)
    assert allowance.standing()[0] is CredentialState.REFUSED
    clock.now = NOON

    assert allowance.standing() == (CredentialState.OK, None, None)
    allowance.admit(Resource.REST)
    allowance.leave(200)
    for _ in range(50):
        allowance.admit(Resource.GRAPHQL)


# ---- the pace within a minute -------------------------------------------------------------------


@pytest.fixture
def github(clock: Clock) -> Allowance:
    """GitHub's limits: 900 a minute, of which polling has 0.8 x 0.9 = 648."""
    return Allowance(share=0.8, now=clock, usual=Limits(5000, 900, 5000, 2000))


def fill(allowance: Allowance) -> int:
    """Ask until something must wait; return how many did not."""
    passed = 0
    with contextlib.suppress(ForgeBusy):
        while passed < 1000:
            allowance.admit(key=f"filler {passed}")
            passed += 1
    return passed


def busy(allowance: Allowance, key: str = "", **options: Any) -> datetime:
    with pytest.raises(ForgeBusy) as caught:
        allowance.admit(key=key, **options)
    return caught.value.at


def test_no_minute_has_more_than_our_share(github: Allowance, clock: Clock) -> None:
    passed: list[datetime] = []
    waiting: list[tuple[datetime, str]] = [(NOON, f"repository {n}") for n in range(700)]
    while waiting:
        waiting.sort()
        clock.now, key = waiting.pop(0)
        try:
            github.admit(key=key)
        except ForgeBusy as error:
            waiting.append((error.at, key))
        except ForgeRateLimited as error:
            waiting.append((error.reset_at, key))
        else:
            passed.append(clock.now)
    most = max(
        sum(start <= moment < start + timedelta(minutes=1) for moment in passed) for start in passed
    )

    assert most <= 648
    assert len(passed) == 700
    assert passed[-1] - NOON < timedelta(minutes=3)


def test_slots_are_given_in_the_order_they_are_asked_for_and_are_kept(
    github: Allowance, clock: Clock
) -> None:
    asked = fill(github)
    slots = [busy(github, f"repository {n}") for n in range(100)]

    assert 40 <= asked <= 60  # what five seconds bring
    assert slots == sorted(set(slots))
    assert slots[-1] - NOON <= timedelta(seconds=15)
    # Who comes early is told the same moment again; who comes in time passes at once.
    assert busy(github, "repository 7") == slots[7]
    for number, slot in enumerate(slots):
        clock.now = slot
        github.admit(key=f"repository {number}")


def test_a_queue_that_is_too_long_sends_polls_another_way(github: Allowance, clock: Clock) -> None:
    turned_away: list[datetime] = []
    for number in range(1000):
        try:
            github.admit(key=f"repository {number}")
        except ForgeBusy:
            pass
        except ForgeRateLimited as error:
            turned_away.append(error.reset_at)

    waits = [(moment - NOON).total_seconds() for moment in turned_away]
    assert 750 < len(turned_away) < 850
    assert 15 <= min(waits) < 16
    assert 59 < max(waits) <= 60
    assert len(set(waits)) == len(waits)


def test_people_do_not_wait_behind_polls(github: Allowance) -> None:
    for number in range(190):
        with contextlib.suppress(ForgeBusy):
            github.admit(key=f"repository {number}")

    for _ in range(20):
        github.admit(key="repository 150", urgent=True)


def test_what_cannot_be_put_off_goes_first(github: Allowance) -> None:
    for number in range(100):
        with contextlib.suppress(ForgeBusy):
            github.admit(key=f"repository {number}")
    last = busy(github, "repository 99")

    github.admit()

    assert busy(github, "repository 100") > last


def test_a_slot_that_nobody_comes_for_is_forgotten(github: Allowance, clock: Clock) -> None:
    fill(github)
    for number in range(100):
        busy(github, f"gone {number}")

    clock.now = NOON + timedelta(minutes=2)
    for number in range(40):
        github.admit(key=f"gone {number}")
    fill(github)

    assert len(github._paces[Resource.REST]._slots) < 10  # noqa: SLF001 - what it keeps


def test_a_clock_that_was_set_back_keeps_nobody_waiting(github: Allowance, clock: Clock) -> None:
    clock.now = NOON + timedelta(days=30)
    for number in range(100):
        with contextlib.suppress(ForgeBusy):
            github.admit(key=f"repository {number}")

    clock.now = NOON

    github.admit(key="repository 99")


def test_graphql_is_paced_apart(github: Allowance) -> None:
    fill(github)

    for _ in range(100):
        github.admit(Resource.GRAPHQL)


def test_git_is_not_counted(github: Allowance) -> None:
    github.learn(told(0))
    github.pause()

    for _ in range(2000):
        github.admit(Resource.GIT, by="git")


def test_a_github_of_ones_own_has_a_pace_once_it_counts(clock: Clock) -> None:
    allowance = Allowance(share=0.8, now=clock, per_minute_when_told=Limits(rest_per_minute=900))
    for number in range(1000):
        allowance.admit(key=f"repository {number}")
    assert allowance.limits() == Limits()

    allowance.learn(told(4999))

    assert allowance.limits() == Limits(rest_per_hour=5000, rest_per_minute=900)
    assert fill(allowance) < 100


def test_a_limit_that_gitlab_tells_for_a_minute_is_a_pace(clock: Clock) -> None:
    allowance = Allowance(share=0.5, now=clock)
    reset = str(int(NOON.timestamp()) + 40)
    headers = {"RateLimit-Limit": "600", "RateLimit-Remaining": "599", "RateLimit-Reset": reset}
    allowance.learn(Reply(200, headers, b""))

    assert allowance.limits() == Limits(rest_per_minute=600)
    assert 15 <= fill(allowance) <= 25


# ---- the long period ----------------------------------------------------------------------------


def test_an_unchanged_answer_is_free_only_to_who_signed_in(clock: Clock) -> None:
    signed, unknown = (
        Allowance(share=0.8, now=clock, unchanged_is_free=free) for free in (True, False)
    )
    for allowance in (signed, unknown):
        allowance.learn(told(4000))
        for _ in range(5):
            allowance.learn(Reply(304, told(4000).headers, b""))

    used = [allowance.budgets()[0].used for allowance in (signed, unknown)]
    assert used == [0, 5]


def test_what_is_left_is_spread_over_the_period(allowance: Allowance, clock: Clock) -> None:
    remaining = 5000
    allowance.learn(told(remaining))
    spent = 0
    while True:
        try:
            allowance.admit()
        except (ForgeRateLimited, ForgeBusy):
            break
        spent += 1
        remaining -= 1
        allowance.learn(told(remaining))

    # A quarter of our share at once, and the rest as time goes on.
    assert 950 <= spent <= 1050
    clock.now = NOON + timedelta(minutes=6)
    allowance.admit()


def test_nobody_is_put_off_again_and_again_for_what_is_left_of_an_hour(
    allowance: Allowance,
) -> None:
    refusals: list[Exception] = []
    for remaining in range(5000, 3500, -1):
        allowance.learn(told(remaining))
        try:
            allowance.admit(key="acme/site")
        except (ForgeBusy, ForgeRateLimited) as error:
            refusals.append(error)
            break

    # So that another way of reading takes over at once, and this one is asked again soon.
    (refusal,) = refusals
    assert isinstance(refusal, ForgeRateLimited)
    assert NOON < refusal.reset_at < NOON + timedelta(seconds=15)


def test_after_a_reset_the_pace_resumes_gradually(github: Allowance, clock: Clock) -> None:
    github.pause(NOON + timedelta(seconds=30))
    clock.now = NOON + timedelta(seconds=30)
    passed = []
    waiting = [(clock.now, f"repository {n}") for n in range(500)]
    while waiting and clock.now < NOON + timedelta(minutes=2):
        waiting.sort()
        clock.now, key = waiting.pop(0)
        try:
            github.admit(key=key)
        except ForgeBusy as error:
            waiting.append((error.at, key))
        except ForgeRateLimited as error:
            waiting.append((error.reset_at, key))
        else:
            passed.append((clock.now - NOON).total_seconds() - 30)

    by_quarter = [sum(q * 15 <= at < q * 15 + 15 for at in passed) for q in range(4)]
    assert by_quarter[0] < 40
    assert by_quarter == sorted(by_quarter)


@pytest.mark.parametrize(
    ("limit", "remaining", "reset_s"),
    [
        ("0", "0", 3600),
        ("5000", "999999999999", 3600),
        ("999999999999", "0", 3600),
        ("5000", "0", -3600),
        ("5000", "0", 10**11),
    ],
)
def test_hostile_headers_change_nothing(
    allowance: Allowance, limit: str, remaining: str, reset_s: int
) -> None:
    headers = {
        "X-RateLimit-Limit": limit,
        "X-RateLimit-Remaining": remaining,
        "X-RateLimit-Reset": str(int(NOON.timestamp()) + reset_s),
    }

    allowance.learn(Reply(200, headers, b""))

    allowance.admit()
    assert all(budget.remaining <= budget.limit for budget in allowance.budgets())


# ---- being told to wait -------------------------------------------------------------------------


def test_refusals_of_requests_that_were_under_way_together_count_once(
    allowance: Allowance, clock: Clock
) -> None:
    for _ in range(64):
        allowance.pause()
        clock.now += timedelta(milliseconds=10)

    assert refusal(allowance).reset_at == NOON + timedelta(minutes=1)


def test_an_answer_to_an_older_request_does_not_shorten_the_next_pause(
    allowance: Allowance, clock: Clock
) -> None:
    allowance.pause()
    allowance.resume()
    clock.now = NOON + timedelta(minutes=1)

    assert allowance.pause().reset_at == clock.now + timedelta(minutes=2)


@pytest.mark.parametrize("per_minute", [2, 60])
def test_the_first_request_after_a_silence_goes_at_once_however_small_the_limit(
    clock: Clock, per_minute: int
) -> None:
    few = Allowance(share=0.8, now=clock, usual=Limits(rest_per_minute=per_minute))
    until = few.pause(clock.now + timedelta(seconds=30)).reset_at

    clock.now = until + timedelta(seconds=1)

    few.admit(key="site")


def test_a_told_wait_that_was_not_enough_grows(allowance: Allowance, clock: Clock) -> None:
    waits = []
    for _ in range(4):
        until = allowance.pause(clock.now + timedelta(seconds=5)).reset_at
        waits.append((until - clock.now).total_seconds())
        clock.now = until

    assert waits == [5, 5, 5, 10]


# ---- signing in ---------------------------------------------------------------------------------


@pytest.fixture
def token(clock: Clock) -> Allowance:
    return Allowance(share=0.8, now=clock, signs_in=True, most_at_once=24)


def test_an_untried_token_is_tried_by_one_request(token: Allowance) -> None:
    token.admit(key="site")

    assert busy(token, "shop") - NOON < timedelta(seconds=2)
    token.enter()
    token.leave(200)
    token.admit(key="shop")


def test_a_forge_that_does_not_answer_does_not_make_polls_queue_up(token: Allowance) -> None:
    token.admit(key="site")
    token.enter()
    token.leave(None)

    for number in range(8):
        token.admit(key=f"repository {number}")
    moments = [busy(token, f"later {number}") for number in range(2000)]
    waits = [(moment - NOON).total_seconds() for moment in moments]
    assert max(waits) <= 15
    assert sum(wait < 1 for wait in waits) < 100


@pytest.mark.parametrize("by", ["api", "git"])
def test_a_refused_token_is_asked_with_no_more_for_a_quarter_of_an_hour(
    token: Allowance, clock: Clock, by: str
) -> None:
    token.admit(by=by)
    token.enter()
    token.leave(401, by=by)
    token.refuse(by, "Bad credentials")

    for other in ("api", "git"):
        with pytest.raises(ForgeSignInRefused, match="Bad credentials") as caught:
            token.admit(by=other, urgent=True)
        assert caught.value.until == NOON + timedelta(minutes=15)
    assert token.standing() == (
        CredentialState.REFUSED,
        "Bad credentials",
        NOON + timedelta(minutes=15),
    )
    clock.now = NOON + timedelta(minutes=15)
    token.admit(by=by)
    busy(token, by=by)
    token.enter()
    token.leave(200, by=by)
    token.admit(by=by)
    assert token.standing()[0] is CredentialState.OK


def test_a_token_meant_for_the_api_alone_stays_good_there(token: Allowance) -> None:
    token.admit()
    token.enter()
    token.leave(200)
    token.admit(Resource.GIT, by="git")
    token.enter()
    token.leave(401, by="git")
    token.refuse("git", "no")

    token.admit()
    with pytest.raises(ForgeSignInRefused):
        token.admit(Resource.GIT, by="git")
    assert token.standing()[0] is CredentialState.OK


def test_a_token_taken_back_in_the_middle_of_things_is_refused_less_than_30_times(
    token: Allowance,
) -> None:
    token.admit()
    token.enter()
    token.leave(200)
    under_way = 0
    with contextlib.suppress(ForgeBusy):
        while under_way < 100:
            token.admit(key=f"repository {under_way}")
            token.enter()
            under_way += 1
    for _ in range(under_way):
        token.leave(401)
        token.refuse("api", "revoked")

    assert under_way == 24
    with pytest.raises(ForgeSignInRefused):
        token.admit()
