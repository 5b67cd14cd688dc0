"""Many deliveries are owed again or given up at once, each for what it is."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from app.domain.delivery import Answer, DeliveryState
from app.domain.event import Event
from app.storage import bulk
from app.storage.database import Database
from app.storage.filters import DeliveryFilter
from app.storage.outbox import Outbox
from app.storage.records import AttemptResult, Prepared
from app.storage.store import Store
from app.storage.tables import deliveries, events
from tests.integration.storage.scene import (
    FIRST,
    NOON,
    SECOND,
    TOOLS,
    WEBSITE,
    elsewhere,
    lead,
    overlapping,
    push,
    watch,
)

MINUTE = timedelta(minutes=1)
DEAD, DELIVERED, WAITING = DeliveryState.DEAD, DeliveryState.DELIVERED, DeliveryState.WAITING


class Scene:
    """Two repositories, of which two changes each are owed to two receivers, a minute apart."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.fence = lead(database)
        self.store = Store(database)
        self.outbox = Outbox(database)
        self.website, self.tools = watch(self.store, self.fence, WEBSITE, TOOLS)
        self.events: list[Event] = []
        for number, known in enumerate((self.website, self.tools)):
            moved = known
            for to in (FIRST, SECOND):
                at = NOON + number * MINUTE
                moved, made = push(
                    self.store, moved, self.fence, to=to, receivers=("ci", "chat"), at=at
                )
                self.events.append(made)

    def end(self, receiver: str, state: DeliveryState, *, at_most: int = 10) -> None:
        """Let what a receiver is owed come to that."""
        for known in (self.website, self.tools):
            parcels = self.outbox.parcels(receiver, known.id, limit=at_most, fence=self.fence)
            self.outbox.claim(
                [Prepared(p.position, b"{}", {}) for p in parcels],
                at=NOON,
                until=NOON + MINUTE,
                fence=self.fence,
            )
            retry_at = NOON + MINUTE if state is WAITING else None
            results = [
                AttemptResult(p.position, NOON, 5, Answer(500), state, retry_at) for p in parcels
            ]
            self.outbox.conclude(results, fence=self.fence).result(30)

    def redeliver(self, wanted: DeliveryFilter | None = None, **chosen: object) -> int:
        return self.outbox.redeliver_many(
            wanted or DeliveryFilter(),
            now=NOON + MINUTE,
            **chosen,  # type: ignore[arg-type] # each test says what it means
        )

    def owed(self) -> list[tuple[str, str, int, str]]:
        """List what is unfinished: receiver, event, number and format, in order."""
        wanted = (
            select(
                deliveries.c.receiver, events.c.id, deliveries.c.redelivery, deliveries.c.payload
            )
            .join(events, deliveries.c.event_position == events.c.position)
            .where(deliveries.c.finished_at.is_(None))
            .order_by(deliveries.c.position)
        )
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(wanted)]

    def states(self) -> dict[str, list[str]]:
        """Return the states of deliveries and events, in order."""
        with self.database.read() as connection:
            return {
                table.name: list(
                    connection.scalars(select(table.c.state).order_by(table.c.position))
                )
                for table in (deliveries, events)
            }


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


def test_all_that_is_dead_is_owed_again_oldest_first_under_new_ids(scene: Scene) -> None:
    scene.end("ci", DEAD)
    scene.end("chat", DELIVERED)

    made = scene.redeliver()

    assert made == 4
    assert scene.owed() == [("ci", one.id, 1, "github") for one in scene.events]
    assert scene.states()["events"] == ["open"] * 4


def test_only_what_matches_is_owed_again(scene: Scene) -> None:
    scene.end("ci", DEAD)
    scene.end("chat", DEAD)
    first, second, third, fourth = (one.id for one in scene.events)

    of_tools = scene.redeliver(DeliveryFilter(receiver="ci", repository_id=scene.tools.id))
    since = scene.redeliver(DeliveryFilter(receiver="chat", since=NOON + MINUTE))
    until = scene.redeliver(DeliveryFilter(receiver="chat", until=NOON + MINUTE))

    assert (of_tools, since, until) == (2, 2, 2)
    assert [(receiver, event) for receiver, event, _, _ in scene.owed()] == [
        ("ci", third),
        ("ci", fourth),
        ("chat", third),
        ("chat", fourth),
        ("chat", first),
        ("chat", second),
    ]


