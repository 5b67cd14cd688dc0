"""What the running program tells of its forges, asked of a GitHub on 127.0.0.1."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.domain.allowance import CredentialState, Resource
from app.runtime import Runtime
from app.services.status.answers import ForgeWork
from app.settings import load
from tests.fakes.github import FakeGitHub
from tests.fakes.waiting import wait_until

TOKEN, GONE = "ghp_of-a-fake-one", "ghp_that-was-taken-back"  # open nothing but the fake

Running = Callable[[str], Runtime]


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with FakeGitHub(tokens=(TOKEN, GONE)) as forge:
        forge.hosting.create("acme/site")
        forge.hosting.create("acme/shop")
        forge.revoke(GONE)
        yield forge


@pytest.fixture
def running(github: FakeGitHub, tmp_path: Path) -> Iterator[Running]:
    """Return what starts the program with one token, and waits until it has asked."""
    started: list[Runtime] = []

    def start(token: str) -> Runtime:
        file = tmp_path / "reposentry.yaml"
        file.write_text(
            f"""
storage: {{url: "sqlite:///{(tmp_path / "r.db").as_posix()}"}}
polling: {{interval: 1s}}
forges:
  github: {{url: "{github.address}", api_url: "{github.address}/api/v3", token: {token}}}
repositories:
  - {{url: "{github.address}/acme/site"}}
  - {{url: "{github.address}/acme/shop"}}
""",
            "utf-8",
        )
        runtime = Runtime(load(file, {}))
        started.append(runtime)
        runtime.start()
        wait_until(lambda: bool(work(runtime).credentials[0].requests))
        return runtime

    yield start
    for runtime in started:
        runtime.stop()


def work(runtime: Runtime) -> ForgeWork:
    """Return what is told now, and not what was a moment ago."""
    runtime.status.look_anew()
    found = runtime.status.forge("github").work
    assert found is not None
    return found


def test_a_process_that_polls_tells_credentials_plan_and_what_was_asked(running: Running) -> None:
    runtime = running(TOKEN)

    wait_until(lambda: "rest" in work(runtime).spent)
    told, watched = work(runtime), runtime.status.watched("acme/site")

    assert runtime.status.forge("github").repositories == 2
    assert [(one.name, one.state) for one in told.credentials] == [("token", CredentialState.OK)]
    assert Resource.REST in {budget.resource for budget in told.credentials[0].budgets}
    assert told.plan is not None
    assert told.plan.is_kept
    assert (watched.way, watched.is_told) == ("rest", True)


def test_a_token_that_was_taken_back_is_told_as_refused(running: Running) -> None:
    runtime = running(GONE)

    wait_until(lambda: work(runtime).credentials[0].state is CredentialState.REFUSED)
    needs = runtime.status.overview().needs

    assert [(one.code, one.subject) for one in needs] == [("credential_refused", "github")]


def test_a_process_that_does_not_poll_says_so(running: Running) -> None:
    other = Runtime(running(TOKEN).settings)

    told, watched = other.status.forge("github"), other.status.watched("acme/site")
    other.stop()

    assert told.work is None
    assert watched.is_told is False
