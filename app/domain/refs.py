"""Branches and tags: their names, and which of them a repository's patterns choose."""

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

BRANCH_PREFIX = "refs/heads/"
TAG_PREFIX = "refs/tags/"
# What forges call the newest commit of a pull or merge request: GitHub, Gitea, Forgejo and Gogs;
# GitLab; Bitbucket Server. What they would merge it to (refs/pull/7/merge) moves with its target.
PULL_PREFIXES = ("refs/pull/", "refs/merge-requests/", "refs/pull-requests/")
_PULL = re.compile(r"refs/(?:(?:pull|merge-requests)/\d+/head|pull-requests/\d+/from)", re.ASCII)

# The longest that MariaDB's index on (repository, ref) can hold as utf8mb4 (3,072 bytes).
LONGEST_REF = 700


def short_name(ref: str) -> str:
    """Return what people call a ref.

    >>> short_name("refs/heads/feature/x"), short_name("refs/tags/v1"), short_name("HEAD")
    ('feature/x', 'v1', 'HEAD')
    >>> short_name("refs/heads/refs/tags/v1")  # a branch may be called so
    'refs/tags/v1'
    >>> short_name("refs/pull/7/head")
    'pull/7/head'
    """
    if is_pull(ref):
        return ref.removeprefix("refs/")
    if ref.startswith(BRANCH_PREFIX):
        return ref.removeprefix(BRANCH_PREFIX)
    return ref.removeprefix(TAG_PREFIX)


def is_tag(ref: str) -> bool:
    """Tell a tag from a branch."""
    return ref.startswith(TAG_PREFIX)


def is_pull(ref: str) -> bool:
    """Tell the newest commit of a pull or merge request from all else.

    >>> is_pull("refs/pull/7/head"), is_pull("refs/pull/7/merge"), is_pull("refs/heads/pull/7/head")
    (True, False, False)
    """
    return ref.startswith(PULL_PREFIXES) and _PULL.fullmatch(ref) is not None


