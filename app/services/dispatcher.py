"""Deliveries that are owed: send them in order, record every attempt, come back when it is time.

A *lane* is what one receiver is owed from one repository. Its deliveries are sent one after the
other; one that waits for its next try holds its successors back, one that is dead does not.
The database is the truth, and only the first of each lane is kept in mind here.
"""

import heapq
import itertools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias

from app.delivery.payloads import Rendered
from app.domain.delivery import (
    Answer,
    DeliveryState,
    Parcel,
    Verdict,
    is_given_up,
    judge,
    longest_wait,
    next_wait,
)
from app.domain.errors import LeaseLost, PayloadUnrenderable, StorageError, StorageUnavailable
from app.settings.types import Receiver
from app.storage.records import AttemptResult, Lane, Prepared

log = logging.getLogger(__name__)

LaneKey: TypeAlias = tuple[str, int]

# Claimed in one transaction and then sent one by one: a disk that syncs in 3 ms would otherwise
# allow a repository no more than 300 deliveries a second.
BATCH = 32
# How often the database is asked for what others have owed (a redelivery from another process).
LOOK_AROUND_S = 2.0
# How often everything owed is read anew, in case a foreign transaction ended out of order.
TAKE_STOCK_S = 60.0
# After the database failed us.
STORAGE_PAUSE_S = 1.0
CLAIM_SLACK = timedelta(seconds=10)


class Outbox(Protocol):
    """The deliveries that are not finished."""

    def lanes(self, *, fence: int) -> list[Lane]:
        """List every lane that has something unfinished, by its first."""
        ...

    def lanes_since(self, position: int, *, fence: int) -> list[Lane]:
        """List the lanes to which something came after ``position``, by their first."""
        ...

    def last_position(self) -> int:
        """Return the position of the newest delivery, 0 when there is none."""
        ...

    def parcels(self, receiver: str, repository_id: int, *, limit: int, fence: int) -> list[Parcel]:
        """List a lane's first unfinished deliveries in their order."""
        ...

    def claim(
        self, prepared: Sequence[Prepared], *, at: datetime, until: datetime, fence: int
    ) -> list[int]:
        """Claim deliveries for sending, and keep their bytes; return the positions claimed."""
        ...

    def conclude(
        self, results: Sequence[AttemptResult], *, release: Sequence[int] = (), fence: int
    ) -> "Future[None]":
        """Record attempts and what became of their deliveries; give other claims back."""
        ...

    def disabled_receivers(self) -> set[str]:
        """Name the receivers that said 410 or were paused by a person."""
        ...

    def disable_receiver(self, name: str, *, reason: str, at: datetime) -> None:
        """Send nothing more to a receiver until a person allows it again."""
        ...


class Sender(Protocol):
    """Sends to one receiver."""

    def send(
        self, *, payload: str, body: bytes, headers: Mapping[str, str], delivery_id: str
    ) -> Answer:
        """Make one attempt; never raises."""
        ...


class Observer(Protocol):
    """Hears of every attempt as it is recorded."""

    def attempted(self, parcel: Parcel, result: AttemptResult) -> None:
        """Take note; must not block and must not raise."""
        ...


@dataclass(frozen=True, slots=True)
class _Stamped:
    """A parcel with its bytes, or with the reason why there are none."""

    parcel: Parcel
    prepared: Prepared
    error: str | None = None


class _Ledger:
    """Writes attempts down while the next is sent, those that come meanwhile together."""

    def __init__(
        self,
        record: "Callable[[Sequence[AttemptResult], Sequence[int]], Future[None]]",
        pause: Callable[[], bool],
    ) -> None:
        self._record = record
        self._pause = pause
        self._unwritten: list[AttemptResult] = []
        self._writing: list[AttemptResult] = []
        self._future: Future[None] | None = None

    def add(self, result: AttemptResult) -> None:
        """Note an attempt, and begin to write if nothing is being written."""
        self._unwritten.append(result)
        if self._future is None or self._future.done():
            self._settle()
            self._begin(())

    def close(self, *, release: Sequence[int]) -> None:
        """See everything written, and the claims on ``release`` given back."""
        self._settle()
        if self._unwritten or release:
            self._begin(release)
            self._settle(release)

    def _begin(self, release: Sequence[int]) -> None:
        self._writing, self._unwritten = self._unwritten, []
        self._future = self._record(self._writing, release)

    def _settle(self, release: Sequence[int] = ()) -> None:
        """Wait for what is being written, and try again while the database fails.

        To forget what was sent would be to send it twice.
        """
        while self._future is not None:
            try:
                self._future.result()
                self._future = None
            except StorageUnavailable:
                log.warning("attempts not recorded yet", extra={"attempts": len(self._writing)})
                if not self._pause():
                    raise
                self._future = self._record(self._writing, release)


