"""Git's own ways to sign in over ssh are the ones that are used: agents and ssh's configuration."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from app.domain.errors import ForgeDenied
from app.domain.repository import Repository
from app.domain.snapshot import Refs
from app.forges.ls_remote import LsRemote
from tests.fakes.git_repository import GitRepository, git_environment
from tests.fakes.ssh_server import SshServer, find_sshd

pytestmark = pytest.mark.sshd


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    program = find_sshd()
    if program is None:
        if os.environ.get("REPOSENTRY_TEST_SERVICES") == "required":
            pytest.fail("OpenSSH's server is required and not installed")
        pytest.skip("OpenSSH's server is not installed")
    with SshServer(tmp_path / "ssh", program) as opened:
        yield opened


@pytest.fixture
def remote(tmp_path: Path) -> GitRepository:
    made = GitRepository.create(tmp_path / "site.git")
    made.commit()
    return made


def read(environ: Mapping[str, str], url: str) -> Refs | None:
    client = LsRemote(environ=environ)
    return client.list_refs(Repository("site", url), validator={}, timeout_s=30).refs


def test_a_key_that_an_agent_holds_opens(server: SshServer, remote: GitRepository) -> None:
    with server.agent() as environ:
        assert read(environ, server.url(remote.path)) == remote.refs()


def test_a_host_and_key_of_the_ssh_configuration_open(
    server: SshServer, remote: GitRepository
) -> None:
    environ = server.configured("forge")

    assert read(environ, f"ssh://forge{remote.path.as_posix()}") == remote.refs()


def test_without_a_key_the_server_denies(server: SshServer, remote: GitRepository) -> None:
    ssh = "ssh -F none -o BatchMode=yes -o IdentityFile=none -o StrictHostKeyChecking=no"
    ssh += f" -o UserKnownHostsFile={os.devnull}"
    environ = git_environment() | {"GIT_SSH_COMMAND": ssh}
    environ.pop("SSH_AUTH_SOCK", None)

    with pytest.raises(ForgeDenied, match="ermission denied"):
        read(environ, server.url(remote.path))