def zeros(like: str) -> str:
    """Return the commit id that means «none», as long as ``like`` (40 for SHA-1, 64 for SHA-256).

    >>> zeros("a" * 40) == "0" * 40
    True
    """
    return "0" * len(like)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a ref is watched, and the pattern that said so (None when no pattern matched)."""

    watched: bool
    pattern: str | None


@dataclass(frozen=True, slots=True)
class RefFilter:
    """Which refs of a repository are watched.

    Patterns are tried in order and the last that matches wins. A pattern is a glob in which ``*``
    also crosses slashes, ``!glob`` takes refs out again, and ``/…/`` is a regular expression that
    may match anywhere in the name (``!/…/`` takes out). Pull requests are watched all or none.

    >>> chosen = RefFilter(branches=("main", "release-*", "!release-old-*"), tags=("/^v[0-9]+/",))
    >>> [name for name in ("main", "release-2", "dev") if chosen.watches(f"refs/heads/{name}")]
    ['main', 'release-2']
    >>> chosen.watches("refs/tags/v12"), chosen.watches("refs/pull/7/head")
    (True, False)
    >>> chosen.decide("refs/heads/release-old-1")
    Decision(watched=False, pattern='!release-old-*')
    """

    branches: tuple[str, ...] = ("*",)
    tags: tuple[str, ...] = ()
    wants_pulls: bool = False

    def decide(self, ref: str) -> Decision:
        """Tell whether a full ref name is watched, and by which pattern."""
        if ref.startswith(BRANCH_PREFIX):
            patterns = self.branches
        elif ref.startswith(TAG_PREFIX):
            patterns = self.tags
        else:
            return Decision(watched=self.wants_pulls and is_pull(ref), pattern=None)
        return self._decide(short_name(ref), patterns)

    def choose(self, refs: Mapping[str, str]) -> dict[str, str]:
        """Return those of many refs that are watched.

        >>> RefFilter(("main",)).choose({"refs/heads/main": "a1", "refs/heads/dev": "b2"})
        {'refs/heads/main': 'a1'}
        """
        takes_branch, takes_tag = _chooser(self.branches), _chooser(self.tags)
        after_branch, after_tag = len(BRANCH_PREFIX), len(TAG_PREFIX)
        return {
            ref: at
            for ref, at in refs.items()
            if (
                takes_branch(ref[after_branch:])
                if ref.startswith(BRANCH_PREFIX)
                else takes_tag(ref[after_tag:])
                if ref.startswith(TAG_PREFIX)
                else self.wants_pulls and is_pull(ref)
            )
        }

    def takes(self, ref: str) -> bool:
        """Tell whether who is told of some refs only is told of this one.

        To them a pull request is a branch, by its short name.

        >>> RefFilter().takes("refs/pull/7/head"), RefFilter(("main",)).takes("refs/pull/7/head")
        (True, False)
        """
        if is_pull(ref):
            return self._decide(short_name(ref), self.branches).watched
        return self.watches(ref)

    def _decide(self, name: str, patterns: tuple[str, ...]) -> Decision:
        for pattern in reversed(patterns):
            if compile_pattern(pattern.removeprefix("!")).search(name):
                return Decision(watched=not pattern.startswith("!"), pattern=pattern)
        return Decision(watched=False, pattern=None)

    def watches(self, ref: str) -> bool:
        """Tell whether a full ref name is watched."""
        return self.decide(ref).watched

    def prefixes(self) -> tuple[str, ...]:
        """Return the ref prefixes outside which nothing can match, to ask a server for less.

        >>> RefFilter(branches=("main",), tags=()).prefixes()
        ('refs/heads/main',)
        >>> RefFilter(branches=("*", "!wip/*"), tags=("v*", "/rc$/")).prefixes()
        ('refs/heads/', 'refs/tags/')
        """
        pulls = PULL_PREFIXES if self.wants_pulls else ()
        return (
            *_prefixes(BRANCH_PREFIX, self.branches),
            *_prefixes(TAG_PREFIX, self.tags),
            *pulls,
        )


def patterns_of(chosen: RefFilter) -> dict[str, list[str]]:
    """Spell a filter as a snapshot keeps it.

    What older versions never knew is left out where it is not wanted, so that theirs stay equal.
    """
    pulls = {"pulls": ["*"]} if chosen.wants_pulls else {}
    return {"branches": list(chosen.branches), "tags": list(chosen.tags), **pulls}


def filter_of(patterns: Mapping[str, list[str]]) -> RefFilter:
    """Read back what ``patterns_of`` spelled.

    >>> every = RefFilter(("main",), ("v*",), wants_pulls=True)
    >>> filter_of(patterns_of(every)) == every, filter_of({"branches": ["*"], "tags": []})
    (True, RefFilter(branches=('*',), tags=(), wants_pulls=False))
    """
    return RefFilter(
        tuple(patterns["branches"]), tuple(patterns["tags"]), bool(patterns.get("pulls"))
    )


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile one pattern, without its ``!``.

    Raises:
        re.error: It is a regular expression, and not a valid one.
    """
    if len(pattern) > 1 and pattern.startswith("/") and pattern.endswith("/"):
        return re.compile(pattern[1:-1])
    return re.compile(r"\A" + fnmatch.translate(pattern))


@lru_cache(maxsize=1024)
def _chooser(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Make a test of names out of patterns, for many names: the plainest test that will do."""
    tests = [
        (_test(pattern.removeprefix("!")), not pattern.startswith("!"))
        for pattern in reversed(patterns)
    ]
    if tests and tests[0] == (None, True):
        return lambda _: True

    def takes(name: str) -> bool:
        for test, is_taken in tests:
            if test is None or test(name):
                return is_taken
        return False

    return takes


def _test(pattern: str) -> Callable[[str], object] | None:
    """Return what is true of the names that match; None: of all."""
    plain = pattern.removesuffix("*")
    if len(pattern) > 1 and pattern.startswith("/") and pattern.endswith("/"):
        return compile_pattern(pattern).search
    if re.search(r"[*?\[]", plain):
        return compile_pattern(pattern).match
    if not plain and pattern:
        return None
    return plain.__eq__ if plain == pattern else lambda name: name.startswith(plain)


def _prefixes(root: str, patterns: Iterable[str]) -> tuple[str, ...]:
    """List the literal beginnings of what the patterns let in, none within another."""
    found: set[str] = set()
    for pattern in patterns:
        if pattern.startswith("!"):
            continue
        is_regex = len(pattern) > 1 and pattern.startswith("/") and pattern.endswith("/")
        literal = "" if is_regex else re.split(r"[*?\[]", pattern, maxsplit=1)[0]
        found.add(root + literal)
    kept: list[str] = []
    for prefix in sorted(found, key=lambda text: (len(text), text)):
        if not prefix.startswith(tuple(kept)):
            kept.append(prefix)
    return tuple(kept)
