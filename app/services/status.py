"""How everything fares, computed once for pages and API alike."""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar
from urllib.parse import urlsplit, urlunsplit

from app.domain.delivery import DeliveryState
from app.domain.errors import ForgeDenied, ForgeRateLimited, InputInvalid, NotFound
from app.domain.health import OUTSIDE, Component, Status as Health
from app.domain.refs import BRANCH_PREFIX, TAG_PREFIX, RefFilter, is_tag
from app.domain.repository import Repository
from app.settings.types import Receiver
from app.storage.entries import (
    DeliveryDetail,
    DeliveryEntry,
    EventEntry,
    HourCount,
    Page,
    PollEntry,
    PollHour,
    Reaction,
    RefEntry,
    RepositoryEntry,
)
from app.storage.filters import DeliveryFilter, EventFilter, RepositoryFilter
from app.storage.queries import Queries
from app.storage.records import PollState

T = TypeVar("T")

# What the whole fleet looks like is read once for all who ask within this time.
KEPT_FOR = timedelta(seconds=2)
# Shorter troubles end by themselves more often than not; nobody is called for them.
PATIENCE = timedelta(minutes=15)
# A weekend: what failed on Friday evening is still shown on Monday morning.
FAILED_SHOWN = timedelta(days=3)
HOURS_SHOWN = 24
# Some pages of repositories, in half a megabyte.
LATENCIES_KEPT = 2_000
POLL_HOURS_SHOWN = timedelta(hours=48)
HOUR = timedelta(hours=1)


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
    its snapshot was taken with, None before the first.
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
class ReceiverStatus:
    """How one receiver fares; ``state`` is ok, failing, paused or disabled.

    ``url`` is safe to show. ``owed`` counts its unfinished deliveries (it stops at 10,000).
    ``reason`` says what is wrong and ``since`` when that began, both None when all is well.
    """

    name: str
    url: str
    payload: str
    state: str
    owed: int
    reason: str | None
    since: datetime | None

    @property
    def is_closed(self) -> bool:
        """Whether nothing is sent to it until a person resumes it."""
        return self.state in {"paused", "disabled"}


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a person should look at, and what to do about it.

    ``about`` is component, receiver, repository, event or deliveries, and ``subject`` names the
    one (an event by its id).
    """

    code: str
    about: str
    subject: str
    says: str
    remedy: str
    since: datetime | None = None


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


class Status:
    """Answers every «how is it?»; safe to use from many threads."""

    def __init__(
        self,
        queries: Queries,
        *,
        live: Callable[[int], PollState | None],
        receivers: Mapping[str, Receiver],
        now: Callable[[], datetime],
        configured: Callable[[str], Repository | None] = lambda name: None,
    ) -> None:
        """Compute from what is stored, and from what is not stored yet.

        Args:
            queries: The stored part.
            live: The poll state of a repository that is not written yet, by its id.
            receivers: The configured receivers by name; may change while it is used.
            now: The clock.
            configured: A repository as the configuration wants it, by its name, if it knows it.
        """
        self._queries = queries
        self._live = live
        self._receivers = receivers
        self._now = now
        self._configured = configured
        self._fleet = _Kept(self._read_fleet, now)
        self._told_receivers = _Kept(self._read_receivers, now)
        self._hours: dict[datetime, HourCount] = {}
        self._latency_of: dict[tuple[int, int], Latency] = {}

    def now(self) -> datetime:
        """Return the moment by the clock that everything here is told by."""
        return self._now()

    def repositories(
        self, wanted: RepositoryFilter, *, limit: int, cursor: str | None = None
    ) -> Page[RepositoryStatus]:
        """List repositories by name.

        A repository whose newest poll put it in another state than is asked for is left out, so
        that a page by state may hold fewer than ``limit`` and still have a next.
        """
        page = self._queries.list_repositories(wanted, limit=limit, cursor=cursor)
        latencies = self._latencies(page.items)
        shown = tuple(map(self._repository, page.items, latencies))
        if wanted.state is not None:
            shown = tuple(one for one in shown if one.state == wanted.state)
        return Page(shown, page.next)

    def repository(self, name: str) -> RepositoryStatus:
        """Tell how one repository fares.

        Raises:
            NotFound: There is none of that name.
        """
        entry = self._queries.get_repository(name)
        return self._repository(entry, *self._latencies([entry]))

    def refs(self, name: str, *, limit: int, cursor: str | None = None) -> Page[RefEntry]:
        """List a repository's watched refs by name; raises NotFound."""
        entry = self._queries.get_repository(name)
        return self._queries.list_refs(entry.id, limit=limit, cursor=cursor)

    def polls(self, name: str, *, limit: int = 10) -> Polls:
        """Tell of a repository's polls in the last 48 hours; raises NotFound."""
        entry = self._queries.get_repository(name)
        since = _hour(self._now()) - POLL_HOURS_SHOWN + HOUR
        return Polls(
            newest=self._queries.list_polls(entry.id, limit=limit),
            hours=self._queries.list_poll_hours(entry.id, since=since),
        )

    def explain(self, name: str, ref: str) -> Explanation:
        """Tell why a ref did or did not trigger; a short name means the branch, then the tag.

        Raises:
            NotFound: There is no repository of that name.
        """
        entry = self._queries.get_repository(name)
        ref, found = self._locate(entry.id, ref)
        decision = self._filter(entry).decide(ref)
        event = self._queries.find_last_event(entry.id, entry.sequence, ref)
        deliveries = () if event is None else self._queries.list_event_deliveries(event)
        reasons = (
            _says_watched(ref, decision.pattern, watched=decision.watched),
            _says_place(self._state(entry), found),
            _says_event(event, found),
            *(_says_delivery(one.delivery) for one in deliveries),
        )
        return Explanation(
            ref=ref,
            watched=decision.watched,
            pattern=decision.pattern,
            commit_id=found.commit_id if found else None,
            changed_at=found.changed_at if found else None,
            last_event=event,
            deliveries=deliveries,
            reasons=reasons,
        )

    def events(
        self,
        *,
        repository: str | None = None,
        ref: str | None = None,
        kind: str | None = None,
        state: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[EventEntry]:
        """List events, newest first.

        Raises:
            InputInvalid: There is no such repository, or the cursor is not of this list.
        """
        wanted = EventFilter(self._repository_id(repository), ref, kind, state, since, until)
        return self._queries.list_events(wanted, limit=limit, cursor=cursor)

    def event(self, event_id: str) -> EventDetail:
        """Tell one event with its deliveries; raises NotFound."""
        event = self._queries.get_event(event_id)
        return EventDetail(event, self._queries.list_event_deliveries(event))

    def deliveries(
        self,
        *,
        state: str | None = None,
        receiver: str | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[DeliveryEntry]:
        """List deliveries, newest first; raises InputInvalid for a wrong cursor."""
        wanted = DeliveryFilter(state, receiver)
        return self._queries.list_deliveries(wanted, limit=limit, cursor=cursor)

    def delivery(self, delivery_id: str) -> DeliveryDetail:
        """Tell one delivery with its attempts; raises NotFound."""
        return self._queries.get_delivery(delivery_id)

    def receiver_names(self) -> list[str]:
        """Return the names of the configured receivers, in order."""
        return sorted(self._receivers)

    def receivers(self) -> tuple[ReceiverStatus, ...]:
        """Tell how the configured receivers fare, by name."""
        return self._told_receivers.get()

    def receiver(self, name: str) -> ReceiverStatus:
        """Tell how one receiver fares.

        Raises:
            NotFound: None of that name is configured.
        """
        found = [one for one in self.receivers() if one.name == name]
        if not found:
            raise NotFound(f"no receiver named {name!r} is configured")
        return found[0]

    def look_anew(self) -> None:
        """Forget what was kept for a moment, since a person has just changed something."""
        self._told_receivers.forget()
        self._fleet.forget()

    def overview(self, components: Sequence[Component] = ()) -> Overview:
        """Tell everything at once; ``components`` is how well the program's own parts are."""
        fleet = self._fleet.get()
        needs = (*_component_needs(components), *fleet.needs)
        watched = sum(count for state, count in fleet.repositories.items() if state != "retired")
        level, sentence = _judge(fleet, needs, watched)
        return Overview(
            level=level,
            sentence=sentence,
            needs=needs,
            repositories=fleet.repositories,
            hours=fleet.hours,
            owed=fleet.owed,
            waiting=fleet.waiting,
            held=fleet.held,
            latency=fleet.latency,
        )

    def _repository_id(self, name: str | None) -> int | None:
        if name is None:
            return None
        entry = self._queries.find_repository(name)
        if entry is None:
            message = f"there is no repository named {name!r}"
            raise InputInvalid(f"repository: {message}", mistakes={"repository": message})
        return entry.id

    def _state(self, entry: RepositoryEntry) -> str:
        return _state(entry, self._live(entry.id) or entry.poll)

    def _repository(self, entry: RepositoryEntry, latency: Latency) -> RepositoryStatus:
        poll = self._live(entry.id) or entry.poll
        state = _state(entry, poll)
        resting = state in {"paused", "retired"}
        return RepositoryStatus(
            id=entry.id,
            name=entry.name,
            url=entry.url,
            forge=entry.forge,
            state=state,
            labels=entry.labels,
            enabled=entry.enabled,
            refs_count=entry.refs_count,
            default_branch=entry.default_branch,
            patterns=entry.watched,
            sequence=entry.sequence,
            created_at=entry.created_at,
            paused_at=entry.paused_at,
            retired_at=entry.retired_at,
            last_change_at=entry.last_change_at,
            interval_s=poll.interval_s,
            last_poll_at=poll.last_poll_at,
            last_outcome=poll.last_outcome,
            read_by=poll.read_by,
            next_poll_at=None if resting else poll.next_poll_at,
            next_poll_reason=None if resting else poll.next_poll_reason,
            failures=poll.failures,
            latency=latency,
            error=_trouble(poll),
        )

    def _latencies(self, entries: Sequence[RepositoryEntry]) -> list[Latency]:
        """Return each repository's latency: that of its newest events, so it holds until the next.

        To read twenty events for each of a hundred rows would be half of a page's time.
        """
        known = {one.id: self._latency_of.get((one.id, one.sequence)) for one in entries}
        asked = [one for one in entries if known[one.id] is None]
        if asked:
            by_repository: dict[int, list[Reaction]] = {one.id: [] for one in asked}
            for reaction in self._queries.list_reactions(list(by_repository)):
                by_repository[reaction.repository_id].append(reaction)
            if len(self._latency_of) > LATENCIES_KEPT:
                self._latency_of.clear()
            for one in asked:
                found = known[one.id] = _latency(by_repository[one.id])
                self._latency_of[one.id, one.sequence] = found
        return [known[one.id] or Latency() for one in entries]

    def _filter(self, entry: RepositoryEntry) -> RefFilter:
        """Return the patterns that hold now, or else those of the last snapshot."""
        repository = self._configured(entry.name)
        if repository is not None:
            return repository.refs
        watched = entry.watched or {}
        return RefFilter(tuple(watched.get("branches", ("*",))), tuple(watched.get("tags", ())))

    def _locate(self, repository_id: int, ref: str) -> tuple[str, RefEntry | None]:
        if ref.startswith("refs/"):
            return ref, self._queries.find_ref(repository_id, ref)
        for prefix in (BRANCH_PREFIX, TAG_PREFIX):
            found = self._queries.find_ref(repository_id, prefix + ref)
            if found is not None:
                return found.name, found
        return BRANCH_PREFIX + ref, None

    def _read_fleet(self) -> "_Fleet":
        now = self._now()
        receivers = self._told_receivers.get()
        waiting = self._queries.count_deliveries([DeliveryState.WAITING, DeliveryState.HELD])
        held = waiting[DeliveryState.HELD]
        counts = self._queries.count_repositories()
        return _Fleet(
            repositories=counts,
            hours=self._read_hours(now),
            owed=self._queries.count_all_owed(),
            waiting=waiting[DeliveryState.WAITING],
            held=held,
            latency=_latency(self._queries.list_newest_reactions(limit=500)),
            needs=(
                *_receiver_needs(receivers, now),
                *(self._repository_needs(now) if counts.get("failing") else ()),
                *self._event_needs(now),
                *_held_needs(held),
            ),
        )

    def _read_hours(self, now: datetime) -> tuple[Hour, ...]:
        """Count the last day by the hour; hours that are long over are counted only once."""
        current = _hour(now)
        hours = [current - HOUR * ago for ago in reversed(range(HOURS_SHOWN))]
        settled = {hour: count for hour, count in self._hours.items() if hours[0] <= hour}
        open_hours = [hour for hour in hours if hour not in settled]
        counts = settled | {one.hour: one for one in self._queries.count_hours(open_hours)}
        # What was found in the last minutes of an hour may be written in the next one.
        self._hours = {hour: count for hour, count in counts.items() if hour < current - HOUR}
        dead: dict[datetime, int] = {}
        for at in self._queries.list_dead_times(limit=500):
            dead[_hour(at)] = dead.get(_hour(at), 0) + 1
        return tuple(
            Hour(hour, counts[hour].changes, counts[hour].finished, dead.get(hour, 0))
            for hour in hours
        )

    def _read_receivers(self) -> tuple[ReceiverStatus, ...]:
        configured = dict(self._receivers)
        stored = {one.name: one for one in self._queries.list_receivers()}
        owed = self._queries.count_owed(list(configured))
        found = []
        for name, receiver in sorted(configured.items()):
            state, reason, since = "ok", None, None
            decided = stored.get(name)
            if decided and decided.disabled_at:
                state, reason, since = "disabled", decided.disabled_reason, decided.disabled_at
            elif decided and decided.paused_at:
                state, reason, since = "paused", "a person paused it", decided.paused_at
            elif owed[name]:
                reason, since = self._read_failure(name)
                state = "failing" if reason else "ok"
            url = shown_url(receiver.url)
            found.append(
                ReceiverStatus(name, url, receiver.payload, state, owed[name], reason, since)
            )
        return tuple(found)

    def _read_failure(self, receiver: str) -> tuple[str | None, datetime | None]:
        """Tell what the receiver last answered to the oldest of its tried deliveries."""
        tried = [
            one
            for one in self._queries.list_next_owed(receiver, limit=20)
            if one.last_error or one.last_status
        ]
        if not tried:
            return None, None
        oldest = min(tried, key=lambda one: one.created_at)
        return _says_answer(oldest), oldest.created_at

    def _repository_needs(self, now: datetime) -> list[Need]:
        needs = []
        for entry in self._queries.list_failing(limit=20):
            error = _trouble(self._live(entry.id) or entry.poll)
            if error is None:
                continue
            since = error.since or now
            if error.code != ForgeDenied.code and now - since < PATIENCE:
                continue
            says = f"{entry.name} cannot be read: {error.message}"
            needs.append(
                Need(error.code, "repository", entry.name, says, error.remedy, error.since)
            )
        return needs

    def _event_needs(self, now: datetime) -> list[Need]:
        failed = self._queries.list_failed_events(since=now - FAILED_SHOWN, limit=100)
        if not failed:
            return []
        newest = failed[0]
        count = "100 or more events were" if len(failed) == 100 else f"{len(failed)} events were"  # noqa: PLR2004 - the limit above
        if len(failed) == 1:
            count = "One event was"
        return [
            Need(
                "deliveries_dead",
                "event" if len(failed) == 1 else "deliveries",
                newest.id if len(failed) == 1 else "dead",
                f"{count} not taken by a receiver; the newest is of {newest.repository_name}",
                "See what the receiver answered, mend it, then redeliver.",
                failed[-1].detected_at,
            )
        ]


@dataclass(frozen=True, slots=True)
class _Fleet:
    """What is read for the overview, kept for a moment."""

    repositories: Mapping[str, int]
    hours: tuple[Hour, ...]
    owed: int
    waiting: int
    held: int
    latency: Latency
    needs: tuple[Need, ...]


class _Kept(Generic[T]):
    """A value that is read again when someone asks and it is older than ``KEPT_FOR``."""

    def __init__(self, read: Callable[[], T], now: Callable[[], datetime]) -> None:
        self._read = read
        self._now = now
        # Held while reading, so that of many who ask at once only one reads.
        self._lock = threading.Lock()
        self._kept: tuple[datetime, T] | None = None

    def get(self) -> T:
        """Return the value, at most ``KEPT_FOR`` old."""
        with self._lock:
            now = self._now()
            if self._kept is None or not now - KEPT_FOR < self._kept[0] <= now:
                self._kept = (now, self._read())
            return self._kept[1]

    def forget(self) -> None:
        """Read anew for whoever asks next."""
        with self._lock:
            self._kept = None


def shown_url(url: str) -> str:
    """Return a receiver's address without what may be secret in it.

    >>> shown_url("https://bob:s3cret@ci.example.com/hook?token=abc")
    'https://ci.example.com/hook?…'
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", ""))


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least ``share`` of the values do not exceed.

    >>> percentile([4.0, 1.0, 3.0, 2.0], 0.5), percentile([], 0.5)
    (2.0, None)
    """
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _latency(reactions: Sequence[Reaction]) -> Latency:
    # A forge's clock may run ahead of ours; a change is not found before it is made.
    seconds = [max(0.0, (r.detected_at - r.pushed_at).total_seconds()) for r in reactions]
    return Latency(percentile(seconds, 0.5), percentile(seconds, 0.95))


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _state(entry: RepositoryEntry, poll: PollState) -> str:
    if entry.retired_at is not None:
        return "retired"
    if entry.paused_at is not None or not entry.enabled:
        return "paused"
    if poll.error_code is not None:
        return "failing"
    return "new" if entry.digest is None else "ok"


def _trouble(poll: PollState) -> Trouble | None:
    if poll.error_code is None:
        return None
    return Trouble(
        code=poll.error_code,
        message=poll.error_message or poll.error_code,
        since=poll.error_since,
        remedy=_FORGE_REMEDIES.get(poll.error_code, _FORGE_REMEDY),
    )


_FORGE_REMEDY = "It is tried again by itself; look at the forge and the network between."
_FORGE_REMEDIES = {
    ForgeDenied.code: "Check that the repository exists and that the forge's token may read it.",
    ForgeRateLimited.code: "It goes on when the allowance returns; another token would add to it.",
}


def _component_needs(components: Sequence[Component]) -> list[Need]:
    # What lies outside has needs of its own, each with its remedy.
    return [
        Need(
            f"component_{one.status.value}",
            "component",
            one.name,
            f"{one.name} is {one.status.value}" + (f": {one.reason}" if one.reason else ""),
            "The program's log tells more.",
            one.since,
        )
        for one in components
        if one.status is not Health.OK and one.name not in OUTSIDE
    ]


def _receiver_needs(receivers: Sequence[ReceiverStatus], now: datetime) -> list[Need]:
    needs = []
    for one in receivers:
        if one.state == "disabled":
            says = f"{one.name} is disabled" + (f": {one.reason}" if one.reason else "")
            remedy = "See that its address is right, then resume it and redeliver what it refused."
            needs.append(Need("receiver_disabled", "receiver", one.name, says, remedy, one.since))
        elif one.state == "paused" and one.owed:
            says = f"{one.name} is paused and is owed {one.owed:,}"
            remedy = "Resume it when it is ready; nothing is lost meanwhile."
            needs.append(Need("receiver_paused", "receiver", one.name, says, remedy, one.since))
        elif one.state == "failing" and one.since and now - one.since >= PATIENCE:
            says = f"{one.name} does not take its deliveries: {one.reason}"
            remedy = "See that it runs and answers; each delivery is tried again by itself."
            needs.append(Need("receiver_failing", "receiver", one.name, says, remedy, one.since))
    return needs


def _held_needs(held: int) -> list[Need]:
    if not held:
        return []
    says = f"{held:,} deliveries are held" if held > 1 else "One delivery is held"
    remedy = "Look whether so many changes are meant, then retry or cancel them."
    return [Need("deliveries_held", "deliveries", "held", says, remedy)]


def _judge(fleet: _Fleet, needs: Sequence[Need], watched: int) -> tuple[str, str]:
    """Return the level and the one sentence that says whether everything is all right."""
    if needs:
        count = "One thing needs" if len(needs) == 1 else f"{len(needs)} things need"
        return "trouble", f"{count} a person."
    if not watched:
        return "empty", "Nothing is watched yet."
    failing = fleet.repositories.get("failing", 0)
    if failing:
        which = "one repository does" if failing == 1 else f"{failing:,} repositories do"
        return "busy", f"All is well, but {which} not answer just now and will be asked again."
    if fleet.waiting:
        which = "one delivery waits" if fleet.waiting == 1 else f"{fleet.waiting:,} deliveries wait"
        return "busy", f"All is well, but {which} for the next try."
    return "ok", "All is well."


def _says_watched(ref: str, pattern: str | None, *, watched: bool) -> str:
    if not ref.startswith((BRANCH_PREFIX, TAG_PREFIX)):
        return f"{ref} is neither a branch nor a tag, so it is not watched."
    sort = "tag" if is_tag(ref) else "branch"
    if pattern is None:
        return f"{ref} is not watched: no {sort} pattern matches it."
    if watched:
        return f"{ref} is watched: the {sort} pattern {pattern} takes it in."
    return f"{ref} is not watched: the {sort} pattern {pattern} takes it out."


def _says_place(state: str, found: RefEntry | None) -> str:
    if found is not None:
        return f"At the last change it was at {found.commit_id}."
    if state == "new":
        return "The repository has not been read yet."
    return "It is not among the refs that the last poll saw."


def _says_event(event: EventEntry | None, found: RefEntry | None) -> str:
    if event is None and found is not None:
        return "It made no event lately: the first snapshot makes none, and it has not moved since."
    if event is None:
        return "It made no event lately."
    return f"Its last event is {event.kind}, number {event.sequence} of this repository."


def _says_delivery(delivery: DeliveryEntry) -> str:
    answer = _says_answer(delivery)
    told = f" ({answer})" if answer else ""
    return f"{delivery.receiver}: {delivery.state}{told}."


def _says_answer(delivery: DeliveryEntry) -> str | None:
    if delivery.last_error:
        return delivery.last_error
    return f"it answered {delivery.last_status}" if delivery.last_status else None
