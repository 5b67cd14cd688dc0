"""The repositories of the configuration file, and the rows that stand for them."""

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Text, bindparam, insert, select, type_coerce, update

from app.domain.repository import Repository
from app.storage.records import Watched
from app.storage.tables import repositories
from app.storage.types import spell

FILE = "file"  # managed_by: the configuration file

COLUMNS = [repositories.c[field.name] for field in fields(Watched)]
# Null in the database where there is nothing to tell.
_MAPPINGS = [
    number for number, field in enumerate(fields(Watched)) if field.name in {"validator", "facts"}
]


def watched_of(row: Sequence[Any]) -> Watched:
    """Return the value of a row that begins with ``COLUMNS``."""
    values = list(row[: len(COLUMNS)])
    for number in _MAPPINGS:
        values[number] = values[number] or {}
    return Watched(*values)


@dataclass(frozen=True, slots=True)
class _Known:
    """A row, with those of its columns that the configuration decides."""

    watched: Watched
    decided: tuple[str, str, str, str, bool]
    is_of_file: bool
    is_retired: bool


def sync(connection: Connection, wanted: Sequence[Repository], *, at: datetime) -> list[Watched]:
    """Insert, change, revive and retire rows until they are what is wanted; write what differs.

    Returns:
        How each repository stands, in the order of ``wanted``.
    """
    known = _list_known(connection)
    matches = _match(wanted, known)
    taken = {match.watched.id for match in matches if match}
    keys = {row.watched.key for row in known}
    new: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    standing: list[str] = []
    for repository, match in zip(wanted, matches, strict=True):
        key = match.watched.key if match else _free_key(repository.url, keys)
        standing.append(key)
        if match is None:
            keys.add(key)
            new.append(_new_row(repository, key, at))
        elif not _is_as_wanted(match, repository):
            changed.append({"of_id": match.watched.id, **_decided_row(repository)})
    retired = [
        row.watched.id
        for row in known
        if row.is_of_file and not row.is_retired and row.watched.id not in taken
    ]
    if new or changed or retired:
        _write(connection, new, changed, retired, at)
        known = _list_known(connection)
    by_key = {row.watched.key: row.watched for row in known}
    return [by_key[key] for key in standing]


def _list_known(connection: Connection) -> list[_Known]:
    # As text: ten thousand labels need not be parsed to be compared.
    labels = type_coerce(repositories.c.labels, Text)
    others = (labels, repositories.c.enabled, repositories.c.managed_by, repositories.c.retired_at)
    known = []
    for row in connection.execute(select(*COLUMNS, *others)).all():
        watched = watched_of(row)
        labels_text, is_enabled, managed_by, retired_at = row[len(COLUMNS) :]
        decided = (watched.url, watched.name, watched.forge, labels_text, is_enabled)
        known.append(_Known(watched, decided, managed_by == FILE, retired_at is not None))
    return known


def _match(wanted: Sequence[Repository], known: Sequence[_Known]) -> list[_Known | None]:
    """Find each wanted repository's row: by its URL first, then by the URL it once had.

    Last by the URL that the forge led on to from the one that was configured till now: who was
    taken out of the configuration before, or stays in it, is another repository.
    """
    # Of several rows the last one counts: retired ones come first, and then newer ones.
    in_order = sorted(known, key=lambda row: (not row.is_retired, -row.watched.id))
    by_url = {row.watched.url: row for row in in_order}
    by_key = {row.watched.key: row for row in in_order}
    configured = {repository.url for repository in wanted}
    by_move = {
        _plain(to): row
        for row in in_order
        if (to := row.watched.facts.get("moved_to"))
        and not row.is_retired
        and row.watched.url not in configured
    }
    matches = [by_url.pop(repository.url, None) for repository in wanted]
    taken = {match.watched.id for match in matches if match}
    for rows, spelled in ((by_key, str), (by_move, _plain)):
        for index, repository in enumerate(wanted):
            row = rows.get(spelled(repository.url)) if matches[index] is None else None
            if row is not None and row.watched.id not in taken:
                taken.add(row.watched.id)
                matches[index] = row
    return matches


def _plain(url: str) -> str:
    """Return a URL as forges do not tell it from others: they ignore case, and ``.git``."""
    return url.lower().removesuffix(".git")


def _is_as_wanted(row: _Known, repository: Repository) -> bool:
    labels = spell(dict(repository.labels)) if repository.labels else "{}"
    decided = (repository.url, repository.name, repository.forge, labels, repository.enabled)
    return row.is_of_file and not row.is_retired and row.decided == decided


def _decided_row(repository: Repository) -> dict[str, Any]:
    return {
        "url": repository.url,
        "name": repository.name,
        "forge": repository.forge,
        "labels": dict(repository.labels),
        "enabled": repository.enabled,
        "managed_by": FILE,
        "entry": None,
        "retired_at": None,
    }


def _new_row(repository: Repository, key: str, at: datetime) -> dict[str, Any]:
    row = _decided_row(repository)
    return row | {"key": key, "created_at": at, "sequence": 0, "refs_count": 0, "failures": 0}


def _free_key(url: str, keys: Collection[str]) -> str:
    """Return the URL, or, where another repository was first seen under it, a key beside it."""
    beside = (f"{url}#{number}" for number in itertools.count(2))
    return next(key for key in itertools.chain([url], beside) if key not in keys)


def _write(
    connection: Connection,
    new: Sequence[dict[str, Any]],
    changed: Sequence[dict[str, Any]],
    retired: Sequence[int],
    at: datetime,
) -> None:
    if new:
        connection.execute(insert(repositories), new)
    one = update(repositories).where(repositories.c.id == bindparam("of_id"))
    if changed:
        values: dict[str, Any] = {name: bindparam(name) for name in changed[0] if name != "of_id"}
        connection.execute(one.values(values), changed)
    if retired:
        rows = [{"of_id": repository_id} for repository_id in retired]
        connection.execute(one.values(retired_at=at), rows)
