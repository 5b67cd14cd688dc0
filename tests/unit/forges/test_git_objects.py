"""Packs from outside: what is read out of them, and that none of them can hurt."""

import contextlib
import hashlib
import struct
import time
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings, strategies as st

from app.domain.details import Person
from app.forges.git_objects import MOST_INFLATED, parse_commit, read_pack, target_of

TREE, PARENT = "4b825dc642cb6eb9a060e54bf8d69288fbee4904", "1" * 40
COMMIT = (
    f"tree {TREE}\nparent {PARENT}\n"
    "author Ada Lovelace <ada@example.com> 1767225600 +0130\n"
    "committer Bob <bob@example.com> 1767225601 -0800\n"
    "gpgsig -----BEGIN PGP SIGNATURE-----\n \n author Eve <eve@example.com> 1 +0000\n"
    " -----END PGP SIGNATURE-----\n"
    "\nFix it\n\nauthor Eve <eve@example.com> 1 +0000\n"
).encode()


def head(kind: int, size: int) -> bytes:
    """Spell an object's kind and size."""
    first, rest = (kind << 4) | (size & 15), size >> 4
    made = bytearray()
    while rest:
        made.append(first | 0x80)
        first, rest = rest & 0x7F, rest >> 7
    made.append(first)
    return bytes(made)


def entry(kind: int, data: bytes, *, size: int | None = None, base: bytes = b"") -> bytes:
    """Spell one object, perhaps with a lie about its size."""
    return head(kind, len(data) if size is None else size) + base + zlib.compress(data)


def pack(*entries: bytes, count: int | None = None) -> bytes:
    """Spell a pack, perhaps with a lie about how many objects it holds."""
    body = b"PACK" + struct.pack(">II", 2, len(entries) if count is None else count)
    body += b"".join(entries)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def object_id(kind: str, data: bytes) -> str:
    """Name an object as git does."""
    whole = f"{kind} {len(data)}\0".encode() + data
    return hashlib.sha1(whole, usedforsecurity=False).hexdigest()


def varint(number: int) -> bytes:
    """Spell a size in a delta."""
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


def delta(base: bytes, made: bytes, *commands: bytes) -> bytes:
    """Spell a delta: the two sizes, then what is to be done."""
    return varint(len(base)) + varint(len(made)) + b"".join(commands)


def test_objects_are_known_by_their_own_hash() -> None:
    found = read_pack(pack(entry(1, COMMIT), entry(4, b"object x\n")))

    assert {of: one.kind for of, one in found.items()} == {
        object_id("commit", COMMIT): "commit",
        object_id("tag", b"object x\n"): "tag",
    }


def test_an_empty_pack_holds_nothing() -> None:
    assert read_pack(pack()) == {}


def test_what_differs_from_another_object_is_put_together() -> None:
    base = b"a" * 300
    wanted = b"a" * 256 + b"new"
    by_copy = delta(base, wanted, bytes([0xA0, 1]), b"\x03new")  # 256 from the beginning
    first = entry(1, base)
    again = delta(wanted, wanted + b"!", bytes([0xB0, 3, 1]), b"\x01!")  # all 259
    of = bytes.fromhex(object_id("commit", wanted))

    found = read_pack(
        pack(first, entry(6, by_copy, base=bytes([len(first)])), entry(7, again, base=of))
    )

    assert [one.data for one in found.values()] == [base, wanted, wanted + b"!"]
    assert {one.kind for one in found.values()} == {"commit"}


def test_a_commit_is_read_and_what_its_message_and_signature_say_is_not_believed() -> None:
    told, parents = parse_commit("a1", COMMIT)

    assert (told.id, told.tree_id, parents) == ("a1", TREE, (PARENT,))
    assert told.author == Person("Ada Lovelace", "ada@example.com")
    assert told.committer == Person("Bob", "bob@example.com")
    assert told.committed_at == datetime(2025, 12, 31, 16, 0, 1, tzinfo=told.committed_at.tzinfo)
    assert told.committed_at.utcoffset() == -timedelta(hours=8)
    assert told.message == "Fix it\n\nauthor Eve <eve@example.com> 1 +0000"
    assert told.added is None


