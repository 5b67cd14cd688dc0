"""HTTP leaves by one door: deadlines hold, limits hold, and nothing is remembered or told."""

import contextlib
import gzip
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app import __version__
from app.transport import AnswerTooLarge, NoAnswer, Reply, Transport

TLS = Path(__file__).parents[1] / "fakes" / "tls"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Answer: yes\r\n\r\nhello"

# Far beyond the deadlines here; without them it would be minutes, or for ever.
PATIENCE_S = 5.0

Answering = Callable[[socket.socket, bytes], None]


class Server:
    """Answers each request by a test's own bytes; keeps what it was asked, and how it was met."""

    def __init__(self, answer: Answering, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.released = threading.Event()
        self._answer = answer
        self._context = context
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        scheme = "https" if self._context else "http"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
                stack.enter_context(connection)
            while request := read_request(connection):
                self.requests.append(request)
                self._answer(connection, request)

    def close(self) -> None:
        self.released.set()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


def read_request(connection: socket.socket) -> bytes:
    got = b""
    while b"\r\n\r\n" not in got:
        piece = connection.recv(65_536)
        if not piece:
            return b""
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"),
        0,
    )
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def saying(answer: bytes) -> Answering:
    return lambda connection, _: connection.sendall(answer)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(answer: Answering | bytes, context: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(saying(answer) if isinstance(answer, bytes) else answer, context))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = Transport(connections=4)
    yield made
    made.close()


def get(transport: Transport, url: str, *, timeout_s: float = 5.0, limit: int = 1000) -> Reply:
    return transport.send("GET", url, headers={}, timeout_s=timeout_s, limit_bytes=limit)


def test_an_answer_is_told_whatever_its_status(
    serve: Callable[..., Server], transport: Transport
) -> None:
    server = serve(b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\nContent-Length: 2\r\n\r\nno")

    reply = get(transport, server.url)

    assert (reply.status, reply.body) == (503, b"no")
    assert reply.headers["Retry-After"] == reply.headers["RETRY-AFTER"] == "7"


def test_what_is_sent_is_what_was_given_with_few_defaults(
    serve: Callable[..., Server], transport: Transport
) -> None:
    server = serve(OK)

    transport.send("POST", server.url + "a?b=c", headers={"X-Mine": "1"}, body=b"hey", timeout_s=5)
    transport.send("GET", server.url, headers={"user-agent": "Me/1"}, timeout_s=5)

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /a?b=c HTTP/1.1\r\n")
    assert body == b"hey"
    sent = {line.lower() for line in head.decode().split("\r\n")[1:]}
    assert {"x-mine: 1", "content-length: 3", "accept-encoding: gzip"} <= sent
    assert f"user-agent: reposentry/{__version__}" in sent
    assert b"Me/1" in server.requests[1]
    assert b"RepoSentry" not in server.requests[1]


def test_a_connection_is_kept_and_used_again(
    serve: Callable[..., Server], transport: Transport
) -> None:
    server = serve(OK)

    for _ in range(5):
        get(transport, server.url)

    assert (len(server.requests), server.connections) == (5, 1)


def test_a_redirect_is_an_answer_and_not_followed(
    serve: Callable[..., Server], transport: Transport
) -> None:
    elsewhere = serve(OK)
    location = f"Location: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n".encode()
    server = serve(b"HTTP/1.1 302 Found\r\n" + location)

    reply = get(transport, server.url)

    assert (reply.status, reply.headers["location"]) == (302, elsewhere.url)
    assert elsewhere.requests == []


def test_cookies_are_neither_kept_nor_sent(
    serve: Callable[..., Server], transport: Transport
) -> None:
    cookie = b"Set-Cookie: session=1; Path=/\r\nContent-Length: 0\r\n\r\n"
    server = serve(b"HTTP/1.1 200 OK\r\n" + cookie)

    get(transport, server.url)
    get(transport, server.url)

    assert not any(b"cookie" in request.lower() for request in server.requests)


def test_a_server_that_says_nothing_is_given_up_at_the_deadline(
    serve: Callable[..., Server], transport: Transport
) -> None:
    server = serve(lambda connection, _: None)
    began = time.monotonic()

    with pytest.raises(NoAnswer, match=r"^timed out after 0\.2 s$") as caught:
        get(transport, server.url, timeout_s=0.2)

    assert caught.value.kind == "timeout"
    assert not caught.value.began
    assert time.monotonic() - began < PATIENCE_S
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "beginning",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"],
    ids=["status", "headers", "body"],
)
def test_an_answer_that_trickles_is_cut_off_at_the_deadline(
    serve: Callable[..., Server], transport: Transport, beginning: bytes
) -> None:
    def trickle(connection: socket.socket, _: bytes) -> None:
        connection.sendall(beginning)
        while not server.released.wait(0.02):
            connection.sendall(b"H" if not beginning else b"x")

    server = serve(trickle)
    began = time.monotonic()

    with pytest.raises(NoAnswer) as caught:
        get(transport, server.url, timeout_s=0.3, limit=100_000)

    assert caught.value.kind == "timeout"
    assert caught.value.began
    assert time.monotonic() - began < PATIENCE_S


