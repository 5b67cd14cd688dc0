"""Where questions are asked, and how many answers are counted."""

from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import Connection, Select, func, select

# Counts stop here; a page that says «10,000 and more» has said enough.
COUNT_LIMIT = 10_000


class Readable(Protocol):
    """Where to read: short transactions on pooled connections."""

    def read(self) -> AbstractContextManager[Connection]:
        """Lend a connection for one read transaction."""
        ...


class Asking:
    """Something that asks the database; safe to use from many threads."""

    def __init__(self, database: Readable) -> None:
        self._database = database

    def _count_bounded(self, questions: dict[str, Select[tuple[int]]]) -> dict[str, int]:
        if not questions:
            return {}
        counts = [
            select(func.count()).select_from(one.limit(COUNT_LIMIT).subquery()).scalar_subquery()
            for one in questions.values()
        ]
        with self._database.read() as connection:
            row = connection.execute(select(*counts)).one()
        return dict(zip(questions, row, strict=True))
