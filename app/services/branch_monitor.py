"""One poll of one repository: ask for its refs, compare them, and owe what changed.

The snapshot moves on and its events are owed in one transaction, so that no change can be seen and
then forgotten; no transaction is open while the forge is asked.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from app.domain.details import Details, Push
from app.domain.errors import ForgeAnswerInvalid
from app.domain.event import Event, hold_id, record
from app.domain.refs import LONGEST_REF, RefFilter, filter_of, patterns_of
from app.domain.repository import Repository
from app.domain.round_trips import Move, round_trips
from app.domain.snapshot import Change, Refs, diff, digest
from app.forges.client import HERE, GitClient, RefsReply
from app.services.catalog import MOVED_TO
from app.services.inspector import Seen, inspect
from app.settings.types import Receiver
from app.storage.records import Advance, Owed, Watched

log = logging.getLogger(__name__)

# The key under which a validator keeps the digest of the snapshot it belongs to.
SNAPSHOT = "snapshot"
# Choices: how long a forge's log of pushes may take to answer, and how far its clock may be from
# ours.
LOG_S = 3.0
CLOCKS_APART = timedelta(minutes=2)


class Store(Protocol):
    """Where snapshots are kept and events are owed."""

    def snapshot(self, repository_id: int) -> dict[str, str]:
        """Return the refs as they were last written."""
        ...

    def advance(self, step: Advance, *, fence: int) -> bool:
        """Take the step whole, or not at all; False when the snapshot is no longer its start."""
        ...

    def watched(self, repository_id: int) -> Watched:
        """Return what the database knows of a repository."""
        ...

    def moves(self, repository_id: int, *, since: datetime) -> list[Move]:
        """List what was found since then, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """What a poll found: the repository's new standing, and what happened.

    ``owed`` are those of the events that some receiver is owed, ``described`` the ids of those that
    the forge has told of already.
    """

    watched: Watched
    events: tuple[Event, ...] = ()
    owed: tuple[Event, ...] = ()
    changed: bool = False
    described: frozenset[str] = frozenset()

    @property
    def undescribed(self) -> tuple[Event, ...]:
        """Those that are owed and of which nothing more is known."""
        return tuple(event for event in self.owed if event.id not in self.described)


@dataclass(frozen=True, slots=True)
class _Fresh:
    """When refs were asked for that could not be old, when they were told, and by which way."""

    asked_at: datetime
    told_at: datetime
    read_by: str | None


