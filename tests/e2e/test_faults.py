"""Whatever a receiver or a forge does wrong, every change arrives when it is over.

All faults of a kind are committed at the same time, each against a receiver or a repository of
its own, so that the whole takes seconds and each is also seen not to disturb the others.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
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
from tests.fakes.forge import Forge
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
NO_BRANCHES = "no branches"
API_FAULTS = ("500", "403", "429", "garbage", "half", "empty", "hang", "reset", NO_BRANCHES)
GIT_FAULT_BESIDE = "503"
MORE_THAN_A_PAGE = 105
TOKEN = "made-up-token"  # noqa: S105 - as it says
FORGE_FAULTS = ("500", "503", "403", "404", "429", "garbage", "half", "empty", "hang", "reset")


def push_during_a_fault(repository: PushedRepository) -> None:
    """Move, create and delete; the first move is soon covered by another."""
    repository.commit(MAIN, must=False)
    repository.commit(FEATURE)
    repository.delete(OLD)
    repository.force(MAIN)


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
        repository.commit(TAG)
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
        found = sentry.deliveries()
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
            repository.commit(TAG)
        wait_failing(sentry, [each.name for each in repositories.values()])
        wait_polled(sentry)

        for server in servers.values():
            server.fault = None
        wait_arrived(truths, [receiver])
        wait_polled(sentry)  # what is invented would be so now
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
        found = sentry.repositories()
        failing = {each["name"] for each in found if each["state"] == "failing" and each["error"]}
        return wanted <= failing

    eventually(look, deadline_s=30, what=f"{sorted(wanted)} are failing")


@pytest.mark.parametrize("fault", FORGE_FAULTS)
def test_a_git_servers_fault_loses_and_invents_nothing(
    fault: str, after_git_faults: Mapping[str, Verdict]
) -> None:
    assert after_git_faults[fault].complaints == []


@dataclass(frozen=True, slots=True)
class HostedRepository:
    """A repository that a GitHub serves by its API and by git, each of which may have a fault."""

    api: Forge
    repository: PushedRepository
    api_fault: str
    is_git_well: bool

    def commit_faults(self) -> None:
        """Misbehave."""
        if self.api_fault == NO_BRANCHES:
            self.api.says = (200, [("Content-Type", "application/json")], b"[]")
        else:
            self.api.fault = self.api_fault
        if not self.is_git_well:
            self.repository.server.fault = GIT_FAULT_BESIDE

    def lift_faults(self) -> None:
        """Behave."""
        self.api.fault = self.api.says = self.repository.server.fault = None


def hosted(
    stack: ExitStack, folder: Path, api_fault: str, *, is_git_well: bool
) -> HostedRepository:
    """Put a repository with more branches than fit one page on a GitHub of its own."""
    name = f"acme/{named(api_fault)}-{'well' if is_git_well else 'unwell'}"
    api = stack.enter_context(Forge("github", token=TOKEN))
    server = stack.enter_context(GitServer(a_folder(folder, name.replace("/", "-"))))
    repository = PushedRepository(server, name, branches=MORE_THAN_A_PAGE)
    api.repositories[name] = repository.git
    return HostedRepository(api, repository, api_fault, is_git_well)


@pytest.fixture(scope="module")
def after_api_faults(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[tuple[str, bool], Verdict]]:
    """What had arrived in the end, by the fault of the API and whether git was well meanwhile."""
    folder = tmp_path_factory.mktemp("api-faults")
    with ExitStack() as stack:
        cases = {
            (fault, is_well): hosted(stack, folder, fault, is_git_well=is_well)
            for fault in API_FAULTS
            for is_well in (True, False)
        }
        repositories = [case.repository for case in cases.values()]
        truths = [repository.truth for repository in repositories]
        receiver = stack.enter_context(RecordingReceiver(SECRET))
        forges = {
            named(case.repository.name.replace("/", "-")): {
                "kind": "github",
                "url": case.repository.server.address,
                "api_url": case.api.address,
                "token": TOKEN,
            }
            for case in cases.values()
        }
        file = write_configuration(
            folder,
            database="sqlite:///hosted.db",
            repositories=entries(repositories),
            receivers={"ci": receiver.url},
            forges=forges,
            defaults={"branches": ["*"]},  # with tags, git would be asked first
        )
        sentry = stack.enter_context(RunningSentry("run", "-c", str(file), folder=folder))
        wait_watched(sentry.wait_ready(), [repository.name for repository in repositories])
        for repository in repositories:
            repository.commit(OLD)
        wait_arrived(truths, [receiver])
        asked_by_git = [repository.server.requests.total() for repository in repositories]

        for case in cases.values():
            case.commit_faults()
        for repository in repositories:
            push_during_a_fault(repository)
        wait_failing(sentry, [c.repository.name for c in cases.values() if not c.is_git_well])
        wait_arrived([c.repository.truth for c in cases.values() if c.is_git_well], [receiver])
        wait_polled(sentry)

        for case in cases.values():
            case.lift_faults()
        wait_arrived(truths, [receiver])
        wait_polled(sentry)
        assert asked_by_git == [0] * len(cases), "all was read from the API while it was well"
        yield {
            key: judge([case.repository.truth], records_of(receiver, case.repository))
            for key, case in cases.items()
        }


@pytest.mark.parametrize("is_git_well", [True, False], ids=["git well", "git failing"])
@pytest.mark.parametrize("fault", API_FAULTS)
def test_an_apis_fault_loses_and_invents_nothing_whether_or_not_git_answers(
    fault: str, is_git_well: bool, after_api_faults: Mapping[tuple[str, bool], Verdict]
) -> None:
    assert after_api_faults[fault, is_git_well].complaints == []
