"""A receiver on loopback that checks what it is sent: the far end of ``reposentry demo``."""

import hashlib
import hmac
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Once in so many requests it is «busy», so that a retry can be seen.
BUSY_EVERY = 9


class DemoReceiver:
    """Answers 202 to a request whose signature is right, and 401 to any other."""

    def __init__(self, secret: str) -> None:
        """Open a free port on loopback; ``start`` begins to answer."""
        self.verified = 0
        self._requests = 0
        self._key = secret.encode()
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, answer = receiver.judge(body, self.headers.get("X-Hub-Signature-256", ""))
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
                """Stay quiet: the terminal belongs to the events."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def start(self) -> None:
        """Answer from now on."""
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()

    def judge(self, body: bytes, signature: str) -> tuple[int, bytes]:
        """Check one request's signature and decide on the answer."""
        expected = "sha256=" + hmac.new(self._key, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, signature):
            return 401, b"the signature is wrong\n"
        with self._lock:
            self._requests += 1
            if self._requests % BUSY_EVERY == 0:
                return 503, b"busy just now, on purpose: watch it come again\n"
            self.verified += 1
        return 202, b"the signature is right; thank you\n"
