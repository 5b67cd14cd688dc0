"""That a delivery had its effect: Tekton's own event says so, under an address that is a secret.

An EventListener answers 202 to any JSON object. When it has really made something it posts a
CloudEvent to its ``cloudEventURI``, whose data echoes the headers of the request that it answers.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from app.domain.secret import Secret

PATH = "/api/v1/confirmations"
# 128 bits: not to be guessed, and short enough to be copied.
KEY_DIGITS = 32
# Tekton's dev.tekton.event.triggers.successful.v1; started and done come for refused ones as well.
SUCCESSFUL = ".successful.v1"
# In the order in which they are believed: our own, then what the payloads' own worlds call it.
DELIVERY_HEADERS = ("x-reposentry-delivery", "ce-id", "x-github-delivery")
DELIVERY_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# How deep the headers may lie within the data.
DEPTH = 3


def confirmation_key(secret: Secret, receiver: str) -> str:
    """Return the key that opens a receiver's confirmation address.

    It tells nothing of the secret that it is made of, and changes with it.

    >>> confirmation_key(Secret("s3cret"), "tekton")
    'bc416343a932036386739280f10b77d9'
    """
    message = b"confirmation\n" + receiver.encode()
    return hmac.new(secret.reveal().encode(), message, hashlib.sha256).hexdigest()[:KEY_DIGITS]


def confirmation_path(secret: Secret, receiver: str) -> str:
    """Return the path of a receiver's confirmation address, key and all."""
    return f"{PATH}/{quote(receiver, safe='')}/{confirmation_key(secret, receiver)}"


def opens(key: str, receiver: str, secrets: Iterable[Secret]) -> bool:
    """Tell whether a key is a receiver's; how long that takes tells nothing of the right one.

    >>> key = confirmation_key(Secret("old"), "tekton")
    >>> opens(key, "tekton", [Secret("new"), Secret("old")]), opens(key, "other", [Secret("old")])
    (True, False)
    """
    given = key.encode(errors="replace")
    found = [
        hmac.compare_digest(confirmation_key(one, receiver).encode(), given) for one in secrets
    ]
    return any(found)


def is_success(kind: str) -> bool:
    """Tell whether an event of this type says that something was made.

    >>> is_success("dev.tekton.event.triggers.successful.v1")
    True
    >>> is_success("dev.tekton.event.triggers.done.v1")
    False
    """
    return kind.endswith(SUCCESSFUL)


def delivery_named(data: Any) -> str | None:
    """Find the delivery in the request headers that a confirmation's data echoes.

    A header's name may be in any case, and its value a text or a list of one.

    >>> one, other = "0e8dd6ff-7e57-5d0e-9a53-7c1f5f0f7a11", "5a3c0d9e-7e57-5d0e-9a53-7c1f5f0f7a11"
    >>> delivery_named({"X-Github-Delivery": [other], "X-Reposentry-Delivery": [one]}) == one
    True
    >>> delivery_named({"header": {"Ce-Id": one}}) == one, delivery_named({"Ce-Id": "1"})
    (True, None)
    """
    found: dict[str, str] = {}
    for name, value in _headers(data, DEPTH):
        if DELIVERY_ID.fullmatch(value):
            found.setdefault(name.lower(), value.lower())
    return next((found[name] for name in DELIVERY_HEADERS if name in found), None)


def _headers(data: Any, depth: int) -> Iterator[tuple[str, str]]:
    """List what could be headers, the outer before the inner."""
    if not isinstance(data, Mapping) or not depth:
        return
    for name, value in data.items():
        only = value[0] if isinstance(value, list) and len(value) == 1 else value
        if isinstance(only, str):
            yield str(name), only
    for value in data.values():
        yield from _headers(value, depth - 1)
