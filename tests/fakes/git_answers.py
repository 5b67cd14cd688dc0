"""What a git server answers over HTTP in protocol version 2, made from memory.

As ``git http-backend`` does it: ``ls-refs`` with prefixes, and ``fetch`` of commits without trees.
"""

import hashlib
import zlib
from collections.abc import Iterator

from tests.fakes.hosting import Hosted, Standing

FLUSH, DELIMITER = b"0000", b"0001"
CAPABILITIES = (
    b"version 2\n",
    b"agent=git/fake\n",
    b"ls-refs=unborn\n",
    b"fetch=shallow filter\n",
    b"object-format=sha1\n",
)
COMMIT = 1  # a commit's number in a pack
PIECE = 65_515  # the most that one packet carries beside its channel


def packet(line: bytes) -> bytes:
    """Frame one line as git does: its length in four hex digits, then itself."""
    return b"%04x" % (len(line) + 4) + line


def advertisement() -> bytes:
    """Return what the server can."""
    return b"".join(map(packet, CAPABILITIES)) + FLUSH


def answer(hosted: Hosted, standing: Standing, body: bytes) -> bytes:
    """Answer a posted question."""
    lines = list(packets(body))
    command = lines[0]
    wishes = lines[lines.index(None) + 1 :] if None in lines else []
    words = [line for line in wishes if line is not None]
    if command == b"command=ls-refs":
        return ls_refs(hosted, standing, words)
    return fetch(hosted, words)


def packets(body: bytes) -> Iterator[bytes | None]:
    """Take a question apart; a delimiter is None."""
    at = 0
    while at < len(body):
        length = int(body[at : at + 4], 16)
        if length >= len(FLUSH):
            yield body[at + 4 : at + length].rstrip(b"\n")
        elif length == 1:
            yield None
        at += max(length, 4)


def ls_refs(hosted: Hosted, standing: Standing, wishes: list[bytes]) -> bytes:
    """List the refs that begin as wished."""
    prefixes = tuple(
        wish.removeprefix(b"ref-prefix ") for wish in wishes if wish.startswith(b"ref-prefix ")
    )
    refs = [(name.encode(), target.encode()) for name, target in standing.refs.items()]
    found = sorted(ref for ref in refs if not prefixes or ref[0].startswith(prefixes))
    head = f"refs/heads/{hosted.default_branch}"
    lines = [packet(b"%s %s\n" % (target, name)) for name, target in found]
    if head in standing.refs and (not prefixes or b"HEAD".startswith(prefixes)):
        symref = b" symref-target:" + head.encode() if b"symrefs" in wishes else b""
        lines.insert(0, packet(b"%s HEAD%s\n" % (standing.refs[head].encode(), symref)))
    return b"".join(lines) + FLUSH


def fetch(hosted: Hosted, wishes: list[bytes]) -> bytes:
    """Send the commits that are wanted and not had, without their trees."""
    words = [wish.decode().split(" ", 1) for wish in wishes]
    wants = [rest[0] for word, *rest in words if word == "want"]
    haves = {rest[0] for word, *rest in words if word == "have"}
    depth = next((int(rest[0]) for word, *rest in words if word == "deepen"), None)
    known = {commit for have in haves for commit in hosted.ancestry(have)}
    sent: dict[str, None] = {}
    for want in wants:
        if want not in hosted.commits:
            return packet(b"ERR upload-pack: not our ref %s\n" % want.encode())
        for number, commit in enumerate(hosted.ancestry(want)):
            if commit in known or (depth is not None and number >= depth):
                break
            sent.setdefault(commit)
    head = b""
    if b"done" not in wishes:
        common = [have for have in haves if have in hosted.commits]
        acks = [packet(b"ACK %s\n" % have.encode()) for have in common]
        is_ready = bool(common) and all(haves & set(hosted.ancestry(want)) for want in wants)
        head = packet(b"acknowledgments\n") + (b"".join(acks) or packet(b"NAK\n"))
        if not is_ready:
            return head + FLUSH
        head += packet(b"ready\n") + DELIMITER
    if depth is not None:
        edges = [c for c in sent if hosted.commits[c].parent not in (None, *sent)]
        shallow = b"".join(packet(b"shallow %s\n" % commit.encode()) for commit in edges)
        head += packet(b"shallow-info\n") + shallow + DELIMITER
    whole = pack([hosted.commits[commit].content for commit in sent])
    pieces = [whole[at : at + PIECE] for at in range(0, len(whole), PIECE)]
    body = b"".join(packet(b"\x01" + piece) for piece in pieces)
    return head + packet(b"packfile\n") + body + FLUSH


def pack(commits: list[bytes]) -> bytes:
    """Return a pack that holds these commits."""
    body = b"PACK" + (2).to_bytes(4, "big") + len(commits).to_bytes(4, "big")
    for content in commits:
        size = len(content)
        first, size = (COMMIT << 4) | (size & 15), size >> 4
        head = bytearray()
        while size:
            head.append(first | 0x80)
            first, size = size & 0x7F, size >> 7
        head.append(first)
        body += bytes(head) + zlib.compress(content, 1)
    return body + hashlib.sha1(body).digest()  # noqa: S324 - git's own checksum
