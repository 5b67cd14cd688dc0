"""What the forges' REST APIs have in common: signing in, pages, ETags, limits."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin, urlsplit
from zlib import crc32

from app.domain.errors import (
    ForgeAnswerInvalid,
    ForgeDenied,
    ForgeError,
    ForgeRateLimited,
    ForgeUnavailable,
)
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.forges.allowance import Allowance
from app.forges.client import RefsReply
from app.forges.exchange import Exchange, refusal, retry_after
from app.forges.listing import decode_ref, fingerprint, keep
from app.settings.types import Forge
from app.transport import MEBIBYTE, Reply, Transport

WAY = "rest"
MOST_PAGES = 1000  # a choice: 50,000 refs at the least; more is a server that goes in circles
READINGS = 3  # a choice: how often a list that changes while it is read is begun anew
REDIRECTS = frozenset({301, 302, 307, 308})
LIMIT_STATUSES = frozenset({403, 429})
LIMIT_WORDS = re.compile(r"rate limit|abuse detection", re.IGNORECASE)
NEXT_LINK = re.compile(r"<([^<>]*)>([^,<]*)")

Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Listing:
    """One list that a forge gives in pages.

    ``pairs`` takes a page apart into full ref names and object ids. A page of fewer than
    ``page_size`` items is the last. ``empty_statuses`` are answered where there is nothing to list.
    """

    name: str
    url: str
    pairs: Callable[[list[Any]], Pairs]
    page_size: int = 100
    empty_statuses: frozenset[int] = frozenset()
    default_branch: Callable[[list[Any]], str | None] = field(default=lambda _: None)


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it was read; ``etag`` is empty where the forge gave none."""

    url: str
    etag: str
    items: list[Any]


@dataclass(frozen=True, slots=True)
class Credential:
    """A way to sign in (or none), and what it may still ask."""

    headers: Mapping[str, str]
    allowance: Allowance


class Api:
    """One forge's REST API; safe for many threads.

    Args:
        transport: The way to HTTP.
        forge: Where the API is, and the tokens for it.
        headers: What every request carries beside its credential.
        authorize: Spells a token as headers.
        now: The clock.
    """

    def __init__(
        self,
        transport: Transport,
        forge: Forge,
        *,
        headers: Mapping[str, str],
        authorize: Callable[[Secret], Mapping[str, str]],
        now: Callable[[], datetime],
    ) -> None:
        self._transport = transport
        self._now = now
        self.base = (forge.api_url or "").rstrip("/")
        signs: list[Mapping[str, str]] = [authorize(token) for token in forge.tokens if token]
        self._credentials = [
            Credential({**headers, **sign}, Allowance(share=forge.share, now=now))
            for sign in signs or [{}]
        ]

    def list_refs(
        self,
        repository: Repository,
        listings: Sequence[Listing],
        *,
        validator: Mapping[str, str],
        timeout_s: float,
        urgent: bool = False,
    ) -> RefsReply:
        """Read several lists as one reply: unchanged only if every page of every list is."""
        call = self.call(repository, timeout_s, urgent=urgent)
        wish = fingerprint(b"", repository)
        begun = {listing.name: _Begun(call, listing, wish, validator) for listing in listings}
        if listings and all(one.is_unchanged() for one in begun.values()):
            return RefsReply(None, WAY, dict(validator), requests=call.requests)
        pairs: Pairs = []
        remembered: list[dict[str, str]] = []
        default_branch = None
        for listing in listings:
            pages = call.read(listing, begun[listing.name].first)
            remembered.append(_validators(listing, wish, pages))
            for page in pages:
                pairs += _taken_apart(listing.pairs, page.items)
                default_branch = default_branch or _text(listing.default_branch(page.items) or "")
        # One list that must be asked for in full makes the others' validators useless.
        complete = all(remembered)
        merged = {url: etag for one in remembered for url, etag in one.items() if complete}
        refs = keep(pairs, repository)
        return RefsReply(refs, WAY, merged, default_branch or None, call.requests)

    def call(
        self,
        repository: Repository,
        timeout_s: float,
        *,
        limit_bytes: int = 16 * MEBIBYTE,
        urgent: bool = False,
    ) -> "Call":
        """Begin a call with the credential whose turn it is.

        A repository keeps its credential as long as it can: an ETag is made for one only.

        Raises:
            ForgeRateLimited: None may ask now.
        """
        count = len(self._credentials)
        first = crc32(repository.url.encode("utf-8", "backslashreplace"))
        refused: list[ForgeRateLimited] = []
        for turn in range(count):
            credential = self._credentials[(first + turn) % count]
            try:
                credential.allowance.check()
            except ForgeRateLimited as error:
                refused.append(error)
            else:
                exchange = Exchange(self._transport, timeout_s=timeout_s, limit_bytes=limit_bytes)
                return Call(self.base, credential, exchange, self._now)
        raise min(refused, key=lambda error: error.reset_at)


