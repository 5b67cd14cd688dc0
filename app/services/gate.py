"""What stands before each receiver: which lanes may send to it now, and how much.

A *lane* is what one receiver is owed from one repository, or, where order does not matter to it, a
part of that. It comes to the gate when it is due, first come first served, and back to the end of
the line after each of its turns.
"""

import itertools
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from app.domain.breaker import Breaker
from app.domain.delivery import LONGEST_RETRY_AFTER, Answer
from app.domain.pacing import TokenBucket
from app.settings.types import Receiver

# Receiver, repository, part.
LaneKey: TypeAlias = tuple[str, int, int]

# Claimed in one transaction and then sent one by one: a disk that syncs in 3 ms would otherwise
# allow a repository no more than 300 deliveries a second.
BATCH = 32
# A fast receiver's tokens are waited for a tenth of a second: one by one, each would be a claim.
GATHER_S = 0.1
PUT_OFF = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Circuit:
    """How a receiver's circuit stands: open since when and why, and what waits for it.

    ``opened_at`` is None while it is closed. ``waiting`` counts the lanes that wait at the gate.
    """

    opened_at: datetime | None
    failures: int
    reason: str | None
    next_probe_at: datetime | None
    waiting: int


@dataclass(slots=True)
class Turn:
    """A lane's leave to send at most so many deliveries.

    A probe asks whether the receiver is back. One that ``is_early`` does not wait for its own time.
    """

    lane: LaneKey
    limit: int
    is_probe: bool = False
    is_early: bool = False
    was_heard: bool = False


class Gate:
    """The gate of one receiver; whoever uses it holds the dispatcher's lock."""

    def __init__(self, receiver: Receiver, *, at: datetime) -> None:
        self.receiver = receiver
        self.breaker = Breaker(receiver.retry)
        # Into how many parts a lane is divided; None: it is sent in order, as one.
        self.shards = None if receiver.order == "repository" else receiver.concurrency
        self.is_shut = False  # by a person, or since the receiver said that it is gone
        self._bucket = TokenBucket(receiver.rate, at) if receiver.rate else None
        self._places = itertools.count()
        self._line: dict[LaneKey, int] = {}  # due, with their places
        # Failed and not due yet: while the circuit is open they may be its probe all the same.
        self._behind: dict[LaneKey, int] = {}
        # From when on they may: not before the time that the answer asked for.
        self._failing: dict[LaneKey, datetime] = {}
        self._serving = 0

    def __contains__(self, lane: LaneKey) -> bool:
        """Tell whether a lane waits for its turn."""
        return lane in self._line

    def circuit(self) -> Circuit:
        """Say how the circuit stands."""
        breaker = self.breaker
        waiting = len(self._line) + len(self._behind)
        return Circuit(
            breaker.opened_at, breaker.failures, breaker.reason, breaker.next_probe_at, waiting
        )

    def arrive(self, lane: LaneKey) -> None:
        """Let a lane that is due join the line."""
        self._behind.pop(lane, None)
        self._line.setdefault(lane, next(self._places))

    def admit(self, now: datetime) -> Turn | None:
        """Choose whose turn it is, if anyone's; it must :meth:`leave` afterwards."""
        if self.is_shut or self._serving >= self.receiver.concurrency:
            return None
        if self._bucket is not None and not self._bucket.available(now):
            return None
        turn = self._probe(now) if self.breaker.is_open else self._first()
        if turn is None:
            return None
        if self._bucket is not None:
            turn.limit = self._bucket.take(self._share(self._bucket, turn, now), now)
        self._line.pop(turn.lane, None)
        self._behind.pop(turn.lane, None)
        self._serving += 1
        if turn.is_probe:
            self.breaker.begin_probe()
        return turn

    def give_back(self, turn: Turn, unused: int) -> None:
        """Return what a turn does not need after all, so that others may have it."""
        if self._bucket is not None:
            self._bucket.give_back(unused)
        turn.limit -= unused

    def hear(self, turn: Turn, answer: Answer, *, at: datetime, chance: float) -> None:
        """Take note of what came of an attempt."""
        turn.was_heard = True
        self.breaker.hear(answer, of=turn.lane, at=at, chance=chance, is_probe=turn.is_probe)
        if self.breaker.failures:
            asked_for = min(answer.retry_after or timedelta(), LONGEST_RETRY_AFTER)
            self._failing[turn.lane] = at + asked_for
        else:
            self._failing.pop(turn.lane, None)

    def spare(self, turn: Turn) -> None:
        """Let a lane be no probe before its own time: it has nothing that may go now."""
        self._failing.pop(turn.lane, None)

    def leave(self, turn: Turn, *, due_at: datetime | None, now: datetime) -> None:
        """End a turn; ``due_at`` is when the lane wants its next, None when it is empty."""
        self._serving -= 1
        must_wait = due_at is not None and due_at > now
        if turn.is_probe:
            # One that could not be sent although it was there is not tried again and again.
            is_put_off = must_wait and not turn.was_heard
            self.breaker.end_probe(not_before=now + PUT_OFF if is_put_off else None)
        if due_at is None:
            self._failing.pop(turn.lane, None)
        elif must_wait and turn.lane in self._failing:
            self._behind[turn.lane] = next(self._places)

    def may_go_on(self, turn: Turn) -> bool:
        """Tell whether a turn's next attempt may begin."""
        return not self.is_shut and (turn.is_probe or not self.breaker.is_open)

    def wait(self, now: datetime) -> timedelta | None:
        """Return after how long somebody may be admitted; None: not before something happens."""
        if self.is_shut or self._serving >= self.receiver.concurrency:
            return None
        wait = timedelta()
        if self.breaker.is_open:
            if self.breaker.is_probing or not (self._line or self._behind):
                return None
            wait = self.breaker.wait(now)
            if not self._line and self._early(now + wait) is None:
                wait = min(self._failing[lane] for lane in self._behind) - now
        elif not self._line:
            return None
        if self._bucket is not None:
            wanted = max(1, min(BATCH, int(self._bucket.burst * GATHER_S)))
            wait = max(wait, self._bucket.wait(now, wanted=wanted))
        return wait

    def _first(self) -> Turn | None:
        lane = next(iter(self._line), None)
        return None if lane is None else Turn(lane, BATCH)

    def _probe(self, now: datetime) -> Turn | None:
        """Choose the lane that has waited longest, whether its own time has come or not."""
        if self.breaker.is_probe_due(now):
            due, early = next(iter(self._line.items()), None), self._early(now)
            heads = [head for head in (due, early) if head is not None]
            if heads:
                lane = min(heads, key=lambda head: head[1])[0]
                return Turn(lane, 1, is_probe=True, is_early=lane in self._behind)
        elif self.breaker.suspect is not None and not self.breaker.is_probing:
            others = (lane for lane in self._line if lane != self.breaker.suspect)
            for lane in others:
                return Turn(lane, 1, is_probe=True)
        return None

    def _early(self, at: datetime) -> tuple[LaneKey, int] | None:
        """Return who has waited longest of those that failed and may be a probe at that time."""
        behind = self._behind.items()
        return next((head for head in behind if self._failing[head[0]] <= at), None)

    def _share(self, bucket: TokenBucket, turn: Turn, now: datetime) -> int:
        """Divide the tokens among the lanes that can be served beside each other."""
        free = self.receiver.concurrency - self._serving
        beside = max(1, min(len(self._line), free))
        return min(turn.limit, max(1, bucket.available(now) // beside))
