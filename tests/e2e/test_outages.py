"""What fails beside the walk: the database for a while, a neighbour that hangs, the end itself."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.engine import URL

from tests.e2e.scene import (
    SECRET,
    PushedRepository,
    entries,
    wait_arrived,
    wait_polled,
    wait_watched,
    write_configuration,
)
from tests.fakes.git_server import GitServer
from tests.fakes.process import RunningSentry, eventually
from tests.fakes.receiver import Record, RecordingReceiver

pytestmark = pytest.mark.slow

# An answer that a person waits for without wondering; a probe of Kubernetes gives up after 1 s.
PROMPT_S = 1.0
INTERVAL_S = 0.5
BUSY_S = 3.0
# Longer than the lease can be kept without the database, so that all work has to be let go.
OUTAGE_S = 6.0


@contextmanager
def sqlite_locked(url: URL) -> Iterator[None]:
    """Hold the one lock that every writer of a SQLite database needs."""
    other = sqlite3.connect(url.database or "", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


@contextmanager
def postgresql_refusing(url: URL) -> Iterator[None]:
    """Let PostgreSQL end every connection to the database, and allow no other."""
    engine = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS false"))
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
            {"name": url.database},
        )
        yield
        connection.execute(text(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS true"))
    engine.dispose()


@contextmanager
def mariadb_hanging(url: URL) -> Iterator[None]:
    """Lock MariaDB's tables, so that whoever asks for them waits and waits."""
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execute(text("LOCK TABLES leases WRITE, refs WRITE, events WRITE"))
        yield
        connection.execute(text("UNLOCK TABLES"))
    engine.dispose()


OUTAGES = {
    "sqlite": sqlite_locked,
    "postgresql": postgresql_refusing,
    "mysql": mariadb_hanging,
}


def test_a_database_that_fails_for_a_while_loses_and_doubles_nothing(
    database_url: str, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    url = make_url(database_url)
    (tmp_path / "git").mkdir()
    with GitServer(tmp_path / "git") as server, RecordingReceiver(SECRET) as receiver:
        repositories = [PushedRepository(server, f"outage-{number}") for number in range(3)]
        truths = [repository.truth for repository in repositories]
        file = write_configuration(
            tmp_path,
            database=database_url,
            repositories=entries(repositories),
            receivers={"ci": receiver.url},
        )
        with RunningSentry("run", "-c", str(file), folder=tmp_path) as sentry:
            wait_watched(sentry.wait_ready(), [each.name for each in repositories])
            for repository in repositories:
                repository.commit()  # perhaps found, perhaps on its way when the outage begins
            with OUTAGES[url.get_backend_name()](url):
                for repository in repositories:
                    repository.commit("refs/heads/found-during-the-outage")
                time.sleep(OUTAGE_S)
                for repository in repositories:
                    repository.commit("refs/heads/pushed-at-its-end")
            ended_at = time.monotonic()
            verdict = wait_arrived(truths, [receiver])
            took_s = time.monotonic() - ended_at
            wait_polled(sentry)
            later = wait_arrived(truths, [receiver])

    tell(f"outage of {url.get_backend_name()}: all arrived {took_s:.1f} s after its end")
    assert verdict.complaints == later.complaints == []


def test_who_hangs_delays_nobody_else(tmp_path: Path, tell: Callable[[str], None]) -> None:
    with ExitStack() as stack:
        servers = {}
        for name in ("well", "hanging"):
            (tmp_path / name).mkdir()
            servers[name] = stack.enter_context(GitServer(tmp_path / name))
        well = [PushedRepository(servers["well"], f"well-{n}") for n in range(4)]
        hanging = [PushedRepository(servers["hanging"], f"hanging-{n}") for n in range(4)]
        receiver = stack.enter_context(RecordingReceiver(SECRET))
        hanging_receiver = stack.enter_context(RecordingReceiver(SECRET))
        file = write_configuration(
            tmp_path,
            database="sqlite:///hanging.db",
            repositories=entries([*well, *hanging]),
            receivers={"well": receiver.url, "hanging": hanging_receiver.url},
            interval=f"{INTERVAL_S * 1000:g}ms",
        )
        sentry = stack.enter_context(RunningSentry("run", "-c", str(file), folder=tmp_path))
        wait_watched(sentry.wait_ready(), [each.name for each in (*well, *hanging)])
        servers["hanging"].fault = "hang"
        hanging_receiver.answer = "hang"
        for _ in range(5):
            for repository in well:
                repository.commit()
            verdict = wait_arrived([each.truth for each in well], [receiver])
        asked_at = time.monotonic()
        statuses = [sentry.find(path) for path in ("/health", "/health/live", "/", "/events")]
        answered_s = time.monotonic() - asked_at

    worst_s = max(verdict.lags_s)
    tell(f"half of all hanging: worst lag of the others {worst_s:.2f} s, pages {answered_s:.2f} s")
    assert verdict.complaints == []
    assert worst_s <= INTERVAL_S + 1 + BUSY_S
    assert statuses == [200, 200, 200, 200]
    assert answered_s <= PROMPT_S + BUSY_S


def test_stopping_politely_finishes_what_is_being_sent(tmp_path: Path) -> None:
    (tmp_path / "git").mkdir()
    is_asked, may_answer = threading.Event(), threading.Event()

    def answer(record: Record) -> int:
        is_asked.set()
        may_answer.wait(20)
        return 202

    with (
        GitServer(tmp_path / "git") as server,
        RecordingReceiver(SECRET, answer=answer) as receiver,
    ):
        repository = PushedRepository(server, "stopping")
        file = write_configuration(
            tmp_path,
            database="sqlite:///stopping.db",
            repositories=entries([repository]),
            receivers={"ci": receiver.url},
            receiver_timeout="20s",
        )
        with RunningSentry("run", "-c", str(file), folder=tmp_path) as sentry:
            wait_watched(sentry.wait_ready(), [repository.name])
            repository.commit()
            eventually(is_asked.is_set, deadline_s=10, what="the delivery is under way")
            stopping = threading.Thread(target=sentry.stop)
            stopping.start()
            eventually(
                lambda: sentry.find("/health/ready") != 200, deadline_s=10, what="it is stopping"
            )
            may_answer.set()
            stopping.join()

            sentry.start().wait_ready()
            wait_watched(sentry, [repository.name])
            wait_polled(sentry)
            [event] = sentry.events()
            records = receiver.records

    assert len(records) == 1
    assert event["state"] == "delivered"
