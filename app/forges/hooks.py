"""The forges' own webhooks: whether one is signed as its forge signs, and what it says of pushes.

The signature is checked over the bytes as they came, before anything of them is read. What is read
is believed as little as any other word from outside: whatever is not what it should be is left
out. To add a forge: its headers in the tuples below, and its pushes in ``_READERS``.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import MappingProxyType
from typing import Any, TypeAlias
from urllib.parse import parse_qs

from app.domain.details import Person
from app.domain.hook import HookChange, HookMessage
from app.domain.refs import BRANCH_PREFIX, LONGEST_REF, TAG_PREFIX, is_pull
from app.domain.secret import Secret

Headers: TypeAlias = Mapping[str, str]  # by their names in lower case

# In which headers forges send the HMAC-SHA256 of the body, in hex; GitLab has its own way.
_SIGNATURES = (
    "x-hub-signature-256",
    "x-gitea-signature",
    "x-forgejo-signature",
    "x-gogs-signature",
    "x-hub-signature",
)
_GITLAB_SIGNATURES = ("webhook-signature", "x-gitlab-token")
_ALGORITHM = "sha256="
# Standard Webhooks: secrets begin so, and an older timestamp is a repetition.
_STANDARD_SECRET = "whsec_"  # noqa: S105 - what secrets begin with
_TOLERANCE = timedelta(minutes=5)

# Each forge's name for what happened.
_EVENTS = (
    "x-github-event",
    "x-gitlab-event",
    "x-gitea-event",
    "x-forgejo-event",
    "x-gogs-event",
    "x-event-key",
)
# What stays the same when a webhook is sent again. GitLab's event UUID comes last of its own: it is
# shared by all webhooks that follow from one another, whose bodies tell them apart.
_SHARED = "x-gitlab-event-uuid"
_DELIVERIES = (
    "x-github-delivery",
    "x-gitea-delivery",
    "x-forgejo-delivery",
    "x-gogs-delivery",
    "idempotency-key",
    _SHARED,
    "x-request-uuid",
    "x-request-id",
)
_PINGS = frozenset({"ping", "diagnostics:ping"})

# Choices: what is kept of one webhook, and of a word in it.
MOST_CHANGES = 100
_LONGEST_DELIVERY = 100
_LONGEST_WORD = 255
_HEX_DIGITS = frozenset("0123456789abcdef")
_ID_LENGTHS = (40, 64)  # SHA-1 and SHA-256
_NONE = "0" * 40


class NotReadable(ValueError):
    """It is signed, and still not what a webhook should be; the message says why."""


def is_signed(kind: str, secret: Secret, headers: Headers, body: bytes, *, now: datetime) -> bool:
    """Tell whether a webhook was signed with the secret; takes as long for any wrong signature.

    The numbers are GitHub's own example:

    >>> signature = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    >>> is_signed(
    ...     "github",
    ...     Secret("It's a Secret to Everybody"),
    ...     {"x-hub-signature-256": f"sha256={signature}"},
    ...     b"Hello, World!",
    ...     now=datetime.now(UTC),
    ... )
    True
    """
    if kind == "gitlab":
        return _is_signed_by_gitlab(secret, headers, body, now)
    given = [headers[name] for name in _SIGNATURES if name in headers]
    if not given:
        return False
    wanted = hmac.new(secret.reveal().encode(), body, hashlib.sha256).hexdigest()
    return any(_is_same(one.removeprefix(_ALGORITHM).lower(), wanted) for one in given)


def has_signature(kind: str, headers: Headers) -> bool:
    """Tell whether a webhook is signed at all, rightly or not."""
    return any(name in headers for name in _ways(kind))


def _ways(kind: str) -> tuple[str, ...]:
    return _GITLAB_SIGNATURES if kind == "gitlab" else _SIGNATURES


def _is_signed_by_gitlab(secret: Secret, headers: Headers, body: bytes, now: datetime) -> bool:
    """Check GitLab's signing token (Standard Webhooks), if the secret is one; else its token."""
    text = secret.reveal()
    if not text.startswith(_STANDARD_SECRET):
        return _is_same(headers.get("x-gitlab-token", ""), text) and bool(text)
    try:
        key = base64.b64decode(text.removeprefix(_STANDARD_SECRET), validate=True)
        sent_at = datetime.fromtimestamp(int(headers.get("webhook-timestamp", "")), UTC)
    except (ValueError, OverflowError, OSError, binascii.Error):
        return False
    if not key:  # nothing but how secrets begin: anybody could sign with it
        return False
    signed = f"{headers.get('webhook-id', '')}.{headers['webhook-timestamp']}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = headers.get("webhook-signature", "").split()
    return any(_is_same(one, wanted) for one in given) and abs(now - sent_at) <= _TOLERANCE


def _is_same(given: str, wanted: str) -> bool:
    # WSGI hands headers over as Latin-1, whatever they are.
    return hmac.compare_digest(given.encode("latin-1", "replace"), wanted.encode())


