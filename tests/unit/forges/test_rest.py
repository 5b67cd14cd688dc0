"""What an answer says of limits is told apart: one resource, the whole credential, or one right."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain.allowance import Resource
from app.domain.errors import ForgeDenied, ForgeRateLimited
from app.domain.secret import Secret
from app.forges.rest import Api
from app.settings.types import Forge
from app.transport import Reply, Transport

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
API = "https://api.github.com"
RESET = NOON + timedelta(minutes=40)


class GitHub(Transport):
    """Answers what it is told to."""

    def __init__(self) -> None:
        self.reply = Reply(200, {}, b"{}")
        self.asked = 0

    def send(self, *_: Any, **__: Any) -> Reply:
        self.asked += 1
        return self.reply


def answer(status: int, body: Any, *, remaining: int = 4000, resource: str = "graphql") -> Reply:
    headers = {
        "X-RateLimit-Limit": "5000",
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(int(RESET.timestamp())),
        "X-RateLimit-Resource": resource,
    }
    return Reply(status, headers, json.dumps(body).encode())


@pytest.fixture
def github() -> GitHub:
    return GitHub()


@pytest.fixture
def api(github: GitHub) -> Api:
    forge = Forge("github", "github", "https://github.com", API, tokens=(Secret("t0ken"),))
    return Api(
        github,
        forge,
        headers={},
        authorize=lambda token: {"Authorization": token.reveal()},
        now=lambda: NOON,
    )


def query(api: Api) -> Reply:
    call = api.call(None, 5, resource=Resource.GRAPHQL, key="batch 1")
    return call.post(f"{API}/graphql", {"query": "{viewer{login}}"})


def read(api: Api) -> Reply:
    return api.call(None, 5, key="list").get(f"{API}/orgs/acme/repos")


def limited(ask: Callable[[Api], Reply], api: Api) -> datetime:
    with pytest.raises(ForgeRateLimited) as caught:
        ask(api)
    return caught.value.reset_at


@pytest.mark.parametrize(
    "reply",
    [
        answer(200, {"errors": [{"type": "RATE_LIMITED", "message": "exceeded"}]}, remaining=0),
        answer(403, {"message": "API rate limit exceeded"}, remaining=0),
    ],
)
def test_graphql_that_is_spent_rests_and_rest_goes_on(
    api: Api, github: GitHub, reply: Reply
) -> None:
    github.reply = reply

    assert limited(query, api) == limited(query, api) == RESET
    assert github.asked == 1
    github.reply = answer(200, [], resource="core")
    assert read(api).status == 200


def test_a_query_may_speak_of_limits_without_being_limited(api: Api, github: GitHub) -> None:
    github.reply = answer(200, {"data": {"r0": {"name": "RATE_LIMITED"}}, "errors": []})

    assert query(api).status == 200


def test_a_secondary_limit_is_for_all_that_the_credential_asks(api: Api, github: GitHub) -> None:
    github.reply = answer(403, {"message": "You have exceeded a secondary rate limit"})

    assert limited(query, api) == limited(read, api) == NOON + timedelta(minutes=1)
    assert github.asked == 1


def test_a_right_that_is_missing_is_no_limit(api: Api, github: GitHub) -> None:
    github.reply = answer(403, {"message": "Resource not accessible by integration"})

    for _ in range(3):
        with pytest.raises(ForgeDenied, match="Resource not accessible"):
            read(api)

    assert github.asked == 3
    github.reply = answer(200, {"data": {}})
    assert query(api).status == 200


def test_a_spent_limit_that_is_new_already_is_left_alone_for_a_minute(
    api: Api, github: GitHub
) -> None:
    spent = answer(403, {"message": "API rate limit exceeded"}, remaining=0, resource="core")
    past = str(int(NOON.timestamp()) - 3600)
    github.reply = Reply(403, {**spent.headers, "X-RateLimit-Reset": past}, spent.body)

    assert limited(read, api) == limited(read, api) == NOON + timedelta(minutes=1)
    assert github.asked == 1
