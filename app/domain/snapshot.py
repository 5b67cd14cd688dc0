"""What a repository's refs looked like at one moment, and how two such moments differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeAlias

# Full ref name (refs/heads/main) to the id of the object it points at, in hex.
Refs: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """One ref that two snapshots tell apart.

    ``before`` is None for a created ref and ``after`` is None for a deleted one.
    """

    ref: str
    before: str | None
    after: str | None


def diff(before: Refs, after: Refs) -> list[Change]:
    """List the refs that differ, in the order of their names.

    >>> [(c.ref, c.before, c.after) for c in diff({"a": "1", "b": "1"}, {"b": "2", "c": "1"})]
    [('a', '1', None), ('b', '1', '2'), ('c', None, '1')]
    """
    differing = {ref for ref, at in after.items() if before.get(ref) != at}
    differing |= before.keys() - after.keys()
    return [Change(ref, before.get(ref), after.get(ref)) for ref in sorted(differing)]


def digest(refs: Refs) -> str:
    """Return 32 hex digits that are equal for equal snapshots, so that most need no second look.

    >>> digest({"a": "1", "b": "2"}) == digest({"b": "2", "a": "1"})
    True
    """
    lines = "".join([f"{ref}\0{at}\n" for ref, at in sorted(refs.items())])
    return blake2b(lines.encode(), digest_size=16).hexdigest()
