"""adnanh/webhook, as Debian ships it: runs a command where the signature is right."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.domain.delivery import Verdict, judge
from tests.fakes.peers import webhook
from tests.fakes.process import eventually, free_port
from tests.fakes.receiver import RecordingReceiver
from tests.receivers.programs import a_running, find_program
from tests.receivers.sending import COMMIT, FORMER, SECRET, Tampering, deliver

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Debian's package")

GENUINE = {
    "match": {
        "type": "payload-hmac-sha256",
        "secret": SECRET,
        "parameter": {"source": "header", "name": "X-Hub-Signature-256"},
    }
}
OF_MAIN = {
    "match": {
        "type": "value",
        "value": "refs/heads/main",
        "parameter": {"source": "payload", "name": "ref"},
    }
}


@pytest.fixture
def hooks(tmp_path: Path) -> Iterator[str]:
    """Run it with three hooks, and yield where they are."""
    (tmp_path / "ran").mkdir()
    shared: dict[str, object] = {
        "execute-command": "/usr/bin/touch",
        "command-working-directory": str(tmp_path / "ran"),
        "pass-arguments-to-command": [{"source": "payload", "name": "head_commit.id"}],
    }
    rules: list[dict[str, object]] = [
        {"id": "genuine", "trigger-rule": GENUINE},
        {"id": "main-only", "trigger-rule": {"and": [GENUINE, OF_MAIN]}},
        {"id": "strict", "trigger-rule": OF_MAIN, "trigger-rule-mismatch-http-response-code": 403},
    ]
    file = tmp_path / "hooks.json"
    file.write_text(json.dumps([shared | rule for rule in rules]), encoding="utf-8")
    port = free_port()
    program = find_program("webhook", variable="REPOSENTRY_WEBHOOK")
    command = [program, "-hooks", str(file), "-ip", "127.0.0.1", "-port", str(port), "-verbose"]
    with a_running(command, folder=tmp_path, port=port):
        yield f"http://127.0.0.1:{port}/hooks"


def ran(folder: Path) -> list[str]:
    """List the commits for which the command has run."""
    return sorted(path.name for path in (folder / "ran").iterdir())


def test_a_genuine_push_runs_the_command_with_the_commit(hooks: str, tmp_path: Path) -> None:
    answer = deliver(f"{hooks}/genuine", payload="github")

    assert answer.status == 200
    eventually(lambda: ran(tmp_path) == [COMMIT], deadline_s=10, what="the command has run")


@pytest.mark.parametrize("hook", ["genuine", "main-only"])
def test_what_was_changed_on_its_way_is_500_and_so_tried_again(
    hooks: str, hook: str, tmp_path: Path
) -> None:
    answer = deliver(f"{hooks}/{hook}", payload="github", transport=Tampering)

    assert answer.status == 500
    assert judge(answer.status, expect="2xx", attempt=1) is Verdict.RETRY
    assert ran(tmp_path) == []


def test_a_rule_that_is_not_met_is_200_and_does_nothing(hooks: str, tmp_path: Path) -> None:
    answer = deliver(f"{hooks}/main-only", payload="github", case="branch-created")

    assert (answer.status, answer.body) == (200, "Hook rules were not satisfied.")
    assert ran(tmp_path) == []


def test_a_rule_that_is_not_met_is_403_where_that_is_configured(hooks: str) -> None:
    answer = deliver(f"{hooks}/strict", payload="github", case="branch-created")

    assert answer.status == 403


def test_a_hook_that_does_not_exist_is_404(hooks: str) -> None:
    answer = deliver(f"{hooks}/none", payload="github")

    assert (answer.status, answer.body) == (404, "Hook not found.")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"case": "branch-created"},
        {"secret": FORMER},
        {"secret": None},
        {"transport": Tampering},
    ],
    ids=str,
)
def test_the_fake_answers_as_the_real_one(hooks: str, options: dict[str, Any]) -> None:
    real = deliver(f"{hooks}/main-only", payload="github", **options)
    with RecordingReceiver(answer=webhook(SECRET, ref="refs/heads/main")) as fake:
        faked = deliver(fake.url, payload="github", **options)

    assert (faked.status, faked.body) == (real.status, real.body)
