"""What the forges' REST APIs have in common: signing in, pages, ETags, limits."""

import contextlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from app.domain.allowance import Purpose, Resource
from app.domain.errors import (
    ForgeAnswerInvalid,
    ForgeDenied,
    ForgeError,
    ForgeRateLimited,
    ForgeSignInRefused,
    ForgeUnavailable,
)
from app.domain.repository import LONGEST_URL, Repository
from app.domain.secret import Secret
from app.forges.client import HERE, RefsReply
from app.forges.credentials import Account, Accounts, sources_of
from app.forges.exchange import (
    DENIALS,
    UNTOLD_WAIT,
    Exchange,
    message_of,
    refusal,
    retry_after,
)
from app.forges.listing import decode_ref, fingerprint, keep
from app.forges.probe import url_of
from app.settings.types import Forge
from app.transport import MEBIBYTE, Reply, Transport

WAY = "rest"
POLLS = frozenset({Purpose.REST, Purpose.ONE_BRANCH})  # what can be put off to a slot
DESCRIPTIONS = frozenset({Purpose.COMPARE, Purpose.ACTIVITY})  # what changes are found without
MOST_PAGES = 1000  # a choice: 50,000 refs at the least; more is a server that goes in circles
READINGS = 3  # a choice: how often a list that changes while it is read is begun anew
REDIRECTS = frozenset({301, 302, 307, 308})
# The kinds of forges whose API leads from a repository's former name on to its new one.
LEADING_ON = frozenset({"github", "gitlab", "gitea"})
LIMIT_STATUSES = frozenset({403, 429})
SPENT_TYPES = frozenset({"RATE_LIMITED", "RATE_LIMIT"})  # of an error in GraphQL, old and new
SECONDARY = b"secondary rate limit"  # in the message of an error, which has no type
LIMIT_WORDS = re.compile(r"rate limit|abuse detection", re.IGNORECASE)
ODD_SHAPE = "the forge answered JSON of another shape than it documents"
# The part of an address that tells which repository it is about: by its name, or by its number.
REPOSITORY = re.compile(
    r"(?<=/)(?:repos/([^/]+/[^/]+)|repositories/\d{1,20}|projects/\d{1,20})(?=/|$)"
)
NAMED_FOR = timedelta(hours=1)  # a choice: how long a repository is taken to keep its new name
MOST_NAMES = 10_000  # a choice: more have not moved, or the forge makes them up
NEXT_LINK = re.compile(r"<([^<>]*)>([^,<]*)")

Pairs = list[tuple[str, str]]
Opened = tuple[Any, str | None]


@dataclass(frozen=True, slots=True)
class Listing:
    """One list that a forge gives in pages.

    ``pairs`` takes a page apart into full ref names and object ids. A page of fewer than
    ``page_size`` items is the last. ``empty_statuses`` are answered where there is nothing to list.
    ``opened`` finds an answer's items, and the address of the next page, if there is one.
    """

    name: str
    url: str
    pairs: Callable[[list[Any]], Pairs]
    page_size: int = 100
    empty_statuses: frozenset[int] = frozenset()
    default_branch: Callable[[list[Any]], str | None] = field(default=lambda _: None)
    opened: Callable[[Reply, str], Opened] = field(default=lambda reply, _: linked(reply))


@dataclass(frozen=True, slots=True)
class Page:
    """One page as it was read; ``etag`` is empty where the forge gave none."""

    url: str
    etag: str
    items: list[Any]
    following: str | None = None


