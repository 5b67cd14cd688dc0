"""Changes are chosen by the files they touch, pull requests are watched, round trips are found."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from app.runtime import Runtime, utc_now
from app.settings import from_mapping
from tests.fakes.forge import Forge
from tests.fakes.git_repository import GitRepository
from tests.fakes.git_server import GitServer
from tests.fakes.receiver import RecordingReceiver
from tests.fakes.waiting import wait_until

NAME = "acme/website"
MAIN = "refs/heads/main"


class Scene:
    """A forge with one repository, a receiver, and the program between them when it runs."""

    def __init__(self, folder: Path, receiver: RecordingReceiver) -> None:
        self.folder = folder
        self.receiver = receiver
        self.remote = GitRepository.create(folder / "website.git")
        self.first = self.remote.commit(message="First", files={"a.go": "1", "a.md": "1"})

    @contextmanager
    def running(self, url: str, kind: str, **repository: Any) -> Iterator[Runtime]:
        address = url.removesuffix(f"/{NAME}.git")
        forge = {"kind": "github", "url": address, "api_url": address, "token": "t0ken"}
        settings: dict[str, Any] = {
            "storage": {"url": f"sqlite:///{(self.folder / 'r.db').as_posix()}"},
            "polling": {"interval": "10m"},  # so that only a wake polls again
            "forges": {"fake": forge} if kind == "github" else {},
            "receivers": {"ci": {"url": self.receiver.url}},
            "repositories": [{"url": url, "name": NAME, **repository}],
        }
        self.settings = from_mapping(settings, {})
        runtime = Runtime(self.settings)
        try:
            runtime.start()
            wait_until(lambda: runtime.status.repository(NAME).state == "ok")
            yield runtime
        finally:
            runtime.stop()

    def events(self, runtime: Runtime) -> list[dict[str, Any]]:
        """Return all events as the API tells them, oldest first."""
        client = create_app(self.settings, runtime).test_client()
        items: list[dict[str, Any]] = client.get("/api/v1/events").get_json()["items"]
        return items[::-1]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with RecordingReceiver() as receiver:
        yield Scene(tmp_path, receiver)


@pytest.fixture
def forge(scene: Scene) -> Iterator[Forge]:
    with Forge("github", token="t0ken") as made:  # noqa: S106 - a fake forge's
        made.repositories[NAME] = scene.remote
        yield made


def test_only_changes_that_touch_the_paths_are_delivered(scene: Scene, forge: Forge) -> None:
    url = f"{forge.address}/{NAME}.git"
    with scene.running(url, "github", paths=["**", "!*.md"]) as runtime:
        scene.remote.commit(message="Docs", files={"a.go": "1", "a.md": "2"})
        runtime.poll_and_wait(NAME, 10)
        code = scene.remote.commit(message="Code", files={"a.go": "2", "a.md": "2"})
        runtime.poll_and_wait(NAME, 10)
        (record,) = scene.receiver.wait_for(1)
        wait_until(lambda: scene.events(runtime)[-1]["state"] == "delivered")
        docs_told, code_told = scene.events(runtime)
        reasons = runtime.status.explain(NAME, "main").reasons

    assert record.json["head_commit"]["id"] == code
    assert record.json["head_commit"]["modified"] == ["a.go"]
    assert record.json["reposentry"]["path_filter"] == "matched"
    assert (docs_told["state"], docs_told["paths"]) == ("ignored", ["a.md"])
    assert (docs_told["path_filter"], docs_told["paths_count"]) == ("missed", 1)
    assert [commit["message"] for commit in docs_told["commits"]] == ["Docs"]
    assert (code_told["path_filter"], code_told["paths"]) == ("matched", ["a.go"])
    assert "Some of its 1 changed files match paths." in reasons
    # What was told on the way is not asked again.
    assert sum("/compare/" in path for path in forge.paths) == 2


def test_a_change_that_the_api_does_not_tell_is_delivered_and_says_so(
    scene: Scene, tmp_path: Path
) -> None:
    with GitServer(tmp_path) as server:
        url = f"{server.address}/website.git"
        with scene.running(url, "git", paths=["*.go"]) as runtime:
            scene.remote.commit(files={"a.go": "1", "a.md": "2"})
            runtime.poll_and_wait(NAME, 10)
            (record,) = scene.receiver.wait_for(1)
            (told,) = scene.events(runtime)

    assert record.json["reposentry"]["path_filter"] == "unknown"
    assert (told["path_filter"], told["paths"]) == ("unknown", None)


def test_a_pull_request_is_found_by_git_and_delivered(scene: Scene, tmp_path: Path) -> None:
    with GitServer(tmp_path) as server:
        url = f"{server.address}/website.git"
        scene.remote.move({"refs/pull/6/head": scene.first})
        with scene.running(url, "git", pull_requests=True) as runtime:
            scene.remote.move({"refs/pull/7/head": scene.first, "refs/pull/7/merge": scene.first})
            runtime.poll_and_wait(NAME, 10)
            (record,) = scene.receiver.wait_for(1)
            (told,) = scene.events(runtime)

    assert (told["kind"], told["ref"]) == ("branch_created", "refs/pull/7/head")
    assert (record.json["ref"], record.json["branch"]["name"]) == (
        "refs/pull/7/head",
        "pull/7/head",
    )


def test_a_push_that_was_taken_back_before_anyone_looked_is_delivered_both_ways(
    scene: Scene, forge: Forge
) -> None:
    url = f"{forge.address}/{NAME}.git"
    with scene.running(url, "github") as runtime:
        gone = scene.remote.commit(message="Oops")
        scene.remote.move({MAIN: scene.first})
        at = utc_now().isoformat(timespec="seconds").replace("+00:00", "Z")
        moves = [(gone, scene.first, "force_push"), (scene.first, gone, "push")]
        forge.logs[NAME] = [
            {
                "id": 9 - number,
                "node_id": "x",
                "before": before,
                "after": after,
                "ref": MAIN,
                "timestamp": at,
                "activity_type": sort,
                "actor": {"login": "ada"},
            }
            for number, (before, after, sort) in enumerate(moves)  # the newest first
        ]
        runtime.poll_and_wait(NAME, 10)
        there, back = scene.receiver.wait_for(2)
        runtime.poll_and_wait(NAME, 10)
        told = scene.events(runtime)

    assert (there.json["before"], there.json["after"]) == (scene.first, gone)
    assert (back.json["before"], back.json["after"], back.json["forced"]) == (
        gone,
        scene.first,
        True,
    )
    assert [event["forced"] for event in told] == [False, True]
