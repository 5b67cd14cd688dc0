"""Two processes on one database: one works, and when it dies the other does within seconds."""

import contextlib
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from tests.e2e.scene import (
    SECRET,
    PushedRepository,
    entries,
    wait_arrived,
    wait_watched,
    write_configuration,
)
from tests.fakes.git_server import GitServer
from tests.fakes.process import LOOK_AGAIN_S, RunningSentry, eventually
from tests.fakes.receiver import RecordingReceiver

pytestmark = pytest.mark.slow

TAKEOVER_DEADLINE_S = 30.0


class RoleWatch:
    """Asks two processes again and again which of them is active; ``both`` counts «both»."""

    def __init__(self, *sentries: RunningSentry) -> None:
        self.both = 0
        self.looks = 0
        self._sentries = sentries
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="role watch")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(LOOK_AGAIN_S * 5):
            roles = [sentry.role() for sentry in self._sentries]
            self.looks += 1
            self.both += roles.count("active") > 1


def test_the_other_process_takes_over_when_the_active_one_is_killed(
    database_url: str, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    (tmp_path / "git").mkdir()
    with GitServer(tmp_path / "git") as server, RecordingReceiver(SECRET) as receiver:
        repository = PushedRepository(server, "shared")
        file = write_configuration(
            tmp_path,
            database=database_url,
            repositories=entries([repository]),
            receivers={"ci": receiver.url},
        )
        first = RunningSentry("run", "-c", str(file), folder=tmp_path)
        second = RunningSentry("run", "-c", str(file), folder=tmp_path)
        with first, second, RoleWatch(first, second) as watch:
            active, standby = wait_roles(first.wait_ready(), second.wait_ready())
            role_of_the_other = standby.role()
            wait_watched(active, [repository.name])
            wait_watched(standby, [repository.name])
            repository.commit()
            before = wait_arrived([repository.truth], [receiver])

            receiver.answer = "hang"
            repository.commit("refs/heads/under-way")
            receiver.wait_for(2)
            killed_at = time.monotonic()
            active.kill()
            receiver.answer = 202
            repository.commit("refs/heads/pushed-while-nobody-looked")
            eventually(
                lambda: standby.role() == "active",
                deadline_s=TAKEOVER_DEADLINE_S,
                what="the other takes over",
            )
            took_s = time.monotonic() - killed_at
            after = wait_arrived([repository.truth], [receiver])

            active.start().wait_ready()
            role_of_the_returned = active.role()
            repository.commit()
            last = wait_arrived([repository.truth], [receiver])

    tell(f"takeover on {database_url.partition(':')[0]}: after {took_s:.1f} s")
    assert role_of_the_other == "standby"
    assert before.complaints == after.complaints == last.complaints == []
    assert role_of_the_returned == "standby"
    assert watch.looks > 0
    assert watch.both == 0


def wait_roles(one: RunningSentry, other: RunningSentry) -> tuple[RunningSentry, RunningSentry]:
    """Wait until one of two processes is active, and return it and then the other."""
    pairs = ((one, other), (other, one))
    return eventually(
        lambda: next((pair for pair in pairs if pair[0].role() == "active"), None),
        deadline_s=TAKEOVER_DEADLINE_S,
        what="one of two processes is active",
    )


def test_a_process_that_stops_politely_hands_over_at_once(
    database_url: str, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    file = write_configuration(
        tmp_path, database=database_url, repositories=[], receivers={"ci": "http://127.0.0.1:9/"}
    )
    with RunningSentry("run", "-c", str(file), folder=tmp_path) as first:
        eventually(lambda: first.role() == "active", deadline_s=30, what="the first is active")
        with RunningSentry("run", "-c", str(file), folder=tmp_path) as second:
            second.wait_ready()

            code = first.stop()
            stopped_at = time.monotonic()
            eventually(
                lambda: second.role() == "active",
                deadline_s=TAKEOVER_DEADLINE_S,
                what="the other takes over",
            )
            took_s = time.monotonic() - stopped_at

    tell(f"hand-over on {database_url.partition(':')[0]}: after {took_s:.1f} s")
    assert code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be stopped and continued")
def test_a_stalled_process_that_wakes_up_leaves_the_work_to_the_other(tmp_path: Path) -> None:
    (tmp_path / "git").mkdir()
    database = tmp_path / "stalled.db"
    with GitServer(tmp_path / "git") as server, RecordingReceiver(SECRET) as receiver:
        repository = PushedRepository(server, "stalled")
        file = write_configuration(
            tmp_path,
            database=f"sqlite:///{database.as_posix()}",
            repositories=entries([repository]),
            receivers={"ci": receiver.url},
        )
        first = RunningSentry("run", "-c", str(file), folder=tmp_path)
        second = RunningSentry("run", "-c", str(file), folder=tmp_path)
        with first, second:
            active, standby = wait_roles(first.wait_ready(), second.wait_ready())
            wait_watched(active, [repository.name])
            stall(active, database)
            repository.commit()
            during = wait_arrived([repository.truth], [receiver])

            os.kill(active.pid, signal.SIGCONT)
            for _ in range(5):  # whoever still believed in its lease would find these first
                repository.commit()
                after = wait_arrived([repository.truth], [receiver])
            eventually(lambda: active.role() == "standby", deadline_s=20, what="it knows its place")
            role_of_the_other = standby.role()

    assert during.complaints == after.complaints == []
    assert role_of_the_other == "active"


def stall(sentry: RunningSentry, database: Path) -> None:
    """Stop a process in its tracks, at a moment when it does not hold SQLite's one lock."""

    def look() -> bool:
        os.kill(sentry.pid, signal.SIGSTOP)
        with contextlib.closing(sqlite3.connect(database, timeout=0.5)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                os.kill(sentry.pid, signal.SIGCONT)
                return False
            other.rollback()
        return True

    eventually(look, deadline_s=20, what="it is stopped without the lock")
