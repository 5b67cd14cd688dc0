"""Every kind of database gives back what it was given, and compares it alike."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, func, insert, select

from app.domain.refs import LONGEST_REF
from app.storage.database import Database
from app.storage.tables import BINARY
from app.storage.types import Bytes, Json, UtcDateTime, plain
from tests.integration.conftest import KINDS, server_database

NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)

things = Table(
    "things",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("at", UtcDateTime),
    Column("json", Json),
    Column("bytes", Bytes),
    Column("ref", String(LONGEST_REF)),
    **BINARY,
)


@pytest.fixture(scope="module", params=KINDS)
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{(tmp_path_factory.mktemp('db') / 'x.db').as_posix()}"
        else:
            url = stack.enter_context(server_database(request.param))
        opened = Database(url, now=lambda: NOON)
        stack.callback(opened.close)
        with opened.alone() as connection, connection.begin():
            things.create(connection)
        yield opened


def keep(database: Database, **values: Any) -> int:
    """Write a row and return its number."""

    def work(connection: Connection) -> int:
        key = connection.execute(insert(things), values).inserted_primary_key
        assert key is not None
        return int(key[0])

    return database.write(work)


def kept(database: Database, **values: Any) -> Any:
    """Write one value and read it again."""
    number = keep(database, **values)
    (name,) = values
    with database.read() as connection:
        return connection.scalar(select(things.c[name]).where(things.c.id == number))


@pytest.mark.parametrize(
    "at",
    [NOON, NOON.replace(microsecond=0), NOON.astimezone(timezone(timedelta(hours=-7)))],
    ids=["to the microsecond", "to the second", "in another zone"],
)
def test_a_moment_comes_back_as_the_same_moment_in_utc(database: Database, at: datetime) -> None:
    found = kept(database, at=at)

    assert found == at
    assert found.tzinfo is UTC


def test_a_naive_moment_is_refused(database: Database) -> None:
    naive = NOON.replace(tzinfo=None)

    with pytest.raises(ValueError, match="naive"):
        kept(database, at=naive)


def test_moments_are_compared_as_moments(database: Database) -> None:
    number = keep(database, at=NOON)
    later = (NOON + timedelta(microseconds=1)).astimezone(timezone(timedelta(hours=9)))

    with database.read() as connection:
        found = connection.scalars(
            select(things.c.id).where(things.c.id == number, things.c.at < later)
        ).all()

    assert found == [number]


@pytest.mark.parametrize(
    "value",
    [{"a": [1, 2.5, None, "ä", "🎉"]}, [], "text", 0, None, {"long": "x" * 100_000}],
    ids=["mixed", "empty list", "text", "zero", "none", "longer than 64 KiB"],
)
def test_json_comes_back_as_it_was(database: Database, value: object) -> None:
    assert kept(database, json=value) == value


def test_bytes_come_back_as_they_were(database: Database) -> None:
    body = bytes(range(256)) * 1024

    assert kept(database, bytes=body) == body


@pytest.mark.parametrize(
    "ref",
    [
        "refs/heads/" + "b" * 244,
        "refs/heads/grüße-日本-🎉",
        "refs/heads/" + "日" * (LONGEST_REF - len("refs/heads/")),
        "refs/heads/it's-%s-:a-\\-?",
    ],
    ids=["255 bytes", "non-ASCII", "longest", "what other languages escape"],
)
def test_a_ref_comes_back_as_it_was(database: Database, ref: str) -> None:
    assert kept(database, ref=ref) == ref


def test_refs_that_differ_in_case_or_accent_alone_are_different(database: Database) -> None:
    names = ["refs/heads/Main", "refs/heads/main", "refs/heads/maín", "refs/heads/MAIN"]
    database.write(
        lambda connection: connection.execute(insert(things), [{"ref": n} for n in names]).close()
    )

    with database.read() as connection:
        found = connection.scalars(
            select(things.c.ref).where(things.c.ref == "refs/heads/main")
        ).all()
        count = connection.scalar(
            select(func.count(things.c.ref.distinct())).where(things.c.ref.in_(names))
        )

    assert found == ["refs/heads/main"]
    assert count == len(names)


def test_text_from_outside_can_be_kept_once_it_is_plain(database: Database) -> None:
    assert kept(database, ref=plain("a\0b\ud800c", 10)) == "ab?c"
