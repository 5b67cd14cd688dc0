"""What every way of reading does with a list of refs before it hands it on."""

import logging
import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

from app.domain.errors import ForgeAnswerInvalid
from app.domain.refs import BRANCH_PREFIX, LONGEST_REF, TAG_PREFIX, is_pull
from app.domain.repository import Repository
from app.domain.snapshot import Refs

log = logging.getLogger(__name__)

OBJECT_IDS = frozenset({40, 64})  # hex digits of SHA-1 and SHA-256
_HEX = re.compile(r"[0-9a-f]+")


def keep(pairs: Iterable[tuple[str, str]], repository: Repository) -> Refs:
    """Keep the branches and tags that can be stored, from pairs of full ref name and object id.

    Other refs (notes; pull requests where none are watched) and the peeled ``^{}`` lines of tags
    are left out.

    Raises:
        ForgeAnswerInvalid: What should be an object id is none.
    """
    found = dict(pairs)
    wants_pulls = repository.refs.wants_pulls
    wanted = (BRANCH_PREFIX, TAG_PREFIX)
    kept = {
        ref: target
        for ref, target in found.items()
        if (ref.startswith(wanted) and ref[-3:] != "^{}") or (wants_pulls and is_pull(ref))
    }
    if kept:
        _check_ids(kept)
    if max(map(len, kept), default=0) > LONGEST_REF:
        for ref in [ref for ref in kept if len(ref) > LONGEST_REF]:
            _warn_once(repository.name, ref)
            del kept[ref]
    return kept


def _check_ids(refs: Refs) -> None:
    """Look at all ids at once, since there may be very many, and singly where one is wrong."""
    lengths = {len(target) for target in refs.values()}
    if lengths <= OBJECT_IDS and _HEX.fullmatch("".join(refs.values())):
        return
    for ref, target in refs.items():
        if len(target) not in OBJECT_IDS or not _HEX.fullmatch(target):
            raise ForgeAnswerInvalid(f"{ref[:100]!r} does not point at an object id")


@lru_cache(maxsize=1024)  # what it remembers is that it has been said
def _warn_once(repository: str, ref: str) -> None:
    log.warning(
        "ref is not watched: its name is too long",
        extra={"repository": repository, "ref": f"{ref[:100]}…", "longest": LONGEST_REF},
    )


def fingerprint(body: bytes, repository: Repository) -> str:
    """Return what is equal when the same was answered to a wish for the same refs."""
    seen = blake2b(repr(repository.refs).encode("utf-8", "backslashreplace"), digest_size=16)
    seen.update(body)
    return seen.hexdigest()


def decode_ref(name: bytes) -> str:
    r"""Return a ref's name as text; bytes that are not UTF-8 become escapes that stay distinct.

    >>> decode_ref(b"refs/heads/caf\xc3\xa9"), decode_ref(b"refs/heads/caf\xe9")
    ('refs/heads/café', 'refs/heads/caf\\xe9')
    """
    return name.decode("utf-8", "backslashreplace")
