"""What becomes of repositories whose credential is spent, taken back, cut down or banned."""

import base64
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.domain.allowance import CredentialState, Limits, Spent
from app.domain.errors import ForgeError, ForgeSignInRefused
from app.domain.refs import RefFilter
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.forges import Forges, github, gitlab, pkt_line
from app.forges.client import GitClient, RefsReply
from app.forges.ways import Tools
from app.settings.types import Forge
from app.transport import Reply, Transport

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MAIN = "1" * 40
REPOSITORIES = [
    Repository(
        f"acme/r{number}",
        f"https://github.com/acme/r{number}",
        forge="github",
        refs=RefFilter(branches=("*",), tags=()),
    )
    for number in range(20)
]

SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes."
PERMISSION = "Resource not accessible by personal access token"


@dataclass
class World(Transport):
    """GitHub, its API and its git; ``state`` of each token: good, spent, revoked, cut or banned."""

    state: dict[str, str]
    now: datetime = NOON
    private: set[str] = field(default_factory=set)
    asked: Counter[tuple[str, str, int]] = field(default_factory=Counter)  # place, token, status

    def send(self, method: str, url: str, **options: Any) -> Reply:
        host, path = urlsplit(url).hostname or "", urlsplit(url).path
        headers = options["headers"]
        is_api = host.startswith("api.")
        token = _token(headers.get("Authorization", ""))
        reply = self.api(token, headers) if is_api else self.git(token, method, path)
        self.asked["api" if is_api else "git", token, reply.status] += 1
        return reply

    def api(self, token: str, headers: Mapping[str, str]) -> Reply:
        state = self.state[token]
        if state == "revoked":
            return self.say(401, "Bad credentials")
        if state == "spent":
            return self.say(403, "API rate limit exceeded", remaining=0)
        if state == "banned":
            return self.say(403, SECONDARY)
        if state == "cut":
            return self.say(403, PERMISSION)
        etag = f'"for {token}"'
        if headers.get("If-None-Match") == etag:
            return Reply(304, {"ETag": etag, **self.limits(4000)}, b"")
        body = json.dumps([{"name": "main", "commit": {"sha": MAIN}}]).encode()
        return Reply(200, {"ETag": etag, **self.limits(4000)}, body)

    def git(self, token: str, method: str, path: str) -> Reply:
        name = path.removeprefix("/").partition("/info")[0].removesuffix("/git-upload-pack")
        if token and self.state[token] == "revoked":
            return Reply(401, {}, b"")
        if name in self.private and not token:
            return Reply(401, {}, b"")
        lines = ["version 2", "ls-refs"] if method == "GET" else [f"{MAIN} refs/heads/main"]
        return Reply(200, {}, b"".join([*map(pkt_line.encode, lines), pkt_line.FLUSH]))

    def limits(self, remaining: int) -> dict[str, str]:
        reset = int((NOON + HOUR).timestamp())
        return {
            "X-RateLimit-Limit": "5000",
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": str(reset),
            "X-RateLimit-Resource": "core",
        }

    def say(self, status: int, message: str, *, remaining: int = 4000) -> Reply:
        return Reply(status, self.limits(remaining), json.dumps({"message": message}).encode())

    def close(self) -> None:
        """Do nothing: no connection is open."""

    def count(self, place: str, token: str) -> int:
        return sum(n for (at, by, _), n in self.asked.items() if (at, by) == (place, token))


def _token(authorization: str) -> str:
    scheme, _, text = authorization.partition(" ")
    return base64.b64decode(text).decode().partition(":")[2] if scheme == "Basic" else text


class Scene:
    """Twenty repositories on GitHub, and the tokens they are read with."""

    def __init__(self, *tokens: str) -> None:
        self.world = World(dict.fromkeys(tokens, "good"))
        self.forge = Forge(
            "github",
            "github",
            "https://github.com",
            "https://api.github.com",
            tokens=tuple(map(Secret, tokens)),
        )
        self.tools = Tools(self.world, lambda: self.world.now)
        self.client: GitClient = github.client(self.forge, self.tools)
        self.last: dict[str, RefsReply] = {}

    def round(self) -> Counter[str]:
        """Poll each once; count by the way that served, or by the error."""
        seen: Counter[str] = Counter()
        self.world.asked.clear()
        for repository in REPOSITORIES:
            known = self.last.get(repository.name)
            try:
                reply = self.client.list_refs(
                    repository, validator=known.validator if known else {}, timeout_s=5
                )
            except ForgeError as error:
                seen[error.code] += 1
            else:
                self.last[repository.name] = reply
                seen[reply.read_by] += 1
        self.world.now += timedelta(seconds=15)
        return seen

    @property
    def states(self) -> list[str]:
        return [one.state.value for one in self.tools.accounts_of(self.forge).credentials()]


ALL = Counter({"rest": 20})


def test_tokens_share_the_load_and_each_repository_keeps_its_own() -> None:
    scene = Scene("one", "two")

    assert scene.round() == ALL
    shares = [scene.world.count("api", token) for token in ("one", "two")]
    assert min(shares) >= 5
    scene.round()

    assert scene.world.asked == {("api", "one", 304): shares[0], ("api", "two", 304): shares[1]}


@pytest.mark.parametrize(
    ("state", "shown"), [("spent", "spent"), ("revoked", "refused"), ("banned", "paused")]
)
def test_the_other_token_takes_over_and_gives_back(state: str, shown: str) -> None:
    scene = Scene("one", "two")
    scene.round()
    before = scene.world.count("api", "one")
    scene.world.state["one"] = state

    scene.round()
    asked = scene.world.count("api", "one") + scene.world.count("git", "one")
    served = scene.round()

    assert asked == 1
    assert served == ALL
    assert (scene.world.count("api", "one"), scene.world.count("api", "two")) == (0, 20)
    assert scene.states == [shown, "ok"]

    scene.world.state["one"] = "good"
    scene.world.now = NOON + HOUR
    for _ in range(8):  # the pace resumes gradually
        scene.round()
    assert scene.world.count("api", "one") == before
    assert scene.states == ["ok", "ok"]


