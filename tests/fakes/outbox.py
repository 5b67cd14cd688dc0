"""An outbox in memory, and senders that answer as they are told."""

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime

from app.domain.delivery import Answer, DeliveryState, Parcel
from app.domain.errors import LeaseLost, StorageUnavailable
from app.domain.event import record
from app.domain.snapshot import Change
from app.storage.receivers import ReceiverState
from app.storage.records import AttemptResult, Lane, Prepared
from tests.fakes.clock import NOON
from tests.fakes.store import FENCE

REPOSITORY = 1


def a_parcel(
    position: int, *, receiver: str = "ci", repository_id: int = REPOSITORY, due_at: datetime = NOON
) -> Parcel:
    event = record(
        Change(f"refs/heads/b{position}", None, "a" * 40),
        key="https://git.example.com/acme/website",
        sequence=position,
        detected_at=NOON,
    )
    return Parcel(
        position=position,
        delivery_id=f"delivery-{position}",
        receiver=receiver,
        payload="github",
        redelivery=0,
        attempts_made=0,
        first_attempt_at=None,
        due_at=due_at,
        body=None,
        headers=None,
        event=event,
        repository_id=repository_id,
        repository_name="acme/website",
        repository_url="https://git.example.com/acme/website",
        repository_forge="git",
        default_branch="refs/heads/main",
        labels={},
    )


