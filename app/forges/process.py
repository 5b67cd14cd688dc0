"""Runs one command within a deadline and a limit, and ends all that it started if it must."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PIECE_BYTES = 64 * 1024
# A choice: a background process that keeps the pipe open (ssh's ControlPersist does) is not
# waited for longer than this once the command itself is over.
STRAGGLER_S = 0.2

if sys.platform == "win32":
    _NEW_GROUP = subprocess.CREATE_NEW_PROCESS_GROUP
else:
    _NEW_GROUP = 0


class TimedOut(Exception):
    """The command was not done in time and was ended."""


class TooMuch(Exception):
    """The command printed more than the limit and was ended."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a command printed, and its exit status."""

    status: int
    stdout: bytes
    stderr: bytes


def run(
    command: Sequence[str], *, environ: Mapping[str, str], timeout_s: float, limit_bytes: int
) -> Finished:
    """Run a command without input, from the root directory.

    Raises:
        TimedOut: It took longer than ``timeout_s``.
        TooMuch: It printed more than ``limit_bytes`` to one of its outputs.
        OSError: It could not be started (FileNotFoundError: there is no such program).
    """
    deadline = time.monotonic() + timeout_s
    started = _start(command, environ)
    assert started.stdout is not None  # noqa: S101 - a pipe was asked for; said to mypy
    assert started.stderr is not None  # noqa: S101 - the same
    outputs = [_Output(started.stdout, limit_bytes), _Output(started.stderr, limit_bytes)]
    try:
        outputs[0].wait(deadline - time.monotonic())
        status = started.wait(max(0.0, deadline - time.monotonic()))
    except (TimedOut, TooMuch, subprocess.TimeoutExpired) as error:
        _end_tree(started)
        if isinstance(error, TooMuch):
            raise
        raise TimedOut from error
    except BaseException:
        _end_tree(started)
        raise
    with contextlib.suppress(TimedOut):
        outputs[1].wait(STRAGGLER_S)
    return Finished(status, bytes(outputs[0].content), bytes(outputs[1].content))


def _start(command: Sequence[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the caller's words; no shell reads them
        command,
        env=dict(environ),
        cwd=Path("/").resolve(),  # the repository this process happens to stand in has no say
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        # A group of its own, so that the whole tree can be ended and no Ctrl-C reaches it.
        creationflags=_NEW_GROUP,
        start_new_session=sys.platform != "win32",
    )


def _end_tree(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        subprocess.run(  # noqa: S603 - a number of our own
            ["taskkill", "/T", "/F", "/PID", str(process.pid)],  # noqa: S607 - Windows' own
            check=False,
            capture_output=True,
        )
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


class _Output:
    """Gathers one output in a thread of its own, which also closes the pipe at its end."""

    def __init__(self, pipe: IO[bytes], limit_bytes: int) -> None:
        self.content = bytearray()
        self._pipe = pipe
        self._limit = limit_bytes
        self._thread = threading.Thread(target=self._read, name="output", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._pipe:
            while len(self.content) <= self._limit and (piece := self._pipe.read(PIECE_BYTES)):
                self.content += piece

    def wait(self, timeout_s: float) -> None:
        self._thread.join(max(0.0, timeout_s))
        if self._thread.is_alive():
            raise TimedOut
        if len(self.content) > self._limit:
            raise TooMuch
