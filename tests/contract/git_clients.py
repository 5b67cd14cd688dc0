"""The ways of reading refs that the contract is held to, each with something real to read from."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from app.domain.details import Details
from app.domain.event import record
from app.domain.refs import RefFilter
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.domain.snapshot import Change, Refs
from app.forges import CLIENTS
from app.forges.azure import Azure
from app.forges.bitbucket import Bitbucket
from app.forges.bitbucket_server import BitbucketServer
from app.forges.client import GitClient, RefsReply
from app.forges.git_http import GitHttp
from app.forges.gitea import Gitea
from app.forges.github import GitHub
from app.forges.gitlab import GitLab
from app.forges.gogs import Gogs
from app.forges.ls_remote import LsRemote
from app.forges.ways import Tools
from app.settings.types import Forge as ForgeSettings
from app.transport import Transport
from tests.fakes import bitbucket, gogs
from tests.fakes.azure import AzureDevOps
from tests.fakes.forge import Forge
from tests.fakes.git_repository import GitRepository, git_environment
from tests.fakes.git_server import GitServer, LoopbackService
from tests.fakes.rest_forge import RestForge
from tests.fakes.ssh_server import SshServer

NAME = "acme/site"
PASSWORD = "correct-horse"  # noqa: S105 - a test's own
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
EVERYTHING = RefFilter(branches=("*",), tags=("*",))
BRANCHES = RefFilter(branches=("*",), tags=())

REST_CLIENTS: Mapping[str, Callable[..., GitClient]] = {
    # The clock stands still, and so would GitHub's tags.
    "github": partial(GitHub, tags_every=timedelta(0)),
    "gitlab": GitLab,
    "gitea": Gitea,
    "gogs": Gogs,
    "bitbucket": Bitbucket,
    "bitbucket-server": BitbucketServer,
    "azure": Azure,
}
OTHER_FORGES: Mapping[str, type[RestForge]] = {
    "gogs": gogs.Gogs,
    "bitbucket": bitbucket.BitbucketCloud,
    "bitbucket-server": bitbucket.BitbucketServer,
    "azure": AzureDevOps,
}


def noon() -> datetime:
    """Return the time, which stands still."""
    return NOON


@dataclass(frozen=True, slots=True)
class Watch:
    """A client, the repository it reads, and that repository's other side, where one pushes.

    ``stranger`` is the same repository without the credentials it takes, where it takes any.
    ``service`` is what can be told to misbehave, where there is something.
    """

    client: GitClient
    remote: GitRepository
    repository: Repository
    stranger: Repository | None = None
    service: LoopbackService | None = None

    def poll(
        self, validator: Mapping[str, str] | None = None, *, timeout_s: float = 10.0
    ) -> RefsReply:
        """Ask once."""
        return self.client.list_refs(
            self.repository, validator=validator or {}, timeout_s=timeout_s
        )

    def refs(self) -> Refs:
        """Return what a poll should tell."""
        tells_tags = bool(self.repository.refs.tags)
        found = self.remote.refs().items()
        return {ref: at for ref, at in found if tells_tags or not ref.startswith("refs/tags/")}

    def describe(self, ref: str, before: str | None, after: str | None) -> Details | None:
        """Ask what a change brought."""
        change = record(
            Change(ref, before, after), key=self.repository.url, sequence=1, detected_at=NOON
        )
        return self.client.describe(self.repository, change=change, timeout_s=10.0)


def repository(url: str, *, password: str | None = None, forge: str = "git") -> Repository:
    """Return a watched repository, all of whose refs are wanted."""
    credentials = ("ada", Secret(password)) if password else None
    return Repository(NAME, url, forge=forge, refs=EVERYTHING, credentials=credentials)


def create(root: Path, object_format: str) -> GitRepository:
    """Make the repository that is read."""
    return GitRepository.create(root / "site.git", object_format=object_format)


@contextlib.contextmanager
def transport() -> Iterator[Transport]:
    """Give a way to HTTP."""
    made = Transport(connections=4)
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def git_http(root: Path, object_format: str, *, protocol_v2: bool) -> Iterator[Watch]:
    """Speak the protocol ourselves to git's own server, which wants a password."""
    server = GitServer(root, username="ada", password=PASSWORD, protocol_v2=protocol_v2)
    with server, transport() as http:
        url = server.url("site.git")
        yield Watch(
            GitHttp(http, now=noon),
            create(root, object_format),
            repository(url, password=PASSWORD),
            repository(url, password="wrong"),  # noqa: S106 - a test's own
            server,
        )


@contextlib.contextmanager
def commits_too(root: Path, object_format: str) -> Iterator[Watch]:
    """Speak the protocol ourselves to a server that also sends commits without their files."""
    with git_http(root, object_format, protocol_v2=True) as watch:
        watch.remote.git("config", "uploadpack.allowFilter", "true")
        yield watch


@contextlib.contextmanager
def plain_git(root: Path, object_format: str) -> Iterator[Watch]:
    """Read a plain git server as the program does: our protocol, and the command behind it."""
    server = GitServer(root, username="ada", password=PASSWORD)
    with server, transport() as http:
        url = server.url("site.git")
        settings = ForgeSettings(name="git", kind="git", url="", api_url=None)
        yield Watch(
            CLIENTS["git"](settings, Tools(http, noon)),
            create(root, object_format),
            repository(url, password=PASSWORD),
            repository(url),
            server,
        )