def test_what_is_owed_or_was_taken_since_is_not_owed_again(scene: Scene) -> None:
    scene.end("ci", DEAD)

    first = scene.redeliver()
    while_open = scene.redeliver()
    scene.end("ci", DELIVERED)
    once_taken = scene.redeliver()
    taken_again = scene.redeliver(DeliveryFilter(state="delivered", receiver="ci"))
    scene.end("ci", DEAD)
    after_dying = scene.redeliver(DeliveryFilter(receiver="ci"))

    assert (first, while_open, once_taken, taken_again, after_dying) == (4, 0, 0, 4, 4)
    assert {number for receiver, _, number, _ in scene.owed() if receiver == "ci"} == {3}


def test_others_are_owed_it_instead_once_for_each_event(scene: Scene) -> None:
    scene.end("ci", DEAD)
    scene.end("chat", DEAD)

    made = scene.redeliver(receivers={"new": "standard"})
    again = scene.redeliver(receivers={"new": "standard"})

    assert (made, again) == (4, 0)
    assert scene.owed() == [("new", one.id, 0, "standard") for one in scene.events]


def test_another_who_took_it_already_is_not_owed_it_again(scene: Scene) -> None:
    scene.end("ci", DELIVERED)
    scene.end("chat", DEAD)

    assert scene.redeliver(receivers={"ci": "github"}) == 0


def test_who_is_no_longer_configured_is_owed_nothing_and_formats_are_todays(scene: Scene) -> None:
    scene.end("ci", DEAD)
    scene.end("chat", DEAD)

    made = scene.redeliver(known={"ci": "gitlab"})

    assert made == 4
    assert {(receiver, payload) for receiver, _, _, payload in scene.owed()} == {("ci", "gitlab")}


def test_what_was_never_confirmed_can_be_owed_again(scene: Scene) -> None:
    scene.end("ci", DELIVERED)
    unheard = deliveries.update().where(deliveries.c.receiver == "ci")
    scene.database.write(
        lambda connection: connection.execute(unheard.values(confirmation="unconfirmed")).close()
    )

    assert scene.redeliver(DeliveryFilter(confirmation="unconfirmed")) == 4


def test_no_more_than_the_limit_is_owed_again(scene: Scene) -> None:
    scene.end("ci", DEAD)

    assert scene.redeliver(limit=3) == 3
    assert [one for _, one, number, _ in scene.owed() if number] == [
        one.id for one in scene.events[:3]
    ]


def test_two_who_redeliver_at_once_owe_it_once(scene: Scene, database_url: str) -> None:
    scene.end("ci", DEAD)

    with elsewhere(database_url) as other:
        made = overlapping(
            scene.redeliver, lambda: Outbox(other).redeliver_many(DeliveryFilter(), now=NOON)
        )

    assert made == 0
    assert len([number for _, _, number, _ in scene.owed() if number]) == 4


def test_many_are_done_a_few_in_each_transaction(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "AT_ONCE", 3)
    monkeypatch.setattr(bulk, "READ_AT_ONCE", 2)
    scene.end("ci", DEAD)
    scene.end("chat", DEAD)

    assert scene.redeliver() == 8
    assert scene.outbox.cancel_many(DeliveryFilter(), now=NOON) == 8


def test_what_a_receiver_is_owed_is_given_up(scene: Scene) -> None:
    scene.end("chat", DELIVERED)
    scene.end("ci", WAITING, at_most=1)

    ended = scene.outbox.cancel_many(DeliveryFilter(receiver="ci"), now=NOON)

    assert ended == 4
    assert scene.owed() == []
    assert scene.states()["events"] == ["delivered"] * 4


def test_only_what_matches_is_given_up(scene: Scene) -> None:
    scene.end("ci", WAITING, at_most=1)

    waiting = scene.outbox.cancel_many(DeliveryFilter(state="waiting"), now=NOON)
    finished = scene.outbox.cancel_many(DeliveryFilter(state="delivered"), now=NOON)
    of_tools = scene.outbox.cancel_many(DeliveryFilter(repository_id=scene.tools.id), now=NOON)

    assert (waiting, finished, of_tools) == (2, 0, 3)


def test_what_is_being_sent_is_not_given_up(scene: Scene) -> None:
    first, *_ = scene.outbox.parcels("ci", scene.website.id, limit=1, fence=scene.fence)
    scene.outbox.claim(
        [Prepared(first.position, b"", {})], at=NOON, until=NOON + MINUTE, fence=scene.fence
    )

    while_sent = scene.outbox.cancel_many(DeliveryFilter(receiver="ci"), now=NOON)
    once_run_out = scene.outbox.cancel_many(DeliveryFilter(receiver="ci"), now=NOON + MINUTE)

    assert (while_sent, once_run_out) == (3, 1)
