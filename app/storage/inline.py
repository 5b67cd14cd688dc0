"""A database in memory that is written by whoever calls: for histories that are lived again.

Nothing runs beside the caller, so that the same calls have the same effects in the same order on
every machine. Before and after all that matters a *boundary* is told, which may stop the caller
there: what it raises leaves the transaction undone, as the end of a process does.
"""

import sqlite3
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, StaticPool, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from app.storage.database import Database
from app.storage.migrate import ensure_current

T = TypeVar("T")


class Step(Enum):
    """Where a caller stands: with nothing open but in ``STATEMENT`` and ``COMMIT``."""

    READ = "read"
    WRITE = "write"
    STATEMENT = "statement"
    COMMIT = "commit"
    WRITTEN = "written"


Boundary = Callable[[Step], None]


class _Kept(sqlite3.Connection):
    """Stays open: SQLAlchemy closes what was in use when something ended its caller."""

    def close(self) -> None:
        """Do nothing; what is stored would be gone."""


class Memory:
    """What is stored; several ``InlineDatabase``s may share it, as processes share a server.

    The first one costs 0.2 s, to ``forget`` all that it holds 0.01 ms: keep it for many histories.
    """

    def __init__(self) -> None:
        self.raw = sqlite3.connect(":memory:", isolation_level=None, factory=_Kept)
        engine = create_engine("sqlite://", poolclass=StaticPool, creator=lambda: self.raw)
        self.connection = engine.connect()
        self.boundary: Boundary | None = None  # the writer's, while it writes
        event.listen(self.connection, "before_cursor_execute", self._before_statement)
        self.forget()

    def forget(self) -> None:
        """Begin anew with empty tables."""
        self.raw.deserialize(_template())
        self.raw.execute("PRAGMA foreign_keys=ON").close()

    def dump(self) -> str:
        """Tell everything that is stored, as SQL: equal for equal histories."""
        return "\n".join(self.raw.iterdump())

    def _before_statement(self, *_: object) -> None:
        if self.boundary is not None:
            self.boundary(Step.STATEMENT)


class InlineDatabase(Database):
    """One process's way to a ``Memory``.

    Args:
        memory: What is stored.
        now: The clock.
        boundary: Told of every step; it may raise what ends the caller.
        soon: Called when something is handed in by ``write_soon``; ``settle`` should follow.
    """

    def __init__(
        self,
        memory: Memory,
        *,
        now: Callable[[], Any],
        boundary: Boundary,
        soon: Callable[[], None] = lambda: None,
    ) -> None:
        self.now = now
        self.url = "sqlite://"
        self.dialect = "sqlite"
        self.name = ""
        self._password = None
        self._memory = memory
        self._boundary = boundary
        self._soon = soon
        self._handed_in: deque[tuple[Callable[[Connection], Any], Future[Any]]] = deque()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read; unlike elsewhere, a statement that writes is not refused here."""
        self._boundary(Step.READ)
        try:
            with self._memory.connection.begin():
                yield self._memory.connection
        except SQLAlchemyError as error:
            raise self._translate(error) from error

    def write(self, work: Callable[[Connection], T], timeout_s: float = 30) -> T:
        """Write what was handed in before, and then this."""
        self.settle()
        return self._write(work)

    def write_soon(self, work: Callable[[Connection], T]) -> "Future[T]":
        """Keep ``work`` until ``settle``; nobody may wait for its end before."""
        promise: Future[T] = Future()
        self._handed_in.append((work, promise))
        self._soon()
        return promise

    def settle(self) -> None:
        """Write what was handed in, each in a transaction of its own."""
        self._boundary(Step.READ)
        while self._handed_in:
            work, promise = self._handed_in.popleft()
            try:
                value = self._write(work)
            except Exception as error:  # noqa: BLE001 - whatever it was, its caller hears of it
                promise.set_exception(error)
            else:
                promise.set_result(value)

    def close(self) -> None:
        """Let go; the memory stays."""

    def _write(self, work: Callable[[Connection], T]) -> T:
        self._boundary(Step.WRITE)
        memory = self._memory
        try:
            with memory.connection.begin():
                memory.raw.execute("BEGIN IMMEDIATE").close()
                memory.boundary = self._boundary
                try:
                    value = work(memory.connection)
                    self._boundary(Step.COMMIT)
                except BaseException:
                    memory.raw.rollback()
                    raise
                finally:
                    memory.boundary = None
        except SQLAlchemyError as error:
            raise self._translate(error) from error
        self._boundary(Step.WRITTEN)
        return value


@cache
def _template() -> bytes:
    """Return a database with empty tables, as the migrations make it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = Path(folder, "template.db")
        database = Database(f"sqlite:///{file.as_posix()}", now=_never)
        try:
            ensure_current(database)
        finally:
            database.close()
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE").close()
            return connection.serialize()


def _never() -> Any:
    raise RuntimeError("a migration asks for the time")
