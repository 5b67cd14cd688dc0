"""What a receiver is sent while it fails, while it wants a pace, and where order does not matter.

The dispatcher is driven turn by turn here, in virtual time and without threads.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.delivery.payloads import Rendered
from app.domain.delivery import Answer, DeliveryState, Parcel
from app.services.dispatcher import Dispatcher
from app.settings.types import Receiver
from app.storage.receivers import ReceiverState
from tests.fakes.clock import NOON, FakeClock
from tests.fakes.outbox import FakeOutbox, FakeSenders, a_parcel
from tests.fakes.store import FENCE

TAKEN = Answer(202)
BUSY = Answer(503)
MANY_TURNS = 20_000
CI = Receiver("ci", "https://ci.example.com/")


class Inline(Executor):
    """Does at once what is submitted."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        done.set_result(work(*args, **kwargs))
        return done


class Scene:
    """A dispatcher in virtual time; each attempt is noted with its moment."""

    def __init__(self, receiver: Receiver = CI, *others: Receiver) -> None:
        self.clock = FakeClock()
        self.outbox = FakeOutbox()
        self.answer: Callable[[str], Answer] = lambda delivery: TAKEN
        self.senders = FakeSenders(self._note)
        self.receivers = {each.name: each for each in (receiver, *others)}
        self.attempts: list[tuple[float, str]] = []
        self.turns = 0
        self.enriched: list[list[int]] = []
        self.dispatcher = self.again()

    def again(self) -> Dispatcher:
        """Begin as after a restart."""
        self.dispatcher = Dispatcher(
            outbox=self.outbox,
            receivers=self.receivers,
            sender_for=self.senders.for_receiver,
            render=lambda parcel: Rendered(b"{}", {}),
            observers=(),
            fence=FENCE,
            may_send=lambda: True,
            lease_lost=lambda: None,
            now=self.clock,
            chance=lambda: 0.0,
            enrich=self._enrich,
            pools=lambda name, most: Inline(),
        )
        return self.dispatcher

    def _enrich(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        self.enriched.append([parcel.position for parcel in parcels])
        return parcels

    def _note(self, delivery: str, tried: int) -> Answer:
        self.attempts.append(((self.clock() - NOON).total_seconds(), delivery))
        return self.answer(delivery)

    def go(self, **duration: float) -> None:
        """Call the dispatcher whenever it wants to be, until so much time has passed."""
        until = self.clock() + timedelta(**duration)
        while True:
            self.turns += 1
            assert self.turns < MANY_TURNS
            wait = timedelta(seconds=self.dispatcher.turn())
            if self.clock() + wait > until:
                self.clock.at = until
                return
            self.clock.at += wait

    def owe(self, *parcels: Parcel) -> None:
        self.outbox.owe(*parcels)
        self.dispatcher.owed()

    def sent_since(self, at: datetime) -> list[str]:
        since_s = (at - NOON).total_seconds()
        return [delivery for moment, delivery in self.attempts if moment >= since_s]

    @property
    def is_open(self) -> bool:
        return self.dispatcher.circuits()["ci"].opened_at is not None


def of_each(repositories: int, *, each: int = 1, receiver: str = "ci") -> list[Parcel]:
    """Owe every repository's changes in turn: 1 2 3 1 2 3."""
    return [
        a_parcel(number + 1, repository_id=number % repositories + 1, receiver=receiver)
        for number in range(repositories * each)
    ]


def name(position: int) -> str:
    return f"delivery-{position}"


# The circuit.


def test_five_failures_in_a_row_open_the_circuit_and_one_delivery_at_a_time_asks() -> None:
    scene = Scene()
    scene.answer = lambda delivery: BUSY
    scene.owe(*of_each(20))

    scene.go(minutes=10)

    asked = [moment for moment, _ in scene.attempts]
    assert scene.is_open
    assert asked[:5] == [0] * 5
    assert asked[5:10] == [5, 15, 35, 75, 135]
    assert len(asked) <= 5 + 4 + 10
    assert scene.turns < 10 * 60
    waiting = scene.dispatcher.circuits()["ci"].waiting
    assert waiting == 20


def test_the_repositories_take_turns_in_asking() -> None:
    scene = Scene()
    scene.answer = lambda delivery: BUSY
    scene.owe(*of_each(8))

    scene.go(minutes=30)

    asked = Counter(delivery for _, delivery in scene.attempts)
    assert len(asked) == 8
    assert max(asked.values()) - min(asked.values()) <= 1


def test_the_first_answer_brings_forward_all_that_waits() -> None:
    scene = Scene()
    scene.answer = lambda delivery: BUSY
    scene.owe(*of_each(20, each=3))
    scene.go(minutes=10)
    scene.answer = lambda delivery: TAKEN
    back_at = scene.clock()

    scene.go(minutes=1)

    assert not scene.outbox.owed
    assert not scene.is_open
    assert scene.outbox.hastened == ["ci"]
    sent = scene.sent_since(back_at)
    assert len(sent) == 60
    for repository in range(20):
        ours = [d for d in sent if (int(d.removeprefix("delivery-")) - 1) % 20 == repository]
        assert ours == [name(repository + 1 + 20 * n) for n in range(3)]
    assert scene.outbox.circuit_notes == [("ci", True), ("ci", False)]


def test_a_poisonous_delivery_does_not_keep_the_circuit_open_while_another_waits() -> None:
    """Alone it opens it; whoever comes next need not wait for the next probe to prove it wrong."""
    scene = Scene()
    scene.answer = lambda delivery: Answer(500) if delivery == name(1) else TAKEN
    scene.owe(a_parcel(1))
    scene.go(minutes=5)
    was_open = scene.is_open

    scene.owe(*(a_parcel(n, repository_id=n) for n in range(2, 9)))
    at = scene.clock()
    scene.go(seconds=1)

    assert was_open
    assert not scene.is_open
    assert set(scene.sent_since(at)) >= {name(n) for n in range(2, 9)}
    assert set(scene.outbox.owed) == {1}


def test_a_poisonous_delivery_among_many_that_failed_with_it_is_one_of_them() -> None:
    scene = Scene()
    scene.answer = lambda delivery: BUSY
    scene.owe(*of_each(6))
    scene.go(minutes=3)
    scene.answer = lambda delivery: Answer(500) if delivery == name(1) else TAKEN

    scene.go(minutes=2)

    assert set(scene.outbox.owed) == {1}
    assert not scene.is_open


def test_a_poisonous_delivery_with_healthy_neighbours_opens_nothing() -> None:
    scene = Scene()
    scene.answer = lambda delivery: Answer(500) if delivery == name(1) else TAKEN
    scene.owe(a_parcel(1))
    for number in range(2, 200):
        scene.owe(a_parcel(number, repository_id=number))
        scene.go(seconds=5)

    assert scene.outbox.circuit_notes == []
    assert set(scene.outbox.owed) == {1}


def test_what_asked_for_its_own_wait_is_no_probe_before() -> None:
    scene = Scene()
    asked = Answer(503, retry_after=timedelta(minutes=7))
    scene.answer = lambda delivery: BUSY if delivery == name(5) else asked
    scene.owe(*of_each(5))

    scene.go(minutes=6)

    assert scene.is_open
    assert {delivery for moment, delivery in scene.attempts if moment > 0} == {name(5)}


def test_in_a_part_without_order_only_what_asked_for_a_wait_is_no_probe_before() -> None:
    scene = Scene(replace(CI, order="none", concurrency=1))
    asked = Answer(429, retry_after=timedelta(minutes=7))
    scene.answer = lambda delivery: asked if delivery == name(1) else BUSY
    scene.owe(a_parcel(1), a_parcel(2))

    scene.go(minutes=6.9)

    assert scene.is_open
    assert [moment for moment, delivery in scene.attempts if delivery == name(1)] == [0]


def test_a_repository_alone_asks_each_minute_although_its_own_wait_is_longer() -> None:
    scene = Scene()
    scene.answer = lambda delivery: BUSY
    scene.owe(a_parcel(1), a_parcel(2))
    scene.go(minutes=30)
    before, since = len(scene.attempts), scene.clock()

    scene.go(minutes=10)

    assert len(scene.attempts) - before == 10
    assert set(scene.sent_since(since)) == {name(1)}


def test_who_asks_for_a_short_wait_is_not_asked_more_rarely_than_who_asks_for_none() -> None:
    scene = Scene()
    asked = Answer(503, retry_after=timedelta(seconds=3))
    scene.answer = lambda delivery: asked
    scene.owe(a_parcel(1), a_parcel(2))
    scene.go(minutes=30)
    before, since = len(scene.attempts), scene.clock()

    scene.go(minutes=10)

    assert len(scene.attempts) - before == 10
    assert set(scene.sent_since(since)) == {name(1)}


def test_a_probe_sends_one_delivery_and_not_a_batch() -> None:
    scene = Scene()
    scene.answer = lambda delivery: BUSY
    scene.owe(*of_each(5, each=10))
    scene.go(seconds=1)
    claimed = len(scene.outbox.released)

    scene.go(seconds=6)

    assert [moment for moment, _ in scene.attempts][5:] == [5]
    assert len(scene.outbox.released) == claimed


def test_after_a_restart_the_circuit_is_open_and_asks_at_once() -> None:
    scene = Scene()
    scene.outbox.circuits["ci"] = ReceiverState(opened_at=NOON, opened_reason="it answered 503")
    waiting = [replace(p, due_at=NOON + timedelta(minutes=9), attempts_made=4) for p in of_each(9)]
    scene.answer = lambda delivery: BUSY
    scene.owe(*waiting)

    scene.go(seconds=1)
    circuit = scene.dispatcher.circuits()["ci"]
    scene.go(seconds=9)

    assert circuit.opened_at == NOON
    assert circuit.reason == "it answered 503"
    assert [moment for moment, _ in scene.attempts] == [0, 10]
    assert scene.outbox.circuit_notes == []


def test_a_restart_on_an_open_circuit_goes_on_at_the_first_answer() -> None:
    scene = Scene()
    scene.outbox.circuits["ci"] = ReceiverState(opened_at=NOON, opened_reason="it answered 503")
    scene.owe(*of_each(9, each=2))

    scene.go(seconds=1)

    assert not scene.outbox.owed
    assert scene.outbox.circuit_notes == [("ci", False)]


def test_nothing_asks_while_the_receiver_is_paused_and_at_once_when_it_is_resumed() -> None:
    scene = Scene()
    scene.answer = lambda delivery: BUSY
    scene.owe(*of_each(6))
    scene.go(minutes=3)
    scene.outbox.closed.add("ci")
    scene.dispatcher.heed_receivers()
    before = len(scene.attempts)
    scene.go(minutes=30)
    while_paused = len(scene.attempts) - before
    turns_before = scene.turns

    scene.go(minutes=1)
    turns_a_minute = scene.turns - turns_before
    scene.outbox.closed.clear()
    scene.dispatcher.heed_receivers()
    resumed_at = scene.clock()
    scene.go(seconds=1)

    assert while_paused == 0
    assert turns_a_minute < 60
    assert len(scene.sent_since(resumed_at)) == 1
    assert scene.is_open


def test_a_person_who_resumes_a_failing_receiver_has_it_asked_at_once() -> None:
    """To resume takes the note away, in whatever process it was."""
    scene = Scene()
    scene.answer = lambda delivery: BUSY
    scene.owe(*of_each(6))
    scene.go(minutes=3)
    del scene.outbox.circuits["ci"]
    resumed_at = scene.clock()

    scene.dispatcher.owed()
    scene.go(seconds=1)

    assert len(scene.sent_since(resumed_at)) == 1
    assert scene.outbox.circuits["ci"].opened_at is not None


def test_a_probe_that_hears_the_receiver_is_gone_is_the_last_thing_sent() -> None:
    scene = Scene()
    scene.answer = lambda delivery: BUSY
    scene.owe(*of_each(6))
    scene.go(minutes=3)
    scene.answer = lambda delivery: Answer(410)
    gone_at = scene.clock()

    scene.go(minutes=30)

    assert len(scene.sent_since(gone_at)) == 1
    assert scene.outbox.closed == {"ci"}
    assert not scene.is_open


def test_an_open_circuit_holds_up_no_other_receiver() -> None:
    scene = Scene(CI, Receiver("chat", "https://chat.example.com/"))
    scene.answer = lambda delivery: BUSY if int(delivery.removeprefix("delivery-")) < 100 else TAKEN
    scene.owe(*of_each(20))
    scene.go(minutes=1)

    scene.owe(a_parcel(100, receiver="chat"))
    at = scene.clock()
    scene.go(seconds=0)

    assert scene.sent_since(at)[-1] == name(100)


def test_a_circuit_that_cannot_be_written_down_works_and_is_written_later() -> None:
    scene = Scene()

    def fail_with_the_database(delivery: str) -> Answer:
        if len(scene.attempts) == 5:
            scene.outbox.refuses_notes = True
        return BUSY

    scene.answer = fail_with_the_database
    scene.owe(*of_each(6))
    scene.go(seconds=3)
    noted = list(scene.outbox.circuit_notes)
    scene.outbox.refuses_notes = False
    scene.go(seconds=3)

    assert noted == []
    assert scene.outbox.circuit_notes == [("ci", True)]


def test_it_says_once_that_a_circuit_opened_and_closed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="app.services.dispatcher")
    scene = Scene()
    scene.answer = lambda delivery: BUSY
    scene.owe(*of_each(20))
    scene.go(minutes=3)
    scene.answer = lambda delivery: TAKEN
    scene.go(minutes=2)

    told = [record.message for record in caplog.records if record.message.startswith("circuit")]
    assert told == ["circuit opened", "circuit closed"]


