"""What is logged, for people or for machines, and that no secret is.

Everything goes through the standard library's ``logging``: a message is a constant, and what varies
is its ``extra``. Masking happens where a line is made, so it covers messages, extras and tracebacks
of every library.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from threading import Lock
from typing import Any, Final, TextIO
from urllib.parse import quote

from app.domain.moments import instant
from app.domain.secret import MASK, Secret

# Choices: about a week of a busy program's lines at INFO.
_FILE_BYTES: Final = 10 * 1024 * 1024
_FILES_KEPT: Final = 5

# They tell each request, job or step at INFO; what matters of it our own lines tell. urllib3 warns
# of a malformed answer with the whole URL, whose query may hold a secret.
_TALKATIVE: Final = {
    "alembic": logging.WARNING,
    "apscheduler": logging.WARNING,
    "urllib3": logging.ERROR,
    "waitress": logging.WARNING,
    "werkzeug": logging.WARNING,
}

_COLOURS: Final = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}

# Below this a registered secret would mask ordinary words.
_SHORTEST_SECRET: Final = 4

_SECRET_NAMES: Final = re.compile(
    r"(?i)(authorization|token|secret|password|passwd|signature|api_?key|cookie)$"
)
# A name is looked for from its beginning alone, or a long text would be gone through once for each
# of its letters.
_PATTERNS: Final = (
    # https://user:password@host and https://token@host; ssh://git@host tells nothing.
    (re.compile(r"(?<!ssh)(://)[^/\s@]+@"), rf"\g<1>{MASK}@"),
    (re.compile(r"(://[^/\s@:]*):[^/\s@]*@"), rf"\g<1>:{MASK}@"),
    # Headers, as HTTP and as Python's dicts write them.
    (
        re.compile(
            r"(?i)(?<![\w-])([\w-]*(?:authorization|cookie|-token|signature[\w-]*+))"
            r"(['\"]?\s*:\s*['\"]?)[^\r\n'\"]+"
        ),
        rf"\g<1>\g<2>{MASK}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\g<1> {MASK}"),
    (
        re.compile(
            r"(?i)(?<![\w-])([\w-]*(?:token|secret|password|api_?key|signature))=[^\s&'\",;]+"
        ),
        rf"\g<1>={MASK}",
    ),
    # The key in the address at which a receiver confirms.
    (re.compile(r"(/confirmations/[^/\s]+/)[^/\s?#'\"]+"), rf"\g<1>{MASK}"),
    # What GitHub's and GitLab's tokens look like wherever they stand.
    (re.compile(r"\b(?:gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,})"), MASK),
)

# What every record has; the rest of its attributes came by ``extra``.
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {
    "asctime",
    "message",
    "taskName",
}


class _Known:
    """The secrets that were registered; ``texts`` is replaced whole, under ``lock``."""

    lock: Lock = Lock()
    texts: tuple[str, ...] = ()


def register_secret(*secrets: Secret) -> None:
    """Mask these texts wherever they would be logged from now on, also as a URL spells them."""
    texts = [secret.reveal().strip() for secret in secrets]
    long = {text for text in texts if len(text) >= _SHORTEST_SECRET}
    with _Known.lock:
        spelled = {*_Known.texts, *long, *(quote(text, safe="") for text in long)}
        _Known.texts = tuple(sorted(spelled, key=lambda known: (-len(known), known)))


def redact(text: str) -> str:
    """Mask registered secrets, and whatever looks like a credential.

    >>> redact("GET https://bob:s3cret@git.example.com/x Authorization: Bearer abcdefgh")
    'GET https://••••••@git.example.com/x Authorization: ••••••'
    """
    for known in _Known.texts:
        if known in text:
            text = text.replace(known, MASK)
    for pattern, masked in _PATTERNS:
        text = pattern.sub(masked, text)
    return text


def configure(
    level: str,
    format: str,  # noqa: A002 - the setting's own name
    file: Path | None = None,
    stream: TextIO | None = None,
) -> None:
    """Send everything that is logged to one place, in one form; may be called again.

    Args:
        level: debug, info, warning or error.
        format: ``text`` for people, ``json`` for machines (an object on each line).
        file: Where to; it is rotated at 10 MiB, and five old ones are kept.
        stream: Where to without a file; None is standard error.

    Raises:
        OSError: The file cannot be opened.
    """
    handler = _handler(file, stream or sys.stderr)
    formatter: logging.Formatter = JsonLines()
    if format == "text":
        formatter = TextLines(has_colours=file is None and _has_colours(stream or sys.stderr))
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, _FileHandler | _StreamHandler)]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name, least in _TALKATIVE.items():
        logging.getLogger(name).setLevel(max(least, root.level))


class TextLines(logging.Formatter):
    """Time, level, message and the extras as key=value; a traceback stands on lines below."""

    def __init__(self, *, has_colours: bool = False) -> None:
        super().__init__()
        self._has_colours = has_colours

    def format(self, record: logging.LogRecord) -> str:
        """Write one record; control characters cannot forge a second one."""
        level = f"{record.levelname:<7}"
        colour = _COLOURS.get(record.levelname)
        if self._has_colours and colour:
            level = f"\x1b[{colour}m{level}\x1b[0m"
        words = [_moment(record), level, _one_line(redact(record.getMessage()))]
        words += (f"{key}={_word(value)}" for key, value in _extras(record))
        trace = _traceback(record)
        return " ".join(words) + (f"\n{trace}" if trace else "")


class JsonLines(logging.Formatter):
    """One JSON object on each line: time, level, logger, message, the extras, and ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record, in ASCII, so that no reader's encoding matters."""
        line: dict[str, Any] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        for key, value in _extras(record):
            line.setdefault(key, value)
        trace = _traceback(record)
        if trace:
            line["exception"] = trace
        return json.dumps(line)


