"""Which repositories, events and deliveries are meant, in lists and where many are done at once."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement

from app.storage.tables import deliveries


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
    hold_id: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries; None means any.

    They were owed from ``since`` on and before ``until``.
    """

    state: str | None = None
    receiver: str | None = None
    repository_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    confirmation: str | None = None


def delivery_conditions(wanted: DeliveryFilter) -> list[ColumnElement[bool]]:
    """Spell a filter for the database, one condition for each thing that it names."""
    table = deliveries.c
    conditions: list[ColumnElement[bool]] = []
    if wanted.state is not None:
        conditions.append(table.state == wanted.state)
    if wanted.receiver is not None:
        conditions.append(table.receiver == wanted.receiver)
    if wanted.repository_id is not None:
        conditions.append(table.repository_id == wanted.repository_id)
    if wanted.confirmation is not None:
        conditions.append(table.confirmation == wanted.confirmation)
    if wanted.since is not None:
        conditions.append(table.created_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(table.created_at < wanted.until)
    return conditions