# The pace.


def test_a_flood_is_sent_exactly_at_the_rate_in_order_and_without_a_busy_loop() -> None:
    scene = Scene(replace(CI, rate=5.0))
    scene.owe(*(a_parcel(position) for position in range(1, 501)))

    scene.go(seconds=101)

    assert [delivery for _, delivery in scene.attempts] == [name(n) for n in range(1, 501)]
    moments = [moment for moment, _ in scene.attempts]
    assert moments[:5] == [0] * 5
    assert moments[5:] == pytest.approx([0.2 * n for n in range(1, 496)], abs=0.001)
    assert scene.turns < 3 * 500


def test_a_flood_in_one_repository_starves_no_other() -> None:
    scene = Scene(replace(CI, rate=5.0))
    scene.owe(*(a_parcel(position) for position in range(1, 501)))
    scene.go(seconds=10)

    scene.owe(a_parcel(501, repository_id=2), a_parcel(502, repository_id=3))
    at = scene.clock()
    scene.go(seconds=1)

    assert {name(501), name(502)} <= set(scene.sent_since(at))


def test_tokens_that_a_short_lane_does_not_need_are_anothers() -> None:
    scene = Scene(replace(CI, rate=10.0, concurrency=1))
    scene.owe(*of_each(10))

    scene.go(seconds=0)

    assert [moment for moment, _ in scene.attempts] == [0] * 10