class _Quiet(logging.Handler):
    """Drops a line rather than complain when its reader has gone or the disk is full."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        error = sys.exc_info()[1]
        is_closed = isinstance(error, ValueError) and "closed file" in str(error)
        if not (isinstance(error, OSError) or is_closed):
            super().handleError(record)


class _StreamHandler(_Quiet, logging.StreamHandler[TextIO]):
    pass


class _FileHandler(_Quiet, RotatingFileHandler):
    pass


def _handler(file: Path | None, stream: TextIO) -> logging.Handler:
    if file is not None:
        return _FileHandler(file, maxBytes=_FILE_BYTES, backupCount=_FILES_KEPT, encoding="utf-8")
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:  # a console that lacks a character must not cost the line
        reconfigure(errors="backslashreplace")
    return _StreamHandler(stream)


def _has_colours(stream: TextIO) -> bool:
    """Tell whether colours would be seen as such; older Windows consoles would print them."""
    return os.name != "nt" and stream.isatty()


def _moment(record: logging.LogRecord) -> str:
    return instant(datetime.fromtimestamp(record.created, UTC))


def _extras(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    for key, value in record.__dict__.items():
        if key not in _STANDARD:
            yield key, MASK if _SECRET_NAMES.search(key) else _plain(value)


def _plain(value: object) -> Any:
    """Return what JSON can hold, with nothing secret in it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {
            str(key): MASK if _SECRET_NAMES.search(str(key)) else _plain(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    return redact(str(value))


def _word(value: Any) -> str:
    """Write an extra's value so that it is seen where it ends."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    is_simple = text.isprintable() and text and not re.search(r"[\s\"=]", text)
    return text if is_simple else json.dumps(text, ensure_ascii=not text.isprintable())


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _traceback(record: logging.LogRecord) -> str:
    trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
    stack = str(record.stack_info or "")
    return redact("\n".join(part for part in (trace, stack) if part))
