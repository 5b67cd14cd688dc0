"""The five promises, held against a history that is over.

What is checked here is computed anew from what the world knows, and not by the program's own
functions: its ids, its states, its order.
"""

import json
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from app.services.status import Status
from app.simulation.world import Broken, World
from app.storage.queries import Queries

# The program's own, written down a second time: ids made under it must never change.
NAMESPACE = uuid.UUID("6f2d4a0e-6c0b-5d0e-9a53-7c1f5f0f7a11")
FEWEST_REASONS = 3  # whether it is watched, where it stands, what its last event is
UNFINISHED = frozenset({"pending", "sending", "waiting", "held"})

_EVENTS = (
    "SELECT e.position, e.id, e.repository_id, e.sequence, e.kind, e.ref, e.before, e.after,"
    " e.state, r.key, r.name FROM events e JOIN repositories r ON r.id = e.repository_id"
    " ORDER BY e.repository_id, e.sequence"
)
_DELIVERIES = (
    "SELECT id, event_position, receiver, redelivery, state, attempts_made, body, last_status"
    " FROM deliveries ORDER BY position"
)
_ATTEMPTS = (
    "SELECT d.id, count(*), count(a.duration_ms) FROM attempts a"
    " JOIN deliveries d ON d.position = a.delivery_position GROUP BY d.id"
)


class _Records:
    """What the database holds when all is over."""

    def __init__(self, world: World) -> None:
        query = world.memory.raw.execute
        self.events = query(_EVENTS).fetchall()
        self.deliveries = query(_DELIVERIES).fetchall()
        self.attempts = {row[0]: (row[1], row[2]) for row in query(_ATTEMPTS)}
        self.refs: dict[int, dict[str, str]] = defaultdict(dict)
        for repository_id, name, commit in query("SELECT repository_id, name, commit_id FROM refs"):
            self.refs[repository_id][name] = commit
        self.repositories = query("SELECT id, name, sequence FROM repositories").fetchall()


def check(world: World) -> Broken | None:
    """Return the first promise that a history broke, or None."""
    if world.broken is not None:
        return world.broken
    records = _Records(world)
    for promise, checker in (
        (1, _sequences),
        (1, _chains),
        (1, _seen),
        (1, _owed),
        (1, _outcomes),
        (2, _ids),
        (2, _bodies),
        (3, _order_of_refs),
        (5, _states),
        (5, _attempts),
        (5, _explained),
    ):
        for what in checker(world, records):
            return Broken(promise, what)
    return None


# 1. No change is lost.


def _sequences(world: World, records: _Records) -> Iterator[str]:
    counted: Counter[int] = Counter()
    for event in records.events:
        counted[event[2]] += 1
        if event[3] != counted[event[2]]:
            yield f"{event[10]}: event {event[3]} follows event {counted[event[2]] - 1}"
    for repository_id, name, sequence in records.repositories:
        if sequence != counted[repository_id]:
            yield f"{name}: it counts {sequence} events, and {counted[repository_id]} are there"


def _chains(world: World, records: _Records) -> Iterator[str]:
    last: dict[tuple[int, str], str] = {}
    for _, _, repository_id, sequence, _, ref, before, after, _, _, name in records.events:
        known = last.get((repository_id, ref), before)
        if known != before:
            yield f"{name} {ref}: event {sequence} is from {before[:8]} where {known[:8]} was"
        last[repository_id, ref] = after
    for repository_id, name, _ in records.repositories:
        model = next(m for m in world.repositories if m.name == name)
        truth = _watched_of(model.refs, has_tags=model.watches_tags)
        if records.refs[repository_id] != truth:
            yield f"{name}: its refs are not what truly stands there"
        for (of, ref), after in last.items():
            if of == repository_id and truth.get(ref, "0" * 40) != after:
                yield f"{name} {ref}: no event tells where it stands"


