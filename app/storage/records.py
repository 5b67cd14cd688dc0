"""What goes in and out of the database: frozen values, never rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.domain.delivery import Answer, DeliveryState
from app.domain.details import Details
from app.domain.event import Event


@dataclass(frozen=True, slots=True)
class Watched:
    """One repository as the database knows it: its identity, its snapshot, how polling fares.

    ``digest`` is None until the baseline is taken. ``watched`` holds the branch and tag patterns
    that the snapshot was taken with. ``validator`` belongs to the snapshot of that ``digest``.
    ``facts`` is what the forge tells of it, as far as it did: ``moved_to`` (where it is now, as
    the forge spells it), ``is_archived``, ``is_disabled``.
    """

    id: int
    key: str
    name: str
    url: str
    forge: str
    sequence: int = 0
    digest: str | None = None
    watched: Mapping[str, list[str]] | None = None
    refs_count: int = 0
    default_branch: str | None = None
    last_change_at: datetime | None = None
    validator: Mapping[str, str] = field(default_factory=dict)
    read_by: str | None = None
    last_poll_at: datetime | None = None
    last_outcome: str | None = None
    next_poll_at: datetime | None = None
    next_poll_reason: str | None = None
    interval_s: float | None = None
    failures: int = 0
    error_code: str | None = None
    error_message: str | None = None
    error_since: datetime | None = None
    paused_at: datetime | None = None
    cadence: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Owed:
    """That a receiver is owed an event, in a payload format."""

    event_id: str
    receiver: str
    payload: str


@dataclass(frozen=True, slots=True)
class Advance:
    """A repository's step from one snapshot to the next, with all that follows from it.

    It is taken only if the database still stands at ``from_sequence`` and ``from_digest``.
    ``upserts`` are the refs to write, ``removals`` those to delete; ``events`` continue the
    sequence without a gap. ``details`` holds what is already known of some, by their ids.
    ``hold`` keeps all that is owed for a person to release.
    """

    repository_id: int
    from_sequence: int
    from_digest: str | None
    to_digest: str
    watched: Mapping[str, list[str]]
    refs_count: int
    default_branch: str | None
    upserts: Mapping[str, str]
    removals: tuple[str, ...]
    events: tuple[Event, ...]
    owed: tuple[Owed, ...]
    at: datetime
    hold: bool = False
    details: Mapping[str, Details] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PollState:
    """How polling fares for one repository; written behind, together with others'."""

    repository_id: int
    validator: Mapping[str, str]
    read_by: str | None
    last_poll_at: datetime | None
    last_outcome: str | None
    next_poll_at: datetime | None
    next_poll_reason: str | None
    interval_s: float | None
    failures: int
    error_code: str | None
    error_message: str | None
    error_since: datetime | None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PollRecord:
    """One poll that took place.

    ``reason`` is why then (schedule, wake, start, retry); ``outcome`` is changed, unchanged or
    failed. Unchanged polls are counted by the hour; the others are also kept one by one.
    """

    repository_id: int
    started_at: datetime
    duration_ms: int
    reason: str
    outcome: str
    read_by: str | None = None
    changes: int = 0
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class Lane:
    """The first unfinished delivery of one receiver from one repository (its successors wait).

    ``due_at`` is when it may be tried next; ``position`` orders all deliveries ever owed.
    """

    receiver: str
    repository_id: int
    position: int
    delivery_id: str
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Prepared:
    """A delivery's bytes and headers, made for its first attempt and kept for all others.

    ``body`` is None where none could be made, and then nothing is kept. ``payload`` is the format
    that they are spelled in, None where it is the one that was owed.
    """

    position: int
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    payload: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What an attempt came to, and what that makes of its delivery.

    ``state`` is delivered, dead or waiting; ``retry_at`` is set for waiting alone.
    ``confirmation`` is ``awaited`` where the receiver's own word is still to come.
    """

    position: int
    started_at: datetime
    duration_ms: int
    answer: Answer
    state: DeliveryState
    retry_at: datetime | None = None
    confirmation: str | None = None