@contextlib.contextmanager
def command_http(root: Path, object_format: str) -> Iterator[Watch]:
    """Let the git command read over HTTP."""
    server = GitServer(root, username="ada", password=PASSWORD)
    with server:
        url = server.url("site.git")
        yield Watch(
            LsRemote(environ=git_environment()),
            create(root, object_format),
            repository(url, password=PASSWORD),
            repository(url),
            server,
        )


@contextlib.contextmanager
def command_path(root: Path, object_format: str) -> Iterator[Watch]:
    """Let the git command read a local path."""
    remote = create(root, object_format)
    yield Watch(LsRemote(environ=git_environment()), remote, repository(str(remote.path)))


@contextlib.contextmanager
def command_ssh(root: Path, object_format: str) -> Iterator[Watch]:
    """Let the git command read over ssh; the test that asks for this has made sure of sshd."""
    remote = create(root, object_format)
    with SshServer(root / "ssh", os.environ["SSHD"]) as server:
        client = LsRemote(environ=server.environment())
        yield Watch(client, remote, repository(server.url(remote.path)))


@contextlib.contextmanager
def rest(root: Path, object_format: str, *, kind: str) -> Iterator[Watch]:
    """Read from a forge's API, which wants a token."""
    with Forge(kind, token="t0ken") as forge, transport() as http:  # noqa: S106 - a test's own
        remote = create(root, object_format)
        forge.repositories[NAME] = remote
        watched = repository(f"{forge.address}/{NAME}.git", forge=kind)
        client = REST_CLIENTS[kind](http, forge.settings(), now=noon)
        yield Watch(client, remote, watched, None, forge)


@contextlib.contextmanager
def other_rest(
    root: Path, object_format: str, *, kind: str, tells_tags: bool = True
) -> Iterator[Watch]:
    """Read from the API of a forge that has a fake of its own."""
    with OTHER_FORGES[kind](token="t0ken") as forge, transport() as http:  # noqa: S106 - a test's
        remote = create(root, object_format)
        forge.repositories[NAME] = remote
        url = f"{forge.address}/{forge.git_path(NAME)}"
        watched = replace(repository(url, forge=kind), refs=EVERYTHING if tells_tags else BRANCHES)
        client = REST_CLIENTS[kind](http, forge.settings(), now=noon)
        yield Watch(client, remote, watched, None, forge)


@dataclass(frozen=True, slots=True)
class Way:
    """One row of the contract: how to set it up, and what it cannot do by its nature."""

    name: str
    open: Callable[[Path, str], contextlib.AbstractContextManager[Watch]]
    has_validator: bool = True
    tells_details: bool = False
    tells_files: bool = True  # where it tells anything
    tells_files_of_merges: bool = True  # where it tells those of other commits
    tells_history: bool = True  # more than the newest commit, where it tells anything
    tells_default_branch: bool = True
    object_formats: tuple[str, ...] = ("sha1", "sha256")

    def __str__(self) -> str:
        return self.name


WAYS = (
    Way("ls-refs-v2", lambda root, form: git_http(root, form, protocol_v2=True)),
    Way("ls-refs-v0", lambda root, form: git_http(root, form, protocol_v2=False)),
    Way("ls-refs-filter", commits_too, tells_details=True, tells_files=False),
    Way("plain-git", plain_git, object_formats=("sha1",)),
    Way("ls-remote-http", command_http, object_formats=("sha1",)),
    Way("ls-remote-path", command_path, tells_details=True),
    Way("ls-remote-ssh", command_ssh, object_formats=("sha1",)),
    Way(
        "github",
        lambda root, form: rest(root, form, kind="github"),
        tells_details=True,
        tells_default_branch=False,
        object_formats=("sha1",),
    ),
    Way(
        "gitlab",
        lambda root, form: rest(root, form, kind="gitlab"),
        tells_details=True,
        object_formats=("sha1",),
    ),
    Way(
        "gitea",
        lambda root, form: rest(root, form, kind="gitea"),
        tells_details=True,
        tells_files_of_merges=False,
        has_validator=False,
        tells_default_branch=False,
        object_formats=("sha1",),
    ),
    Way(
        "gogs",
        lambda root, form: other_rest(root, form, kind="gogs", tells_tags=False),
        tells_details=True,
        tells_files=False,
        tells_history=False,
        has_validator=False,
        tells_default_branch=False,
        object_formats=("sha1",),
    ),
    Way(
        "bitbucket",
        lambda root, form: other_rest(root, form, kind="bitbucket", tells_tags=False),
        tells_details=True,
        has_validator=False,
        tells_default_branch=False,
        object_formats=("sha1",),
    ),
    Way(
        "bitbucket-server",
        lambda root, form: other_rest(root, form, kind="bitbucket-server"),
        tells_details=True,
        has_validator=False,
        object_formats=("sha1",),
    ),
    Way(
        "azure",
        lambda root, form: other_rest(root, form, kind="azure"),
        tells_details=True,
        has_validator=False,
        tells_default_branch=False,
        object_formats=("sha1",),
    ),
)
