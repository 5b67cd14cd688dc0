"""The one door to HTTP: pooled connections, one TLS context, and deadlines that hold.

Nothing here knows what is asked or answered. Nothing is retried, redirected, cached or remembered
between two exchanges but the open connections.
"""

import http.client
import io
import logging
import queue
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import certifi
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from app import __version__

USER_AGENT = f"RepoSentry/{__version__}"
MEBIBYTE = 1024 * 1024
PIECE_BYTES = 64 * 1024  # a choice: the most that is read at once
CUT_OFF = "connection closed before the answer was whole"
GZIP = zlib.MAX_WBITS | 16  # zlib's way of naming the gzip format

Kind = Literal["timeout", "connect", "dns", "tls", "closed", "other"]

# urllib3 writes whole URLs, with queries that may hold secrets, at lower levels.
logging.getLogger("urllib3").setLevel(logging.ERROR)


class NoAnswer(Exception):
    """There was no usable HTTP answer; the message is one sentence without any secret.

    ``kind`` is timeout, connect (refused or unreachable), dns, tls, closed (before the answer was
    whole) or other. ``began`` tells whether some of an answer had come.
    """

    def __init__(self, message: str, *, kind: Kind, began: bool = False) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.began = began


class AnswerTooLarge(NoAnswer):
    """The body is larger than the caller was ready to take; it was not read to its end."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer. ``headers`` are found in any case; ``body`` is already decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reached:
    """That a server takes connections: its TLS version and how long its certificate holds.

    Both are None over plain HTTP.
    """

    tls: str | None = None
    certificate_until: datetime | None = None


class Transport:
    """Sends HTTP requests; safe for many threads.

    Args:
        ca_file: Certificate authorities (PEM) to trust beside the public ones.
        client_cert: Certificate and key files (PEM) with which to sign in by TLS.
        connections: How many idle connections to keep open for each host.
        proxies: Proxy URLs by the scheme of what is asked for (``http``, ``https``); ``no_proxy``
            lists hosts and domains, separated by commas, that are asked directly. This machine
            itself always is. The environment is not looked at.
    """

    def __init__(
        self,
        *,
        ca_file: Path | None = None,
        client_cert: tuple[Path, Path] | None = None,
        connections: int = 64,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        self._proxies = dict(proxies or {})
        self._direct = _host_suffixes(self._proxies.pop("no_proxy", ""))
        self._adapter = _Adapter(ca_file, client_cert, connections)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout_s: float,
        limit_bytes: int = 16 * MEBIBYTE,
        cut: bool = False,
        repeatable: bool = True,
    ) -> Reply:
        """Exchange one request for one answer, whatever its status; a redirect is an answer too.

        A kept connection that turns out to be dead before a byte of the answer came is replaced
        once, as HTTP/1.1 clients may: such a connection was closed by the server while idle.

        Args:
            method: GET, POST, …
            url: An http or https URL. User and password in it are not used.
            headers: What to send; User-Agent and Accept-Encoding have defaults.
            body: Its length is told by a Content-Length.
            timeout_s: Seconds for everything: name, connection, TLS, request, the whole answer.
            limit_bytes: The largest body to accept, after decompression.
            cut: Return the first ``limit_bytes`` of a larger body, and drop the connection.
            repeatable: Whether the server may be asked twice; false for what has an effect there,
                since nobody can tell a dead connection from a server that acted and then fell.

        Raises:
            AnswerTooLarge: The body is larger than ``limit_bytes``, and ``cut`` is false.
            NoAnswer: No whole answer came in time; ``kind`` says why not.
        """
        exchange = _Exchange(time.monotonic() + timeout_s)
        _current.exchange = exchange
        try:
            prepared = _prepare(method, url, headers, body)
            try:
                return self._exchange(prepared, exchange, limit_bytes, cut=cut)
            except _FAILURES:
                if not (repeatable and exchange.may_repeat):
                    raise
                exchange.is_repeat = True
                return self._exchange(prepared, exchange, limit_bytes, cut=cut)
        except _FAILURES as error:
            # Not chained: those errors' texts hold URLs with their queries, and header values.
            began = exchange.received > 0
            raise _explain(error, _host(url), timeout_s=timeout_s, began=began) from None

    def reach(self, url: str, *, timeout_s: float) -> Reached:
        """Connect to a URL's server, by TLS where it says so, and send nothing; no proxy is used.

        Args:
            url: An http or https URL.
            timeout_s: Seconds for everything.

        Raises:
            NoAnswer: It cannot be reached, or its certificate is not trusted.
        """
        host = _host(url)
        exchange = _Exchange(time.monotonic() + timeout_s)
        try:
            parts = urlsplit(url)
            is_tls = parts.scheme == "https"
            with _connect(host, parts.port or (443 if is_tls else 80), (), exchange) as sock:
                if not is_tls:
                    return Reached()
                sock.settimeout(exchange.remaining_s())
                with self._adapter.tls().wrap_socket(sock, server_hostname=host) as wrapped:
                    ends = (wrapped.getpeercert() or {}).get("notAfter")
                    until = ssl.cert_time_to_seconds(ends) if isinstance(ends, str) else None
                    return Reached(
                        wrapped.version(),
                        None if until is None else datetime.fromtimestamp(until, UTC),
                    )
        except _FAILURES as error:
            raise _explain(error, host, timeout_s=timeout_s, began=False) from None

    def _exchange(
        self, prepared: requests.PreparedRequest, exchange: "_Exchange", limit: int, *, cut: bool
    ) -> Reply:
        seconds = exchange.remaining_s()
        proxies = None if self._is_direct(_host(prepared.url or "")) else self._proxies
        # The adapter is asked itself: a session would merge settings and keep cookies.
        response = self._adapter.send(
            prepared, stream=True, timeout=seconds, verify=True, proxies=proxies
        )
        raw = response.raw
        whole = False
        try:
            body, whole = _read(raw, limit)
        finally:
            if not whole:
                raw.close()
            raw.release_conn()
        if not whole and not cut:
            raise AnswerTooLarge(
                f"the answer is larger than {limit} bytes", kind="other", began=True
            )
        return Reply(raw.status, raw.headers, body)

    def _is_direct(self, host: str) -> bool:
        if not self._proxies:
            return True
        is_here = host in {"localhost", "::1"} or host.startswith("127.")
        return is_here or f".{host}".endswith(self._direct)

    def close(self) -> None:
        """Close the idle connections; those in use are closed when their exchange is over."""
        self._adapter.close()


class _Exchange:
    """One call of ``send``, as its thread's connection sees it."""

    __slots__ = ("deadline", "is_repeat", "is_reused", "received")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.is_repeat = False
        self.is_reused = True
        self.received = 0

    @property
    def may_repeat(self) -> bool:
        """Whether a kept connection failed without a byte of an answer, for the first time."""
        in_time = time.monotonic() < self.deadline
        return self.is_reused and not self.received and not self.is_repeat and in_time

    def remaining_s(self) -> float:
        """Return the seconds that are left, or raise TimeoutError."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Current(threading.local):
    """The exchange that this thread is in; libraries between us and the socket know no deadline."""

    exchange: _Exchange


_current = _Current()


class _TimedReader(io.RawIOBase):
    """Reads from a socket, each time with what is left of the exchange's time.

    A socket's own timeout begins anew with every byte, so that a trickle would never end.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, exchange: _Exchange) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._exchange = exchange
        self.is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._sock.settimeout(self._exchange.remaining_s())
        got: int | None = self._raw.readinto(buffer)
        self._exchange.received += got or 0
        self.is_over = got == 0
        return got

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._reader = _TimedReader(self.fp.detach(), sock, _current.exchange)
        self.fp: Any = io.BufferedReader(self._reader)

    def begin(self) -> None:
        """Read the headers; http.client takes their being cut off for their end."""
        super().begin()
        if self._reader.is_over:
            raise http.client.IncompleteRead(b"")


