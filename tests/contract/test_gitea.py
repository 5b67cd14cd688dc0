"""What is peculiar to Gitea and Forgejo: their log of pushes, and repositories of every state."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.details import Person
from app.domain.errors import ForgeDenied
from app.domain.event import record
from app.domain.repository import Repository
from app.domain.snapshot import Change
from app.forges.gitea import Gitea
from app.transport import Transport
from tests.contract.git_clients import EVERYTHING, NAME, NOON, noon
from tests.fakes.forge import Forge
from tests.fakes.git_repository import GitRepository

MAIN = "refs/heads/main"
FIRST, SECOND, THIRD = "1" * 40, "2" * 40, "3" * 40


def entry(
    ref: str, before: str, after: str, at: str, *, op_type: str = "commit_repo", **more: Any
) -> dict[str, Any]:
    """Spell an entry of the log as Gitea 1.20 has it."""
    commit = {"Sha1": after, "Message": "x\n", "AuthorEmail": "a@b.invalid", "AuthorName": "A"}
    content = {
        "Commits": [commit],
        "HeadCommit": commit,
        "CompareURL": f"acme/site/compare/{before}...{after}" if before else "",
        "Len": 1,
    }
    return {
        "id": 7,
        "user_id": 1,
        "op_type": op_type,
        "act_user_id": 1,
        "act_user": {"id": 1, "login": "ada", "full_name": "Ada L.", "email": "ada@example.com"},
        "repo_id": 1,
        "ref_name": ref,
        "is_private": False,
        "content": json.dumps(content),
        "created": at,
    } | more


@pytest.fixture
def forge() -> Iterator[Forge]:
    with Forge("gitea", token="t0ken") as made:  # noqa: S106 - a fake forge's
        yield made


@pytest.fixture
def client(forge: Forge) -> Iterator[Gitea]:
    transport = Transport()
    yield Gitea(transport, forge.settings(), now=noon)
    transport.close()


def site(forge: Forge) -> Repository:
    return Repository(NAME, f"{forge.address}/{NAME}.git", forge="gitea", refs=EVERYTHING)


def say(forge: Forge, found: object) -> None:
    forge.says = (200, [("Content-Type", "application/json")], json.dumps(found).encode())


def test_the_log_of_pushes_is_read_oldest_first_and_each_push_once(
    forge: Forge, client: Gitea
) -> None:
    say(
        forge,
        [
            entry(MAIN, SECOND, FIRST, "2026-11-01T13:00:20+01:00", act_user=None),
            entry(MAIN, FIRST, SECOND, "2026-11-01T12:00:10Z"),
            entry(MAIN, FIRST, SECOND, "2026-11-01T12:00:10Z", user_id=2),
            entry(
                "refs/heads/x", SECOND, THIRD, "2026-11-01T12:00:05Z", op_type="mirror_sync_push"
            ),
            entry(MAIN, THIRD, FIRST, "2026-11-01T11:59:59Z"),
        ],
    )

    told = client.pushes(site(forge), since=NOON, timeout_s=5)

    assert told is not None
    assert [(one.ref, one.before, one.after) for one in told] == [
        ("refs/heads/x", SECOND, THIRD),
        (MAIN, FIRST, SECOND),
        (MAIN, SECOND, FIRST),
    ]
    assert told[1].pusher == Person("Ada L.", "ada@example.com", "ada")
    assert told[2].pusher is None
    assert told[2].at == datetime(2026, 11, 1, 12, 0, 20, tzinfo=UTC)


def test_what_the_log_does_not_tell_whole_is_left_out(forge: Forge, client: Gitea) -> None:
    at = "2026-11-01T12:00:10Z"
    say(
        forge,
        [
            entry(MAIN, "", FIRST, at),
            entry(MAIN, "main", FIRST, at),
            entry(MAIN, FIRST, SECOND, at, op_type="delete_branch", content=""),
            entry("refs/tags/v1", FIRST, SECOND, at, op_type="push_tag"),
            entry(MAIN, FIRST, SECOND, at, op_type="create_issue", content="1|A title"),
        ],
    )

    assert client.pushes(site(forge), since=NOON - timedelta(hours=1), timeout_s=5) == ()


@pytest.mark.parametrize("found", [{}, [7], [{"op_type": "commit_repo", "content": "{"}]])
def test_an_odd_log_is_none(forge: Forge, client: Gitea, found: object) -> None:
    say(forge, found)

    assert not client.pushes(site(forge), since=NOON, timeout_s=5)


def test_a_gitea_without_a_log_tells_none(forge: Forge, client: Gitea, tmp_path: Path) -> None:
    forge.repositories[NAME] = GitRepository.create(tmp_path / "site.git")

    assert client.pushes(site(forge), since=NOON, timeout_s=5) is None


@pytest.mark.parametrize("merges", [False, True])
def test_the_files_of_a_push_with_a_merge_in_it_are_not_told(
    forge: Forge, client: Gitea, tmp_path: Path, *, merges: bool
) -> None:
    remote = forge.repositories[NAME] = GitRepository.create(tmp_path / "site.git")
    before = remote.commit(files={"a": "1"})
    other = remote.make_commit(before, files={"a": "1", "b": "1"})
    ours = remote.make_commit(before, files={"a": "2"})
    if merges:
        ours = remote.make_commit(ours, other, files={"a": "2", "b": "1"})
    remote.move({MAIN: ours})
    after = remote.commit(files={"a": "3", "b": "1"})
    change = record(Change(MAIN, before, after), key=NAME, sequence=1, detected_at=NOON)

    told = client.describe(site(forge), change=change, timeout_s=5)

    assert told is not None
    assert (told.total, told.forced) == (4 if merges else 2, False)
    assert told.files == (None if merges else ("a", "b"))


def test_an_empty_repository_has_no_refs_and_is_no_error(
    forge: Forge, client: Gitea, tmp_path: Path
) -> None:
    forge.repositories[NAME] = GitRepository.create(tmp_path / "site.git")

    assert client.list_refs(site(forge), validator={}, timeout_s=5).refs == {}


def test_a_private_repository_that_is_hidden_is_denied(forge: Forge, client: Gitea) -> None:
    with pytest.raises(ForgeDenied, match="no such repository, or no access"):
        client.list_refs(site(forge), validator={}, timeout_s=5)


def test_a_renamed_repository_says_where_it_is_now(
    forge: Forge, client: Gitea, tmp_path: Path
) -> None:
    forge.renamed[NAME] = "acme/new-site"
    remote = forge.repositories["acme/new-site"] = GitRepository.create(tmp_path / "site.git")
    remote.commit()

    reply = client.list_refs(site(forge), validator={}, timeout_s=5)

    assert (reply.refs, reply.moved_to) == (remote.refs(), f"{forge.address}/acme/new-site.git")
