"""Several ways to one repository: who is asked, when, and whose word counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.details import Details, Push
from app.domain.errors import (
    ForgeAnswerInvalid,
    ForgeBusy,
    ForgeDenied,
    ForgeError,
    ForgeRateLimited,
    ForgeUnavailable,
)
from app.domain.event import Event, record
from app.domain.refs import RefFilter
from app.domain.repository import Repository
from app.domain.snapshot import Change, Refs
from app.forges.client import RefsReply
from app.forges.fallback import PAUSE, Fallback, Way

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
SITE = Repository("site", "https://git.example.com/site")
SHOP = Repository("shop", "https://git.example.com/shop")
MAIN: Refs = {"refs/heads/main": "a" * 40}
PUSH = record(
    Change("refs/heads/main", "a" * 40, "b" * 40), key=SITE.url, sequence=1, detected_at=NOON
)


@dataclass
class FakeClient:
    """Answers what it is told to; keeps what it was asked."""

    name: str
    answer: Refs | ForgeError | None = field(default_factory=lambda: MAIN)
    details: Details | None = None
    described: int = 0
    validators: list[dict[str, str]] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)

    def list_refs(
        self,
        repository: Repository,
        *,
        validator: Mapping[str, str],
        timeout_s: float,
        urgent: bool = False,
    ) -> RefsReply:
        self.validators.append(dict(validator))
        self.timeouts.append(timeout_s)
        if isinstance(self.answer, ForgeError):
            raise self.answer
        return RefsReply(self.answer, self.name, {"page": f"made by {self.name}"})

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        return None

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        self.described += 1
        return self.details

    @property
    def asked(self) -> int:
        return len(self.timeouts)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rest() -> FakeClient:
    return FakeClient("rest")


@pytest.fixture
def git() -> FakeClient:
    return FakeClient("git")


@pytest.fixture
def both(rest: FakeClient, git: FakeClient, clock: Clock) -> Fallback:
    return Fallback([Way("rest", rest, is_doubted=True), Way("git", git)], now=clock)


def poll(
    client: Fallback, repository: Repository = SITE, validator: Mapping[str, str] | None = None
) -> RefsReply:
    return client.list_refs(repository, validator=validator or {}, timeout_s=10)


def test_the_first_way_is_asked_and_no_other(
    both: Fallback, rest: FakeClient, git: FakeClient
) -> None:
    assert poll(both).read_by == "rest"
    assert (rest.asked, git.asked) == (1, 0)


@pytest.mark.parametrize(
    ("error", "pause"),
    [
        (ForgeUnavailable("down"), timedelta(minutes=5)),
        (ForgeAnswerInvalid("odd"), timedelta(minutes=5)),
        (ForgeDenied("no"), timedelta(hours=1)),
        (ForgeRateLimited("slow", reset_at=NOON + timedelta(minutes=40)), timedelta(minutes=40)),
    ],
)
def test_a_way_that_fails_is_left_alone_for_a_while_and_then_asked_again(
    both: Fallback,
    rest: FakeClient,
    git: FakeClient,
    clock: Clock,
    error: ForgeError,
    pause: timedelta,
) -> None:
    rest.answer = error
    assert poll(both).read_by == "git"
    rest.answer = MAIN

    clock.now = NOON + pause - timedelta(seconds=1)
    during = poll(both).read_by
    clock.now = NOON + pause
    after = poll(both).read_by

    assert (during, after) == ("git", "rest")
    assert rest.asked == 2


def test_a_failure_is_the_repositorys_own(both: Fallback, rest: FakeClient) -> None:
    rest.answer = ForgeUnavailable("down")
    poll(both, SITE)
    rest.answer = MAIN

    assert poll(both, SHOP).read_by == "rest"


def test_the_first_failure_is_told_when_all_ways_fail_and_all_are_asked_next_time(
    both: Fallback, rest: FakeClient, git: FakeClient
) -> None:
    rest.answer = ForgeRateLimited("slow", reset_at=NOON + timedelta(hours=1))
    git.answer = ForgeUnavailable("down")

    for _ in range(2):
        with pytest.raises(ForgeRateLimited, match="slow"):
            poll(both)

    assert (rest.asked, git.asked) == (2, 2)


def test_a_way_that_is_left_alone_is_asked_when_the_others_fail_for_good(
    both: Fallback, rest: FakeClient, git: FakeClient
) -> None:
    rest.answer = ForgeUnavailable("down")
    poll(both)
    rest.answer, git.answer = MAIN, ForgeUnavailable("down too")

    with pytest.raises(ForgeUnavailable, match="down too"):
        poll(both)

    assert poll(both).read_by == "rest"


def test_a_validator_goes_only_to_the_way_that_made_it(
    both: Fallback, rest: FakeClient, git: FakeClient
) -> None:
    first = poll(both)
    poll(both, validator=first.validator)
    rest.answer = ForgeUnavailable("down")
    second = poll(both, validator=first.validator)
    poll(both, validator=second.validator)

    assert rest.validators == [{}, {"page": "made by rest"}, {"page": "made by rest"}]
    assert git.validators == [{}, {"page": "made by git"}]


def test_a_way_after_which_another_may_come_leaves_it_some_time(
    both: Fallback, rest: FakeClient, git: FakeClient
) -> None:
    rest.answer = ForgeUnavailable("down")

    poll(both)

    assert rest.timeouts == [pytest.approx(6, abs=0.5)]
    assert git.timeouts == [pytest.approx(10, abs=0.5)]


def test_an_empty_repository_must_be_borne_out_by_git(
    both: Fallback, rest: FakeClient, git: FakeClient
) -> None:
    rest.answer, git.answer = {}, {}

    assert poll(both).refs == {}
    assert git.asked == 1


@pytest.mark.parametrize("answer", [MAIN, ForgeUnavailable("down"), ForgeDenied("no")])
def test_an_empty_repository_that_git_does_not_bear_out_is_no_answer(
    both: Fallback, rest: FakeClient, git: FakeClient, answer: Refs | ForgeError
) -> None:
    rest.answer, git.answer = {}, answer

    if isinstance(answer, ForgeError):
        with pytest.raises(ForgeAnswerInvalid):
            poll(both)
    else:
        assert poll(both).refs == MAIN


def test_who_must_wait_for_gits_word_on_an_empty_repository_asks_both_again(
    both: Fallback, rest: FakeClient, git: FakeClient
) -> None:
    rest.answer, git.answer = {}, ForgeBusy("its turn has not come", at=NOON)

    with pytest.raises(ForgeBusy):
        poll(both)

    git.answer = {}
    assert (poll(both).refs, poll(both).read_by) == ({}, "rest")


def test_gits_own_word_for_an_empty_repository_is_enough(git: FakeClient, clock: Clock) -> None:
    other = FakeClient("rest")
    git.answer = {}

    assert poll(Fallback([Way("git", git), Way("rest", other)], now=clock)).refs == {}
    assert other.asked == 0


def test_nothing_new_needs_no_second_opinion(
    both: Fallback, rest: FakeClient, git: FakeClient
) -> None:
    rest.answer = None

    assert poll(both).refs is None
    assert git.asked == 0


@pytest.mark.parametrize(
    ("error", "command_asked"),
    [(ForgeAnswerInvalid("odd"), 1), (ForgeUnavailable("down"), 0), (ForgeDenied("no"), 0)],
)
def test_a_way_for_odd_answers_is_asked_after_those_alone(
    git: FakeClient, clock: Clock, error: ForgeError, command_asked: int
) -> None:
    command = FakeClient("command")
    ways = [Way("git", git), Way("command", command, after=(ForgeAnswerInvalid,))]
    client = Fallback(ways, now=clock)
    git.answer = error

    for _ in range(2):
        if command_asked:
            assert poll(client).read_by == "command"
        else:
            with pytest.raises(type(error)):
                poll(client)

    assert command.asked == 2 * command_asked
    assert git.asked == (1 if command_asked else 2)
    assert git.timeouts[0] == pytest.approx(10, abs=0.5)


def test_a_change_is_described_by_the_first_that_can(
    both: Fallback, rest: FakeClient, git: FakeClient
) -> None:
    rest.details, git.details = None, Details(forced=True)

    assert both.describe(SITE, change=PUSH, timeout_s=5) == Details(forced=True)
    assert rest.described == 1


def test_a_way_that_tells_no_files_describes_where_no_other_can(
    rest: FakeClient, git: FakeClient, clock: Clock
) -> None:
    client = Fallback([Way("git", git, tells_files=False), Way("rest", rest)], now=clock)
    rest.details, git.details = Details(total=1), Details(total=2)

    first = client.describe(SITE, change=PUSH, timeout_s=5)
    rest.details = None

    assert (first, git.described) == (Details(total=1), 0)
    assert client.describe(SITE, change=PUSH, timeout_s=5) == Details(total=2)


def test_pull_requests_are_read_by_ways_that_can_read_them(
    rest: FakeClient, git: FakeClient, clock: Clock
) -> None:
    ways = [Way("rest", rest, reads_pulls=False, is_doubted=True), Way("git", git)]
    client = Fallback(ways, now=clock)
    pulls = replace(SITE, refs=RefFilter(wants_pulls=True))

    assert client.list_refs(pulls, validator={}, timeout_s=5).read_by == "git"
    git.answer = ForgeUnavailable("timed out")
    with pytest.raises(ForgeUnavailable):
        client.list_refs(pulls, validator={}, timeout_s=5)

    assert rest.asked == 0
    assert client.list_refs(SITE, validator={}, timeout_s=5).read_by == "rest"


def test_a_way_that_is_left_alone_is_not_asked_to_describe_either(
    both: Fallback, rest: FakeClient, git: FakeClient, clock: Clock
) -> None:
    rest.answer, rest.details = ForgeUnavailable("timed out"), Details(forced=True)
    poll(both)

    told = both.describe(SITE, change=PUSH, timeout_s=5)
    clock.now += PAUSE

    assert told is None
    assert rest.described == 0
    assert both.describe(SITE, change=PUSH, timeout_s=5) == Details(forced=True)


def test_an_answer_says_how_old_its_way_lets_it_be(
    rest: FakeClient, git: FakeClient, clock: Clock
) -> None:
    lag = timedelta(seconds=35)
    client = Fallback([Way("git", git), Way("rest", rest, lag=lag)], now=clock)
    fresh = poll(client)
    git.answer = ForgeUnavailable("timed out")

    assert (fresh.lag, poll(client).lag) == (timedelta(0), lag)
