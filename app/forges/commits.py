"""What every way of describing a change does with the commits that it was told of."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from app.domain.details import MOST_COMMITS, Commit, Person
from app.domain.errors import ForgeError
from app.domain.event import Event
from app.domain.refs import is_tag

log = logging.getLogger(__name__)

T = TypeVar("T")

# Choices. An answer that is larger is dropped: the patches that forges send along may be endless,
# and none of them is used.
LIMIT_BYTES = 4 * 1024 * 1024
LONGEST_MESSAGE = 10_000
LONGEST_WORD = 500  # of a name, an address of mail, a URL
# As many as GitHub's comparison tells; a list of that length may be cut.
MOST_FILES = 300
# Of all their paths together; more would make a delivery that some databases and receivers refuse.
MOST_LETTERS = 100_000

# What a forge's word for a file means here. One whose content stays as it was is left out; whatever
# another word says, something about the file did change.
_UNCHANGED = "unchanged"
_SORTS = {
    "added": "added",
    "copied": "added",
    "renamed": "added",
    "modified": "modified",
    "changed": "modified",
    "removed": "removed",
    "deleted": "removed",
}
_ODD = (ForgeError, LookupError, TypeError, AttributeError, ValueError, ArithmeticError)


@dataclass(frozen=True, slots=True)
class File:
    """A file that changed: the forge's word for how, where it is, and where it was before."""

    status: str
    path: str
    former: str | None = None


def told(ask: Callable[[], T | None], what: str = "change not described") -> T | None:
    """Return what was answered; None where it failed or makes no sense, and a line in the log."""
    try:
        return ask()
    except _ODD as error:
        sort = type(error).__name__
        log.debug(what, extra={"error": f"{sort}: {error}"[:300]})
        return None


def has_base(change: Event) -> bool:
    """Tell whether there is something to compare with.

    There is none for a new branch, nor for a tag: a forge may know a tag's object by its name only.
    """
    return change.kind.change == "updated" and not is_tag(change.ref)


def is_forced(change: Event, parents: Iterable[Sequence[str]]) -> bool:
    """Tell from all commits that a branch gained whether it lost some.

    Where it lost none, the first that it gained stands on the one where it was.
    """
    return not any(change.before in of_one for of_one in parents)


def newest(commits: Sequence[Commit], change: Event) -> tuple[Commit, ...]:
    """Return the newest commits, the newest last, whichever way round they were told.

    Raises:
        ValueError: Where the ref points now is at neither end.
    """
    ordered = list(commits)
    if ordered and ordered[-1].id != change.after:
        ordered.reverse()
    if ordered and ordered[-1].id != change.after:
        raise ValueError("the commits do not lead to where the ref is")
    return tuple(ordered[-MOST_COMMITS:])


def with_files(commit: Commit, files: Sequence[File] | None) -> Commit:
    """Tell on a commit which files changed; nothing where they are not known, or too many."""
    if files is None or len(files) >= MOST_FILES:
        return commit
    if sum(len(file.path) + len(file.former or "") for file in files) > MOST_LETTERS:
        return commit
    # Dictionaries, to name each once and in the order they came.
    sorts: dict[str, dict[str, None]] = {"added": {}, "modified": {}, "removed": {}}
    for file in files:
        if file.status != _UNCHANGED:
            sort = _SORTS.get(file.status, "modified")
            sorts[sort][text(file.path, LONGEST_MESSAGE)] = None
        if file.status == "renamed" and file.former:
            sorts["removed"][text(file.former, LONGEST_MESSAGE)] = None
    return replace(
        commit,
        added=tuple(sorts["added"]),
        modified=tuple(sorts["modified"]),
        removed=tuple(sorts["removed"]),
    )


def whole(told_of: Sequence[Commit], total: int) -> tuple[Commit, ...]:
    """Return commits that have their own files: with the files of all, or else of none.

    Who reads the files of a push takes them for all, as Argo CD does.
    """
    is_whole = len(told_of) == total and all(commit.added is not None for commit in told_of)
    if is_whole and sum(map(_letters, told_of)) <= MOST_LETTERS:
        return tuple(told_of)
    return tuple(replace(commit, added=None, modified=None, removed=None) for commit in told_of)


def _letters(commit: Commit) -> int:
    lists = (commit.added, commit.modified, commit.removed)
    return sum(len(path) for paths in lists for path in paths or ())


def person(name: Any, email: Any, username: Any = None) -> Person:
    """Return who a commit names; an account only where the forge knows one."""
    account = text(username, LONGEST_WORD) if username else None
    return Person(text(name or "", LONGEST_WORD), text(email or "", LONGEST_WORD), account)


def moment(told_at: str) -> datetime:
    """Read a date as forges and git write it, with its own zone; in UTC where it has none.

    >>> moment("2026-03-01T12:00:00.000+02:00").isoformat(), moment("2026-03-01T12:00:00Z").hour
    ('2026-03-01T12:00:00+02:00', 12)

    Raises:
        ArithmeticError: In UTC it is no date: whoever commits may write what they like.
    """
    read = datetime.fromisoformat(told_at)
    read = read if read.tzinfo else read.replace(tzinfo=UTC)
    read.astimezone(UTC)
    return read


def text(found: Any, longest: int) -> str:
    r"""Return a text that can be shown and stored everywhere, cut where it is too long.

    >>> text("a\0b\ud800", 10), text("abc", 2)
    ('ab?', 'ab')

    Raises:
        TypeError: It is none.
    """
    if not isinstance(found, str):
        raise TypeError(f"a text was expected, not {type(found).__name__}")
    return found[:longest].replace("\0", "").encode(errors="replace").decode()
