"""The git command is asked without a secret in its arguments, and its words are understood."""

import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import ForgeAnswerInvalid, ForgeDenied, ForgeError, ForgeUnavailable
from app.domain.event import record
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.domain.snapshot import Change
from app.forges import ls_remote, process
from app.forges.exchange import origin
from app.forges.git_http import SignIn
from app.forges.ls_remote import MOST_AT_ONCE, LsRemote, explain, parse
from tests.fakes.git_repository import git_environment

ONE, TWO = "1" * 40, "2" * 40
PUSH = record(
    Change("refs/heads/main", ONE, TWO),
    key="https://git.example.com/site",
    sequence=1,
    detected_at=datetime(2026, 11, 1, 12, tzinfo=UTC),
)
SSH = Repository("site", "ssh://git@git.example.com/site.git")
HTTPS = Repository("site", "https://git.example.com/site.git")


class Started:
    """Stands in for the process: keeps what it was started with, and answers as told."""

    def __init__(self, status: int = 0, stdout: bytes = b"", stderr: bytes = b"") -> None:
        self.finished = process.Finished(status, stdout, stderr)
        self.command: list[str] = []
        self.environ: dict[str, str] = {}

    def __call__(self, command: list[str], *, environ: dict[str, str], **_: Any) -> Any:
        self.command, self.environ = command, environ
        return self.finished


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    fake = Started(stdout=f"{ONE}\trefs/heads/main\n".encode())
    monkeypatch.setattr(process, "run", fake)
    return fake


def poll(client: LsRemote, repository: Repository) -> None:
    client.list_refs(repository, validator={}, timeout_s=10)


def test_a_listing_is_read_with_its_default_branch() -> None:
    listing = (
        f"ref: refs/heads/trunk\tHEAD\n{ONE}\tHEAD\n{ONE}\trefs/heads/trunk\n"
        f"{TWO}\trefs/tags/v1\n{ONE}\trefs/tags/v1^{{}}\n"
    )

    pairs, default_branch = parse(listing.encode())

    assert default_branch == "refs/heads/trunk"
    assert pairs == [
        ("refs/heads/trunk", ONE),
        ("refs/tags/v1", TWO),
        ("refs/tags/v1^{}", ONE),
    ]


def test_a_name_that_is_no_utf8_is_read_as_escapes() -> None:
    pairs, _ = parse(b"1\trefs/heads/caf\xe9\r\n")

    assert pairs == [("refs/heads/caf\\xe9", "1")]


def test_what_is_no_listing_is_said_so() -> None:
    with pytest.raises(ForgeAnswerInvalid):
        parse(b"<html>\n")


def test_the_address_cannot_be_taken_for_an_option(started: Started) -> None:
    poll(LsRemote(environ={}), SSH)

    assert started.command == ["git", "ls-remote", "--symref", "--", SSH.url]


@pytest.mark.parametrize("is_urls", [True, False], ids=["of the url", "of the forge"])
def test_credentials_travel_by_the_environment_alone(started: Started, is_urls: bool) -> None:
    secret = Secret("hunter2")
    repository = replace(HTTPS, credentials=("ada", secret)) if is_urls else HTTPS
    sign_in = None if is_urls else SignIn(origin(HTTPS.url), "ada", secret)

    poll(LsRemote(environ={"GIT_CONFIG_COUNT": "1"}, sign_in=sign_in), repository)

    assert "hunter2" not in " ".join(started.command)
    assert started.environ["GIT_CONFIG_COUNT"] == "3"
    settings = {
        started.environ[f"GIT_CONFIG_KEY_{n}"]: started.environ[f"GIT_CONFIG_VALUE_{n}"]
        for n in (1, 2)
    }
    assert settings == {
        "http.extraHeader": "Authorization: Basic YWRhOmh1bnRlcjI=",
        "http.followRedirects": "false",
    }


@pytest.mark.parametrize(
    "url", ["https://other.example.com/site.git", "http://git.example.com/site.git", SSH.url]
)
def test_a_forges_token_goes_to_no_other_server(started: Started, url: str) -> None:
    sign_in = SignIn(origin(HTTPS.url), "ada", Secret("hunter2"))

    poll(LsRemote(environ={}, sign_in=sign_in), Repository("site", url))

    assert "GIT_CONFIG_COUNT" not in started.environ


def test_git_asks_nobody_anything_and_runs_no_helper_program(started: Started) -> None:
    poll(LsRemote(environ={"GIT_DIR": "/x", "PATH": "/bin"}), SSH)

    environ = started.environ
    assert environ["GIT_TERMINAL_PROMPT"] == "0"
    assert environ["GIT_ASKPASS"] == ""
    assert "ext" not in environ["GIT_ALLOW_PROTOCOL"].split(":")
    assert environ["GIT_SSH_COMMAND"] == "ssh -o BatchMode=yes -o ConnectTimeout=10"
    assert environ["LC_ALL"] == "C"
    assert environ["PATH"] == "/bin"
    assert "GIT_DIR" not in environ


