"""A small git repository that lives: the pushes that ``reposentry demo`` watches."""

import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path

from app.domain.errors import RepoSentryError

DEADLINE_S = 30.0
MAIN = "refs/heads/main"
TOPIC = "refs/heads/feature/greeting"

# A Ctrl-C that is meant for us also reaches our children, unless they are a group of their own.
NEW_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)

# Whatever the user's own git is set to must not decide what the demonstration looks like.
IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada Demo",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada Demo",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
}


class GitMissing(RepoSentryError):
    """The git command is needed and is not there."""

    code = "git_missing"


class DemoRepository:
    """A bare repository, changed by git's plumbing as pushes would change it."""

    def __init__(self, path: Path, environ: dict[str, str]) -> None:
        """Make it, with one commit on main.

        Raises:
            GitMissing: There is no git command.
        """
        self.path = path
        self._environ = {**environ, **IDENTITY, "GIT_CONFIG_GLOBAL": str(path / "no-config")}
        self._version = 0
        path.mkdir(parents=True)
        self._git("init", "--quiet", "--bare", "--initial-branch=main", ".")
        self._move(MAIN, self._commit("Begin the website", parent=None))

    def pushes(self) -> Iterator[str]:
        """Push one change each time it is asked, for ever; tell what was done."""
        for round_number in itertools.count(1):
            base = self._read(MAIN)
            yield self._push(MAIN, "Describe the opening hours", parent=base)
            yield self._push(TOPIC, "Greet in three languages", parent=base)
            yield self._push(MAIN, "Mend the navigation on phones", parent=self._read(MAIN))
            yield self._push(TOPIC, "Greet in four languages", parent=base) + " (forced)"
            tag = f"refs/tags/v1.{round_number}"
            self._move(tag, self._read(MAIN))
            yield f"tagged {tag.removeprefix('refs/tags/')}"
            self._git("update-ref", "-d", TOPIC)
            yield f"deleted {TOPIC.removeprefix('refs/heads/')}"

    def _push(self, ref: str, message: str, *, parent: str) -> str:
        self._move(ref, self._commit(message, parent=parent))
        return f"pushed «{message}» to {ref.removeprefix('refs/heads/')}"

    def _commit(self, message: str, *, parent: str | None) -> str:
        self._version += 1
        page = self._git("hash-object", "-w", "--stdin", text=f"<h1>Version {self._version}</h1>\n")
        tree = self._git("mktree", text=f"100644 blob {page}\tindex.html\n")
        parents = ("-p", parent) if parent else ()
        return self._git("commit-tree", tree, *parents, text=f"{message}\n")

    def _move(self, ref: str, commit: str) -> None:
        self._git("update-ref", ref, commit)

    def _read(self, ref: str) -> str:
        return self._git("rev-parse", ref)

    def _git(self, *arguments: str, text: str = "") -> str:
        try:
            done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
                ["git", *arguments],  # noqa: S607 - the user's own git, by its name
                cwd=self.path,
                env=self._environ,
                input=text.encode(),
                capture_output=True,
                check=True,
                timeout=DEADLINE_S,
                start_new_session=True,  # as NEW_GROUP, where there is no Windows
                creationflags=NEW_GROUP,
            )
        except FileNotFoundError as error:
            raise GitMissing("the demonstration needs the git command; install git") from error
        return done.stdout.decode().strip()
