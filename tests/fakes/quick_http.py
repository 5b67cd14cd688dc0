"""An HTTP/1.1 server on 127.0.0.1 that is quick enough to stand for a forge of 10,000 repositories.

One thread, one loop: a service's ``respond`` is called for one request at a time and must not
block. Several hundred requests a second cost a few per cent of a core.
"""

import asyncio
import contextlib
import ssl
import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, unquote

Headers = Sequence[tuple[str, str]]

TLS = Path(__file__).with_name("tls")
REASONS = {status.value: status.phrase for status in HTTPStatus}
GZIP = 16 + zlib.MAX_WBITS
LEAST_GZIPPED = 1024  # bytes; as servers are usually set up
BARE = frozenset({204, 304})  # statuses that have no body
START_DEADLINE_S = 10.0
STOP_DEADLINE_S = 10.0


@dataclass(slots=True)
class Request:
    """One request as it came; header names are in lower case, ``client`` is who is asked by."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    client: str

    @property
    def path(self) -> str:
        """The path as it was sent, without its query."""
        return self.target.partition("?")[0]

    @property
    def segments(self) -> list[str]:
        """The path's parts, each decoded by itself."""
        return [unquote(part) for part in self.path.split("/") if part]

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; the last one counts."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))


@dataclass(slots=True)
class Answer:
    """What is answered, ``after_s`` seconds; ``cut`` ends the connection within the body."""

    status: int
    body: bytes = b""
    headers: Headers = ()
    sort: str = "application/json; charset=utf-8"
    after_s: float = 0.0
    cut: bool = False
    over: Callable[[], None] = field(default=lambda: None)


class QuickServer:
    """Serves in a thread of its own, over TLS if ``tls``; ``respond`` is for subclasses.

    ``port`` 0 takes a free one. ``latency_s`` is added to every answer.
    """

    def __init__(self, *, port: int = 0, tls: bool = False, latency_s: float = 0.0) -> None:
        self.latency_s = latency_s
        self._port = port
        self._context: ssl.SSLContext | None = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stopping = asyncio.Event()
        self._connections: set[_Connection] = set()
        self._thread = threading.Thread(target=self._run, name="quick-http", daemon=True)

    @property
    def address(self) -> str:
        """Where it listens, as ``http://127.0.0.1:PORT``."""
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self._port}"

    def respond(self, request: Request) -> Answer:
        """Answer one request; called by the server's own thread only."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(START_DEADLINE_S):
            raise TimeoutError("the server did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(STOP_DEADLINE_S)

    def serve(self) -> None:
        """Serve until the process is interrupted."""
        with self, contextlib.suppress(KeyboardInterrupt):
            print(self.address, flush=True)  # noqa: T201 - a command's answer
            threading.Event().wait()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await self._loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self._port, ssl=self._context, backlog=512
        )
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        server.close()
        for connection in tuple(self._connections):
            connection.end()
        await asyncio.sleep(0)  # lets the transports close


class _Connection(asyncio.Protocol):
    """One kept connection; the requests on it are answered one after the other."""

    def __init__(self, server: QuickServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._is_busy = False
        self._client = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._client = str(transport.get_extra_info("peername")[0])
        self._server._connections.add(self)  # noqa: SLF001 - its own part

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._server._connections.discard(self)  # noqa: SLF001 - as above

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._is_busy:
            self._take()

    def end(self) -> None:
        """Close without an answer."""
        if self._transport is not None:
            self._transport.abort()

    def _take(self) -> None:
        """Answer the next request, once all of it is here."""
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        first, *lines = self._received[:end].decode("latin-1").split("\r\n")
        headers = {
            name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)
        }
        whole = end + 4 + int(headers.get("content-length", 0))
        if len(self._received) < whole:
            return
        body = bytes(self._received[end + 4 : whole])
        del self._received[:whole]
        method, target, _ = first.split(" ", 2)
        self._is_busy = True
        request = Request(method, target, headers, body, self._client)
        try:
            answer = self._server.respond(request)
        except Exception as error:  # noqa: BLE001 - a fake that fails says so in the test's log
            answer = Answer(500, f"the fake failed: {error!r}".encode(), sort="text/plain")
        delay_s = answer.after_s + self._server.latency_s
        if delay_s:
            self._server._loop.call_later(delay_s, self._answer, request, answer)  # noqa: SLF001
        else:
            self._answer(request, answer)

    def _answer(self, request: Request, answer: Answer) -> None:
        answer.over()
        self._is_busy = False
        if self._transport is None:
            return
        body = b"" if answer.status in BARE else answer.body
        headers = [("Date", formatdate(usegmt=True)), *answer.headers]
        if answer.status not in BARE:
            if len(body) >= LEAST_GZIPPED and "gzip" in request.headers.get("accept-encoding", ""):
                body = gzipped(body)
                headers.append(("Content-Encoding", "gzip"))
            headers += [("Content-Type", answer.sort), ("Content-Length", str(len(body)))]
        lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Unknown')}"]
        lines += [f"{name}: {text}" for name, text in headers]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        if answer.cut:
            self._transport.write(head + body[: len(body) // 2])
            self._transport.close()
            return
        self._transport.write(head if request.method == "HEAD" else head + body)
        if request.headers.get("connection", "").lower() == "close":
            self._transport.close()
        elif self._received:
            self._take()


_GZIPPED: dict[bytes, bytes] = {}
_MOST_GZIPPED = 512  # a choice: the pages that are asked for over and over


def gzipped(body: bytes) -> bytes:
    """Compress a body as servers do on their way out; the same body only once."""
    found = _GZIPPED.get(body)
    if found is None:
        packer = zlib.compressobj(1, wbits=GZIP)
        found = packer.compress(body) + packer.flush()
        if len(_GZIPPED) >= _MOST_GZIPPED:
            _GZIPPED.clear()
        _GZIPPED[body] = found
    return found
