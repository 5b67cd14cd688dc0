"""Which way a repository is read by, and which servers see a forge's token."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.domain.details import Details
from app.domain.errors import ForgeDenied
from app.domain.event import record
from app.domain.refs import RefFilter
from app.domain.repository import Repository
from app.domain.snapshot import Change
from app.forges import CLIENTS, Forges
from app.forges.client import RefsReply
from app.forges.ls_remote import LsRemote
from app.settings.schema import KINDS
from tests.fakes.forge import Forge
from tests.fakes.git_repository import GitRepository
from tests.fakes.git_server import GitServer

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Scene:
    """A forge with its API and its git, and the clients for it."""

    def __init__(self, kind: str, root: Path, *, token: str | None) -> None:
        self.api = Forge(kind, token=token)
        users = {"github": "x-access-token", "gitlab": "oauth2", "gitea": "x-access-token"}
        user = users[kind] if token else None
        self.git = GitServer(root, username=user, password=token)
        self.remote = GitRepository.create(root / "acme" / "site.git")
        self.remote.commit()
        self.api.repositories["acme/site"] = self.remote
        self.now = NOON
        settings = self.api.settings(url=self.git.address)
        self.forges = Forges({kind: settings}, now=lambda: self.now, connections=4)
        self.kind = kind

    def poll(self, *, tags: tuple[str, ...] = (), url: str | None = None) -> RefsReply:
        site = Repository(
            "acme/site",
            url or f"{self.git.address}/acme/site.git",
            forge=self.kind,
            refs=RefFilter(tags=tags),
        )
        return self.forges.client_for(site).list_refs(site, validator={}, timeout_s=10)

    def describe(self, url: str, *, forge: str) -> Details | None:
        """Ask what the newest commit of main brought."""
        before, after = self.remote.refs()["refs/heads/main"], self.remote.commit(message="New")
        site = Repository("acme/site", url, forge=forge)
        change = record(
            Change("refs/heads/main", before, after), key=url, sequence=1, detected_at=NOON
        )
        client = self.forges.client_for(site)
        return client.describe(site, change=change, timeout_s=10)


@pytest.fixture
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    kind, token = request.param
    made = Scene(kind, tmp_path, token=token)
    with made.api, made.git:
        yield made
        made.forges.close()


@pytest.mark.parametrize(
    ("scene", "tags", "way"),
    [
        (("github", "t0ken"), (), "rest"),
        (("github", "t0ken"), ("v*",), "ls-refs"),
        (("github", None), (), "ls-refs"),
        (("gitlab", "t0ken"), (), "ls-refs"),
        (("gitea", "t0ken"), (), "ls-refs"),
        (("gitea", None), ("v*",), "ls-refs"),
    ],
    indirect=["scene"],
)
def test_each_forge_is_read_by_what_is_best_there_and_else_by_the_other_way(
    scene: Scene, tags: tuple[str, ...], way: str
) -> None:
    first = scene.poll(tags=tags)
    broken = scene.api if way == "rest" else scene.git
    broken.fault = "500"
    second = scene.poll(tags=tags)
    broken.fault = None
    scene.now += timedelta(minutes=5)
    third = scene.poll(tags=tags)

    other = "ls-refs" if way == "rest" else "rest"
    assert [reply.read_by for reply in (first, second, third)] == [way, other, way]
    assert first.refs == second.refs == third.refs == scene.remote.refs()


@pytest.mark.parametrize("scene", [("github", "t0ken")], indirect=True)
def test_a_forges_token_is_not_shown_to_another_server(scene: Scene, tmp_path: Path) -> None:
    stranger = GitServer(tmp_path)
    seen: list[str | None] = []

    def admits(authorization: str | None) -> bool:
        seen.append(authorization)
        return True

    stranger.admits = admits  # type: ignore[method-assign] # a listener in its place
    scene.api.fault = "500"
    with stranger:
        scene.poll(url=stranger.url("acme") + "/site.git")

    assert seen
    assert set(seen) == {None}


def test_ssh_and_local_addresses_are_read_by_the_git_command() -> None:
    forges = Forges({}, now=lambda: NOON, connections=1)

    clients = [
        forges.client_for(Repository("site", url, forge="git"))
        for url in ("ssh://git@git.example.com/x", "/srv/x.git", "git://git.example.com/x")
    ]
    forges.close()

    assert all(isinstance(client, LsRemote) for client in clients)


def test_a_repository_of_an_unknown_forge_is_read_as_plain_git(tmp_path: Path) -> None:
    remote = GitRepository.create(tmp_path / "site.git")
    remote.commit()
    forges = Forges({}, now=lambda: NOON, connections=1)
    with GitServer(tmp_path) as server:
        site = Repository("site", server.url("site.git"), forge="no longer configured")

        reply = forges.client_for(site).list_refs(site, validator={}, timeout_s=10)

    forges.close()
    assert (reply.refs, reply.read_by) == (remote.refs(), "ls-refs")


def test_forges_are_asked_through_the_proxy_that_is_given(tmp_path: Path) -> None:
    with GitServer(tmp_path) as proxy:
        proxy.fault = "404"
        forges = Forges({}, now=lambda: NOON, connections=1, proxies={"http": proxy.address})
        site = Repository("site", "http://git.example.com/site.git")

        with pytest.raises(ForgeDenied):
            forges.client_for(site).list_refs(site, validator={}, timeout_s=10)

        forges.close()
        assert proxy.requests["refs"] == 1


def test_every_kind_of_forge_has_a_client() -> None:
    assert CLIENTS.keys() == set(KINDS)


@pytest.mark.parametrize("scene", [("github", "t0ken"), ("gitlab", "t0ken")], indirect=True)
@pytest.mark.parametrize("tags", [(), ("v*",)])
def test_the_api_tells_what_a_push_brought_whatever_reads_the_refs(
    scene: Scene, tags: tuple[str, ...]
) -> None:
    scene.poll(tags=tags)

    told = [
        scene.describe(url, forge=scene.kind)
        for url in (f"{scene.git.address}/acme/site.git", "ssh://git@127.0.0.1/acme/site.git")
    ]

    assert [one.commits[0].message for one in told if one] == ["New", "New"]


@pytest.mark.parametrize("scene", [("github", "t0ken")], indirect=True)
@pytest.mark.parametrize("scheme", ["ssh", "git"])
def test_of_a_server_without_an_api_nothing_is_told(scene: Scene, scheme: str) -> None:
    assert scene.describe(f"{scheme}://127.0.0.1:1/acme/site.git", forge="git") is None
