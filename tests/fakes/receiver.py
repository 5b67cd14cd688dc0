"""A webhook receiver on 127.0.0.1 that remembers every request, and misbehaves when told to.

In a test: ``with RecordingReceiver("s3cret") as receiver:`` and look at ``receiver.records``.
As a process of its own, for tests that kill things: ``python -m tests.fakes.receiver --port N
--log FILE [--secret-file F] [--fault-file F]`` appends one JSON line per request.
"""

import argparse
import hashlib
import hmac
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

# How often a request that hangs looks whether it may go on.
GLANCE_S = 0.02
FAULTS = ("hang", "reset", "trickle", "stall", "lost")
TAKEN = b'{"taken":true}'


@dataclass(frozen=True, slots=True)
class Record:
    """One request that arrived whole.

    ``at_s`` is the wall clock in seconds since 1970. ``valid`` tells whether the body's signature
    is right, and is None where the receiver has no secret. ``status`` is what was going to be
    answered, None for a fault.
    """

    at_s: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    valid: bool | None
    status: int | None

    def header(self, name: str) -> str | None:
        """Return a header's value whatever its capitals, or None."""
        wanted = name.lower()
        return next((v for k, v in self.headers.items() if k.lower() == wanted), None)

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def delivery(self) -> str | None:
        """The delivery id that RepoSentry sends with every payload."""
        return self.header("X-RepoSentry-Delivery")


Reply: TypeAlias = tuple[int, Mapping[str, str], bytes]
# What is answered: a status with headers and a body, a fault by its name, or the very bytes.
Decision: TypeAlias = Reply | str | bytes
# A status; a fault by its name; or a function that chooses among these and whole answers.
Answering: TypeAlias = int | str | Callable[[Record], int | Decision]


class RecordingReceiver:
    """A threaded HTTP server that answers as ``answer`` says; safe to use from many threads.

    ``answer`` may be set at any time: a status, a function of the request, or a fault.

    - ``hang``: nothing comes until ``answer`` is set anew, and then that; or the end.
    - ``reset``: the connection is reset once the request has been read.
    - ``lost``: the connection is closed without an answer once the request has been read.
    - ``trickle``: the answer comes one byte at a time, ``trickle_s`` apart.
    - ``stall``: the answer's head comes, and of its body nothing until the end.

    With ``read_timeout_s``, a request whose body does not come in time is 503 and not recorded.
    Each request is recorded before it is answered. With ``fault_file``, the file's text is the
    answer (``503``, ``429 Retry-After=2``, ``hang``); an empty or missing file means 202.
    ``port`` brings a receiver back where an earlier one was.
    """

    def __init__(
        self,
        secret: str | None = None,
        *,
        port: int = 0,
        answer: Answering = 202,
        fault_file: Path | None = None,
        log_file: Path | None = None,
        read_timeout_s: float | None = None,
    ) -> None:
        self.trickle_s = 0.1
        self.read_timeout_s = read_timeout_s
        self._secret = secret
        self._answer = answer
        self._fault_file = fault_file
        self._log_file = log_file
        self._records: list[Record] = []
        self._arrived = threading.Condition()  # guards _records
        self._closed = threading.Event()
        self._server = _Server(self, port)
        self._thread = threading.Thread(target=self._serve, name="receiver")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and cut every connection; may be called twice."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._server.shutdown()
        self._thread.join()
        self._server.cut_connections()
        self._server.server_close()

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Where to POST to."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def answer(self) -> Answering:
        """What the next request gets."""
        if self._fault_file is not None:
            return _fault_in(self._fault_file)
        return self._answer

    @answer.setter
    def answer(self, answer: Answering) -> None:
        if isinstance(answer, str) and answer not in FAULTS:
            raise ValueError(f"no such fault: {answer}")
        self._answer = answer

    @property
    def records(self) -> list[Record]:
        """What has arrived so far, in order of arrival."""
        with self._arrived:
            return list(self._records)

    @property
    def taken(self) -> list[Record]:
        """What has been answered with a success so far."""
        return [r for r in self.records if r.status is not None and r.status // 100 == 2]

    def wait_for(self, n: int, deadline_s: float = 10.0) -> list[Record]:
        """Return the records once there are at least ``n``.

        Raises:
            AssertionError: They did not come within ``deadline_s`` seconds.
        """
        with self._arrived:
            came = self._arrived.wait_for(lambda: len(self._records) >= n, deadline_s)
            if not came:
                raise AssertionError(f"{len(self._records)} of {n} came in {deadline_s} s")
            return list(self._records)

    def probed(self, path: str) -> Reply:
        """Answer a health probe, a GET, which is not recorded; ``path`` is what was asked for."""
        return 200, {}, b"ok"

    def take(self, request: Record) -> Decision:
        """Record a request and return its answer, or the fault to commit; called by the server."""
        setting = self.answer
        decision = _decide(setting, request)
        self._record(request, decision)
        while decision == "hang":
            if self._closed.wait(GLANCE_S):
                return "lost"
            if self.answer != setting:
                setting = self.answer
                decision = _decide(setting, request)
        return decision

    def is_valid(self, headers: Mapping[str, str], body: bytes) -> bool | None:
        """Check the signature over the body; None where there is no secret to check with."""
        if self._secret is None:
            return None
        given = headers.get("x-hub-signature-256") or headers.get("x-signature") or ""
        right = hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(given, f"sha256={right}")

    def pause(self) -> bool:
        """Wait between two bytes of a trickle; True when the receiver was closed meanwhile."""
        return self._closed.wait(self.trickle_s)

    def wait_closed(self) -> None:
        """Wait until the receiver is closed."""
        self._closed.wait()

    def _record(self, request: Record, decision: Decision) -> None:
        status = None if isinstance(decision, str | bytes) else decision[0]
        record = Record(
            at_s=request.at_s,
            method=request.method,
            path=request.path,
            headers=request.headers,
            body=request.body,
            valid=request.valid,
            status=status,
        )
        with self._arrived:
            self._records.append(record)
            if self._log_file is not None:
                with self._log_file.open("a", encoding="utf-8") as log:
                    log.write(_line(record))
            self._arrived.notify_all()

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=GLANCE_S)


