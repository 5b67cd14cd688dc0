"""What is owed stays owed, in order, until somebody took it; on every kind of database."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine, event, select

from app.domain.delivery import Answer, DeliveryState, Parcel
from app.domain.details import Commit, Details, Person
from app.domain.errors import Conflict, LeaseLost, NotFound
from app.domain.refs import BRANCH_PREFIX
from app.storage.database import Database
from app.storage.outbox import Outbox
from app.storage.receivers import ReceiverState
from app.storage.records import AttemptResult, Prepared
from app.storage.sending import INTERRUPTED
from app.storage.store import Store
from app.storage.tables import attempts, deliveries, events
from tests.integration.storage.scene import (
    FIRST,
    NOON,
    SECOND,
    TOOLS,
    WEBSITE,
    FakeClock,
    at_once,
    lead,
    push,
    watch,
)

LATER = NOON + timedelta(minutes=1)
TAKEN = Answer(202, body="taken")


class Scene:
    """Two repositories of which two changes each are owed to two receivers."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = FakeClock()
        self.fence = lead(database, clock=self.clock)
        self.store = Store(database)
        self.outbox = Outbox(database)
        self.website, self.tools = watch(self.store, self.fence, WEBSITE, TOOLS)
        self.events = []
        for known in (self.website, self.tools):
            moved = known
            for to in (FIRST, SECOND):
                moved, event = push(self.store, moved, self.fence, to=to, receivers=("ci", "chat"))
                self.events.append(event)

    def lane(self, receiver: str = "ci", limit: int = 10) -> list[Parcel]:
        return self.outbox.parcels(receiver, self.website.id, limit=limit, fence=self.fence)

    def claim(self, *parcels: Parcel) -> list[int]:
        prepared = [Prepared(p.position, b"{}", {"X-Event": p.event.id}) for p in parcels]
        return self.outbox.claim(prepared, at=NOON, until=LATER, fence=self.fence)

    def conclude(
        self,
        parcel: Parcel,
        answer: Answer = TAKEN,
        state: DeliveryState = DeliveryState.DELIVERED,
        *,
        at: datetime = NOON,
        release: Sequence[int] = (),
        duration_ms: int = 12,
    ) -> None:
        retry_at = LATER if state is DeliveryState.WAITING else None
        result = AttemptResult(parcel.position, at, duration_ms, answer, state, retry_at)
        self.outbox.conclude([result], release=release, fence=self.fence).result(30)

    def event_state(self, number: int) -> str:
        wanted = select(events.c.state).where(events.c.id == self.events[number].id)
        with self.database.read() as connection:
            return str(connection.scalar(wanted))

    def attempts(self, parcel: Parcel) -> list[tuple[int, int | None, str | None]]:
        wanted = (
            select(attempts.c.number, attempts.c.status, attempts.c.error)
            .where(attempts.c.delivery_position == parcel.position)
            .order_by(attempts.c.number)
        )
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(wanted)]


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


def test_each_receiver_and_repository_is_a_lane_known_by_its_first(scene: Scene) -> None:
    lanes = scene.outbox.lanes(fence=scene.fence)

    assert sorted((lane.receiver, lane.repository_id) for lane in lanes) == [
        (receiver, known.id)
        for receiver in ("chat", "ci")
        for known in (scene.website, scene.tools)
    ]
    assert {lane.due_at for lane in lanes} == {NOON}
    assert scene.lane()[0].position in {lane.position for lane in lanes}


def test_only_lanes_to_which_something_came_are_listed_since_then(scene: Scene) -> None:
    position = scene.outbox.last_position()
    known = scene.store.watched(scene.tools.id)
    push(scene.store, known, scene.fence, ref=BRANCH_PREFIX + "dev")

    lanes = scene.outbox.lanes_since(position, fence=scene.fence)

    assert [(lane.receiver, lane.repository_id) for lane in lanes] == [("ci", scene.tools.id)]
    assert lanes[0].position < position


def test_a_parcel_tells_all_that_is_needed_to_send_it(scene: Scene) -> None:
    first, second = scene.lane()

    assert [first.event, second.event] == scene.events[:2]
    assert (first.repository_name, first.repository_url) == (WEBSITE.name, WEBSITE.url)
    assert first.labels == {"team": "web"}
    assert (first.body, first.attempts_made, first.due_at) == (None, 0, NOON)


def test_claimed_bytes_are_kept_and_never_made_anew(scene: Scene) -> None:
    first = scene.lane()[0]
    scene.claim(first)
    scene.conclude(first, Answer(503), DeliveryState.WAITING)
    other = Prepared(first.position, b"other bytes", {})

    scene.outbox.claim([other], at=LATER, until=LATER, fence=scene.fence)

    kept = scene.lane()[0]
    assert (kept.body, kept.headers) == (b"{}", {"X-Event": first.event.id})