class Api:
    """One forge's API; safe for many threads.

    Args:
        transport: The way to HTTP.
        forge: Where the API is.
        headers: What every request carries beside its credential.
        authorize: Spells a token as headers.
        now: The clock.
        accounts: The credentials, which a forge's git shares with its API; made of the forge's
            tokens where none are given.
    """

    def __init__(
        self,
        transport: Transport,
        forge: Forge,
        *,
        headers: Mapping[str, str],
        authorize: Callable[[Secret], Mapping[str, str]],
        now: Callable[[], datetime],
        accounts: Accounts | None = None,
    ) -> None:
        self._transport = transport
        self._forge = forge
        self._now = now
        # What repositories are called that the API knows by their numbers, and when that was asked;
        # the oldest first, and replaced whole, so no lock is needed.
        self._names: dict[str, tuple[str, datetime]] = {}
        self.base = (forge.api_url or "").rstrip("/")
        sources = [] if accounts else sources_of(forge, transport=transport, now=now)
        self.accounts = accounts or Accounts(forge, sources, now=now)
        self._plain = dict(headers)
        self._authorize = authorize
        # By account; replaced whole, so no lock is needed.
        self._signed: dict[int, tuple[Secret, Mapping[str, str]]] = {}

    def list_refs(
        self,
        repository: Repository,
        listings: Sequence[Listing],
        *,
        validator: Mapping[str, str],
        timeout_s: float,
        urgent: bool = False,
    ) -> RefsReply:
        """Read several lists as one reply: unchanged only if every page of every list is.

        Where one credential turns out to be spent or refused, the next is asked.
        """
        deadline = time.monotonic() + timeout_s
        for _ in range(self.accounts.count - 1):
            left = max(0.01, deadline - time.monotonic())
            with contextlib.suppress(ForgeRateLimited, ForgeSignInRefused):
                return self._list_refs(repository, listings, validator, left, urgent=urgent)
        left = max(0.01, deadline - time.monotonic())
        return self._list_refs(repository, listings, validator, left, urgent=urgent)

    def _list_refs(
        self,
        repository: Repository,
        listings: Sequence[Listing],
        validator: Mapping[str, str],
        timeout_s: float,
        *,
        urgent: bool,
    ) -> RefsReply:
        call = self.call(repository, timeout_s, urgent=urgent, purpose=Purpose.REST)
        wish = fingerprint(b"", repository)
        begun = {listing.name: _Begun(call, listing, wish, validator) for listing in listings}
        if listings and all(one.is_unchanged() for one in begun.values()):
            moved_to = self.moved_to(repository, call)
            return RefsReply(None, WAY, dict(validator), None, call.requests, moved_to=moved_to)
        pairs: Pairs = []
        remembered: list[dict[str, str]] = []
        default_branch = None
        for listing in listings:
            pages = call.read(listing, begun[listing.name].first)
            remembered.append(_validators(listing, wish, pages))
            for page in pages:
                pairs += taken_apart(listing.pairs, page.items)
                default_branch = default_branch or _text(listing.default_branch(page.items) or "")
        # One list that must be asked for in full makes the others' validators useless.
        complete = all(remembered)
        merged = {url: etag for one in remembered for url, etag in one.items() if complete}
        refs = keep(pairs, repository)
        moved_to = self.moved_to(repository, call)
        return RefsReply(
            refs, WAY, merged, default_branch or None, call.requests, moved_to=moved_to
        )

    def moved_to(self, repository: Repository, call: "Call") -> str | None:
        """Return a repository's own URL now, where the forge led the call on to another name.

        ``HERE`` where it leads on and did not; None where it cannot be told.
        """
        if not call.led_to:
            return HERE if call.requests and self._forge.kind in LEADING_ON else None
        match = REPOSITORY.search(urlsplit(call.led_to).path)
        if match is None:
            return None
        name = unquote(match[1]) if match[1] else self._name_of(match[0], call)
        path = project_path(self._forge, repository)
        if not name:
            return None
        if name.lower() == path.lower():
            return HERE
        return url_of(repository.url, path, name)

    def _name_of(self, place: str, call: "Call") -> str | None:
        """Return the name of the repository that an API knows by its number; asked for hourly."""
        name, asked_at = self._names.get(place, ("", None))
        if asked_at is None or not asked_at <= self._now() < asked_at + NAMED_FOR:
            url = call.led_to.partition(place)[0] + place
            with contextlib.suppress(ForgeError):
                found = call.get_object(url)
                said = found.get("full_name") or found.get("path_with_namespace")
                name = said if isinstance(said, str) and len(said) <= LONGEST_URL else ""
            self._note_name(place, name)
        return name

    def _note_name(self, place: str, name: str) -> None:
        known = [one for one in list(self._names.items()) if one[0] != place]
        self._names = dict(known[-MOST_NAMES + 1 :]) | {place: (name, self._now())}

    def call(
        self,
        repository: Repository | None,
        timeout_s: float,
        *,
        limit_bytes: int = 16 * MEBIBYTE,
        urgent: bool = False,
        resource: Resource = Resource.REST,
        purpose: Purpose | None = None,
        key: str = "",
        points: int = 1,
    ) -> "Call":
        """Begin a call with the credential whose turn it is.

        Args:
            repository: Whose; None for a question about many.
            timeout_s: Seconds for all of its requests together.
            limit_bytes: The largest answer.
            urgent: Whether a person or a webhook waits for it.
            resource: What its requests count against: REST or GRAPHQL.
            purpose: What they are counted as. Polls (REST, ONE_BRANCH) may be put off to a slot;
                the others go first, but what only describes changes is not asked while the
                allowance runs short. By default GRAPHQL for that resource, LISTING without a
                repository, and COMPARE with one.
            key: What chooses the credential where there is no repository: a question keeps its
                credential, since an ETag is made for one only.
            points: What its first request costs of the limit within a minute.

        Raises:
            ForgeBusy: The pace allows it only in a moment.
            ForgeRateLimited: No credential may ask now.
            ForgeSignInRefused: The forge takes none of them.
        """
        if purpose is None:
            is_rest = resource is Resource.REST
            purpose = (
                (Purpose.COMPARE if repository else Purpose.LISTING) if is_rest else Purpose.GRAPHQL
            )
        account = self.accounts.admit(
            repository.url if repository is not None else key,
            resource=resource,
            urgent=urgent,
            waits=purpose in POLLS,
            points=points,
            yields=purpose in DESCRIPTIONS,
        )
        exchange = Exchange(self._transport, timeout_s=timeout_s, limit_bytes=limit_bytes)
        return Call(self, account, exchange, self._now, resource=resource, purpose=purpose)

    def headers(
        self, account: Account, timeout_s: float
    ) -> tuple[Secret | None, Mapping[str, str]]:
        """Return what a request of this account's carries, and the secret in it.

        Raises:
            ForgeError: There is no secret to be had.
        """
        secret = account.secret(timeout_s=timeout_s)
        if secret is None:
            return None, self._plain
        known = self._signed.get(account.number)
        if known is None or known[0] is not secret:
            known = (secret, {**self._plain, **self._authorize(secret)})
            self._signed[account.number] = known
        return known


