"""Pages of a list, and the cursors that name where the next one begins."""

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any, TypeVar

from app.domain.errors import InputInvalid
from app.storage.entries import Page

T = TypeVar("T")


def page(
    found: list[T],
    limit: int,
    listing: str,
    key: Callable[[T], tuple[str | int, ...]],
    floor: int | None = None,
) -> Page[T]:
    """Cut off what was read beyond the page, and say where the next one begins.

    ``floor`` is the position down to which a bounded stretch of history was looked at.
    """
    if len(found) > limit:
        return Page(tuple(found[:limit]), encode_cursor(listing, *key(found[limit - 1])))
    return Page(tuple(found), encode_cursor(listing, floor) if floor else None)


def encode_cursor(listing: str, *key: str | int) -> str:
    """Return the opaque text that names a place in a list.

    >>> encode_cursor("events", 42)
    'WyJldmVudHMiLDQyXQ'
    """
    plain = json.dumps([listing, *key], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(plain).rstrip(b"=").decode()


def decode_cursor(cursor: str, listing: str, *types: type) -> tuple[Any, ...]:
    """Return the key in a cursor of that list.

    >>> decode_cursor("WyJldmVudHMiLDQyXQ", "events", int)
    (42,)

    Raises:
        InputInvalid: It is not a cursor of that list.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        kept, *key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        kept, key = None, []
    fits = len(key) == len(types) and all(map(_is_key, key, types))
    if kept != listing or not fits:
        message = "it is not a cursor of this list; take it from a page's `next`"
        raise InputInvalid(f"cursor: {message}", mistakes={"cursor": message})
    return tuple(key)


def _is_key(part: object, type_: type) -> bool:
    """Tell whether a database could have given this: no huge number, no text it cannot hold."""
    if type(part) is not type_:
        return False
    if isinstance(part, int):
        return 0 <= part < 2**63
    return isinstance(part, str) and part.isprintable()
