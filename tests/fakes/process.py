"""The program as people start it: a real process, judged by its answers and what it prints.

Nothing here imports the program. A process is ended only by the one who started it, and a
traceback in its output fails the test whatever else went well.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

T = TypeVar("T")

# Starting takes under a second on an idle machine; a shared one may take many times that.
START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 20.0
# Long enough to let others work, short enough not to blur a latency that is being measured.
LOOK_AGAIN_S = 0.01
TRACEBACK = "Traceback (most recent call last)"

# What a program needs from its surroundings to start at all; the rest of them stays outside.
KEPT = ("PATH", "SYSTEMROOT", "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP", "TMPDIR")


def eventually(look: Callable[[], T | None], *, deadline_s: float, what: str) -> T:
    """Return the first truthy thing that ``look`` returns.

    Raises:
        AssertionError: Nothing truthy came within ``deadline_s`` seconds; says ``what`` did not.
    """
    until = time.monotonic() + deadline_s
    while True:
        if found := look():
            return found
        if time.monotonic() > until:
            raise AssertionError(f"not within {deadline_s:g} s: {what}")
        time.sleep(LOOK_AGAIN_S)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment(folder: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment without the caller's tokens, proxies and git configuration."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    own = {
        "HOME": str(folder),
        "USERPROFILE": str(folder),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    return kept | own | dict(extra or {})


def run_to_end(
    arguments: Sequence[str],
    *,
    folder: Path,
    environ: Mapping[str, str] | None = None,
    deadline_s: float = START_DEADLINE_S,
) -> subprocess.CompletedProcess[str]:
    """Run one command of the program until it ends by itself, and return what it said.

    Raises:
        subprocess.TimeoutExpired: It did not end; it is no longer running.
    """
    return subprocess.run(  # noqa: S603 - this very interpreter, with a test's own arguments
        [sys.executable, "-m", "app", *arguments],
        cwd=folder,
        env=clean_environment(folder, environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=deadline_s,
        check=False,
    )


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What the program answered to one request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body, understood as JSON."""
        return json.loads(self.body)


class RunningSentry:
    """One process of this program, from its start to its end.

    ``arguments`` follow ``python -m app``; ``--listen`` is added unless ``command`` replaces the
    whole command line. Its output goes to a file in ``folder``, its working folder.
    """

    def __init__(
        self,
        *arguments: str,
        folder: Path,
        port: int | None = None,
        environ: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        listen = ("--listen", f"127.0.0.1:{self.port}")
        self.command = list(command or (sys.executable, "-m", "app", *arguments, *listen))
        self._environ = clean_environment(folder, environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._printed: IO[bytes] | None = None
        self._log = folder / f"sentry-{self.port}.log"
        self.started_at = 0.0

    def __enter__(self) -> Self:
        if self._process is None:
            self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        if kind is None:
            assert TRACEBACK not in self.output, self.output
        elif error is not None:
            error.add_note(f"{self.command}\n{self.output[-8000:]}")

    @property
    def pid(self) -> int:
        """The process id; only while it runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        """Everything that it, and those before it with this port, printed so far."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def start(self, environ: Mapping[str, str] | None = None) -> Self:
        """Start the process, also again after its end; return at once.

        ``environ`` is added for this start alone.
        """
        assert not self.is_running
        self._close_log()
        self._printed = self._log.open("ab")
        self.started_at = time.monotonic()
        # Its own group on Windows, so that Ctrl-Break reaches it and not the test.
        flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        self._process = subprocess.Popen(  # noqa: S603 - a test's own command line
            self.command,
            cwd=self.folder,
            env=self._environ | dict(environ or {}),
            stdin=subprocess.DEVNULL,
            stdout=self._printed,
            stderr=subprocess.STDOUT,
            creationflags=flags,
        )
        return self

    def wait_ready(self, deadline_s: float = START_DEADLINE_S) -> Self:
        """Wait until it answers that it is ready."""

        def look() -> bool:
            assert self.is_running, f"it ended:\n{self.output[-8000:]}"
            return self.find("/health/ready", timeout_s=deadline_s) == 200

        eventually(look, deadline_s=deadline_s, what="/health/ready answers 200")
        return self

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
        timeout_s: float = 10.0,
    ) -> HttpAnswer:
        """Ask once.

        Raises:
            OSError: No answer.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return HttpAnswer(answer.status, dict(answer.getheaders()), answer.read())
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def get(self, path: str) -> HttpAnswer:
        """Ask for a page or a resource."""
        return self.request("GET", path)

    def find(self, path: str, *, timeout_s: float = 5.0) -> int | None:
        """Return the status that a path answers, or None where nobody answers."""
        try:
            return self.request("GET", path, timeout_s=timeout_s).status
        except OSError:
            return None

    def role(self) -> str | None:
        """Return ``active`` or ``standby``, or None where nobody answers."""
        try:
            role: str = self.get("/health").json()["role"]
        except OSError:
            return None
        return role

    def events(self, query: str = "") -> list[dict[str, Any]]:
        """Return the events that the API lists, newest first, all pages together."""
        return self._listed("events", query)

    def repositories(self, query: str = "") -> list[dict[str, Any]]:
        """Return the repositories that the API lists, all pages together."""
        return self._listed("repositories", query)

    def deliveries(self, query: str = "") -> list[dict[str, Any]]:
        """Return the deliveries that the API lists, all pages together."""
        return self._listed("deliveries", query)

    def _listed(self, what: str, query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self.get(f"/api/v1/{what}?limit=200{query}{cursor}").json()
            found += page["items"]
            if page["next"] is None:
                return found
            cursor = f"&cursor={page['next']}"

    def kill(self) -> None:
        """End the process as ``kill -9`` does; nothing where it has ended already."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_DEADLINE_S)
        self._close_log()

    def stop(self, deadline_s: float = STOP_DEADLINE_S) -> int:
        """Ask the process to end, as a service manager does, and return its exit code.

        Raises:
            subprocess.TimeoutExpired: It did not end in time; it is still running.
        """
        assert self._process is not None
        if sys.platform == "win32":
            self._process.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            self._process.terminate()
        code = self._process.wait(deadline_s)
        self._close_log()
        return code

    def wait_ended(self, deadline_s: float = STOP_DEADLINE_S) -> int:
        """Wait until the process ends by itself, and return its exit code."""
        assert self._process is not None
        code = self._process.wait(deadline_s)
        self._close_log()
        return code

    def _close_log(self) -> None:
        if self._printed is not None:
            self._printed.close()
            self._printed = None
