"""Which version the tables have, and how they get to the one that this program needs.

Alembic is imported only where a version really changes: it costs a fifth of the start-up.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.domain.errors import StorageOutdated, StorageUnavailable
from app.storage.database import Database
from app.storage.tables import metadata

if TYPE_CHECKING:  # the import that this module avoids at start-up
    from alembic.config import Config

HEAD = "0003"  # the newest file in migrations/versions; a test holds them equal
SCRIPTS = Path(__file__).resolve().parents[2] / "migrations"  # beside `app`, in a wheel too

# Choices: another process may be migrating a large database.
LOCK_S = 300
LOCK_LOOK_S = 0.2
LOCK_NUMBER = 0x7265706F  # «repo» in ASCII: PostgreSQL's advisory locks are numbers


def ensure_current(database: Database) -> None:
    """Bring the tables to the version that this program needs; mostly they are there already.

    Processes that start together agree on one that does it; the others wait.

    Raises:
        StorageOutdated: The tables belong to a newer version of this program.
        StorageUnavailable: No answer, or another process migrates for too long.
    """
    version = current(database)
    if version != HEAD:
        _refuse_newer(version)
        upgrade(database)


def current(database: Database) -> str | None:
    """Return the version of the tables, None for a database without any."""
    try:
        with database.read() as connection:
            return _version(connection)
    except StorageOutdated:
        return None


def upgrade(database: Database, version: str = "head") -> None:
    """Migrate up to a version, behind the lock.

    Raises:
        StorageOutdated: The tables belong to a newer version of this program.
    """
    from alembic import command

    with _locked(database) as connection:
        # Another process may have done it while this one waited for the lock.
        _refuse_newer(_version_if_any(connection))
        command.upgrade(_config(connection), version)


def downgrade(database: Database, version: str = "base") -> None:
    """Migrate down to a version, behind the lock; ``base`` leaves no tables at all."""
    from alembic import command

    with _locked(database) as connection:
        command.downgrade(_config(connection), version)


def check(database: Database) -> list[str]:
    """Compare the tables in the database with those the program knows.

    Returns:
        What differs, in words; empty when they agree.
    """
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with database.alone() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        connection.rollback()
    return [sentence for difference in differences for sentence in _sentences(difference)]


def _sentences(difference: Any) -> Iterator[str]:
    """Say what Alembic found: a tuple for a thing, or a list of them for one column's changes.

    >>> list(_sentences([("modify_nullable", None, "audit", "actor", {}, True, False)]))
    ['the column audit.actor has nullable True, and should have False']
    """
    if isinstance(difference, list):
        for one in difference:
            yield from _sentences(one)
        return
    verb, _, kind = difference[0].partition("_")
    if verb == "modify":
        table, column, _, found, wanted = difference[2:]
        yield f"the column {table}.{column} has {kind} {found}, and should have {wanted}"
        return
    thing = difference[-1]
    holder = getattr(thing, "table", None)
    name = thing.name if kind == "table" or holder is None else f"{holder.name}.{thing.name}"
    fault = "is missing" if verb == "add" else "is none of this version's"
    yield f"the {kind.replace('_', ' ')} {name} {fault}"


def _config(connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _refuse_newer(version: str | None) -> None:
    if version is not None and version > HEAD:
        raise StorageOutdated(
            f"the database has version {version}, this program knows versions up to {HEAD}; "
            "install the newer program, or restore the backup made before its upgrade"
        )


def _version(connection: Connection) -> str | None:
    version = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if version is None else str(version)


def _version_if_any(connection: Connection) -> str | None:
    if connection.dialect.has_table(connection, "alembic_version"):
        return _version(connection)
    return None


@contextmanager
def _locked(database: Database) -> Iterator[Connection]:
    """Hold the lock of migrations, and commit what was done when all of it went well."""
    with database.alone() as connection, _LOCKS[database.dialect](connection):
        yield connection


@contextmanager
def _sqlite_lock(connection: Connection) -> Iterator[None]:
    """The database's own write lock; the whole migration is one transaction."""
    _wait_for(lambda: _begins(connection))
    with connection.get_transaction() or connection.begin():
        yield
        # Foreign keys were off, since rebuilding a table would have emptied those that refer to it.
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise StorageOutdated(f"rows of {broken[0]} refer to rows of {broken[2]} that are gone")


def _begins(connection: Connection) -> bool:
    try:
        connection.begin()
    except DBAPIError as error:
        if "locked" not in str(error.orig):
            raise
        return False
    return True


@contextmanager
def _postgresql_lock(connection: Connection) -> Iterator[None]:
    """An advisory lock that ends with the transaction; DDL is part of it here."""
    with connection.begin():
        take = text("SELECT pg_try_advisory_xact_lock(:number)")
        _wait_for(lambda: bool(connection.scalar(take, {"number": LOCK_NUMBER})))
        yield


@contextmanager
def _mysql_lock(connection: Connection) -> Iterator[None]:
    """A named lock of the session; each DDL statement commits itself here."""
    with connection.begin():
        name = {"name": f"reposentry-migrate-{connection.engine.url.database}"[:64]}
        taken = connection.scalar(text("SELECT GET_LOCK(:name, :wait)"), {**name, "wait": LOCK_S})
        if taken != 1:
            raise StorageUnavailable("another process has been migrating the database for too long")
        try:
            yield
        finally:
            connection.execute(text("SELECT RELEASE_LOCK(:name)"), name)


def _wait_for(taken: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LOCK_S
    while not taken():
        if time.monotonic() > deadline:
            raise StorageUnavailable("another process has been migrating the database for too long")
        time.sleep(LOCK_LOOK_S)


_LOCKS: dict[str, Callable[[Connection], Any]] = {
    "sqlite": _sqlite_lock,
    "postgresql": _postgresql_lock,
    "mysql": _mysql_lock,
}
