"""Every repository gets its turn, never two at once, and a job sets its own successor."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from app.services.scheduler import Call, NextCall, Scheduler, _DueTrigger
from tests.fakes.waiting import wait_until

LONG = timedelta(hours=1)
SHORT = timedelta(milliseconds=20)


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - APScheduler reads the real clock


def after(wait: timedelta) -> NextCall:
    return NextCall(now() + wait, wait)


@contextmanager
def running(
    poll: Callable[[int, Call], NextCall], *, workers: int = 4, repositories: int = 1
) -> Iterator[Scheduler]:
    scheduler = Scheduler(poll=poll, workers=workers, now=now)
    for number in range(1, repositories + 1):
        scheduler.add(number, due_at=now(), wait=LONG, reason="start")
    scheduler.start()
    try:
        yield scheduler
    finally:
        assert scheduler.stop(5)


def test_each_repository_is_polled_at_its_time() -> None:
    seen: list[int] = []

    def poll(repository_id: int, call: Call) -> NextCall:
        seen.append(repository_id)
        return after(LONG)

    with running(poll, repositories=50):
        wait_until(lambda: len(seen) == 50)

    assert sorted(seen) == list(range(1, 51))


def test_a_poll_decides_when_its_successor_comes_and_why() -> None:
    reasons: list[str] = []

    def poll(repository_id: int, call: Call) -> NextCall:
        reasons.append(call.reason)
        return NextCall(now() + SHORT, SHORT, "retry") if len(reasons) < 3 else after(LONG)

    with running(poll):
        wait_until(lambda: len(reasons) == 3)

    assert reasons == ["start", "retry", "retry"]


def test_a_short_wait_goes_on_without_being_moved_each_time() -> None:
    count = threading.Semaphore(0)

    def poll(repository_id: int, call: Call) -> NextCall:
        count.release()
        return after(SHORT)

    with running(poll):
        assert all(count.acquire(timeout=5) for _ in range(10))


def test_a_wake_brings_the_next_poll_forward() -> None:
    reasons: list[str] = []

    def poll(repository_id: int, call: Call) -> NextCall:
        reasons.append(call.reason)
        return after(LONG)

    with running(poll) as scheduler:
        wait_until(lambda: len(reasons) == 1)
        scheduler.wake(1)
        wait_until(lambda: len(reasons) == 2)

    assert reasons == ["start", "wake"]


def test_a_wake_during_a_poll_adds_another_and_never_two_at_once() -> None:
    begun, release = threading.Semaphore(0), threading.Semaphore(0)
    at_once: list[int] = []
    busy = threading.Lock()

    def poll(repository_id: int, call: Call) -> NextCall:
        at_once.append(1 if busy.acquire(blocking=False) else 2)
        begun.release()
        release.acquire(timeout=5)
        busy.release()
        return after(LONG)

    with running(poll) as scheduler:
        assert begun.acquire(timeout=5)
        scheduler.wake(1)
        release.release()
        assert begun.acquire(timeout=5)
        release.release()

    assert at_once == [1, 1]


def test_a_poll_that_takes_longer_than_its_interval_is_not_started_twice() -> None:
    begun, release = threading.Semaphore(0), threading.Event()

    def poll(repository_id: int, call: Call) -> NextCall:
        begun.release()
        release.wait(5)
        return after(SHORT)

    scheduler = Scheduler(poll=poll, workers=4, now=now)
    scheduler.add(1, due_at=now(), wait=SHORT, reason="start")
    scheduler.start()

    assert begun.acquire(timeout=5)
    assert not begun.acquire(timeout=0.2)
    release.set()
    assert begun.acquire(timeout=5)
    assert scheduler.stop(5)


def test_a_poll_that_breaks_is_polled_again() -> None:
    calls: list[int] = []

    def poll(repository_id: int, call: Call) -> NextCall:
        calls.append(repository_id)
        if len(calls) == 1:
            raise RuntimeError("a defect")
        return after(LONG)

    scheduler = Scheduler(poll=poll, workers=1, now=now)
    scheduler.add(1, due_at=now(), wait=SHORT, reason="start")
    scheduler.start()

    wait_until(lambda: len(calls) == 2)
    assert scheduler.stop(5)


def test_few_threads_serve_many_repositories() -> None:
    names: set[str] = set()
    done: list[int] = []

    def poll(repository_id: int, call: Call) -> NextCall:
        names.add(threading.current_thread().name)
        done.append(repository_id)
        return after(LONG)

    with running(poll, workers=2, repositories=30):
        wait_until(lambda: len(done) == 30)

    assert len(names) <= 2


def test_stopping_waits_for_what_is_under_way_and_begins_nothing_more() -> None:
    begun, release = threading.Event(), threading.Event()
    ended: list[int] = []

    def poll(repository_id: int, call: Call) -> NextCall:
        begun.set()
        release.wait(5)
        ended.append(repository_id)
        return after(SHORT)

    scheduler = Scheduler(poll=poll, workers=1, now=now)
    for number in (1, 2, 3):
        scheduler.add(number, due_at=now(), wait=LONG, reason="start")
    scheduler.start()
    assert begun.wait(5)
    assert not scheduler.stop(0.05)

    release.set()

    assert scheduler.stop(5)
    assert len(ended) == 1


def test_a_removed_repository_is_polled_no_more() -> None:
    calls: list[int] = []

    def poll(repository_id: int, call: Call) -> NextCall:
        calls.append(repository_id)
        return after(LONG)

    with running(poll) as scheduler:
        wait_until(lambda: calls == [1])
        scheduler.remove(1)
        scheduler.wake(1)
        scheduler.add(2, due_at=now(), wait=LONG, reason="start")
        wait_until(lambda: 2 in calls)

    assert calls == [1, 2]


def test_a_repository_seated_again_during_its_poll_is_not_polled_twice_at_once() -> None:
    begun, release = threading.Semaphore(0), threading.Semaphore(0)
    at_once: list[int] = []
    reasons: list[str] = []
    busy = threading.Lock()

    def poll(repository_id: int, call: Call) -> NextCall:
        at_once.append(1 if busy.acquire(blocking=False) else 2)
        reasons.append(call.reason)
        begun.release()
        release.acquire(timeout=5)
        busy.release()
        return after(LONG)

    with running(poll) as scheduler:
        assert begun.acquire(timeout=5)
        scheduler.remove(1)
        for _ in range(2):
            scheduler.add(1, due_at=now(), wait=LONG, reason="resume")
        assert not begun.acquire(timeout=0.1)
        release.release()
        assert begun.acquire(timeout=5)
        release.release()

    assert at_once == [1, 1]
    assert reasons == ["start", "resume"]


def test_a_clock_that_was_set_back_leaves_no_repository_waiting() -> None:
    calls: list[int] = []

    def poll(repository_id: int, call: Call) -> NextCall:
        calls.append(repository_id)
        if len(calls) <= 3:
            return NextCall(now() + LONG, SHORT)  # as planned by a clock an hour ahead
        return after(LONG)

    with running(poll, repositories=3) as scheduler:

        def have_all_come_again() -> bool:
            scheduler.mind_the_clock()
            return len(calls) == 6

        wait_until(have_all_come_again)

    assert sorted(calls) == [1, 1, 2, 2, 3, 3]


def test_a_poll_that_ended_before_its_successor_was_planned_is_minded_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []
    plan = _DueTrigger.get_next_fire_time

    def plan_when_the_poll_is_over(
        trigger: _DueTrigger, previous: datetime | None, at: datetime
    ) -> datetime:
        wait_until(lambda: not trigger._seat.is_taken)  # noqa: SLF001 - the poll has ended
        return plan(trigger, previous, at)

    def poll(repository_id: int, call: Call) -> NextCall:
        calls.append(repository_id)
        return NextCall(now() + 2 * LONG, SHORT) if len(calls) == 1 else after(LONG)

    monkeypatch.setattr(_DueTrigger, "get_next_fire_time", plan_when_the_poll_is_over)
    with running(poll) as scheduler:

        def has_come_again() -> bool:
            scheduler.mind_the_clock()
            return len(calls) == 2

        wait_until(has_come_again)


def test_a_wake_as_a_poll_ends_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons: list[str] = []
    moves: list[str] = []
    is_running = threading.Event()
    move = BackgroundScheduler.modify_job

    def wake_before_the_move(apscheduler: BackgroundScheduler, job_id: str, **to: datetime) -> None:
        if not moves:
            moves.append(job_id)
            scheduler.wake(1)
        move(apscheduler, job_id, **to)

    def poll(repository_id: int, call: Call) -> NextCall:
        is_running.wait(5)
        reasons.append(call.reason)
        return NextCall(now() + 2 * LONG, LONG)

    monkeypatch.setattr(BackgroundScheduler, "modify_job", wake_before_the_move)
    with running(poll) as scheduler:
        is_running.set()
        wait_until(lambda: len(reasons) == 2)

    assert reasons == ["start", "wake"]


def test_a_plan_within_its_wait_is_left_alone() -> None:
    calls: list[int] = []

    def poll(repository_id: int, call: Call) -> NextCall:
        calls.append(repository_id)
        return after(LONG)

    with running(poll) as scheduler:
        wait_until(lambda: calls == [1])
        scheduler.mind_the_clock()
        scheduler.add(2, due_at=now(), wait=LONG, reason="start")
        wait_until(lambda: 2 in calls)

    assert calls == [1, 2]


def test_a_poll_can_be_brought_forward_and_never_put_off() -> None:
    calls: list[tuple[int, str]] = []

    def poll(repository_id: int, call: Call) -> NextCall:
        calls.append((repository_id, call.reason))
        return after(LONG)

    with running(poll, repositories=2) as scheduler:
        wait_until(lambda: len(calls) == 2)
        wait_until(lambda: scheduler.bring(1, now() + SHORT))
        is_put_off = scheduler.bring(2, now() + 2 * LONG)
        is_seated = scheduler.bring(3, now())
        wait_until(lambda: len(calls) == 3)

    assert (is_put_off, is_seated) == (False, False)
    assert calls[2] == (1, "schedule")


def test_a_scheduler_that_was_stopped_does_not_start_again() -> None:
    with running(lambda repository_id, call: after(LONG)) as scheduler:
        scheduler.start()

    scheduler.start()

    assert not scheduler.is_alive


def test_a_wait_beyond_the_calendar_stops_nothing() -> None:
    calls: list[int] = []

    def poll(repository_id: int, call: Call) -> NextCall:
        calls.append(repository_id)
        return NextCall(datetime.max.replace(tzinfo=UTC), timedelta.max)

    with running(poll) as scheduler:
        for turn in range(1, 4):
            wait_until(lambda turn=turn: len(calls) == turn)  # type: ignore[misc] # its own turn
            scheduler.wake(1)
        wait_until(lambda: len(calls) == 4)

        assert scheduler.is_alive


def test_a_scheduler_whose_thread_died_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(lambda repository_id, call: after(LONG)) as scheduler:
        assert scheduler.is_alive

    monkeypatch.setattr(BackgroundScheduler, "_main_loop", lambda _: None)
    with running(lambda repository_id, call: after(LONG)) as scheduler:
        wait_until(lambda: not scheduler.is_alive)


def test_a_system_without_another_thread_costs_no_repository_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []
    made: list[str] = []
    start = threading.Thread.start

    def start_few(thread: threading.Thread) -> None:
        if thread.name.startswith("poll-"):
            made.append(thread.name)
            if 1 < len(made) < 6:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_few)

    def poll(repository_id: int, call: Call) -> NextCall:
        calls.append(repository_id)
        return after(LONG)

    with running(poll, workers=4, repositories=20):
        wait_until(lambda: len(calls) == 20)

    assert sorted(calls) == list(range(1, 21))
