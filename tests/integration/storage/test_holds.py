"""A storm waits for a person, whole; what comes later to its refs waits behind it."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from app.domain.delivery import Answer, DeliveryState
from app.domain.errors import Conflict, NotFound
from app.domain.event import hold_id
from app.domain.snapshot import Change
from app.storage.database import Database
from app.storage.entries import HoldEntry
from app.storage.holds import Holds
from app.storage.outbox import Outbox
from app.storage.records import Advance, AttemptResult, Prepared, Watched
from app.storage.store import Store
from app.storage.tables import deliveries, events
from tests.integration.storage.scene import (
    FIRST,
    NOON,
    SECOND,
    THIRD,
    WEBSITE,
    a_step,
    at_once,
    elsewhere,
    lead,
    overlapping,
    push,
    watch,
)

LATER = NOON + timedelta(minutes=1)
BRANCHES = [f"refs/heads/b{number}" for number in range(4)]
CALM = "refs/heads/calm"


class Scene:
    """A repository of which four branches were created in one storm."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.fence = lead(database)
        self.store = Store(database)
        self.outbox = Outbox(database)
        self.holds = Holds(database)
        self.website = watch(self.store, self.fence, WEBSITE)[0]
        self.step = self.storm(self.website)
        assert self.store.advance(self.step, fence=self.fence)
        self.id = hold_id(event=self.step.events[0].id)

    def storm(self, known: Watched, refs: list[str] = BRANCHES, to: str = FIRST) -> Advance:
        before = self.store.snapshot(known.id)
        changes = [Change(ref, before.get(ref), to) for ref in refs]
        after = {**before, **dict.fromkeys(refs, to)}
        return a_step(known, changes, after=after, hold=True)

    def push(self, ref: str, to: str) -> None:
        push(self.store, self.store.watched(self.website.id), self.fence, ref=ref, to=to)

    def owed(self) -> list[tuple[str, str]]:
        """List what may be sent, in its order."""
        parcels = self.outbox.parcels("ci", self.website.id, limit=100, fence=self.fence)
        return [(parcel.event.ref, parcel.event.after) for parcel in parcels]

    def states(self) -> list[tuple[str, str]]:
        """List each delivery's state and its event's, in the order of positions."""
        wanted = (
            select(deliveries.c.state, events.c.state)
            .join(events, deliveries.c.event_position == events.c.position)
            .order_by(deliveries.c.position)
        )
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(wanted)]

    def held(self) -> HoldEntry:
        return self.holds.get(self.id)


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


def test_a_storm_is_held_whole_and_holds_no_other_branch_back(scene: Scene) -> None:
    scene.push(CALM, FIRST)

    assert scene.owed() == [(CALM, FIRST)]
    assert scene.states() == [("held", "held")] * 4 + [("pending", "open")]
    assert scene.holds.list("held") == [scene.held()]
    assert scene.held() == HoldEntry(scene.id, WEBSITE.name, NOON, 4, "held", None, 1, 4)


def test_what_nobody_is_owed_is_ignored_and_no_part_of_the_storm(database: Database) -> None:
    store, fence = Store(database), lead(database)
    (known,) = watch(store, fence, WEBSITE)
    step = a_step(
        known,
        [Change(ref, None, FIRST) for ref in BRANCHES],
        after=dict.fromkeys(BRANCHES, FIRST),
        hold=True,
    )

    store.advance(replace(step, owed=step.owed[1:]), fence=fence)

    with database.read() as connection:
        found = connection.execute(select(events.c.state, events.c.hold_id)).all()
    assert [state for state, _ in found] == ["ignored", "held", "held", "held"]
    assert found[0].hold_id is None
    (hold,) = Holds(database).list()
    assert (hold.changes, hold.first_sequence, hold.last_sequence) == (3, 2, 4)


def test_a_step_that_nobody_is_owed_makes_no_storm(database: Database) -> None:
    store, fence = Store(database), lead(database)
    (known,) = watch(store, fence, WEBSITE)
    step = a_step(known, [Change(CALM, None, FIRST)], after={CALM: FIRST}, receivers=(), hold=True)

    store.advance(step, fence=fence)

    assert Holds(database).list() == []


def test_a_later_change_of_a_held_branch_joins_the_storm(scene: Scene) -> None:
    scene.push(BRANCHES[2], SECOND)

    assert scene.owed() == []
    assert scene.states()[-1] == ("held", "held")
    assert (scene.held().changes, scene.held().last_sequence) == (5, 5)


