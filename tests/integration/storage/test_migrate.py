"""The tables' versions go up and down on every database, once for all processes."""

import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from alembic.config import Config
from alembic.ddl.impl import DefaultImpl
from alembic.script import ScriptDirectory
from sqlalchemy import Table, inspect, text

from app.domain.errors import StorageOutdated
from app.storage import migrate
from app.storage.database import Database
from app.storage.tables import metadata
from tests.integration.storage.scene import NOON

START = """
import sys
from datetime import UTC, datetime
from app.storage import migrate
from app.storage.database import Database
database = Database(sys.argv[1], now=lambda: datetime(2026, 11, 23, tzinfo=UTC))
sys.stdin.readline()
migrate.ensure_current(database)
database.close()
"""


@pytest.fixture
def empty(empty_url: str) -> Iterator[Database]:
    opened = Database(empty_url, now=lambda: NOON)
    yield opened
    opened.close()


def tables_of(database: Database) -> set[str]:
    with database.read() as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


def set_version(database: Database, version: str) -> None:
    with database.alone() as connection, connection.begin():
        connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})


def test_an_empty_database_has_no_version(empty: Database) -> None:
    assert migrate.current(empty) is None


def test_what_goes_up_comes_down_and_goes_up_again(empty: Database) -> None:
    migrate.upgrade(empty)
    after_up = tables_of(empty)

    migrate.downgrade(empty)
    after_down = tables_of(empty)

    migrate.ensure_current(empty)
    assert after_up == set(metadata.tables)
    assert after_down == set()
    assert tables_of(empty) == after_up
    assert migrate.current(empty) == migrate.HEAD


def test_tables_and_migrations_agree(empty: Database) -> None:
    migrate.ensure_current(empty)

    assert migrate.check(empty) == []


def test_a_table_that_no_migration_makes_is_noticed(empty: Database) -> None:
    migrate.ensure_current(empty)
    forgotten = Table("forgotten", metadata)

    try:
        differences = migrate.check(empty)
    finally:
        metadata.remove(forgotten)

    assert differences == ["the table forgotten is missing"]


def test_what_differs_is_told_in_words(empty: Database) -> None:
    migrate.ensure_current(empty)
    with empty.alone() as connection:
        connection.execute(text("ALTER TABLE audit DROP COLUMN actor"))
        connection.execute(text("ALTER TABLE audit ADD COLUMN colour INTEGER"))
        connection.execute(text("CREATE TABLE guest (id INTEGER)"))
        connection.commit()

    assert set(migrate.check(empty)) == {
        "the column audit.actor is missing",
        "the column audit.colour is none of this version's",
        "the table guest is none of this version's",
    }


def test_a_newer_database_is_left_alone(database: Database) -> None:
    set_version(database, "0999")
    try:
        with pytest.raises(StorageOutdated, match="version 0999.*up to " + migrate.HEAD):
            migrate.ensure_current(database)
        with pytest.raises(StorageOutdated):
            migrate.upgrade(database)
    finally:
        set_version(database, migrate.HEAD)


@pytest.mark.slow
def test_processes_that_start_together_migrate_once(empty: Database, empty_url: str) -> None:
    processes = [
        subprocess.Popen(  # noqa: S603 - this interpreter, our own words
            [sys.executable, "-c", START, empty_url],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]

    endings = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=60)
        endings.append((process.returncode, errors))

    assert endings == [(0, "")] * 3
    assert migrate.check(empty) == []


def test_a_current_database_is_not_looked_at_by_alembic(database_url: str) -> None:
    script = START.replace("sys.stdin.readline()", "") + "assert 'alembic' not in sys.modules"

    ended = subprocess.run(  # noqa: S603 - this interpreter, our own words
        [sys.executable, "-c", script, database_url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")


def test_there_is_one_newest_version_and_the_program_knows_it() -> None:
    scripts = ScriptDirectory.from_config(scripts_config())

    assert scripts.get_heads() == [migrate.HEAD]


def test_versions_are_numbered_and_say_what_they_do() -> None:
    names = sorted(path.name for path in (migrate.SCRIPTS / "versions").glob("[!_]*.py"))

    assert all(re.fullmatch(r"\d{4}_[a-z0-9_]+\.py", name) for name in names)
    assert [name[:4] for name in names] == [f"{n:04d}" for n in range(1, len(names) + 1)]
    assert names[-1][:4] == migrate.HEAD


def test_every_constraint_has_a_name(database: Database) -> None:
    names = [
        *(c.name for table in metadata.tables.values() for c in table.constraints),
        *(i.name for table in metadata.tables.values() for i in table.indexes),
    ]
    with database.read() as connection:
        kept = inspect(connection).get_unique_constraints("events")

    assert None not in names
    assert {c["name"] for c in kept} == {"uq_events_id", "uq_events_repository_id_sequence"}


def scripts_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrate.SCRIPTS))
    config.set_main_option("path_separator", "os")
    return config


@pytest.mark.parametrize("cut_off_after", [1, 5, 12, 20])
def test_a_migration_that_was_cut_off_goes_on_at_the_next_start(
    empty: Database, monkeypatch: pytest.MonkeyPatch, cut_off_after: int
) -> None:
    """MySQL and MariaDB keep what a killed migration made; the others undo it."""
    steps = itertools.count(1)
    real = DefaultImpl._exec  # noqa: SLF001 - every statement of a migration passes here

    def until_killed(self: DefaultImpl, *arguments: Any, **options: Any) -> Any:
        if next(steps) > cut_off_after:
            raise KeyboardInterrupt
        return real(self, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(DefaultImpl, "_exec", until_killed)
        with pytest.raises(KeyboardInterrupt):
            migrate.upgrade(empty)

    migrate.ensure_current(empty)

    assert migrate.current(empty) == migrate.HEAD
    assert migrate.check(empty) == []