@pytest.mark.parametrize(
    ("encoding", "written", "read"),
    [
        ("ISO-8859-1", b"caf\xe9", "café"),
        ("nonsense", b"caf\xc3\xa9", "café"),
        ("punycode", b"caf-dma", "caf-dma"),  # takes time in the square of the length
        ("utf-8", b"caf\xe9", "caf\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_commit_in_another_encoding_is_read(encoding: str, written: bytes, read: str) -> None:
    who = b"Ada <a@example.com> 1767225600 +0000"
    lines = b"tree x\nauthor %b\ncommitter %b\nencoding %b\n\n%b" % (
        *(who, who, encoding.encode()),
        written,
    )

    assert parse_commit("a1", lines)[0].message == read


@pytest.mark.parametrize(
    "line",
    [
        b"Ada <a@x> 99999999999999999999999 +0000",
        b"Ada <a@x> " + b"9" * 5000 + b" +0000",
        b"Ada <a@x>",
        b"",
        b"Ada <a@x> soon +0000",
        b"Ada <a@x> -99999999999 +0000",
    ],
)
def test_a_commit_from_no_calendar_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"calendar|does not say|invalid literal"):
        parse_commit("a1", b"tree x\nauthor %b\ncommitter %b\n\nx" % (line, line))


def test_an_odd_zone_is_utc() -> None:
    who = b"Ada <a@example.com> -1 +9999"

    told, _ = parse_commit("a1", b"tree x\nauthor %b\ncommitter %b\n\nx" % (who, who))

    assert told.committed_at == datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_a_name_of_angle_brackets_costs_no_time() -> None:
    who = b"<" * 500_000 + b" 1 +0000"
    began = time.process_time()

    with pytest.raises(ValueError, match="does not say"):
        parse_commit("a1", b"tree x\nauthor %b\ncommitter %b\n\nx" % (who, who))

    assert time.process_time() - began < 1


def test_a_tag_tells_what_it_stands_for() -> None:
    assert target_of(b"object abc\ntype commit\ntag v1\n") == "abc"
    with pytest.raises(ValueError, match="names no object"):
        target_of(b"tree abc\n")


BOMB = bytes(64 * 1024 * 1024)
BASE = b"b" * 100
HERE = bytes([len(entry(1, BASE))])  # how far back the first object of a pack lies
HOSTILE = {
    "empty": b"",
    "no pack": b"<html>" * 20,
    "cut off": pack(entry(1, COMMIT))[:-30],
    "damaged": pack(entry(1, COMMIT)).replace(b"PACK\0\0\0\2", b"PACK\0\0\0\3"),
    "more announced than there is": pack(entry(1, COMMIT), count=4_000_000_000),
    "less announced than there is": pack(entry(1, COMMIT), entry(1, COMMIT), count=1),
    "a bomb that says so": pack(entry(1, BOMB)),
    "a bomb that lies": pack(entry(1, BOMB, size=100)),
    "smaller than it says": pack(entry(1, COMMIT, size=len(COMMIT) + 1)),
    "larger than it says": pack(entry(1, COMMIT, size=len(COMMIT) - 1)),
    "a size without an end": pack(b"\x90" + b"\x80" * 1000),
    "a size beyond all measure": pack(b"\x9f" + b"\xff" * 1000),
    "no zlib": pack(head(1, 5) + b"hello"),
    "an unknown kind": pack(entry(5, COMMIT)),
    "a delta upon nothing": pack(entry(7, delta(b"", b"x", b"\1x"), base=bytes(20))),
    "a delta upon itself": pack(entry(6, delta(b"", b"x", b"\1x"), base=b"\0")),
    "a delta from before the pack": pack(
        entry(1, BASE), entry(6, delta(BASE, b"x", b"\1x"), base=b"\xff\xff\x7f")
    ),
    "a delta that swells": pack(
        entry(1, BASE),
        entry(6, varint(100) + varint(1 << 40) + bytes([0x90, 100]) * 1000, base=HERE),
    ),
    "a delta that says more than it announced": pack(
        entry(1, BASE), entry(6, delta(BASE, b"x", bytes([0x90, 100])), base=HERE)
    ),
    "a delta that copies what is not there": pack(
        entry(1, BASE), entry(6, delta(BASE, b"x" * 50, bytes([0x91, 90, 50])), base=HERE)
    ),
    "a delta that is cut off": pack(
        entry(1, BASE), entry(6, delta(BASE, b"x" * 50, b"\x32xx"), base=HERE)
    ),
    "a delta without a size": pack(entry(1, BASE), entry(6, b"\x80" * 1000, base=HERE)),
    "a delta of the reserved command": pack(
        entry(1, BASE), entry(6, delta(BASE, b"x", b"\0"), base=HERE)
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pack_is_refused_soon(name: str) -> None:
    began = time.process_time()

    with pytest.raises(ValueError, match=r"pack|object|delta"):
        read_pack(HOSTILE[name])

    assert time.process_time() - began < 1


def test_deltas_upon_deltas_end_somewhere() -> None:
    entries, data = [entry(1, BASE)], BASE
    for _ in range(200):
        of = bytes.fromhex(object_id("commit", data))
        data, former = data + b"x", data
        change = delta(former, data, bytes([0xB0, *struct.pack("<H", len(former))]), b"\1x")
        entries.append(entry(7, change, base=of))

    assert len(read_pack(pack(*entries[:40]))) == 40
    with pytest.raises(ValueError, match="does not hold"):
        read_pack(pack(*entries))


def test_many_deltas_together_swell_no_further_than_one() -> None:
    base = b"b" * 60_000
    swollen = delta(base, base * 10, *[bytes([0xB0, *struct.pack("<H", len(base))])] * 10)
    entries = [
        entry(1, base),
        *[entry(7, swollen, base=bytes.fromhex(object_id("commit", base)))] * 20,
    ]

    assert MOST_INFLATED < 60_000 * 10 * 20
    with pytest.raises(ValueError, match="lies about a length"):
        read_pack(pack(*entries))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_pack_that_was_changed_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    base = delta(BASE, BASE + b"x", bytes([0x90, 100]), b"\1x")
    body = bytearray(pack(entry(1, BASE), entry(1, COMMIT), entry(6, base, base=b"\x7f"))[:-20])
    for _ in range(data.draw(st.integers(0, 4))):
        body[data.draw(st.integers(4, len(body) - 1))] = data.draw(st.integers(0, 255))
    whole = bytes(body) + hashlib.sha1(bytes(body), usedforsecurity=False).digest()

    try:
        found = read_pack(whole)
    except ValueError:
        return
    assert all(object_id(one.kind, one.data) == of for of, one in found.items())


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_commit_or_refused(body: bytes) -> None:
    for text in (body, b"tree x\n" + body, COMMIT[:50] + body):
        with contextlib.suppress(ValueError):
            parse_commit("a1", text)
