"""Column types that mean the same on every database."""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, LargeBinary, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

spell = json.JSONEncoder(separators=(",", ":")).encode


# A dialect's module is imported where it is used, and not before: together they take a tenth of
# the time that the program has for its start.
MYSQL = frozenset({"mysql", "mariadb"})


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment in UTC, to the microsecond.

    SQLite and MariaDB hand a naive one back, and PostgreSQL one in the session's zone; a naive one
    on the way in is a mistake and is refused.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Ask MariaDB for microseconds, which it leaves out by default."""
        if dialect.name in MYSQL:
            from sqlalchemy.dialects.mysql import DATETIME

            return dialect.type_descriptor(DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Take aware moments only."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a naive datetime cannot be stored: {value}")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give aware moments only."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Bytes(TypeDecorator[bytes]):
    """Up to 16 MiB of bytes."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """MariaDB's BLOB ends at 64 KiB."""
        if dialect.name in MYSQL:
            from sqlalchemy.dialects.mysql import MEDIUMBLOB

            return dialect.type_descriptor(MEDIUMBLOB())
        return dialect.type_descriptor(LargeBinary())


class Json(TypeDecorator[Any]):
    """A JSON value kept as ASCII text, so that every database gives the same value back."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """MariaDB's TEXT ends at 64 KiB."""
        if dialect.name in MYSQL:
            from sqlalchemy.dialects.mysql import MEDIUMTEXT

            return dialect.type_descriptor(MEDIUMTEXT())
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Write it compactly."""
        return None if value is None else spell(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Read it."""
        return None if value is None else json.loads(value)


def milliseconds(counted: int) -> int:
    """Return what every database can hold of a duration that a clock measured.

    The clock may have been set meanwhile: back, or by more than the 24 days that 32 bits hold.

    >>> milliseconds(250), milliseconds(-5), milliseconds(10**10)
    (250, 0, 2147483647)
    """
    return min(max(counted, 0), 2**31 - 1)


def plain(text: str | None, longest: int) -> str | None:
    r"""Return what every database can hold of a text that came from outside.

    PostgreSQL refuses NUL characters, and all of them refuse half of a surrogate pair.

    >>> plain("a\0b", 10), plain("abc", 2), plain("\ud800", 10), plain(None, 10)
    ('ab', 'ab', '?', None)
    """
    if text is None:
        return None
    return text.replace("\0", "").encode(errors="replace").decode()[:longest]
