"""Probes are answered before the pages are made, and the rest waits for them."""

import threading
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from app.cli import doorstep
from app.cli.doorstep import Doorstep


def pages(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "text/html")])
    return [b"the pages"]


class Scene:
    def __init__(self) -> None:
        self.readiness = (False, "starting")
        self.door = Doorstep(lambda: pages, ready=lambda: self.readiness)

    def get(self, path: str) -> tuple[str, bytes]:
        statuses: list[str] = []

        def start(status: str, headers: object, error: object = None) -> object:
            statuses.append(status)
            return None

        body = b"".join(self.door({"PATH_INFO": path}, start))  # type: ignore[arg-type] # a part
        return statuses[0], body


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_probes_answer_before_there_are_pages(scene: Scene) -> None:
    alive, starting = scene.get("/health/live"), scene.get("/health/ready")
    scene.readiness = (True, "active")
    ready = scene.get("/health/ready")

    assert alive == ("200 OK", b'{"status": "alive"}')
    assert starting == ("503 Service Unavailable", b'{"ready": false, "reason": "starting"}')
    assert ready == ("200 OK", b'{"ready": true, "reason": "active"}')


def test_a_page_that_is_asked_for_too_early_comes_when_it_can(scene: Scene) -> None:
    answers: list[tuple[str, bytes]] = []
    early = threading.Thread(target=lambda: answers.append(scene.get("/")))
    early.start()

    scene.door.open()
    early.join(5)

    assert answers == [("200 OK", b"the pages")]
    assert scene.get("/health/ready") == ("200 OK", b"the pages")


def test_nobody_waits_for_ever(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorstep, "LONGEST_WAIT_S", 0.01)

    assert scene.get("/")[0] == "503 Service Unavailable"
