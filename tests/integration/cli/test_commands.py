"""Commands do their work on a real database and a real repository, and say what came of it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import commands
from app.domain.errors import Conflict, InputInvalid, NotFound
from app.storage.migrate import HEAD
from tests.fakes.git_repository import GitRepository
from tests.fakes.waiting import wait_until

UNUSED_PORT = 1  # nobody listens there, so that each command does its own work

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(tmp_path: Path, repository: GitRepository) -> Invoke:
    config = tmp_path / "reposentry.yaml"
    config.write_text(
        f"""
server: {{listen: "127.0.0.1:{UNUSED_PORT}"}}
storage: {{url: "sqlite:///{(tmp_path / "r.db").as_posix()}"}}
receivers: {{ci: {{url: "http://127.0.0.1:{UNUSED_PORT}/"}}}}
repositories: [{{url: "{repository.path.as_posix()}", name: acme/website}}]
""",
        encoding="utf-8",
    )

    def run(*words: str) -> Result:
        return CliRunner().invoke(commands, [*words, "--config", str(config)])

    return run


def test_a_poll_takes_the_baseline_and_the_next_tells_what_changed(
    invoke: Invoke, repository: GitRepository
) -> None:
    first = invoke("poll", "acme/website")
    repository.commit("main")
    second = invoke("poll", "acme/website", "--json")

    assert first.output.startswith("acme/website: nothing new, read by ls-remote in ")
    outcome = json.loads(second.output)
    assert (outcome["outcome"], outcome["changes"]) == ("changed", 1)


def test_a_poll_that_fails_says_why_and_ends_with_1(
    invoke: Invoke, repository: GitRepository
) -> None:
    repository.path.rename(repository.path.with_name("gone.git"))

    failed = invoke("poll", "acme/website")

    assert failed.exit_code == 1
    assert failed.output.startswith("acme/website: failed: ")


def test_a_repository_that_is_not_configured_cannot_be_polled(invoke: Invoke) -> None:
    assert isinstance(invoke("poll", "acme/unknown").exception, NotFound)


def test_events_are_listed_for_people_and_for_machines(
    invoke: Invoke, repository: GitRepository
) -> None:
    invoke("poll", "acme/website")
    commit = repository.commit("feature/x")
    invoke("poll", "acme/website")

    people = invoke("events")
    machines = invoke("events", "--json")
    none = invoke("events", "--kind", "tag_deleted")

    assert "branch_created  acme/website  feature/x" in people.output
    event = json.loads(machines.output)
    assert (event["after"], event["state"]) == (commit, "open")
    assert none.output == "No event.\n"


def test_an_event_is_owed_again_by_its_own_id_or_a_deliverys(
    invoke: Invoke, repository: GitRepository
) -> None:
    invoke("poll", "acme/website")
    repository.commit("main")
    invoke("poll", "acme/website")
    event = json.loads(invoke("events", "--json").output)["id"]

    by_event = json.loads(invoke("deliver", event, "--json").output)["deliveries"]
    by_delivery = json.loads(invoke("deliver", by_event[0], "--json").output)["deliveries"]

    assert len({*by_event, *by_delivery}) == 2
    assert isinstance(invoke("deliver", event, "--to", "nobody").exception, InputInvalid)
    assert isinstance(invoke("deliver", "nothing").exception, NotFound)


def test_the_schema_is_brought_up_to_date_and_checked(invoke: Invoke) -> None:
    before = invoke("db", "current").output
    old = invoke("db", "check")
    invoke("db", "upgrade")
    after = invoke("db", "current").output
    checked = invoke("db", "check")

    assert (before, after) == ("empty\n", f"{HEAD}\n")
    assert old.exit_code == 1
    assert "the table events is missing\n" in old.output
    assert old.output.endswith("reposentry db upgrade brings it up to date.\n")
    assert checked.output == "The schema is what this version expects.\n"


def test_a_database_that_is_named_needs_no_configuration_file(
    invoke: Invoke, repository: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("poll", "acme/website")
    repository.commit("feature/x")
    invoke("poll", "acme/website")
    monkeypatch.chdir(tmp_path)
    Path("reposentry.yaml").unlink()
    database = ("--database", "sqlite:///r.db")

    listed = CliRunner().invoke(commands, ["events", *database])
    checked = CliRunner().invoke(commands, ["db", "check", *database])

    assert "feature/x" in listed.output
    assert checked.output == "The schema is what this version expects.\n"


def test_nobody_polls_beside_a_process_that_holds_the_lease(invoke: Invoke, tmp_path: Path) -> None:
    from app.runtime import Runtime
    from app.settings import load

    runtime = Runtime(load(tmp_path / "reposentry.yaml", {}))
    runtime.start()
    try:
        wait_until(lambda: runtime.ready() == (True, "active"))
        refused = invoke("poll", "acme/website")
    finally:
        runtime.stop()

    assert isinstance(refused.exception, Conflict)
