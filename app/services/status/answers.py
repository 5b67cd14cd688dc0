"""What is told of everything: frozen values, for pages and API alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.domain.allowance import Credential, Spent
from app.domain.plan import ForgePlan, ProbeHealth
from app.storage.entries import (
    DeliveryDetail,
    EventEntry,
    HookEntry,
    HookSums,
    PollEntry,
    PollHour,
)


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from push to detection, the median and the 95th percentile; None where unknown."""

    p50: float | None = None
    p95: float | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong: a code for machines, sentences for people, and since when."""

    code: str
    message: str
    since: datetime | None
    remedy: str


@dataclass(frozen=True, slots=True)
class RepositoryStatus:
    """How one repository fares; ``state`` is new, ok, failing, paused or retired.

    ``error`` is None unless the last poll failed. ``patterns`` are the branch and tag patterns that
    its snapshot was taken with, None before the first. ``facts`` is what the forge tells beside the
    refs: ``moved_to``, ``is_archived``, ``is_disabled``, as far as it did.
    """

    id: int
    name: str
    url: str
    forge: str
    state: str
    labels: Mapping[str, str]
    enabled: bool
    refs_count: int
    default_branch: str | None
    patterns: Mapping[str, list[str]] | None
    sequence: int
    created_at: datetime
    paused_at: datetime | None
    retired_at: datetime | None
    last_change_at: datetime | None
    interval_s: float | None
    last_poll_at: datetime | None
    last_outcome: str | None
    read_by: str | None
    next_poll_at: datetime | None
    next_poll_reason: str | None
    failures: int
    latency: Latency
    error: Trouble | None
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RepositoryProbe:
    """The probe that looks after a repository: ``is_covering`` unless it fails or is late."""

    name: str
    every: timedelta
    is_covering: bool


@dataclass(frozen=True, slots=True)
class RepositoryWatch:
    """What looks after one repository.

    ``interval`` is what was promised, None where it is not configured any more. ``way`` is how its
    own poll would read now, None where nobody here can tell. ``is_told`` is false where another
    process polls, which alone knows of ``way`` and ``probe``. ``paths`` are the patterns of files
    that a change must touch; empty: any.
    """

    interval: timedelta | None
    way: str | None
    probe: RepositoryProbe | None
    is_told: bool
    takes_hooks: bool
    paths: tuple[str, ...]
    pull_requests: bool


@dataclass(frozen=True, slots=True)
class Forecast:
    """What of a budget will be spent when it is new, and when it runs out before that, if ever."""

    spent: int
    runs_out_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ForgeWork:
    """What the process that polls knows of a forge; ``spent`` is since its start, by purpose."""

    credentials: tuple[Credential, ...]
    plan: ForgePlan | None
    probes: tuple[ProbeHealth, ...]
    spent: Mapping[str, Spent]


@dataclass(frozen=True, slots=True)
class ForgeStatus:
    """How one forge fares.

    ``kind`` is None for one that is not configured any more. ``repositories`` counts those that are
    watched there, ``failing`` those of them that do not answer. ``share`` (0 to 1) of its limits is
    for polling. ``work`` is None where another process polls. ``audit`` is how its webhooks
    compared with polling lately, None where none came, and ``hooks`` are the newest of them.
    """

    name: str
    kind: str | None
    url: str
    api_url: str | None
    share: float
    repositories: int
    failing: int
    takes_hooks: bool
    work: ForgeWork | None
    audit: HookSums | None
    hooks: tuple[HookEntry, ...]


@dataclass(frozen=True, slots=True)
class Polls:
    """A repository's polls: the newest that changed something or failed, and counts by the hour."""

    newest: tuple[PollEntry, ...]
    hours: tuple[PollHour, ...]


@dataclass(frozen=True, slots=True)
class EventDetail:
    """One event with its deliveries, their attempts and requests."""

    event: EventEntry
    deliveries: tuple[DeliveryDetail, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a ref did or did not trigger; ``reasons`` are sentences in the order of the walk.

    ``pattern`` decided whether it is watched, None when no pattern matched. ``commit_id`` is where
    it stood at the last poll, None when it was not there.
    """

    ref: str
    watched: bool
    pattern: str | None
    commit_id: str | None
    changed_at: datetime | None
    last_event: EventEntry | None
    deliveries: tuple[DeliveryDetail, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """A receiver that failed so often that one delivery at a time tries whether it answers.

    ``failures`` counts those in a row, and ``next_probe_at`` is when the next one tries; both are
    None where another process sends.
    """

    opened_at: datetime
    reason: str | None
    failures: int | None = None
    next_probe_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReceiverStatus:
    """How one receiver fares; ``state`` is ok, failing, open, paused or disabled.

    ``url`` is safe to show. ``owed`` counts its unfinished deliveries (it stops at 10,000).
    ``reason`` says what is wrong and ``since`` when that began, both None when all is well.
    ``circuit`` is None unless it is open, whatever the state says besides.
    """

    name: str
    url: str
    payload: str
    state: str
    owed: int
    reason: str | None
    since: datetime | None
    circuit: OpenCircuit | None = None

    @property
    def is_closed(self) -> bool:
        """Whether nothing is sent to it until a person resumes it."""
        return self.state in {"paused", "disabled"}


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a person should look at, and what to do about it.

    ``about`` is component, receiver, former receiver, forge, repository, event, storm or
    deliveries, and ``subject`` names the one (an event or storm by its id). ``receivers`` are those
    to which all that they did not take can be sent again.
    """

    code: str
    about: str
    subject: str
    says: str
    remedy: str
    since: datetime | None = None
    receivers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hour:
    """What happened in the hour that begins at ``hour``; ``finished`` includes ``dead``."""

    hour: datetime
    changes: int
    finished: int
    dead: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything at once. ``level`` is ok, busy, trouble or empty, and ``sentence`` says it.

    ``repositories`` counts by state. ``owed`` deliveries are unfinished, ``waiting`` of them have
    been tried, ``held`` wait for a person; these three counts stop at 10,000.
    """

    level: str
    sentence: str
    needs: tuple[Need, ...]
    repositories: Mapping[str, int]
    hours: tuple[Hour, ...]
    owed: int
    waiting: int
    held: int
    latency: Latency

    @property
    def watched(self) -> int:
        """How many repositories are watched, the paused among them."""
        return sum(count for state, count in self.repositories.items() if state != "retired")

    @property
    def changes(self) -> int:
        """Changes found in the hours shown."""
        return sum(hour.changes for hour in self.hours)

    @property
    def delivered(self) -> int:
        """Deliveries that ended well in the hours shown."""
        return sum(hour.finished - hour.dead for hour in self.hours)

    @property
    def dead(self) -> int:
        """Deliveries that were given up in the hours shown."""
        return sum(hour.dead for hour in self.hours)