class Call:
    """The requests that one question takes."""

    def __init__(
        self,
        base: str,
        credential: Credential,
        exchange: Exchange,
        now: Callable[[], datetime],
    ) -> None:
        self._base = base
        self._credential = credential
        self._exchange = exchange
        self._now = now

    @property
    def requests(self) -> int:
        """How many were sent."""
        return self._exchange.requests

    def get(self, url: str, *, etag: str = "", also: frozenset[int] = frozenset()) -> Reply:
        """Return a 200, a 304, or one of the statuses in ``also``; anything else is an error.

        A repository that was renamed is followed once, on the same host.
        """
        reply = self._send(url, etag)
        if reply.status in REDIRECTS:
            reply = self._send(self.next_url(url, reply.headers.get("Location", "")), etag)
        if reply.status == HTTPStatus.OK:
            self._credential.allowance.resume()
            return reply
        if reply.status in also or (etag and reply.status == HTTPStatus.NOT_MODIFIED):
            return reply
        raise self._refusal(reply)

    def get_object(self, url: str) -> dict[str, Any]:
        """Return a 200's JSON object."""
        found = decode(self.get(url))
        if not isinstance(found, dict):
            raise ForgeAnswerInvalid("the forge answered JSON of another shape than it documents")
        return found

    def read(self, listing: Listing, first: Reply | None = None) -> list[Page]:
        """Read a list to its end; ``first`` is its first page, where it has been asked for already.

        Numbered pages shift when an item is deleted between two of them, and another then looks
        deleted too. So the earlier pages are looked at again, and all is read anew if one differs.
        """
        for _ in range(READINGS):
            pages = self._walk(listing, first)
            if _is_keyset(pages) or all(self._is_still(listing, page) for page in pages[:-1]):
                return pages
            first = None
        raise ForgeUnavailable(f"the list of {listing.name} changed each time it was read")

    def _walk(self, listing: Listing, first: Reply | None) -> list[Page]:
        pages: list[Page] = []
        seen: set[str] = set()
        url = listing.url
        while url:
            if url in seen or len(seen) >= MOST_PAGES:
                raise ForgeAnswerInvalid(f"the list of {listing.name} has no end")
            seen.add(url)
            reply = first or self.get(url, also=listing.empty_statuses)
            first = None
            pages.append(_page(listing, url, reply))
            following = next_link(reply.headers)
            url = self.next_url(url, following) if following else ""
        return pages

    def _is_still(self, listing: Listing, page: Page) -> bool:
        reply = self.get(page.url, etag=page.etag)
        if reply.status == HTTPStatus.NOT_MODIFIED:
            return True
        again = _page(listing, page.url, reply)
        return _taken_apart(listing.pairs, again.items) == _taken_apart(listing.pairs, page.items)

    def next_url(self, url: str, location: str) -> str:
        """Return where a link leads, always at the API's own address.

        Forges behind a proxy often write links with another scheme or port than they are asked by.

        Raises:
            ForgeAnswerInvalid: It leads to another host, which must not see the token, or is no
                address at all.
        """
        try:
            there, here = urlsplit(urljoin(url, location)), urlsplit(self._base)
        except ValueError as error:
            raise ForgeAnswerInvalid("the forge sends us on to what is no address") from error
        if not location or there.hostname != here.hostname:
            raise ForgeAnswerInvalid(f"the forge sends us on to another host, {there.hostname}")
        return there._replace(scheme=here.scheme, netloc=here.netloc, fragment="").geturl()

    def _send(self, url: str, etag: str) -> Reply:
        # Never If-Modified-Since: GitHub answers 304 to it for a ref deleted and made again.
        condition = {"If-None-Match": etag} if etag else {}
        reply = self._exchange.send("GET", url, {**self._credential.headers, **condition})
        self._credential.allowance.learn(reply)
        return reply

    def _refusal(self, reply: Reply) -> ForgeError:
        """Tell a spent limit, which is for all of the credential, from a plain refusal."""
        said = message_of(reply)
        if reply.status in LIMIT_STATUSES:
            allowance = self._credential.allowance
            until = retry_after(reply.headers, now=self._now()) or allowance.spent_until(reply)
            is_limit = reply.status == HTTPStatus.TOO_MANY_REQUESTS or LIMIT_WORDS.search(said)
            if until is not None or is_limit:
                return allowance.pause(until)
        error = refusal(reply, now=self._now())
        return ForgeDenied(f"{error}: {said}") if said and isinstance(error, ForgeDenied) else error


