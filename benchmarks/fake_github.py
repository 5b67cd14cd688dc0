"""The fake GitHub in a process of its own, so that its work is not counted as the program's."""

import http.client
import json
import ssl
import subprocess
import sys
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.fakes.github import TOKEN
from tests.fakes.quick_http import TLS

AUTHORITY = TLS / "authority.pem"


class FakeGitHubProcess:
    """``python -m tests.fakes.github`` with these options, and a connection to its controls."""

    def __init__(self, *options: str) -> None:
        self._command = [sys.executable, "-m", "tests.fakes.github", *options]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
        self.address = next(iter(self._process.stdout or ()), "").strip()
        parts = urlsplit(self.address)
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            trusted = ssl.create_default_context(cafile=AUTHORITY)
            self._connection = http.client.HTTPSConnection(parts.netloc, context=trusted)
        else:
            self._connection = http.client.HTTPConnection(parts.netloc, timeout=30)
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

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def url(self, full_name: str) -> str:
        """Return where a repository is cloned from."""
        return f"{self.address}/{full_name}"

    def control(self, name: str, **settings: Any) -> Any:
        """Call one of the server's controls and return what it told."""
        self._connection.request("POST", f"/__control/{name}", json.dumps(settings))
        reply = self._connection.getresponse()
        body = reply.read()
        if reply.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{name} was answered {reply.status}: {body[:500]!r}")
        return json.loads(body)

    def push(self, full_name: str) -> str:
        """Push one commit, and return its id."""
        commit: str = self.control("push", repository=full_name)
        return commit

    def settings(self) -> dict[str, Any]:
        """Return how the configuration names this forge."""
        return {"kind": "github", "url": self.address, "token": TOKEN}


def repository_name(number: int, *, organisations: int) -> str:
    """Return the name of one repository of the fleet that the server made."""
    return f"org-{number % organisations:03}/repo-{number // organisations:04}"
