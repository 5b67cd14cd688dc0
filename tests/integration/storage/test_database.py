"""One writer commits for all, and nobody's mistake harms another."""

import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, insert, select, text, update

from app.domain.errors import (
    ConfigurationInvalid,
    Conflict,
    StorageOutdated,
    StorageUnavailable,
)
from app.storage.database import Database
from app.storage.tables import receivers
from tests.integration.storage.scene import NOON, at_once

WAIT_S = 30


def add(name: str) -> Callable[[Connection], str]:
    """Return work that writes a row and then returns its name."""

    def work(connection: Connection) -> str:
        connection.execute(insert(receivers).values(name=name))
        return name

    return work


def add_badly(name: str) -> Callable[[Connection], str]:
    """Return work that writes a row and then stumbles."""

    def work(connection: Connection) -> str:
        add(name)(connection)
        raise LookupError(name)

    return work


def lock(connection: Connection, name: str) -> None:
    connection.execute(update(receivers).where(receivers.c.name == name).values(paused_at=NOON))


def names(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.scalars(select(receivers.c.name).order_by(receivers.c.name)))


@contextmanager
def busy(database: Database) -> Iterator[None]:
    """Keep the writer at work, so that what is handed in meanwhile is one group."""
    is_writing, may_end = threading.Event(), threading.Event()

    def work(_: Connection) -> None:
        is_writing.set()
        may_end.wait(WAIT_S)

    first = database.write_soon(work)
    assert is_writing.wait(WAIT_S)
    try:
        yield
    finally:
        may_end.set()
        first.result(WAIT_S)


@contextmanager
def at_commit(listener: Callable[[Connection], None]) -> Iterator[None]:
    """Call the listener at every commit, just before it."""
    event.listen(Engine, "commit", listener)
    try:
        yield
    finally:
        event.remove(Engine, "commit", listener)


def test_what_was_written_is_read(database: Database) -> None:
    returned = database.write(add("ci"))

    assert returned == "ci"
    assert names(database) == ["ci"]


def test_many_callers_at_once_all_get_their_own_answer(database: Database) -> None:
    wanted = [f"receiver-{n:03d}" for n in range(64)]

    outcomes = at_once([lambda name=name: database.write(add(name)) for name in wanted])  # type: ignore[misc] # mypy infers no lambda with a default

    assert outcomes == wanted
    assert names(database) == wanted


def test_those_who_wait_together_share_one_commit(database: Database) -> None:
    commits: list[Connection] = []

    def count(connection: Connection) -> None:
        commits.append(connection)

    with at_commit(count):
        with busy(database):
            waiting = [database.write_soon(add(f"receiver-{n}")) for n in range(5)]
        returned = [future.result(WAIT_S) for future in waiting]

    assert returned == [f"receiver-{n}" for n in range(5)]
    assert len(commits) == 2  # the one that kept the writer busy, and the group


def test_a_caller_that_stumbles_undoes_only_its_own_work(database: Database) -> None:
    with busy(database):
        good = database.write_soon(add("good"))
        bad = database.write_soon(add_badly("bad"))
        late = database.write_soon(add("late"))

    with pytest.raises(LookupError, match="bad"):
        bad.result(WAIT_S)
    assert (good.result(WAIT_S), late.result(WAIT_S)) == ("good", "late")
    assert names(database) == ["good", "late"]


def test_a_caller_whose_statement_is_refused_undoes_only_its_own_work(database: Database) -> None:
    database.write(add("ci"))

    with busy(database):
        good = database.write_soon(add("good"))
        again = database.write_soon(add("ci"))
        late = database.write_soon(add("late"))

    with pytest.raises(Conflict):
        again.result(WAIT_S)
    assert (good.result(WAIT_S), late.result(WAIT_S)) == ("good", "late")
    assert names(database) == ["ci", "good", "late"]


def test_a_commit_that_fails_fails_all_and_writes_nothing(database: Database) -> None:
    commits = iter(["the one that kept the writer busy"])

    def refuse(_: Connection) -> None:
        if next(commits, None) is None:
            raise OSError("no space left on device")

    with at_commit(refuse):
        with busy(database):
            waiting = [database.write_soon(add(f"receiver-{n}")) for n in range(3)]
        errors = [future.exception(WAIT_S) for future in waiting]

    assert [type(error) for error in errors] == [StorageUnavailable] * 3
    assert len({id(error) for error in errors}) == 3  # raised in three threads
    assert names(database) == []
    assert database.write(add("after")) == "after"


def test_nobody_hears_of_success_before_the_commit(database: Database) -> None:
    was_done: list[bool] = []

    def look(_: Connection) -> None:
        was_done.append(waiting.done())

    with at_commit(look):
        with busy(database):
            waiting = database.write_soon(add("ci"))
        waiting.result(WAIT_S)

    assert was_done == [False, False]  # the one that kept the writer busy, and its own


def test_a_connection_that_breaks_fails_its_group_and_the_next_one_works(
    database: Database,
) -> None:
    if database.dialect == "sqlite":
        pytest.skip("a file has no connection to lose")
    own_number, end = {
        "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend(:number)"),
        "mysql": ("SELECT CONNECTION_ID()", "KILL :number"),
    }[database.dialect]

    def cut(connection: Connection) -> None:
        number = connection.scalar(text(own_number))
        with database.alone() as other:
            other.execute(text(end), {"number": number})
        add("lost")(connection)

    with busy(database):
        waiting = [database.write_soon(work) for work in (add("before"), cut, add("after"))]
    errors = [future.exception(WAIT_S) for future in waiting]

    assert [type(error) for error in errors] == [StorageUnavailable] * 3
    assert database.write(add("next")) == "next"
    assert names(database) == ["next"]


