"""What is peculiar to Bitbucket, Azure DevOps and Gogs: signing in, pages, errors, pushes."""

import base64
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.domain.details import Details, Person
from app.domain.errors import (
    ForgeAnswerInvalid,
    ForgeDenied,
    ForgeRateLimited,
    ForgeSignInRefused,
    ForgeUnavailable,
)
from app.domain.event import record
from app.domain.refs import RefFilter
from app.domain.repository import Repository
from app.domain.snapshot import Change
from app.forges import CLIENTS, azure
from app.forges.client import GitClient, RefsReply
from app.forges.ways import Tools
from app.transport import Transport
from tests.contract.git_clients import (
    BRANCHES,
    EVERYTHING,
    NAME,
    NOON,
    OTHER_FORGES,
    REST_CLIENTS,
)
from tests.fakes.azure import AzureDevOps, push
from tests.fakes.bitbucket import BitbucketServer, activity, basic
from tests.fakes.git_repository import GitRepository
from tests.fakes.git_server import GitServer
from tests.fakes.rest_forge import RestForge

MAIN = "refs/heads/main"
TAGS_BY_GIT = {"gogs", "bitbucket"}
TOKEN = "t0ken"  # noqa: S105 - a fake forge's

# How each forge's git takes the token: the user's name that goes with it.
GIT_USERS = {
    "gogs": "x-access-token",
    "bitbucket": "x-token-auth",
    "bitbucket-server": "x-token-auth",
    "azure": "",
}


@dataclass
class Scene:
    """A forge with one repository, and the client that reads it over the API."""

    forge: RestForge
    remote: GitRepository
    client: GitClient
    repository: Repository

    def poll(self) -> RefsReply:
        return self.client.list_refs(self.repository, validator={}, timeout_s=10)

    def describe(self, before: str | None, after: str | None, ref: str = MAIN) -> Details | None:
        change = record(
            Change(ref, before, after), key=self.repository.url, sequence=1, detected_at=NOON
        )
        return self.client.describe(self.repository, change=change, timeout_s=10)


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = Transport()
    yield made
    made.close()


def scene_of(forge: RestForge, transport: Transport, root: Path) -> Scene:
    remote = GitRepository.create(root / "site.git")
    remote.commit()
    forge.repositories[NAME] = remote
    client = REST_CLIENTS[forge.kind](transport, forge.settings(), now=lambda: NOON)
    refs = BRANCHES if forge.kind in TAGS_BY_GIT else EVERYTHING
    url = f"{forge.address}/{forge.git_path(NAME)}"
    return Scene(forge, remote, client, Repository(NAME, url, forge=forge.kind, refs=refs))


@pytest.fixture(params=OTHER_FORGES)
def scene(request: pytest.FixtureRequest, transport: Transport, tmp_path: Path) -> Iterator[Scene]:
    with OTHER_FORGES[request.param](token=TOKEN) as forge:
        yield scene_of(forge, transport, tmp_path)


only_azure = pytest.mark.parametrize("scene", ["azure"], indirect=True)
only_server = pytest.mark.parametrize("scene", ["bitbucket-server"], indirect=True)
only_cloud = pytest.mark.parametrize("scene", ["bitbucket"], indirect=True)


@pytest.mark.parametrize(
    ("scene", "header"),
    [
        ("gogs", f"token {TOKEN}"),
        ("bitbucket", f"Bearer {TOKEN}"),
        ("bitbucket-server", f"Bearer {TOKEN}"),
        ("azure", "Basic " + base64.b64encode(b":t0ken").decode()),
    ],
    indirect=["scene"],
)
def test_each_forge_gets_its_token_in_its_own_way(scene: Scene, header: str) -> None:
    scene.poll()

    assert scene.forge.asked[0]["authorization"] == header


@pytest.mark.parametrize("kind", ["bitbucket", "bitbucket-server"])
def test_bitbucket_takes_a_user_name_and_a_password_too(
    kind: str, transport: Transport, tmp_path: Path
) -> None:
    with OTHER_FORGES[kind](token=TOKEN, username="ada@example.com") as forge:
        scene = scene_of(forge, transport, tmp_path)

        scene.poll()

    assert forge.asked[0]["authorization"] == basic("ada@example.com", TOKEN)


