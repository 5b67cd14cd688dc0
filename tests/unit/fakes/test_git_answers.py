"""Git itself must understand what the fake forge says in git's protocol."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.git_repository import git_environment
from tests.fakes.github import FakeGitHub
from tests.fakes.hosting import HEADS, MAIN


@pytest.fixture
def forge() -> Iterator[FakeGitHub]:
    with FakeGitHub() as made:
        made.create("acme/site", branches=3)
        yield made


def git(*arguments: str, folder: Path) -> str:
    done = subprocess.run(  # noqa: S603 - the tests' own words
        ["git", "-c", "protocol.version=2", *arguments],  # noqa: S607 - the tests' git
        cwd=folder,
        env=git_environment(),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return done.stdout


def test_git_lists_the_refs(forge: FakeGitHub, tmp_path: Path) -> None:
    listed = git("ls-remote", "--symref", f"{forge.address}/acme/site", folder=tmp_path)
    pairs = (line.split("\t") for line in listed.splitlines())
    refs = {name: target for target, name in pairs if not target.startswith("ref: ")}
    standing = forge.hosting.get("acme/site").now.refs
    assert refs.pop("HEAD") == standing[MAIN]
    assert refs == dict(standing)
    assert listed.startswith("ref: refs/heads/main\tHEAD")


def test_git_lists_the_refs_under_a_repository_s_former_name(
    forge: FakeGitHub, tmp_path: Path
) -> None:
    forge.rename("acme/site", "acme/home")
    listed = git("ls-remote", "--heads", f"{forge.address}/acme/site", folder=tmp_path)
    assert len(listed.splitlines()) == 3


def test_git_fetches_commits_that_are_what_their_ids_say(forge: FakeGitHub, tmp_path: Path) -> None:
    last = forge.push("acme/site", commits=3)
    git("init", "-q", "here", folder=tmp_path)
    here = tmp_path / "here"
    git("fetch", "-q", "--filter=tree:0", f"{forge.address}/acme/site", "main", folder=here)
    assert git("rev-list", "--count", last, folder=here).strip() == "4"
    more = forge.push("acme/site", f"{HEADS}topic-0")
    git("fetch", "-q", "--depth=1", f"{forge.address}/acme/site", "topic-0", folder=here)
    assert more in git("cat-file", "--batch-check", "--batch-all-objects", folder=here)