def read(headers: Headers, body: bytes) -> HookMessage:
    """Read what a webhook says, in whichever forge's words.

    Raises:
        NotReadable: The body is not JSON, nor a form that holds it.
    """
    told = _document(headers, body)
    event = next((headers[name] for name in _EVENTS if name in headers), "")
    if not event and isinstance(told.get("eventType"), str):
        event = told["eventType"]
    named = next((name for name in _DELIVERIES if headers.get(name)), "")
    delivery = headers.get(named, "")
    if not named or named == _SHARED:
        delivery = f"{delivery} {hashlib.sha256(body).hexdigest()}".strip()
    name = _word(event) or "unknown"
    changes = _READERS.get(_kind_of(name, told), _nothing)(told)
    return HookMessage(
        event=name,
        delivery=_plain(delivery, _LONGEST_DELIVERY),
        is_ping=name in _PINGS,
        urls=tuple(dict.fromkeys(_urls(told))),
        changes=tuple(islice(changes, MOST_CHANGES)),
    )


def _document(headers: Headers, body: bytes) -> dict[str, Any]:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    text = body
    try:
        if kind == "application/x-www-form-urlencoded":
            form = parse_qs(body.decode("ascii"), max_num_fields=10)
            text = form.get("payload", [""])[0].encode()
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotReadable("the body is not valid JSON") from error
    if not isinstance(told, dict):
        raise NotReadable("the body is not a JSON object")
    return told


def _kind_of(event: str, told: Mapping[str, Any]) -> str:
    """Return what sort of message it is, in the word under which ``_READERS`` has it."""
    if event in {"Push Hook", "Tag Push Hook"}:
        return "gitlab push"
    if event == "System Hook":
        is_push = told.get("event_name") in {"push", "tag_push"}
        return "gitlab push" if is_push else ""
    return event


# What each sort of message tells.


def _push(told: Mapping[str, Any]) -> Iterator[HookChange]:
    """Read what GitHub, Gitea, Forgejo and Gogs call a push."""
    repository, pusher = _dict(told.get("repository")), _dict(told.get("pusher"))
    sender = _dict(told.get("sender"))
    # Only GitHub's pushes tell it as a number; elsewhere it is when anything was updated.
    at = _moment(repository.get("pushed_at"))
    forced = told.get("forced")
    yield from _change(
        told.get("ref"),
        told.get("before"),
        told.get("after"),
        pusher=_person(
            pusher.get("full_name") or pusher.get("name") or pusher.get("login"),
            pusher.get("email"),
            sender.get("login") or pusher.get("login") or pusher.get("username"),
        ),
        pushed_at=at,
        forced=forced if isinstance(forced, bool) else None,
    )


def _gitlab_push(told: Mapping[str, Any]) -> Iterator[HookChange]:
    person = _person(told.get("user_name"), told.get("user_email"), told.get("user_username"))
    yield from _change(told.get("ref"), told.get("before"), told.get("after"), pusher=person)


def _created(told: Mapping[str, Any]) -> Iterator[HookChange]:
    yield from _change(_full(told), _NONE, told.get("sha"), pusher=_sender(told))


def _deleted(told: Mapping[str, Any]) -> Iterator[HookChange]:
    yield from _change(_full(told), None, _NONE, pusher=_sender(told))


def _pulled(told: Mapping[str, Any]) -> Iterator[HookChange]:
    """Read what GitHub, Gitea and Forgejo tell of a pull request, if its commits changed."""
    before = {"opened": _NONE}.get(str(told.get("action")), told.get("before"))
    if told.get("action") in {"opened", "synchronize", "synchronized"}:
        head = _dict(_dict(told.get("pull_request")).get("head")).get("sha")
        yield from _change(
            _numbered("pull", told.get("number")), before, head, pusher=_sender(told)
        )


def _merge_requested(told: Mapping[str, Any]) -> Iterator[HookChange]:
    """Read what GitLab tells of a merge request, if its commits changed."""
    request, user = _dict(told.get("object_attributes")), _dict(told.get("user"))
    before = _NONE if request.get("action") == "open" else request.get("oldrev")
    if before is not None:
        head = _dict(request.get("last_commit")).get("id")
        person = _person(user.get("name"), user.get("email"), user.get("username"))
        ref = _numbered("merge-requests", request.get("iid"))
        yield from _change(ref, before, head, pusher=person)


def _numbered(what: str, number: object) -> str | None:
    is_number = isinstance(number, int) and not isinstance(number, bool)
    return f"refs/{what}/{number}/head" if is_number else None


