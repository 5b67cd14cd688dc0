"""Deliveries that are owed: know what is due, and have it sent in order when its turn has come.

A *lane* is what one receiver is owed from one repository. Its deliveries are sent one after the
other; one that waits for its next try holds its successors back, one that is dead does not. Where
order does not matter to a receiver, a lane is divided into as many as it may be sent at once.
The database is the truth, and only the first of each lane is kept in mind here.
"""

import heapq
import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from app.delivery.payloads import Rendered
from app.domain.delivery import Answer, Parcel, Verdict, longest_wait
from app.domain.errors import LeaseLost, StorageError
from app.services.courier import Books, Courier, Errand, Observer, Sender
from app.services.gate import Circuit, Gate, LaneKey, Turn
from app.settings.types import Receiver
from app.storage.receivers import ReceiverState
from app.storage.records import Lane

log = logging.getLogger(__name__)

# How often the database is asked for what others have owed (a redelivery from another process).
LOOK_AROUND_S = 2.0
# How often everything owed is read anew, in case a foreign transaction ended out of order.
TAKE_STOCK_S = 60.0
# After the database failed us.
STORAGE_PAUSE_S = 1.0


class Outbox(Books, Protocol):
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
        """List a lane's first unfinished deliveries in their order.

        Of a ``shard`` (k, n): those whose position leaves k when divided by n and that are due at
        ``now``; where none is, the one that is due soonest, alone.
        """
        ...

    def disable_receiver(self, name: str, *, reason: str, at: datetime) -> None:
        """Send nothing more to a receiver until a person allows it again."""
        ...

    def receiver_states(self) -> "Mapping[str, ReceiverState]":
        """Return what is noted of receivers, open circuits among it."""
        ...

    def note_circuit(self, name: str, *, opened_at: datetime | None, reason: str | None) -> None:
        """Note since when and why a receiver's circuit is open; None: it is closed."""
        ...

    def hasten(self, receiver: str, *, now: datetime) -> None:
        """Let what waits for its next try be due now.

        Not what the receiver refused with 401, 403 or 404: those few tries are for a person who is
        deploying, and would be used up. And not what it asked to wait for.
        """
        ...


