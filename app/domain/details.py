"""What a forge can tell of a push beyond where the ref points now: its commits and its author."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# As many as GitHub puts into a push event.
MOST_COMMITS = 20


@dataclass(frozen=True, slots=True)
class Person:
    """Who wrote, committed or pushed; ``username`` is the forge's, where it knows the account."""

    name: str
    email: str
    username: str | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of a push.

    ``added``, ``modified`` and ``removed`` are None where the forge did not tell; an empty tuple
    means that nothing was.
    """

    id: str
    message: str
    author: Person
    committer: Person
    committed_at: datetime
    tree_id: str | None = None
    url: str | None = None
    added: tuple[str, ...] | None = None
    modified: tuple[str, ...] | None = None
    removed: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Push:
    """One push as the forge itself noted it; ids are zeros where there was nothing.

    ``pusher`` and ``forced`` are None where it did not say.
    """

    ref: str
    before: str
    after: str
    at: datetime
    pusher: Person | None = None
    forced: bool | None = None


@dataclass(frozen=True, slots=True)
class Details:
    """What was found out about one change.

    ``commits`` are those that the push brought, newest last, at most 20 and the newest of them;
    ``total`` counts all, None where that is not known. For a new branch or a tag they are the one
    commit it points at, and so they are for a branch that was only taken back, whose ``total`` is
    0. ``forced`` and ``pusher`` are None where nobody told. ``pushed_at`` is the forge's own word,
    never a commit's date.
    """

    commits: tuple[Commit, ...] = ()
    total: int | None = None
    forced: bool | None = None
    pusher: Person | None = None
    pushed_at: datetime | None = None

    @property
    def head(self) -> Commit | None:
        """The newest commit."""
        return self.commits[-1] if self.commits else None

    @property
    def files(self) -> tuple[str, ...] | None:
        """Every file that the change touched, a renamed one by both names; None if not all told.

        The newest commit may tell those of all. Of what a branch lost, nobody tells the files.
        """
        if self.forced is not False or self.head is None or self.head.added is None:
            return None
        touched = (
            path
            for commit in self.commits
            for paths in (commit.added, commit.modified, commit.removed)
            for path in paths or ()
        )
        return tuple(dict.fromkeys(touched))


def commit_to_json(commit: Commit) -> dict[str, Any]:
    """Spell a commit as it is stored, and as the API lists it."""
    return {
        "id": commit.id,
        "message": commit.message,
        "author": person_to_json(commit.author),
        "committer": person_to_json(commit.committer),
        "committed_at": commit.committed_at.isoformat(),
        "tree_id": commit.tree_id,
        "url": commit.url,
        "added": _listed(commit.added),
        "modified": _listed(commit.modified),
        "removed": _listed(commit.removed),
    }


def commit_from_json(found: Mapping[str, Any]) -> Commit:
    """Read what ``commit_to_json`` spelled.

    >>> who = Person("Ada", "ada@example.com", "ada")
    >>> when = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
    >>> commit = Commit("a1", "Fix it", who, who, when, added=("x",))
    >>> commit_from_json(commit_to_json(commit)) == commit
    True
    """
    return Commit(
        id=found["id"],
        message=found["message"],
        author=Person(**found["author"]),
        committer=Person(**found["committer"]),
        committed_at=datetime.fromisoformat(found["committed_at"]),
        tree_id=found["tree_id"],
        url=found["url"],
        added=_kept(found["added"]),
        modified=_kept(found["modified"]),
        removed=_kept(found["removed"]),
    )


def person_to_json(person: Person) -> dict[str, Any]:
    """Spell a person as they are stored; ``Person(**found)`` reads it."""
    return {"name": person.name, "email": person.email, "username": person.username}


def _listed(paths: tuple[str, ...] | None) -> list[str] | None:
    return None if paths is None else list(paths)


def _kept(paths: list[str] | None) -> tuple[str, ...] | None:
    return None if paths is None else tuple(paths)
