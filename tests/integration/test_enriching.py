"""What a push brought reaches receivers, pages and the API; a slow forge holds nothing up."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from app.runtime import Runtime, utc_now
from app.services.enricher import DEADLINE_S, MOST_ASKED, QUESTION_S, Enricher
from app.services.gate import BATCH
from app.settings import from_mapping
from tests.fakes.forge import Forge
from tests.fakes.git_repository import GitRepository
from tests.fakes.receiver import RecordingReceiver
from tests.fakes.waiting import wait_until

NAME = "acme/website"
SLACK_S = 2.0  # a busy machine's


class Scene:
    """A forge with one repository, a receiver, and the program between them when it runs."""

    def __init__(self, folder: Path, forge: Forge, receiver: RecordingReceiver) -> None:
        self.forge = forge
        self.receiver = receiver
        self.remote = GitRepository.create(folder / "website.git")
        self.remote.commit(message="First")
        forge.repositories[NAME] = self.remote
        settings: dict[str, Any] = {
            "storage": {"url": f"sqlite:///{(folder / 'r.db').as_posix()}"},
            "polling": {"interval": "10m"},  # so that only a wake polls again
            "forges": {
                "fake": {
                    "kind": "github",
                    "url": forge.address,
                    "api_url": forge.address,
                    "token": "t0ken",
                }
            },
            "receivers": {"ci": {"url": receiver.url}},
            "repositories": [{"url": f"{forge.address}/{NAME}.git", "name": NAME}],
        }
        self.settings = from_mapping(settings, {})

    @contextmanager
    def running(self) -> Iterator[Runtime]:
        runtime = Runtime(self.settings)
        try:
            runtime.start()
            wait_until(lambda: runtime.status.repository(NAME).state != "new")
            yield runtime
        finally:
            runtime.stop()

    def compared(self) -> list[str]:
        return [path for path in list(self.forge.paths) if "/compare/" in path]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with (
        Forge("github", token="t0ken") as forge,  # noqa: S106 - a fake forge's
        RecordingReceiver() as receiver,
    ):
        yield Scene(tmp_path, forge, receiver)


def hold_comparisons(forge: Forge) -> threading.Event:
    """Let the forge answer a question about a change only once the returned event is set."""
    may_answer = threading.Event()

    def hesitate(path: str) -> None:
        if "/compare/" in path or "/commits/" in path:
            may_answer.wait(30)

    forge.on_request = hesitate
    return may_answer


def event_by_api(runtime: Runtime, scene: Scene) -> Any:
    """Return the newest event as the API tells it."""
    client = create_app(scene.settings, runtime).test_client()
    return client.get("/api/v1/events").get_json()["items"][0]


def test_a_rewound_branch_is_told_to_be_forced_by_payload_and_api(scene: Scene) -> None:
    kept = scene.remote.commit(message="Kept")
    scene.remote.commit(message="Lost")
    with scene.running() as runtime:
        scene.remote.move({"refs/heads/main": kept})
        made = scene.remote.commit(message="Instead")
        runtime.wake(NAME)
        (record,) = scene.receiver.wait_for(1)
        wait_until(lambda: event_by_api(runtime, scene)["forced"] is not None)
        told = event_by_api(runtime, scene)

    assert record.json["forced"] is True
    assert (record.json["head_commit"]["id"], record.json["head_commit"]["message"]) == (
        made,
        "Instead",
    )
    assert (told["forced"], told["commits_count"]) == (True, 1)
    assert [commit["message"] for commit in told["commits"]] == ["Instead"]


def test_who_pushed_and_when_is_told_by_payload_and_api(scene: Scene) -> None:
    pushed_at = utc_now().replace(microsecond=0) - timedelta(minutes=2)
    with scene.running() as runtime:
        before = scene.remote.refs()["refs/heads/main"]
        after = scene.remote.commit(message="Second")
        scene.forge.logs[NAME] = [
            {
                "id": 1,
                "node_id": "x",
                "before": before,
                "after": after,
                "ref": "refs/heads/main",
                "timestamp": pushed_at.isoformat().replace("+00:00", "Z"),
                "activity_type": "push",
                "actor": {"login": "ada"},
            }
        ]
        runtime.wake(NAME)
        (record,) = scene.receiver.wait_for(1)
        wait_until(lambda: event_by_api(runtime, scene)["pusher"] is not None)
        told = event_by_api(runtime, scene)

    assert record.json["pusher"]["name"] == "ada"
    assert record.json["sender"]["login"] == "ada"
    assert told["pusher"]["username"] == "ada"
    assert datetime.fromisoformat(told["pushed_at"]) == pushed_at
    assert sum("/activity" in path for path in scene.forge.paths) == 1


def test_a_slow_forge_delays_a_delivery_by_the_deadline_and_is_heard_all_the_same(
    scene: Scene,
) -> None:
    with scene.running() as runtime:
        may_answer = hold_comparisons(scene.forge)
        scene.remote.commit(message="Second")
        began = time.monotonic()
        outcome = runtime.poll_and_wait(NAME, 5)
        recorded_s = time.monotonic() - began
        (record,) = scene.receiver.wait_for(1)
        delivered_s = time.monotonic() - began
        may_answer.set()
        wait_until(lambda: event_by_api(runtime, scene)["commits"] is not None)
        told = event_by_api(runtime, scene)

    assert outcome is not None
    assert outcome.changes == 1
    assert recorded_s < QUESTION_S  # it did not wait for the answer, nor until that was given up
    assert delivered_s < DEADLINE_S + SLACK_S
    assert record.json["reposentry"]["forced"] is None
    assert (told["forced"], told["commits"][0]["message"]) == (False, "Second")


def test_a_hanging_forge_delays_a_storm_by_the_deadline_and_no_more(scene: Scene) -> None:
    names = [f"b/{number:03}" for number in range(300)]
    scene.remote.branch(*names)
    with scene.running() as runtime:
        may_answer = hold_comparisons(scene.forge)
        made = scene.remote.make_commit(scene.remote.refs()["refs/heads/main"], message="All")
        scene.remote.move({f"refs/heads/{name}": made for name in names})
        began = time.monotonic()
        runtime.wake(NAME)
        first = scene.receiver.wait_for(1)[0]
        first_s = time.monotonic() - began
        records = scene.receiver.wait_for(300, deadline_s=30)
        may_answer.set()

    assert len({record.delivery for record in records}) == 300
    assert first_s < DEADLINE_S + SLACK_S
    # The first waited; if each batch after it did, too, there would be a pause before all of them.
    gaps = [after.at_s - before.at_s for before, after in itertools.pairwise(records)]
    assert sum(gap >= DEADLINE_S for gap in gaps) < 300 // BATCH // 2
    assert len(scene.compared()) <= MOST_ASKED
    assert first.json["reposentry"]["forced"] is None


def test_a_crash_between_the_record_and_the_question_costs_one_question(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    Runtime(scene.settings).poll_once(NAME)
    scene.remote.commit(message="Second")
    with monkeypatch.context() as patch:
        patch.setattr(Enricher, "begin", lambda *_: None)
        found = Runtime(scene.settings).poll_once(NAME)
    asked_before = len(scene.compared())

    with scene.running() as runtime:
        (record,) = scene.receiver.wait_for(1)
        wait_until(lambda: event_by_api(runtime, scene)["commits"] is not None)

    assert (found.changes, asked_before) == (1, 0)
    assert len(scene.compared()) == 1
    assert record.json["forced"] is False
    assert record.json["head_commit"]["message"] == "Second"
