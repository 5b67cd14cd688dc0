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

_OBJECT_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def keep(pairs: Iterable[tuple[str, str]], repository: Repository) -> Refs:
    """Keep the branches and tags that can be stored, from pairs of full ref name and object id.

    Other refs (notes; pull requests where none are watched) and the peeled ``^{}`` lines of tags
    are left out.

    Raises:
        ForgeAnswerInvalid: What should be an object id is none.
    """
    kept: dict[str, str] = {}
    wants_pulls = repository.refs.wants_pulls
    for ref, target in pairs:
        is_wanted = ref.startswith((BRANCH_PREFIX, TAG_PREFIX)) and not ref.endswith("^{}")
        if not is_wanted and not (wants_pulls and is_pull(ref)):
            continue
        if not _OBJECT_ID.fullmatch(target):
            raise ForgeAnswerInvalid(f"{ref[:100]!r} does not point at an object id")
        if len(ref) > LONGEST_REF:
            _warn_once(repository.name, ref)
            continue
        kept[ref] = target
    return kept


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
