"""A command is ended with all that it started when its time or its output is used up."""

import os
import sys
import time
from pathlib import Path

import pytest

from app.forges.process import TimedOut, TooMuch, run

# A child that starts a child of its own, tells its number, and prints too much without ending.
FAMILY = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
print("x" * 200_000, flush=True)
time.sleep(600)
"""


def python(code: str, *arguments: str, timeout_s: float = 20, limit: int = 100_000) -> bytes:
    command = [sys.executable, "-c", code, *arguments]
    finished = run(command, environ=os.environ, timeout_s=timeout_s, limit_bytes=limit)
    return b"%d|%b|%b" % (finished.status, finished.stdout, finished.stderr)


def test_what_a_command_prints_and_how_it_ends_is_told() -> None:
    code = "import sys; sys.stdout.write('out'); sys.stderr.write('err'); sys.exit(3)"

    assert python(code) == b"3|out|err"


def test_a_command_has_no_input_and_stands_in_the_root() -> None:
    code = "import os, sys; sys.stdout.write(repr((sys.stdin.read(), os.getcwd())))"

    assert python(code) == b"0|" + repr(("", str(Path("/").resolve()))).encode() + b"|"


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_command_that_takes_too_long_is_ended() -> None:
    began = time.monotonic()

    with pytest.raises(TimedOut):
        python("import time; time.sleep(600)", timeout_s=0.2)

    assert time.monotonic() - began < 5


@pytest.mark.skipif(sys.platform == "win32", reason="a process is looked for as POSIX does")
def test_a_command_that_is_ended_takes_its_children_along(tmp_path: Path) -> None:
    told = tmp_path / "pid"

    with pytest.raises(TooMuch):
        python(FAMILY, str(told))

    grandchild = int(told.read_text())
    deadline = time.monotonic() + 5
    while is_alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(grandchild)


def test_a_command_that_prints_too_much_is_ended() -> None:
    began = time.monotonic()

    with pytest.raises(TooMuch):
        python("while True: print('x' * 10_000)", limit=50_000)

    assert time.monotonic() - began < 10


def test_a_command_that_complains_too_much_is_ended_or_cut_off() -> None:
    code = "import sys; sys.stderr.write('x' * 300_000)"

    with pytest.raises((TooMuch, TimedOut)):
        python(code, limit=50_000, timeout_s=2)


def test_a_program_that_is_not_there_is_said_so() -> None:
    with pytest.raises(FileNotFoundError):
        run(["no-such-program"], environ=os.environ, timeout_s=1, limit_bytes=10)
