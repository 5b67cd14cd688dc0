"""How lanes are read: each by its first, one by its next deliveries, one shard by what is due."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Integer,
    Row,
    Select,
    and_,
    bindparam,
    func,
    or_,
    select,
)

from app.domain.delivery import DeliveryState, Parcel
from app.domain.details import Details, Person, commit_from_json
from app.domain.event import Event, EventKind
from app.domain.paths import touched_from_json
from app.storage.records import Lane
from app.storage.tables import deliveries, events, repositories

IS_OWED = and_(deliveries.c.finished_at.is_(None), deliveries.c.state != DeliveryState.HELD.value)
# A choice: when so many lanes got something at once, all are read together.
MANY_LANES = 200

_LANE = select(
    deliveries.c.receiver,
    deliveries.c.repository_id,
    deliveries.c.position,
    deliveries.c.id,
    deliveries.c.created_at,
    deliveries.c.next_attempt_at,
    deliveries.c.claimed_until,
    deliveries.c.claim_fence,
)
_FIRSTS = (
    select(func.min(deliveries.c.position).label("position"))
    .where(IS_OWED)
    .group_by(deliveries.c.receiver, deliveries.c.repository_id)
    .subquery()
)
_ALL_FIRSTS = _LANE.join(_FIRSTS, deliveries.c.position == _FIRSTS.c.position)
_CAME_AFTER = (
    select(deliveries.c.receiver, deliveries.c.repository_id)
    .where(deliveries.c.position > bindparam("after"))
    .order_by(deliveries.c.position)
)
# What is being sent is little, and its index is short.
_BEING_SENT = _LANE.where(deliveries.c.state == DeliveryState.SENDING.value)
_EVENT_FIELDS = (
    "id",
    "sequence",
    "kind",
    "ref",
    "before",
    "after",
    "forced",
    "detected_at",
    "pushed_at",
    "catch_up",
    "paths",
)
_DETAIL_FIELDS = ("commits", "commits_count", "pusher")
_PARCEL = (
    select(
        deliveries,
        *(events.c[name].label(f"event_{name}") for name in (*_EVENT_FIELDS, *_DETAIL_FIELDS)),
        repositories.c.name.label("repository_name"),
        repositories.c.url.label("repository_url"),
        repositories.c.forge.label("repository_forge"),
        repositories.c.default_branch,
        repositories.c.labels,
    )
    .join(events, deliveries.c.event_position == events.c.position)
    .join(repositories, deliveries.c.repository_id == repositories.c.id)
)


@dataclass(frozen=True, slots=True)
class Of:
    """Which lane."""

    receiver: str
    repository_id: int

    @property
    def parameters(self) -> dict[str, Any]:
        """What the statements ask for."""
        return {"of_receiver": self.receiver, "of_repository": self.repository_id}


def read_all(connection: Connection, fence: int) -> list[Lane]:
    """List every lane that has something unfinished, by its first."""
    return [_lane(row, fence) for row in connection.execute(_ALL_FIRSTS)]


def read_since(connection: Connection, position: int, fence: int) -> list[Lane]:
    """List the lanes to which something came after ``position``, by their first."""
    # Each of these lanes is asked for its first, which one look at the index answers: a receiver
    # that is down may be owed a hundred thousand, and this is asked whenever one more comes. One
    # statement for all of them is not planned well by every database.
    came = connection.execute(_CAME_AFTER, {"after": position})
    lanes = dict.fromkeys(Of(row.receiver, row.repository_id) for row in came)
    if len(lanes) > MANY_LANES:
        return read_all(connection, fence)
    first = _first_of_lane(connection.dialect.name)
    firsts = [connection.execute(first, of.parameters).first() for of in lanes]
    return [_lane(row, fence) for row in firsts if row is not None]


def read_parcels(connection: Connection, of: Of, *, limit: int, fence: int) -> list[Parcel]:
    """List a lane's first unfinished deliveries in their order."""
    wanted = _next_of_lane(connection.dialect.name)
    rows = connection.execute(wanted, {**of.parameters, "most": limit})
    return [_parcel(row, fence) for row in rows]


def read_shard(
    connection: Connection,
    of: Of,
    shard: tuple[int, int],
    *,
    limit: int,
    fence: int,
    now: datetime,
) -> list[Parcel]:
    """List what is due of a lane's shard, in its order; else the one that is due soonest."""
    number, count = shard
    asked = {"number": number, "count": count, "fence": fence, "now": now}
    free = _free_of_shard(connection.dialect.name).limit(limit)
    rows = connection.execute(free, of.parameters | asked).all()
    due = [row.position for row in rows if _due_at(row, fence) <= now]
    if not due:
        claimed = (
            row
            for row in connection.execute(_BEING_SENT)
            if Of(row.receiver, row.repository_id) == of and row.position % count == number
        )
        due_at = {row.position: _due_at(row, fence) for row in (*rows[:1], *claimed)}
        due = sorted(due_at, key=lambda position: due_at[position])[:1]
    wanted = _PARCEL.where(deliveries.c.position.in_(due)).order_by(deliveries.c.position)
    return [_parcel(row, fence) for row in connection.execute(wanted)] if due else []


