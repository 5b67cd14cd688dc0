"""Reads refs from any git server over HTTP: one ``ls-refs`` request of protocol version 2.

Servers that speak no version 2 tell all their refs at the first question, and that is read too.
"""

import base64
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit, urlunsplit

from app.domain.details import Details, Push
from app.domain.errors import ForgeAnswerInvalid, ForgeDenied, ForgeRateLimited
from app.domain.event import Event
from app.domain.refs import BRANCH_PREFIX, TAG_PREFIX
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.forges import commits, git_fetch, pkt_line
from app.forges.client import HERE, RefsReply
from app.forges.exchange import Exchange, origin, refusal
from app.forges.listing import decode_ref, fingerprint, keep
from app.forges.probe import is_url
from app.transport import USER_AGENT, Reply, Transport

WAY = "ls-refs"
ADVERTISEMENT = "/info/refs?service=git-upload-pack"
AGENT = USER_AGENT.replace(" ", "-")
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What a known server answers when it has moved, or speaks version 2 no longer.
STALE = REDIRECTS | {400, 404, 405, 415, 500, 501}

# A choice: more than this and the server is asked for all branches or tags; git's own limit is
# 65,536, other servers' is not known.
MOST_PREFIXES = 64
# A choice: a server that offers what it cannot do (Gitea 1.17 answers nothing at all) may have
# been mended after this.
BROKEN_FOR = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Server:
    """What is known of a repository's server.

    ``base`` is the repository's URL there (another than configured after a redirect).
    ``object_format`` is None where the server does not tell one. ``is_trusted`` says whether it may
    have the credentials. ``filters`` says whether it offers to send commits without their files.
    """

    base: str
    is_trusted: bool = True
    speaks_v2: bool = False
    object_format: str | None = None
    filters: bool = False


@dataclass(frozen=True, slots=True)
class SignIn:
    """A user name and a secret, for one server only: ``origin`` is its scheme, host and port."""

    origin: tuple[str, str, int | None]
    username: str
    secret: Secret


