"""The program behind a WSGI server that is not its own: how it begins, and how it ends."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.git_repository import GitRepository
from tests.fakes.process import (
    TRACEBACK,
    RunningSentry,
    clean_environment,
    free_port,
    run_to_end,
)

pytestmark = pytest.mark.slow

HOW = {
    "waitress-serve": ("-m", "waitress", "--listen=127.0.0.1:{port}", "wsgi:application"),
    "python -m wsgi": ("-m", "wsgi"),
}


def door() -> str:
    """Return the folder of wsgi.py."""
    found = importlib.util.find_spec("wsgi")
    assert found is not None
    assert found.origin is not None
    return str(Path(found.origin).parent)


def command(how: str, port: int) -> tuple[str, ...]:
    return (sys.executable, *(word.format(port=port) for word in HOW[how]))


@pytest.mark.parametrize("how", HOW)
def test_a_wrong_configuration_is_told_without_a_traceback(how: str, tmp_path: Path) -> None:
    finished = subprocess.run(  # noqa: S603 - this very interpreter
        command(how, free_port()),
        cwd=tmp_path,
        env=clean_environment(
            tmp_path, {"REPOSENTRY_CONFIG": "elsewhere.yaml", "PYTHONPATH": door()}
        ),
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )

    assert finished.returncode == 2
    assert finished.stderr == "elsewhere.yaml: there is no such file\n"
    assert TRACEBACK not in finished.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="nobody can send SIGTERM there")
@pytest.mark.parametrize("how", HOW)
def test_the_lease_is_given_back_when_the_server_is_terminated(how: str, tmp_path: Path) -> None:
    port = free_port()
    repository = GitRepository.create(tmp_path / "site.git")
    file = tmp_path / "reposentry.yaml"
    file.write_text(
        f"server: {{listen: '127.0.0.1:{port}'}}\nrepositories: [{{url: {repository.path}}}]\n",
        encoding="utf-8",
    )
    environ = {"REPOSENTRY_CONFIG": str(file), "PYTHONPATH": door()}

    with RunningSentry(
        folder=tmp_path, port=port, environ=environ, command=command(how, port)
    ) as sentry:
        sentry.wait_ready()
        code = sentry.stop()
    polled = run_to_end(["poll", "site", "-c", str(file)], folder=tmp_path)

    assert code == 0
    assert (polled.returncode, polled.stderr) == (0, "")
