"""Git servers as others run them, and what each has taught us about the protocol over HTTP."""

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.domain.details import Details
from app.domain.errors import ForgeAnswerInvalid, ForgeDenied, ForgeError
from app.domain.event import record
from app.domain.refs import RefFilter
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.domain.snapshot import Change
from app.forges.client import HERE, RefsReply
from app.forges.git_http import GitHttp
from app.transport import Transport
from tests.fakes.git_repository import GitRepository
from tests.fakes.git_server import GitServer
from tests.fakes.nginx import Nginx, find_nginx
from tests.fakes.old_server import OldServer

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
PASSWORD = "correct-horse"  # noqa: S105 - a test's own
EVERYTHING = RefFilter(("*",), ("*",), wants_pulls=True)


@pytest.fixture
def client() -> Iterator[GitHttp]:
    transport = Transport(connections=4)
    yield GitHttp(transport, now=lambda: NOON)
    transport.close()


@pytest.fixture
def remote(tmp_path: Path) -> GitRepository:
    made = GitRepository.create(tmp_path / "site.git")
    made.git("config", "uploadpack.allowFilter", "true")
    made.commit()
    made.branch("feature/ß")
    made.tag("v1", annotated=True)
    return made


def site(url: str, *, password: str | None = None) -> Repository:
    credentials = ("ada", Secret(password)) if password else None
    return Repository("site", url, refs=EVERYTHING, credentials=credentials)


def poll(
    client: GitHttp, repository: Repository, validator: Mapping[str, str] | None = None
) -> RefsReply:
    return client.list_refs(repository, validator=validator or {}, timeout_s=10)


def describe(
    client: GitHttp, repository: Repository, ref: str, before: str | None, after: str
) -> Details | None:
    change = record(Change(ref, before, after), key="x", sequence=1, detected_at=NOON)
    return client.describe(repository, change=change, timeout_s=10)


# ---- nginx, fcgiwrap and git http-backend -----------------------------------------------------


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    programs = find_nginx()
    if programs is None:
        if os.environ.get("REPOSENTRY_TEST_SERVICES") == "required":
            pytest.fail("nginx and fcgiwrap are required and not installed")
        pytest.skip("nginx or fcgiwrap is not installed")
    with Nginx(tmp_path, programs, username="ada", password=PASSWORD) as server:
        yield server


def test_nginx_tells_who_signs_in_all_refs_and_what_a_push_brought(
    client: GitHttp, nginx: Nginx, remote: GitRepository
) -> None:
    watched = site(nginx.url("site.git"), password=PASSWORD)
    before = remote.refs()
    pull = "refs/pull/7/head"

    first = poll(client, watched)
    unchanged = poll(client, watched, first.validator)
    made = remote.commit(message="Hello ß")
    remote.move({pull: made})
    second = poll(client, watched, first.validator)

    assert (first.refs, first.default_branch, first.requests) == (before, "refs/heads/main", 2)
    assert (unchanged.refs, unchanged.requests) == (None, 1)
    assert (second.refs, second.requests) == ({**before, "refs/heads/main": made, pull: made}, 1)
    told = describe(client, watched, "refs/heads/main", before["refs/heads/main"], made)
    assert told is not None
    assert [(one.id, one.message) for one in told.commits] == [(made, "Hello ß")]
    assert (told.total, told.forced) == (1, False)


def test_nginx_tells_nobody_else_anything(
    client: GitHttp, nginx: Nginx, remote: GitRepository
) -> None:
    for password in (None, "wrong"):
        with pytest.raises(ForgeDenied) as refused:
            poll(client, site(nginx.url("site.git"), password=password))
        assert "wrong" not in str(refused.value).replace("wrong or expired", "")
    with pytest.raises(ForgeDenied, match="404"):
        poll(client, site(nginx.url("none.git"), password=PASSWORD))
    assert remote.refs()


def test_a_repository_of_sha256_is_read_and_described(
    client: GitHttp, nginx: Nginx, tmp_path: Path
) -> None:
    remote = GitRepository.create(tmp_path / "long.git", object_format="sha256")
    remote.git("config", "uploadpack.allowFilter", "true")
    before, after = remote.commit(), remote.commit()
    watched = site(nginx.url("long.git"), password=PASSWORD)

    assert poll(client, watched).refs == {"refs/heads/main": after}
    told = describe(client, watched, "refs/heads/main", before, after)
    assert told is not None
    assert [one.id for one in told.commits] == [after]


# ---- dulwich, which speaks version 0 ----------------------------------------------------------


def test_a_server_of_version_0_tells_all_refs(client: GitHttp, remote: GitRepository) -> None:
    remote.move({"refs/pull/7/head": remote.refs()["refs/heads/main"], "refs/notes/x": None})
    with OldServer(remote.path, "site.git") as server:
        first = poll(client, site(server.url))
        unchanged = poll(client, site(server.url), first.validator)
        told = describe(client, site(server.url), "refs/heads/main", None, "1" * 40)

    assert first.refs == remote.refs()
    assert (unchanged.refs, unchanged.requests) == (None, 1)
    assert told is None


def test_a_server_that_went_back_to_version_0_is_met_anew(
    client: GitHttp, remote: GitRepository, tmp_path: Path
) -> None:
    """It answers 500 to the question that was right a moment before."""
    with GitServer(tmp_path) as server:
        url = server.url("site.git")
        poll(client, site(url))
        port = int(server.address.rsplit(":", 1)[-1])

    with OldServer(remote.path, "site.git", port=port) as old:
        assert old.url == url
        reply = poll(client, site(url))

    assert reply.refs == remote.refs()
    assert reply.requests == 2


# ---- redirects, and answers that are none -----------------------------------------------------


@pytest.mark.parametrize("is_known", [False, True], ids=["at first", "when it is known"])
def test_a_repository_that_moved_is_followed_and_its_new_address_told(
    client: GitHttp, remote: GitRepository, tmp_path: Path, is_known: bool
) -> None:
    """A redirect would turn the question, which is posted, into another one."""
    with GitServer(tmp_path) as server:
        watched = site(server.url("former.git"))
        if is_known:
            (tmp_path / "former.git").symlink_to(remote.path)
            assert poll(client, watched).moved_to == HERE
        server.moved["former.git"] = server.url("site.git")
        server.requests.clear()
        first = poll(client, watched)
        asked = sum(server.requests.values())
        second = poll(client, watched, first.validator)
        del server.moved["former.git"]
        if not is_known:
            (tmp_path / "former.git").symlink_to(remote.path)
        server.moved["site.git"] = server.url("former.git")
        third = poll(client, watched, first.validator)
        fourth = poll(client, watched, first.validator)

    assert first.refs == remote.refs()
    assert first.moved_to == second.moved_to == server.url("site.git")
    assert third.moved_to == HERE
    assert fourth.moved_to is None
    assert (asked, second.requests) == (4 if is_known else 3, 1)
    assert second.refs is None


@pytest.mark.parametrize("fault", ["empty", "half", "garbage"])
@pytest.mark.parametrize("is_known", [False, True], ids=["at first", "when it is known"])
def test_an_answer_that_is_none_never_means_that_refs_are_gone(
    client: GitHttp, remote: GitRepository, tmp_path: Path, fault: str, is_known: bool
) -> None:
    with GitServer(tmp_path) as server:
        watched = site(server.url("site.git"))
        if is_known:
            poll(client, watched)
        server.fault = fault
        with pytest.raises(ForgeError) as failure:
            poll(client, watched)
        server.fault = None

        assert poll(client, watched).refs == remote.refs()

    assert isinstance(failure.value, ForgeAnswerInvalid)