@cache
def _free_of_shard(dialect: str) -> Select[Any]:
    """Choose what nobody sends now of a lane's shard, the longest due first.

    ``ix_deliveries_due`` has it ready in this order, as ``_in_order`` says of the other. What is
    held stands in it without a moment.
    """
    stands = and_(
        deliveries.c.claim_fence >= bindparam("fence"),
        deliveries.c.claimed_until > bindparam("now"),
    )
    is_free = or_(deliveries.c.claim_fence.is_(None), ~stands)
    of_shard = deliveries.c.position % bindparam("count", type_=Integer) == bindparam(
        "number", type_=Integer
    )
    in_order = (deliveries.c.finished_at,) if dialect == "postgresql" else ()
    return (
        _LANE.where(
            IS_OWED,
            deliveries.c.receiver == bindparam("of_receiver"),
            deliveries.c.repository_id == bindparam("of_repository"),
            deliveries.c.next_attempt_at.is_not(None),
            of_shard,
            is_free,
        )
        .order_by(*in_order, deliveries.c.next_attempt_at, deliveries.c.position)
        .with_hint(deliveries, "FORCE INDEX (ix_deliveries_due)", "mysql")
    )


# Made once for each kind of database: SQLAlchemy takes longer to make a statement than SQLite to
# run it.


@cache
def _first_of_lane(dialect: str) -> Select[Any]:
    return _in_order(_LANE, dialect).limit(1)


@cache
def _next_of_lane(dialect: str) -> Select[Any]:
    return _in_order(_PARCEL, dialect).limit(bindparam("most", type_=Integer))


def _in_order(wanted: Select[Any], dialect: str) -> Select[Any]:
    """Choose what is owed of one lane, in its order, as ``ix_deliveries_owed`` has it ready.

    All of it is unfinished, so the order is that of positions. PostgreSQL finds it in the index
    only when it is spelled as the index is, MariaDB only when it is not, and when it is told to.
    Otherwise a lane of 100,000 is sorted for its first (100 ms to 250 ms, November 2026).
    """
    is_spelled_out = dialect == "postgresql"
    in_order = (deliveries.c.finished_at,) if is_spelled_out else ()
    return (
        wanted.where(
            IS_OWED,
            deliveries.c.receiver == bindparam("of_receiver"),
            deliveries.c.repository_id == bindparam("of_repository"),
        )
        .order_by(*in_order, deliveries.c.position)
        .with_hint(deliveries, "FORCE INDEX (ix_deliveries_owed)", "mysql")
    )


def _lane(row: Any, fence: int) -> Lane:
    return Lane(row.receiver, row.repository_id, row.position, row.id, _due_at(row, fence))


def _due_at(row: Any, fence: int) -> datetime:
    """Say when a delivery may be tried: an earlier holder's claim counts no more."""
    is_ours = row.claim_fence is not None and row.claim_fence >= fence
    due_at: datetime | None = row.claimed_until if is_ours else row.next_attempt_at
    return due_at or row.created_at


def _parcel(row: Row[Any], fence: int) -> Parcel:
    told = {name: getattr(row, f"event_{name}") for name in _EVENT_FIELDS}
    told["kind"] = EventKind(told["kind"])
    told["paths"] = None if told["paths"] is None else touched_from_json(told["paths"])
    return Parcel(
        position=row.position,
        delivery_id=row.id,
        receiver=row.receiver,
        payload=row.payload,
        redelivery=row.redelivery,
        attempts_made=row.attempts_made,
        first_attempt_at=row.first_attempt_at,
        due_at=_due_at(row, fence),
        body=row.body,
        headers=row.headers,
        event=Event(**told),
        repository_id=row.repository_id,
        repository_name=row.repository_name,
        repository_url=row.repository_url,
        repository_forge=row.repository_forge,
        default_branch=row.default_branch,
        labels=row.labels,
        details=_details(row),
        asked_until=row.asked_until,
    )


def _details(row: Row[Any]) -> Details | None:
    """Read what the forge told of a change; None where it was not asked or did not tell."""
    if row.event_commits is None and row.event_pusher is None:
        return None
    return Details(
        commits=tuple(map(commit_from_json, row.event_commits or ())),
        total=row.event_commits_count,
        forced=row.event_forced,
        pusher=None if row.event_pusher is None else Person(**row.event_pusher),
        pushed_at=row.event_pushed_at,
    )
