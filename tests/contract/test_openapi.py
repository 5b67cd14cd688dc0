"""What we ask of GitHub, and what our fake GitHub answers, is what GitHub's description says.

Prism checks both: as a stand-in for GitHub it refuses requests that the description does not know,
and before our fake it refuses answers that GitHub would not give. Needs @stoplight/prism-cli and
@octokit/openapi from npm, in the folder that REPOSENTRY_NODE_MODULES names.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.domain.errors import ForgeError
from app.domain.event import record
from app.domain.plan import Probing
from app.domain.refs import BRANCH_PREFIX, TAG_PREFIX, RefFilter
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.domain.snapshot import Change
from app.forges import PROBES
from app.forges.github import GitHub
from app.forges.ways import Tools
from app.settings.types import Forge
from app.transport import Reply, Transport
from tests.fakes.github import TOKEN, FakeGitHub
from tests.fakes.hosting import MAIN
from tests.fakes.process import free_port
from tests.receivers.programs import a_running, find_node_modules

PACKAGES = "@stoplight/prism-cli @octokit/openapi"
DESCRIPTION = "@octokit/openapi/generated/api.github.com.json"
REPOSITORY = "/repos/{owner}/{repo}"
# All that we ask; of the whole description, which is 13 MB, Prism would take half a minute to read.
PATHS = (
    "/app/installations/{installation_id}/access_tokens",
    "/orgs/{org}/repos",
    "/rate_limit",
    REPOSITORY,
    f"{REPOSITORY}/activity",
    f"{REPOSITORY}/branches",
    f"{REPOSITORY}/branches/{{branch}}",
    f"{REPOSITORY}/commits/{{ref}}",
    f"{REPOSITORY}/compare/{{basehead}}",
    f"{REPOSITORY}/git/matching-refs/{{ref}}",
    "/user/repos",
    "/users/{username}/repos",
)
# What GitHub's manual recommends to accept; its description knows only what it says in return.
RECOMMENDED, JSON = "application/vnd.github+json", "application/json"
# A ref may hold slashes, which a description's address cannot say.
SPELLED_OUT = {
    f"{REPOSITORY}/commits/heads/{{ref}}": f"{REPOSITORY}/commits/{{ref}}",
    f"{REPOSITORY}/commits/tags/{{ref}}": f"{REPOSITORY}/commits/{{ref}}",
}

pytestmark = pytest.mark.slow  # Prism takes seconds to start


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it was sent, and what Prism or the fake made of it."""

    method: str
    path: str
    reply: Reply

    def violations(self, side: str) -> list[Any]:
        """List what Prism found wrong with the request or the response."""
        found = json.loads(self.reply.headers.get("sl-violations") or "[]")
        errors = [one for one in found if one["severity"] == "Error"]
        return [one for one in errors if one["location"][0] == side]

    def __str__(self) -> str:
        body = self.reply.body.decode("utf-8", "replace")
        return f"{self.method} {self.path}: {self.reply.status} {self.reply.headers} {body[:2000]}"


class Listening(Transport):
    """Notes every request and its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Asked] = []

    def send(self, method: str, url: str, **options: Any) -> Reply:
        reply = super().send(method, url, **options)
        self.heard.append(Asked(method, urlsplit(url).path, reply))
        return reply


def described() -> dict[str, Any]:
    """Return as much of GitHub's description as is about what we ask."""
    file = find_node_modules(PACKAGES) / DESCRIPTION
    whole = json.loads(file.read_text("utf-8"))
    paths = {path: whole["paths"][path] for path in PATHS}
    paths |= {path: whole["paths"][like] for path, like in SPELLED_OUT.items()}
    components: dict[str, dict[str, Any]] = {}
    todo: list[Any] = [paths]
    while todo:
        found = todo.pop()
        if isinstance(found, dict):
            if JSON in found:
                found[RECOMMENDED] = found[JSON]
            todo += found.values()
            reference = found.get("$ref")
            if isinstance(reference, str):
                _, _, sort, name = reference.split("/")
                if name not in components.setdefault(sort, {}):
                    components[sort][name] = whole["components"][sort][name]
                    todo.append(components[sort][name])
        elif isinstance(found, list):
            todo += found
    kept = {name: whole[name] for name in ("openapi", "info", "servers")}
    return {**kept, "paths": paths, "components": components}


@contextlib.contextmanager
def prism(folder: Path, *arguments: str) -> Iterator[str]:
    """Run Prism; yield its address."""
    programs = find_node_modules(PACKAGES) / ".bin"
    program = shutil.which("prism", path=str(programs))  # on Windows prism.cmd
    assert program is not None, programs
    slice_file = folder / "slice.json"
    slice_file.write_text(json.dumps(described()), encoding="utf-8")
    port = free_port()
    mode, *rest = arguments
    command = [program, mode, "-h", "127.0.0.1", "-p", str(port), str(slice_file), *rest]
    with a_running(command, folder=folder, port=port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """GitHub as its description imagines it."""
    with prism(tmp_path_factory.mktemp("mock"), "mock") as address:
        yield address


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeGitHub]:
    """Our own."""
    with FakeGitHub() as forge:
        forge.create("acme/site", branches=3)
        forge.push("acme/site", commits=2)
        forge.move("acme/site", {TAG_PREFIX + "v1": forge.hosting.get("acme/site").now.refs[MAIN]})
        forge.create("ada/notes")
        forge.hosting.users.add("ada")
        yield forge


