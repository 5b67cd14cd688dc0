"""Finds the real receivers on this machine; a test that lacks one is skipped, or fails in CI."""

import contextlib
import http.client
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.fakes.process import START_DEADLINE_S, clean_environment, eventually


def missing(reason: str) -> None:
    """Skip the test, or fail it where every receiver must be there.

    Never returns.
    """
    if os.environ.get("REPOSENTRY_TEST_SERVICES") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


def find_program(name: str, *, variable: str) -> str:
    """Return a program's path: what an environment variable says, or one on PATH."""
    found = shutil.which(os.environ.get(variable) or name)
    if found is None:
        missing(f"there is no {name} on PATH, and {variable} does not say where one is")
    return str(found)


def find_package(name: str) -> ModuleType:
    """Import what a project from PyPI brings: ``pip install '.[receivers]'`` installs it.

    REPOSENTRY_VERIFIERS may name a folder instead, that ``pip install --target`` filled.
    """
    folder = os.environ.get("REPOSENTRY_VERIFIERS")
    if folder and folder not in sys.path:
        sys.path.append(folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        missing(f"{name} is not installed; the extra «receivers» brings it")
        raise


def find_node_modules(wanted: str = "@octokit/webhooks standardwebhooks cloudevents") -> Path:
    """Return the folder into which npm has installed what is ``wanted``: the verifiers."""
    variable = "REPOSENTRY_NODE_MODULES"
    folder = Path(os.environ.get(variable) or "node_modules").absolute()
    if not all((folder / package).is_dir() for package in wanted.split()):
        missing(f"{variable} names no folder with them: npm install {wanted}")
    return folder


@contextlib.contextmanager
def a_running(command: Sequence[str], *, folder: Path, port: int) -> Iterator[int]:
    """Run a server until the test is over; yield its port once it answers."""
    log = folder / "server.log"
    with log.open("wb") as printed:
        process = subprocess.Popen(  # noqa: S603 - a test's own command line
            command,
            cwd=folder,
            env=clean_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
        try:
            eventually(
                lambda: process.poll() is not None or answers(port),
                deadline_s=START_DEADLINE_S * 2,
                what=f"{command[0]} answers on port {port}",
            )
            assert process.poll() is None, log.read_text("utf-8", "replace")
            yield port
        except AssertionError as error:
            error.add_note(log.read_text("utf-8", "replace")[-8000:])
            raise
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def run_through(command: Sequence[str], *, folder: Path, given: str = "") -> str:
    """Run a command to its end and return what it printed; it must end well."""
    finished = subprocess.run(  # noqa: S603 - a test's own words
        command,
        cwd=folder,
        env=clean_environment(folder),
        input=given,
        capture_output=True,
        encoding="utf-8",
        timeout=START_DEADLINE_S * 2,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def answers(port: int) -> bool:
    """Tell whether somebody speaks HTTP on a port of 127.0.0.1."""
    try:
        return ask(port, "/")[0] > 0
    except (OSError, http.client.HTTPException):
        return False


def ask(port: int, path: str) -> tuple[int, bytes]:
    """Return the status and body of one GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def ask_node(
    modules: Path, folder: Path, checks: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Let the verifiers from npm look at deliveries, and return what each of them says."""
    # Beside node_modules, since that is where the language looks for packages.
    link = folder / "node_modules"
    if sys.platform == "win32":
        import _winapi

        _winapi.CreateJunction(str(modules), str(link))  # a symlink would need a privilege
    else:
        link.symlink_to(modules, target_is_directory=True)
    shutil.copy(Path(__file__).with_name("verify.mjs"), folder)
    node = find_program("node", variable="REPOSENTRY_NODE")
    printed = run_through([node, "verify.mjs"], folder=folder, given=json.dumps(checks))
    said: list[dict[str, Any]] = json.loads(printed)
    return said