def _decide(setting: Answering, request: Record) -> Decision:
    chosen = setting(request) if callable(setting) else setting
    return (chosen, {}, TAKEN) if isinstance(chosen, int) else chosen


def _fault_in(file: Path) -> Answering:
    """Read ``STATUS [Header=value …]`` or a fault's name; nothing there means 202."""
    try:
        words = file.read_text(encoding="utf-8").split()
    except OSError:
        words = []
    if not words:
        return 202
    if words[0] in FAULTS:
        return words[0]
    status = int(words[0])
    headers = dict(word.split("=", 1) for word in words[1:])
    return lambda _: (status, headers, TAKEN)


def _line(record: Record) -> str:
    try:
        body = record.json
    except ValueError:
        body = record.body.decode("latin-1")
    seen = {
        "ts": record.at_s,
        "method": record.method,
        "path": record.path,
        "headers": dict(record.headers),
        "valid": record.valid,
        "status": record.status,
        "body": body,
    }
    return json.dumps(seen) + "\n"


class _Handler(BaseHTTPRequestHandler):
    """One connection: reads each request whole, asks the receiver, and does as it says."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Server"

    def do_GET(self) -> None:
        """Answer a health probe; it is not recorded."""
        self._send(self.server.receiver.probed(self.path))

    def do_POST(self) -> None:
        """Record a delivery, then answer it or misbehave."""
        at_s = time.time()
        receiver = self.server.receiver
        body = self._read(receiver.read_timeout_s)
        if body is None:
            return
        headers = dict(self.headers.items())
        lower = {name.lower(): value for name, value in headers.items()}
        valid = receiver.is_valid(lower, body)
        # As it was asked for: http.server makes one of two slashes.
        path = self.requestline.split()[1]
        request = Record(at_s, self.command, path, headers, body, valid, status=None)
        decision = receiver.take(request)
        if isinstance(decision, str):
            self._misbehave(decision)
        elif isinstance(decision, bytes):
            self.close_connection = True
            self.wfile.write(decision)
        else:
            self._send(decision)

    def _read(self, timeout_s: float | None) -> bytes | None:
        """Read the body; None where it did not come whole, and there is nothing more to say."""
        length = int(self.headers.get("Content-Length") or 0)
        self.connection.settimeout(timeout_s)
        try:
            body = self.rfile.read(length)
        except TimeoutError:
            self.close_connection = True
            self._send((503, {}, b""))
            return None
        self.connection.settimeout(None)
        if len(body) < length:  # the sender died in the middle
            self.close_connection = True
            return None
        return body

    def _misbehave(self, fault: str) -> None:
        self.close_connection = True
        if fault == "stall":
            self.wfile.write(_spelled((200, {}, TAKEN)).removesuffix(TAKEN))
            self.server.receiver.wait_closed()
        elif fault == "trickle":
            self._trickle(_spelled((200, {}, b"x" * 200)))
        elif fault == "reset":
            # On, with no time to linger: closing sends RST instead of FIN.
            linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            # Closed here, since the server's own way would send FIN first.
            self.rfile.close()
            self.connection.close()

    def _trickle(self, answer: bytes) -> None:
        for number in answer:
            self.wfile.write(bytes([number]))
            if self.server.receiver.pause():
                return

    def _send(self, reply: Reply) -> None:
        self.wfile.write(_spelled(reply))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's name
        """Stay silent: the records tell all."""


class _Server(ThreadingHTTPServer):
    """Knows its connections, so that closing it looks like a machine going away."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, receiver: RecordingReceiver, port: int) -> None:
        self.receiver = receiver
        self._connections: set[socket.socket] = set()
        self._ended = threading.Condition()  # guards _connections
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note the connection and give it a thread."""
        with self._ended:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close the connection, whoever ended it."""
        super().shutdown_request(request)
        with self._ended:
            self._connections.discard(request)
            self._ended.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Be silent when a client went away; anything else is a mistake of the test."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def cut_connections(self, deadline_s: float = 5.0) -> None:
        """End every connection and wait until their threads have closed them."""
        with self._ended:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._ended.wait_for(lambda: not self._connections, deadline_s)


def _spelled(reply: Reply) -> bytes:
    """Write an HTTP answer out in full."""
    status, headers, body = reply
    phrase = responses.get(status, "Unknown")
    lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} {phrase}\r\n{head}\r\n".encode() + body


def main() -> None:
    """Print the URL, then serve until killed."""
    parser = argparse.ArgumentParser(description="A webhook receiver that writes down everything.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--secret-file", type=Path)
    parser.add_argument("--fault-file", type=Path)
    chosen = parser.parse_args()
    secret = chosen.secret_file.read_text(encoding="utf-8").strip() if chosen.secret_file else None
    receiver = RecordingReceiver(
        secret, port=chosen.port, fault_file=chosen.fault_file, log_file=chosen.log
    )
    with receiver, suppress(KeyboardInterrupt):
        sys.stdout.write(f"{receiver.url}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
