"""The parts together, in this process: from a push to a receiver that took it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from app.domain.errors import Conflict, InputInvalid, NotFound
from app.domain.health import Status
from app.runtime import Runtime
from app.services.periodic import Periodic
from app.services.scheduler import Scheduler
from app.settings import from_mapping
from tests.fakes.git_repository import GitRepository
from tests.fakes.receiver import RecordingReceiver
from tests.fakes.waiting import wait_until

NAME = "acme/website"
KEY = "correct-horse-battery"


@contextmanager
def running(
    tmp_path: Path,
    repository: GitRepository,
    receiver: RecordingReceiver,
    *,
    interval: str = "10m",  # so that only a wake polls again
    enabled: bool = True,
    confirm: str | None = None,
) -> Iterator[Runtime]:
    runtime = Runtime(
        from_mapping(
            {
                "storage": {"url": f"sqlite:///{(tmp_path / 'r.db').as_posix()}"},
                "polling": {"interval": interval},
                "receivers": {"ci": {"url": receiver.url, "confirm": confirm, "secret": KEY}},
                "repositories": [{"url": str(repository.path), "name": NAME, "enabled": enabled}],
            },
            {},
        )
    )
    try:
        runtime.start()
        wait_until(lambda: runtime.status.repository(NAME).state != "new")
        yield runtime
    finally:
        runtime.stop()


def state_of_receiver(runtime: Runtime) -> str:
    """Return the receiver's state at this moment, which pages may show two seconds later."""
    runtime.status.look_anew()
    return runtime.status.receiver("ci").state


@pytest.fixture
def receiver() -> Iterator[RecordingReceiver]:
    with RecordingReceiver() as receiver:
        yield receiver


def test_a_push_is_found_when_it_is_asked_for_and_delivered(
    tmp_path: Path, repository: GitRepository, receiver: RecordingReceiver
) -> None:
    with running(tmp_path, repository, receiver) as runtime:
        repository.commit("main")
        outcome = runtime.poll_and_wait(NAME, 5)
        receiver.wait_for(1, deadline_s=5)
        wait_until(lambda: runtime.status.events(limit=1).items[0].state == "delivered")

    assert outcome is not None
    assert (outcome.outcome, outcome.reason, outcome.changes) == ("changed", "wake", 1)