class _Begun:
    """A list that is asked about first with what is known of it from the last time."""

    def __init__(
        self, call: Call, listing: Listing, wish: str, validator: Mapping[str, str]
    ) -> None:
        self.first: Reply | None = None
        self._call = call
        self._listing = listing
        self._known = _known(listing, wish, validator)

    def is_unchanged(self) -> bool:
        """Ask for each known page; keep the first page where it is new, to ask no more for it."""
        if not self._known:
            return False
        for url, etag in self._known:
            reply = self._call.get(url, etag=etag, also=self._listing.empty_statuses)
            if reply.status != HTTPStatus.NOT_MODIFIED:
                self.first = reply if url == self._listing.url else None
                return False
        return True


def _is_keyset(pages: Sequence[Page]) -> bool:
    """Tell pages that go on at a name (GitLab's), which do not shift, from numbered ones."""
    return all("page_token=" in page.url for page in pages[1:])


def _key(name: str, wish: str) -> str:
    return f"{name} {wish} "


def _validators(listing: Listing, wish: str, pages: Sequence[Page]) -> dict[str, str]:
    """Remember the pages' ETags, if together they tell everything.

    They do not where one is missing, nor where the last page is full: a ref that comes after it
    would stand on a page that is not there yet, and no known page would change. A list that comes
    whole whatever its length only looks full now and then.
    """
    count = len(pages[-1].items)
    is_full = count > 0 and count % listing.page_size == 0
    if is_full or not all(page.etag for page in pages):
        return {}
    key = _key(listing.name, wish)
    return {f"{key}{number:04} {page.url}": page.etag for number, page in enumerate(pages)}


def _known(listing: Listing, wish: str, validator: Mapping[str, str]) -> list[tuple[str, str]]:
    key = _key(listing.name, wish)
    ours = sorted((name, etag) for name, etag in validator.items() if name.startswith(key))
    known = [(name.removeprefix(key).partition(" ")[2], etag) for name, etag in ours]
    return known if known and known[0][0] == listing.url else []


def _page(listing: Listing, url: str, reply: Reply) -> Page:
    if reply.status in listing.empty_statuses:
        return Page(url, "", [])
    items = decode(reply)
    if not isinstance(items, list):
        raise ForgeAnswerInvalid("the forge answered JSON of another shape than it documents")
    return Page(url, reply.headers.get("ETag", ""), items)


def _taken_apart(pairs: Callable[[list[Any]], Pairs], items: list[Any]) -> Pairs:
    try:
        return [(_text(ref), target + "") for ref, target in pairs(items)]
    except (KeyError, TypeError, AttributeError) as error:
        raise ForgeAnswerInvalid("the forge's list lacks names or ids") from error


def _text(name: str) -> str:
    """Return a name as it can be stored: JSON may hold halves of characters, as escapes."""
    return decode_ref(name.encode("utf-8", "surrogatepass"))


def decode(reply: Reply) -> Any:
    """Return an answer's JSON.

    Raises:
        ForgeAnswerInvalid: It is none.
    """
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise ForgeAnswerInvalid("the forge's answer is not JSON") from error


def message_of(reply: Reply) -> str:
    """Return what an error's body says to people, in one line; empty where it says nothing."""
    try:
        said = json.loads(reply.body).get("message", "")
    except (ValueError, AttributeError, RecursionError):
        return ""
    text = said if isinstance(said, str) else ""
    return "".join(c if c.isprintable() else " " for c in text).strip()[:300]


def next_link(headers: Mapping[str, str]) -> str | None:
    """Return the address of the next page, as the ``Link`` header tells it.

    >>> next_link({"Link": '<https://x/?page=1>; rel="prev", <https://x/?page=3>; rel="next"'})
    'https://x/?page=3'
    """
    for match in NEXT_LINK.finditer(headers.get("Link", "")):
        target, parameters = match.groups()
        if re.search(r';\s*rel="?next"?\s*(?:;|$)', parameters):
            return target
    return None


def project_path(forge: Forge, repository: Repository) -> str:
    """Return a repository's path below its forge: ``owner/name``, ``group/sub/name``."""
    remote = repository.remote
    root = urlsplit(forge.url).path.strip("/")
    path = remote.path
    if remote.scheme in {"http", "https"} and root:
        path = path.removeprefix(root + "/")
    return path.strip("/").removesuffix(".git")
