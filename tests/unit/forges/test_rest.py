"""What an answer says of limits is told apart: one resource, the whole credential, or one right."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain.allowance import Resource
from app.domain.errors import ForgeDenied, ForgeRateLimited
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.forges import rest
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


class Renaming(Transport):
    """Leads every repository on to its number, and gives that a name."""

    def __init__(self) -> None:
        self.name = "acme/new-"
        self.asked: list[str] = []

    def send(self, *question: Any, **_: Any) -> Reply:
        url: str = question[1]
        path = url.removeprefix(API)
        self.asked.append(path)
        if path.startswith("/repos/"):
            number = path.split("/")[3].removeprefix("r")
            return Reply(301, {"Location": f"{API}/repositories/{number}/branches"}, b"")
        if path.endswith("/branches"):
            return Reply(200, {}, b"[]")
        named = {"full_name": self.name + path.removeprefix("/repositories/")}
        return Reply(200, {}, json.dumps(named).encode())


def moved_to(renaming: Renaming, api: Api, number: str) -> str | None:
    repository = Repository(f"acme/r{number}", f"https://github.com/acme/r{number}")
    call = api.call(repository, 5)
    call.get(f"{API}/repos/acme/r{number}/branches")
    return api.moved_to(repository, call)


@pytest.fixture
def renaming() -> Renaming:
    return Renaming()


@pytest.fixture
def renamed(renaming: Renaming) -> Api:
    forge = Forge("github", "github", "https://github.com", API)
    return Api(renaming, forge, headers={}, authorize=lambda _: {}, now=lambda: NOON)


def test_of_names_that_a_forge_gives_without_end_the_newest_are_kept(
    renaming: Renaming, renamed: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "MOST_NAMES", 2)

    told = [moved_to(renaming, renamed, number) for number in ("1", "2", "3", "2", "1")]

    assert told[:2] == ["https://github.com/acme/new-1", "https://github.com/acme/new-2"]
    named = [path for path in renaming.asked if not path.endswith("/branches")]
    assert named == ["/repositories/1", "/repositories/2", "/repositories/3", "/repositories/1"]


@pytest.mark.parametrize("name", ["acme/" + "x" * 600, "acme/" + "x" * 480, "acme/a\0b"])
def test_a_name_that_no_address_can_have_is_not_kept(
    renaming: Renaming, renamed: Api, name: str
) -> None:
    renaming.name = name

    assert moved_to(renaming, renamed, "1") is None


def test_a_number_without_end_is_no_repository(renaming: Renaming, renamed: Api) -> None:
    assert moved_to(renaming, renamed, "7" * 30) is None
    assert renaming.asked[-1].endswith("/branches")