def test_the_format_that_the_bytes_are_spelled_in_is_kept_with_them(scene: Scene) -> None:
    first = scene.lane()[0]
    prepared = Prepared(first.position, b"{}", {}, "standard")

    scene.outbox.claim([prepared], at=NOON, until=LATER, fence=scene.fence)

    assert (first.payload, scene.lane()[0].payload) == ("github", "standard")


def test_where_no_bytes_could_be_made_none_are_kept(scene: Scene) -> None:
    first = scene.lane()[0]

    claimed = scene.outbox.claim(
        [Prepared(first.position)], at=NOON, until=LATER, fence=scene.fence
    )

    assert claimed == [first.position]
    assert (scene.lane()[0].body, scene.lane()[0].payload) == (None, "github")


def test_of_many_who_claim_one_succeeds(scene: Scene) -> None:
    first = scene.lane()[0]

    outcomes = at_once([lambda: scene.claim(first)] * 8)

    assert sorted(map(len, outcomes)) == [0] * 7 + [1]  # type: ignore[arg-type] # none raised


def test_a_claim_stops_where_something_is_claimed_already(scene: Scene) -> None:
    first, second = scene.lane()
    scene.claim(second)

    assert scene.claim(first, second) == [first.position]


def test_a_claim_that_ran_out_may_be_taken_again_and_its_attempt_is_recorded(scene: Scene) -> None:
    first = scene.lane()[0]
    scene.claim(first)
    prepared = [Prepared(first.position, b"", {})]

    claimed = scene.outbox.claim(
        prepared, at=LATER, until=LATER + timedelta(minutes=1), fence=scene.fence
    )

    assert claimed == [first.position]
    assert scene.attempts(first) == [(1, None, INTERRUPTED)]


def test_the_claim_of_a_process_that_died_counts_no_more(scene: Scene) -> None:
    first = scene.lane()[0]
    scene.claim(first)
    scene.clock.pass_by(timedelta(seconds=6))
    heir = lead(scene.database, clock=scene.clock)

    again = scene.outbox.parcels("ci", scene.website.id, limit=1, fence=heir)
    claimed = scene.outbox.claim(
        [Prepared(first.position, b"", {})], at=NOON, until=LATER, fence=heir
    )

    assert again[0].due_at == NOON
    assert claimed == [first.position]


def test_a_process_that_lost_the_lease_claims_and_concludes_nothing(scene: Scene) -> None:
    first = scene.lane()[0]
    scene.claim(first)
    scene.clock.pass_by(timedelta(seconds=6))
    lead(scene.database, clock=FakeClock(scene.clock.at))

    with pytest.raises(LeaseLost):
        scene.conclude(first)
    with pytest.raises(LeaseLost):
        scene.claim(first)

    assert scene.attempts(first) == []


def test_a_delivered_one_lets_the_next_come_first(scene: Scene) -> None:
    first, second = scene.lane()
    scene.claim(first)

    scene.conclude(first)

    assert [parcel.position for parcel in scene.lane()] == [second.position]
    assert scene.attempts(first) == [(1, 202, None)]


def test_one_that_waits_stays_first_and_gives_back_the_claims_behind_it(scene: Scene) -> None:
    first, second = scene.lane()
    scene.claim(first, second)

    scene.conclude(first, Answer(503), DeliveryState.WAITING, release=[second.position])

    waiting, released = scene.lane()
    assert (waiting.due_at, waiting.attempts_made) == (LATER, 1)
    assert (released.due_at, released.attempts_made) == (NOON, 0)
    assert scene.claim(second) == [second.position]


def test_an_event_is_delivered_when_all_its_receivers_took_it(scene: Scene) -> None:
    states = [scene.event_state(0)]
    for receiver in ("ci", "chat"):
        first = scene.lane(receiver)[0]
        scene.claim(first)
        scene.conclude(first)
        states.append(scene.event_state(0))

    assert states == ["open", "open", "delivered"]


def test_an_event_has_failed_when_one_is_dead_until_it_is_delivered_again(scene: Scene) -> None:
    for receiver, state in (("ci", DeliveryState.DEAD), ("chat", DeliveryState.DELIVERED)):
        first = scene.lane(receiver)[0]
        scene.claim(first)
        scene.conclude(first, Answer(400), state)
    failed = scene.event_state(0)
    made = scene.outbox.redeliver(scene.events[0].id, receivers={"ci": "github"}, now=NOON)
    reopened = scene.event_state(0)
    again = next(parcel for parcel in scene.lane() if parcel.delivery_id == made[0])
    scene.claim(again)
    scene.conclude(again)

    assert (failed, reopened, scene.event_state(0)) == ("failed", "open", "delivered")
    assert again.redelivery == 1
    assert again.event == scene.events[0]


