"""How everything fares, computed once for pages and API alike.

``Status`` answers, in the values of ``answers``. It asks ``forges``, ``receivers`` and ``latency``
how those fare, ``overview`` for the whole fleet, ``needs`` for what a person should look at, and
``explanation`` for sentences about one ref; ``kept`` holds what many ask for at once.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from app.domain.delivery import Confirmation, DeliveryState
from app.domain.errors import InputInvalid, NotFound
from app.domain.health import Component
from app.domain.refs import BRANCH_PREFIX, TAG_PREFIX, RefFilter, filter_of, is_pull
from app.domain.repository import Repository
from app.services.status.answers import (
    EventDetail,
    Explanation,
    ForgeStatus,
    Latency,
    OpenCircuit,
    Overview,
    Polls,
    ReceiverStatus,
    RepositoryStatus,
    RepositoryWatch,
)
from app.services.status.explanation import (
    says_delivery,
    says_event,
    says_files,
    says_place,
    says_watched,
)
from app.services.status.forges import ForgeReader, Watch, facts_of, find
from app.services.status.kept import Kept
from app.services.status.latency import Latencies, latency_of
from app.services.status.needs import (
    component_needs,
    event_needs,
    forge_needs,
    former_needs,
    receiver_needs,
    repository_needs,
    storm_needs,
    trouble_of,
    unconfirmed_needs,
)
from app.services.status.overview import HOUR, Fleet, Hours, hour_of, judge
from app.services.status.receivers import ReceiverReader
from app.settings.types import Forge, Receiver
from app.storage.entries import (
    DeliveryDetail,
    DeliveryEntry,
    EventEntry,
    HoldEntry,
    Page,
    RefEntry,
    RepositoryEntry,
)
from app.storage.filters import DeliveryFilter, EventFilter, RepositoryFilter
from app.storage.queries import Queries
from app.storage.records import PollState

POLL_HOURS_SHOWN = timedelta(hours=48)


class HoldReader(Protocol):
    """The storms that were held."""

    def list(self, state: str | None = None) -> Sequence[HoldEntry]:
        """List the newest, newest first; None means any state."""
        ...

    def get(self, wanted: str) -> HoldEntry:
        """Get one; raises NotFound."""
        ...


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
        circuits: Callable[[], Mapping[str, OpenCircuit] | None] = lambda: None,
        holds: HoldReader | None = None,
        forges: Mapping[str, Forge] | None = None,
        watch: Callable[[], Watch | None] = lambda: None,
    ) -> None:
        """Compute from what is stored, and from what is not stored yet.

        Args:
            queries: The stored part.
            live: The poll state of a repository that is not written yet, by its id.
            receivers: The configured receivers by name; may change while it is used.
            now: The clock.
            configured: A repository as the configuration wants it, by its name, if it knows it.
            circuits: The open circuits by receiver, or None where another process sends.
            holds: The storms that were held; None: there are none.
            forges: The configured forges by name.
            watch: What only the process that polls can tell, or None where another one does.
        """
        self._queries = queries
        self._live = live
        self._receivers = receivers
        self._now = now
        self._configured = configured
        self._holds = holds
        reader = ReceiverReader(queries, receivers, circuits)
        self._fleet = Kept(self._read_fleet, now)
        self._told_receivers = Kept(reader.read, now)
        self._former = Kept(reader.read_former, now)
        self._forges = ForgeReader(queries, forges or {}, watch, now)
        self._told_forges = Kept(self._forges.read, now)
        self._hours = Hours(queries)
        self._latencies = Latencies(queries)

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
        latencies = self._latencies.of(page.items)
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
        return self._repository(entry, *self._latencies.of([entry]))

    def watched(self, name: str) -> RepositoryWatch:
        """Tell what looks after one repository; raises NotFound."""
        entry = self._queries.get_repository(name)
        return self._forges.watched(entry, self._configured(name))

    def forges(self) -> tuple[ForgeStatus, ...]:
        """Tell how the forges fare, by name."""
        return self._told_forges.get()

    def forge(self, name: str) -> ForgeStatus:
        """Tell how one forge fares; raises NotFound."""
        return find(self.forges(), name)

    def refs(self, name: str, *, limit: int, cursor: str | None = None) -> Page[RefEntry]:
        """List a repository's watched refs by name; raises NotFound."""
        entry = self._queries.get_repository(name)
        return self._queries.list_refs(entry.id, limit=limit, cursor=cursor)

    def polls(self, name: str, *, limit: int = 10) -> Polls:
        """Tell of a repository's polls in the last 48 hours; raises NotFound."""
        entry = self._queries.get_repository(name)
        since = hour_of(self._now()) - POLL_HOURS_SHOWN + HOUR
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
            says_watched(ref, decision.pattern, watched=decision.watched),
            says_place(self._state(entry), found),
            says_event(event, found),
            *says_files(event),
            *(says_delivery(one.delivery) for one in deliveries),
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
        hold: str | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[EventEntry]:
        """List events, newest first.

        Raises:
            InputInvalid: There is no such repository, or the cursor is not of this list.
        """
        of = self._repository_id(repository)
        wanted = EventFilter(of, ref, kind, state, since, until, hold)
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
        repository: str | None = None,
        confirmation: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[DeliveryEntry]:
        """List deliveries, newest first.

        Raises:
            InputInvalid: There is no such repository, or the cursor is not of this list.
        """
        of = self._repository_id(repository)
        wanted = DeliveryFilter(state, receiver, of, since, until, confirmation)
        return self._queries.list_deliveries(wanted, limit=limit, cursor=cursor)

    def chosen(
        self,
        *,
        state: str | None = None,
        receiver: str | None = None,
        repository: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        confirmation: str | None = None,
    ) -> DeliveryFilter:
        """Choose deliveries for something that is done to many; None means any.

        A confirmation that is named chooses among those that were delivered.

        Raises:
            InputInvalid: There is no such repository.
        """
        if state is None and confirmation is not None:
            state = DeliveryState.DELIVERED.value
        of = self._repository_id(repository)
        return DeliveryFilter(state, receiver, of, since, until, confirmation)

    def count_chosen(self, wanted: DeliveryFilter, *, is_owed: bool) -> int:
        """Count the deliveries that are chosen, the owed or the finished; it stops at 10,000."""
        return self._queries.count_matching(wanted, is_owed=is_owed)

    def count_dead(self, receiver: str) -> int:
        """Count what a receiver did not take; it stops at 10,000."""
        wanted = DeliveryFilter(DeliveryState.DEAD.value, receiver)
        return self._queries.count_matching(wanted)

    def count_unconfirmed(self, receiver: str) -> int:
        """Count what a receiver accepted and nobody confirmed; it stops at 10,000."""
        wanted = DeliveryFilter(receiver=receiver, confirmation=Confirmation.UNCONFIRMED.value)
        return self._queries.count_matching(wanted)

    def storms(self, state: str | None = None) -> Sequence[HoldEntry]:
        """List the newest storms, newest first; None means any state."""
        return self._holds.list(state) if self._holds else ()

    def storm(self, hold_id: str) -> HoldEntry:
        """Tell one storm; raises NotFound."""
        if self._holds is None:
            raise NotFound(f"there is no storm {hold_id}")
        return self._holds.get(hold_id)

    def delivery(self, delivery_id: str) -> DeliveryDetail:
        """Tell one delivery with its attempts; raises NotFound."""
        return self._queries.get_delivery(delivery_id)

    def receiver_names(self) -> list[str]:
        """Return the names of the configured receivers, in order."""
        return sorted(self._receivers)

    def receivers(self) -> tuple[ReceiverStatus, ...]:
        """Tell how the configured receivers fare, by name."""
        return self._told_receivers.get()

    def former_receivers(self) -> tuple[tuple[str, int], ...]:
        """Name those that are not configured any more and still owed something, with how much."""
        return self._former.get()

    def receiver(self, name: str) -> ReceiverStatus:
        """Tell how one receiver fares.

        Raises:
            NotFound: None of that name is configured.
        """
        found = [one for one in self.receivers() if one.name == name]
        if not found:
            raise NotFound(f"no receiver named {name!r} is configured")
        return found[0]

    def receiver_settings(self, name: str) -> Receiver:
        """Tell what is configured for a receiver; raises NotFound."""
        found = self._receivers.get(name)
        if found is None:
            raise NotFound(f"no receiver named {name!r} is configured")
        return found

    def look_anew(self) -> None:
        """Forget what was kept for a moment, since a person has just changed something."""
        self._told_receivers.forget()
        self._former.forget()
        self._told_forges.forget()
        self._fleet.forget()

    def overview(self, components: Sequence[Component] = ()) -> Overview:
        """Tell everything at once; ``components`` is how well the program's own parts are."""
        fleet = self._fleet.get()
        needs = (*component_needs(components), *fleet.needs)
        watched = sum(count for state, count in fleet.repositories.items() if state != "retired")
        level, sentence = judge(fleet, needs, watched)
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
            error=trouble_of(poll),
            facts=facts_of(entry.url, poll.facts),
        )

    def _filter(self, entry: RepositoryEntry) -> RefFilter:
        """Return the patterns that hold now, or else those of the last snapshot."""
        repository = self._configured(entry.name)
        if repository is not None:
            return repository.refs
        return filter_of(entry.watched) if entry.watched else RefFilter()

    def _locate(self, repository_id: int, ref: str) -> tuple[str, RefEntry | None]:
        if ref.startswith("refs/"):
            return ref, self._queries.find_ref(repository_id, ref)
        if is_pull(f"refs/{ref}") and (
            found := self._queries.find_ref(repository_id, f"refs/{ref}")
        ):
            return found.name, found
        for prefix in (BRANCH_PREFIX, TAG_PREFIX):
            found = self._queries.find_ref(repository_id, prefix + ref)
            if found is not None:
                return found.name, found
        return BRANCH_PREFIX + ref, None

    def _read_fleet(self) -> Fleet:
        now = self._now()
        receivers = self._told_receivers.get()
        waiting = self._queries.count_deliveries([DeliveryState.WAITING, DeliveryState.HELD])
        held = waiting[DeliveryState.HELD]
        counts = self._queries.count_repositories()
        failing = repository_needs(self._queries, self._live, now) if counts.get("failing") else ()
        return Fleet(
            repositories=counts,
            hours=self._hours.read(now),
            owed=self._queries.count_all_owed(),
            waiting=waiting[DeliveryState.WAITING],
            held=held,
            latency=latency_of(self._queries.list_newest_reactions(limit=500)),
            needs=(
                *receiver_needs(receivers, now),
                *former_needs(self._former.get()),
                *forge_needs(self._forges.refused()),
                *storm_needs(self.storms("held")),
                *failing,
                *event_needs(self._queries, self._receivers, now),
                *unconfirmed_needs(self._queries, self._receivers, now),
            ),
        )


def _state(entry: RepositoryEntry, poll: PollState) -> str:
    if entry.retired_at is not None:
        return "retired"
    if entry.paused_at is not None or not entry.enabled:
        return "paused"
    if poll.error_code is not None:
        return "failing"
    return "new" if entry.digest is None else "ok"
