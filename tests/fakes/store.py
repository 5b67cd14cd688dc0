"""A database of one's own making: what the services need of it, in a dict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from app.domain.details import Details
from app.domain.errors import InputInvalid, LeaseLost, StorageUnavailable
from app.domain.event import Event
from app.domain.repository import Repository
from app.domain.round_trips import Move
from app.storage.records import Advance, Owed, PollRecord, PollState, Watched

FENCE = 7


@dataclass
class FakeStore:
    """Obeys the stores that the catalog and the branch monitor ask for."""

    fence: int = FENCE
    refs: dict[int, dict[str, str]] = field(default_factory=dict)
    known: dict[int, Watched] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    owed: list[Owed] = field(default_factory=list)
    details: dict[str, Details] = field(default_factory=dict)
    storms: list[Advance] = field(default_factory=list)  # steps that were held
    states: list[PollState] = field(default_factory=list)
    records: list[PollRecord] = field(default_factory=list)
    is_down: bool = False
    refuses: bool = False  # what a poll left behind, as the database refuses a number too large
    has_moved: bool = False
    loses_answers: bool = False  # what is written is durable, and the writer is told it failed

    def _check(self, fence: int) -> None:
        if self.is_down:
            raise StorageUnavailable("the disk is full")
        if fence != self.fence:
            raise LeaseLost("another process polls")

    def sync_repositories(
        self, wanted: Sequence[Repository], *, now: datetime, fence: int
    ) -> list[Watched]:
        self._check(fence)
        made = [
            Watched(id=number, key=r.url, name=r.name, url=r.url, forge=r.forge)
            for number, r in enumerate(wanted, start=1)
        ]
        for one in made:
            self.known.setdefault(one.id, one)
        return [self.known[one.id] for one in made]

    def watched(self, repository_id: int) -> Watched:
        return self.known[repository_id]

    def snapshot(self, repository_id: int) -> dict[str, str]:
        return dict(self.refs.get(repository_id, {}))

    def moves(self, repository_id: int, *, since: datetime) -> list[Move]:
        return [(e.ref, e.before, e.after) for e in self.events if e.detected_at >= since]

    def advance(self, step: Advance, *, fence: int) -> bool:
        self._check(fence)
        known = self.known.get(step.repository_id)
        is_start = known is None or (known.sequence, known.digest) == (
            step.from_sequence,
            step.from_digest,
        )
        if self.has_moved or not is_start:
            return False
        refs = self.refs.setdefault(step.repository_id, {})
        for ref in step.removals:
            del refs[ref]
        refs.update(step.upserts)
        self.events.extend(step.events)
        self.owed.extend(step.owed)
        self.details.update(step.details)
        if step.hold:
            self.storms.append(step)
        if step.repository_id in self.known:
            self.known[step.repository_id] = replace(
                self.known[step.repository_id],
                sequence=step.from_sequence + len(step.events),
                digest=step.to_digest,
                watched=step.watched,
                refs_count=step.refs_count,
                default_branch=step.default_branch,
            )
        if self.loses_answers:
            raise StorageUnavailable("the connection broke in the commit")
        return True

    def flush_polls(
        self, states: Sequence[PollState], records: Sequence[PollRecord], *, fence: int
    ) -> None:
        self._check(fence)
        if self.refuses:
            raise InputInvalid("the database cannot hold it")
        self.states.extend(states)
        self.records.extend(records)


def some_refs(**branches: str) -> Mapping[str, str]:
    """Spell branches briefly: ``some_refs(main="a1")``; ids are padded to their full length."""
    return {f"refs/heads/{name}": at.ljust(40, "0") for name, at in branches.items()}
