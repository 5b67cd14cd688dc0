"""A git server for measuring: any repository, ten branches, nothing behind them, little work.

It speaks protocol version 2's ``ls-refs`` as ``git http-backend`` does. ``POST /NAME/push`` moves
that repository's main branch. As a process: ``python -m benchmarks.canned_git`` prints its URL.
"""

import hashlib
import http.client
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

FLUSH = b"0000"
CAPABILITIES = (b"version 2\n", b"agent=git/canned\n", b"ls-refs=unborn\n", b"object-format=sha1\n")
OTHER_BRANCHES = 9


def packet(line: bytes) -> bytes:
    """Frame one line as git does: its length in four hex digits, then itself."""
    return b"%04x" % (len(line) + 4) + line


class Refs:
    """The refs of every repository that anybody asks for; safe to use from many threads."""

    def __init__(self) -> None:
        self._pushes: Counter[str] = Counter()
        self._answers: dict[str, bytes] = {}
        self._lock = threading.Lock()  # guards both

    def push(self, name: str) -> None:
        """Move the main branch of a repository."""
        with self._lock:
            self._pushes[name] += 1
            self._answers.pop(name, None)

    def answer(self, name: str) -> bytes:
        """Return what ``ls-refs`` answers for a repository."""
        with self._lock:
            if name not in self._answers:
                self._answers[name] = self._listing(name)
            return self._answers[name]

    def _listing(self, name: str) -> bytes:
        tip = hashlib.sha1(f"{name} {self._pushes[name]}".encode()).hexdigest().encode()  # noqa: S324 - a commit id is one
        others = (
            b"%s refs/heads/topic-%d\n" % (hashlib.sha1(b"%d" % n).hexdigest().encode(), n)  # noqa: S324 - as above
            for n in range(OTHER_BRANCHES)
        )
        head = b"%s HEAD symref-target:refs/heads/main\n" % tip
        lines = (head, b"%s refs/heads/main\n" % tip, *others)
        return b"".join(map(packet, lines)) + FLUSH


class Handler(BaseHTTPRequestHandler):
    """Answers over a connection that is kept."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    refs = Refs()

    def do_GET(self) -> None:
        """Advertise."""
        service = packet(b"# service=git-upload-pack\n") + FLUSH
        self._send("advertisement", service + b"".join(map(packet, CAPABILITIES)) + FLUSH)

    def do_POST(self) -> None:
        """List the refs, or move one."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name, _, verb = self.path.strip("/").rpartition("/")
        if verb == "push":
            self.refs.push(name)
            self._send("result", b"")
        else:
            self._send("result", self.refs.answer(name))

    def _send(self, sort: str, body: bytes) -> None:
        self.send_response_only(200)
        self.send_header("Content-Type", f"application/x-git-upload-pack-{sort}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing: it would be measured too."""


class Server(ThreadingHTTPServer):
    """Takes as many connections at once as are opened."""

    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that went away: it may have been killed."""


class CannedGit:
    """The server in a process of its own, so that its work is not counted as the program's."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.canned_git"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
        self.address = next(iter(self._process.stdout or ()), "").strip()
        self._connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()
        self._process.kill()
        self._process.communicate()

    def url(self, name: str) -> str:
        """Return where a repository is cloned from."""
        return f"{self.address}/{name}"

    def push(self, name: str) -> None:
        """Move the main branch of a repository."""
        self._connection.request("POST", f"/{name}/push", b"")
        self._connection.getresponse().read()


def main() -> None:
    """Serve until the process is ended."""
    with Server(("127.0.0.1", 0), Handler) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)  # noqa: T201 - a command's answer
        server.serve_forever()


if __name__ == "__main__":
    main()
