"""What a database library's error means in our own tree; no other module looks inside one."""

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    SQLAlchemyError,
    StatementError,
    TimeoutError as PoolTimeout,
)

from app.domain.errors import (
    Conflict,
    InputInvalid,
    RepoSentryError,
    StorageOutdated,
    StorageUnavailable,
)
from app.domain.secret import MASK

LONGEST_MESSAGE = 300  # characters; a choice: drivers add whole statements

# How the three databases say that a table or a column is not there.
_MISSING_WORDS = ("no such table", "no such column", "has no column named")
_MISSING_STATES = frozenset({"42P01", "42703", "42S02", "42S22"})
# How they say that two transactions waited for each other, and that this one was given up.
_DEADLOCK_STATES = frozenset({"40P01", "40001"})
_DEADLOCK_NUMBER = 1213


def translate(error: Exception, *, url: str = "", password: str | None = None) -> Exception:
    """Return the error of our own that says the same; what is not a library's stays as it is.

    Args:
        error: What was caught.
        url: Which database, as it may be shown.
        password: The database's, so that it can be masked wherever a driver may repeat it.
    """
    if isinstance(error, RepoSentryError) or not isinstance(error, SQLAlchemyError):
        return error
    message = _message(error, password)
    if isinstance(error, IntegrityError):
        return Conflict(f"the database refused it: {message}")
    if isinstance(error, DataError):
        return InputInvalid(f"the database cannot hold it: {message}")
    if isinstance(error, PoolTimeout):
        return StorageUnavailable("all connections to the database are in use")
    if isinstance(error, DBAPIError):
        if _is_missing(error):
            return StorageOutdated(
                "the database has not the tables that this version needs; "
                f"reposentry db upgrade makes them: {message}"
            )
        return StorageUnavailable(f"the database {url} does not do its work: {message}")
    if isinstance(error, StatementError) and isinstance(error.orig, Exception):
        return error.orig  # a value that our own column types refused
    return error


def is_deadlock(error: Exception) -> bool:
    """Tell whether a transaction was given up for another's sake, and would do the next time."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return False
    if getattr(error.orig, "sqlstate", None) in _DEADLOCK_STATES:
        return True
    return error.orig.args[:1] == (_DEADLOCK_NUMBER,)


def _message(error: SQLAlchemyError, password: str | None) -> str:
    """Tell what the driver said, on one line, without statement and parameters."""
    original = error.orig if isinstance(error, StatementError) else error
    said = original.args[-1] if original is not None and original.args else original
    text = " ".join(str(said).split())[:LONGEST_MESSAGE]
    return text.replace(password, MASK) if password else text


def _is_missing(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    return state in _MISSING_STATES or str(error.orig).startswith(_MISSING_WORDS)