class Call:
    """The requests that one question takes.

    ``points`` is what they cost of the forge's longer allowance. ``led_to`` is where the forge led
    on to, empty where it did not.
    """

    def __init__(
        self,
        api: Api,
        account: Account,
        exchange: Exchange,
        now: Callable[[], datetime],
        *,
        resource: Resource,
        purpose: Purpose,
    ) -> None:
        self._api = api
        self._account = account
        self._exchange = exchange
        self._now = now
        self._resource = resource
        self._purpose = purpose
        self._is_admitted = True
        self.points = 0
        self.led_to = ""

    @property
    def account(self) -> str:
        """Which credential asks: an ETag is good for the one that it was given to."""
        return self._account.source.name

    @property
    def requests(self) -> int:
        """How many were sent."""
        return self._exchange.requests

    def get(
        self, url: str, *, etag: str = "", accept: str = "", also: frozenset[int] = frozenset()
    ) -> Reply:
        """Return a 200, a 304, or one of the statuses in ``also``; anything else is an error.

        ``accept`` asks for another form than the usual. A repository that was renamed is followed
        once, on the same host.
        """
        # Never If-Modified-Since: GitHub answers 304 to it for a ref deleted and made again.
        more = {"If-None-Match": etag} if etag else {}
        if accept:
            more["Accept"] = accept
        reply = self._send("GET", url, more)
        if reply.status in REDIRECTS:
            self.led_to = self.next_url(url, reply.headers.get("Location", ""))
            reply = self._send("GET", self.led_to, more)
        if reply.status == HTTPStatus.OK:
            until = retry_after(reply.headers, now=self._now())
            if until is not None:  # Azure DevOps asks to slow down in answers that succeed
                self._account.allowance.pause(until)
            else:
                self._account.allowance.resume()
            return reply
        if reply.status in also or (etag and reply.status == HTTPStatus.NOT_MODIFIED):
            return reply
        raise self._refusal(reply)

    def post(
        self,
        url: str,
        json_body: Any,
        *,
        resource: Resource = Resource.GRAPHQL,
        points: int = 1,
        also: frozenset[int] = frozenset(),
    ) -> Reply:
        """Post JSON and return a 200, or one of the statuses in ``also``; else it is an error.

        That the allowance is spent, or too much was asked at once, is an error too: GraphQL says it
        in a 200.
        """
        body = json.dumps(json_body, separators=(",", ":")).encode()
        self._resource = resource
        reply = self._send("POST", url, {"Content-Type": "application/json"}, body, points)
        if reply.status in also:
            return reply
        if reply.status != HTTPStatus.OK:
            raise self._refusal(reply)
        if b"RATE_LIMIT" in reply.body and _is_spent(reply):
            raise self._spent(reply)
        if SECONDARY in reply.body and _is_to_wait(reply):
            raise self._account.allowance.pause(retry_after(reply.headers, now=self._now()))
        self._account.allowance.resume()
        return reply

    def get_object(self, url: str) -> dict[str, Any]:
        """Return a 200's JSON object."""
        found = decode(self.get(url))
        if not isinstance(found, dict):
            raise ForgeAnswerInvalid(ODD_SHAPE)
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
            page = _page(listing, url, reply)
            pages.append(page)
            url = self.next_url(url, page.following) if page.following else ""
        return pages

    def _is_still(self, listing: Listing, page: Page) -> bool:
        reply = self.get(page.url, etag=page.etag)
        if reply.status == HTTPStatus.NOT_MODIFIED:
            return True
        again = _page(listing, page.url, reply)
        return taken_apart(listing.pairs, again.items) == taken_apart(listing.pairs, page.items)

    def next_url(self, url: str, location: str) -> str:
        """Return where a link leads, always at the API's own address.

        Forges behind a proxy often write links with another scheme or port than they are asked by.

        Raises:
            ForgeAnswerInvalid: It leads to another host, which must not see the token, or is no
                address at all.
        """
        try:
            there, here = urlsplit(urljoin(url, location)), urlsplit(self._api.base)
        except ValueError as error:
            raise ForgeAnswerInvalid("the forge sends us on to what is no address") from error
        if not location or there.hostname != here.hostname:
            raise ForgeAnswerInvalid(f"the forge sends us on to another host, {there.hostname}")
        return there._replace(scheme=here.scheme, netloc=here.netloc, fragment="").geturl()

    def _send(
        self,
        method: str,
        url: str,
        more: Mapping[str, str],
        body: bytes | None = None,
        points: int = 1,
    ) -> Reply:
        secret, headers = self._api.headers(self._account, self._exchange.left_s())
        reply = self._sent(method, url, {**headers, **more}, body, points)
        if reply.status != HTTPStatus.UNAUTHORIZED or secret is None:
            return reply
        if self._account.source.renew(secret):
            secret, headers = self._api.headers(self._account, self._exchange.left_s())
            reply = self._sent(method, url, {**headers, **more}, body, points)
        if reply.status == HTTPStatus.UNAUTHORIZED:
            said = message_of(reply)
            reason = DENIALS[HTTPStatus.UNAUTHORIZED] + (f": {said}" if said else "")
            refused = self._account.allowance.refuse("api", reason)
            raise self._account.stopped(refused, refused.until)
        return reply

    def _sent(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, points: int
    ) -> Reply:
        allowance = self._account.allowance
        if self._is_admitted:
            self._is_admitted = False
        else:
            allowance.charge(self._resource, points)
        allowance.enter()
        reply = None
        try:
            reply = self._exchange.send(method, url, headers, body)
        finally:
            allowance.leave(None if reply is None else reply.status)
        cost = allowance.learn(reply, self._resource, points)
        self.points += cost
        unchanged = int(reply.status == HTTPStatus.NOT_MODIFIED)
        self._api.accounts.note(self._purpose, unchanged=unchanged, points=cost)
        return reply

    def _spent(self, reply: Reply) -> ForgeRateLimited:
        until = self._account.allowance.spent_until(reply) or self._now() + UNTOLD_WAIT
        spent = self._account.allowance.exhaust(self._resource, until)
        return self._account.stopped(spent, spent.reset_at)

    def _refusal(self, reply: Reply) -> ForgeError:
        """Tell what the answer means: a resource is spent, all must wait, or this is denied."""
        said = message_of(reply)
        if reply.status in LIMIT_STATUSES:
            allowance = self._account.allowance
            until = retry_after(reply.headers, now=self._now())
            if until is None and allowance.spent_until(reply):
                return self._spent(reply)
            is_limit = reply.status == HTTPStatus.TOO_MANY_REQUESTS or LIMIT_WORDS.search(said)
            if until is not None or is_limit:
                limited = allowance.pause(until)
                return self._account.stopped(limited, limited.reset_at)
        error = refusal(reply, now=self._now())
        if said and isinstance(error, ForgeDenied):
            return type(error)(f"{error}: {said}")
        return error


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
    try:
        items, following = listing.opened(reply, url)
    except (LookupError, TypeError, AttributeError) as error:
        raise ForgeAnswerInvalid(ODD_SHAPE) from error
    if not isinstance(items, list) or not isinstance(following, str | None):
        raise ForgeAnswerInvalid(ODD_SHAPE)
    return Page(url, reply.headers.get("ETag", ""), items, following)


def linked(reply: Reply) -> Opened:
    """Take a page that is its list alone; the ``Link`` header tells where the next one is."""
    return decode(reply), next_link(reply.headers)


def taken_apart(pairs: Callable[[list[Any]], Pairs], items: list[Any]) -> Pairs:
    """Return what ``pairs`` finds on a page, as text that can be stored.

    Raises:
        ForgeAnswerInvalid: It does not find what it looks for.
    """
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


def _is_spent(reply: Reply) -> bool:
    """Tell whether GraphQL's errors say that the allowance is spent."""
    return any(error.get("type") in SPENT_TYPES for error in _errors(reply))


def _is_to_wait(reply: Reply) -> bool:
    """Tell whether GraphQL's errors say that too much was asked at once."""
    return any(SECONDARY.decode() in str(error.get("message")) for error in _errors(reply))


def _errors(reply: Reply) -> list[dict[str, Any]]:
    found = decode(reply)
    errors = found.get("errors") if isinstance(found, dict) else None
    return [one for one in errors if isinstance(one, dict)] if isinstance(errors, list) else []


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