@pytest.mark.parametrize("page_limit", [3, 7, 100])
def test_every_page_is_read_however_small_the_forge_makes_them(
    scene: Scene, page_limit: int
) -> None:
    scene.forge.page_limit = page_limit
    scene.remote.branch(*(f"a/ß&=+%{number:02}" for number in range(20)))

    reply = scene.poll()

    assert reply.refs == scene.remote.refs()
    assert len(reply.refs or {}) == 21


@pytest.mark.parametrize("scene", OTHER_FORGES.keys() - {"gogs"}, indirect=True)
def test_a_branch_deleted_between_two_pages_makes_no_other_look_deleted(scene: Scene) -> None:
    scene.forge.page_limit = 10
    scene.remote.branch(*(f"a/{number:03}" for number in range(30)))

    def delete_once(path: str) -> None:
        if any(mark in path for mark in ("page=2", "start=10", "continuationToken")):
            scene.forge.on_request = lambda _: None
            scene.remote.delete("a/000")

    scene.forge.on_request = delete_once

    reply = scene.poll()

    assert scene.remote.refs().keys() - (reply.refs or {}).keys() == set()
    assert "refs/heads/a/000" not in scene.remote.refs()


@pytest.mark.parametrize("scene", TAGS_BY_GIT, indirect=True)
def test_tags_are_not_read_from_an_api_that_does_not_tell_their_own_ids(scene: Scene) -> None:
    scene.repository = replace(scene.repository, refs=EVERYTHING)

    with pytest.raises(ForgeDenied, match="their own ids"):
        scene.poll()

    assert scene.forge.asked == []


def test_only_what_the_patterns_want_is_asked_for(scene: Scene) -> None:
    scene.repository = replace(scene.repository, refs=BRANCHES)

    scene.poll()

    assert not any("tags" in path for path in scene.forge.paths)


def test_a_refusal_says_what_the_forge_says(scene: Scene) -> None:
    status, headers, body = scene.forge.refuse(403, "The repository is in quarantine")
    scene.forge.says = (status, headers, body)

    with pytest.raises(ForgeDenied, match="quarantine"):
        scene.poll()


def test_a_wrong_token_is_refused_once_and_not_tried_again(scene: Scene) -> None:
    scene.forge.token = "another"  # noqa: S105 - a fake forge's

    for _ in range(3):
        with pytest.raises(ForgeSignInRefused) as caught:
            scene.poll()

    assert TOKEN not in str(caught.value)
    assert len(scene.forge.asked) == 1


ODD_ANSWERS = {
    "no object": "[[]]",
    "no values": "{}",
    "values that are none": '{"values": 7, "value": 7, "isLastPage": true}',
    "no page that could follow": '{"values": [], "next": 7, "isLastPage": false}',
    "items without ids": '{"values": [{}], "value": [{}], "isLastPage": true}',
    "page": "<html>",
}


