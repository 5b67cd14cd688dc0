"""What stands in netrc signs in to its host, and to no other."""

import logging
import os
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.domain.errors import ForgeSignInRefused
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.forges import Forges
from app.forges.netrc import Netrc
from app.settings.types import Forge
from tests.fakes.git_repository import GitRepository
from tests.fakes.git_server import GitServer

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
ENTRY = "machine git.example.com login ada password s3cret\n"


def site(url: str = "https://git.example.com/site") -> Repository:
    return Repository("site", url)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / ".netrc"


def test_an_entry_is_for_its_host_alone(file: Path) -> None:
    file.write_text(ENTRY + "default login root password toor\n")
    netrc = Netrc((file,))

    assert netrc.signed(site()) == ("ada", Secret("s3cret"))
    assert netrc.signed(site("http://GIT.example.com:8080/x")) == ("ada", Secret("s3cret"))
    for url in ("https://example.com/x", "https://a.git.example.com/x", "ssh://git.example.com/x"):
        assert netrc.signed(site(url)) is None


def test_a_file_is_read_when_it_is_there_and_when_it_has_changed(file: Path) -> None:
    netrc = Netrc((file,))
    before = netrc.signed(site())
    file.write_text(ENTRY)
    then = netrc.signed(site())
    file.write_text(ENTRY.replace("s3cret", "another"))
    os.utime(file, ns=(1, 1))
    changed = netrc.signed(site())
    file.unlink()

    assert [before, then, changed, netrc.signed(site())] == [
        None,
        ("ada", Secret("s3cret")),
        ("ada", Secret("another")),
        None,
    ]


@pytest.mark.parametrize(
    "text", ["machine git.example.com login ada passwort s3cret\n", "s3cret", "\udcff s3cret"]
)
def test_a_broken_file_is_warned_of_once_without_its_words(
    file: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_bytes(text.encode(errors="surrogateescape"))
    netrc = Netrc((file,))

    with caplog.at_level(logging.WARNING):
        found = [netrc.signed(site()) for _ in range(3)]

    assert found == [None] * 3
    assert len(caplog.records) == 1
    assert not any("s3cret" in str(record.__dict__) for record in caplog.records)


def test_the_environment_may_name_another_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(ENTRY)
    monkeypatch.setenv("HOME", str(file.parent))
    monkeypatch.setenv("USERPROFILE", str(file.parent))

    assert Netrc.of_user({"NETRC": str(file)}).signed(site()) == ("ada", Secret("s3cret"))
    assert Netrc.of_user({}).signed(site()) == ("ada", Secret("s3cret"))
    assert Netrc.of_user({"NETRC": str(file) + ".not"}).signed(site()) is None


@pytest.fixture
def server(tmp_path: Path) -> GitServer:
    GitRepository.create(tmp_path / "git" / "site.git").commit()
    return GitServer(tmp_path / "git", username="ada", password="s3cret")  # noqa: S106 - a test's


def test_a_repository_is_read_with_what_stands_there(
    server: GitServer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(ENTRY.replace("git.example.com", "127.0.0.1"))
    monkeypatch.setenv("NETRC", str(file))
    with server:
        forges = Forges({}, now=lambda: NOON, connections=1)
        watched = site(server.url("site.git"))

        reply = forges.client_for(watched).list_refs(watched, validator={}, timeout_s=10)

        forges.close()
    assert (reply.read_by, len(reply.refs or {})) == ("ls-refs", 1)


@pytest.mark.parametrize(("name", "is_theirs"), [("ada", True), ("bob", False)])
def test_a_name_in_the_url_gets_the_password_that_stands_there_for_it(
    name: str, is_theirs: bool, server: GitServer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(ENTRY.replace("git.example.com", "127.0.0.1"))
    monkeypatch.setenv("NETRC", str(file))
    with server:
        forges = Forges({}, now=lambda: NOON, connections=1)
        watched = Repository("site", server.url("site.git"), credentials=(name, Secret("")))
        expected = nullcontext() if is_theirs else pytest.raises(ForgeSignInRefused)

        with expected:
            forges.client_for(watched).list_refs(watched, validator={}, timeout_s=10)

        forges.close()


@pytest.mark.parametrize("how", ["url", "forge"])
def test_credentials_of_the_url_and_of_the_forge_go_first(
    how: str, server: GitServer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(ENTRY.replace("git.example.com", "127.0.0.1"))
    monkeypatch.setenv("NETRC", str(file))
    wrong = Secret("wrong")
    with server:
        forge = Forge("work", "gitea", server.address, None, tokens=(wrong,))
        forges = Forges({"work": forge}, now=lambda: NOON, connections=1)
        credentials = ("ada", wrong) if how == "url" else None
        watched = Repository("site", server.url("site.git"), forge="work", credentials=credentials)

        for _ in range(2):
            with pytest.raises(ForgeSignInRefused):
                forges.client_for(watched).list_refs(watched, validator={}, timeout_s=10)

        forges.close()