def test_redelivery_is_to_the_former_receivers_unless_others_are_named(scene: Scene) -> None:
    event = scene.events[0].id

    former = scene.outbox.redeliver(
        event, receivers={"ci": "github", "new": "standard"}, only_former=True, now=NOON
    )
    named = scene.outbox.redeliver(event, receivers={"new": "standard"}, now=NOON)

    assert (len(former), len(named)) == (1, 1)
    with pytest.raises(Conflict):
        scene.outbox.redeliver(event, receivers={"newer": "github"}, only_former=True, now=NOON)
    with pytest.raises(NotFound):
        scene.outbox.redeliver("none", receivers={"ci": "github"}, now=NOON)


def test_a_waiting_delivery_can_be_tried_at_once_and_a_finished_one_cannot(scene: Scene) -> None:
    first = scene.lane()[0]
    scene.claim(first)
    with pytest.raises(Conflict):
        scene.outbox.retry(first.delivery_id, now=NOON)
    scene.conclude(first, Answer(503), DeliveryState.WAITING)

    scene.outbox.retry(first.delivery_id, now=NOON)

    assert scene.lane()[0].due_at == NOON
    scene.conclude(first, Answer(400), DeliveryState.DEAD, at=LATER)
    with pytest.raises(Conflict, match="redeliver"):
        scene.outbox.retry(first.delivery_id, now=NOON)


def test_a_cancelled_delivery_is_no_longer_owed_and_lets_the_next_come_first(scene: Scene) -> None:
    first, second = scene.lane()

    scene.outbox.cancel(first.delivery_id, now=NOON)

    assert [parcel.position for parcel in scene.lane()] == [second.position]
    assert scene.claim(first) == []
    with pytest.raises(Conflict, match="cancelled already"):
        scene.outbox.cancel(first.delivery_id, now=NOON)


def test_what_is_being_sent_cannot_be_cancelled_until_its_claim_is_given_back_or_runs_out(
    scene: Scene,
) -> None:
    first, second = scene.lane()
    scene.claim(first, second)
    for parcel in (first, second):
        with pytest.raises(Conflict, match="is being sent"):
            scene.outbox.cancel(parcel.delivery_id, now=NOON)

    scene.conclude(first, Answer(503), DeliveryState.WAITING, release=[second.position])
    scene.outbox.cancel(second.delivery_id, now=NOON)
    scene.claim(first)
    scene.outbox.cancel(first.delivery_id, now=LATER)

    assert scene.lane() == []


def test_what_comes_back_of_a_cancelled_delivery_is_only_recorded(scene: Scene) -> None:
    first, second = scene.lane()
    scene.claim(first)

    scene.outbox.cancel(first.delivery_id, now=LATER)  # its claim has run out
    scene.conclude(first, Answer(503), DeliveryState.WAITING)

    assert [parcel.position for parcel in scene.lane()] == [second.position]
    assert scene.attempts(first) == [(1, 503, None)]


def test_a_result_that_is_handed_in_twice_counts_once(scene: Scene) -> None:
    first = scene.lane()[0]
    scene.claim(first)

    for _ in range(2):
        scene.conclude(first, Answer(503), DeliveryState.WAITING)

    assert scene.attempts(first) == [(1, 503, None)]
    assert scene.lane()[0].attempts_made == 1


@pytest.mark.parametrize("lasted_ms", [10**10, -5000])
def test_an_attempt_across_which_the_clock_was_set_counts_like_any_other(
    scene: Scene, lasted_ms: int
) -> None:
    first = scene.lane()[0]
    scene.claim(first)

    scene.conclude(first, duration_ms=lasted_ms)

    assert scene.attempts(first) == [(1, 202, None)]
    assert scene.lane()[0].position != first.position


def test_two_processes_that_end_an_event_together_agree_on_its_state(
    scene: Scene, database_url: str
) -> None:
    elsewhere = Database(database_url, now=scene.clock.now)
    ours, theirs = (scene.lane(receiver)[0] for receiver in ("ci", "chat"))
    is_ending = threading.Event()

    def hold(_: Connection) -> None:
        """Give the other process time to look at what we have not committed yet."""
        if not is_ending.is_set():
            is_ending.set()
            wait([cancelling], timeout=0.2)

    def cancel_elsewhere() -> None:
        is_ending.wait(30)
        Outbox(elsewhere).cancel(theirs.delivery_id, now=NOON)

    with ThreadPoolExecutor(1) as pool:
        cancelling = pool.submit(cancel_elsewhere)
        event.listen(Engine, "commit", hold)
        try:
            scene.outbox.cancel(ours.delivery_id, now=NOON)
            cancelling.result(30)
        finally:
            event.remove(Engine, "commit", hold)
    elsewhere.close()

    assert scene.event_state(0) == "ignored"


