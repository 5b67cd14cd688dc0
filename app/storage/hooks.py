"""What the forges' own webhooks said, beside what polling found."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, insert, or_, select, update

from app.domain.details import Person, person_to_json
from app.domain.hook import (
    FoundEvent,
    HookChange,
    Judgement,
    Told,
    Verdict,
)
from app.domain.refs import BRANCH_PREFIX, TAG_PREFIX
from app.storage.database import Database
from app.storage.lease import check_fence
from app.storage.tables import events, hooks, refs, repositories
from app.storage.types import milliseconds, plain

# Choices: how many are looked at in one go.
TAKEN_AT_ONCE = 200
JUDGED_AT_ONCE = 2_000
NAMED_AT_ONCE = 500  # in one statement; older SQLites allow 999
LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class HookRecord:
    """One webhook's change, or a webhook that was refused.

    ``repository`` is its name here. ``part`` counts the changes of one delivery.
    """

    received_at: datetime
    forge: str
    verdict: Verdict
    delivery: str | None = None
    part: int = 0
    repository: str | None = None
    change: HookChange | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """What another process took; ``repository`` is None where none is watched under that name."""

    position: int
    repository: str | None
    change: HookChange | None


_ID_BY_NAME = (
    select(repositories.c.id)
    .where(repositories.c.name == bindparam("of_name"), repositories.c.retired_at.is_(None))
    .order_by(repositories.c.id.desc())
    .limit(1)
)
_IS_KNOWN = select(hooks.c.position).where(
    hooks.c.forge == bindparam("of_forge"),
    hooks.c.delivery == bindparam("of_delivery"),
    hooks.c.part == bindparam("of_part"),
)
_SETTLED = (Verdict.DELIVERED.value, Verdict.LATE.value)


class Hooks:
    """Keeps what webhooks said and what became of it; safe to use from many threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # What intake asks.

    def add(self, records: Sequence[HookRecord]) -> "Future[int]":
        """Write down what came; returns at once. A delivery that is known already is left out.

        Returns:
            How many were new, when they are durable.

        Raises:
            StorageUnavailable: The database is closed. All else reaches the future.
        """
        return self._database.write_soon(partial(_add, records=records))

    def moved(self) -> dict[str, str]:
        """Return where repositories have moved to, as their forges told, by their names here."""
        question = select(repositories.c.name, repositories.c.facts).where(
            repositories.c.facts.is_not(None), repositories.c.retired_at.is_(None)
        )
        with self._database.read() as connection:
            found = [(str(name), facts) for name, facts in connection.execute(question)]
        return {name: facts["moved_to"] for name, facts in found if facts.get("moved_to")}

    # What the active process asks.

    def list_received(self) -> list[Received]:
        """List what another process took and nobody has acted on, oldest first."""
        question = (
            select(
                hooks.c.position,
                repositories.c.name,
                hooks.c.ref,
                hooks.c.before,
                hooks.c.after,
                hooks.c.push,
            )
            .join_from(
                hooks, repositories, repositories.c.id == hooks.c.repository_id, isouter=True
            )
            .where(hooks.c.verdict == Verdict.RECEIVED.value)
            .order_by(hooks.c.position)
            .limit(TAKEN_AT_ONCE)
        )
        with self._database.read() as connection:
            return [_received(*row) for row in connection.execute(question)]

    def take(
        self, positions: Sequence[int], *, verdict: Verdict, reason: str | None = None
    ) -> None:
        """Note what was made of some that were only received."""
        changed = (
            update(hooks)
            .where(hooks.c.position.in_(positions), hooks.c.verdict == Verdict.RECEIVED.value)
            .values(verdict=verdict.value, reason=reason)
        )
        if positions:
            self._database.write(lambda connection: connection.execute(changed))

    def list_pending(self) -> dict[int, list[Told]]:
        """List what waits for its verdict, oldest first, by repository."""
        question = (
            select(
                hooks.c.repository_id,
                hooks.c.position,
                hooks.c.received_at,
                hooks.c.ref,
                hooks.c.before,
                hooks.c.after,
            )
            .where(hooks.c.verdict == Verdict.PENDING.value, hooks.c.repository_id.is_not(None))
            .order_by(hooks.c.position)
            .limit(JUDGED_AT_ONCE)
        )
        found: dict[int, list[Told]] = {}
        with self._database.read() as connection:
            for repository_id, *told in connection.execute(question):
                found.setdefault(repository_id, []).append(Told(*told))
        return found

    def found_since(self, repository_id: int, since: datetime) -> list[FoundEvent]:
        """List a repository's newest events since then, newest first."""
        question = (
            select(events.c.id, events.c.ref, events.c.before, events.c.after, events.c.detected_at)
            .where(events.c.repository_id == repository_id, events.c.detected_at >= since)
            .order_by(events.c.position.desc())
            .limit(NAMED_AT_ONCE)
        )
        with self._database.read() as connection:
            return [FoundEvent(*row) for row in connection.execute(question)]

    def standing_of(self, repository_id: int, wanted: Iterable[str]) -> dict[str, str]:
        """Return where the snapshot has these refs; those that are not there are left out."""
        question = select(refs.c.name, refs.c.commit_id).where(
            refs.c.repository_id == repository_id,
            refs.c.name.in_(list(wanted)[:NAMED_AT_ONCE]),
        )
        with self._database.read() as connection:
            return {str(name): str(commit) for name, commit in connection.execute(question)}

    def settled(self, repository_id: int, event_ids: Iterable[str]) -> frozenset[str]:
        """Return which of these events a webhook has told of."""
        question = select(hooks.c.event_id).where(
            hooks.c.repository_id == repository_id,
            hooks.c.event_id.in_(list(event_ids)[:NAMED_AT_ONCE]),
            hooks.c.verdict.in_(_SETTLED),
        )
        with self._database.read() as connection:
            return frozenset(str(one) for one in connection.scalars(question))

    def settle(self, judgements: Sequence[Judgement], *, fence: int) -> None:
        """Write verdicts down; an event that a late webhook tells of was not missed after all.

        Raises:
            LeaseLost: Another process judges now; nothing was written.
        """
        if judgements:
            work = partial(_settle, judgements=judgements, fence=fence)
            self._database.write(work)

    def miss(
        self,
        forges: Sequence[str],
        *,
        after: datetime,
        before: datetime,
        limit: int,
        fence: int,
    ) -> int:
        """Note which events no webhook told of; return how many.

        Args:
            forges: Those whose webhooks are taken.
            after: Events that were found later than this,
            before: and not later than this.
            limit: The most to note.
            fence: The lease's number.

        Raises:
            LeaseLost: Another process judges now; nothing was written.
        """
        question = _unheard(forges, after, before).limit(limit)
        return self._database.write(partial(_miss, question=question, fence=fence))