class BranchMonitor:
    """Polls repositories; safe to call from many threads, one at a time for each repository."""

    def __init__(
        self,
        *,
        store: Store,
        client_for: Callable[[Repository], GitClient],
        receivers: Mapping[str, Receiver],
        now: Callable[[], datetime],
        fence: int,
        timeout: timedelta,
        trigger_on_baseline: bool = False,
        storm_limit: int = 0,
    ) -> None:
        """Make a monitor.

        Args:
            store: Where snapshots are kept and events are owed.
            client_for: How each repository is asked.
            receivers: Who wants events, by name.
            now: The clock.
            fence: The lease's number.
            timeout: How long one question may take.
            trigger_on_baseline: Whether a first snapshot is told as changes.
            storm_limit: The most changes of one poll that go out unasked; 0: any.
        """
        self._store = store
        self._client_for = client_for
        self._receivers = receivers
        self._now = now
        self._fence = fence
        self._timeout_s = timeout.total_seconds()
        self._trigger_on_baseline = trigger_on_baseline
        self._storm_limit = storm_limit
        # Repositories whose last answer held no ref at all; believed when it comes twice.
        self._doubted: set[int] = set()
        # Repositories whose last step may have been written or not: nobody can tell when a
        # connection breaks in the very commit.
        self._unsure: set[int] = set()
        # When each repository was last read by a way whose answers are never old.
        self._fresh: dict[int, _Fresh] = {}

    def poll(
        self,
        repository: Repository,
        known: Watched,
        *,
        catch_up: bool = False,
        woken: bool = False,
        urgent: bool = False,
    ) -> Finding:
        """Ask once and write down what is new; nothing is written when nothing is.

        Args:
            repository: What to ask for, and who is owed its changes.
            known: Its standing after the last poll.
            catch_up: Whether the last poll was longer ago than it should be, for our own reasons.
            woken: Whether somebody said that something has happened there. Where the refs know
                nothing of it, the forge's own log of pushes is asked.
            urgent: Whether a person or a webhook waits for it.

        Raises:
            ForgeError: The refs could not be told; nothing has changed.
            StorageError: They could not be written; nothing has changed.
        """
        known = self._sure(known)
        finding = self._look(repository, known, catch_up=catch_up, woken=woken, urgent=urgent)
        # Not before: after a failure the caller keeps the standing that may be out of date.
        self._unsure.discard(known.id)
        return finding

    def _look(
        self,
        repository: Repository,
        known: Watched,
        *,
        catch_up: bool,
        woken: bool,
        urgent: bool,
    ) -> Finding:
        is_same_question = known.digest is not None and known.watched == patterns_of(
            repository.refs
        )
        client = self._client_for(repository)
        asked_at = self._now()
        reply = client.list_refs(
            repository,
            validator=_validator_of(known) if is_same_question else {},
            timeout_s=self._timeout_s,
            urgent=urgent,
        )
        known = _located(known, reply)
        if not reply.lag:
            self._fresh[known.id] = _Fresh(asked_at, self._now(), reply.read_by)
        if reply.refs is None:
            self._doubted.discard(known.id)
            return self._unmoved(repository, known, reply, catch_up=catch_up, woken=woken)
        after = repository.refs.choose(reply.refs)
        to_digest = digest(after)
        if is_same_question and to_digest == known.digest:
            self._doubted.discard(known.id)
            return self._unmoved(repository, known, reply, catch_up=catch_up, woken=woken)
        if self._may_be_older(known, reply, asked_at):
            log.debug("answer may be older than ours", extra={"repository": repository.name})
            return Finding(known)
        self._doubt(known, reply.refs)
        return self._advance(repository, known, reply, after, to_digest, catch_up=catch_up)

    def _sure(self, known: Watched) -> Watched:
        """Take the snapshot's standing from the database where ours may be out of date.

        Else a change that was written and then taken back would seem not to be one.
        """
        if known.id not in self._unsure:
            return known
        written = self._store.watched(known.id)
        return replace(
            known,
            sequence=written.sequence,
            digest=written.digest,
            watched=written.watched,
            refs_count=written.refs_count,
            default_branch=written.default_branch,
            last_change_at=written.last_change_at,
        )

    def _may_be_older(self, known: Watched, reply: RefsReply, asked_at: datetime) -> bool:
        """Tell whether an answer may be from before the snapshot, and its changes backwards.

        It is asked for again, and believed once it can only be newer.
        """
        is_by_another = known.read_by != reply.read_by
        fresh_at = known.last_poll_at if is_by_another else None
        fresh = self._fresh.get(known.id)
        if fresh is not None:
            # What a way keeps it was told in the course of a reading of its own; another's answer
            # may have been on its way as long as that one took.
            fresh_at = fresh.asked_at if fresh.read_by == reply.read_by else fresh.told_at
        return fresh_at is not None and timedelta(0) <= asked_at - fresh_at < reply.lag

    def _doubt(self, known: Watched, refs: Refs) -> None:
        """Refuse an answer without any ref the first time: servers lie so when they are unwell."""
        if refs or known.refs_count == 0 or known.id in self._doubted:
            self._doubted.discard(known.id)
            return
        self._doubted.add(known.id)
        raise ForgeAnswerInvalid(
            f"it told no refs at all where there were {known.refs_count}; "
            "it is asked again before that is believed"
        )

    def _advance(
        self,
        repository: Repository,
        known: Watched,
        reply: RefsReply,
        after: Refs,
        to_digest: str,
        *,
        catch_up: bool,
    ) -> Finding:
        before = self._store.snapshot(known.id) if known.digest is not None else {}
        moved = diff(before, after)
        events = self._events(repository, known, moved, catch_up=catch_up)
        step = Advance(
            repository_id=known.id,
            from_sequence=known.sequence,
            from_digest=known.digest,
            to_digest=to_digest,
            watched=patterns_of(repository.refs),
            refs_count=len(after),
            default_branch=_default_branch(known, reply),
            upserts={c.ref: c.after for c in moved if c.after is not None},
            removals=tuple(c.ref for c in moved if c.after is None),
            events=events,
            owed=(),
            at=self._now(),
        )
        return self._take(repository, known, reply, step)

    def _unmoved(
        self,
        repository: Repository,
        known: Watched,
        reply: RefsReply,
        *,
        catch_up: bool,
        woken: bool,
    ) -> Finding:
        """Conclude that nothing has changed; where something should have, ask what came back."""
        standing = _seen(known, reply)
        if not woken or known.last_poll_at is None or known.digest is None:
            return Finding(standing)
        since = known.last_poll_at - CLOCKS_APART
        # By their clock a push may be newer, or older, than by ours when it was found.
        found_since = since - CLOCKS_APART
        noted_since = found_since - CLOCKS_APART
        told = self._client_for(repository).pushes(repository, since=noted_since, timeout_s=LOG_S)
        pushes = [push for push in told or () if repository.refs.watches(push.ref)]
        if not pushes:
            return Finding(standing)
        refs = self._store.snapshot(known.id)
        moves = self._store.moves(known.id, since=found_since)
        there_and_back = round_trips(pushes, refs, moves, since=since)
        if not there_and_back:
            return Finding(standing)
        at = self._now()
        step = Advance(
            repository_id=known.id,
            from_sequence=known.sequence,
            from_digest=known.digest,
            to_digest=known.digest,
            watched=patterns_of(repository.refs),
            refs_count=known.refs_count,
            default_branch=known.default_branch,
            upserts={p.ref: refs[p.ref] for p in there_and_back if p.ref in refs},
            removals=(),
            events=tuple(
                _recorded(push, known, sequence, at, catch_up=catch_up)
                for sequence, push in enumerate(there_and_back, start=known.sequence + 1)
            ),
            owed=(),
            at=at,
        )
        return self._take(repository, known, reply, step)

    def _take(
        self, repository: Repository, known: Watched, reply: RefsReply, step: Advance
    ) -> Finding:
        """Work out who is owed what, and take the step."""
        step, described = self._filled(repository, step)
        events = step.events
        self._unsure.add(known.id)
        if not self._store.advance(step, fence=self._fence):
            log.warning("snapshot had moved meanwhile", extra={"repository": repository.name})
            return Finding(self._sure(known))
        self._unsure.discard(known.id)
        if step.hold:
            _tell_of_storm(repository, step)
        return Finding(
            _advanced(known, step, reply),
            events,
            _owed_events(step),
            changed=bool(events),
            described=described,
        )

    def _filled(self, repository: Repository, step: Advance) -> tuple[Advance, frozenset[str]]:
        """Add to a step whom its events are owed to, and tell which are described already."""
        owed = self._owed(repository, step.events)
        details: dict[str, Details] = {}
        if owed and repository.paths:
            wanted = {one.event_id for one in owed}
            seen = self._inspected(repository, [e for e in step.events if e.id in wanted])
            owed = [one for one in owed if not seen[one.event_id].is_missed]
            details = {of: one.details for of, one in seen.items() if one.details is not None}
            events = tuple(seen[e.id].event if e.id in seen else e for e in step.events)
            step = replace(step, events=events, details=details)
        hold = 0 < self._storm_limit < len({one.event_id for one in owed})
        return replace(step, owed=tuple(owed), hold=hold), frozenset(details)

    def _inspected(self, repository: Repository, events: Sequence[Event]) -> dict[str, Seen]:
        client = self._client_for(repository)
        return {one.event.id: one for one in inspect(client, repository, events)}

    def _events(
        self, repository: Repository, known: Watched, moved: Sequence[Change], *, catch_up: bool
    ) -> tuple[Event, ...]:
        told = [change for change in moved if self._is_news(repository.refs, known, change)]
        at = self._now()
        return tuple(
            record(
                change,
                key=known.key,
                sequence=sequence,
                detected_at=at,
                catch_up=catch_up,
            )
            for sequence, change in enumerate(told, start=known.sequence + 1)
        )

    def _is_news(self, wanted: RefFilter, known: Watched, change: Change) -> bool:
        """Tell a change of the repository from a change of what we look at."""
        if known.watched is None:
            return self._trigger_on_baseline
        looked_at = filter_of(known.watched)
        return looked_at.watches(change.ref) and wanted.watches(change.ref)

    def _owed(self, repository: Repository, events: Sequence[Event]) -> list[Owed]:
        wanted_by = [self._receivers[n] for n in repository.receivers if n in self._receivers]
        return [
            Owed(event.id, receiver.name, receiver.payload)
            for event in events
            for receiver in wanted_by
            if event.kind.change in receiver.changes and receiver.refs.takes(event.ref)
        ]


