"""A database of each kind, empty, for one measurement; dropped when all went well."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

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
KINDS = ("sqlite", *SERVERS)


@contextmanager
def an_empty_database(kind: str, folder: Path) -> Iterator[str]:
    """Yield its URL; what an error leaves behind stays, to be looked at."""
    if kind == "sqlite":
        yield f"sqlite:///{(folder / 'reposentry.db').as_posix()}"
        return
    variable, default, drop = SERVERS[kind]
    server = make_url(os.environ.get(variable, default))
    name = f"reposentry_bench_{uuid.uuid4().hex[:12]}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(drop.format(name=name)))
    engine.dispose()
