"""Steps that may have been taken already: MySQL and MariaDB keep what a killed migration made.

There a table or index is durable as soon as it is made, while the version is written at the end.
A migration that was cut off is begun anew, and must go on where it stopped. The other databases
undo a whole migration, so that there a step that cannot be taken is a defect and must fail.
"""

from collections.abc import Sequence
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
    if _keeps_halves():
        # MySQL knows no IF NOT EXISTS here, MariaDB does.
        known = sa.inspect(op.get_bind()).get_indexes(table)
        if name in {index["name"] for index in known}:
            return
    op.create_index(name, table, list(columns))


def _keeps_halves() -> bool:
    return op.get_bind().dialect.name in {"mysql", "mariadb"}
