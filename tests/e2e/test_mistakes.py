"""Wrong configurations and command lines: a clear message, the right exit code, no traceback."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.e2e.scene import write_configuration
from tests.fakes.process import TRACEBACK, free_port, run_to_end

pytestmark = pytest.mark.slow

FAILED, USAGE = 1, 2
RECEIVERS = "receivers: {ci: {url: 'http://127.0.0.1:9/'}}\n"
REPOSITORY = "repositories: [{url: 'https://git.example.com/site.git'}]\n"

# What the file holds, and what the message must tell: where, and what to do.
MISTAKES = {
    "not YAML": ("repositories: [", ["reposentry.yaml:1:"]),
    "a tab": ("repositories:\n\t- url: x\n", ["reposentry.yaml:2:"]),
    "a list": ("- url: x\n", ["reposentry.yaml"]),
    "an unknown section": ("reciever: {}\n", ["reposentry.yaml:1:1", "reciever", "receivers"]),
    "an unknown key": (
        "receivers: {ci: {url: 'http://127.0.0.1:9/', timeuot: 3s}}\n",
        ["receivers.ci.timeuot", "timeout"],
    ),
    "the same key twice": ("polling: {}\npolling: {}\n", ["polling", ":2:"]),
    "no unit": (RECEIVERS + "polling: {interval: 15}\n", ["polling.interval", "15s"]),
    "no number": (RECEIVERS + "polling: {workers: many}\n", ["polling.workers"]),
    "out of range": (RECEIVERS + "polling: {workers: 0}\n", ["polling.workers"]),
    "no such choice": (
        "receivers: {ci: {url: 'http://127.0.0.1:9/', payload: githbu}}\n",
        ["receivers.ci.payload", "github"],
    ),
    "no URL": ("receivers: {ci: {}}\n", ["receivers.ci", "url"]),
    "a receiver that is no URL": ("receivers: {ci: {url: not a url}}\n", ["receivers.ci.url"]),
    "plain HTTP to elsewhere": (
        "receivers: {ci: {url: 'http://ci.example.com/'}}\n",
        ["receivers.ci.url", "allow_http"],
    ),
    "a variable that is not set": (
        "receivers: {ci: {url: 'http://127.0.0.1:9/', secret: '${NOT_SET_ANYWHERE}'}}\n",
        ["receivers.ci.secret", "NOT_SET_ANYWHERE"],
    ),
    "a secret file that is not there": (
        "receivers: {ci: {url: 'http://127.0.0.1:9/', secret_file: nowhere.txt}}\n",
        ["receivers.ci.secret_file", "nowhere.txt"],
    ),
    "a receiver that nobody knows": (
        RECEIVERS + "repositories: [{url: 'https://git.example.com/a.git', receivers: [cii]}]\n",
        ["repositories", "receivers", "cii", "ci"],
    ),
    "a repository twice": (
        RECEIVERS + "repositories: [{url: 'https://x.io/a'}, {url: 'https://x.io/a'}]\n",
        ["repositories", "https://x.io/a"],
    ),
    "a pattern that is none": (
        RECEIVERS + "repositories: [{url: 'https://x.io/a', branches: ['/(/']}]\n",
        ["repositories", "branches", "/(/"],
    ),
    "an address that is none": (RECEIVERS + "server: {listen: here}\n", ["server.listen"]),
    "a database that is none": (
        RECEIVERS + "storage: {url: 'oracle://scott:tiger@db/x'}\n",
        ["storage.url", "sqlite"],
    ),
    "an included file that is broken": (
        RECEIVERS + "include: [more.yaml]\n",
        ["more.yaml:2:"],
    ),
    "waits the wrong way round": (
        "receivers: {ci: {url: 'http://127.0.0.1:9/', retry: {first: 1h, longest: 1s}}}\n",
        ["receivers.ci.retry"],
    ),
}


def fails(finished: subprocess.CompletedProcess[str], code: int, *, telling: list[str]) -> None:
    """Hold a command to its exit code and to a message for people."""
    said = finished.stdout + finished.stderr
    assert finished.returncode == code, said
    assert TRACEBACK not in said
    assert [words for words in telling if words not in said] == [], said
    assert finished.stderr.strip(), "a mistake is told on standard error"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_configuration_is_told_with_its_place(mistake: str, tmp_path: Path) -> None:
    written, telling = MISTAKES[mistake]
    (tmp_path / "reposentry.yaml").write_text(written, encoding="utf-8")
    (tmp_path / "more.yaml").write_text("repositories:\n  - uurl: x\n", encoding="utf-8")

    finished = run_to_end(["config", "check"], folder=tmp_path)

    fails(finished, USAGE, telling=telling)
    assert "tiger" not in finished.stdout + finished.stderr


def test_nothing_starts_with_a_wrong_configuration(tmp_path: Path) -> None:
    written, telling = MISTAKES["no unit"]
    (tmp_path / "reposentry.yaml").write_text(written, encoding="utf-8")

    fails(run_to_end(["run"], folder=tmp_path), USAGE, telling=telling)
    assert not (tmp_path / "reposentry.db").exists()


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "reposentry.yaml"
    file.write_text(
        "polling: {interval: 15, workers: 0}\nreceivers: {ci: {payload: x}}\n", encoding="utf-8"
    )

    finished = run_to_end(["config", "check", "-c", str(file)], folder=tmp_path)

    places = ["polling.interval", "polling.workers", "receivers.ci.payload", "receivers.ci", "url"]
    fails(finished, USAGE, telling=places)


@pytest.mark.parametrize(
    ("arguments", "telling"),
    [
        (["run"], ["reposentry.yaml"]),
        (["run", "-c", "elsewhere.yaml"], ["elsewhere.yaml"]),
        (["run", "-c", "."], []),
        (["run", "--no-such-option"], ["--no-such-option"]),
        (["rum"], ["rum"]),
        (["watch"], []),
        (["watch", "ftp://example.com/a.git"], ["ftp"]),
        (["watch", "https://git.example.com/a.git", "--interval", "15"], ["15"]),
        (["watch", "https://git.example.com/a.git", "--to", "nowhere"], ["nowhere"]),
        (["watch", "https://git.example.com/a.git", "--listen", "here"], ["here"]),
        (["watch", "https://git.example.com/a.git", "--payload", "carrier-pigeon"], ["github"]),
        (["run", "--database", "oracle://scott:tiger@db/x"], ["sqlite"]),
    ],
)
def test_a_wrong_command_line_is_a_usage_mistake(
    arguments: list[str], telling: list[str], tmp_path: Path
) -> None:
    finished = run_to_end(arguments, folder=tmp_path)

    fails(finished, USAGE, telling=telling)
    assert "tiger" not in finished.stderr


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root and Windows may read everything"
)
def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    file = tmp_path / "reposentry.yaml"
    file.write_text(RECEIVERS, encoding="utf-8")
    file.chmod(0)

    fails(run_to_end(["run"], folder=tmp_path), USAGE, telling=["reposentry.yaml"])


def a_right_configuration(folder: Path, *, database: str = "sqlite:///reposentry.db") -> Path:
    return write_configuration(
        folder, database=database, repositories=[], receivers={"ci": "http://127.0.0.1:9/"}
    )


def test_a_port_that_is_taken_is_told_and_ends_the_program(tmp_path: Path) -> None:
    file = a_right_configuration(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        finished = run_to_end(
            ["run", "-c", str(file), "--listen", f"127.0.0.1:{port}"], folder=tmp_path
        )

    fails(finished, FAILED, telling=[str(port)])


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    database = f"sqlite:///{(tmp_path / 'nowhere' / 'reposentry.db').as_posix()}"
    file = a_right_configuration(tmp_path, database=database)

    fails(run_to_end(["run", "-c", str(file)], folder=tmp_path), FAILED, telling=["nowhere"])


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "mysql+pymysql"])
def test_a_database_that_does_not_answer_is_told_without_its_password(
    scheme: str, tmp_path: Path
) -> None:
    port = free_port()
    file = a_right_configuration(tmp_path, database=f"{scheme}://ada:tiger@127.0.0.1:{port}/x")

    finished = run_to_end(["run", "-c", str(file)], folder=tmp_path)

    fails(finished, FAILED, telling=["127.0.0.1"])
    assert "tiger" not in finished.stdout + finished.stderr


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "reposentry.db").write_bytes(b"I am a letter, not a database. " * 40)

    finished = run_to_end(["run", "-c", str(a_right_configuration(tmp_path))], folder=tmp_path)

    fails(finished, FAILED, telling=["reposentry.db"])
