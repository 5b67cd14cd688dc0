"""Commits and tags out of a pack, as git servers send them; each is known by its own hash.

A pack comes from outside: nothing in it is believed before it is measured.
"""

import hashlib
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from app.domain.details import Commit, Person
from app.forges import commits

# Choices: what the commits of one push may come to when they are inflated, and how many deltas
# may lie upon one another (git itself makes no more than 50).
MOST_INFLATED = 4 * 1024 * 1024
DEEPEST = 50
PIECE = 1024  # a choice: most commits are smaller, and what lies behind one is copied each time

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
OFS_DELTA, REF_DELTA = 6, 7
HASHES: Mapping[str, Callable[[bytes], str]] = {
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).hexdigest(),
    "sha256": lambda data: hashlib.sha256(data).hexdigest(),
}
# Of the encodings that a commit may name, those that are read in time proportional to its length.
_ENCODINGS = re.compile(
    rb"(?:utf-?8|us-ascii|(?:iso-?)?8859[-_]\d{1,2}|latin-?\d|iso-8859-\d{1,2}|windows-\d{3,4}"
    rb"|cp\d{3,4}|koi8-[ru]|euc-?(?:jp|kr)|shift_?jis|gb(?:k|2312|18030)|big5)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Found:
    """One object: ``kind`` is commit, tag, tree or blob."""

    kind: str
    data: bytes


@dataclass(frozen=True, slots=True)
class _Delta:
    """How an object differs from another: one at an offset in the pack, or one with an id."""

    base: int | str
    data: bytes


def read_pack(pack: bytes, object_format: str = "sha1") -> dict[str, Found]:
    """Return the objects of a pack by their ids, which are computed and never believed.

    Raises:
        ValueError: It is cut off, lies about a length, swells beyond all measure, was damaged on
            its way, or rests on objects that it does not hold.
    """
    hashed = HASHES[object_format]
    width = len(hashed(b"")) // 2
    end = len(pack) - width
    if end < 12 or pack[:4] != b"PACK":  # noqa: PLR2004 - its header is as long
        raise ValueError("what the git server sent is no pack")
    version, count = struct.unpack_from(">II", pack, 4)
    if version not in {2, 3} or hashed(pack[:end]) != pack[end:].hex():
        raise ValueError("the pack is damaged")
    whole: dict[int, Found] = {}
    deltas: dict[int, _Delta] = {}
    at, room = 12, MOST_INFLATED
    for _ in range(count):
        begin = at
        kind, size, at = _head(pack, at, end)
        base: int | str | None = None
        if kind == OFS_DELTA:
            back, at = _offset(pack, at, end)
            base = begin - back
        elif kind == REF_DELTA:
            base, at = pack[at : at + width].hex(), at + width
        room -= size
        if room < 0:
            raise ValueError("the pack holds more than a push's commits come to")
        data, at = _inflate(pack, at, end, size)
        if base is not None:
            deltas[begin] = _Delta(base, data)
        elif kind in KINDS:
            whole[begin] = Found(KINDS[kind], data)
        else:
            raise ValueError("the pack holds a kind of object that is not known")
    if at != end:
        raise ValueError("the pack says more than it announced")
    return _resolve(whole, deltas, hashed, room)


def parse_commit(found_id: str, data: bytes) -> tuple[Commit, tuple[str, ...]]:
    """Read a commit, and which its parents are; no git server knows anybody's account.

    Raises:
        ValueError: It is none.
    """
    head, _, message = data.partition(b"\n\n")
    fields: dict[bytes, bytes] = {}
    parents: list[str] = []
    for line in head.split(b"\n"):
        name, _, value = line.partition(b" ")
        if name == b"parent":
            parents.append(value.decode("ascii"))
        elif name:  # what begins with a space goes on with the line before, as signatures do
            fields.setdefault(name, value)
    named = fields.get(b"encoding", b"utf-8")
    encoding = named.decode("ascii") if _ENCODINGS.fullmatch(named) else "utf-8"
    try:
        tree = fields[b"tree"].decode("ascii")
        author, _ = _signed(fields[b"author"], encoding)
        committer, at = _signed(fields[b"committer"], encoding)
    except KeyError as error:
        raise ValueError("a commit lacks what every commit has") from error
    told = Commit(
        id=found_id,
        message=commits.text(_decode(message, encoding).rstrip("\n"), commits.LONGEST_MESSAGE),
        author=author,
        committer=committer,
        committed_at=at,
        tree_id=tree,
    )
    return told, tuple(parents)


def target_of(tag: bytes) -> str:
    """Return the id of what a tag object stands for.

    Raises:
        ValueError: It is none.
    """
    first = tag.partition(b"\n")[0]
    if not first.startswith(b"object "):
        raise ValueError("a tag names no object")
    return first[7:].decode("ascii")


def _head(pack: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Return an object's kind, its size, and where its rest begins."""
    byte = _byte(pack, at, end)
    kind, size, shift = (byte >> 4) & 7, byte & 15, 4
    while byte & 0x80:
        at += 1
        byte = _byte(pack, at, end)
        size |= (byte & 0x7F) << shift
        shift += 7
        if size > MOST_INFLATED:
            raise ValueError("the pack holds more than a push's commits come to")
        if shift > 60:  # noqa: PLR2004 - zeros without an end
            raise ValueError("the pack lies about a length")
    return kind, size, at + 1


def _offset(pack: bytes, at: int, end: int) -> tuple[int, int]:
    """Return how far back a delta's base lies, and where the delta begins."""
    byte = _byte(pack, at, end)
    back = byte & 0x7F
    while byte & 0x80:
        at += 1
        byte = _byte(pack, at, end)
        back = ((back + 1) << 7) | (byte & 0x7F)
        if back > end:
            raise ValueError("a delta rests on what lies before the pack")
    return back, at + 1


def _byte(data: bytes, at: int, end: int) -> int:
    if at >= end:
        raise ValueError("the pack is cut off")
    return data[at]


def _inflate(pack: bytes, at: int, end: int, size: int) -> tuple[bytes, int]:
    """Inflate to exactly ``size`` bytes, and never to more; return them and where they ended."""
    stream = zlib.decompressobj()
    found = bytearray()
    try:
        while not stream.eof:
            piece = pack[at : min(at + PIECE, end)]
            if not piece:
                raise ValueError("the pack is cut off")
            found += stream.decompress(piece, size + 1 - len(found))
            if len(found) > size:
                raise ValueError("an object is larger than the pack says")
            at += len(piece) - len(stream.unused_data)
    except zlib.error as error:
        raise ValueError("the pack is damaged") from error
    if len(found) != size:
        raise ValueError("an object is smaller than the pack says")
    return bytes(found), at


def _resolve(
    whole: dict[int, Found], deltas: dict[int, _Delta], hashed: Callable[[bytes], str], room: int
) -> dict[str, Found]:
    """Apply the deltas, those first whose bases are there; return all objects by id."""
    by_id = {_id(found, hashed): found for found in whole.values()}
    for _ in range(DEEPEST):
        ready = [
            (at, base, delta)
            for at, delta in deltas.items()
            if (base := _base(delta, whole, by_id)) is not None
        ]
        if not ready:
            break
        for at, base, delta in ready:
            found = Found(base.kind, _patched(base.data, delta.data, room))
            room -= len(found.data)
            whole[at] = by_id[_id(found, hashed)] = found
            del deltas[at]
    if deltas:
        raise ValueError("the pack rests on objects that it does not hold")
    return by_id


def _base(delta: _Delta, whole: Mapping[int, Found], by_id: Mapping[str, Found]) -> Found | None:
    return by_id.get(delta.base) if isinstance(delta.base, str) else whole.get(delta.base)


def _id(found: Found, hashed: Callable[[bytes], str]) -> str:
    return hashed(b"%b %d\0%b" % (found.kind.encode(), len(found.data), found.data))


def _patched(base: bytes, delta: bytes, room: int) -> bytes:
    """Apply one delta (gitformat-pack, «Deltified representation»)."""
    end = len(delta)
    source, at = _size(delta, 0)
    target, at = _size(delta, at)
    if source != len(base) or target > room:
        raise ValueError("a delta lies about a length")
    made = bytearray()
    while at < end:
        code = delta[at]
        at += 1
        if code & 0x80:
            values = [0] * 7
            for number in range(7):
                if code & (1 << number):
                    values[number] = _byte(delta, at, end)
                    at += 1
            begin = int.from_bytes(bytes(values[:4]), "little")
            size = int.from_bytes(bytes(values[4:]), "little") or 0x10000
            piece = base[begin : begin + size]
        else:
            size, piece = code, delta[at : at + code]
            at += code
        if not size or len(piece) != size or len(made) + size > target:
            raise ValueError("a delta lies about a length")
        made += piece
    if len(made) != target:
        raise ValueError("a delta lies about a length")
    return bytes(made)


def _size(delta: bytes, at: int) -> tuple[int, int]:
    size = shift = 0
    while True:
        byte = _byte(delta, at, len(delta))
        at += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return size, at
        if shift > 60:  # noqa: PLR2004 - zeros without an end
            raise ValueError("a delta lies about a length")


def _signed(line: bytes, encoding: str) -> tuple[Person, datetime]:
    """Read who did it and when: ``Ada <ada@example.com> 1767225600 +0100``."""
    who, _, when = line.rpartition(b">")
    name, _, mail = who.partition(b"<")
    words = when.split()
    if not words or len(words[0]) > 20:  # noqa: PLR2004 - digits enough for any calendar
        raise ValueError("a commit does not say when it was made")
    try:
        # Not fromtimestamp: Windows knows nothing before 1970.
        at = EPOCH + timedelta(seconds=int(words[0]))
        at = at.astimezone(_zone(words[1] if len(words) > 1 else b"+0000"))
    except ArithmeticError as error:
        raise ValueError("a commit is dated outside of all calendars") from error
    return commits.person(_decode(name.strip(), encoding), _decode(mail.strip(), encoding)), at


def _zone(written: bytes) -> timezone:
    """Return the zone; UTC where there is none such."""
    found = re.fullmatch(rb"([+-])(\d\d)(\d\d)", written)
    if found is None:
        return UTC
    away = timedelta(hours=int(found[2]), minutes=int(found[3]))
    if away >= timedelta(days=1):
        return UTC
    return timezone(-away if found[1] == b"-" else away)


def _decode(written: bytes, encoding: str) -> str:
    try:
        return written.decode(encoding, "replace")
    except LookupError:  # it may be known under this name elsewhere
        return written.decode("utf-8", "replace")