def _received(
    position: int,
    repository: str | None,
    ref: str | None,
    before: str | None,
    after: str | None,
    push: Mapping[str, Any] | None,
) -> Received:
    if ref is None:
        return Received(position, repository, None)
    told = push or {}
    pushed_at = told.get("pushed_at")
    change = HookChange(
        ref,
        before,
        after,
        pusher=Person(**told["pusher"]) if told.get("pusher") else None,
        pushed_at=datetime.fromisoformat(pushed_at) if pushed_at else None,
        forced=told.get("forced"),
    )
    return Received(position, repository, change)


def _add(connection: Connection, records: Sequence[HookRecord]) -> int:
    ids: dict[str | None, int | None] = {None: None}
    added = 0
    for record in records:
        if record.repository not in ids:
            ids[record.repository] = connection.scalar(_ID_BY_NAME, {"of_name": record.repository})
        named = {"of_forge": record.forge, "of_delivery": record.delivery, "of_part": record.part}
        if record.delivery is not None and connection.scalar(_IS_KNOWN, named) is not None:
            continue
        connection.execute(insert(hooks), _row(record, ids[record.repository]))
        added += 1
    return added


def _row(record: HookRecord, repository_id: int | None) -> dict[str, Any]:
    change = record.change
    return {
        "received_at": record.received_at,
        "forge": record.forge,
        "delivery": record.delivery,
        "part": record.part,
        "repository_id": repository_id,
        "ref": change.ref if change else None,
        "before": change.before if change else None,
        "after": change.after if change else None,
        "push": _push_json(change) if change else None,
        "verdict": record.verdict.value,
        "reason": plain(record.reason, LONGEST_REASON),
    }