def _recorded(push: Push, known: Watched, sequence: int, at: datetime, *, catch_up: bool) -> Event:
    """Make the event of a push that the forge itself noted."""
    before, after = (None if not one.strip("0") else one for one in (push.before, push.after))
    return record(
        Change(push.ref, before, after),
        key=known.key,
        sequence=sequence,
        detected_at=at,
        forced=push.forced,
        pushed_at=push.at,
        catch_up=catch_up,
    )


def _validator_of(known: Watched) -> dict[str, str]:
    """Return the validator, if it is the present snapshot's.

    The two are not written together. With another snapshot's validator, a repository that moved
    and moved back would seem not to have moved at all.
    """
    validator = dict(known.validator)
    return validator if validator.pop(SNAPSHOT, None) == known.digest else {}


def _default_branch(known: Watched, reply: RefsReply) -> str | None:
    """Return the newest that was told, unless it is longer than can be kept."""
    told = reply.default_branch
    return told if told and len(told) <= LONGEST_REF else known.default_branch


def _located(known: Watched, reply: RefsReply) -> Watched:
    """Note where the repository has moved to, or that it is where it is configured, if told."""
    if reply.moved_to is None or reply.moved_to == (known.facts.get(MOVED_TO) or HERE):
        return known
    return replace(known, facts={**known.facts, MOVED_TO: reply.moved_to or None})