def test_an_answer_is_kept_to_its_first_kibibyte_and_without_nul(scene: Scene) -> None:
    first = scene.lane()[0]
    scene.claim(first)

    scene.conclude(first, Answer(200, body="é\0" * 5000))

    wanted = select(attempts.c.answer).where(attempts.c.delivery_position == first.position)
    with scene.database.read() as connection:
        answer = connection.scalar(wanted)
    assert answer is not None
    assert answer.startswith("éé")
    assert len(answer) <= 1024


def test_a_held_delivery_is_no_lane_and_holds_nothing_back(scene: Scene) -> None:
    first, second = scene.lane()
    hold = deliveries.update().where(deliveries.c.position == first.position)
    scene.database.write(lambda connection: connection.execute(hold.values(state="held")).close())

    assert [parcel.position for parcel in scene.lane()] == [second.position]
    assert first.position not in {lane.position for lane in scene.outbox.lanes(fence=scene.fence)}


def test_a_receiver_stays_closed_until_it_is_enabled_and_since_when_it_first_was(
    scene: Scene,
) -> None:
    scene.outbox.disable_receiver("ci", reason="it answered 410: gone", at=NOON)
    scene.outbox.disable_receiver("ci", reason="again", at=LATER)
    scene.outbox.pause_receiver("ci", at=NOON)
    scene.outbox.pause_receiver("ci", at=LATER)
    scene.outbox.pause_receiver("chat", at=NOON)
    closed = scene.outbox.receiver_states()

    scene.outbox.enable_receiver("ci", now=LATER)

    assert closed == {
        "ci": ReceiverState(NOON, NOON, "it answered 410: gone"),
        "chat": ReceiverState(NOON),
    }
    assert scene.outbox.receiver_states() == {"chat": ReceiverState(NOON)}


def test_what_waited_for_a_closed_receiver_is_due_at_once_and_tried_for_its_whole_time(
    scene: Scene,
) -> None:
    first = scene.lane()[0]
    scene.claim(first)
    scene.conclude(first, Answer(503), DeliveryState.WAITING)
    scene.outbox.enable_receiver("ci", now=NOON)
    before = scene.lane()[0]
    scene.outbox.pause_receiver("ci", at=NOON)

    scene.outbox.enable_receiver("ci", now=NOON)

    after = scene.lane()[0]
    assert (before.due_at, before.first_attempt_at) == (LATER, NOON)
    assert (after.due_at, after.first_attempt_at, after.attempts_made) == (NOON, None, 1)


def test_an_open_circuit_is_remembered_until_it_closes_or_a_person_lets_it(scene: Scene) -> None:
    outbox = scene.outbox
    outbox.note_circuit("ci", opened_at=NOON, reason="no answer")
    outbox.note_circuit("chat", opened_at=NOON, reason="503")
    outbox.note_circuit("ci", opened_at=LATER, reason="503\0")
    outbox.pause_receiver("ci", at=LATER)
    opened = outbox.receiver_states()

    outbox.note_circuit("ci", opened_at=None, reason=None)
    closed = outbox.receiver_states()
    outbox.note_circuit("ci", opened_at=LATER, reason="again")
    for name in ("ci", "chat"):
        outbox.enable_receiver(name, now=LATER)

    assert opened == {
        "ci": ReceiverState(LATER, opened_at=LATER, opened_reason="503"),
        "chat": ReceiverState(opened_at=NOON, opened_reason="503"),
    }
    assert closed["ci"] == ReceiverState(LATER)
    assert outbox.receiver_states() == {}


def test_a_receiver_whose_circuit_is_open_is_not_closed(scene: Scene) -> None:
    scene.outbox.note_circuit("ci", opened_at=NOON, reason="no answer")

    assert not scene.outbox.receiver_states()["ci"].is_closed
    scene.outbox.note_circuit("none", opened_at=None, reason=None)
    assert set(scene.outbox.receiver_states()) == {"ci"}


def test_a_parcel_carries_what_the_forge_told_of_the_change(scene: Scene) -> None:
    ada = Person("Ada", "ada@example.com", "ada")
    commit = Commit(FIRST, "Begin", ada, ada, NOON, added=("README",))
    told = Details((commit,), total=7, forced=False, pusher=ada, pushed_at=NOON)

    scene.store.keep_details(scene.events[0].id, told).result(30)

    first, second = scene.lane()
    assert (first.details, second.details) == (told, None)
    assert first.event.pushed_at == NOON
