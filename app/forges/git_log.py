"""What ``git log`` tells of commits, asked so that nothing in it can be mistaken."""

import re
from collections.abc import Iterator, Sequence

from app.domain.details import Commit
from app.forges import commits
from app.forges.listing import decode_ref

# No message can hold a NUL, so each field ends with one; ``commit`` is no letter of a file's sort.
FIELDS = ("%H", "%T", "%an", "%ae", "%cn", "%ce", "%cI", "%B")
FORMAT = "--format=commit%x00" + "".join(f"{field}%x00" for field in FIELDS)
ALONE = (FORMAT, "-z", "--no-patch")
# Of a merge, what it brought to its first parent; a rename as what was removed and what was added.
WITH_FILES = (FORMAT, "-z", "--name-status", "--no-renames", "--diff-merges=first-parent")
# A repository's own settings may name programs to be run.
QUIET = ("-c", "log.showSignature=false", "-c", "core.fsmonitor=false")

_SORTS = {"A": "added", "D": "removed"}  # all others (M, T, U) change what was there


def parse(printed: bytes, *, has_files: bool) -> list[Commit]:
    """Read what ``git log`` printed in our format, in its order.

    Raises:
        ValueError: It is something else.
    """
    words = iter(printed.split(b"\0"))
    found: list[Commit] = []
    files: list[commits.File] = []
    for word in words:
        mark = word.strip(b"\n")
        if mark == b"commit":
            if found and has_files:
                found[-1] = commits.with_files(found[-1], files)
            found.append(_commit([decode_ref(field) for field in _take(words, len(FIELDS))]))
            files = []
        elif re.fullmatch(rb"[A-Z]", mark):
            status = _SORTS.get(mark.decode(), "modified")
            files.append(commits.File(status, decode_ref(_take(words, 1)[0])))
        elif mark:
            raise ValueError("git log printed something else than commits")
    if found and has_files:
        found[-1] = commits.with_files(found[-1], files)
    return found


def _take(words: Iterator[bytes], count: int) -> list[bytes]:
    taken = [word for _, word in zip(range(count), words, strict=False)]
    if len(taken) < count:
        raise ValueError("git log was cut off")
    return taken


def _commit(fields: Sequence[str]) -> Commit:
    of, tree, author, author_mail, committer, committer_mail, at, message = fields
    return Commit(
        id=of,
        message=commits.text(message.rstrip("\n"), commits.LONGEST_MESSAGE),
        author=commits.person(author, author_mail),
        committer=commits.person(committer, committer_mail),
        committed_at=commits.moment(at),
        tree_id=tree,
    )
