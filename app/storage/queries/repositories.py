"""What is asked of repositories: how they stand, their refs and their polls."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Text, case, func, or_, select, type_coerce

from app.domain.errors import NotFound
from app.storage.entries import Page, PollEntry, PollHour, RefEntry, RepositoryEntry
from app.storage.filters import RepositoryFilter
from app.storage.queries.asking import Asking
from app.storage.queries.paging import decode_cursor, page
from app.storage.queries.rows import rows
from app.storage.records import PollState
from app.storage.tables import poll_hours, polls, refs, repositories

_STATE: ColumnElement[str] = case(
    (repositories.c.retired_at.is_not(None), "retired"),
    (or_(repositories.c.paused_at.is_not(None), repositories.c.enabled.is_(False)), "paused"),
    (repositories.c.error_code.is_not(None), "failing"),
    (repositories.c.digest.is_(None), "new"),
    else_="ok",
)

_REPOSITORY = (
    repositories.c.id,
    repositories.c.name,
    repositories.c.url,
    repositories.c.forge,
    repositories.c.labels,
    repositories.c.enabled,
    repositories.c.paused_at,
    repositories.c.retired_at,
    repositories.c.created_at,
    repositories.c.sequence,
    repositories.c.digest,
    repositories.c.watched,
    repositories.c.refs_count,
    repositories.c.default_branch,
    repositories.c.last_change_at,
    # From here on: the poll state.
    repositories.c.read_by,
    repositories.c.last_poll_at,
    repositories.c.last_outcome,
    repositories.c.next_poll_at,
    repositories.c.next_poll_reason,
    repositories.c.interval_s,
    repositories.c.failures,
    repositories.c.error_code,
    repositories.c.error_message,
    repositories.c.error_since,
    repositories.c.facts,
)
_POLL_STATE_AT = 15


class RepositoryQueries(Asking):
    """Questions about repositories."""

    def list_repositories(
        self, wanted: RepositoryFilter, *, limit: int, cursor: str | None = None
    ) -> Page[RepositoryEntry]:
        """List repositories by name.

        Raises:
            InputInvalid: The cursor is not one of this list's.
        """
        with self._database.read() as connection:
            conditions = _repository_conditions(wanted, connection.dialect.name)
            if cursor is not None:
                name, last = decode_cursor(cursor, "repositories", str, int)
                conditions.append(repositories.c.name >= name)
                conditions.append(or_(repositories.c.name > name, repositories.c.id > last))
            statement = (
                select(*_REPOSITORY)
                .where(*conditions)
                .order_by(repositories.c.name, repositories.c.id)
                .limit(limit + 1)
            )
            found = [_repository(row) for row in rows(connection, statement)]
        return page(found, limit, "repositories", lambda last: (last.name, last.id))

    def find_repository(self, name: str) -> RepositoryEntry | None:
        """Find a repository by its name; of several, the one still watched, then the newest."""
        statement = (
            select(*_REPOSITORY)
            .where(repositories.c.name == name)
            .order_by(
                case((repositories.c.retired_at.is_(None), 0), else_=1), repositories.c.id.desc()
            )
            .limit(1)
        )
        with self._database.read() as connection:
            found = rows(connection, statement)
        return _repository(found[0]) if found else None

    def get_repository(self, name: str) -> RepositoryEntry:
        """Get a repository by its name.

        Raises:
            NotFound: There is none of that name.
        """
        found = self.find_repository(name)
        if found is None:
            raise NotFound(f"there is no repository named {name!r}")
        return found

    def count_repositories(self) -> dict[str, int]:
        """Count the repositories by their state."""
        statement = select(_STATE.label("state"), func.count()).group_by("state")
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(statement)}

    def count_by_forge(self) -> dict[str, tuple[int, int]]:
        """Count the repositories that are watched, and those that fail, by their forge."""
        failing = func.sum(case((_STATE == "failing", 1), else_=0))
        statement = (
            select(repositories.c.forge, func.count(), failing)
            .where(repositories.c.retired_at.is_(None))
            .group_by(repositories.c.forge)
        )
        with self._database.read() as connection:
            return {row[0]: (row[1], int(row[2])) for row in connection.execute(statement)}

    def list_failing(self, *, limit: int) -> tuple[RepositoryEntry, ...]:
        """List failing repositories, the one that has failed for longest first."""
        statement = (
            select(*_REPOSITORY)
            .where(_STATE == "failing")
            .order_by(repositories.c.error_since, repositories.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return tuple(_repository(row) for row in rows(connection, statement))

    def list_refs(
        self, repository_id: int, *, limit: int, cursor: str | None = None
    ) -> Page[RefEntry]:
        """List a repository's refs by name.

        Raises:
            InputInvalid: The cursor is not one of this list's.
        """
        conditions: list[ColumnElement[bool]] = [refs.c.repository_id == repository_id]
        if cursor is not None:
            (name,) = decode_cursor(cursor, "refs", str)
            conditions.append(refs.c.name > name)
        statement = (
            select(refs.c.name, refs.c.commit_id, refs.c.changed_at)
            .where(*conditions)
            .order_by(refs.c.name)
            .limit(limit + 1)
        )
        with self._database.read() as connection:
            found = [RefEntry(*row) for row in rows(connection, statement)]
        return page(found, limit, "refs", lambda last: (last.name,))

    def find_ref(self, repository_id: int, name: str) -> RefEntry | None:
        """Find one ref of a repository's snapshot by its full name."""
        statement = (
            select(refs.c.name, refs.c.commit_id, refs.c.changed_at)
            .where(refs.c.repository_id == repository_id, refs.c.name == name)
            .limit(1)
        )
        with self._database.read() as connection:
            found = rows(connection, statement)
        return RefEntry(*found[0]) if found else None

    def list_polls(self, repository_id: int, *, limit: int) -> tuple[PollEntry, ...]:
        """List a repository's newest polls that changed something or failed, newest first."""
        statement = (
            select(
                polls.c.position,
                polls.c.started_at,
                polls.c.duration_ms,
                polls.c.reason,
                polls.c.outcome,
                polls.c.read_by,
                polls.c.changes,
                polls.c.error_code,
                polls.c.error_message,
            )
            .where(polls.c.repository_id == repository_id)
            .order_by(polls.c.position.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return tuple(PollEntry(*row) for row in rows(connection, statement))

    def list_poll_hours(self, repository_id: int, *, since: datetime) -> tuple[PollHour, ...]:
        """List a repository's hours of polling, oldest first."""
        statement = (
            select(
                poll_hours.c.hour,
                poll_hours.c.changed,
                poll_hours.c.unchanged,
                poll_hours.c.failed,
                poll_hours.c.took_ms,
            )
            .where(poll_hours.c.repository_id == repository_id, poll_hours.c.hour >= since)
            .order_by(poll_hours.c.hour)
            .limit(1000)
        )
        with self._database.read() as connection:
            return tuple(PollHour(*row) for row in rows(connection, statement))


def _repository(row: Sequence[Any]) -> RepositoryEntry:
    state = [*row[_POLL_STATE_AT:-1], row[-1] or {}]
    poll = PollState(row[0], {}, *state)
    return RepositoryEntry(poll, *row[:_POLL_STATE_AT])


def _repository_conditions(wanted: RepositoryFilter, dialect: str) -> list[ColumnElement[bool]]:
    table = repositories.c
    conditions: list[ColumnElement[bool]] = [
        table.retired_at.is_(None) if wanted.state is None else _STATE.in_([wanted.state])
    ]
    if wanted.forge is not None:
        conditions.append(table.forge == wanted.forge)
    if wanted.text is not None:
        text = wanted.text.lower()
        conditions.append(
            or_(
                func.lower(table.name).contains(text, autoescape=True),
                func.lower(table.url).contains(text, autoescape=True),
            )
        )
    if wanted.label is not None:
        # Labels are kept as compact JSON text, in which a quote within a value is escaped: what is
        # looked for can only be a key, or a key and its value. LIKE would ignore case on SQLite.
        key, *value = re.split("[:=]", wanted.label, maxsplit=1)
        part = json.dumps(key) + ":" + (json.dumps(value[0]) if value else "")
        position = func.strpos if dialect == "postgresql" else func.instr
        conditions.append(position(type_coerce(table.labels, Text), part) > 0)
    return conditions
