"""Insert rows, or change those that are there: each database spells it differently."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection, Insert, Table
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.elements import KeyedColumnElement

Columns: TypeAlias = ReadOnlyColumnCollection[str, KeyedColumnElement[Any]]


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[dict[str, Any]],
    changes: Callable[[Columns], dict[str, Any]],
) -> None:
    """Insert rows; where the primary key is there already, apply ``changes`` of the new row."""
    statement: Insert
    if connection.dialect.name == "mysql":
        for_mysql = mysql.insert(table)
        statement = for_mysql.on_duplicate_key_update(changes(for_mysql.inserted))
    else:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        other = dialect.insert(table)
        statement = other.on_conflict_do_update(
            index_elements=list(table.primary_key.columns), set_=changes(other.excluded)
        )
    connection.execute(statement, rows)