def test_a_second_storm_joins_the_first_with_what_it_shares_and_is_its_own_with_the_rest(
    scene: Scene,
) -> None:
    others = [f"refs/heads/c{number}" for number in range(3)]
    second = scene.storm(scene.store.watched(scene.website.id), [BRANCHES[0], *others], SECOND)
    scene.store.advance(second, fence=scene.fence)

    newer = next(one for one in scene.holds.list("held") if one.id != scene.id)
    scene.holds.release(newer.id, now=LATER)

    assert (scene.held().changes, newer.changes) == (5, 3)
    assert scene.owed() == [(ref, SECOND) for ref in others]


def test_a_released_storm_goes_out_in_its_order(scene: Scene) -> None:
    scene.push(CALM, FIRST)
    scene.push(BRANCHES[0], SECOND)

    scene.holds.release(scene.id, now=LATER)

    assert scene.owed() == [
        *((ref, FIRST) for ref in BRANCHES),
        (CALM, FIRST),
        (BRANCHES[0], SECOND),
    ]
    assert scene.states() == [("pending", "open")] * 6
    assert (scene.held().state, scene.held().finished_at) == ("released", LATER)
    lanes = scene.outbox.lanes(fence=scene.fence)
    assert [lane.due_at for lane in lanes] == [LATER]


def test_a_dismissed_storm_is_cancelled_and_ignored(scene: Scene) -> None:
    scene.push(CALM, FIRST)

    scene.holds.dismiss(scene.id, now=LATER)

    assert scene.owed() == [(CALM, FIRST)]
    assert scene.states() == [("cancelled", "ignored")] * 4 + [("pending", "open")]
    assert (scene.held().state, scene.held().finished_at) == ("dismissed", LATER)
    with scene.database.read() as connection:
        ended = connection.scalar(select(func.count()).where(deliveries.c.finished_at == LATER))
    assert ended == 4


@pytest.mark.parametrize("first", ["release", "dismiss"])
def test_a_storm_ends_once(scene: Scene, first: str) -> None:
    getattr(scene.holds, first)(scene.id, now=LATER)

    with pytest.raises(Conflict, match=f"{first.rstrip('e')}ed already"):
        scene.holds.release(scene.id, now=LATER)
    with pytest.raises(Conflict, match="already"):
        scene.holds.dismiss(scene.id, now=LATER)
    with pytest.raises(NotFound):
        scene.holds.release("none", now=LATER)
    with pytest.raises(NotFound):
        scene.holds.get("none")


def test_what_was_sent_singly_from_a_storm_keeps_what_became_of_it(scene: Scene) -> None:
    outbox, fence = scene.outbox, scene.fence
    outbox.redeliver(scene.step.events[0].id, receivers={"chat": "standard"}, now=NOON)
    (sent,) = outbox.parcels("chat", scene.website.id, limit=10, fence=fence)
    outbox.claim([Prepared(sent.position, b"{}", {})], at=NOON, until=LATER, fence=fence)
    result = AttemptResult(sent.position, NOON, 5, Answer(202), DeliveryState.DELIVERED)
    outbox.conclude([result], fence=fence).result(30)
    between = scene.states()

    scene.holds.dismiss(scene.id, now=LATER)

    assert between == [("held", "held")] * 4 + [("delivered", "held")]
    assert scene.states()[0] == ("cancelled", "delivered")
    assert scene.states()[1] == ("cancelled", "ignored")


def test_after_the_end_of_a_storm_its_branches_go_out_again(scene: Scene) -> None:
    scene.holds.dismiss(scene.id, now=LATER)

    scene.push(BRANCHES[0], SECOND)

    assert scene.owed() == [(BRANCHES[0], SECOND)]


def test_a_storm_found_again_after_a_crash_is_the_same(scene: Scene) -> None:
    assert not scene.store.advance(scene.step, fence=scene.fence)

    assert [one.id for one in scene.holds.list()] == [hold_id(event=scene.step.events[0].id)]


def test_old_history_goes_and_what_is_held_stays(scene: Scene) -> None:
    old = NOON + timedelta(days=90)

    kept = scene.store.prune(events_before=old, polls_before=old)
    scene.holds.dismiss(scene.id, now=LATER)
    gone = scene.store.prune(events_before=old, polls_before=old)

    assert (kept, gone) == (0, 5)
    assert scene.holds.list() == []


