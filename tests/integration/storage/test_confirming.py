"""The receiver's own word on what it took: whenever it comes, it counts once and for good."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from app.domain.delivery import Answer, DeliveryState
from app.storage.database import Database
from app.storage.outbox import Outbox
from app.storage.records import AttemptResult, Prepared
from app.storage.store import Store
from app.storage.tables import deliveries, events
from tests.integration.storage.scene import NOON, elsewhere, lead, overlapping, push, watch

LATER = NOON + timedelta(minutes=1)


class Scene:
    """One change that is owed to Tekton, whose word is awaited."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.fence = lead(database)
        self.outbox = Outbox(database)
        store = Store(database)
        (known,) = watch(store, self.fence)
        push(store, known, self.fence, receivers=("tekton",))
        (self.parcel,) = self.outbox.parcels("tekton", known.id, limit=9, fence=self.fence)
        self.claim()

    def claim(self) -> None:
        prepared = [Prepared(self.parcel.position, b"{}", {})]
        self.outbox.claim(prepared, at=NOON, until=LATER, fence=self.fence)

    def conclude(self, state: DeliveryState = DeliveryState.DELIVERED) -> None:
        is_taken = state is DeliveryState.DELIVERED
        result = AttemptResult(
            self.parcel.position,
            NOON,
            5,
            Answer(202 if is_taken else None, error=None if is_taken else "it did not answer"),
            state,
            LATER if state is DeliveryState.WAITING else None,
            "awaited" if is_taken else None,
        )
        self.outbox.conclude([result], fence=self.fence).result(30)

    def confirm(self) -> DeliveryState | None:
        return self.outbox.confirm(self.parcel.delivery_id, "tekton", now=LATER)

    def expire(self) -> dict[str, str]:
        return self.outbox.expire_confirmations(before=LATER)

    def standing(self) -> tuple[str | None, str, str]:
        """Return what was said of it, its state, and its event's."""
        wanted = select(deliveries.c.confirmation, deliveries.c.state, events.c.state).join(
            events, deliveries.c.event_position == events.c.position
        )
        with self.database.read() as connection:
            confirmation, state, event = connection.execute(wanted).one()
        return confirmation, state, event


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


CONFIRMED = ("confirmed", "delivered", "delivered")


def test_what_was_taken_awaits_its_confirmation(scene: Scene) -> None:
    scene.conclude()
    taken = scene.standing()

    assert scene.confirm()

    assert taken == ("awaited", "delivered", "delivered")
    assert scene.standing() == CONFIRMED


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.WAITING])
def test_a_word_that_comes_before_the_answer_is_recorded_counts(
    scene: Scene, state: DeliveryState
) -> None:
    scene.confirm()
    early = scene.standing()

    scene.conclude(state)

    assert early == ("confirmed", "sending", "open")
    assert scene.standing() == CONFIRMED


def test_what_waits_for_another_try_needs_none_once_it_is_confirmed(scene: Scene) -> None:
    scene.conclude(DeliveryState.WAITING)
    waiting = scene.standing()

    scene.confirm()

    assert waiting == (None, "waiting", "open")
    assert scene.standing() == CONFIRMED
    with scene.database.read() as connection:
        row = connection.execute(select(deliveries)).one()
    assert (row.finished_at, row.next_attempt_at) == (LATER, None)


def test_what_was_given_up_stays_so_and_is_confirmed(scene: Scene) -> None:
    scene.conclude(DeliveryState.DEAD)

    scene.confirm()

    assert scene.standing() == ("confirmed", "dead", "failed")


def test_a_word_that_never_came_is_no_longer_awaited_and_may_come_late(scene: Scene) -> None:
    scene.conclude()

    at_first = scene.outbox.expire_confirmations(before=NOON)
    expired = scene.expire()
    unconfirmed = scene.standing()
    again = scene.expire()
    scene.confirm()

    assert (at_first, expired, again) == ({}, {scene.parcel.delivery_id: "tekton"}, {})
    assert unconfirmed == ("unconfirmed", "delivered", "delivered")
    assert scene.standing() == CONFIRMED
    assert scene.expire() == {}


def test_only_the_receiver_itself_can_confirm(scene: Scene) -> None:
    assert not scene.outbox.confirm(scene.parcel.delivery_id, "other", now=LATER)
    assert not scene.outbox.confirm("none", "tekton", now=LATER)
    assert scene.confirm()
    assert scene.confirm()


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.WAITING])
@pytest.mark.parametrize("is_word_first", [True, False])
def test_word_and_answer_at_once_end_as_either_order_does(
    scene: Scene, database_url: str, state: DeliveryState, *, is_word_first: bool
) -> None:
    with elsewhere(database_url) as other:

        def confirm() -> object:
            return Outbox(other).confirm(scene.parcel.delivery_id, "tekton", now=LATER)

        def conclude() -> None:
            scene.conclude(state)

        works = (confirm, conclude) if is_word_first else (conclude, confirm)
        overlapping(*works)

    assert scene.standing() == CONFIRMED


def test_a_deadline_that_passes_while_the_word_comes_leaves_it_confirmed(
    scene: Scene, database_url: str
) -> None:
    scene.conclude()

    with elsewhere(database_url) as other:
        expired = overlapping(
            scene.confirm, lambda: Outbox(other).expire_confirmations(before=LATER)
        )

    assert expired == {}
    assert scene.standing() == CONFIRMED