class GitHttp:
    """A git client that needs no forge's API and counts against none's limit.

    ``sign_in`` is used for repositories on its server whose URL carries no credentials.
    """

    def __init__(
        self, transport: Transport, *, now: Callable[[], datetime], sign_in: SignIn | None = None
    ) -> None:
        self._transport = transport
        self._now = now
        self._sign_in = sign_in
        # By repository URL. Only ever replaced whole, so no lock is needed.
        self._servers: dict[str, Server] = {}
        # Since when a server wants to be left alone with a repository, and its error.
        self._limits: dict[str, tuple[datetime, ForgeRateLimited]] = {}
        # By origin, until when servers that fail at sending commits are not asked to.
        self._broken: dict[tuple[str, str, int | None], datetime] = {}

    def list_refs(
        self,
        repository: Repository,
        *,
        validator: Mapping[str, str],
        timeout_s: float,
        urgent: bool = False,
    ) -> RefsReply:
        """Ask once; the first time, and when the server may have changed, how it speaks before.

        A server that asks to come back later is left alone until then, whoever else fails.
        """
        self._wait_out(repository)
        try:
            return self._list_refs(repository, validator, timeout_s)
        except ForgeRateLimited as limited:
            self._limits[repository.url] = (self._now(), limited)
            raise

    def _wait_out(self, repository: Repository) -> None:
        since, limited = self._limits.get(repository.url) or (None, None)
        if since is None or limited is None:
            return
        # Before that moment the clock was set back, and nothing waits for it to catch up.
        if since <= self._now() < limited.reset_at:
            raise ForgeRateLimited(str(limited), reset_at=limited.reset_at)
        self._limits.pop(repository.url, None)

    def _list_refs(
        self, repository: Repository, validator: Mapping[str, str], timeout_s: float
    ) -> RefsReply:
        exchange = Exchange(self._transport, timeout_s=timeout_s)
        known = validator.get(WAY)
        server = self._servers.get(repository.url)
        if server is not None and server.speaks_v2:
            reply = self._ask(exchange, repository, server)
            if reply.status not in STALE:
                with contextlib.suppress(ForgeAnswerInvalid):
                    return self._read(reply, exchange, repository, server, known)
            self._servers.pop(repository.url, None)
        return self._meet(exchange, repository, known)

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        """Fetch the commits alone, where the server can send them without their files."""
        return commits.told(lambda: self._describe(repository, change, timeout_s))

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        """Return None: the protocol knows no pushes."""
        return None

    def _describe(self, repository: Repository, change: Event, timeout_s: float) -> Details | None:
        if repository.remote.scheme not in {"http", "https"} or self._is_broken(repository):
            return None
        self._wait_out(repository)
        try:
            return self._fetch(repository, change, timeout_s)
        except ForgeRateLimited as limited:
            self._limits[repository.url] = (self._now(), limited)
            raise

    def _fetch(self, repository: Repository, change: Event, timeout_s: float) -> Details | None:
        exchange = Exchange(self._transport, timeout_s=timeout_s, limit_bytes=git_fetch.LIMIT_BYTES)
        server = self._servers.get(repository.url)
        if server is None:
            server, _ = self._greet(exchange, repository)
            self._servers[repository.url] = server
        if not server.filters:
            return None

        def ask(body: bytes) -> bytes:
            reply = self._post(exchange, repository, server, body)
            if reply.status != HTTPStatus.OK:
                raise refusal(reply, now=self._now())
            if not reply.body:
                self._broken[origin(repository.url)] = self._now() + BROKEN_FOR
                raise ValueError("the git server offers to send commits, and cannot")
            return reply.body

        return git_fetch.describe(ask, change, server.object_format, AGENT)

    def _is_broken(self, repository: Repository) -> bool:
        until = self._broken.get(origin(repository.url))
        return until is not None and self._now() < until

    def _meet(self, exchange: Exchange, repository: Repository, known: str | None) -> RefsReply:
        """Ask a server that is not known yet, or not any more."""
        server, advertisement = self._greet(exchange, repository)
        self._servers[repository.url] = server
        reply = self._ask(exchange, repository, server) if server.speaks_v2 else advertisement
        told = self._read(reply, exchange, repository, server, known)
        is_here = server.base == repository.url.rstrip("/")
        return replace(told, moved_to=HERE) if is_here else told

    def _greet(self, exchange: Exchange, repository: Repository) -> tuple[Server, Reply]:
        """Ask for the advertisement, at the place it has moved to if it has, once."""
        server = Server(repository.url.rstrip("/"))
        reply = self._get(exchange, repository, server)
        if reply.status in REDIRECTS:
            server = follow(server, reply.headers.get("Location", ""))
            reply = self._get(exchange, repository, server)
        if reply.status != HTTPStatus.OK:
            raise refusal(reply, now=self._now())
        return greeted(server, reply.body), reply

    def _get(self, exchange: Exchange, repository: Repository, server: Server) -> Reply:
        headers = {"Git-Protocol": "version=2"} | self._authorization(repository, server)
        return exchange.send("GET", server.base + ADVERTISEMENT, headers)

    def _ask(self, exchange: Exchange, repository: Repository, server: Server) -> Reply:
        body = question(repository.refs.prefixes(), server.object_format)
        return self._post(exchange, repository, server, body)

    def _post(
        self, exchange: Exchange, repository: Repository, server: Server, body: bytes
    ) -> Reply:
        headers = {
            "Git-Protocol": "version=2",
            "Content-Type": "application/x-git-upload-pack-request",
            "Accept": "application/x-git-upload-pack-result",
        } | self._authorization(repository, server)
        return exchange.send("POST", server.base + "/git-upload-pack", headers, body)

    def _read(
        self,
        reply: Reply,
        exchange: Exchange,
        repository: Repository,
        server: Server,
        known: str | None,
    ) -> RefsReply:
        if reply.status != HTTPStatus.OK:
            raise refusal(reply, now=self._now())
        is_led_on = server.base != repository.url.rstrip("/") and is_url(server.base)
        moved_to = server.base if is_led_on else None
        seen = fingerprint(reply.body, repository)
        if seen == known:
            validator = {WAY: seen}
            return RefsReply(None, WAY, validator, requests=exchange.requests, moved_to=moved_to)
        listing = parse_v2(reply.body) if server.speaks_v2 else parse_v0(reply.body)
        return RefsReply(
            keep(listing.refs.items(), repository),
            WAY,
            {WAY: seen},
            listing.default_branch,
            exchange.requests,
            moved_to=moved_to,
        )

    def _authorization(self, repository: Repository, server: Server) -> dict[str, str]:
        """Sign in unasked, which saves a round trip, where the secret belongs."""
        if not server.is_trusted:
            return {}
        if repository.credentials is not None:
            return basic(*repository.credentials)
        sign_in = self._sign_in
        if sign_in is None or sign_in.origin != origin(repository.url):
            return {}
        return basic(sign_in.username, sign_in.secret)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a server told: every ref but HEAD, and the full name of the branch HEAD stands for."""

    refs: Mapping[str, str]
    default_branch: str | None


def basic(username: str, secret: Secret) -> dict[str, str]:
    """Return the header that signs in; its value is a secret."""
    pair = f"{username}:{secret.reveal()}".encode()
    return {"Authorization": "Basic " + base64.b64encode(pair).decode("ascii")}


def follow(server: Server, location: str) -> Server:
    """Return where a redirected advertisement says that the repository is now.

    Credentials go along only to the same host, and never from https to http.

    Raises:
        ForgeDenied: It leads to something else than a git repository, or out of https.
        ForgeAnswerInvalid: It is no address at all.
    """
    try:
        there = urljoin(server.base + ADVERTISEMENT, location)
        parts = urlsplit(there)
        # Nobody needs to see, or to use, a name and a password that a server put there.
        there = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        old, new = origin(server.base), origin(there)
    except ValueError as error:
        raise ForgeAnswerInvalid("the server sends git to what is no address") from error
    if not location or not there.endswith(ADVERTISEMENT):
        host = urlsplit(there).hostname
        raise ForgeDenied(f"the server sends git to a page on {host}, perhaps to sign in")
    if old[0] == "https" and new[0] != "https":
        raise ForgeDenied("the server sends git from https to an unsafe address")
    is_upgrade = (old[0], new[0]) == ("http", "https") and new[2] == 443  # noqa: PLR2004 - https
    is_trusted = new == old or (is_upgrade and new[1] == old[1])
    return Server(there.removesuffix(ADVERTISEMENT), is_trusted)


def greeted(server: Server, body: bytes) -> Server:
    """Add to a server what its advertisement says of it."""
    lines, _ = _advertised(body)
    if not lines or lines[0] != b"version 2":
        return Server(server.base, server.is_trusted)
    if not any(line.partition(b"=")[0] == b"ls-refs" for line in lines):
        raise ForgeAnswerInvalid("the git server offers no ls-refs")
    formats = [decode_ref(line[14:]) for line in lines if line.startswith(b"object-format=")]
    fetching = [line[6:].split(b" ") for line in lines if line.startswith(b"fetch=")]
    return Server(
        server.base,
        server.is_trusted,
        speaks_v2=True,
        object_format=formats[0] if formats else None,
        filters=any(b"filter" in offered for offered in fetching),
    )


def question(prefixes: tuple[str, ...], object_format: str | None) -> bytes:
    """Return the ``ls-refs`` request for the refs that begin with ``prefixes``, and for HEAD."""
    if len(prefixes) > MOST_PREFIXES:
        roots = (BRANCH_PREFIX, TAG_PREFIX)
        prefixes = tuple(root for root in roots if any(p.startswith(root) for p in prefixes))
    capabilities = ["command=ls-refs", f"agent={AGENT}"]
    if object_format is not None:
        capabilities.append(f"object-format={object_format}")
    wishes = ["symrefs", "ref-prefix HEAD", *(f"ref-prefix {prefix}" for prefix in prefixes)]
    encoded = [pkt_line.encode(line) for line in capabilities]
    encoded.append(pkt_line.DELIMITER)
    encoded += [pkt_line.encode(line) for line in wishes]
    return b"".join([*encoded, pkt_line.FLUSH])


def parse_v2(body: bytes) -> Listing:
    r"""Read the answer to ``ls-refs``; a lone flush is a repository without refs.

    >>> parse_v2(b"0031" + b"a" * 40 + b" r/x\n0000")
    Listing(refs={'r/x': 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}, default_branch=None)

    Raises:
        ForgeAnswerInvalid: It is cut off, empty, or something else.
    """
    lines = pkt_line.read_plain(body)
    if lines is None:
        return _parse_v2_by_line(body)
    refs: dict[str, str] = {}
    default_branch = None
    for line in lines:
        target, _, name = line.partition(" ")
        if " " in name:
            name, *attributes = name.split(" ")
            if name == "HEAD":
                default_branch = _symref([one.encode() for one in attributes])
                continue
        refs[name] = target
    refs.pop("HEAD", None)
    return Listing(refs, default_branch)


def _parse_v2_by_line(body: bytes) -> Listing:
    """Read an answer in other letters than ASCII, or an odd one, and say what is wrong with it."""
    lines, end = pkt_line.read_section(body)
    if end != len(body):
        raise ForgeAnswerInvalid("the git server says more than was asked")
    refs: dict[str, str] = {}
    default_branch = None
    for line in lines:
        target, _, rest = line.partition(b" ")
        name, *attributes = rest.split(b" ")
        if name == b"HEAD":
            default_branch = _symref(attributes)
        else:
            refs[decode_ref(name)] = target.decode("ascii", "replace")
    return Listing(refs, default_branch)


def parse_v0(body: bytes) -> Listing:
    """Read an advertisement of version 0 or 1, which tells every ref there is.

    Raises:
        ForgeAnswerInvalid: It is cut off, empty, or something else.
    """
    lines, end = _advertised(body)
    if end != len(body):
        raise ForgeAnswerInvalid("the git server says more than was asked")
    if lines and lines[0] == b"version 1":
        lines = lines[1:]
    refs: dict[str, str] = {}
    capabilities: list[bytes] = []
    for number, line in enumerate(lines):
        pair, _, told = line.partition(b"\0")
        if number == 0:
            capabilities = told.split(b" ")
        target, _, name = pair.partition(b" ")
        if target != b"shallow" and name != b"HEAD":
            refs[decode_ref(name)] = target.decode("ascii", "replace")
    heads = [told[12:] for told in capabilities if told.startswith(b"symref=HEAD:")]
    return Listing(refs, decode_ref(heads[0]) if heads else None)


def _advertised(body: bytes) -> tuple[list[bytes], int]:
    """Return an advertisement's lines, with or without the service's announcement before them."""
    lines, end = pkt_line.read_section(body)
    if lines and lines[0].startswith(b"# service="):
        lines, end = pkt_line.read_section(body, end)
    return lines, end


def _symref(attributes: list[bytes]) -> str | None:
    targets = [a.removeprefix(b"symref-target:") for a in attributes if a.startswith(b"symref-")]
    return decode_ref(targets[0]) if targets else None
