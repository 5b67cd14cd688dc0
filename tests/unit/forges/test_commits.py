"""What forges tell of commits is held to what can be stored, spelled and sent."""

from datetime import UTC, datetime

import pytest

from app.domain.details import Commit, Person
from app.forges import commits

ADA = Person("Ada", "ada@example.com")
COMMIT = Commit("a" * 40, "Fix it", ADA, ADA, datetime(2026, 3, 1, tzinfo=UTC))


@pytest.mark.parametrize("date", ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+14:00"])
def test_a_date_that_utc_cannot_hold_is_not_told(date: str) -> None:
    with pytest.raises(ArithmeticError):
        commits.moment(date)


def test_a_few_hundred_paths_are_told() -> None:
    files = [commits.File("added", f"src/{n}.py") for n in range(commits.MOST_FILES - 1)]

    assert len(commits.with_files(COMMIT, files).added or ()) == len(files)


def test_a_file_of_which_a_forge_says_what_nobody_knows_has_changed() -> None:
    files = [
        commits.File("subrepo conflict", "lib"),
        commits.File("unchanged", "same"),
        commits.File("type changed", "link"),
    ]

    told = commits.with_files(COMMIT, files)

    assert (told.added, told.modified, told.removed) == ((), ("lib", "link"), ())


def test_paths_without_end_are_not_told_at_all() -> None:
    files = [commits.File("added", f"{n}/{'x' * 4000}") for n in range(50)]

    assert commits.with_files(COMMIT, files) == COMMIT


def test_paths_of_many_commits_that_are_without_end_together_are_told_of_none() -> None:
    files = [commits.File("added", f"{n:02}/{'x' * 4997}") for n in range(12)]
    one = commits.with_files(COMMIT, files)

    assert commits.whole([one], 1) == (one,)
    assert commits.whole([one, one], 2) == (COMMIT, COMMIT)
