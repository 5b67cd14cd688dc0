"""Databases of all three kinds for one test each; and figures, told at the end of the run."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

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


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ]
)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Each kind of database in turn, empty."""
    if request.param == "sqlite":
        yield f"sqlite:///{(tmp_path / 'reposentry.db').as_posix()}"
        return
    variable, default, drop = SERVERS[request.param]
    server = make_url(os.environ.get(variable, default))
    name = f"reposentry_e2e_{uuid.uuid4().hex[:12]}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except OperationalError as error:
        engine.dispose()
        if os.environ.get("REPOSENTRY_TEST_SERVICES") == "required":
            raise
        pytest.skip(f"no {request.param} server answers: {error.orig}")
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(drop.format(name=name)))
    engine.dispose()


FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return what takes a line with a measured figure, to be shown when all tests have run."""
    return request.config.stash.setdefault(FIGURES, []).append


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show what was measured, whether or not the tests were content with it."""
    figures = config.stash.get(FIGURES, [])
    if figures:
        terminalreporter.section("measured end to end")
        for line in figures:
            terminalreporter.line(line)