@pytest.fixture(scope="module")
def checked(fake: FakeGitHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Our own, with Prism looking at all that it answers."""
    folder = tmp_path_factory.mktemp("proxy")
    with prism(folder, "proxy", fake.address, "--errors") as address:
        yield address


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the fake's clock is the machine's


def ask_everything(address: str, *, before: str, after: str) -> Sequence[Asked]:
    """Let our clients ask all that they ever do; what they make of it is not looked at."""
    transport = Listening()
    forge = Forge(
        name="github",
        kind="github",
        url="https://git.example.com",
        api_url=address,
        tokens=(Secret(TOKEN),),
    )
    client = GitHub(transport, forge, now=now)
    everything = RefFilter(branches=("*",), tags=("*",))
    site = Repository("site", "https://git.example.com/acme/site", forge="github", refs=everything)
    notes = replace(site, url="https://git.example.com/ada/notes")
    alone = replace(site, refs=RefFilter(branches=("main",)))
    try:
        for one in (site, alone, notes):
            with contextlib.suppress(ForgeError):
                reply = client.list_refs(one, validator={}, timeout_s=10.0)
                client.list_refs(one, validator=reply.validator, timeout_s=10.0)
        for change in (
            Change(MAIN, before, after),
            Change(BRANCH_PREFIX + "new", None, after),
            Change(TAG_PREFIX + "v1", None, after),
        ):
            event = record(change, key=site.url, sequence=1, detected_at=now())
            client.describe(site, change=event, timeout_s=10.0)
        client.pushes(site, since=now() - timedelta(minutes=5), timeout_s=10.0)
        for owner in ("acme", "ada"):
            probe = PROBES["github"](forge, Tools(transport, now), Probing.LISTING, owner)
            assert probe is not None
            with contextlib.suppress(ForgeError):
                probe.ask([site, notes], timeout_s=10.0)
    finally:
        transport.close()
    return transport.heard


def test_all_that_we_ask_is_known_to_github_s_description(stand_in: str) -> None:
    heard = ask_everything(stand_in, before="a" * 40, after="b" * 40)
    # The examples that Prism answers with are not all as the description says; that is GitHub's.
    assert [str(one) for one in heard if one.reply.status >= 400 or one.violations("request")] == []
    paths = {asked.path for asked in heard}
    root = "/repos/acme/site"
    compared = f"{root}/compare/{'a' * 40}...{'b' * 40}"
    assert {f"{root}/branches", f"{root}/activity", compared, "/orgs/acme/repos"} <= paths
    assert f"{root}/commits/heads/main" in paths


def test_an_app_s_token_is_asked_for_as_github_s_description_says(stand_in: str) -> None:
    transport = Listening()
    try:
        reply = transport.send(
            "POST",
            f"{stand_in}/app/installations/7/access_tokens",
            headers={"Authorization": "Bearer a.b.c", "Accept": "application/vnd.github+json"},
            body=None,
            timeout_s=10.0,
        )
    finally:
        transport.close()
    assert (reply.status, set(json.loads(reply.body)) >= {"token", "expires_at"}) == (201, True)


def test_all_that_our_fake_answers_to_us_is_what_github_would(
    checked: str, fake: FakeGitHub
) -> None:
    log = fake.hosting.get("acme/site").log
    heard = ask_everything(checked, before=log[0].before, after=log[0].after)
    assert [str(one) for one in heard if one.violations("request")] == []
    assert [str(one) for one in heard if one.violations("response")] == []
    # Whether ada is an organisation is found out by asking.
    denied = [one.path for one in heard if one.reply.status not in {200, 304}]
    assert denied == ["/orgs/ada/repos"]
    assert "/repos/acme/site/git/matching-refs/tags" in {one.path for one in heard}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/repos/acme/site", 200),
        ("/repos/acme/site/branches?per_page=2", 200),
        ("/repos/acme/site/branches/main", 200),
        ("/repos/acme/site/git/matching-refs/heads", 200),
        ("/repos/acme/none/branches", 404),
        ("/repos/acme/site/branches?per_page=abc", 422),
        ("/users/ada/repos?sort=pushed", 200),
        ("/rate_limit", 200),
    ],
)
def test_whatever_else_our_fake_answers_is_what_github_would(
    checked: str, path: str, status: int
) -> None:
    transport = Listening()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    try:
        reply = transport.send("GET", checked + path, headers=headers, timeout_s=10.0)
    finally:
        transport.close()
    assert reply.status == status, reply.body


def test_prism_would_notice(
    checked: str, fake: FakeGitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("tests.fakes.github_shapes.branches", lambda *_: [{"name": "main"}])
        fake.push("acme/site")
        transport = Listening()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = f"{checked}/repos/acme/site/branches"
        try:
            reply = transport.send("GET", url, headers=headers, timeout_s=10.0)
        finally:
            transport.close()
    assert (reply.status, b"VIOLATIONS" in reply.body) == (500, True)
