"""Repositories that a fake forge holds in memory: refs, real commit ids, and a log of pushes.

What is asked by different ways can differ for a while, as on a real forge: each *surface* (listing,
graphql, branches, git) may lag, or show what was when it began to lie.
"""

import hashlib
import itertools
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

HEADS, TAGS = "refs/heads/", "refs/tags/"
MAIN = HEADS + "main"
ZEROS = "0" * 40
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # git's own constant
MOST_REMEMBERED = 400  # a choice: pushes a repository remembers, for lags, lies and its log


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit without files; ``number`` makes it unlike any other."""

    parent: str | None
    message: str
    at_s: int
    author: str = "Ada"

    @property
    def email(self) -> str:
        """The author's address."""
        return f"{self.author.lower()}@example.com"

    @property
    def content(self) -> bytes:
        """The object as git stores it."""
        who = f"{self.author} <{self.email}> {self.at_s} +0000"
        parent = f"parent {self.parent}\n" if self.parent else ""
        return (
            f"tree {EMPTY_TREE}\n{parent}author {who}\ncommitter {who}\n\n{self.message}\n"
        ).encode()

    @property
    def id(self) -> str:
        """The id that git gives it."""
        content = self.content
        return hashlib.sha1(b"commit %d\0" % len(content) + content).hexdigest()  # noqa: S324 - git's


@dataclass(frozen=True, slots=True)
class Standing:
    """All refs at one moment, and when somebody last pushed; ``version`` counts the pushes."""

    at_s: float
    refs: Mapping[str, str]
    pushed_s: int
    version: int = 0


@dataclass(frozen=True, slots=True)
class Pushed:
    """One push to one ref, as a forge's own log tells it."""

    number: int
    ref: str
    before: str
    after: str
    at_s: float
    sort: str  # push, force_push, branch_creation, branch_deletion
    pusher: str = "ada"


@dataclass(frozen=True, slots=True)
class Showing:
    """How a surface shows things: ``lag_s`` too late, and nothing since ``lies_since_s``."""

    lag_s: float = 0.0
    lies_since_s: float | None = None
    fails: bool = False

    def moment(self, now_s: float) -> float:
        """Return up to when pushes are shown."""
        shown = now_s - self.lag_s
        return shown if self.lies_since_s is None else min(shown, self.lies_since_s)


HONEST = Showing()


@dataclass(slots=True)
class Hosted:
    """One repository; ``state`` is ok, or blocked (for legal reasons)."""

    id: int
    owner: str
    name: str
    commits: dict[str, Commit] = field(default_factory=dict)
    history: list[Standing] = field(default_factory=list)
    log: deque[Pushed] = field(default_factory=lambda: deque(maxlen=MOST_REMEMBERED))
    default_branch: str = "main"
    is_private: bool = False
    is_archived: bool = False
    is_disabled: bool = False
    state: str = "ok"
    created_s: int = 0

    @property
    def full_name(self) -> str:
        """Its name with its owner's."""
        return f"{self.owner}/{self.name}"

    @property
    def now(self) -> Standing:
        """How it stands in truth."""
        return self.history[-1]

    def shown(self, showing: Showing, now_s: float) -> Standing:
        """Return how a surface shows it."""
        if showing is HONEST:
            return self.history[-1]
        found = bisect_right(self.history, showing.moment(now_s), key=lambda one: one.at_s)
        return self.history[max(0, found - 1)]

    def ancestry(self, commit: str) -> Iterator[str]:
        """Walk from a commit to the first one."""
        at: str | None = commit
        while at is not None and at in self.commits:
            yield at
            at = self.commits[at].parent