def _cloud_push(told: Mapping[str, Any]) -> Iterator[HookChange]:
    """Read what Bitbucket Cloud calls a push."""
    actor = _dict(told.get("actor"))
    name = actor.get("display_name")
    person = _person(name, None, actor.get("nickname") or actor.get("username"))
    for change in _list(_dict(told.get("push")).get("changes")):
        ends = {end: _dict(_dict(change).get(end)) for end in ("old", "new")}
        named = ends["new"] or ends["old"]
        before, after = (_dict(ends[end].get("target")).get("hash") or _NONE for end in ends)
        forced = _dict(change).get("forced")
        yield from _change(
            _full({"ref": named.get("name"), "ref_type": named.get("type")}),
            before,
            after,
            pusher=person,
            forced=forced if isinstance(forced, bool) else None,
        )


def _server_push(told: Mapping[str, Any]) -> Iterator[HookChange]:
    """Read what Bitbucket Server and Data Center tell of changed refs."""
    actor = _dict(told.get("actor"))
    person = _person(actor.get("displayName"), actor.get("emailAddress"), actor.get("name"))
    at = _moment(told.get("date"))
    for change in _list(told.get("changes")):
        one = _dict(change)
        ref, before, after = _dict(one.get("ref")).get("id"), one.get("fromHash"), one.get("toHash")
        yield from _change(ref, before, after, pusher=person, pushed_at=at)


def _nothing(_told: Mapping[str, Any]) -> Iterator[HookChange]:
    return iter(())


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Iterator[HookChange]]] = MappingProxyType(
    {
        "push": _push,
        "create": _created,
        "delete": _deleted,
        "pull_request": _pulled,
        "Merge Request Hook": _merge_requested,
        "gitlab push": _gitlab_push,
        "repo:push": _cloud_push,
        "repo:refs_changed": _server_push,
    }
)


def _change(
    ref: object,
    before: object,
    after: object,
    *,
    pusher: Person | None = None,
    pushed_at: datetime | None = None,
    forced: bool | None = None,
) -> Iterator[HookChange]:
    """Give a change of what may be watched; nothing where it is none, or makes no sense."""
    name = _plain(ref, LONGEST_REF)
    ends = _commit(before), _commit(after)
    if name is None or name != ref:
        return
    if any(ends) and (name.startswith((BRANCH_PREFIX, TAG_PREFIX)) or is_pull(name)):
        yield HookChange(name, *ends, pusher=pusher, pushed_at=pushed_at, forced=forced)


def _full(told: Mapping[str, Any]) -> str | None:
    prefix = {"branch": BRANCH_PREFIX, "tag": TAG_PREFIX}.get(str(told.get("ref_type")))
    ref = told.get("ref")
    if prefix is None or not isinstance(ref, str) or not ref:
        return None
    # Gitea tells the full name of some, the short one of others.
    return ref if ref.startswith(prefix) else prefix + ref


def _urls(told: Mapping[str, Any]) -> Iterator[str]:
    """List where a message says that its repository is."""
    for holder in (_dict(told.get("repository")), _dict(told.get("project"))):
        links = _dict(holder.get("links"))
        clones = [_dict(one).get("href") for one in _list(links.get("clone"))]
        found = [
            *(holder.get(name) for name in _URLS),
            _dict(links.get("html")).get("href"),
            *clones,
        ]
        for url in found:
            if isinstance(url, str) and 0 < len(url) <= _LONGEST_WORD * 2:
                yield url


_URLS = (
    *("clone_url", "ssh_url", "html_url", "git_url", "svn_url"),
    *("git_http_url", "git_ssh_url", "web_url", "http_url", "homepage"),
)


# One value each, or None.


def _sender(told: Mapping[str, Any]) -> Person | None:
    sender = _dict(told.get("sender"))
    login = sender.get("login")
    return _person(sender.get("full_name") or login, sender.get("email"), login)


def _person(name: object, email: object, username: object) -> Person | None:
    known = _word(name) or _word(username)
    return Person(known, _word(email) or "", _word(username)) if known else None


def _word(told: object) -> str | None:
    return _plain(told, _LONGEST_WORD)


def _plain(told: object, longest: int) -> str | None:
    """Return a text that every database can hold, or None."""
    if not isinstance(told, str):
        return None
    return told.replace("\0", "").encode(errors="replace").decode()[:longest] or None


def _commit(told: object) -> str | None:
    if not isinstance(told, str) or len(told) not in _ID_LENGTHS:
        return None
    return told.lower() if _HEX_DIGITS.issuperset(told.lower()) else None


def _moment(told: object) -> datetime | None:
    try:
        if isinstance(told, int) and not isinstance(told, bool):
            return datetime.fromtimestamp(told, UTC)
        found = datetime.fromisoformat(told) if isinstance(told, str) else None
        return found.astimezone(UTC) if found is not None and found.tzinfo is not None else None
    except (ValueError, OverflowError, OSError):
        return None


def _dict(told: object) -> dict[str, Any]:
    return told if isinstance(told, dict) else {}


def _list(told: object) -> list[Any]:
    return told if isinstance(told, list) else []