def test_a_fast_rate_is_kept_in_batches() -> None:
    scene = Scene(replace(CI, rate=300.0))
    scene.owe(*(a_parcel(position) for position in range(1, 1501)))

    scene.go(seconds=4)

    assert len(scene.attempts) in range(1470, 1501)
    assert scene.outbox.claims < 120


def test_a_slow_rate_is_kept_too() -> None:
    scene = Scene(replace(CI, rate=0.1))
    scene.owe(*(a_parcel(position) for position in range(1, 5)))

    scene.go(minutes=1)

    assert [moment for moment, _ in scene.attempts] == [0, 10, 20, 30]


def test_an_open_circuit_of_a_paced_receiver_makes_no_busy_loop() -> None:
    scene = Scene(replace(CI, rate=0.1))
    scene.answer = lambda delivery: BUSY
    scene.owe(*of_each(20))

    scene.go(minutes=20)

    assert scene.is_open
    assert scene.turns < 20 * 60
    assert len(scene.attempts) < 40


def test_a_clock_that_is_set_back_gives_no_flood_and_stops_nothing() -> None:
    scene = Scene(replace(CI, rate=5.0))
    scene.owe(*(a_parcel(position, due_at=NOON - timedelta(days=1)) for position in range(1, 101)))
    scene.go(seconds=2)
    before = len(scene.attempts)

    scene.clock.go(hours=-1)
    scene.go(seconds=2)

    assert len(scene.attempts) - before in range(9, 12)


