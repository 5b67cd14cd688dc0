"""Where order does not matter, a lane is read by what is due, a part at a time."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from app.domain.delivery import Answer, DeliveryState, Parcel
from app.storage.database import Database
from app.storage.outbox import Outbox
from app.storage.records import AttemptResult, Prepared
from app.storage.store import Store
from app.storage.tables import deliveries
from tests.integration.storage.scene import (
    FIRST,
    NOON,
    SECOND,
    TOOLS,
    WEBSITE,
    FakeClock,
    lead,
    push,
    watch,
)

SECOND_LATER = NOON + timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
LATER = NOON + MINUTE


class Scene:
    """Eight changes of one repository, owed to one receiver, and one of another."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = FakeClock()
        self.fence = lead(database, clock=self.clock)
        self.outbox = Outbox(database)
        store = Store(database)
        known, other = watch(store, self.fence, WEBSITE, TOOLS)
        self.id = known.id
        for number in range(8):
            to = (FIRST, SECOND)[number % 2]
            known, _ = push(store, known, self.fence, to=to, at=NOON)
        push(store, other, self.fence)
        self.all = self.outbox.parcels("ci", self.id, limit=100, fence=self.fence)

    def read(
        self,
        number: int,
        count: int = 2,
        *,
        limit: int = 100,
        now: datetime = NOON,
        fence: int | None = None,
    ) -> list[Parcel]:
        return self.outbox.parcels(
            "ci",
            self.id,
            limit=limit,
            fence=fence or self.fence,
            shard=(number, count),
            now=now,
        )

    def due(self, number: int, *, now: datetime = NOON) -> list[int]:
        """List the positions of a shard of two."""
        return [parcel.position for parcel in self.read(number, now=now)]

    def claim(self, *positions: int) -> None:
        prepared = [Prepared(position, b"{}", {}) for position in positions]
        assert len(self.outbox.claim(prepared, at=NOON, until=LATER, fence=self.fence)) == len(
            positions
        )

    def wait(
        self, *positions: int, longest: timedelta = 2 * MINUTE, asked: timedelta | None = None
    ) -> None:
        """Let deliveries wait for their next try, the first of them longest."""
        self.claim(*positions)
        results = [
            AttemptResult(
                position,
                NOON,
                5,
                Answer(503, retry_after=asked),
                DeliveryState.WAITING,
                NOON + longest - number * timedelta(seconds=10),
            )
            for number, position in enumerate(positions)
        ]
        self.outbox.conclude(results, fence=self.fence).result(30)


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


def test_each_delivery_is_in_one_shard_in_its_order(scene: Scene) -> None:
    everything = [parcel.position for parcel in scene.all]

    shards = [[p.position for p in scene.read(number, 3)] for number in range(3)]
    beginning = [p.position for p in scene.read(0, 1, limit=3)]

    for number, shard in enumerate(shards):
        assert shard == [position for position in everything if position % 3 == number]
    assert beginning == everything[:3]


def test_one_that_waits_holds_no_other_back(scene: Scene) -> None:
    first, *others = scene.due(0)

    scene.wait(first)

    assert scene.due(0) == others
    assert scene.due(0, now=NOON + 3 * MINUTE) == [first, *others]


def test_where_none_is_due_the_soonest_is_told(scene: Scene) -> None:
    mine = scene.due(1)
    scene.wait(*mine)

    (soonest,) = scene.read(1)

    assert soonest.position == mine[-1]
    assert soonest.due_at == NOON + 2 * MINUTE - timedelta(seconds=30)


def test_what_is_being_sent_is_not_due(scene: Scene) -> None:
    first, *others = scene.due(0)
    scene.claim(first)

    assert scene.due(0) == others
    scene.wait(*others)
    (claimed,) = scene.read(0)
    assert (claimed.position, claimed.due_at) == (first, LATER)
    assert scene.due(0, now=LATER) == [first]


def test_the_claims_of_a_process_that_died_are_due(scene: Scene) -> None:
    first, *others = scene.due(0)
    scene.claim(first)
    scene.clock.pass_by(timedelta(seconds=6))
    heir = lead(scene.database, clock=scene.clock)

    assert [p.position for p in scene.read(0, fence=heir)] == [first, *others]


def test_what_is_held_or_finished_is_in_no_shard(scene: Scene) -> None:
    first, second, *others = scene.due(0)
    held = update(deliveries).where(deliveries.c.position == first)
    scene.database.write(
        lambda connection: connection.execute(
            held.values(state="held", next_attempt_at=None)
        ).close()
    )
    ids = {parcel.position: parcel.delivery_id for parcel in scene.all}
    scene.outbox.cancel(ids[second], now=NOON)

    assert scene.due(0) == others


def test_an_empty_shard_is_empty(scene: Scene) -> None:
    for parcel in scene.read(0):
        scene.outbox.cancel(parcel.delivery_id, now=NOON)

    assert scene.due(0) == []


def test_what_waits_for_a_receiver_is_hastened_and_keeps_its_first_try(scene: Scene) -> None:
    mine = scene.due(0)
    scene.wait(*mine)

    scene.outbox.hasten("other", now=SECOND_LATER)
    before = scene.read(0)
    scene.outbox.hasten("ci", now=SECOND_LATER)

    assert len(before) == 1
    assert scene.due(0, now=SECOND_LATER) == mine
    assert {parcel.first_attempt_at for parcel in scene.read(0, now=SECOND_LATER)} == {NOON}


def test_what_a_receiver_asked_to_wait_for_is_not_hastened_until_then(scene: Scene) -> None:
    mine = scene.due(0)
    scene.wait(*mine[:1], asked=2 * MINUTE)
    scene.wait(*mine[1:])

    scene.outbox.hasten("ci", now=SECOND_LATER)

    assert scene.due(0, now=SECOND_LATER) == mine[1:]
    assert scene.due(0, now=NOON + 2 * MINUTE) == mine


def test_a_wait_of_no_time_at_all_is_one_that_is_over(scene: Scene) -> None:
    mine = scene.due(0)
    scene.wait(*mine, asked=timedelta(0))

    scene.outbox.hasten("ci", now=SECOND_LATER)

    assert scene.due(0, now=SECOND_LATER) == mine
