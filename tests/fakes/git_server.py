"""A git server on 127.0.0.1 that can misbehave: real ``git http-backend``, and faults on demand.

As a process: ``python -m tests.fakes.git_server ROOT [--port N] [--user U --password P]``.
"""

import argparse
import base64
import contextlib
import hmac
import os
import socket
import struct
import subprocess
import threading
from collections import Counter
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from tests.fakes.git_repository import git_environment

FAULTS = frozenset({"500", "403", "404", "429", "503", "garbage", "half", "empty", "hang", "reset"})
HTML = b"<!DOCTYPE html><title>Maintenance</title><p>Please come back later.</p>"


class LoopbackServer(ThreadingHTTPServer):
    """Serves each connection from its own thread, and can end them all."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, port: int, handler: type["FaultyHandler"], owner: Any) -> None:
        self.owner = owner
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away; a real server does not either."""

    def drop_connections(self) -> None:
        """End every open connection, as a restarted server does."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class LoopbackService:
    """A server on 127.0.0.1 in a thread of its own, with a ``fault`` that can be set at any time.

    ``fault`` is None, a status of 403, 404, 429 (with ``Retry-After: 1``), 500, 503 as text, or
    ``garbage`` (200 and HTML), ``half`` (the answer is cut in its middle, its Content-Length that
    of the whole), ``empty`` (200 without a body), ``hang`` (no answer before the fault is changed)
    or ``reset``. ``requests`` counts what was asked by its last words; ``latency_s`` delays
    every answer.
    """

    handler: type["FaultyHandler"]

    def __init__(self, *, port: int = 0) -> None:
        self.requests: Counter[str] = Counter()
        self.latency_s = 0.0
        self._fault: str | None = None
        self._changed = threading.Event()
        self._lock = threading.Lock()
        self._server = LoopbackServer(port, self.handler, self)
        self._thread = threading.Thread(target=self._serve, name="loopback", daemon=True)

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.02)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.fault = None
        self._server.shutdown()
        self._server.drop_connections()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        """Where it listens, as ``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def fault(self) -> str | None:
        """How it misbehaves now; changing it releases what hangs."""
        return self._fault

    @fault.setter
    def fault(self, fault: str | None) -> None:
        if fault is not None and fault not in FAULTS:
            raise ValueError(f"{fault} is not among {sorted(FAULTS)}")
        with self._lock:
            self._fault = fault
            self._changed.set()
            self._changed = threading.Event()

    def until_changed(self) -> threading.Event:
        """Return what is set when the present fault is over."""
        with self._lock:
            return self._changed

    def drop_connections(self) -> None:
        """End every open connection, as a restarted server does."""
        self._server.drop_connections()

    def count(self, what: str) -> None:
        """Count one request."""
        with self._lock:
            self.requests[what] += 1


class FaultyHandler(BaseHTTPRequestHandler):
    """Answers over a connection that is kept open, or misbehaves as its service is told to."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    @property
    def service(self) -> Any:
        """The service whose connection this is."""
        assert isinstance(self.server, LoopbackServer)
        return self.server.owner

    def answer(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """Say how the request ``body`` is answered where there is no fault."""
        raise NotImplementedError

    def _respond(self) -> None:
        body = self._request_body()
        service: LoopbackService = self.service
        service.count(self.path.partition("?")[0].rsplit("/", 1)[-1])
        if service.latency_s:
            service.until_changed().wait(service.latency_s)
        fault = service.fault
        if fault is None or fault == "half":
            status, headers, answer = self.answer(body)
            self._send(status, headers, answer, sent=len(answer) // 2 if fault else None)
        else:
            self._misbehave(fault)

    do_GET = do_POST = do_HEAD = _respond  # noqa: N815 - the names http.server looks for

    def _misbehave(self, fault: str) -> None:
        if fault == "hang":
            self.service.until_changed().wait()
            self.close_connection = True
        elif fault == "reset":
            # A lingering time of zero makes the close a reset.
            self.connection.setsockopt(
                socket.SOL_SOCKET,
                socket.SO_LINGER,
                struct.pack("hh" if os.name == "nt" else "ii", 1, 0),
            )
            self.connection.close()
            self.close_connection = True
        elif fault == "garbage":
            self._send(200, [("Content-Type", "text/html")], HTML)
        elif fault == "empty":
            self._send(200, [("Content-Type", "application/octet-stream")], b"")
        else:
            more = [("Retry-After", "1")] if fault == "429" else []
            self._send(int(fault), [("Content-Type", "text/html"), *more], HTML)

    def _send(
        self,
        status: int,
        headers: list[tuple[str, str]],
        body: bytes,
        *,
        sent: int | None = None,
    ) -> None:
        self.send_response_only(status)
        for name, text in headers:
            self.send_header(name, text)
        if status not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
            self.send_header("Content-Length", str(len(body)))
        if sent is not None:
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:sent])
        self.wfile.flush()

    def _request_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return bytes(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - http.server's name
        """Keep the terminal for the tests' own words."""


