"""What pages and API ask the database: bounded reads, paged by key and never by offset."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    ScalarSelect,
    Select,
    Table,
    Text,
    and_,
    case,
    false,
    func,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.types import TypeEngine

from app.domain.delivery import OPEN_STATES
from app.domain.errors import InputInvalid, NotFound
from app.domain.event import EventState
from app.domain.refs import BRANCH_PREFIX, TAG_PREFIX
from app.storage.entries import (
    AttemptEntry,
    DeliveryDetail,
    DeliveryEntry,
    EventEntry,
    HourCount,
    Page,
    PollEntry,
    PollHour,
    Reaction,
    ReceiverEntry,
    RefEntry,
    RepositoryEntry,
)
from app.storage.records import PollState
from app.storage.tables import (
    attempts,
    deliveries,
    events,
    poll_hours,
    polls,
    receivers,
    refs,
    repositories,
)
from app.storage.types import UtcDateTime

T = TypeVar("T")

# Positions that one page looks at when no index answers its question; the next page goes on from
# there. Measured in November 2026 with a million events on SQLite: 10 to 40 ms.
STRETCH = 50_000
# Counts stop here; a page that says «10,000 and more» has said enough.
COUNT_LIMIT = 10_000
# A choice: who has so many dead deliveries need not be told of more.
DEAD_SEARCHED = 500
# Positions follow the commits, moments the polls: a moment this far from another is surely on the
# same side of it by position.
DISORDER = timedelta(hours=1)
# Few by their nature, so that the index on the state alone finds them quickly.
RARE_STATES = frozenset({EventState.OPEN, EventState.FAILED, EventState.HELD, "dead", *OPEN_STATES})
# A delivery that is tried for days has hundreds of attempts; the newest tell enough.
ATTEMPTS_SHOWN = 100
DELIVERIES_SHOWN = 100
# How many of a repository's newest events are looked at for its latency, and for a ref's last one.
REACTIONS = 20
LAST_EVENT_DEPTH = 10_000


class Readable(Protocol):
    """Where to read: short transactions on pooled connections."""

    def read(self) -> AbstractContextManager[Connection]:
        """Lend a connection for one read transaction."""
        ...


@dataclass(frozen=True, slots=True)
class RepositoryFilter:
    """Which repositories; None means any, but the retired are listed only by their state.

    ``label`` is ``key``, ``key:value`` or ``key=value``; ``text`` is looked for in name and URL,
    in any case.
    """

    state: str | None = None
    label: str | None = None
    forge: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events; None means any. ``ref`` is a full name, or a short one of either sort."""

    repository_id: int | None = None
    ref: str | None = None
    kind: str | None = None
    state: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries; None means any."""

    state: str | None = None
    receiver: str | None = None


class Queries:
    """Every question that pages and API ask; safe to use from many threads."""

    def __init__(self, database: Readable) -> None:
        self._database = database

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
            found = [_repository(row) for row in _rows(connection, statement)]
        return _page(found, limit, "repositories", lambda last: (last.name, last.id))

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
            found = _rows(connection, statement)
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

    def list_failing(self, *, limit: int) -> tuple[RepositoryEntry, ...]:
        """List failing repositories, the one that has failed for longest first."""
        statement = (
            select(*_REPOSITORY)
            .where(_STATE == "failing")
            .order_by(repositories.c.error_since, repositories.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return tuple(_repository(row) for row in _rows(connection, statement))

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
            found = [RefEntry(*row) for row in _rows(connection, statement)]
        return _page(found, limit, "refs", lambda last: (last.name,))

    def find_ref(self, repository_id: int, name: str) -> RefEntry | None:
        """Find one ref of a repository's snapshot by its full name."""
        statement = (
            select(refs.c.name, refs.c.commit_id, refs.c.changed_at)
            .where(refs.c.repository_id == repository_id, refs.c.name == name)
            .limit(1)
        )
        with self._database.read() as connection:
            found = _rows(connection, statement)
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
            return tuple(PollEntry(*row) for row in _rows(connection, statement))

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
            return tuple(PollHour(*row) for row in _rows(connection, statement))

    def list_reactions(self, repository_ids: Sequence[int]) -> tuple[Reaction, ...]:
        """List what is known of the latency of these repositories' newest events.

        Events found after a pause of ours are left out: they say nothing of our speed.
        """
        # The sequence has no gaps, so that «the newest twenty» is a range of its unique index.
        statement = (
            select(events.c.repository_id, events.c.pushed_at, events.c.detected_at)
            .join(repositories, repositories.c.id == events.c.repository_id)
            .where(
                repositories.c.id.in_(repository_ids),
                events.c.sequence > repositories.c.sequence - REACTIONS,
                events.c.pushed_at.is_not(None),
                events.c.catch_up.is_(False),
            )
            .limit(REACTIONS * len(repository_ids))
        )
        with self._database.read() as connection:
            found = _rows(connection, _along(statement, events, _BY_SEQUENCE))
        return tuple(Reaction(*row) for row in found)

    def list_newest_reactions(self, *, limit: int) -> tuple[Reaction, ...]:
        """List what is known of the latency of the newest ``limit`` events of all repositories."""
        newest = (
            select(
                events.c.repository_id,
                events.c.pushed_at,
                events.c.detected_at,
                events.c.catch_up,
            )
            .order_by(events.c.position.desc())
            .limit(limit)
            .subquery()
        )
        statement = (
            select(newest.c.repository_id, newest.c.pushed_at, newest.c.detected_at)
            .where(newest.c.pushed_at.is_not(None), newest.c.catch_up.is_(False))
            .limit(limit)
        )
        with self._database.read() as connection:
            return tuple(Reaction(*row) for row in _rows(connection, statement))

    def list_events(
        self, wanted: EventFilter, *, limit: int, cursor: str | None = None
    ) -> Page[EventEntry]:
        """List events, newest first.

        Raises:
            InputInvalid: The cursor is not one of this list's.
        """
        before = None if cursor is None else decode_cursor(cursor, "events", int)[0]
        with self._database.read() as connection:
            conditions = _event_conditions(wanted)
            conditions += _between(connection, wanted)
            floor = None
            if _needs_stretch(wanted):
                top = before or _last_position(connection, events.c.position) + 1
                floor = max(0, top - STRETCH)
                conditions.append(events.c.position >= floor)
            if before is not None:
                conditions.append(events.c.position < before)
            found = _read_events(
                connection, *conditions, limit=limit + 1, index=_event_index(wanted)
            )
        return _page(found, limit, "events", lambda last: (last.position,), floor)

    def get_event(self, event_id: str) -> EventEntry:
        """Get one event.

        Raises:
            NotFound: There is none with that id.
        """
        with self._database.read() as connection:
            found = _read_events(connection, events.c.id == event_id, limit=1)
        if not found:
            raise NotFound(f"there is no event {event_id}")
        return found[0]

    def find_last_event(self, repository_id: int, sequence: int, ref: str) -> EventEntry | None:
        """Find the newest event of a ref, among the repository's newest 10,000."""
        with self._database.read() as connection:
            found = _read_events(
                connection,
                events.c.repository_id == repository_id,
                events.c.sequence > sequence - LAST_EVENT_DEPTH,
                events.c.ref == ref,
                limit=1,
                index=_BY_SEQUENCE,
                order=events.c.sequence.desc(),
            )
        return found[0] if found else None

    def list_event_deliveries(self, event: EventEntry) -> tuple[DeliveryDetail, ...]:
        """List an event's deliveries with attempts and requests, in the order they were owed."""
        with self._database.read() as connection:
            found = _read_deliveries(
                connection,
                deliveries.c.event_position == event.position,
                limit=DELIVERIES_SHOWN,
            )
            return tuple(_detail(connection, delivery) for delivery in reversed(found))

    def list_deliveries(
        self, wanted: DeliveryFilter, *, limit: int, cursor: str | None = None
    ) -> Page[DeliveryEntry]:
        """List deliveries, newest first.

        Raises:
            InputInvalid: The cursor is not one of this list's.
        """
        before = None if cursor is None else decode_cursor(cursor, "deliveries", int)[0]
        position = deliveries.c.position
        conditions: list[ColumnElement[bool]] = []
        if wanted.state is not None:
            conditions.append(deliveries.c.state == wanted.state)
        if wanted.receiver is not None:
            conditions.append(deliveries.c.receiver == wanted.receiver)
        with self._database.read() as connection:
            floor = None
            if len(conditions) > 1 and wanted.state not in RARE_STATES:
                top = before or _last_position(connection, position) + 1
                floor = max(0, top - STRETCH)
                conditions.append(position >= floor)
            if before is not None:
                conditions.append(position < before)
            found = _read_deliveries(
                connection, *conditions, limit=limit + 1, index=_delivery_index(wanted)
            )
        return _page(found, limit, "deliveries", lambda last: (last.position,), floor)

    def get_delivery(self, delivery_id: str) -> DeliveryDetail:
        """Get one delivery with its attempts and the request it makes.

        Raises:
            NotFound: There is none with that id.
        """
        with self._database.read() as connection:
            found = _read_deliveries(connection, deliveries.c.id == delivery_id, limit=1)
            if not found:
                raise NotFound(f"there is no delivery {delivery_id}")
            return _detail(connection, found[0])

    def count_hours(self, hours: Sequence[datetime]) -> tuple[HourCount, ...]:
        """Count what happened in each hour that begins at one of ``hours``, by index alone."""
        if not hours:
            return ()
        counts: list[ScalarSelect[int]] = []
        for hour in hours:
            for moment in (events.c.detected_at, deliveries.c.finished_at):
                within = and_(moment >= hour, moment < hour + timedelta(hours=1))
                counts.append(select(func.count()).where(within).scalar_subquery())
        with self._database.read() as connection:
            row = connection.execute(select(*counts)).one()
        return tuple(
            HourCount(hour, row[2 * index], row[2 * index + 1]) for index, hour in enumerate(hours)
        )

    def list_dead_times(self, *, limit: int) -> tuple[datetime, ...]:
        """List when the newest dead deliveries were given up."""
        statement = (
            select(deliveries.c.finished_at)
            .where(deliveries.c.state == "dead")
            .order_by(deliveries.c.position.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return tuple(at for (at,) in _rows(connection, statement) if at is not None)

    def count_owed(self, names: Sequence[str]) -> dict[str, int]:
        """Count the unfinished deliveries of each receiver, up to ``COUNT_LIMIT``."""
        return self._count_bounded(
            {
                name: select(deliveries.c.position).where(
                    deliveries.c.finished_at.is_(None), deliveries.c.receiver == name
                )
                for name in names
            }
        )

    def count_deliveries(self, states: Sequence[str]) -> dict[str, int]:
        """Count the deliveries in each of these states, up to ``COUNT_LIMIT``."""
        return self._count_bounded(
            {
                state: select(deliveries.c.position).where(deliveries.c.state == state)
                for state in states
            }
        )

    def count_all_owed(self) -> int:
        """Count the unfinished deliveries, up to ``COUNT_LIMIT``."""
        owed = select(deliveries.c.position).where(deliveries.c.finished_at.is_(None))
        return self._count_bounded({"owed": owed})["owed"]

    def list_failed_events(self, *, since: datetime, limit: int) -> tuple[EventEntry, ...]:
        """List the newest events since then that a receiver did not take, newest first.

        Others may still be owed them: of what is not finished, only the newest ``DEAD_SEARCHED``
        dead deliveries are looked at.
        """
        recent = (events.c.detected_at >= since,)
        with self._database.read() as connection:
            found = _read_events(
                connection,
                events.c.state == "failed",
                *recent,
                *_between(connection, EventFilter(since=since)),
                limit=limit,
                index="ix_events_state_position",
            )
            found += _read_events(
                connection,
                events.c.state == "open",
                events.c.position.in_(_refused()),
                *recent,
                limit=limit,
            )
        return tuple(sorted(found, key=lambda one: -one.position)[:limit])

    def list_next_owed(self, receiver: str, *, limit: int) -> tuple[DeliveryEntry, ...]:
        """List some of what a receiver is owed: the first of a repository before its successors."""
        with self._database.read() as connection:
            found = _read_deliveries(
                connection,
                deliveries.c.finished_at.is_(None),
                deliveries.c.receiver == receiver,
                # By the whole index: PostgreSQL does not see that its first two are given.
                order=[
                    deliveries.c.finished_at,
                    deliveries.c.receiver,
                    deliveries.c.repository_id,
                    deliveries.c.position,
                ],
                limit=limit,
                index="ix_deliveries_owed",
            )
        return tuple(found)

    def list_receivers(self) -> tuple[ReceiverEntry, ...]:
        """List what people and answers have decided about receivers."""
        statement = select(
            receivers.c.name,
            receivers.c.paused_at,
            receivers.c.disabled_at,
            receivers.c.disabled_reason,
        ).limit(1000)
        with self._database.read() as connection:
            return tuple(ReceiverEntry(*row) for row in _rows(connection, statement))

    def _count_bounded(self, questions: dict[str, Select[tuple[int]]]) -> dict[str, int]:
        if not questions:
            return {}
        counts = [
            select(func.count()).select_from(one.limit(COUNT_LIMIT).subquery()).scalar_subquery()
            for one in questions.values()
        ]
        with self._database.read() as connection:
            row = connection.execute(select(*counts)).one()
        return dict(zip(questions, row, strict=True))


def encode_cursor(listing: str, *key: str | int) -> str:
    """Return the opaque text that names a place in a list.

    >>> encode_cursor("events", 42)
    'WyJldmVudHMiLDQyXQ'
    """
    plain = json.dumps([listing, *key], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(plain).rstrip(b"=").decode()


def decode_cursor(cursor: str, listing: str, *types: type) -> tuple[Any, ...]:
    """Return the key in a cursor of that list.

    >>> decode_cursor("WyJldmVudHMiLDQyXQ", "events", int)
    (42,)

    Raises:
        InputInvalid: It is not a cursor of that list.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        kept, *key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        kept, key = None, []
    fits = len(key) == len(types) and all(map(_is_key, key, types))
    if kept != listing or not fits:
        message = "it is not a cursor of this list; take it from a page's `next`"
        raise InputInvalid(f"cursor: {message}", mistakes={"cursor": message})
    return tuple(key)


def _is_key(part: object, type_: type) -> bool:
    """Tell whether a database could have given this: no huge number, no text it cannot hold."""
    if type(part) is not type_:
        return False
    if isinstance(part, int):
        return 0 <= part < 2**63
    return isinstance(part, str) and part.isprintable()


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
)
_POLL_STATE_AT = 15

_BY_SEQUENCE = "uq_events_repository_id_sequence"
_NEWEST_EVENTS = events.c.position.desc()
_NEWEST_DELIVERIES = (deliveries.c.position.desc(),)

_EVENT = (
    events.c.position,
    events.c.id,
    events.c.sequence,
    events.c.kind,
    events.c.ref,
    events.c.before,
    events.c.after,
    events.c.forced,
    events.c.commits,
    events.c.pushed_at,
    events.c.detected_at,
    events.c.catch_up,
    events.c.state,
    events.c.repository_id,
)

_DELIVERY = (
    deliveries.c.receiver,
    deliveries.c.redelivery,
    deliveries.c.payload,
    deliveries.c.state,
    deliveries.c.confirmation,
    deliveries.c.attempts_made,
    deliveries.c.next_attempt_at,
    deliveries.c.created_at,
    deliveries.c.finished_at,
    deliveries.c.last_status,
    deliveries.c.last_error,
)


def _read_events(
    connection: Connection,
    *conditions: ColumnElement[bool],
    limit: int,
    index: str | None = None,
    order: ColumnElement[Any] = _NEWEST_EVENTS,
) -> list[EventEntry]:
    """Read the events that meet the conditions, the first ``limit`` in that order.

    They are chosen first and joined after: MariaDB would otherwise begin with the repositories,
    join all of history to them and sort it (measured with 400,000 events: 1.3 s instead of 6 ms).
    """
    first = select(*_EVENT).where(*conditions).order_by(order).limit(limit)
    chosen = _along(first, events, index).subquery("chosen")
    statement = (
        select(
            *chosen.c,
            repositories.c.name.label("repository_name"),
            repositories.c.url.label("repository_url"),
            repositories.c.forge.label("repository_forge"),
        )
        .join_from(chosen, repositories, repositories.c.id == chosen.c.repository_id)
        .order_by(chosen.c.position.desc())
        .limit(limit)
    )
    return [EventEntry(*row) for row in _rows(connection, statement)]


def _refused() -> Select[tuple[int]]:
    """Choose the events of the newest dead deliveries that were not made anew since."""
    dead = (
        select(deliveries.c.position, deliveries.c.event_position, deliveries.c.receiver)
        .where(deliveries.c.state == "dead")
        .order_by(deliveries.c.position.desc())
        .limit(DEAD_SEARCHED)
        .subquery("dead")
    )
    later = deliveries.alias("later")
    anew = select(later.c.position).where(
        later.c.event_position == dead.c.event_position,
        later.c.receiver == dead.c.receiver,
        later.c.position > dead.c.position,
    )
    return select(dead.c.event_position).where(~anew.exists())


def _read_deliveries(
    connection: Connection,
    *conditions: ColumnElement[bool],
    limit: int,
    index: str | None = None,
    order: Sequence[ColumnElement[Any]] = _NEWEST_DELIVERIES,
) -> list[DeliveryEntry]:
    """Read the deliveries that meet the conditions, the first ``limit`` in that order.

    They are told newest first, and joined after they are chosen, as events are.
    """
    columns = (deliveries.c.position, deliveries.c.id, deliveries.c.event_position, *_DELIVERY)
    first = select(*columns).where(*conditions).order_by(*order).limit(limit)
    chosen = _along(first, deliveries, index).subquery("chosen")
    statement = (
        select(
            chosen.c.position,
            chosen.c.id,
            events.c.id.label("event_id"),
            repositories.c.name.label("repository_name"),
            events.c.ref,
            events.c.kind,
            *(chosen.c[column.name] for column in _DELIVERY),
        )
        .join_from(chosen, events, events.c.position == chosen.c.event_position)
        .join(repositories, repositories.c.id == events.c.repository_id)
        .order_by(chosen.c.position.desc())
        .limit(limit)
    )
    return [DeliveryEntry(*row) for row in _rows(connection, statement)]


def _along(statement: Select[Any], table: Table, index: str | None) -> Select[Any]:
    """Tell MariaDB which index to go along; the others find it themselves.

    Given «this state, below that position» it looks up the state alone and walks from the newest
    down to the position, so that a page costs more the deeper it lies (measured with 400,000
    events: 360 ms instead of 6 ms).
    """
    if index is None:
        return statement
    hint = f"FORCE INDEX ({index})"
    return statement.with_hint(table, hint, "mysql").with_hint(table, hint, "mariadb")


def _event_index(wanted: EventFilter) -> str:
    """Return the index that leads to the fewest events, ending in the position."""
    if wanted.repository_id is not None:
        return "ix_events_repository_id_position"
    if wanted.state is not None and (wanted.kind is None or wanted.state in RARE_STATES):
        return "ix_events_state_position"
    return "PRIMARY" if wanted.kind is None else "ix_events_kind_position"


def _delivery_index(wanted: DeliveryFilter) -> str:
    """Return the index that leads to the fewest deliveries, ending in the position."""
    if wanted.state is not None and (wanted.receiver is None or wanted.state != "delivered"):
        return "ix_deliveries_state_position"
    return "PRIMARY" if wanted.receiver is None else "ix_deliveries_receiver_position"


def _rows(connection: Connection, statement: Select[Any]) -> list[Sequence[Any]]:
    """Read all rows of a bounded statement, in its order.

    On SQLite they come as one JSON value: its driver gives Python's global lock away at every row,
    and a hundred rows then wait a hundred times behind busy pollers (measured with 32 of them: 54
    ms instead of 1,730 ms for 100 rows).
    """
    if connection.dialect.name != "sqlite":
        return [tuple(row) for row in connection.execute(statement)]
    inner = statement.subquery()
    packed = select(func.json_group_array(func.json_array(*inner.c)))
    columns = list(zip(*json.loads(connection.execute(packed).scalar_one()), strict=True))
    for at, column in enumerate(inner.c if columns else ()):
        read = _reader(column.type, connection.dialect)
        if read is not None:
            columns[at] = tuple(None if value is None else read(value) for value in columns[at])
    return list(zip(*columns, strict=True))


def _reader(type_: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """Return what makes a value of SQLite's text; None where the text is the value."""
    if isinstance(type_, UtcDateTime):
        return _moment  # a page reads thousands, and SQLAlchemy's own way takes four times as long
    return type_.dialect_impl(dialect).result_processor(dialect, None)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text + "+00:00")


def _page(
    found: list[T],
    limit: int,
    listing: str,
    key: Callable[[T], tuple[str | int, ...]],
    floor: int | None = None,
) -> Page[T]:
    """Cut off what was read beyond the page, and say where the next one begins.

    ``floor`` is the position down to which a bounded stretch of history was looked at.
    """
    if len(found) > limit:
        return Page(tuple(found[:limit]), encode_cursor(listing, *key(found[limit - 1])))
    return Page(tuple(found), encode_cursor(listing, floor) if floor else None)


def _repository(row: Sequence[Any]) -> RepositoryEntry:
    poll = PollState(row[0], {}, *row[_POLL_STATE_AT:])
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


def _event_conditions(wanted: EventFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.repository_id is not None:
        conditions.append(events.c.repository_id == wanted.repository_id)
    if wanted.ref is not None and wanted.ref.startswith("refs/"):
        conditions.append(events.c.ref == wanted.ref)
    elif wanted.ref is not None:
        conditions.append(events.c.ref.in_([BRANCH_PREFIX + wanted.ref, TAG_PREFIX + wanted.ref]))
    if wanted.kind is not None:
        conditions.append(events.c.kind == wanted.kind)
    if wanted.state is not None:
        conditions.append(events.c.state == wanted.state)
    if wanted.since is not None:
        conditions.append(events.c.detected_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(events.c.detected_at < wanted.until)
    return conditions


def _needs_stretch(wanted: EventFilter) -> bool:
    """Tell whether a page could look at all of history and still find little."""
    if wanted.repository_id is not None or wanted.state in RARE_STATES:
        return False
    return wanted.ref is not None or (wanted.kind is not None and wanted.state is not None)


def _between(connection: Connection, wanted: EventFilter) -> list[ColumnElement[bool]]:
    """Bound the positions by the moments, so that no page walks through the rest of history.

    The bounds are asked for first: MariaDB makes no range of a subquery's result.
    """
    conditions: list[ColumnElement[bool]] = []
    at, position = events.c.detected_at, events.c.position
    if wanted.since is not None:
        first = select(position).where(at >= wanted.since - DISORDER).order_by(at).limit(1)
        found = connection.execute(first).scalar()
        conditions.append(false() if found is None else position >= found)
    if wanted.until is not None:
        last = select(position).where(at <= wanted.until + DISORDER).order_by(at.desc()).limit(1)
        found = connection.execute(last).scalar()
        conditions.append(false() if found is None else position <= found)
    return conditions


def _last_position(connection: Connection, position: ColumnElement[int]) -> int:
    return connection.execute(select(func.max(position))).scalar() or 0


def _detail(connection: Connection, delivery: DeliveryEntry) -> DeliveryDetail:
    statement = (
        select(
            attempts.c.number,
            attempts.c.started_at,
            attempts.c.duration_ms,
            attempts.c.status,
            attempts.c.error,
            attempts.c.answer,
        )
        .where(attempts.c.delivery_position == delivery.position)
        .order_by(attempts.c.number.desc())
        .limit(ATTEMPTS_SHOWN)
    )
    tries = [AttemptEntry(*row) for row in _rows(connection, statement)]
    request = select(deliveries.c.body, deliveries.c.headers).where(
        deliveries.c.position == delivery.position
    )
    body, headers = connection.execute(request).one()
    return DeliveryDetail(delivery, tuple(reversed(tries)), body, headers)