# Where order does not matter.


def test_a_delivery_that_waits_holds_no_other_back_where_order_does_not_matter() -> None:
    scene = Scene(replace(CI, order="none", concurrency=2))
    scene.answer = lambda delivery: BUSY if delivery == name(1) else TAKEN
    scene.owe(*(a_parcel(position) for position in range(1, 80)))

    scene.go(seconds=0)
    left = set(scene.outbox.owed)
    scene.answer = lambda delivery: TAKEN
    scene.go(seconds=5)

    assert left == {1}
    assert scene.outbox.released == []
    assert not scene.outbox.owed
    assert [moment for moment, delivery in scene.attempts if delivery == name(1)] == [0, 5]


def test_one_change_alone_is_not_looked_for_in_every_part() -> None:
    scene = Scene(replace(CI, order="none", concurrency=8))
    scene.go(seconds=0)
    scene.outbox.reads = 0

    scene.owe(a_parcel(13))
    scene.outbox.newest = 13
    scene.dispatcher._seen_position = 12  # noqa: SLF001 - as if twelve had come before
    scene.go(seconds=0)

    assert not scene.outbox.owed
    assert scene.outbox.reads == 2


def test_the_circuit_opens_and_closes_where_order_does_not_matter_too() -> None:
    scene = Scene(replace(CI, order="none", concurrency=4))
    scene.answer = lambda delivery: BUSY
    scene.owe(*(a_parcel(position) for position in range(1, 50)))
    scene.go(minutes=10)
    while_down, turns = len(scene.attempts), scene.turns
    scene.answer = lambda delivery: TAKEN

    scene.go(minutes=1, seconds=5)

    assert while_down < 5 + 4 + 11
    assert turns < 10 * 60
    assert not scene.outbox.owed