@pytest.mark.parametrize("state", ["spent", "banned"])
def test_what_a_single_token_served_is_read_by_git_meanwhile(state: str) -> None:
    scene = Scene("one")
    scene.round()
    scene.world.state["one"] = state

    rounds = [scene.round() for _ in range(3)]
    asked = scene.world.count("api", "one")

    assert rounds == [Counter({"ls-refs": 20})] * 3
    assert asked == 0
    scene.world.state["one"] = "good"
    scene.world.now = NOON + HOUR
    for _ in range(8):
        scene.round()
    assert scene.round() == ALL


def test_a_token_taken_back_is_shown_to_no_one_again_and_public_repositories_go_on() -> None:
    scene = Scene("one")
    scene.world.private = {"acme/r1", "acme/r2"}
    scene.round()
    scene.world.state["one"] = "revoked"

    refusals = 0
    for _ in range(5):
        served = scene.round()
        refusals += scene.world.asked["api", "one", 401] + scene.world.asked["git", "one", 401]

        assert served == {"ls-refs": 18, "forge_sign_in_refused": 2}
    assert refusals == 1
    assert scene.states == ["refused"]


def test_a_right_that_is_missing_slows_nothing_else() -> None:
    scene = Scene("one", "two")
    scene.round()
    ones = scene.world.count("api", "one")
    scene.world.state["one"] = "cut"

    assert scene.round() == {"ls-refs": ones, "rest": 20 - ones}
    assert scene.round() == {"ls-refs": ones, "rest": 20 - ones}
    assert scene.states == ["ok", "ok"]
    assert scene.world.count("api", "two") == 20 - ones


def test_a_token_that_git_refuses_is_not_tried_on_the_api() -> None:
    world = World({"one": "revoked"})
    forge = Forge(
        "gitlab",
        "gitlab",
        "https://gitlab.com",
        "https://gitlab.com/api/v4",
        tokens=(Secret("one"),),
    )
    world.private = {"acme/site"}
    client = gitlab.client(forge, Tools(world, lambda: world.now))
    site = Repository("acme/site", "https://gitlab.com/acme/site", forge="gitlab")

    for _ in range(40):
        with pytest.raises(ForgeSignInRefused):
            client.list_refs(site, validator={}, timeout_s=5)

    assert world.asked["git", "one", 401] == 1
    assert world.count("api", "one") == 0


def test_a_token_is_not_shown_to_another_server() -> None:
    scene = Scene("one")
    scene.world.state["one"] = "spent"
    elsewhere = Repository("acme/site", "https://mirror.example.com/acme/site", forge="github")

    scene.client.list_refs(elsewhere, validator={}, timeout_s=5)

    assert scene.world.count("git", "") == 2
    assert scene.world.count("git", "one") == 0


def figures(limits: Limits) -> list[int]:
    told = [limits.rest_per_hour, limits.rest_per_minute]
    told += [limits.graphql_per_hour, limits.graphql_per_minute]
    return [round(figure) for figure in told if figure is not None]


def test_a_fleet_is_planned_with_what_usable_credentials_have() -> None:
    scene = Scene("one", "two")
    accounts = scene.tools.accounts_of(scene.forge)
    both = accounts.limits()
    scene.world.state["one"] = "revoked"
    scene.round()
    left = accounts.limits()
    scene.world.state["two"] = "spent"
    scene.round()

    assert figures(both) == [7200, 1196, 7200, 2658]
    assert figures(left) == [3600, 598, 3600, 1329]
    assert figures(accounts.limits()) == [0, 0, 3600, 1329]


def test_requests_are_counted_by_what_they_were_for() -> None:
    scene = Scene("one")
    scene.round()
    scene.round()
    scene.world.state["one"] = "cut"
    scene.round()

    spent = scene.tools.accounts_of(scene.forge).spent()
    assert spent["rest"] == Spent(requests=60, unchanged=20, points=40)
    assert spent["ls-refs"].requests == 40


def test_pages_see_how_each_credential_stands() -> None:
    forges = Forges({}, now=lambda: NOON, connections=1)
    (credential,) = forges.credentials("github")
    forges.close()

    assert (credential.name, credential.state) == ("without a token", CredentialState.OK)
    assert forges.limits("no longer configured") == Limits()
    assert forges.spent("git") == {}


def test_a_wrong_password_in_many_addresses_is_refused_once() -> None:
    scene = Scene()
    scene.world.state |= {"wrong": "revoked", "": "cut"}
    scene.world.private = {one.name for one in REPOSITORIES[:10]}
    for number, repository in enumerate(REPOSITORIES):
        brings = replace(repository, credentials=("ada", Secret("wrong")))
        is_private = number < 10
        for turn in range(2):
            if is_private or not (turn or number):
                with pytest.raises(ForgeSignInRefused):
                    scene.client.list_refs(brings, validator={}, timeout_s=5)
            else:
                reply = scene.client.list_refs(brings, validator={}, timeout_s=5)
                assert reply.read_by == "ls-refs"

    assert scene.world.count("git", "wrong") == 1


def test_the_log_tells_once_why_a_credential_rests(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene("one", "two")
    scene.world.state |= {"one": "revoked", "two": "banned"}

    for _ in range(2):
        scene.round()

    told = [record for record in caplog.records if record.levelname == "WARNING"]
    assert sorted(record.__dict__["credential"] for record in told) == ["token 1", "token 2"]
    assert "one" not in caplog.text.split()
