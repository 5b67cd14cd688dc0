"""``reposentry watch`` in a person's hands: started twice, and started again."""

from pathlib import Path

import pytest

from tests.fakes.git_repository import GitRepository
from tests.fakes.process import RunningSentry, eventually

pytestmark = pytest.mark.slow

NO_REPOSITORY = "does not appear to be a git repository"


def test_a_second_watch_on_one_database_says_that_it_watches_nothing(tmp_path: Path) -> None:
    site = GitRepository.create(tmp_path / "site.git")
    shop = GitRepository.create(tmp_path / "shop.git")

    with RunningSentry("watch", str(site.path), folder=tmp_path) as first:
        first.wait_ready()
        with RunningSentry("watch", str(shop.path), folder=tmp_path) as second:
            second.wait_ready()
            eventually(lambda: "Stop: Ctrl-C" in second.output, deadline_s=10, what="a welcome")
            said = second.output

    assert "watches nothing until then" in said
    assert "--database sqlite:///" in said
    assert "\nWatching" not in said


def test_a_failure_and_its_end_are_told_at_every_start(tmp_path: Path) -> None:
    arguments = ("watch", "site.git", "--interval", "500ms")
    with RunningSentry(*arguments, folder=tmp_path) as first:
        eventually(lambda: NO_REPOSITORY in first.output, deadline_s=20, what="the failure is told")
        first.stop()

    with RunningSentry(*arguments, folder=tmp_path) as second:
        eventually(
            lambda: NO_REPOSITORY in second.output, deadline_s=20, what="the failure is told again"
        )
        GitRepository.create(tmp_path / "site.git").commit("refs/heads/main")
        eventually(
            lambda: "poll works again" in second.output, deadline_s=20, what="its end is told"
        )
