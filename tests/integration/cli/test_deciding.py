"""Commands that decide on many at once: storms, sending again, cancelling; and one address."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import commands
from app.domain.confirmation import confirmation_key
from app.domain.errors import Conflict, InputInvalid, NotFound
from app.domain.secret import Secret
from tests.fakes.git_repository import GitRepository

UNUSED_PORT = 1  # nobody listens there

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(tmp_path: Path, repository: GitRepository) -> Invoke:
    config = tmp_path / "reposentry.yaml"
    config.write_text(
        f"""
server: {{listen: "127.0.0.1:{UNUSED_PORT}"}}
storage: {{url: "sqlite:///{(tmp_path / "r.db").as_posix()}"}}
polling: {{storm_limit: 2}}
receivers:
  ci: {{url: "http://127.0.0.1:{UNUSED_PORT}/"}}
  audit: {{url: "http://127.0.0.1:{UNUSED_PORT}/", payload: standard}}
repositories: [{{url: "{repository.path.as_posix()}", name: acme/website, receivers: [ci]}}]
""",
        encoding="utf-8",
    )

    def run(*words: str, answer: str = "") -> Result:
        return CliRunner().invoke(commands, [*words, "--config", str(config)], input=answer)

    assert run("poll", "acme/website").exit_code == 0
    return run


def push(invoke: Invoke, repository: GitRepository, *branches: str) -> None:
    for branch in branches:
        repository.commit(branch)
    assert invoke("poll", "acme/website").exit_code == 0


def states(invoke: Invoke) -> list[str]:
    lines = invoke("events", "--json").output.splitlines()
    return [json.loads(line)["state"] for line in lines]


def test_a_storm_is_listed_released_and_then_decided(
    invoke: Invoke, repository: GitRepository
) -> None:
    none = invoke("storm", "list")
    push(invoke, repository, "a", "b", "c")
    held = json.loads(invoke("storm", "list", "--state", "held", "--json").output)

    released = invoke("storm", "release", held["id"])
    again = invoke("storm", "dismiss", held["id"])

    assert "No storm." in none.output
    assert (held["repository"], held["state"], held["changes"]) == ("acme/website", "held", 3)
    assert released.output.startswith(f"storm {held['id']} is released")
    assert isinstance(again.exception, Conflict)
    assert states(invoke) == ["open"] * 3
    assert "released" in invoke("storm", "list").output
    assert isinstance(invoke("storm", "release", "nothing").exception, NotFound)


def test_a_storm_that_is_dismissed_sends_nothing(invoke: Invoke, repository: GitRepository) -> None:
    push(invoke, repository, "a", "b", "c")
    held = json.loads(invoke("storm", "list", "--json").output)

    dismissed = invoke("storm", "dismiss", held["id"])

    assert dismissed.exit_code == 0
    assert states(invoke) == ["ignored"] * 3
    assert invoke("deliver", "--receiver", "ci", "--cancel").output == "None matches.\n"


def test_many_are_cancelled_and_sent_again_to_the_same_and_to_others(
    invoke: Invoke, repository: GitRepository
) -> None:
    push(invoke, repository, "a", "b")

    ended = invoke("deliver", "--receiver", "ci", "--cancel")
    dead = invoke("deliver", "--receiver", "ci")
    unknown = invoke("deliver", "--receiver", "cy")
    again = invoke("deliver", "--state", "cancelled", "--repository", "acme/website")
    others = invoke("deliver", "--state", "cancelled", "--since", "1h", "--to", "audit", "--json")

    assert ended.output == "2 deliveries are cancelled.\n"
    assert dead.output == "None matches that was not taken or owed since.\n"
    assert unknown.output.endswith("No receiver named 'cy' is configured.\n")
    assert again.output == "2 deliveries are owed again.\n"
    assert json.loads(others.output) == {"redelivered": 2}
    assert states(invoke) == ["open"] * 2
    assert isinstance(
        invoke("deliver", "--state", "cancelled", "--to", "nobody").exception, InputInvalid
    )


def test_one_delivery_is_cancelled_by_its_id(invoke: Invoke, repository: GitRepository) -> None:
    push(invoke, repository, "a")
    event = json.loads(invoke("events", "--json").output)["id"]
    (delivery,) = json.loads(invoke("deliver", event, "--json").output)["deliveries"]

    ended = invoke("deliver", delivery, "--cancel")

    assert ended.output == "1 delivery is cancelled.\n"
    assert isinstance(invoke("deliver", delivery, "--cancel").exception, Conflict)
    assert "see its event's page" in str(invoke("deliver", event, "--cancel").exception)


def test_a_person_is_asked_before_very_many_are_touched(
    invoke: Invoke, repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(invoke, repository, "a", "b")
    monkeypatch.setattr("app.cli.deliver.MANY", 1)
    monkeypatch.setattr("app.cli.deliver._is_a_person_there", lambda: True)

    refused = invoke("deliver", "--receiver", "ci", "--cancel", answer="n\n")
    unasked = invoke("deliver", "--receiver", "ci", "--since", "1h", "--until", "59m", "--cancel")
    agreed = invoke("deliver", "--receiver", "ci", "--cancel", answer="y\n")
    sure = invoke("deliver", "--state", "cancelled", "--yes")

    assert "Cancel 2 deliveries? [y/N]" in refused.output
    assert refused.exit_code != 0
    assert unasked.output == "None matches.\n"
    assert agreed.output.endswith("2 deliveries are cancelled.\n")
    assert sure.output == "2 deliveries are owed again.\n"


CONFIRMING = """
server: {{listen: "127.0.0.1:1"{public_url}}}
security: {{allow_http: ["el.ci"]}}
receivers:
  tekton: {{url: "http://el.ci:8080", confirm: tekton, secret: s3cret-s3cret}}
  plain: {{url: "http://el.ci:8080", secret: s3cret-s3cret}}
repositories: [{{url: "https://git.example.com/acme/site"}}]
"""


def test_the_address_that_confirms_is_printed_whole_and_only_here(tmp_path: Path) -> None:
    def run(*words: str, public_url: str = "") -> Result:
        config = tmp_path / "reposentry.yaml"
        config.write_text(CONFIRMING.format(public_url=public_url), encoding="utf-8")
        return CliRunner().invoke(commands, ["config", *words, "--config", str(config)])

    key = confirmation_key(Secret("s3cret-s3cret"), "tekton")
    public = ', public_url: "https://sentry.example.com/"'

    whole = run("confirm-url", "tekton", public_url=public)
    path = run("confirm-url", "tekton")

    assert whole.stdout == (f"https://sentry.example.com/api/v1/confirmations/tekton/{key}\n")
    assert path.stdout == f"/api/v1/confirmations/tekton/{key}\n"
    assert "server.public_url is not set" in path.stderr
    assert key not in run("show").output
    assert isinstance(run("confirm-url", "nobody").exception, NotFound)
    assert isinstance(run("confirm-url", "plain").exception, Conflict)