def test_what_was_taken_and_never_confirmed_is_said_to_be_so(
    tmp_path: Path,
    repository: GitRepository,
    receiver: RecordingReceiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("app.runtime.CONFIRMATIONS_S", 0.05)
    monkeypatch.setattr("app.runtime.CONFIRMED_WITHIN", timedelta(seconds=0.5))

    with running(tmp_path, repository, receiver, confirm="tekton") as runtime:
        repository.commit("main")
        runtime.wake(NAME)
        (record,) = receiver.wait_for(1, deadline_s=5)
        delivery = record.delivery or ""

        def confirmation() -> str | None:
            return runtime.status.delivery(delivery).delivery.confirmation

        wait_until(lambda: confirmation() is not None)
        wait_until(lambda: confirmation() == "unconfirmed")

    told = [record for record in caplog.records if "no run was confirmed" in record.message]
    assert [(vars(one)["receiver"], vars(one)["delivery"]) for one in told] == [("ci", delivery)]


def test_a_paused_repository_is_not_polled_until_it_is_resumed(
    tmp_path: Path, repository: GitRepository, receiver: RecordingReceiver
) -> None:
    with running(tmp_path, repository, receiver) as runtime:
        runtime.pause_repository(NAME)
        runtime.pause_repository(NAME)
        with pytest.raises(Conflict, match="paused"):
            runtime.wake(NAME)
        paused = runtime.status.repository(NAME).state
        repository.commit("main")
        runtime.resume_repository(NAME)
        runtime.resume_repository(NAME)
        receiver.wait_for(1, deadline_s=5)

    assert paused == "paused"


def test_to_resume_a_repository_that_the_file_disables_polls_nothing(
    tmp_path: Path,
    repository: GitRepository,
    receiver: RecordingReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with running(tmp_path, repository, receiver) as runtime:
        runtime.pause_repository(NAME)
    seated: list[int] = []
    monkeypatch.setattr(Scheduler, "add", lambda _, number, **__: seated.append(number))

    with running(tmp_path, repository, receiver, enabled=False) as runtime:
        runtime.resume_repository(NAME)

    assert seated == []


def test_a_restart_polls_what_was_paused_no_more_than_before(
    tmp_path: Path, repository: GitRepository, receiver: RecordingReceiver
) -> None:
    with running(tmp_path, repository, receiver) as runtime:
        runtime.pause_repository(NAME)

    with running(tmp_path, repository, receiver) as runtime:
        assert runtime.status.repository(NAME).state == "paused"


def test_what_was_pushed_while_it_was_stopped_is_found_at_the_start(
    tmp_path: Path, repository: GitRepository, receiver: RecordingReceiver
) -> None:
    with running(tmp_path, repository, receiver, interval="200ms"):
        pass
    repository.commit("main")

    with running(tmp_path, repository, receiver, interval="200ms"):
        receiver.wait_for(1, deadline_s=5)


def test_health_tells_each_component_and_the_role(
    tmp_path: Path, repository: GitRepository, receiver: RecordingReceiver
) -> None:
    with running(tmp_path, repository, receiver) as runtime:
        health = runtime.health()

    assert (health.status, health.role) == (Status.OK, "active")
    assert {component.name for component in health.components} >= {
        "database",
        "scheduler",
        "dispatcher",
        "forges",
        "receivers",
        "configuration",
    }


def test_health_is_degraded_while_a_repository_fails_and_says_since_when(
    tmp_path: Path, repository: GitRepository, receiver: RecordingReceiver
) -> None:
    with running(tmp_path, repository, receiver) as runtime:
        repository.path.rename(tmp_path / "elsewhere.git")
        runtime.poll_and_wait(NAME, 5)
        failing = runtime.health()
        (tmp_path / "elsewhere.git").rename(repository.path)
        runtime.poll_and_wait(NAME, 5)
        mended = runtime.health()

    forges = next(one for one in failing.components if one.name == "forges")
    assert (failing.status, forges.status) == (Status.DEGRADED, Status.DEGRADED)
    assert (forges.reason or "").startswith("1 of 1 repository fails: ")
    assert forges.since is not None
    assert mended.status is Status.OK


def test_a_paused_receiver_is_owed_and_sent_everything_in_order_when_it_is_resumed(
    tmp_path: Path, repository: GitRepository, receiver: RecordingReceiver
) -> None:
    with running(tmp_path, repository, receiver) as runtime:
        runtime.pause_receiver("ci")
        pushed = []
        for _ in range(3):
            pushed.append(repository.commit("main"))
            runtime.poll_and_wait(NAME, 5)
        paused = runtime.status.receiver("ci")
        sent_meanwhile = len(receiver.records)
        runtime.resume_receiver("ci")
        records = receiver.wait_for(3, deadline_s=5)

    assert (paused.state, paused.owed, sent_meanwhile) == ("paused", 3, 0)
    assert [one.json["after"] for one in records] == pushed


def test_a_receiver_that_is_gone_is_sent_to_again_once_a_person_resumes_it(
    tmp_path: Path, repository: GitRepository, receiver: RecordingReceiver
) -> None:
    with running(tmp_path, repository, receiver) as runtime:
        receiver.answer = 410
        repository.commit("main")
        runtime.poll_and_wait(NAME, 5)
        wait_until(lambda: state_of_receiver(runtime) == "disabled")
        told = next(one for one in runtime.health().components if one.name == "receivers")
        receiver.answer = 202
        repository.commit("main")
        runtime.poll_and_wait(NAME, 5)
        runtime.resume_receiver("ci")
        receiver.wait_for(2, deadline_s=5)
        wait_until(lambda: state_of_receiver(runtime) == "ok")

    assert told.reason == "1 of 1 receiver is unwell: ci: it answered 410: gone"
    assert [one.status for one in receiver.records] == [410, 202]


def test_only_a_configured_receiver_can_be_paused_or_resumed(
    tmp_path: Path, repository: GitRepository, receiver: RecordingReceiver
) -> None:
    with running(tmp_path, repository, receiver) as runtime:
        for act in (runtime.pause_receiver, runtime.resume_receiver):
            with pytest.raises(NotFound, match="nobody"):
                act("nobody")


def test_a_second_process_stands_by_and_takes_over(
    tmp_path: Path, repository: GitRepository, receiver: RecordingReceiver
) -> None:
    with running(tmp_path, repository, receiver) as first:
        second = Runtime(first.settings)
        second.start()
        standby = (second.ready(), second.health().role)
        with pytest.raises(Conflict, match="standby"):
            second.wake(NAME)
        first.stop()
        wait_until(lambda: second.health().role == "active")
        second.stop()

    assert standby == ((True, "standby"), "standby")


def test_what_is_not_there_cannot_be_asked_for(
    tmp_path: Path, repository: GitRepository, receiver: RecordingReceiver
) -> None:
    with running(tmp_path, repository, receiver) as runtime:
        with pytest.raises(NotFound):
            runtime.wake("acme/unknown")
        with pytest.raises(InputInvalid, match="nobody"):
            runtime.redeliver("unknown", ["nobody"])
        with pytest.raises(NotFound):
            runtime.redeliver("unknown")


def test_work_that_begins_only_in_part_is_ended_and_begun_anew(
    tmp_path: Path,
    repository: GitRepository,
    receiver: RecordingReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starts: list[str] = []
    start = Periodic.start

    def fail_once(chore: Periodic) -> None:
        starts.append("chore")
        if len(starts) == 1:
            raise RuntimeError("can't start new thread")
        start(chore)

    monkeypatch.setattr(Periodic, "start", fail_once)

    with running(tmp_path, repository, receiver) as runtime:
        names = [thread.name for thread in threading.enumerate()]
        role = runtime.health().role

    assert role == "active"
    assert (names.count("dispatcher"), names.count("APScheduler")) == (1, 1)


def test_stopping_is_possible_at_any_time_and_twice(
    tmp_path: Path, repository: GitRepository, receiver: RecordingReceiver
) -> None:
    with running(tmp_path, repository, receiver) as runtime:
        unstarted = Runtime(runtime.settings)
        unstarted.stop()
        runtime.stop()
        runtime.stop()

    assert runtime.ready() == (False, "stopping")
