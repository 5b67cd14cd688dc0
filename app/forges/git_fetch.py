"""Asks a git server what a push brought: the commits alone, without a tree or a file.

One ``fetch`` of protocol version 2 with the filter ``tree:0``, some 270 bytes for each commit.
"""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.domain.details import MOST_COMMITS, Commit, Details
from app.domain.errors import ForgeAnswerInvalid
from app.domain.event import Event
from app.forges import commits, pkt_line
from app.forges.git_objects import HASHES, Found, parse_commit, read_pack, target_of

# A choice: about a thousand commits. Of a push that brought more, the newest alone is told.
LIMIT_BYTES = 256 * 1024
# A choice: a tag may stand for a tag, and so on.
MOST_TAGS = 5

PACK, MORE, FAILURE = 1, 2, 3  # the channels that an answer is told on (gitprotocol-pack)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered: a pack, or only whether it knows the commit that we said we had."""

    pack: bytes | None
    knows: bool


def describe(
    ask: Callable[[bytes], bytes], change: Event, object_format: str | None, agent: str
) -> Details | None:
    """Return the commits that a change brought; no files, which a server tells only whole.

    Args:
        ask: Posts a question and returns the answer's body.
        change: A created or updated ref.
        object_format: As the server told it; None: sha1.
        agent: What we call ourselves.

    Raises:
        ForgeError: As asking fails.
        ValueError: The answer makes no sense.
    """

    def fetch(*wishes: str) -> Answer:
        return read(ask(question(wishes, object_format, agent)))

    hashing = object_format or "sha1"
    if hashing not in HASHES:
        return None
    if commits.has_base(change):
        try:
            told = _gained(fetch, change, hashing)
        except ForgeAnswerInvalid:  # too much, most likely
            told = None
        if told is not None:
            return told
    alone = _alone(fetch, change.after, hashing)
    return None if alone is None else Details((alone,))


def question(wishes: tuple[str, ...], object_format: str | None, agent: str) -> bytes:
    """Return the request for commits alone, with further ``wishes``."""
    capabilities = ["command=fetch", f"agent={agent}"]
    if object_format is not None:
        capabilities.append(f"object-format={object_format}")
    lines = ["no-progress", "ofs-delta", "filter tree:0", *wishes]
    encoded = [pkt_line.encode(line) for line in capabilities]
    encoded.append(pkt_line.DELIMITER)
    encoded += [pkt_line.encode(line) for line in lines]
    return b"".join([*encoded, pkt_line.FLUSH])


def read(body: bytes) -> Answer:
    """Take an answer apart.

    Raises:
        ForgeAnswerInvalid: It is cut off, or the server says that it failed.
    """
    sections = pkt_line.read_sections(body)
    knows = any(line.startswith(b"ACK ") for line in sections.get(b"acknowledgments", ()))
    if b"packfile" not in sections:
        return Answer(None, knows)
    pieces = []
    for line in sections[b"packfile"]:
        channel = line[0] if line else 0
        if channel == FAILURE:
            raise ForgeAnswerInvalid("the git server failed to send commits")
        if channel == PACK:
            pieces.append(line[1:])
    return Answer(b"".join(pieces), knows)


def _gained(fetch: Callable[..., Answer], change: Event, hashing: str) -> Details | None:
    """Return what a branch gained; None where the server knows its former commit no more."""
    wishes = (f"want {change.after}", f"have {change.before}")
    answer = fetch(*wishes)
    if answer.pack is None:  # the branch does not descend from where it was
        if not answer.knows:
            return None
        answer = fetch(*wishes, "done")
    found = _commits(read_pack(answer.pack or b"", hashing))
    if not found:  # all that it holds was there before: it was taken back
        alone = _alone(fetch, change.after, hashing)
        return None if alone is None else Details((alone,), total=0, forced=True)
    ordered = newest_first(found, change.after)
    forced = commits.is_forced(change, (found[one.id][1] for one in ordered))
    told = tuple(reversed(ordered[:MOST_COMMITS]))
    return Details(told, total=len(ordered), forced=forced)


def _alone(fetch: Callable[..., Answer], wanted: str, hashing: str) -> Commit | None:
    """Return one commit, or the one that a tag stands for; None where it stands for none."""
    answer = fetch("deepen 1", f"want {wanted}", "done")
    objects = read_pack(answer.pack or b"", hashing)
    for _ in range(MOST_TAGS):
        found = objects.get(wanted)
        if found is None or found.kind != "tag":
            break
        wanted = target_of(found.data)
    found = objects.get(wanted)
    return parse_commit(wanted, found.data)[0] if found and found.kind == "commit" else None


def _commits(objects: Mapping[str, Found]) -> dict[str, tuple[Commit, tuple[str, ...]]]:
    return {of: parse_commit(of, one.data) for of, one in objects.items() if one.kind == "commit"}


def newest_first(found: Mapping[str, tuple[Commit, tuple[str, ...]]], head: str) -> list[Commit]:
    """List what ``head`` descends from, children before parents, and else by their dates.

    Raises:
        ValueError: The head itself is missing.
    """
    if head not in found:
        raise ValueError("the commits do not lead to where the ref is")
    children = dict.fromkeys(found, 0)
    reached, todo = {head}, [head]
    while todo:
        for parent in found[todo.pop()][1]:
            if parent in found:
                children[parent] += 1
                if parent not in reached:
                    reached.add(parent)
                    todo.append(parent)
    ordered: list[Commit] = []
    ready = [(0.0, 0, head)]
    while ready:
        commit, parents = found[heapq.heappop(ready)[2]]
        ordered.append(commit)
        for parent in parents:
            if parent not in found:
                continue
            children[parent] -= 1
            if not children[parent]:
                at = found[parent][0].committed_at
                heapq.heappush(ready, (-at.timestamp(), len(ordered), parent))
    return ordered
