"""Whatever a receiver or a forge does wrong, every change arrives when it is over.

All faults of a kind are committed at the same time, each against a receiver or a repository of
its own, so that the whole takes seconds and each is also seen not to disturb the others.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.scene import (
    MAIN,
    SECRET,
    PushedRepository,
    entries,
    wait_arrived,
    wait_polled,
    wait_watched,
    write_configuration,
)
from tests.e2e.truth import Verdict, judge
from tests.fakes.git_server import GitServer
from tests.fakes.process import RunningSentry, eventually
from tests.fakes.receiver import Answering, Record, RecordingReceiver

pytestmark = pytest.mark.slow

FEATURE = "refs/heads/feature"
OLD = "refs/heads/old"
TAG = "refs/tags/v1"

RECEIVER_FAULTS: Mapping[str, Answering] = {
    "500": 500,
    "503 Retry-After": lambda _: (503, {"Retry-After": "1"}, b"later"),
    "429 Retry-After": lambda _: (429, {"Retry-After": "1"}, b"slowly"),
    "hang": "hang",
    "reset": "reset",
    "lost": "lost",
}
FORGE_FAULTS = ("500", "503", "403", "404", "429", "garbage", "half", "empty", "hang", "reset")


def push_during_a_fault(repository: PushedRepository) -> None:
    """Move, create, delete and tag; the first move is soon covered by another."""
    repository.commit(MAIN, must=False)
    repository.commit(FEATURE)
    repository.delete(OLD)
    repository.force(MAIN)
    repository.commit(TAG)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def after_receiver_faults(folder: Path) -> Iterator[Mapping[str, Verdict]]:
    """What each receiver had got in the end, by the fault that it committed."""
    (folder / "git").mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(GitServer(folder / "git"))
        repository = PushedRepository(server, "receivers")
        receivers = {
            fault: [stack.enter_context(RecordingReceiver(SECRET))]
            for fault in ("none", "down", *RECEIVER_FAULTS)
        }
        file = write_configuration(
            folder,
            database="sqlite:///receivers.db",
            repositories=entries([repository]),
            receivers={named(fault): lives[0].url for fault, lives in receivers.items()},
        )
        sentry = stack.enter_context(RunningSentry("run", "-c", str(file), folder=folder))
        wait_watched(sentry.wait_ready(), [repository.name])
        repository.commit(OLD)
        for lives in receivers.values():
            wait_arrived([repository.truth], lives)

        for fault, answer in RECEIVER_FAULTS.items():
            receivers[fault][0].answer = answer
        receivers["down"][0].close()
        push_during_a_fault(repository)
        wait_arrived([repository.truth], receivers["none"])
        wait_tried(sentry, repository, times=3)

        for fault in RECEIVER_FAULTS:
            receivers[fault][0].answer = 202
        port = receivers["down"][0].port
        receivers["down"].append(stack.enter_context(RecordingReceiver(SECRET, port=port)))
        repository.commit(FEATURE)
        yield {fault: wait_arrived([repository.truth], lives) for fault, lives in receivers.items()}


def named(fault: str) -> str:
    """Return a receiver's name for a fault."""
    return fault.lower().replace(" ", "-")


def wait_tried(sentry: RunningSentry, repository: PushedRepository, *, times: int) -> None:
    """Wait until every receiver that fails has been tried that often with the same delivery."""

    def look() -> bool:
        found = sentry.get("/api/v1/deliveries?limit=200").json()["items"]
        tried = {each["receiver"] for each in found if each["attempts_made"] >= times}
        return tried >= {named(fault) for fault in ("down", *RECEIVER_FAULTS)}

    eventually(look, deadline_s=30, what=f"{repository.name} was tried {times} times everywhere")


@pytest.mark.parametrize("fault", ["none", "down", *RECEIVER_FAULTS])
def test_a_receivers_fault_loses_doubles_and_reorders_nothing(
    fault: str, after_receiver_faults: Mapping[str, Verdict]
) -> None:
    assert after_receiver_faults[fault].complaints == []


@pytest.fixture(scope="module")
def after_git_faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Verdict]]:
    """What had arrived of each repository in the end, by the fault of its git server."""
    folder = tmp_path_factory.mktemp("git-faults")
    with ExitStack() as stack:
        servers = {
            fault: stack.enter_context(GitServer(a_folder(folder, f"git-{fault}")))
            for fault in FORGE_FAULTS
        }
        repositories = {
            fault: PushedRepository(server, f"git-{fault}") for fault, server in servers.items()
        }
        truths = [each.truth for each in repositories.values()]
        receiver = stack.enter_context(RecordingReceiver(SECRET))
        file = write_configuration(
            folder,
            database="sqlite:///forges.db",
            repositories=entries(repositories.values()),
            receivers={"ci": receiver.url},
        )
        sentry = stack.enter_context(RunningSentry("run", "-c", str(file), folder=folder))
        wait_watched(sentry.wait_ready(), [each.name for each in repositories.values()])
        for repository in repositories.values():
            repository.commit(OLD)
        wait_arrived(truths, [receiver])

        for fault, server in servers.items():
            server.fault = fault
        for repository in repositories.values():
            push_during_a_fault(repository)
        wait_failing(sentry, [each.name for each in repositories.values()])
        wait_polled(servers.values())

        for server in servers.values():
            server.fault = None
        wait_arrived(truths, [receiver])
        wait_polled(servers.values())  # what is invented would be so now
        yield {
            fault: judge([each.truth], records_of(receiver, each))
            for fault, each in repositories.items()
        }


def a_folder(parent: Path, name: str) -> Path:
    """Make a folder and return it."""
    folder = parent / name
    folder.mkdir()
    return folder


def records_of(receiver: RecordingReceiver, repository: PushedRepository) -> list[Record]:
    """Return what arrived about one repository."""
    return [
        record
        for record in receiver.records
        if record.json["repository"]["full_name"] == repository.name
    ]


def wait_failing(sentry: RunningSentry, names: Iterable[str]) -> None:
    """Wait until every one of these repositories is said to be failing, and why."""
    wanted = set(names)

    def look() -> bool:
        page = sentry.get("/api/v1/repositories?limit=200").json()["items"]
        failing = {each["name"] for each in page if each["state"] == "failing" and each["error"]}
        return wanted <= failing

    eventually(look, deadline_s=30, what=f"{sorted(wanted)} are failing")


@pytest.mark.parametrize("fault", FORGE_FAULTS)
def test_a_git_servers_fault_loses_and_invents_nothing(
    fault: str, after_git_faults: Mapping[str, Verdict]
) -> None:
    assert after_git_faults[fault].complaints == []