@pytest.mark.parametrize("body", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
def test_json_of_another_shape_is_no_list_of_refs(scene: Scene, body: str) -> None:
    scene.forge.says = (200, [], body.encode())

    try:
        reply = scene.poll()
    except ForgeAnswerInvalid:
        return
    # An answer without more pages, as Azure DevOps would spell one.
    assert (scene.forge.kind, reply.refs) == ("azure", {})


@pytest.mark.parametrize("body", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
def test_an_odd_answer_describes_nothing_and_tells_no_pushes(scene: Scene, body: str) -> None:
    scene.forge.says = (200, [], body.encode())

    assert scene.describe("a" * 40, "b" * 40) is None
    assert scene.describe(None, "b" * 40) is None
    told = scene.client.pushes(scene.repository, since=NOON, timeout_s=5)
    assert not told


@only_cloud
def test_the_next_page_is_not_read_from_another_host(scene: Scene) -> None:
    body = json.dumps({"values": [], "next": "https://evil.example.com/?page=2"})
    scene.forge.says = (200, [], body.encode())

    with pytest.raises(ForgeAnswerInvalid, match=r"another host, evil\.example\.com"):
        scene.poll()


@only_azure
def test_a_page_to_sign_in_is_a_refusal(scene: Scene) -> None:
    scene.forge.says = (203, [("Content-Type", "text/html")], b"<html>Sign in</html>")

    with pytest.raises(ForgeSignInRefused, match="sign in"):
        scene.poll()


@only_azure
def test_azure_is_left_alone_when_a_success_asks_for_it(scene: Scene) -> None:
    scene.forge.says = (200, [("Retry-After", "30")], b'{"value": []}')
    scene.repository = replace(scene.repository, refs=BRANCHES)

    scene.poll()
    with pytest.raises(ForgeRateLimited) as caught:
        scene.poll()

    assert caught.value.reset_at >= NOON + timedelta(seconds=30)
    assert len(scene.forge.asked) == 1


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("{}/acme/web/_git/site", "/acme/web/_apis/git/repositories/site"),
        ("{}/acme/_git/site", "/acme/site/_apis/git/repositories/site"),
        (
            "{}/acme/my%20web/_git/_full/my%20site",
            "/acme/my%20web/_apis/git/repositories/my%20site",
        ),
        ("ssh://git@127.0.0.1/v3/acme/web/site", "/acme/web/_apis/git/repositories/site"),
    ],
)
@only_azure
def test_azures_addresses_lead_to_its_api(scene: Scene, url: str, asked: str) -> None:
    scene.repository = replace(scene.repository, url=url.format(scene.forge.address))

    with contextlib.suppress(ForgeDenied):  # there is only one repository
        scene.poll()

    assert scene.forge.paths[0].partition("/refs?")[0] == asked


@pytest.mark.parametrize("scene", OTHER_FORGES, indirect=True)
@pytest.mark.parametrize("path", ["acme", "acme/site/tree/main", "x/y/z/_git"])
def test_what_is_no_repository_of_the_forge_is_denied_unasked(scene: Scene, path: str) -> None:
    scene.repository = replace(scene.repository, url=f"{scene.forge.address}/{path}")

    with pytest.raises(ForgeDenied, match="is no repository of"):
        scene.poll()

    assert scene.forge.asked == []


@only_server
def test_a_persons_own_project_is_asked_for_by_their_name(scene: Scene) -> None:
    scene.forge.repositories["~ada/site"] = scene.forge.repositories.pop(NAME)
    scene.repository = replace(scene.repository, url=f"{scene.forge.address}/scm/~ada/site.git")

    assert scene.poll().refs == scene.remote.refs()


@only_server
def test_bitbucket_server_tells_who_pushed(scene: Scene) -> None:
    assert isinstance(scene.forge, BitbucketServer)
    first, second = "1" * 40, "2" * 40
    later = NOON + timedelta(minutes=1)
    scene.forge.pushed = [
        activity(MAIN, first, second, later),
        activity("refs/heads/new", None, first, NOON),
        activity(MAIN, None, first, NOON - timedelta(seconds=1)),
    ]

    told = scene.client.pushes(scene.repository, since=NOON, timeout_s=5)

    assert told is not None
    assert [(one.ref, one.before, one.after, one.at) for one in told] == [
        ("refs/heads/new", "0" * 40, first, NOON),
        (MAIN, first, second, later),
    ]
    assert told[0].pusher == Person("Ada", "ada@example.com", "ada")


@only_server
def test_a_log_of_pushes_that_may_not_be_read_is_none(scene: Scene) -> None:
    assert isinstance(scene.forge, BitbucketServer)
    scene.forge.says = scene.forge.refuse(403, "You are not permitted to access this resource")

    assert scene.client.pushes(scene.repository, since=NOON, timeout_s=5) is None
    scene.forge.says = None
    assert scene.poll().refs == scene.remote.refs()


@only_azure
def test_azure_tells_who_pushed(scene: Scene) -> None:
    assert isinstance(scene.forge, AzureDevOps)
    first, second = "1" * 40, "2" * 40
    scene.forge.pushed = [
        push("2026-11-01T12:01:00.1018737Z", (MAIN, first, second), ("refs/tags/v1", None, first)),
        push("2026-11-01T12:00:30Z", (MAIN, None, first), user="bob"),
        push("2026-11-01T11:59:59.9Z", ("refs/heads/old", first, None)),
    ]

    told = scene.client.pushes(scene.repository, since=NOON, timeout_s=5)

    assert told is not None
    assert [(one.ref, one.before, one.after) for one in told] == [
        (MAIN, "0" * 40, first),
        (MAIN, first, second),
        ("refs/tags/v1", "0" * 40, first),
    ]
    assert told[0].pusher == Person("Bob", "bob@example.com", "bob@example.com")
    assert told[1].at == datetime(2026, 11, 1, 12, 1, 0, 101873, UTC)
    assert "searchCriteria.fromDate=2026-11-01T12:00:00Z" in scene.forge.paths[-1]