def _watched_of(refs: dict[str, str], *, has_tags: bool) -> dict[str, str]:
    return {ref: at for ref, at in refs.items() if has_tags or not ref.startswith("refs/tags/")}


def _seen(world: World, records: _Records) -> Iterator[str]:
    """Each state that a good poll must have seen stands in the chain of events, in its order."""
    chains: dict[tuple[int, str], list[str]] = {}
    for _, _, repository_id, _, _, ref, before, after, _, _, _ in records.events:
        chains.setdefault((repository_id, ref), [before]).append(after)
    for repository_id, name, _ in records.repositories:
        model = next(m for m in world.repositories if m.name == name)
        snapshots = world.observed[repository_id]
        refs = sorted({ref for snapshot in snapshots for ref in snapshot})
        for ref in refs:
            if ref.startswith("refs/tags/") and not model.watches_tags:
                continue
            chain = iter(chains.get((repository_id, ref), ()))
            at: str | None = None
            first = True
            for snapshot in snapshots:
                state = snapshot.get(ref, "0" * 40)
                if state == at:
                    continue
                at = state
                if first:  # the baseline, or where the chain begins
                    first = False
                    if (repository_id, ref) not in chains:
                        chain = iter((state,))
                if state not in chain:
                    yield f"{name} {ref}: it stood at {state[:8]}, and no event says so"
                    break


def _owed(world: World, records: _Records) -> Iterator[str]:
    """Each event is owed to each receiver that wants it."""
    owed = {
        (event, receiver)
        for _, event, receiver, redelivery, *_ in records.deliveries
        if not redelivery
    }
    for event in records.events:
        change = event[4].partition("_")[2]
        for name, receiver in world.receivers.items():
            is_wanted = change in receiver.changes and receiver.refs.watches(event[5])
            if is_wanted != ((event[0], name) in owed):
                yield f"{event[10]}: event {event[3]} and {name}: owed {not is_wanted}"


def _outcomes(world: World, records: _Records) -> Iterator[str]:
    """Nothing is owed at the end, and what became of each delivery is what truly happened."""
    for delivery_id, _, receiver, _, state, attempts_made, _, last_status in records.deliveries:
        sent = world.sent.get(delivery_id)
        if state in UNFINISHED:
            yield f"{delivery_id} to {receiver} is {state} although all has been well for long"
        elif state == "delivered" and (sent is None or not sent.taken):
            yield f"{delivery_id} to {receiver} is delivered, and never came there"
        elif state == "cancelled" and not world.may_be_cancelled(delivery_id):
            yield f"{delivery_id} to {receiver} is cancelled, and nobody did that"
        elif state == "dead" and not _may_be_dead(world, sent, last_status):
            yield f"{delivery_id} to {receiver} is dead after {attempts_made}, without a reason"


def _may_be_dead(world: World, sent: Any, last_status: int | None) -> bool:
    if sent is None:
        return False
    return world.plan.is_impatient or bool(sent.final - {200, 202})


# 2. A repeat is recognisable.


def _ids(world: World, records: _Records) -> Iterator[str]:
    of_event: dict[int, str] = {}
    for position, event_id, _, sequence, _, ref, before, after, _, key, name in records.events:
        parts = (key, ref, before, after, str(sequence))
        if event_id != str(uuid.uuid5(NAMESPACE, "\n".join(parts))):
            yield f"{name}: event {sequence} has another id than on another day"
        of_event[position] = event_id
    for delivery_id, event, receiver, redelivery, *_ in records.deliveries:
        words = (of_event[event], receiver, str(redelivery))
        if delivery_id != str(uuid.uuid5(NAMESPACE, "\n".join(words))):
            yield f"{delivery_id}: a delivery has another id than on another day"


