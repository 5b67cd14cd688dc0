"""What all payload formats have in common: bytes, moments, headers, and what templates need."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from app.delivery.payloads import told
from app.domain.delivery import Parcel
from app.domain.details import commit_to_json
from app.domain.moments import instant
from app.domain.refs import is_tag, short_name

# A Kubernetes label value and an RFC 1123 label are at most 63 characters long.
LONGEST_SLUG = 63
SLUG_HASH = 8
# All that a URI may hold, and % for what is escaped already (RFC 3986).
_URI = "%:/?#[]@!$&'()*+,;=~"
SHORT_SHA = 7  # as GitHub and git abbreviate
# What forges themselves propose; only for receivers that must have some name here.
USUAL_BRANCH = "main"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A payload's bytes, and all headers but the signature."""

    body: bytes
    headers: Mapping[str, str]


def to_json(body: Mapping[str, Any]) -> bytes:
    r"""Write compact JSON in ASCII, which no receiver's decoding can change.

    >>> to_json({"branch": "größe"})
    b'{"branch":"gr\\u00f6\\u00dfe"}'
    """
    return json.dumps(body, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def second(moment: datetime) -> str:
    """Write a moment as GitHub does, without fractions.

    >>> second(datetime(2026, 3, 1, 12, 0, 0, 250_900, tzinfo=UTC))
    '2026-03-01T12:00:00Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def number(text: str) -> int:
    """Return a whole number that is always the same for the same text.

    It has 48 bits, so that JavaScript and every database hold it exactly.

    >>> number("https://github.com/tektoncd/pipeline")
    239798744589387
    """
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])


def uri(url: str) -> str:
    """Return a URL as a header can carry it.

    >>> uri("https://git.example.com/bücher")
    'https://git.example.com/b%C3%BCcher'
    """
    return quote(url, safe=_URI)


def slug(name: str) -> str:
    """Return a branch's or tag's name as it may stand in a label, a host name or an object's name.

    Lower case letters, digits and inner hyphens, 1 to 63 of them. A name that had to be changed
    gets a hash of the whole name, so that ``a/b`` and ``a-b`` stay apart.

    >>> slug("main"), slug("release-2")
    ('main', 'release-2')
    >>> slug("feature/Login_form")
    'feature-login-form-ee1a7d96'
    >>> len(slug("x" * 200)), slug("日本")
    (63, 'cf2abf0c')
    """
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if plain == name and len(plain) <= LONGEST_SLUG:
        return plain
    digest = hashlib.sha256(name.encode()).hexdigest()[:SLUG_HASH]
    beginning = plain[: LONGEST_SLUG - SLUG_HASH - 1].strip("-")
    return f"{beginning}-{digest}" if beginning else digest


def headers(parcel: Parcel, *, user_agent: str) -> dict[str, str]:
    """Return the headers that every payload carries.

    The content type has no charset: Buildbot refuses one.
    """
    return {
        "Content-Type": "application/json",
        "User-Agent": user_agent,
        "X-RepoSentry-Event": parcel.event.id,
        "X-RepoSentry-Delivery": parcel.delivery_id,
    }


def branch(parcel: Parcel) -> dict[str, Any]:
    """Return the ref's name in the forms that templates cannot compute.

    ``is_default`` is None where nobody told which branch is the default one.
    """
    event = parcel.event
    is_default: bool | None = None
    if is_tag(event.ref):
        is_default = False
    elif parcel.default_branch is not None:
        is_default = event.name == short_name(parcel.default_branch)
    return {"name": event.name, "slug": slug(event.name), "is_default": is_default}


def default_branch(parcel: Parcel) -> str:
    """Return the default branch's name, or the usual one where nobody told."""
    return short_name(parcel.default_branch or USUAL_BRANCH)


def short_sha(parcel: Parcel) -> str:
    """Return the first digits of the commit that matters; of the last one, after a deletion."""
    return told.target(parcel)[:SHORT_SHA]


def listed(parcel: Parcel) -> list[dict[str, Any]] | None:
    """Return the commits as the API lists them; None where the forge told of none."""
    if parcel.details is None or not parcel.details.commits:
        return None
    return [commit_to_json(commit) for commit in parcel.details.commits]


def extras(parcel: Parcel) -> dict[str, Any]:
    """Return what a format of someone else's carries of ours, beside its own fields."""
    event = parcel.event
    filtered = {} if event.paths is None else {"path_filter": event.paths.verdict.value}
    return {
        "branch": branch(parcel),
        "short_sha": short_sha(parcel),
        "delivery": parcel.delivery_id,
        "reposentry": {
            "event": event.id,
            "kind": event.kind.value,
            "sequence": event.sequence,
            "repository": parcel.repository_name,
            "receiver": parcel.receiver,
            "detected_at": instant(event.detected_at),
            "catch_up": event.catch_up,
            "forced": told.is_forced(parcel),
            "labels": dict(parcel.labels),
            **filtered,
        },
    }