def _as_they_are(parcels: Sequence[Parcel]) -> Sequence[Parcel]:
    return parcels


class Dispatcher:
    """Sends while the lease is held: start it with the lease's fence, stop it when it is lost."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        receivers: Mapping[str, Receiver],
        sender_for: Callable[[str], Sender],
        render: Callable[[Parcel], Rendered],
        observers: Sequence[Observer],
        fence: int,
        may_send: Callable[[], bool],
        lease_lost: Callable[[], None],
        now: Callable[[], datetime],
        chance: Callable[[], float],
        enrich: Callable[[Sequence[Parcel]], Sequence[Parcel]] = _as_they_are,
    ) -> None:
        self._outbox = outbox
        self._receivers = receivers
        self._sender_for = sender_for
        self._render = render
        self._enrich = enrich
        self._observers = observers
        self._fence = fence
        self._may_send = may_send
        self._lease_lost = lease_lost
        self._now = now
        self._chance = chance
        # Receivers to which nothing is sent. They are read one after the other, so that an older
        # reading never replaces a newer one.
        self._heeding = threading.Lock()
        self._closed: frozenset[str] = frozenset()
        # Guards everything below it.
        self._state = threading.Condition()
        self._due: dict[LaneKey, datetime] = {}
        self._heap: list[tuple[datetime, int, LaneKey]] = []
        self._count = itertools.count()
        self._busy: dict[LaneKey, bool] = {}  # True: something came while it was busy
        self._is_told = True
        self._is_stopping = False
        self._seen_position = 0
        self._stock_at = now()
        self._pools = {
            name: ThreadPoolExecutor(receiver.concurrency, thread_name_prefix=f"send-{name}")
            for name, receiver in receivers.items()
        }
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Begin with everything that is owed."""
        self._thread.start()

    def owed(self) -> None:
        """Say that something new is owed; returns at once."""
        with self._state:
            self._is_told = True
            self._state.notify_all()

    def heed_receivers(self) -> None:
        """Learn which receivers are closed: no further attempt to one of them begins.

        What is owed to one that is open again is planned anew.

        Raises:
            StorageError: They could not be read; the next look around tries again.
        """
        with self._heeding:
            before, self._closed = self._closed, frozenset(self._outbox.disabled_receivers())
            if before - self._closed:
                self.take_stock()

    def take_stock(self) -> None:
        """Read everything owed anew; returns at once."""
        with self._state:
            self._stock_at = self._now()
            self._is_told = True
            self._state.notify_all()

    def stop(self, timeout_s: float) -> bool:
        """Begin no more attempts, wait for those under way; False if some still are."""
        with self._state:
            self._is_stopping = True
            self._state.notify_all()
        for pool in self._pools.values():
            # Not cancelled: what has not begun sees that we stop, and ends as a lane's turn does.
            pool.shutdown(wait=False)
        with self._state:
            return self._state.wait_for(lambda: not self._busy, timeout_s)

    @property
    def is_alive(self) -> bool:
        """Whether it sends."""
        return self._thread.is_alive()

    # The loop that must not die.

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                if self._is_stock_due():
                    self._take_stock()
                else:
                    self._look_around()
                self._hand_out()
                self._rest(LOOK_AROUND_S)
            except LeaseLost:
                self._lease_lost()
                return
            except StorageError as error:
                log.warning("outbox cannot be reached", extra={"error": str(error)})
                self._start_over()
            except Exception as error:
                log.exception("dispatcher could not go on", extra={"error": str(error)})
                self._start_over()

    def _start_over(self) -> None:
        """Rest for a moment, and then read everything owed anew."""
        self._stock_at = self._now()
        self._rest(STORAGE_PAUSE_S)

    def _is_stock_due(self) -> bool:
        """Tell whether it is time, or the clock was set back since that was planned."""
        wait_s = (self._stock_at - self._now()).total_seconds()
        return not 0 < wait_s <= TAKE_STOCK_S

    def _rest(self, longest_s: float) -> None:
        """Sleep until something is owed or due, and not longer than told."""
        with self._state:
            wait_s = longest_s
            if self._heap:
                wait_s = min(wait_s, (self._heap[0][0] - self._now()).total_seconds())
            if wait_s > 0 and not self._is_told and not self._is_stopping:
                self._state.wait(wait_s)

    def _take_stock(self) -> None:
        with self._state:
            self._is_told = False
            self._stock_at = self._now() + timedelta(seconds=TAKE_STOCK_S)
        newest = self._outbox.last_position()
        lanes = self._outbox.lanes(fence=self._fence)
        self._seen_position = max(newest, self._seen_position)
        self._plan(lanes)

    def _look_around(self) -> None:
        with self._state:
            self._is_told = False
        newest = self._outbox.last_position()
        if newest > self._seen_position:
            self._plan(self._outbox.lanes_since(self._seen_position, fence=self._fence))
            self._seen_position = newest

    def _plan(self, lanes: Sequence[Lane]) -> None:
        with self._state:
            for lane in lanes:
                self._put((lane.receiver, lane.repository_id), lane.due_at)

    def _put(self, key: LaneKey, due_at: datetime) -> None:
        """Note when a lane is due; call it with the lock held."""
        due_at = self._believed(key[0], due_at)
        if key in self._busy:
            self._busy[key] = True
        elif self._due.get(key) != due_at:
            self._due[key] = due_at
            heapq.heappush(self._heap, (due_at, next(self._count), key))

    def _believed(self, receiver: str, due_at: datetime) -> datetime:
        """Return when something is due: now if it seems further off than any wait of ours.

        The clock was set back since then; nothing waits for it to catch up.
        """
        known, at = self._receivers.get(receiver), self._now()
        return at if known and due_at - at > longest_wait(known.retry) else due_at

    def _hand_out(self) -> None:
        """Give every lane that is due to its receiver's pool."""
        self.heed_receivers()
        with self._state:
            while self._heap and self._heap[0][0] <= self._now() and not self._is_stopping:
                due_at, _, key = heapq.heappop(self._heap)
                if self._due.get(key) != due_at:
                    continue  # planned anew meanwhile
                del self._due[key]
                receiver = key[0]
                if receiver in self._pools and receiver not in self._closed:
                    self._busy[key] = False
                    self._pools[receiver].submit(self._serve, key)

    # One lane, in one of its receiver's threads.

    def _serve(self, key: LaneKey) -> None:
        again_at: datetime | None = None
        try:
            again_at = self._send_what_is_due(key)
        except LeaseLost:
            self._lease_lost()
        except StorageError as error:
            log.warning("outbox cannot be reached", extra={"error": str(error)})
            again_at = self._now() + timedelta(seconds=STORAGE_PAUSE_S)
        except Exception:  # one of the loops that must not die
            log.exception("delivery broke", extra={"receiver": key[0]})
            again_at = self._now() + timedelta(seconds=STORAGE_PAUSE_S)
        with self._state:
            if self._busy.pop(key):  # what came meanwhile may be due before that
                again_at = self._now()
            if again_at is not None:
                self._put(key, again_at)
            self._state.notify_all()

    def _send_what_is_due(self, key: LaneKey) -> datetime | None:
        """Send until the lane is empty or closed (None), or say when it is due again."""
        receiver = self._receivers[key[0]]
        while not self._is_stopping and receiver.name not in self._closed:
            if not self._may_send():  # known soon: the lease is renewed or lost
                return self._now() + timedelta(seconds=STORAGE_PAUSE_S)
            parcels = self._outbox.parcels(*key, limit=BATCH, fence=self._fence)
            if not parcels:
                return None
            due = list(itertools.takewhile(self._is_due, parcels))
            if not due:
                return parcels[0].due_at
            again_at = self._send_batch(receiver, due)
            if again_at is not None:
                return again_at
        return None

    def _is_due(self, parcel: Parcel) -> bool:
        return self._believed(parcel.receiver, parcel.due_at) <= self._now()

    def _send_batch(self, receiver: Receiver, parcels: Sequence[Parcel]) -> datetime | None:
        """Send a lane's first deliveries in order; say when to come back if one must wait."""
        at = self._now()
        until = at + receiver.timeout * 2 + CLAIM_SLACK
        stamped = {p.position: self._stamp(p) for p in self._enriched(parcels)}
        claimed = self._outbox.claim(
            [s.prepared for s in stamped.values()], at=at, until=until, fence=self._fence
        )
        if not claimed:
            return self._now() + timedelta(seconds=STORAGE_PAUSE_S)
        ledger = _Ledger(self._record, self._pause_for_storage)
        left = list(claimed)
        again_at: datetime | None = None
        try:
            while left and again_at is None and not self._must_pause(receiver, until):
                done = stamped[left.pop(0)]
                result = self._attempt(receiver, done)
                ledger.add(result)
                self._tell(receiver, done.parcel, result)
                again_at = result.retry_at
        finally:  # whatever broke, what was sent is written down, or it would be sent again
            ledger.close(release=left)
        return again_at

    def _must_pause(self, receiver: Receiver, until: datetime) -> bool:
        if self._is_stopping or receiver.name in self._closed or not self._may_send():
            return True
        return self._now() + receiver.timeout > until

    def _enriched(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """Add what is known by now to those that have no bytes yet."""
        bare = [parcel for parcel in parcels if parcel.body is None]
        if not bare:
            return parcels
        full = {parcel.position: parcel for parcel in self._enrich(bare)}
        return [full.get(parcel.position, parcel) for parcel in parcels]

    def _stamp(self, parcel: Parcel) -> _Stamped:
        if parcel.body is not None and parcel.headers is not None:
            return _Stamped(parcel, Prepared(parcel.position, parcel.body, parcel.headers))
        try:
            made = self._render(parcel)
        except PayloadUnrenderable as error:
            return _Stamped(parcel, Prepared(parcel.position, b"", {}), str(error))
        return _Stamped(parcel, Prepared(parcel.position, made.body, made.headers))

    def _attempt(self, receiver: Receiver, stamped: _Stamped) -> AttemptResult:
        parcel = stamped.parcel
        started_at = self._now()
        if stamped.error is not None:
            answer = Answer(None, error=stamped.error)
            return AttemptResult(parcel.position, started_at, 0, answer, DeliveryState.DEAD)
        answer = self._sender_for(receiver.name).send(
            payload=parcel.payload,
            body=stamped.prepared.body,
            headers=stamped.prepared.headers,
            delivery_id=parcel.delivery_id,
        )
        ended_at = self._now()
        number = parcel.attempts_made + 1
        verdict = judge(answer.status, expect=receiver.expect, attempt=number)
        if verdict is Verdict.DISABLE:
            self._disable(receiver, f"it answered {answer.status}: gone", at=ended_at)
        state, retry_at = _consequence(
            receiver, parcel, answer, verdict, at=ended_at, chance=self._chance()
        )
        duration_ms = round((ended_at - started_at).total_seconds() * 1000)
        return AttemptResult(parcel.position, started_at, duration_ms, answer, state, retry_at)

    def _disable(self, receiver: Receiver, reason: str, *, at: datetime) -> None:
        """Send nothing more to a receiver; where that cannot be written, its next answer says so.

        The attempt counts all the same: not to record it would be to make it twice.
        """
        try:
            self._outbox.disable_receiver(receiver.name, reason=reason, at=at)
            self.heed_receivers()
        except StorageError as error:
            log.warning(
                "receiver not disabled yet",
                extra={"receiver": receiver.name, "error": str(error)},
            )

    def _record(self, results: Sequence[AttemptResult], release: Sequence[int]) -> "Future[None]":
        return self._outbox.conclude(results, release=release, fence=self._fence)

    def _pause_for_storage(self) -> bool:
        """Wait before the database is tried again; False when we are stopping."""
        with self._state:
            self._state.wait_for(lambda: self._is_stopping, STORAGE_PAUSE_S)
            return not self._is_stopping

    def _tell(self, receiver: Receiver, parcel: Parcel, result: AttemptResult) -> None:
        level = logging.INFO if result.state is DeliveryState.DELIVERED else logging.WARNING
        log.log(
            level,
            "delivery attempted",
            extra={
                "repository": parcel.repository_name,
                "ref": parcel.event.ref,
                "receiver": receiver.name,
                "delivery": parcel.delivery_id,
                "state": result.state.value,
                "attempt": parcel.attempts_made + 1,
                "status": result.answer.status,
                "error": result.answer.error,
            },
        )
        for observer in self._observers:
            observer.attempted(parcel, result)


def _consequence(
    receiver: Receiver,
    parcel: Parcel,
    answer: Answer,
    verdict: Verdict,
    *,
    at: datetime,
    chance: float,
) -> tuple[DeliveryState, datetime | None]:
    """Say what an attempt makes of its delivery, and when it is tried again if it is."""
    if verdict is Verdict.DELIVERED:
        return DeliveryState.DELIVERED, None
    if verdict is not Verdict.RETRY:
        return DeliveryState.DEAD, None
    number = parcel.attempts_made + 1
    retry_at = at + next_wait(receiver.retry, answer, attempt=number, chance=chance)
    first_at = parcel.first_attempt_at or at
    if is_given_up(receiver.retry, first_attempt_at=first_at, retry_at=retry_at):
        return DeliveryState.DEAD, None
    return DeliveryState.WAITING, retry_at
