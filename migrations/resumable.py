"""Steps that may have been taken already: MySQL and MariaDB keep what a killed migration made.

There a table or index is durable as soon as it is made, while the version is written at the end.
A migration that was cut off is begun anew, and must go on where it stopped. The other databases
undo a whole migration, so that there a step that cannot be taken is a defect and must fail.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op


def create_table(name: str, *parts: sa.schema.SchemaItem, **options: Any) -> None:
    """Make a table, unless a migration that was cut off has made it."""
    op.create_table(name, *parts, if_not_exists=_keeps_halves(), **options)


def drop_table(name: str) -> None:
    """Take a table away, unless a migration that was cut off has."""
    op.drop_table(name, if_exists=_keeps_halves())


def create_index(name: str, table: str, columns: Sequence[str]) -> None:
    """Make an index, unless a migration that was cut off has made it."""
    # MySQL knows no IF NOT EXISTS here, MariaDB does.
    if not _keeps_halves() or name not in _names(sa.inspect(op.get_bind()).get_indexes(table)):
        op.create_index(name, table, list(columns))


def drop_index(name: str, table: str) -> None:
    """Take an index away, unless a migration that was cut off has."""
    if not _keeps_halves() or name in _names(sa.inspect(op.get_bind()).get_indexes(table)):
        op.drop_index(name, table)


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Add a column, unless a migration that was cut off has added it."""
    if not _keeps_halves() or column.name not in _columns(table):
        op.add_column(table, column)


def drop_column(table: str, name: str) -> None:
    """Take a column away, unless a migration that was cut off has."""
    if not _keeps_halves() or name in _columns(table):
        op.drop_column(table, name)


def _columns(table: str) -> set[str]:
    return _names(sa.inspect(op.get_bind()).get_columns(table))


def _names(found: Sequence[Mapping[str, Any]]) -> set[str]:
    return {str(one["name"]) for one in found}


def _keeps_halves() -> bool:
    return op.get_bind().dialect.name in {"mysql", "mariadb"}