class _Timed:
    """What both sorts of connection add to urllib3's: the exchange's deadline everywhere."""

    response_class: Any = _TimedResponse
    sock: Any

    @property
    def is_connected(self) -> bool:
        """Whether the pool may use this kept connection; a repeat never takes one."""
        connected: bool = super().is_connected  # type: ignore[misc] # the other base has it
        return connected and not _current.exchange.is_repeat

    def send(self, data: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(_current.exchange.remaining_s())
        super().send(data)  # type: ignore[misc] # the other base has it

    def _new_conn(self: Any) -> socket.socket:
        exchange = _current.exchange
        exchange.is_reused = False
        return _connect(self.host, self.port, self.socket_options or (), exchange)


class _PlainConnection(_Timed, HTTPConnection):
    pass


class _TlsConnection(_Timed, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _PlainPool, "https": _TlsPool}


class _Adapter(HTTPAdapter):
    """Requests' adapter with our connections and one TLS context for all of them.

    Its own way reads the whole bundle of authorities anew for each connection: 24 ms of CPU
    against 2 (measured in November 2026 with 118 authorities).
    """

    def __init__(
        self, ca_file: Path | None, client_cert: tuple[Path, Path] | None, connections: int
    ) -> None:
        self._ca_file = ca_file
        self._client_cert = client_cert
        self._tls: ssl.SSLContext | None = None
        self._tls_lock = threading.Lock()
        super().__init__(pool_connections=connections, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: object, cert: object = None
    ) -> tuple[Any, Any]:
        parts = urlsplit(request.url or "")
        place = {"scheme": parts.scheme, "host": parts.hostname, "port": parts.port}
        return place, {"ssl_context": self.tls()} if parts.scheme == "https" else {}

    def cert_verify(self, conn: Any, url: str, verify: object, cert: object) -> None:
        """Leave the connection alone: the context says whom to trust."""

    def tls(self) -> ssl.SSLContext:
        """Make the context when it is first needed, since it costs 20 ms and some memory."""
        with self._tls_lock:
            if self._tls is None:
                self._tls = _tls_context(self._ca_file, self._client_cert)
            return self._tls


def _tls_context(ca_file: Path | None, client_cert: tuple[Path, Path] | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if ca_file is not None:
            context.load_verify_locations(cafile=ca_file)
        if client_cert is not None:
            context.load_cert_chain(*client_cert)
    except OSError as error:  # an SSLError is one too
        files = [str(file) for file in (ca_file, *(client_cert or ())) if file is not None]
        message = f"TLS cannot be prepared from {' and '.join(files)}: {error.strerror or error}"
        raise NoAnswer(message, kind="tls") from error
    return context


_FAILURES = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,  # http.client's word for a header or method that cannot be sent
)


def _prepare(
    method: str, url: str, headers: Mapping[str, str], body: bytes | None
) -> requests.PreparedRequest:
    """Make what the adapter sends, without a session's merging (it doubles the CPU of a poll)."""
    prepared = requests.PreparedRequest()
    prepared.method = method
    prepared.url = _checked(url)
    prepared.headers = requests.structures.CaseInsensitiveDict(
        {"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"}
    )
    prepared.headers.update(headers)
    if body is not None:
        prepared.body = body
        prepared.headers["Content-Length"] = str(len(body))
    return prepared


@lru_cache(maxsize=16_384)  # about as many URLs as one process polls
def _checked(url: str) -> str:
    """Return the URL as it is sent: host in ASCII, path encoded; no user, no fragment."""
    prepared = requests.PreparedRequest()
    prepared.prepare_url(url, None)
    bare: str = requests.utils.urldefragauth(prepared.url or "")
    return bare


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _host_suffixes(text: str) -> tuple[str, ...]:
    names = (name.strip().lower().lstrip("*") for name in text.split(","))
    return tuple(f".{name.lstrip('.')}" for name in names if name)


def _read(raw: Any, limit: int) -> tuple[bytes, bool]:
    """Read a body of up to ``limit`` bytes; say whether that was all of it.

    What is compressed must keep to the limit before and after.
    """
    pieces = []
    room = limit + 1
    while room and (piece := raw.read(min(room, PIECE_BYTES), decode_content=False)):
        pieces.append(piece)
        room -= len(piece)
    body = b"".join(pieces)
    encoding = raw.headers.get("Content-Encoding", "identity").strip().lower()
    if body and encoding in {"gzip", "x-gzip"}:
        return _inflate(body[:limit], limit, is_whole=room > 0)
    if body and encoding not in {"identity", ""}:
        raise NoAnswer(f"the answer's encoding {encoding!r} was not asked for", kind="other")
    return body[:limit], room > 0


def _inflate(compressed: bytes, limit: int, *, is_whole: bool) -> tuple[bytes, bool]:
    inflated = b""
    try:
        while compressed and len(inflated) <= limit:
            member = zlib.decompressobj(GZIP)
            inflated += member.decompress(compressed, limit + 1 - len(inflated))
            if not member.eof:
                if is_whole and len(inflated) <= limit:
                    raise NoAnswer(CUT_OFF, kind="closed", began=True)
                break
            compressed = member.unused_data
    except zlib.error:
        raise NoAnswer("the answer is not the gzip it says it is", kind="other") from None
    return inflated[:limit], is_whole and len(inflated) <= limit


def _connect(host: str, port: int, options: Any, exchange: _Exchange) -> socket.socket:
    """Connect to the first of a host's addresses that answers, each with its share of the time."""
    failure: OSError | None = None
    addresses = _resolve(host, port, exchange)
    for left, (family, kind, protocol, _, address) in zip(
        range(len(addresses), 0, -1), addresses, strict=True
    ):
        sock = socket.socket(family, kind, protocol)
        try:
            for option in options:
                sock.setsockopt(*option)
            sock.settimeout(exchange.remaining_s() / left)
            sock.connect(address)
            sock.settimeout(exchange.remaining_s())
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure or OSError("the name has no address")


def _resolve(host: str, port: int, exchange: _Exchange) -> list[Any]:
    """Find a host's addresses in time; the system's resolver knows no deadline."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass  # a name, not an address
    answer: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as error:
            answer.put(error if isinstance(error, OSError) else socket.gaierror(str(error)))

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        found = answer.get(timeout=exchange.remaining_s())
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(found, OSError):
        raise found
    return found


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk from an error to what lies under it, outermost first."""
    yield error
    inner = (error.__cause__, getattr(error, "reason", None), *error.args)
    for cause in inner:
        if isinstance(cause, BaseException):
            yield from _causes(cause)


# In this order: the first sort that is found anywhere under the error explains it.
_SORTS: tuple[tuple[type[BaseException], Kind, str], ...] = (
    (ssl.SSLCertVerificationError, "tls", "TLS certificate of {host} not trusted: {detail}"),
    (TimeoutError, "timeout", "timed out after {timeout_s:.3g} s"),
    (urllib3.exceptions.TimeoutError, "timeout", "timed out after {timeout_s:.3g} s"),
    (socket.gaierror, "dns", "name not found: {host}"),
    (ConnectionRefusedError, "connect", "connection refused by {host}"),
    (ssl.SSLEOFError, "closed", "connection closed during TLS by {host}"),
    (ssl.SSLError, "tls", "TLS failed with {host}: {detail}"),
    (ConnectionError, "closed", "{closed}"),
    (http.client.IncompleteRead, "closed", "{closed}"),
    (urllib3.exceptions.IncompleteRead, "closed", "{closed}"),
    (http.client.HTTPException, "other", "{host} does not answer in HTTP"),
    (requests.exceptions.InvalidURL, "other", "the URL is not valid"),
    (requests.exceptions.MissingSchema, "other", "the URL is not valid"),
    (ValueError, "other", "the request cannot be spelled in HTTP (header, method or URL)"),
)


def _explain(error: BaseException, host: str, *, timeout_s: float, began: bool) -> NoAnswer:
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, NoAnswer):
            return cause
    for sort, kind, message in _SORTS:
        for cause in causes:
            if isinstance(cause, sort):
                said = message.format(
                    host=host,
                    timeout_s=timeout_s,
                    detail=_tls_detail(cause),
                    closed=CUT_OFF if began else f"connection closed by {host} without an answer",
                )
                return NoAnswer(said, kind=kind, began=began)
    system = next((c for c in causes if isinstance(c, OSError) and c.strerror), None)
    if system is not None:
        return NoAnswer(f"no connection to {host}: {system.strerror}", kind="connect", began=began)
    return NoAnswer(
        f"no usable answer from {host} ({type(error).__name__})", kind="other", began=began
    )


def _tls_detail(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    reason = getattr(error, "reason", None)
    return str(reason or "no common protocol").replace("_", " ").lower()