def _seen(known: Watched, reply: RefsReply) -> Watched:
    """Keep the standing, with the newest answer's validator, and those of other ways of reading.

    They tell the same snapshot, so whichever way is asked next is asked only for what is new.
    """
    kept = _validator_of(known)
    if reply.refs is not None or reply.validator:
        kept = {name: text for name, text in kept.items() if _is_of_another(name, reply.read_by)}
    return replace(
        known,
        validator=_bound({**kept, **reply.validator}, known.digest),
        read_by=reply.read_by,
    )


def _is_of_another(name: str, way: str) -> bool:
    """Tell whether a part of a validator is marked as made by another way of reading."""
    made_by, colon, _ = name.partition(":")
    return bool(colon) and made_by != way


def _bound(validator: Mapping[str, str], to_digest: str | None) -> dict[str, str]:
    return {**validator, SNAPSHOT: to_digest} if validator and to_digest else {}


def _owed_events(step: Advance) -> tuple[Event, ...]:
    ids = {owed.event_id for owed in step.owed}
    return tuple(event for event in step.events if event.id in ids)


def _tell_of_storm(repository: Repository, step: Advance) -> None:
    held = _owed_events(step)
    log.warning(
        "storm held",
        extra={
            "repository": repository.name,
            "changes": len(held),
            "hold": hold_id(event=held[0].id),
        },
    )


def _advanced(known: Watched, step: Advance, reply: RefsReply) -> Watched:
    return replace(
        known,
        sequence=known.sequence + len(step.events),
        digest=step.to_digest,
        watched=step.watched,
        refs_count=step.refs_count,
        default_branch=step.default_branch,
        last_change_at=step.at if step.events else known.last_change_at,
        validator=_bound(reply.validator, step.to_digest),
        read_by=reply.read_by,
    )