def test_who_waited_too_long_is_told_and_its_work_is_never_done(database: Database) -> None:
    with busy(database), pytest.raises(StorageUnavailable, match="nothing was written"):
        database.write(add("late"), timeout_s=0.05)

    database.write(add("after"))
    assert names(database) == ["after"]


def test_work_that_writes_within_work_is_refused_instead_of_waiting_for_itself(
    database: Database,
) -> None:
    with pytest.raises(RuntimeError, match="cannot wait"):
        database.write(lambda _: database.write(add("inner")))


def test_a_reader_cannot_write(database: Database) -> None:
    with (
        pytest.raises(StorageUnavailable, match=r"(?i)read.?only"),
        database.read() as connection,
    ):
        add("ci")(connection)

    assert names(database) == []


def test_a_reader_sees_nothing_that_is_not_committed(database: Database) -> None:
    seen: list[list[str]] = []

    def work(connection: Connection) -> None:
        add("ci")(connection)
        seen.append(names(database))

    database.write(work)

    assert seen == [[]]


def test_closing_finishes_what_was_handed_in(database: Database) -> None:
    with busy(database):
        waiting = [database.write_soon(add(f"receiver-{n}")) for n in range(3)]
        closing = threading.Thread(target=database.close)
        closing.start()
    closing.join(WAIT_S)

    assert [future.result(WAIT_S) for future in waiting] == [f"receiver-{n}" for n in range(3)]
    with pytest.raises(StorageUnavailable, match="closed"):
        database.write(add("late"))


def test_a_missing_table_is_an_outdated_database(empty_url: str) -> None:
    database = Database(empty_url, now=lambda: NOON)

    with pytest.raises(StorageOutdated):
        names(database)
    with pytest.raises(StorageOutdated):
        database.write(add("ci"))
    database.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://bob:s3cret@127.0.0.1:9/reposentry",
        "mysql+pymysql://bob:s3cret@127.0.0.1:9/reposentry",
    ],
)
def test_a_server_that_is_not_there_is_told_without_the_password(url: str) -> None:
    database = Database(url, now=lambda: NOON)

    with pytest.raises(StorageUnavailable) as reading, database.read():
        pass
    with pytest.raises(StorageUnavailable) as writing:
        database.write(add("ci"))
    database.close()

    assert "s3cret" not in f"{reading.value} {writing.value} {database.url}"


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("oracle://bob:s3cret@db/reposentry", "not supported"),
        ("no url s3cret", "not a database URL"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("postgresql+psycopg://bob:s3cret@db:port/x", "not a database URL"),
    ],
)
def test_a_url_that_cannot_be_used_is_explained_without_the_password(url: str, word: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=word) as caught:
        Database(url, now=lambda: NOON)

    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in str(caught.value.mistakes[0].value)


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("postgresql://db/x", "psycopg", "postgresql"),
        ("mysql://db/x", "pymysql", "mysql"),
    ],
)
def test_a_driver_that_is_missing_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, url: str, module: str, extra: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(ConfigurationInvalid, match=rf"{module}.*reposentry\[{extra}\]"):
        Database(url, now=lambda: NOON)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{(tmp_path / 'no' / 'x.db').as_posix()}", now=lambda: NOON)

    with pytest.raises(StorageUnavailable, match="folder of the database does not exist"):
        database.write(add("ci"))
    with pytest.raises(StorageUnavailable, match="folder"), database.read():
        pass
    database.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")
def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    file = tmp_path / "reposentry.db"
    database = Database(f"sqlite:///{file}", now=lambda: NOON)

    database.write(lambda connection: connection.execute(text("CREATE TABLE t (x int)")).close())

    made = sorted(tmp_path.glob("reposentry.db*"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}
    assert len(made) == 3
    database.close()


def test_sqlite_is_durable_and_refuses_rows_without_their_parents(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{(tmp_path / 'x.db').as_posix()}", now=lambda: NOON)

    def settings(connection: Connection) -> list[object]:
        pragmas = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.scalar(text(f"PRAGMA {pragma}")) for pragma in pragmas]

    found = database.write(settings)
    database.close()

    assert found == ["wal", 2, 1]  # 2: FULL


@pytest.mark.slow
def test_two_processes_that_wait_for_each_other_both_get_their_work_done(
    database: Database, database_url: str
) -> None:
    if database.dialect == "sqlite":
        pytest.skip("one writes at a time: nobody can wait in a circle")
    other = Database(database_url, now=lambda: NOON)
    both_hold_one = threading.Barrier(2)
    for name in ("one", "two"):
        database.write(add(name))

    def lock_both(first: str, second: str) -> Callable[[Connection], None]:
        tries = iter(range(10))

        def work(connection: Connection) -> None:
            lock(connection, first)
            if next(tries) == 0:
                both_hold_one.wait(10)
            lock(connection, second)

        return work

    try:
        ends = [
            database.write_soon(lock_both("one", "two")),
            other.write_soon(lock_both("two", "one")),
        ]
        assert [end.result(20) for end in ends] == [None, None]
    finally:
        other.close()