class Hosting:
    """The repositories of many owners; not safe for many threads: the server's lock is.

    ``now`` is the clock, in seconds since 1970. ``on_push`` is told of every change of refs.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self.on_push: Callable[[Hosted], None] = lambda _: None
        self.by_id: dict[int, Hosted] = {}
        self.by_name: dict[str, Hosted] = {}  # lower case
        self.former: dict[str, int] = {}  # lower case, of repositories that were renamed
        self.by_owner: dict[str, list[Hosted]] = {}  # lower case
        self.users: set[str] = set()  # owners that are no organisations; lower case
        self.showing: dict[tuple[str, str], Showing] = {}  # by surface and owner, or *
        self.versions: dict[str, int] = {}  # by owner: changes whatever a list of theirs shows
        self._numbers = itertools.count(1)
        self._commits = itertools.count(1)

    def create(self, full_name: str, *, branches: int = 1, pushed_s: float | None = None) -> Hosted:
        """Make a repository with one commit, or an empty one if it has no ``branches``."""
        owner, _, name = full_name.partition("/")
        at_s = self.now() if pushed_s is None else pushed_s
        made = Hosted(next(self._numbers), owner, name, created_s=int(at_s))
        refs = {}
        if branches:
            first = self._commit(made, None, at_s)
            more = (f"{HEADS}topic-{number}" for number in range(branches - 1))
            refs = dict.fromkeys((MAIN, *more), first)
        made.history.append(Standing(at_s, refs, int(at_s)))
        self.by_id[made.id] = made
        self.by_name[full_name.lower()] = made
        self.by_owner.setdefault(owner.lower(), []).append(made)
        self._changed(owner)
        return made

    def populate(self, *, organisations: int, repositories: int, branches: int = 3) -> list[str]:
        """Make a fleet, spread over organisations, and return its names."""
        names = []
        since_s = self.now() - 86_400
        for number in range(repositories):
            name = f"org-{number % organisations:03}/repo-{number // organisations:04}"
            # Nobody's last push is at the same second as another's.
            self.create(name, branches=branches, pushed_s=since_s + number)
            names.append(name)
        return names

    def find(self, full_name: str) -> Hosted | None:
        """Return a repository by the name it has now."""
        return self.by_name.get(full_name.lower())

    def get(self, full_name: str) -> Hosted:
        """Return a repository that is known to be there."""
        return self.by_name[full_name.lower()]

    def moved(self, full_name: str) -> Hosted | None:
        """Return a repository by a name that it had."""
        return self.by_id.get(self.former.get(full_name.lower(), 0))

    def push(
        self, full_name: str, ref: str = MAIN, *, commits: int = 1, force: bool = False
    ) -> str:
        """Put commits on top of a ref, or a history of its own if ``force``; return the last."""
        hosted = self.get(full_name)
        tip = None if force else hosted.now.refs.get(ref)
        for _ in range(commits):
            tip = self._commit(hosted, tip, self.now())
        assert tip is not None
        self.move(full_name, {ref: tip})
        return tip

    def move(self, full_name: str, refs: Mapping[str, str | None]) -> None:
        """Point refs elsewhere, all at once; None deletes one."""
        hosted, now_s = self.get(full_name), self.now()
        after = dict(hosted.now.refs)
        for ref, commit in refs.items():
            before = after.pop(ref, ZEROS)
            if commit is not None:
                after[ref] = commit
            sort = self._sort(hosted, before, commit)
            entry = Pushed(len(hosted.log) + 1, ref, before, commit or ZEROS, now_s, sort)
            hosted.log.append(entry)
        hosted.history.append(Standing(now_s, after, int(now_s), hosted.now.version + 1))
        del hosted.history[:-MOST_REMEMBERED]
        self._changed(hosted.owner)
        self.on_push(hosted)

    def rename(self, full_name: str, new_name: str) -> None:
        """Give a repository another name; the old one leads to it."""
        hosted = self.by_name.pop(full_name.lower())
        self.by_owner[hosted.owner.lower()].remove(hosted)
        self._changed(hosted.owner)
        self.former[full_name.lower()] = hosted.id
        hosted.owner, _, hosted.name = new_name.partition("/")
        self.by_name[new_name.lower()] = hosted
        self.by_owner.setdefault(hosted.owner.lower(), []).append(hosted)
        self._changed(hosted.owner)

    def delete(self, full_name: str) -> None:
        """Take a repository away."""
        hosted = self.by_name.pop(full_name.lower())
        del self.by_id[hosted.id]
        self.by_owner[hosted.owner.lower()].remove(hosted)
        self._changed(hosted.owner)

    def change(self, full_name: str, **facts: object) -> None:
        """Set what a repository says of itself: ``is_archived``, ``state`` and so on."""
        hosted = self.get(full_name)
        for name, value in facts.items():
            setattr(hosted, name, value)
        self._changed(hosted.owner)

    def show(self, surface: str, owner: str, showing: Showing) -> None:
        """Let a surface lag, lie or fail, for one owner's repositories, or for all with ``*``."""
        self.showing[surface, owner.lower()] = showing

    def how(self, surface: str, owner: str) -> Showing:
        """Return how a surface shows an owner's repositories."""
        if not self.showing:
            return HONEST
        everyone = self.showing.get((surface, "*"), HONEST)
        return self.showing.get((surface, owner.lower()), everyone)

    def _changed(self, owner: str) -> None:
        self.versions[owner.lower()] = self.versions.get(owner.lower(), 0) + 1

    def _commit(self, hosted: Hosted, parent: str | None, at_s: float) -> str:
        number = next(self._commits)
        made = Commit(parent, f"Change {number} of {hosted.full_name}", int(at_s))
        hosted.commits[made.id] = made
        return made.id

    @staticmethod
    def _sort(hosted: Hosted, before: str, after: str | None) -> str:
        if after is None:
            return "branch_deletion"
        if before == ZEROS:
            return "branch_creation"
        return "push" if before in hosted.ancestry(after) else "force_push"