def _bodies(world: World, records: _Records) -> Iterator[str]:
    events = {event[0]: event for event in records.events}
    for delivery_id, of, receiver, _, _, _, body, _ in records.deliveries:
        sent = world.sent.get(delivery_id)
        if sent is None:
            continue
        if body is None or bytes(body) != sent.body:
            yield f"{delivery_id}: other bytes are recorded than were sent"
        event = events[of]
        if sent.event_id != event[1]:
            yield f"{delivery_id}: it names another event than its own"
        if world.receivers[receiver].payload == "github":
            told = json.loads(sent.body)
            if (told["ref"], told["before"], told["after"]) != (event[5], event[6], event[7]):
                yield f"{delivery_id}: its body tells of another change"


# 3. Order is kept; more of it is checked while a history is lived.


def _order_of_refs(world: World, records: _Records) -> Iterator[str]:
    """What a receiver first hears of one ref comes in the order of events, held or not."""
    events = {event[0]: event for event in records.events}
    last: dict[tuple[str, int, str], tuple[int, int]] = {}
    first_heard = [
        (events[of][3], world.sent[delivery_id].first_ms, (receiver, events[of][2], events[of][5]))
        for delivery_id, of, receiver, redelivery, *_ in records.deliveries
        if not redelivery and delivery_id in world.sent
    ]
    for sequence, ms, lane in sorted(first_heard):
        before_sequence, before_ms = last.get(lane, (0, 0))
        if world.receivers[lane[0]].order == "repository" and ms < before_ms:
            yield f"{lane[2]} to {lane[0]}: event {sequence} comes before {before_sequence}"
        last[lane] = sequence, ms


# 5. Every decision can be explained.


def _states(world: World, records: _Records) -> Iterator[str]:
    """An event's state follows from the newest delivery to each receiver."""
    newest: dict[int, dict[str, str]] = defaultdict(dict)
    for _, event, receiver, _, state, *_ in records.deliveries:
        newest[event][receiver] = state
    for event in records.events:
        states = set(newest[event[0]].values())
        expected = (
            "failed" if "dead" in states else "delivered" if "delivered" in states else "ignored"
        )
        if event[8] != expected:
            yield f"{event[10]}: event {event[3]} is {event[8]}, and should be {expected}"


def _attempts(world: World, records: _Records) -> Iterator[str]:
    """Every request that was sent is an attempt that was recorded, if only as interrupted."""
    for delivery_id, _, receiver, _, state, attempts_made, _, _ in records.deliveries:
        made, ended = records.attempts.get(delivery_id, (0, 0))
        times = world.sent[delivery_id].times if delivery_id in world.sent else 0
        if made != attempts_made:
            yield f"{delivery_id}: {attempts_made} attempts are counted, and {made} recorded"
        if ended > times:
            yield f"{delivery_id}: {ended} attempts are recorded to their end, {times} were made"
        if made < times and state != "cancelled":
            yield f"{delivery_id} to {receiver}: {times} attempts were made, {made} are recorded"


def _explained(world: World, records: _Records) -> Iterator[str]:
    """Ask why each ref triggered or did not; in one history of ten, since it takes as long."""
    if world.plan.seed % 10:
        return
    status = Status(
        Queries(world.people),
        live=lambda _: None,
        receivers=world.receivers,
        now=lambda: world.loop.now,
        configured={repository.name: repository for repository in world.watched}.get,
    )
    last = {(event[10], event[5]): event for event in records.events}
    for model in world.repositories:
        for ref in sorted(model.refs):
            told = status.explain(model.name, ref)
            is_watched = model.watches_tags or not ref.startswith("refs/tags/")
            if (told.watched, told.commit_id) != (
                is_watched,
                model.refs[ref] if is_watched else None,
            ):
                yield f"{model.name} {ref}: it is explained as what it is not"
            event = last.get((model.name, ref))
            found = told.last_event.id if told.last_event else None
            if found != (event[1] if event else None):
                yield f"{model.name} {ref}: another event is told as its last"
            if len(told.reasons) < FEWEST_REASONS:
                yield f"{model.name} {ref}: nothing is said of why"
