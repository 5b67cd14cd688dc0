"""How a connection to each kind of database is made, so that all of them then behave alike."""

import importlib.util
import os
from collections.abc import Callable
from contextlib import closing, suppress
from enum import Enum
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from app.domain.errors import ConfigurationInvalid, Mistake, StorageUnavailable
from app.domain.secret import MASK

# What people write, and the driver that is meant. Drivers that are not here are not tested.
_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "mysql+pymysql": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
}
_MODULES = {"postgresql+psycopg": ("psycopg", "postgresql"), "mysql+pymysql": ("pymysql", "mysql")}
_SECRET_OPTIONS = frozenset({"password", "passwd", "sslpassword", "ssl_key_password"})

# Choices. A connection is refused within CONNECT_S; a statement that waits for another process's
# lock gives up after LOCK_S, and any statement of ours that runs for STATEMENT_S is a fault.
CONNECT_S = 5
LOCK_S = 5
STATEMENT_S = 30
READERS = 8  # connections kept; the web's threads and the dispatcher read at the same time
MORE_READERS = 32


class Role(Enum):
    """What a connection is for.

    ``read`` cannot write, ``write`` is the writer thread's, ``migrate`` has no deadlines and does
    not check foreign keys while SQLite's tables are rebuilt.
    """

    READ = "read"
    WRITE = "write"
    MIGRATE = "migrate"


def parse(text: str) -> URL:
    """Understand a database URL, and name the driver that this program uses for it.

    Raises:
        ConfigurationInvalid: It is no URL, its database is not supported, or the driver is not
            installed; the message says what to do and never holds the password.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise _invalid(text, "it is not a database URL like sqlite:///reposentry.db") from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise _invalid(
            text,
            f"{url.drivername} is not supported; use sqlite:///FILE, "
            "postgresql+psycopg://USER@HOST/NAME or mysql+pymysql://USER@HOST/NAME",
        )
    if driver == "sqlite" and (url.database or "").partition("?")[0] in {"", ":memory:"}:
        raise _invalid(text, "name a file; a database in memory would forget what is owed")
    module, extra = _MODULES.get(driver, ("sqlite3", ""))
    if importlib.util.find_spec(module) is None:
        raise _invalid(
            text,
            f"the driver {module} is not installed; run: pip install 'reposentry[{extra}]'",
        )
    return url.set(drivername=driver)


def masked(text: str) -> str:
    """Return a database URL that may be shown.

    >>> masked("postgresql+psycopg://bob:s3cret@db.example.com/reposentry?sslpassword=too")
    'postgresql+psycopg://bob:••••••@db.example.com/reposentry?sslpassword=••••••'
    >>> masked("no url: s3cret")
    '••••••'
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        return MASK
    hidden = {name: MASK for name in url.query if name.lower() in _SECRET_OPTIONS}
    url = url.update_query_dict(hidden)
    shown = url.set(password="MASK" if url.password else None).render_as_string(hide_password=False)
    shown = shown.replace(":MASK@", f":{MASK}@", 1) if url.password else shown
    return shown.replace("%E2%80%A2" * len(MASK), MASK)


def make_engine(url: URL, role: Role) -> Engine:
    """Make the engine for one role; it connects when it is first used."""
    options: dict[str, Any] = {"hide_parameters": True, "connect_args": _connect_args(url)}
    if role is Role.MIGRATE:
        options |= {"poolclass": NullPool}
    elif role is Role.WRITE:
        options |= {"pool_size": 1, "max_overflow": 0}
    else:
        options |= {"pool_size": READERS, "max_overflow": MORE_READERS, "pool_timeout": CONNECT_S}
    if url.get_backend_name() != "sqlite":
        options |= {"isolation_level": "READ COMMITTED"}
        if role is not Role.MIGRATE:
            options |= {"pool_pre_ping": True}
    engine = create_engine(url, **options)
    _SET_UP[url.get_backend_name()](engine, role)
    return engine


def _invalid(text: str, message: str) -> ConfigurationInvalid:
    return ConfigurationInvalid([Mistake("storage.url", message, value=masked(text))])


def _connect_args(url: URL) -> dict[str, Any]:
    """Return the driver's options; what the URL itself says goes first."""
    options: dict[str, dict[str, Any]] = {
        "sqlite": {"timeout": LOCK_S},
        # A server that vanished without a word is noticed within half a minute.
        "postgresql": {
            "connect_timeout": CONNECT_S,
            "application_name": "reposentry",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 4,
            "tcp_user_timeout": STATEMENT_S * 1000,
        },
        "mysql": {"connect_timeout": CONNECT_S, "charset": "utf8mb4"},
    }
    chosen = options[url.get_backend_name()]
    return {name: value for name, value in chosen.items() if name not in url.query}


def _set_up_sqlite(engine: Engine, role: Role) -> None:
    """Keep the driver from opening transactions by itself, and open them as the role needs."""
    begin = "BEGIN" if role is Role.READ else "BEGIN IMMEDIATE"
    pragmas = [f"foreign_keys={'OFF' if role is Role.MIGRATE else 'ON'}", "synchronous=FULL"]
    if role is Role.READ:
        pragmas.append("query_only=ON")
    else:
        pragmas.insert(0, "journal_mode=WAL")

    @event.listens_for(engine, "do_connect")
    def _make_file(*_: object) -> None:
        _make_database_file(Path(engine.url.database or ""))

    @event.listens_for(engine, "connect")
    def _set_session(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


def _make_database_file(path: Path) -> None:
    """Make the file before SQLite does: only its owner may read what it will hold.

    SQLite gives its companions (``-wal``, ``-shm``) the same rights.
    """
    if str(path).startswith("file:"):
        return
    if not path.parent.is_dir():
        raise StorageUnavailable(f"the folder of the database does not exist: {path.parent}")
    with suppress(FileExistsError, PermissionError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _set_up_postgresql(engine: Engine, role: Role) -> None:
    statements = ["SET TIME ZONE 'UTC'"]
    if role is not Role.MIGRATE:
        statements += [
            f"SET statement_timeout = '{STATEMENT_S}s'",
            f"SET lock_timeout = '{LOCK_S}s'",
        ]
    if role is Role.READ:
        statements.append("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
    _on_connect(engine, statements)


def _set_up_mysql(engine: Engine, role: Role) -> None:
    # Strict, whatever the server's own mode: a value that does not fit is refused, never cut.
    statements = ["SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES'"]
    if role is not Role.MIGRATE:
        # Rows, and whole tables, which a dump locks and which by default are waited for all day.
        statements.append(f"SET innodb_lock_wait_timeout = {LOCK_S}, lock_wait_timeout = {LOCK_S}")
    if role is Role.READ:
        statements.append("SET SESSION TRANSACTION READ ONLY")
    _on_connect(engine, statements)
    if role is Role.MIGRATE:
        return

    @event.listens_for(engine, "do_connect")
    def _set_deadlines(_d: object, _r: object, _a: object, options: dict[str, Any]) -> None:
        options.setdefault("read_timeout", STATEMENT_S)
        options.setdefault("write_timeout", STATEMENT_S)


def _on_connect(engine: Engine, statements: list[str]) -> None:
    @event.listens_for(engine, "connect")
    def _set_session(connection: Any, _record: object) -> None:
        with closing(connection.cursor()) as cursor:
            for statement in statements:
                cursor.execute(statement)
        connection.commit()


_SET_UP: dict[str, Callable[[Engine, Role], None]] = {
    "sqlite": _set_up_sqlite,
    "postgresql": _set_up_postgresql,
    "mysql": _set_up_mysql,
}