@dataclass
class FakeOutbox:
    """Obeys the dispatcher's Outbox; what is finished moves from ``owed`` to ``results``."""

    owed: dict[int, Parcel] = field(default_factory=dict)
    results: list[AttemptResult] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)
    fence: int = FENCE
    is_down: bool = False
    newest: int = 0
    times_looked: int = 0  # at which receivers are closed
    claims: int = 0
    reads: int = 0  # of a lane
    hastened: list[str] = field(default_factory=list)
    circuits: dict[str, ReceiverState] = field(default_factory=dict)
    refuses_notes: bool = False
    circuit_notes: list[tuple[str, bool]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def owe(self, *parcels: Parcel) -> None:
        with self.lock:
            for parcel in parcels:
                self.owed[parcel.position] = parcel
                self.newest = max(self.newest, parcel.position)

    def _check(self, fence: int) -> None:
        if self.is_down:
            raise StorageUnavailable("the database is restarting")
        if fence != self.fence:
            raise LeaseLost("another process delivers")

    def lanes(self, *, fence: int) -> list[Lane]:
        return self.lanes_since(0, fence=fence)

    def lanes_since(self, position: int, *, fence: int) -> list[Lane]:
        self._check(fence)
        with self.lock:
            firsts: dict[tuple[str, int], Parcel] = {}
            for at in sorted(self.owed):
                parcel = self.owed[at]
                firsts.setdefault((parcel.receiver, parcel.repository_id), parcel)
            return [
                Lane(p.receiver, p.repository_id, p.position, p.delivery_id, p.due_at)
                for p in firsts.values()
            ]

    def last_position(self) -> int:
        self._check(self.fence)
        return self.newest

    def parcels(
        self,
        receiver: str,
        repository_id: int,
        *,
        limit: int,
        fence: int,
        shard: tuple[int, int] | None = None,
        now: datetime | None = None,
    ) -> list[Parcel]:
        self._check(fence)
        with self.lock:
            self.reads += 1
            ordered = [self.owed[at] for at in sorted(self.owed)]
            wanted = (receiver, repository_id)
            lane = [p for p in ordered if (p.receiver, p.repository_id) == wanted]
            if shard is not None and now is not None:
                own, of = shard
                lane = [p for p in lane if p.position % of == own]
                due = [p for p in lane if p.due_at <= now]
                lane = due or sorted(lane, key=lambda p: p.due_at)[:1]
            return lane[:limit]

    def claim(
        self, prepared: Sequence[Prepared], *, at: datetime, until: datetime, fence: int
    ) -> list[int]:
        self._check(fence)
        with self.lock:
            self.claims += 1
            for item in prepared:
                owed = self.owed[item.position]
                if item.body is not None:
                    payload = item.payload or owed.payload
                    self.owed[item.position] = replace(
                        owed, body=item.body, headers=item.headers, payload=payload
                    )
            return [item.position for item in prepared]

    def conclude(
        self, results: Sequence[AttemptResult], *, release: Sequence[int] = (), fence: int
    ) -> "Future[None]":
        future: Future[None] = Future()
        try:
            self._check(fence)
        except (StorageUnavailable, LeaseLost) as error:
            future.set_exception(error)
            return future
        with self.lock:
            self.results.extend(results)
            self.released.extend(release)
            for result in results:
                parcel = self.owed.pop(result.position)
                asked_for = result.answer.retry_after
                if result.retry_at is not None:
                    self.owed[parcel.position] = replace(
                        parcel,
                        attempts_made=parcel.attempts_made + 1,
                        first_attempt_at=parcel.first_attempt_at or result.started_at,
                        due_at=result.retry_at,
                        asked_until=result.started_at + asked_for if asked_for else None,
                    )
        future.set_result(None)
        return future

    def disable_receiver(self, name: str, *, reason: str, at: datetime) -> None:
        self._check(self.fence)
        self.closed.add(name)

    def receiver_states(self) -> dict[str, ReceiverState]:
        self._check(self.fence)
        with self.lock:
            self.times_looked += 1
            nothing = ReceiverState()
            paused = {
                name: replace(self.circuits.get(name, nothing), paused_at=NOON)
                for name in self.closed
            }
            return self.circuits | paused

    def note_circuit(self, name: str, *, opened_at: datetime | None, reason: str | None) -> None:
        self._check(self.fence)
        if self.refuses_notes:
            raise StorageUnavailable("the database is restarting")
        with self.lock:
            self.circuit_notes.append((name, opened_at is not None))
            self.circuits[name] = ReceiverState(opened_at=opened_at, opened_reason=reason)

    def hasten(self, receiver: str, *, now: datetime) -> None:
        self._check(self.fence)
        with self.lock:
            self.hastened.append(receiver)
            for position, parcel in self.owed.items():
                may_go = parcel.asked_until is None or parcel.asked_until <= now
                is_waiting = parcel.due_at > now and parcel.attempts_made > 0
                if parcel.receiver == receiver and is_waiting and may_go:
                    self.owed[position] = replace(parcel, due_at=now)

    def states(self) -> list[DeliveryState]:
        with self.lock:
            return [result.state for result in self.results]


class FakeSenders:
    """Remembers what was sent, in order, and answers by ``answer``."""

    def __init__(self, answer: Callable[[str, int], Answer]) -> None:
        self.answer = answer
        self.sent: list[str] = []
        self.payloads: list[str] = []  # in which formats
        self.tries: dict[str, int] = defaultdict(int)
        self.most_at_once: dict[str, int] = defaultdict(int)
        self._now: dict[str, int] = defaultdict(int)
        self._lock = threading.Lock()

    def for_receiver(self, name: str) -> "FakeSender":
        return FakeSender(self, name)

    def take(self, name: str, delivery_id: str) -> Answer:
        with self._lock:
            self.tries[delivery_id] += 1
            tried = self.tries[delivery_id]
            self._now[name] += 1
            self.most_at_once[name] = max(self.most_at_once[name], self._now[name])
        answer = self.answer(delivery_id, tried)
        with self._lock:
            self.sent.append(delivery_id)
            self._now[name] -= 1
        return answer


class FakeSender:
    def __init__(self, senders: FakeSenders, name: str) -> None:
        self._senders = senders
        self._name = name

    def send(
        self, *, payload: str, body: bytes, headers: Mapping[str, str], delivery_id: str
    ) -> Answer:
        self._senders.payloads.append(payload)
        return self._senders.take(self._name, delivery_id)