def threads(name: str, most: int) -> Executor:
    """Make a pool that sends to one receiver, with at most so many threads."""
    return ThreadPoolExecutor(most, thread_name_prefix=f"send-{name}")


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
        pools: Callable[[str, int], Executor] = threads,
    ) -> None:
        """Make it; nothing begins yet.

        Args:
            outbox: What is owed.
            receivers: To whom, by their names.
            sender_for: Who sends to a receiver.
            render: Makes the bytes before the first attempt.
            observers: Who hears of attempts.
            fence: The lease's number.
            may_send: Whether the lease is surely held.
            lease_lost: Called when it is not.
            now: The time.
            chance: A number in [0, 1) for jitter.
            enrich: Adds what is known by now to parcels without bytes.
            pools: Makes what a receiver is sent from, given its name and how many at once.
        """
        self._outbox = outbox
        self._receivers = receivers
        self._fence = fence
        self._may_send = may_send
        self._lease_lost = lease_lost
        self._now = now
        self._chance = chance
        self._courier = Courier(
            books=outbox,
            sender_for=sender_for,
            render=render,
            enrich=enrich,
            observers=observers,
            fence=fence,
            now=now,
            chance=chance,
            pause=self._pause_for_storage,
        )
        # Receivers are read one after the other, so that an older reading never replaces a newer.
        self._heeding = threading.Lock()
        self._noted: dict[str, datetime | None] = {}  # since when a circuit is said to be open
        # What only the loop uses.
        self._has_recalled = False
        self._seen_position = 0
        # Guards everything below it.
        self._state = threading.Condition()
        self._gates = {name: Gate(receiver, at=now()) for name, receiver in receivers.items()}
        self._due: dict[LaneKey, datetime] = {}
        self._heap: list[tuple[datetime, int, LaneKey]] = []
        self._count = itertools.count()
        self._busy: dict[LaneKey, bool] = {}  # True: something came while it was busy
        self._is_told = True
        self._is_stirred = False  # something changed here that the loop has not seen
        self._is_stopping = False
        self._is_lost = False
        self._stock_at = now()
        self._look_at = now()
        self._pools = {
            name: pools(name, receiver.concurrency) for name, receiver in receivers.items()
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
            states = self._outbox.receiver_states()
            shut = {name for name, state in states.items() if state.is_closed}
            with self._state:
                freed = {name for name, gate in self._gates.items() if gate.is_shut} - shut
                for name, gate in self._gates.items():
                    gate.is_shut = name in shut
            # A person who resumes a receiver takes the note of its open circuit away, too.
            noted = {name for name, opened_at in self._noted.items() if opened_at is not None}
            unnoted = {name for name in noted if name not in states or not states[name].opened_at}
            self._noted.update(dict.fromkeys(unnoted))
        for name in freed | unnoted:
            self.probe(name)
        if freed | unnoted:
            self.take_stock()

    def take_stock(self) -> None:
        """Read everything owed anew; returns at once."""
        with self._state:
            self._stock_at = self._now()
            self._is_told = True
            self._state.notify_all()

    def probe(self, receiver: str) -> None:
        """Ask a receiver whose circuit is open now whether it is back; returns at once."""
        with self._state:
            if receiver in self._gates:
                self._gates[receiver].breaker.hurry(self._now())
                self._stir()

    def circuits(self) -> dict[str, Circuit]:
        """Tell how each receiver's circuit stands."""
        with self._state:
            return {name: gate.circuit() for name, gate in self._gates.items()}

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
        while not (self._is_stopping or self._is_lost):
            self._rest(self.turn())

    def turn(self) -> float:
        """Look for what is owed and hand out what is due; never raises.

        Returns:
            After how many seconds it wants to be called again, unless something is owed before.
        """
        try:
            with self._state:
                was_told, self._is_told, self._is_stirred = self._is_told, False, False
            self._recall_circuits()
            self._catch_up(was_told=was_told)
            self._hand_out()
            self._note_circuits()
        except LeaseLost:
            self._lose()
        except StorageError as error:
            log.warning("outbox cannot be reached", extra={"error": str(error)})
            return self._start_over()
        except Exception as error:
            log.exception("dispatcher could not go on", extra={"error": str(error)})
            return self._start_over()
        with self._state:
            return self._wait_s()

    def _start_over(self) -> float:
        """Plan to read everything owed anew after a moment's rest."""
        with self._state:
            self._stock_at = self._now()
        return STORAGE_PAUSE_S

    def _lose(self) -> None:
        self._is_lost = True
        self._lease_lost()

    def _stir(self) -> None:
        """Have the loop look; call it with the lock held."""
        self._is_stirred = True
        self._state.notify_all()

    def _rest(self, wait_s: float) -> None:
        """Sleep until something is owed or changes, and not longer than told."""
        with self._state:
            if not (self._is_told or self._is_stirred or self._is_stopping) and wait_s > 0:
                self._state.wait(wait_s)

    def _wait_s(self) -> float:
        """Say when there will be something to do; call it with the lock held."""
        if self._is_told or self._is_stirred:
            return 0.0
        now = self._now()
        wait = min(timedelta(seconds=LOOK_AROUND_S), self._look_at - now, self._stock_at - now)
        if self._heap:
            wait = min(wait, self._heap[0][0] - now)
        if not self._may_send():
            return STORAGE_PAUSE_S  # known soon: the lease is renewed or lost
        for gate in self._gates.values():
            until_admitted = gate.wait(now)
            if until_admitted is not None:
                wait = min(wait, until_admitted)
        return max(0.0, wait.total_seconds())

    # What is owed.

    def _catch_up(self, *, was_told: bool) -> None:
        """Read what is owed, if somebody says that it changed or it was long ago."""
        is_stock_due = self._is_time(self._stock_at, TAKE_STOCK_S)
        if not (is_stock_due or was_told or self._is_time(self._look_at, LOOK_AROUND_S)):
            return
        with self._state:
            self._look_at = self._now() + timedelta(seconds=LOOK_AROUND_S)
            if is_stock_due:
                self._stock_at = self._now() + timedelta(seconds=TAKE_STOCK_S)
        if is_stock_due:
            self._take_stock()
        else:
            self._look_around()
        self.heed_receivers()

    def _is_time(self, planned_at: datetime, longest_s: float) -> bool:
        """Tell whether it is time, or the clock was set back since that was planned."""
        wait_s = (planned_at - self._now()).total_seconds()
        return not 0 < wait_s <= longest_s

    def _take_stock(self) -> None:
        newest = self._outbox.last_position()
        lanes = self._outbox.lanes(fence=self._fence)
        self._seen_position = max(newest, self._seen_position)
        self._plan(lanes, None)

    def _look_around(self) -> None:
        newest = self._outbox.last_position()
        if newest > self._seen_position:
            came = range(self._seen_position + 1, newest + 1)
            self._plan(self._outbox.lanes_since(self._seen_position, fence=self._fence), came)
            self._seen_position = newest

    def _plan(self, lanes: Sequence[Lane], came: range | None) -> None:
        """Plan what is owed, the longest due first; ``came`` are the positions that are new."""
        with self._state:
            for lane in sorted(lanes, key=lambda lane: lane.due_at):
                gate = self._gates.get(lane.receiver)
                if gate is None:
                    continue  # not configured any more
                if gate.shards is None:
                    self._put((lane.receiver, lane.repository_id, 0), lane.due_at)
                else:
                    self._plan_shards(lane, gate.shards, came)

    def _plan_shards(self, lane: Lane, shards: int, came: range | None) -> None:
        """Look into each part that something came to: only the parts know when they are due."""
        parts: Iterable[int] = range(shards)
        if came is not None and len(came) < shards:
            parts = {position % shards for position in came}
        for part in parts:
            self._put((lane.receiver, lane.repository_id, part), self._now())

    def _put(self, key: LaneKey, due_at: datetime) -> None:
        """Note when a lane is due, or let it join the line; call it with the lock held."""
        due_at, gate = self._believed(key[0], due_at), self._gates[key[0]]
        if key in self._busy:
            self._busy[key] = True
        elif due_at <= self._now():
            self._due.pop(key, None)
            gate.arrive(key)
        elif key not in gate and self._due.get(key) != due_at:
            self._due[key] = due_at
            heapq.heappush(self._heap, (due_at, next(self._count), key))

    def _believed(self, receiver: str, due_at: datetime) -> datetime:
        """Return when something is due: now if it seems further off than any wait of ours.

        The clock was set back since then; nothing waits for it to catch up.
        """
        known, at = self._receivers.get(receiver), self._now()
        return at if known and due_at - at > longest_wait(known.retry) else due_at

    # Whose turn it is.

    def _hand_out(self) -> None:
        """Let every lane that is due join its line, and serve as many as may be."""
        with self._state:
            now = self._now()
            while self._heap and self._heap[0][0] <= now:
                due_at, _, key = heapq.heappop(self._heap)
                if self._due.get(key) == due_at:  # else it was planned anew meanwhile
                    del self._due[key]
                    self._put(key, due_at)
            turns: list[Turn] = []
            for gate in self._gates.values():
                while (turn := self._admit(gate)) is not None:
                    turns.append(turn)
        for turn in turns:
            self._submit(turn)

    def _admit(self, gate: Gate) -> Turn | None:
        """Choose whose turn it is at a gate; call it with the lock held."""
        if self._is_stopping or self._is_lost or not self._may_send():
            return None
        turn = gate.admit(self._now())
        if turn is not None:
            self._due.pop(turn.lane, None)
            self._busy[turn.lane] = False
        return turn

    def _submit(self, turn: Turn) -> None:
        try:
            self._pools[turn.lane[0]].submit(self._work, turn)
        except RuntimeError:  # we are being stopped, and the pool takes no more
            self._end(turn, None)

    # One lane after the other, in one of their receiver's threads.

    def _work(self, turn: Turn | None) -> None:
        while turn is not None:
            turn = self._end(turn, self._serve(turn))

    def _end(self, turn: Turn, due_at: datetime | None) -> Turn | None:
        """End a turn, and begin the next one at this gate if there is one."""
        gate = self._gates[turn.lane[0]]
        with self._state:
            if self._busy.pop(turn.lane):  # what came meanwhile may be due before that
                due_at = self._now()
            gate.leave(turn, due_at=due_at, now=self._now())
            if due_at is not None:
                self._put(turn.lane, due_at)
            following = self._admit(gate)
            if following is None or turn.lane in self._due:
                self._stir()
            return following

    def _serve(self, turn: Turn) -> datetime | None:
        """Send what a lane has leave for; say when it is due again, None if it is empty."""
        try:
            return self._send_what_is_due(turn)
        except LeaseLost:
            self._lose()
            return None
        except StorageError as error:
            log.warning("outbox cannot be reached", extra={"error": str(error)})
        except Exception:  # one of the loops that must not die
            log.exception("delivery broke", extra={"receiver": turn.lane[0]})
        return self._now() + timedelta(seconds=STORAGE_PAUSE_S)

    def _send_what_is_due(self, turn: Turn) -> datetime | None:
        gate = self._gates[turn.lane[0]]
        # One more than may be sent, to know whether that was all.
        parcels = self._read(turn, gate, turn.limit + 1)
        due = self._choose(turn, gate, parcels)
        self._give_back(gate, turn, turn.limit - len(due))
        if not due:
            with self._state:
                gate.spare(turn)
            # Where order matters the first alone says when: those behind it are often due.
            heads = parcels[:1] if gate.shards is None else parcels
            return min((parcel.due_at for parcel in heads), default=None)
        outcome = self._courier.carry(
            Errand(
                receiver=gate.receiver,
                parcels=due,
                may_go_on=partial(self._may_go_on, gate, turn),
                heard=partial(self._heard, gate, turn),
            )
        )
        self._give_back(gate, turn, turn.limit - outcome.attempts)
        if gate.shards is None and outcome.retry_at is not None:
            return outcome.retry_at
        if outcome.left:
            is_free = outcome.attempts or not self._may_go_on(gate, turn)
            return self._now() + timedelta(seconds=0 if is_free else STORAGE_PAUSE_S)
        if gate.shards is not None:  # what waits in it is not known
            return self._now()
        return parcels[len(due)].due_at if len(parcels) > len(due) else None

    def _read(self, turn: Turn, gate: Gate, limit: int) -> list[Parcel]:
        receiver, repository_id, part = turn.lane
        if gate.shards is None:
            return self._outbox.parcels(receiver, repository_id, limit=limit, fence=self._fence)
        return self._outbox.parcels(
            receiver,
            repository_id,
            limit=limit,
            fence=self._fence,
            shard=(part, gate.shards),
            now=self._now(),
        )

    def _choose(self, turn: Turn, gate: Gate, parcels: Sequence[Parcel]) -> list[Parcel]:
        """Choose what may be sent now; where order matters, up to the first that waits."""
        if turn.is_early:
            now = self._now()
            return [p for p in parcels[:1] if p.asked_until is None or p.asked_until <= now]
        is_in_order = gate.shards is None
        due = (itertools.takewhile if is_in_order else filter)(self._is_due, parcels)
        return list(due)[: turn.limit]

    def _is_due(self, parcel: Parcel) -> bool:
        return self._believed(parcel.receiver, parcel.due_at) <= self._now()

    def _give_back(self, gate: Gate, turn: Turn, unused: int) -> None:
        if unused and gate.receiver.rate is not None:
            with self._state:
                gate.give_back(turn, unused)
                self._stir()

    def _may_go_on(self, gate: Gate, turn: Turn) -> bool:
        return not self._is_stopping and gate.may_go_on(turn) and self._may_send()

    def _heard(
        self, gate: Gate, turn: Turn, answer: Answer, verdict: Verdict, at: datetime
    ) -> None:
        """Take note of an answer before it is written down."""
        if verdict is Verdict.DISABLE:
            self._disable(gate.receiver, f"it answered {answer.status}: gone", at=at)
        with self._state:
            was_open = gate.breaker.is_open
            gate.hear(turn, answer, at=at, chance=self._chance())
            if was_open != gate.breaker.is_open:
                self._stir()

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

    def _pause_for_storage(self) -> bool:
        """Wait before the database is tried again; False when we are stopping."""
        with self._state:
            self._state.wait_for(lambda: self._is_stopping, STORAGE_PAUSE_S)
            return not self._is_stopping

    # Circuits, and what the database knows of them.

    def _recall_circuits(self) -> None:
        """Begin with the circuits as they were left, and let what waits for one be its probe."""
        if self._has_recalled:
            return
        for name, state in self._outbox.receiver_states().items():
            if name in self._gates and state.opened_at is not None:
                self._outbox.hasten(name, now=self._now())
                self._noted[name] = state.opened_at
                with self._state:
                    self._gates[name].breaker.reopen(
                        state.opened_at, state.opened_reason, at=self._now()
                    )
        self._has_recalled = True

    def _note_circuits(self) -> None:
        """Write down which circuits opened or closed, and have what waited for one sent."""
        for name, circuit in self.circuits().items():
            if circuit.opened_at == self._noted.get(name):
                continue
            if circuit.opened_at is None:
                log.info("circuit closed", extra={"receiver": name})
                self._outbox.hasten(name, now=self._now())
                self.take_stock()
            else:
                log.warning("circuit opened", extra={"receiver": name, "error": circuit.reason})
            self._outbox.note_circuit(name, opened_at=circuit.opened_at, reason=circuit.reason)
            self._noted[name] = circuit.opened_at