def test_parts_are_served_while_all_of_them_wait_without_a_busy_loop() -> None:
    scene = Scene(replace(CI, order="none", concurrency=4))
    asked = Answer(429, retry_after=timedelta(minutes=30))
    scene.answer = lambda delivery: asked
    scene.owe(*(a_parcel(position) for position in range(1, 5)))

    scene.go(minutes=10)

    assert len(scene.attempts) == 4
    assert scene.outbox.reads < 4 * 2 + 10 * 4 + 4


# What is added, and what is awaited.


def test_only_what_has_no_bytes_yet_is_enriched_once_for_a_batch() -> None:
    scene = Scene()
    made = replace(a_parcel(2), body=b"{}", headers={})
    scene.owe(a_parcel(1), made, a_parcel(3))

    scene.go(seconds=0)

    assert scene.enriched == [[1, 3]]


def test_what_a_receiver_takes_that_confirms_is_awaited() -> None:
    scene = Scene(replace(CI, confirm="tekton"))
    scene.answer = lambda delivery: TAKEN if delivery == name(1) else Answer(400)
    scene.owe(a_parcel(1), a_parcel(2))

    scene.go(seconds=0)

    assert [result.confirmation for result in scene.outbox.results] == ["awaited", None]


def test_a_receiver_that_does_not_confirm_is_not_waited_for() -> None:
    scene = Scene()
    scene.owe(a_parcel(1))

    scene.go(seconds=0)

    assert scene.outbox.results[0].confirmation is None
    assert scene.outbox.states() == [DeliveryState.DELIVERED]


def test_it_can_be_stopped_though_it_was_never_started_and_begins_nothing_after() -> None:
    scene = Scene()
    scene.answer = lambda delivery: BUSY
    scene.owe(*of_each(9))
    scene.go(minutes=1)
    before = len(scene.attempts)

    assert scene.dispatcher.stop(1)
    scene.answer = lambda delivery: TAKEN
    scene.dispatcher.turn()

    assert len(scene.attempts) == before