def test_a_name_that_is_not_found_in_time_is_given_up_at_the_deadline(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def resolve(host: str, port: int, **options: object) -> list[object]:
        if options.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "not an address")
        released.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    with pytest.raises(NoAnswer, match="timed out") as caught:
        get(transport, "http://forge.example.com/", timeout_s=0.1)

    released.set()
    assert caught.value.kind == "timeout"


def test_a_name_that_does_not_exist_is_said_so(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(host: str, port: int, **options: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    with pytest.raises(NoAnswer, match=r"^name not found: forge\.example\.com$") as caught:
        get(transport, "http://forge.example.com/")

    assert caught.value.kind == "dns"


def test_an_address_that_is_dead_does_not_use_up_the_time_of_the_next(
    serve: Callable[..., Server], transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(OK)
    port = int(server.url.rsplit(":", 1)[1].rstrip("/"))
    family = socket.AF_INET
    with socket.create_server(("127.0.0.1", 0)) as closing:
        dead = closing.getsockname()
    found = [(family, socket.SOCK_STREAM, 6, "", place) for place in (dead, ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    assert get(transport, "http://forge.example.com/").body == b"hello"


def test_a_refused_connection_is_said_so(transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        port = closing.getsockname()[1]

    with pytest.raises(NoAnswer, match="connection refused by 127") as caught:
        get(transport, f"http://127.0.0.1:{port}/")

    assert (caught.value.kind, caught.value.began) == ("connect", False)


def test_no_secret_of_the_request_is_told_by_an_error(transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        port = closing.getsockname()[1]

    with pytest.raises(NoAnswer) as refused:
        get(transport, f"http://ada:hunter2@127.0.0.1:{port}/?key=hunter2")
    with pytest.raises(NoAnswer) as unspeakable:
        transport.send(
            "GET", f"http://127.0.0.1:{port}/", headers={"X-Key": "hunter2\r\nX: y"}, timeout_s=1
        )

    for caught in (refused, unspeakable):
        assert "hunter2" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://[::1", "nonsense", "http://a b/"])
def test_what_is_no_url_is_said_so(transport: Transport, url: str) -> None:
    with pytest.raises(NoAnswer) as caught:
        get(transport, url)

    assert caught.value.kind == "other"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Le",
    ],
    ids=["length", "chunks", "chunk", "headers"],
)
def test_an_answer_that_is_cut_off_is_none(
    serve: Callable[..., Server], transport: Transport, answer: bytes
) -> None:
    def cut_off(connection: socket.socket, _: bytes) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_RDWR)

    server = serve(cut_off)

    with pytest.raises(NoAnswer) as caught:
        get(transport, server.url)

    assert (caught.value.kind, caught.value.began) == ("closed", True)


def test_a_chunked_answer_is_put_together(
    serve: Callable[..., Server], transport: Transport
) -> None:
    server = serve(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
    )

    assert get(transport, server.url).body == b"hello"
    assert get(transport, server.url).body == b"hello"
    assert server.connections == 1


def compressed(body: bytes) -> bytes:
    packed = gzip.compress(body)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
    return head.encode() + packed


def test_a_compressed_answer_is_unpacked(
    serve: Callable[..., Server], transport: Transport
) -> None:
    server = serve(compressed(b"a" * 900))

    assert get(transport, server.url).body == b"a" * 900


def test_a_compressed_answer_that_swells_beyond_the_limit_is_refused(
    serve: Callable[..., Server], transport: Transport
) -> None:
    server = serve(compressed(bytes(5_000_000)))

    with pytest.raises(AnswerTooLarge):
        get(transport, server.url, limit=100_000)


def test_a_compressed_answer_that_ends_too_soon_is_cut_off(
    serve: Callable[..., Server], transport: Transport
) -> None:
    whole = gzip.compress(os.urandom(500))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 100\r\n\r\n"
    server = serve(head + whole[:100])

    with pytest.raises(NoAnswer) as caught:
        get(transport, server.url)

    assert caught.value.kind == "closed"


@pytest.mark.parametrize(("size", "is_allowed"), [(1000, True), (1001, False)])
def test_a_body_is_read_up_to_the_limit_and_no_further(
    serve: Callable[..., Server], transport: Transport, size: int, is_allowed: bool
) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode()
    server = serve(head + b"x" * size)
    outcome: contextlib.AbstractContextManager[object] = (
        contextlib.nullcontext() if is_allowed else pytest.raises(AnswerTooLarge)
    )

    with outcome:
        assert len(get(transport, server.url, limit=1000).body) == size


def test_only_the_beginning_is_kept_where_that_is_enough(
    serve: Callable[..., Server], transport: Transport
) -> None:
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000
    server = serve(endless)

    reply = transport.send("GET", server.url, headers={}, timeout_s=5, limit_bytes=100, cut=True)
    transport.send("GET", server.url, headers={}, timeout_s=5, limit_bytes=100, cut=True)

    assert reply.body == b"x" * 100
    assert server.connections == 2


def closing_after_first(server_of: list[Server]) -> Answering:
    """Answer each connection's first request, and close at its second without a word."""
    seen: set[int] = set()

    def answer(connection: socket.socket, _: bytes) -> None:
        if connection.fileno() in seen and len(server_of[0].requests) == 2:
            connection.shutdown(socket.SHUT_RDWR)
            return
        seen.add(connection.fileno())
        connection.sendall(OK)

    return answer


def test_a_kept_connection_that_turns_out_dead_is_replaced_once(
    serve: Callable[..., Server], transport: Transport
) -> None:
    servers: list[Server] = []
    servers.append(serve(closing_after_first(servers)))
    get(transport, servers[0].url)

    reply = get(transport, servers[0].url)

    assert reply.body == b"hello"
    assert (servers[0].connections, len(servers[0].requests)) == (2, 3)


def test_what_has_an_effect_is_never_sent_twice(
    serve: Callable[..., Server], transport: Transport
) -> None:
    servers: list[Server] = []
    servers.append(serve(closing_after_first(servers)))
    url = servers[0].url
    get(transport, url)

    with pytest.raises(NoAnswer, match="without an answer"):
        transport.send("POST", url, headers={}, body=b"x", timeout_s=5, repeatable=False)

    assert len(servers[0].requests) == 2


def test_a_new_connection_that_dies_is_not_replaced(
    serve: Callable[..., Server], transport: Transport
) -> None:
    server = serve(lambda connection, _: connection.shutdown(socket.SHUT_RDWR))

    with pytest.raises(NoAnswer, match="without an answer") as caught:
        get(transport, server.url)

    assert caught.value.kind == "closed"
    assert len(server.requests) == 1


def server_context(*, wants_client: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
    if wants_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(TLS / "authority.pem")
    return context


def test_an_authority_of_ones_own_is_trusted_beside_the_public_ones(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ssl.SSLContext] = []
    create = ssl.create_default_context

    def counted(*, cafile: str) -> ssl.SSLContext:
        made.append(create(cafile=cafile))
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", counted)
    server = serve(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", server_context()
    )
    transport = Transport(ca_file=TLS / "authority.pem")

    bodies = [get(transport, server.url).body for _ in range(3)]
    transport.close()

    assert bodies == [b"hi"] * 3
    assert len(made) == 1  # one context for all connections, since each costs 20 ms


def test_a_certificate_of_an_unknown_authority_is_not_trusted(
    serve: Callable[..., Server], transport: Transport
) -> None:
    server = serve(OK, server_context())

    with pytest.raises(NoAnswer, match=r"certificate of 127\.0\.0\.1 not trusted: .+") as caught:
        get(transport, server.url)

    assert caught.value.kind == "tls"
    assert server.requests == []


def test_a_client_certificate_signs_in(serve: Callable[..., Server]) -> None:
    server = serve(OK, server_context(wants_client=True))
    transport = Transport(
        ca_file=TLS / "authority.pem", client_cert=(TLS / "certificate.pem", TLS / "key.pem")
    )

    body = get(transport, server.url).body
    transport.close()

    assert body == b"hello"


def test_a_certificate_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    transport = Transport(ca_file=tmp_path / "missing.pem")

    with pytest.raises(NoAnswer, match=r"missing\.pem") as caught:
        get(transport, "https://127.0.0.1:1/")

    transport.close()
    assert caught.value.kind == "tls"


def test_a_proxy_is_asked_but_for_this_machine_and_named_exceptions(
    serve: Callable[..., Server],
) -> None:
    proxy, direct = serve(OK), serve(OK)
    port = direct.url.rsplit(":", 1)[1]
    transport = Transport(
        proxies={"http": proxy.url, "no_proxy": "localhost.example, .internal.example"}
    )

    get(transport, "http://forge.example.com/a")
    get(transport, f"http://127.0.0.1:{port}")
    with pytest.raises(NoAnswer, match="name not found"):
        get(transport, "http://git.internal.example.invalid.internal.example/")
    transport.close()

    assert [request.split(b"\r\n")[0] for request in proxy.requests] == [
        b"GET http://forge.example.com/a HTTP/1.1"
    ]
    assert len(direct.requests) == 1


def test_many_threads_share_one_transport(
    serve: Callable[..., Server], transport: Transport
) -> None:
    server = serve(OK)
    bodies: list[bytes] = []

    def work() -> None:
        bodies.extend(get(transport, server.url).body for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert bodies == [b"hello"] * 80