@pytest.mark.parametrize("name", ["GIT_SSH", "GIT_SSH_COMMAND"])
def test_the_users_own_way_to_ssh_is_kept(started: Started, name: str) -> None:
    poll(LsRemote(environ={name: "my-ssh"}), SSH)

    assert {key: text for key, text in started.environ.items() if "GIT_SSH" in key} == {
        name: "my-ssh"
    }


def test_an_authority_of_ones_own_is_told_to_git(started: Started, tmp_path: Path) -> None:
    poll(LsRemote(environ={}, ca_file=tmp_path / "ca.pem"), HTTPS)

    assert started.environ["GIT_SSL_CAINFO"] == str(tmp_path / "ca.pem")


REFUSALS = {
    "key": (
        (
            "Warning: Permanently added 'x' (ED25519) to the list of known hosts.\n"
            "git@git.example.com: Permission denied (publickey).\n"
            "fatal: Could not read from remote repository.\n\n"
            "Please make sure you have the correct access rights\nand the repository exists.\n"
        ),
        ForgeDenied,
        "git@git.example.com: Permission denied (publickey).",
    ),
    "absent": (
        (
            "ERROR: Repository not found.\nfatal: Could not read from remote repository.\n\n"
            "Please make sure you have the correct access rights\nand the repository exists.\n"
        ),
        ForgeDenied,
        "Repository not found.",
    ),
    "host key": ("Host key verification failed.\n", ForgeDenied, "known_hosts"),
    "sign-in": (
        "fatal: could not read Username for 'https://x': terminal prompts disabled\n",
        ForgeDenied,
        "no credentials are configured",
    ),
    "path": ("fatal: '/x' does not appear to be a git repository\n", ForgeDenied, "'/x' does not"),
    "connection": (
        (
            "ssh: connect to host git.example.com port 22: Connection refused\n"
            "fatal: Could not read from remote repository.\n"
        ),
        ForgeUnavailable,
        "ssh: connect to host git.example.com port 22: Connection refused",
    ),
    "only noise": (
        "fatal: Could not read from remote repository.\n",
        ForgeUnavailable,
        "Could not read from remote repository.",
    ),
    "nothing": ("", ForgeUnavailable, "git failed and said nothing"),
}


@pytest.mark.parametrize(("stderr", "sort", "words"), REFUSALS.values(), ids=REFUSALS)
def test_gits_last_words_are_understood(stderr: str, sort: type[ForgeError], words: str) -> None:
    error = explain(stderr, SSH)

    assert type(error) is sort
    assert words in str(error)
    assert "\n" not in str(error)


def test_a_repository_of_another_user_comes_with_its_remedy() -> None:
    stderr = "fatal: detected dubious ownership in repository at '/srv/site.git'\nTo add …\n"

    error = explain(stderr, Repository("site", "/srv/site.git"))

    assert isinstance(error, ForgeDenied)
    assert "git config --global --add safe.directory" in str(error)
    assert "site.git" in str(error)


def test_credentials_in_gits_words_are_masked() -> None:
    repository = replace(HTTPS, credentials=("ada", Secret("hunter2")))
    stderr = "fatal: unable to access 'https://bob:pass@git.example.com/': hunter2\x1b[31m\n"

    said = str(explain(stderr, repository))

    assert "hunter2" not in said
    assert "pass@" not in said
    assert "\x1b" not in said


def test_without_a_git_command_there_is_a_clear_word(tmp_path: Path) -> None:
    client = LsRemote(environ={"PATH": str(tmp_path)})

    with pytest.raises(ForgeUnavailable, match="no git command on the PATH"):
        poll(client, SSH)

    assert not client.is_available
    assert client.describe(Repository("x", "/x"), change=PUSH, timeout_s=1) is None


def test_a_helper_program_in_an_address_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "ran"
    # parse_remote refuses such an address; here it is the git command that must.
    monkeypatch.setattr(ls_remote, "address", lambda _: f"ext::sh -c 'touch {trace}'")
    client = LsRemote(environ=git_environment())

    with pytest.raises(ForgeError):
        client.list_refs(SSH, validator={}, timeout_s=10)

    assert not trace.exists()


def test_a_server_that_hangs_holds_no_other_up(monkeypatch: pytest.MonkeyPatch) -> None:
    are_asking, may_answer = threading.Semaphore(0), threading.Event()

    def run(command: list[str], **_: Any) -> process.Finished:
        if "dead.example.com" in command[-1]:
            are_asking.release()
            assert may_answer.wait(5)
        return process.Finished(0, b"", b"")

    monkeypatch.setattr(process, "run", run)
    client = LsRemote(environ={})
    dead = Repository("dead", "ssh://git@dead.example.com/site.git")
    threads = [threading.Thread(target=poll, args=(client, dead)) for _ in range(MOST_AT_ONCE)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert are_asking.acquire(timeout=5)

    try:
        client.list_refs(SSH, validator={}, timeout_s=0.5)
        with pytest.raises(ForgeUnavailable, match="timed out"):
            client.list_refs(dead, validator={}, timeout_s=0.01)
    finally:
        may_answer.set()
        for thread in threads:
            thread.join(5)