class GitHandler(FaultyHandler):
    """Hands each request to ``git http-backend``, after signing in where that is asked for."""

    def answer(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        server: GitServer = self.service
        path, _, query = self.path.partition("?")
        name, _, rest = path.lstrip("/").partition("/")
        if name in server.moved:
            there = f"{server.moved[name]}/{rest}{'?' if query else ''}{query}"
            return 301, [("Location", there)], b""
        if not server.admits(self.headers.get("Authorization")):
            realm = ("WWW-Authenticate", 'Basic realm="git"')
            return 401, [realm, ("Content-Type", "text/plain")], b"Please sign in.\n"
        return self._backend(path, query, body)

    def _backend(
        self, path: str, query: str, body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        server: GitServer = self.service
        environment = git_environment() | {
            "GIT_PROJECT_ROOT": str(server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_USER": server.username or "anyone",  # without one, pushing is refused
        }
        if server.protocol_v2 and self.headers.get("Git-Protocol"):
            environment["GIT_PROTOCOL"] = self.headers["Git-Protocol"]
        finished = subprocess.run(
            ["git", "http-backend"],  # noqa: S607 - the git that the tests' user has
            check=False,
            env=environment,
            input=body,
            capture_output=True,
        )
        head, _, answer = finished.stdout.partition(b"\r\n\r\n")
        lines = (line.partition(": ") for line in head.decode("latin-1").split("\r\n") if line)
        headers = [(header, text) for header, _, text in lines]
        status = next((int(text[:3]) for header, text in headers if header == "Status"), 200)
        return status, [pair for pair in headers if pair[0] != "Status"], answer


class GitServer(LoopbackService):
    """Serves the bare repositories under ``root`` for fetching and pushing.

    ``protocol_v2`` false makes it an old server. ``moved`` maps a repository's name to the URL
    where it is now, told by a redirect.
    """

    handler = GitHandler

    def __init__(
        self,
        root: Path,
        *,
        username: str | None = None,
        password: str | None = None,
        protocol_v2: bool = True,
        port: int = 0,
    ) -> None:
        self.root = root
        self.username = username
        self.password = password
        self.protocol_v2 = protocol_v2
        self.moved: dict[str, str] = {}
        super().__init__(port=port)

    def url(self, name: str) -> str:
        """Return the URL of the repository in the directory ``name``, without credentials."""
        return f"{self.address}/{quote(name)}"

    def admits(self, authorization: str | None) -> bool:
        """Tell whether an Authorization header opens the door."""
        if self.username is None:
            return True
        pair = f"{self.username}:{self.password}".encode()
        wanted = "Basic " + base64.b64encode(pair).decode()
        return hmac.compare_digest(wanted.encode(), (authorization or "").encode())


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--user")
    parser.add_argument("--password")
    chosen = parser.parse_args()
    server = GitServer(
        chosen.root, username=chosen.user, password=chosen.password, port=chosen.port
    )
    with server, contextlib.suppress(KeyboardInterrupt):
        print(server.address, flush=True)  # noqa: T201 - a command's answer
        threading.Event().wait()


if __name__ == "__main__":
    main()
