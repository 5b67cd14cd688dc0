"""A bare repository that a test moves as it likes, by git itself and quickly."""

import os
import subprocess
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Self

# 2026-01-01T00:00:00Z; each object is a second younger than the one before it.
FIRST_SECOND = 1_767_225_600

# Nothing of the machine's or the user's configuration may change what a test sees.
ISOLATED = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "LC_ALL": "C.UTF-8",
}


def git_environment() -> dict[str, str]:
    """Return this process's environment without the user's git settings."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    return inherited | ISOLATED


class GitRepository:
    """A bare repository; every commit has a fixed author and its own second.

    A commit has the empty tree unless it is given files. Two repositories that are moved alike hold
    the same ids.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seconds = count(FIRST_SECOND)
        self._environment = git_environment() | {"GIT_DIR": str(path)}
        self._tree: str | None = None

    @classmethod
    def create(
        cls, path: Path, *, object_format: str = "sha1", default_branch: str = "main"
    ) -> Self:
        """Make an empty bare repository at ``path``; ``object_format`` is sha1 or sha256."""
        path.parent.mkdir(parents=True, exist_ok=True)
        repository = cls(path)
        options = [f"--object-format={object_format}", f"--initial-branch={default_branch}"]
        repository.git("init", "--quiet", "--bare", "--template=", *options)
        return repository

    def git(self, *arguments: str, stdin: str = "") -> str:
        """Run one git command in the repository and return what it printed, stripped."""
        second = next(self._seconds)
        dates = {"GIT_AUTHOR_DATE": f"{second} +0000", "GIT_COMMITTER_DATE": f"{second} +0000"}
        finished = subprocess.run(  # noqa: S603 - a test's own words
            ["git", *arguments],  # noqa: S607 - the git that the tests' user has
            check=True,
            env=self._environment | dates,
            input=stdin.encode(),
            stdout=subprocess.PIPE,
        )
        return finished.stdout.decode().strip()

    def make_commit(
        self, *parents: str, message: str = "A change", files: Mapping[str, str] | None = None
    ) -> str:
        """Write a commit that no ref points at yet, and return its id.

        ``files`` are all that it holds, by their names at the root: none, if not given.
        """
        if self._tree is None:
            self._tree = self.git("mktree")
        tree = self._make_tree(files) if files else self._tree
        from_parents = [word for parent in parents for word in ("-p", parent)]
        return self.git("commit-tree", *from_parents, tree, stdin=message)

    def _make_tree(self, files: Mapping[str, str]) -> str:
        blobs = {
            name: self.git("hash-object", "-w", "--stdin", stdin=content)
            for name, content in files.items()
        }
        entries = [f"100644 blob {blob}\t{name}\0" for name, blob in blobs.items()]
        return self.git("mktree", "-z", stdin="".join(entries))

    def commit(
        self,
        branch: str = "main",
        *,
        message: str = "A change",
        files: Mapping[str, str] | None = None,
    ) -> str:
        """Add a commit to a branch, making the branch where it is new, and return its id."""
        ref = f"refs/heads/{branch}"
        tip = self.refs().get(ref)
        made = self.make_commit(*([tip] if tip else []), message=message, files=files)
        self.move({ref: made})
        return made

    def branch(self, *names: str, at: str | None = None) -> str:
        """Point branches at a commit (the tip of main by default), all at once."""
        target = at or self.refs()["refs/heads/main"]
        self.move({f"refs/heads/{name}": target for name in names})
        return target

    def tag(
        self, name: str, *, at: str | None = None, annotated: bool = False, message: str = "A tag"
    ) -> str:
        """Make a tag and return the id that its ref holds: of the tag object, if annotated."""
        target = at or self.refs()["refs/heads/main"]
        if not annotated:
            self.move({f"refs/tags/{name}": target})
            return target
        self.git("tag", "--annotate", "--force", "-m", message, "--", name, target)
        return self.refs()[f"refs/tags/{name}"]

    def force(self, branch: str = "main", *, message: str = "Another history") -> str:
        """Replace a branch by a new root commit, as a force push does, and return its id."""
        made = self.make_commit(message=message)
        self.move({f"refs/heads/{branch}": made})
        return made

    def delete(self, *refs: str) -> None:
        """Delete refs, given by their full names or as branches."""
        full = [ref if ref.startswith("refs/") else f"refs/heads/{ref}" for ref in refs]
        self.move(dict.fromkeys(full))

    def move(self, refs: Mapping[str, str | None]) -> None:
        """Set many full ref names in one transaction; None deletes."""
        lines = [
            f"delete {ref}\0\0" if target is None else f"update {ref}\0{target}\0\0"
            for ref, target in refs.items()
        ]
        self.git("update-ref", "-z", "--no-deref", "--stdin", stdin="".join(lines))

    def refs(self) -> dict[str, str]:
        """Return every ref by its full name, tags by their own object's id."""
        listing = self.git("for-each-ref", "--format=%(objectname) %(refname)")
        pairs = (line.split(" ", 1) for line in listing.splitlines())
        return {ref: target for target, ref in pairs}

    def push(self, url: str, *refspecs: str) -> None:
        """Push to another repository as a user's git does; everything by default."""
        self.git("push", "--quiet", "--force", "--", url, *(refspecs or ("refs/*:refs/*",)))