@only_azure
def test_azure_tells_the_newest_commit_where_its_list_is_not_the_one_it_counts(
    scene: Scene,
) -> None:
    before, _, after = (scene.remote.commit() for _ in range(3))
    found = azure.commit(
        {
            "commitId": after,
            "author": {"name": "Ada", "email": "", "date": "2026-01-01T00:00:00Z"},
            "committer": {"name": "Ada", "email": "", "date": "2026-01-01T00:00:00Z"},
            "comment": "x",
        }
    )

    def turn_round(path: str) -> None:
        # As if the two ends of a search meant the opposite.
        if "/site/commits?" in path:
            scene.forge.says = (200, [], b'{"count": 0, "value": []}')
        elif "/site/commits/" in path:
            scene.forge.says = None

    scene.forge.on_request = turn_round

    told = scene.describe(before, after)

    assert told is not None
    assert ([one.id for one in told.commits], told.total, told.forced) == ([found.id], 2, False)


@pytest.mark.parametrize("scene", OTHER_FORGES.keys() - {"gogs"}, indirect=True)
def test_a_renamed_file_is_removed_and_added(scene: Scene) -> None:
    before = scene.remote.commit(files={"old": "the same content, long enough\n"})
    after = scene.remote.commit(files={"new": "the same content, long enough\n"})

    told = scene.describe(before, after)

    assert told is not None
    assert (told.commits[-1].added, told.commits[-1].removed) == (("new",), ("old",))


@pytest.mark.parametrize("scene", OTHER_FORGES.keys() - {"gogs"}, indirect=True)
def test_a_list_of_files_that_may_be_cut_is_not_told(scene: Scene) -> None:
    before = scene.remote.commit()
    blob = scene.remote.git("hash-object", "-w", "--stdin", stdin="x")
    entries = "".join(f"100644 blob {blob}\tf{number:03}\n" for number in range(320))
    tree = scene.remote.git("mktree", stdin=entries)
    after = scene.remote.git("commit-tree", "-p", before, tree, stdin="Many")
    scene.remote.move({MAIN: after})

    told = scene.describe(before, after)

    assert told is not None
    assert told.commits[-1].added is None


@pytest.mark.parametrize("tags", [(), ("v*",)])
@pytest.mark.parametrize("kind", OTHER_FORGES)
def test_git_is_asked_first_and_the_api_where_it_can_stand_in(
    kind: str, tags: tuple[str, ...], transport: Transport, tmp_path: Path
) -> None:
    forge = OTHER_FORGES[kind](token=TOKEN)
    server = GitServer(
        tmp_path, username=GIT_USERS[kind], password=TOKEN, protocol_v2=kind != "gogs"
    )
    remote = GitRepository.create(tmp_path / forge.git_path(NAME))
    remote.commit()
    remote.tag("v1", annotated=True)
    forge.repositories[NAME] = remote
    with forge, server:
        settings = forge.settings(url=server.address)
        client = CLIENTS[kind](settings, Tools(transport, lambda: NOON))
        watched = Repository(
            NAME,
            f"{server.address}/{forge.git_path(NAME)}",
            forge=kind,
            refs=RefFilter(branches=("*",), tags=tags),
        )

        first = client.list_refs(watched, validator={}, timeout_s=10)
        server.fault = "500"

        assert first.read_by == "ls-refs"
        if tags and kind in TAGS_BY_GIT:
            with pytest.raises(ForgeUnavailable):
                client.list_refs(watched, validator={}, timeout_s=10)
            return
        second = client.list_refs(watched, validator=first.validator, timeout_s=10)

    assert second.read_by == "rest"
    found = {ref: at for ref, at in (second.refs or {}).items() if tags or "/tags/" not in ref}
    wanted = {ref: at for ref, at in remote.refs().items() if tags or "/tags/" not in ref}
    assert found == wanted
