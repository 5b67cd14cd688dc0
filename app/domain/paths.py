"""Which files a repository's ``paths`` choose, and what that says of a change."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

# A choice: of one change's files no more are kept with its event.
MOST_LISTED = 100


class Verdict(StrEnum):
    """What the files of a change say: it touches the paths, or it does not, or who knows."""

    MATCHED = "matched"
    MISSED = "missed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Touched:
    """What was asked of a change's files.

    ``files`` are the first of those that changed, a renamed one by both its names; ``total`` counts
    all. Where they could not be told, ``files`` is empty and ``total`` None.
    """

    verdict: Verdict
    files: tuple[str, ...] = ()
    total: int | None = None


@dataclass(frozen=True, slots=True)
class PathFilter:
    """Which files matter; without a pattern the filter is off.

    Patterns are tried in order and the last that matches wins. ``?`` stands for one character but
    ``/``, ``*`` for any number of them, ``**`` crosses ``/`` and ``**/`` may stand for nothing;
    ``!pattern`` takes files out again, and what ends with ``/`` means all below it.

    >>> services = PathFilter(("services/api/**", "!**/*.md"))
    >>> services.matches("services/api/src/main.go"), services.matches("services/api/README.md")
    (True, False)
    >>> services.touched(["docs/index.md", "services/api/go.mod"]).verdict.value
    'matched'
    """

    patterns: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether the filter is on."""
        return bool(self.patterns)

    def matches(self, path: str) -> bool:
        """Tell whether a file matters, by its path from the repository's root."""
        for pattern in reversed(self.patterns):
            if compile_glob(pattern.removeprefix("!")).matches(path):
                return not pattern.startswith("!")
        return False

    def touched(self, files: Iterable[str] | None) -> Touched:
        """Say what the changed files come to; None where they are not known."""
        if files is None:
            return Touched(Verdict.UNKNOWN)
        listed = tuple(files)
        verdict = Verdict.MATCHED if any(map(self.matches, listed)) else Verdict.MISSED
        return Touched(verdict, listed[:MOST_LISTED], len(listed))


def touched_to_json(touched: Touched) -> dict[str, Any]:
    """Spell what was asked of a change's files, as it is stored."""
    return {
        "verdict": touched.verdict.value,
        "files": list(touched.files),
        "total": touched.total,
    }


def touched_from_json(found: Mapping[str, Any]) -> Touched:
    """Read what ``touched_to_json`` spelled.

    >>> told = Touched(Verdict.MISSED, ("a",), 1)
    >>> touched_from_json(touched_to_json(told)) == told
    True
    """
    return Touched(Verdict(found["verdict"]), tuple(found["files"]), found["total"])


def listed(touched: Touched | None) -> dict[str, Any]:
    """Return the fields of an event, wherever one is listed, that tell of its files.

    >>> listed(Touched(Verdict.UNKNOWN))
    {'paths': None, 'paths_count': None, 'path_filter': 'unknown'}
    """
    if touched is None:
        return {"paths": None, "paths_count": None, "path_filter": None}
    return {
        "paths": None if touched.total is None else list(touched.files),
        "paths_count": touched.total,
        "path_filter": touched.verdict.value,
    }


class Glob:
    """One pattern, matched in time proportional to the path, whatever the pattern.

    A bit stands for each place in the pattern; those that are set are where a match may stand.
    Regular expressions would try one ``*`` after the other, again and again.
    """

    __slots__ = ("_any", "_end", "_enters", "_literals", "_one", "_skips", "_star")

    def __init__(self, pattern: str) -> None:
        self._literals: dict[str, int] = {}
        self._one = 0  # ?
        self._star = 0  # stays there for any character but a slash
        self._any = 0  # stays there for any character
        self._enters = 0  # goes on to the next place by itself
        self._skips = 0  # goes on to the third place by itself: past a **/ that stands for nothing
        place = 1
        for word in _words(pattern):
            if word == "**/":
                self._skips |= place
                self._enters |= place | place << 1
                self._any |= place << 1
                self._add(place << 2, "/")
                place <<= 3
                continue
            if word == "**":
                self._any |= place
                self._enters |= place
            elif word == "*":
                self._star |= place
                self._enters |= place
            elif word == "?":
                self._one |= place
            else:
                self._add(place, word)
            place <<= 1
        self._end = place

    def _add(self, place: int, character: str) -> None:
        self._literals[character] = self._literals.get(character, 0) | place

    def matches(self, path: str) -> bool:
        """Tell whether the whole path matches."""
        at = self._entered(1)
        for character in path:
            step = self._literals.get(character, 0)
            stay = self._any
            if character != "/":
                step |= self._one
                stay |= self._star
            at = self._entered((at & step) << 1 | at & stay)
            if not at:
                return False
        return bool(at & self._end)

    def _entered(self, at: int) -> int:
        while True:
            more = at | (at & self._enters) << 1 | (at & self._skips) << 3
            if more == at:
                return at
            at = more


@lru_cache(maxsize=4096)
def compile_glob(pattern: str) -> Glob:
    """Make a pattern ready, without its ``!``."""
    return Glob(pattern)


def _words(pattern: str) -> list[str]:
    """Take a pattern apart: ``**/`` where a part begins, ``**``, ``*``, ``?``, characters."""
    pattern = pattern.removeprefix("/")
    if pattern.endswith("/"):
        pattern += "**"
    words: list[str] = []
    at = 0
    while at < len(pattern):
        if not pattern.startswith("**", at):
            words.append(pattern[at])
            at += 1
            continue
        begins_part = at == 0 or pattern[at - 1] == "/"
        while pattern.startswith("*", at):
            at += 1
        if begins_part and pattern.startswith("/", at):
            at += 1
            if words[-1:] != ["**/"]:  # the second of two means nothing more
                words.append("**/")
        else:
            words.append("**")
    return words