def test_of_two_who_end_a_storm_one_succeeds(scene: Scene, database_url: str) -> None:
    with elsewhere(database_url) as other, pytest.raises(Conflict, match="released already"):
        overlapping(
            lambda: scene.holds.release(scene.id, now=LATER),
            lambda: Holds(other).dismiss(scene.id, now=LATER),
        )

    assert scene.states() == [("pending", "open")] * 4


def test_a_delivery_that_ends_while_its_storm_is_released_leaves_its_event_open(
    scene: Scene, database_url: str
) -> None:
    """A person had sent the event to another receiver before."""
    outbox, fence = scene.outbox, scene.fence
    outbox.redeliver(scene.step.events[0].id, receivers={"chat": "standard"}, now=NOON)
    (sent,) = outbox.parcels("chat", scene.website.id, limit=10, fence=fence)

    with elsewhere(database_url) as other:
        overlapping(
            lambda: scene.holds.release(scene.id, now=LATER),
            lambda: Outbox(other).cancel(sent.delivery_id, now=NOON),
        )

    assert scene.states()[0] == ("pending", "open")


def test_what_comes_while_a_storm_is_released_goes_out(scene: Scene, database_url: str) -> None:
    known = scene.store.watched(scene.website.id)
    with elsewhere(database_url) as other:
        overlapping(
            lambda: scene.holds.release(scene.id, now=LATER),
            lambda: push(Store(other), known, scene.fence, ref=BRANCHES[0], to=SECOND),
        )

    assert scene.owed() == [*((ref, FIRST) for ref in BRANCHES), (BRANCHES[0], SECOND)]
    assert scene.states() == [("pending", "open")] * 5
    assert scene.held().changes == 4


def test_a_storm_is_released_with_what_is_joining_it(scene: Scene, database_url: str) -> None:
    joining = scene.storm(scene.store.watched(scene.website.id), BRANCHES[:1], SECOND)
    with elsewhere(database_url) as other:
        overlapping(
            lambda: scene.store.advance(joining, fence=scene.fence),
            lambda: Holds(other).release(scene.id, now=LATER),
        )

    assert scene.owed() == [*((ref, FIRST) for ref in BRANCHES), (BRANCHES[0], SECOND)]
    assert scene.states() == [("pending", "open")] * 5
    assert (scene.held().state, scene.held().changes) == ("released", 5)


def test_release_claim_and_cancel_at_once_agree(scene: Scene, database_url: str) -> None:
    with scene.database.read() as connection:
        ids = connection.execute(select(deliveries.c.position, deliveries.c.id)).all()
    prepared = [Prepared(position, b"{}", {}) for position, _ in sorted(ids)]

    with elsewhere(database_url) as other:
        outcomes = at_once(
            [
                lambda: scene.holds.release(scene.id, now=NOON),
                lambda: scene.outbox.claim(prepared, at=NOON, until=LATER, fence=scene.fence),
                lambda: Outbox(other).cancel(ids[-1].id, now=NOON),
            ]
        )

    states = scene.states()
    claimed = outcomes[1]
    assert isinstance(claimed, list)
    assert [state for state, _ in states].count("sending") == len(claimed)
    assert "held" not in {state for pair in states for state in pair}
    if isinstance(outcomes[2], Exception):
        assert "is being sent" in str(outcomes[2])
    else:
        assert ("cancelled", "ignored") in states


def test_many_polls_and_a_release_leave_nothing_held(scene: Scene, database_url: str) -> None:
    """Whatever comes first, nothing stays behind in a storm that has ended."""
    moving = threading.Event()

    def poll() -> None:
        for to in (SECOND, THIRD) * 6:
            for ref in BRANCHES[:2]:
                scene.push(ref, to)
            moving.set()

    def release(other: Database) -> None:
        moving.wait(30)
        Holds(other).release(scene.id, now=LATER)

    with elsewhere(database_url) as other:
        outcomes = at_once([poll, lambda: release(other)])

    assert outcomes == [None, None]
    assert set(scene.states()) == {("pending", "open")}
    by_ref = [after for ref, after in scene.owed() if ref == BRANCHES[0]]
    assert by_ref == [FIRST, *(SECOND, THIRD) * 6]
