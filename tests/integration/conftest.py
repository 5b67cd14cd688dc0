"""Databases of all three kinds, and a repository with one commit.

``database`` has the tables, ``empty_url`` has nothing at all.
"""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, delete, make_url, text
from sqlalchemy.exc import OperationalError

from app.storage import migrate
from app.storage.database import Database
from app.storage.tables import metadata
from tests.fakes.git_repository import GitRepository

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)

# How a server is reached where nothing else is said, and how its databases are dropped although
# a killed process may still seem connected.
SERVERS = {
    "postgresql": (
        "REPOSENTRY_TEST_POSTGRESQL_URL",
        "postgresql+psycopg://postgres@127.0.0.1:5432/postgres",
        "DROP DATABASE {name} WITH (FORCE)",
    ),
    "mariadb": (
        "REPOSENTRY_TEST_MARIADB_URL",
        "mysql+pymysql://root@127.0.0.1:3306/mysql",
        "DROP DATABASE {name}",
    ),
}
KINDS = [
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.postgresql),
    pytest.param("mariadb", marks=pytest.mark.mariadb),
]


@contextmanager
def server_database(kind: str) -> Iterator[str]:
    """Make an empty database on a server, and drop it; skip where there is no server."""
    variable, default, drop = SERVERS[kind]
    server = make_url(os.environ.get(variable, default))
    name = f"reposentry_test_{uuid.uuid4().hex[:12]}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except OperationalError as error:
        engine.dispose()
        if os.environ.get("REPOSENTRY_TEST_SERVICES") == "required":
            raise
        pytest.skip(f"no {kind} server answers: {error.orig}")
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(drop.format(name=name)))
        engine.dispose()


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    made = GitRepository.create(tmp_path / "website.git")
    made.commit("main")
    return made


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Each kind of database in turn, without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{(tmp_path / 'reposentry.db').as_posix()}"
        return
    with server_database(request.param) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Return what makes a database with tables, once for each kind in a run.

    Making one takes a server a quarter of a second; emptying it a hundredth.
    """
    made: dict[str, str] = {}
    opened = []

    def url_of(kind: str) -> str:
        if kind not in made:
            if kind == "sqlite":
                made[kind] = f"sqlite:///{(tmp_path_factory.mktemp('db') / 'made.db').as_posix()}"
            else:
                opened.append(server_database(kind))
                made[kind] = opened[-1].__enter__()
            database = Database(made[kind], now=lambda: NOON)
            migrate.ensure_current(database)
            database.close()
        return made[kind]

    yield url_of
    for context in opened:
        context.__exit__(None, None, None)


@pytest.fixture(params=KINDS)
def database_url(
    request: pytest.FixtureRequest, migrated_url: Callable[[str], str], tmp_path: Path
) -> str:
    """Each kind of database in turn, with tables that are empty."""
    url = migrated_url(request.param)
    if request.param == "sqlite":
        copy = tmp_path / "reposentry.db"
        shutil.copyfile(make_url(url).database or "", copy)
        return f"sqlite:///{copy.as_posix()}"
    engine = create_engine(url)
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))
    engine.dispose()
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Each kind of database in turn, opened; its clock stands at noon."""
    opened = Database(database_url, now=lambda: NOON)
    yield opened
    opened.close()