def _push_json(change: HookChange) -> dict[str, Any] | None:
    told: dict[str, Any] = {}
    if change.pusher is not None:
        told["pusher"] = person_to_json(change.pusher)
    if change.pushed_at is not None:
        told["pushed_at"] = change.pushed_at.isoformat()
    if change.forced is not None:
        told["forced"] = change.forced
    return told or None


def _settle(connection: Connection, judgements: Sequence[Judgement], fence: int) -> None:
    check_fence(connection, fence)
    one = (
        update(hooks)
        .where(hooks.c.position == bindparam("of"), hooks.c.verdict == Verdict.PENDING.value)
        .values(
            verdict=bindparam("to"),
            reason=bindparam("why"),
            event_id=bindparam("of_event"),
            lag_ms=bindparam("lag"),
        )
    )
    connection.execute(one, [_judgement_row(judgement) for judgement in judgements])
    told = [one.event_id for one in judgements if one.event_id is not None]
    for begin in range(0, len(told), NAMED_AT_ONCE):
        connection.execute(
            delete(hooks).where(
                hooks.c.event_id.in_(told[begin : begin + NAMED_AT_ONCE]),
                hooks.c.verdict == Verdict.MISSED.value,
            )
        )


def _judgement_row(judgement: Judgement) -> dict[str, Any]:
    return {
        "of": judgement.position,
        "to": judgement.verdict.value,
        "why": plain(judgement.reason, LONGEST_REASON),
        "of_event": judgement.event_id,
        "lag": _signed_ms(judgement.lag) if judgement.lag is not None else None,
    }


def _signed_ms(lag: timedelta) -> int:
    ms = round(lag.total_seconds() * 1000)
    return milliseconds(ms) if ms >= 0 else -milliseconds(-ms)


def _unheard(forges: Sequence[str], after: datetime, before: datetime) -> Select[Any]:
    """Ask for events that no webhook told of although webhooks come for their repository."""
    of_event, earlier = hooks.alias(), hooks.alias()
    is_told = select(of_event.c.position).where(of_event.c.event_id == events.c.id)
    # A repository that no webhook ever came for has none at its forge.
    has_webhook = select(earlier.c.position).where(
        earlier.c.repository_id == events.c.repository_id,
        earlier.c.delivery.is_not(None),
        earlier.c.received_at < events.c.detected_at,
    )
    return (
        select(
            events.c.id,
            events.c.repository_id,
            events.c.ref,
            events.c.before,
            events.c.after,
            events.c.detected_at,
            repositories.c.forge,
        )
        .join(repositories, repositories.c.id == events.c.repository_id)
        .where(
            events.c.detected_at > after,
            events.c.detected_at <= before,
            # While we were away no webhook could come.
            events.c.catch_up.is_(False),
            or_(events.c.ref.startswith(BRANCH_PREFIX), events.c.ref.startswith(TAG_PREFIX)),
            repositories.c.forge.in_(forges),
            ~is_told.correlate(events).exists(),
            has_webhook.correlate(events).exists(),
        )
        .order_by(events.c.detected_at)
    )


def _miss(connection: Connection, question: Select[Any], fence: int) -> int:
    check_fence(connection, fence)
    found = [_missed_row(row) for row in connection.execute(question)]
    if found:
        connection.execute(insert(hooks), found)
    return len(found)


def _missed_row(event: Any) -> dict[str, Any]:
    return {
        "received_at": event.detected_at,
        "forge": event.forge,
        "part": 0,
        "repository_id": event.repository_id,
        "ref": event.ref,
        "before": event.before,
        "after": event.after,
        "verdict": Verdict.MISSED.value,
        "reason": "polling found it, and no webhook told of it",
        "event_id": event.id,
    }
