"""Insert rows, or change those that are there: each database spells it differently."""

from collections.abc import Callable
from typing import Any, TypeAlias

from sqlalchemy import Insert, Table
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.elements import KeyedColumnElement

Columns: TypeAlias = ReadOnlyColumnCollection[str, KeyedColumnElement[Any]]


def upsert_into(table: Table, dialect: str, changes: Callable[[Columns], dict[str, Any]]) -> Insert:
    """Make a statement that inserts rows.

    Where a row's primary key is there already, it applies ``changes``, a function of the columns
    of the row that could not be inserted.
    """
    key = list(table.primary_key.columns)
    if dialect == "mysql":
        from sqlalchemy.dialects import mysql

        for_mysql = mysql.insert(table)
        return for_mysql.on_duplicate_key_update(changes(for_mysql.inserted))
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        for_postgresql = postgresql.insert(table)
        return for_postgresql.on_conflict_do_update(
            index_elements=key, set_=changes(for_postgresql.excluded)
        )
    from sqlalchemy.dialects import sqlite

    for_sqlite = sqlite.insert(table)
    return for_sqlite.on_conflict_do_update(index_elements=key, set_=changes(for_sqlite.excluded))
