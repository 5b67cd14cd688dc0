"""A probe makes changes be noticed soon; one that is dead, lies or is mute loses none."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import app.runtime
from app import forges
from app.domain.allowance import Limits
from app.domain.errors import ForgeUnavailable
from app.domain.plan import Probing
from app.domain.repository import Repository
from app.forges import Forges
from app.runtime import Runtime
from app.services import planner
from app.settings import from_mapping
from tests.fakes.git_repository import GitRepository
from tests.fakes.git_server import GitServer
from tests.fakes.probe import FakeProbe
from tests.fakes.receiver import RecordingReceiver
from tests.fakes.waiting import wait_until

NAMES = ("website", "docs", "api")
# Enough for a list every half a second, and for one read of each in every few seconds; not for all
# of them every second.
LIMITS = Limits(rest_per_minute=300, git_per_hour=5000)


class Scene:
    """Three repositories of one owner on a git server, and a list of them."""

    def __init__(self, tmp_path: Path, server: GitServer, receiver: RecordingReceiver) -> None:
        self.server = server
        self.receiver = receiver
        self.database = f"sqlite:///{(tmp_path / 'r.db').as_posix()}"
        (tmp_path / "acme").mkdir()
        self.repositories = {
            name: GitRepository.create(tmp_path / "acme" / f"{name}.git") for name in NAMES
        }
        for repository in self.repositories.values():
            repository.commit("main")
        self.probe = FakeProbe(self._mark)

    def _mark(self, repository: Repository) -> object:
        name = repository.url.rpartition("/")[2].removesuffix(".git")
        return tuple(self.repositories[name].refs().items())

    @contextmanager
    def running(self, *, max_interval: str) -> Iterator[Runtime]:
        settings = from_mapping(
            {
                "storage": {"url": self.database},
                "polling": {"interval": "1s", "max_interval": max_interval},
                "forges": {
                    "work": {
                        "kind": "gitea",
                        "url": self.server.address,
                        "token": "correct-horse-battery",
                    }
                },
                "receivers": {"ci": {"url": self.receiver.url}},
                "repositories": [
                    {"url": self.server.url(f"acme/{name}.git"), "name": name} for name in NAMES
                ],
            },
            {},
        )
        runtime = Runtime(settings)
        try:
            runtime.start()
            wait_until(
                lambda: all(runtime.status.repository(name).state == "ok" for name in NAMES),
                deadline_s=20,
            )
            yield runtime
        finally:
            runtime.stop()

    def push_and_wait(self, name: str) -> float:
        """Return how long it took from a push to its receipt, in seconds."""
        begun = time.monotonic()
        self.repositories[name].commit("main")
        self.receiver.wait_for(1, deadline_s=20)
        return time.monotonic() - begun


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with GitServer(tmp_path) as server, RecordingReceiver() as receiver:
        made = Scene(tmp_path, server, receiver)
        monkeypatch.setattr(planner, "SEEN_AT", {"gitea": frozenset({Probing.LISTING})})
        monkeypatch.setattr(forges, "PROBES", {"gitea": lambda *_: made.probe})
        monkeypatch.setattr(app.runtime, "FLUSH_S", 0.1)
        monkeypatch.setattr(Forges, "limits", lambda *_: LIMITS)
        yield made


def is_covered(runtime: Runtime) -> bool:
    return [probe.covered for probe in runtime.probes()] == [len(NAMES)]


def reason_of_find(runtime: Runtime, name: str) -> str:
    def reasons() -> list[str]:
        return [poll.reason for poll in runtime.status.polls(name).newest if poll.changes]

    wait_until(lambda: bool(reasons()), deadline_s=20)
    return reasons()[0]


def test_a_change_behind_a_probe_is_noticed_at_the_probes_pace(scene: Scene) -> None:
    with scene.running(max_interval="5s") as runtime:
        wait_until(lambda: is_covered(runtime), deadline_s=20)
        scene.push_and_wait("docs")
        reason = reason_of_find(runtime, "docs")
        plan = runtime.plans()["work"]
        next_poll = runtime.status.repository("website").next_poll_reason

    assert reason == "probe"
    assert [group.probing for group in plan.groups] == [Probing.LISTING]
    assert next_poll == (
        "watched by the list of acme's repositories every 0.5 s; read in full every 5 s"
    )


def test_a_change_behind_a_dead_probe_is_found_by_a_poll(scene: Scene) -> None:
    with scene.running(max_interval="5s") as runtime:
        wait_until(lambda: is_covered(runtime), deadline_s=20)
        scene.probe.error = ForgeUnavailable("no answer in time")
        wait_until(lambda: not is_covered(runtime))
        scene.push_and_wait("docs")
        reason = reason_of_find(runtime, "docs")

    assert reason == "schedule"


def test_a_change_behind_a_probe_that_lies_is_found_by_the_full_read(scene: Scene) -> None:
    with scene.running(max_interval="5s") as runtime:
        wait_until(lambda: is_covered(runtime), deadline_s=20)
        scene.probe.lies = True
        scene.push_and_wait("docs")
        reason = reason_of_find(runtime, "docs")

    assert reason == "schedule"


def test_a_paused_repository_is_not_woken_by_its_probe_until_it_is_resumed(scene: Scene) -> None:
    with scene.running(max_interval="5s") as runtime:
        wait_until(lambda: is_covered(runtime), deadline_s=20)
        runtime.pause_repository("docs")
        wait_until(lambda: scene.probe.asked[-1] == ("website", "api"))
        runtime.resume_repository("docs")
        scene.push_and_wait("docs")

        wait_until(lambda: is_covered(runtime), deadline_s=20)


def test_a_standby_has_no_plan_and_asks_no_probe(scene: Scene) -> None:
    with scene.running(max_interval="5s") as active:
        standby = Runtime(active.settings)
        standby.start()
        known = standby.plans(), standby.probes()
        standby.stop()

    assert known == ({}, ())
