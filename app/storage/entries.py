"""What pages and API are told of the database: frozen values, fields in the order of columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from app.storage.records import PollState

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; ``next`` is the cursor of the page after it, None at the end.

    A page may hold fewer than were asked for, even none, and still have a next: a question that no
    index answers looks at a bounded stretch of history at a time.
    """

    items: tuple[T, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class RepositoryEntry:
    """One repository: what it is, its snapshot's summary, and how polling fares as stored.

    ``digest`` is None until the baseline is taken; ``watched`` holds the patterns it was taken
    with. The newest poll may not be written yet, so ``poll`` can be some seconds old.
    """

    poll: PollState
    id: int
    name: str
    url: str
    forge: str
    labels: Mapping[str, str]
    enabled: bool
    paused_at: datetime | None
    retired_at: datetime | None
    created_at: datetime
    sequence: int
    digest: str | None
    watched: Mapping[str, list[str]] | None
    refs_count: int
    default_branch: str | None
    last_change_at: datetime | None


@dataclass(frozen=True, slots=True)
class RefEntry:
    """One ref of a repository's snapshot, and when we saw it come to where it is."""

    name: str
    commit_id: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class PollEntry:
    """One poll that changed something or failed."""

    position: int
    started_at: datetime
    duration_ms: int
    reason: str
    outcome: str
    read_by: str | None
    changes: int
    error_code: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class PollHour:
    """How many polls of one repository ended how, in the hour that begins at ``hour``."""

    hour: datetime
    changed: int
    unchanged: int
    failed: int
    took_ms: int


@dataclass(frozen=True, slots=True)
class EventEntry:
    """One event, with the repository it belongs to.

    ``commits`` are as ``domain.details.commit_to_json`` spells them, None where nobody told;
    ``commits_count`` counts those that are left out as well. ``paths`` is as
    ``domain.paths.touched_to_json`` spells it. ``hold_id`` names the storm that it was found in.
    """

    position: int
    id: str
    sequence: int
    kind: str
    ref: str
    before: str
    after: str
    forced: bool | None
    commits: list[Any] | None
    commits_count: int | None
    pusher: Mapping[str, Any] | None
    paths: Mapping[str, Any] | None
    pushed_at: datetime | None
    detected_at: datetime
    catch_up: bool
    state: str
    hold_id: str | None
    repository_id: int
    repository_name: str
    repository_url: str
    repository_forge: str


@dataclass(frozen=True, slots=True)
class DeliveryEntry:
    """One delivery, with the event and repository it belongs to."""

    position: int
    id: str
    event_id: str
    repository_name: str
    ref: str
    kind: str
    receiver: str
    redelivery: int
    payload: str
    state: str
    confirmation: str | None
    attempts_made: int
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    last_status: int | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class AttemptEntry:
    """One try of a delivery; ``duration_ms`` is None while it is under way or was cut short."""

    number: int
    started_at: datetime
    duration_ms: int | None
    status: int | None
    error: str | None
    answer: str | None


@dataclass(frozen=True, slots=True)
class DeliveryDetail:
    """A delivery with its newest attempts (oldest first) and the request it makes.

    ``body`` and ``headers`` are None before the first attempt.
    """

    delivery: DeliveryEntry
    attempts: tuple[AttemptEntry, ...]
    body: bytes | None
    headers: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Reaction:
    """How long one change took from push to detection."""

    repository_id: int
    pushed_at: datetime
    detected_at: datetime


@dataclass(frozen=True, slots=True)
class HourCount:
    """What happened in the hour that begins at ``hour``: changes found, deliveries finished."""

    hour: datetime
    changes: int
    finished: int


@dataclass(frozen=True, slots=True)
class ReceiverEntry:
    """What people and answers have decided about a receiver.

    ``opened_at`` is since when it fails so often that one delivery at a time tries it.
    """

    name: str
    paused_at: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None
    opened_at: datetime | None = None
    opened_reason: str | None = None


@dataclass(frozen=True, slots=True)
class HoldEntry:
    """One storm: ``state`` is held, released or dismissed.

    ``changes`` counts the events it holds, which are between the two sequence numbers.
    """

    id: str
    repository_name: str
    created_at: datetime
    changes: int
    state: str
    finished_at: datetime | None
    first_sequence: int
    last_sequence: int


@dataclass(frozen=True, slots=True)
class HookEntry:
    """One row as pages and API list it; fields in the order of the columns.

    ``lag_ms`` is from when polling found the event to when the webhook came, negative where the
    webhook was first. ``push`` holds ``pusher``, ``pushed_at`` and ``forced`` as far as it told.
    """

    position: int
    received_at: datetime
    forge: str
    delivery: str | None
    repository_id: int | None
    ref: str | None
    before: str | None
    after: str | None
    push: Mapping[str, Any] | None
    verdict: str
    reason: str | None
    event_id: str | None
    lag_ms: int | None
    repository_name: str | None


@dataclass(frozen=True, slots=True)
class HookSums:
    """How the newest webhooks of a forge fared; ``median_lag_ms`` is of those that were told.

    ``pending`` are those that polling has not answered yet. The lag is from detection to webhook:
    negative where webhooks come first.
    """

    delivered: int = 0
    late: int = 0
    missed: int = 0
    forged: int = 0
    contradicted: int = 0
    ignored: int = 0
    pending: int = 0
    median_lag_ms: int | None = None
    last_received_at: datetime | None = None
