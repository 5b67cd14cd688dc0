"""What is owed is sent in order, again and again, until it is taken or given up."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from app.delivery.payloads import Rendered
from app.domain.delivery import Answer, DeliveryState, Parcel, RetryPolicy
from app.domain.errors import PayloadUnrenderable
from app.services.courier import Observer
from app.services.dispatcher import Dispatcher
from app.settings.types import Receiver
from app.storage.records import AttemptResult
from tests.fakes.clock import FakeClock
from tests.fakes.outbox import FakeOutbox, FakeSenders, a_parcel
from tests.fakes.store import FENCE
from tests.fakes.waiting import wait_until

TAKEN = Answer(202)
BUSY = Answer(503)
CI = Receiver("ci", "https://ci.example.com/", concurrency=2)


class Scene:
    """A dispatcher with its surroundings."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.outbox = FakeOutbox()
        self.senders = FakeSenders(lambda delivery, tried: TAKEN)
        self.receivers = {"ci": CI}
        self.may_send = True
        self.times_asked = 0  # whether the lease is surely held
        self.observers: tuple[Observer, ...] = ()
        self.lost = threading.Event()
        self.render: Callable[[Parcel], Rendered] = lambda parcel: Rendered(b"{}", {})
        self.dispatcher: Dispatcher | None = None

    def start(self) -> Dispatcher:
        self.dispatcher = Dispatcher(
            outbox=self.outbox,
            receivers=self.receivers,
            sender_for=self.senders.for_receiver,
            render=self.render,
            observers=self.observers,
            fence=FENCE,
            may_send=self._may_send,
            lease_lost=self.lost.set,
            now=self.clock,
            chance=lambda: 0.0,
        )
        self.dispatcher.start()
        return self.dispatcher

    def _may_send(self) -> bool:
        self.times_asked += 1
        return self.may_send

    def go(self, **duration: float) -> None:
        """Let time pass, and have the dispatcher notice."""
        assert self.dispatcher is not None
        self.clock.go(**duration)
        self.dispatcher.owed()

    def go_on_until(self, happened: Callable[[], bool]) -> None:
        """Let second after second pass until it happened."""

        def look() -> bool:
            self.go(seconds=1)
            return happened()

        wait_until(look)


class Listener:
    """Calls back at each attempt."""

    def __init__(self, call: Callable[[AttemptResult], None]) -> None:
        self._call = call

    def attempted(self, parcel: Parcel, result: AttemptResult) -> None:
        self._call(result)


class BrokenObserver:
    """Does what no observer should."""

    def attempted(self, parcel: Parcel, result: AttemptResult) -> None:
        raise RuntimeError("a defect")


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    if made.dispatcher is not None:
        assert made.dispatcher.stop(5)


def sent(*positions: int) -> list[str]:
    return [f"delivery-{position}" for position in positions]


def test_what_is_owed_at_the_start_is_sent_in_order(scene: Scene) -> None:
    scene.outbox.owe(*(a_parcel(position) for position in range(1, 51)))

    scene.start()

    wait_until(lambda: not scene.outbox.owed)
    assert scene.senders.sent == sent(*range(1, 51))


def test_what_is_owed_later_is_sent_when_it_is_told(scene: Scene) -> None:
    dispatcher = scene.start()
    scene.outbox.owe(a_parcel(1))

    dispatcher.owed()

    wait_until(lambda: scene.senders.sent == sent(1))


def test_a_delivery_that_must_wait_holds_its_successors_back(scene: Scene) -> None:
    scene.senders.answer = lambda delivery, tried: (
        BUSY if delivery == "delivery-2" and tried == 1 else TAKEN
    )
    scene.outbox.owe(*(a_parcel(position) for position in (1, 2, 3)))
    scene.start()
    wait_until(lambda: len(scene.outbox.results) == 2)

    scene.go(seconds=4)
    before = list(scene.senders.sent)
    scene.go(seconds=2)

    wait_until(lambda: not scene.outbox.owed)
    assert before == sent(1, 2)
    assert scene.senders.sent == sent(1, 2, 2, 3)
    assert scene.outbox.released == [3]


def test_another_repository_does_not_wait_for_it(scene: Scene) -> None:
    scene.senders.answer = lambda delivery, tried: BUSY if delivery == "delivery-1" else TAKEN
    scene.outbox.owe(a_parcel(1), a_parcel(2, repository_id=2))

    scene.start()

    wait_until(lambda: 2 not in scene.outbox.owed and len(scene.outbox.results) == 2)


def test_a_dead_delivery_lets_its_successors_go_on(scene: Scene) -> None:
    scene.senders.answer = lambda delivery, tried: (
        Answer(400) if delivery == "delivery-1" else TAKEN
    )
    scene.outbox.owe(a_parcel(1), a_parcel(2))

    scene.start()

    wait_until(lambda: not scene.outbox.owed)
    assert scene.outbox.states() == [DeliveryState.DEAD, DeliveryState.DELIVERED]


def test_it_gives_up_when_it_has_tried_long_enough(scene: Scene) -> None:
    patience = RetryPolicy(give_up=timedelta(seconds=12))
    scene.receivers["ci"] = Receiver("ci", CI.url, retry=patience)
    scene.senders.answer = lambda delivery, tried: BUSY
    scene.outbox.owe(a_parcel(1))
    scene.start()
    wait_until(lambda: len(scene.outbox.results) == 1)

    scene.go(seconds=5)

    wait_until(lambda: not scene.outbox.owed)
    assert scene.outbox.states() == [DeliveryState.WAITING, DeliveryState.DEAD]


def test_retry_after_is_honoured(scene: Scene) -> None:
    asked = Answer(429, retry_after=timedelta(seconds=90))
    scene.senders.answer = lambda delivery, tried: asked if tried == 1 else TAKEN
    scene.outbox.owe(a_parcel(1))
    scene.start()
    wait_until(lambda: len(scene.outbox.results) == 1)

    scene.go(seconds=89)
    too_early = len(scene.senders.sent)
    scene.go(seconds=1)

    wait_until(lambda: not scene.outbox.owed)
    assert too_early == 1


def test_a_receiver_that_is_gone_is_disabled(scene: Scene) -> None:
    scene.senders.answer = lambda delivery, tried: Answer(410)
    scene.outbox.owe(a_parcel(1))
    dispatcher = scene.start()
    wait_until(lambda: scene.outbox.closed == {"ci"})

    scene.outbox.owe(a_parcel(2, repository_id=2))
    dispatcher.owed()
    scene.outbox.closed.clear()
    dispatcher.take_stock()

    wait_until(lambda: scene.senders.sent == sent(1, 2))


def test_a_receiver_that_is_gone_gets_nothing_more_of_what_was_to_follow(scene: Scene) -> None:
    scene.senders.answer = lambda delivery, tried: Answer(410)
    scene.outbox.owe(a_parcel(1), a_parcel(2))

    scene.start()

    wait_until(lambda: scene.outbox.released == [2])
    assert scene.senders.sent == sent(1)
    assert list(scene.outbox.owed) == [2]


def test_an_attempt_counts_although_its_receiver_cannot_be_disabled_just_now(scene: Scene) -> None:
    def be_gone(delivery: str, tried: int) -> Answer:
        scene.outbox.is_down = True
        return Answer(410)

    scene.senders.answer = be_gone
    scene.outbox.owe(a_parcel(1))
    scene.start()
    wait_until(lambda: scene.senders.sent == sent(1))

    scene.outbox.is_down = False
    scene.go(seconds=2)

    wait_until(lambda: not scene.outbox.owed)
    assert scene.senders.sent == sent(1)


def test_a_pause_ends_a_batch_before_its_next_attempt_and_loses_nothing(scene: Scene) -> None:
    is_sending, may_answer = threading.Event(), threading.Event()

    def linger(delivery: str, tried: int) -> Answer:
        is_sending.set()
        assert may_answer.wait(5)
        return TAKEN

    scene.senders.answer = linger
    scene.outbox.owe(*(a_parcel(position) for position in (1, 2, 3)))
    dispatcher = scene.start()
    assert is_sending.wait(5)

    scene.outbox.closed.add("ci")
    dispatcher.heed_receivers()
    may_answer.set()

    wait_until(lambda: scene.outbox.released == [2, 3])
    assert scene.senders.sent == sent(1)
    scene.outbox.closed.clear()
    dispatcher.heed_receivers()
    wait_until(lambda: not scene.outbox.owed)
    assert scene.senders.sent == sent(1, 2, 3)


def test_a_receiver_that_another_process_allows_again_is_sent_what_it_is_owed(
    scene: Scene,
) -> None:
    scene.outbox.closed.add("ci")
    scene.outbox.owe(a_parcel(1))
    dispatcher = scene.start()
    wait_until(lambda: scene.outbox.times_looked > 0)

    scene.outbox.closed.clear()
    dispatcher.owed()  # it looks around by itself, only later

    wait_until(lambda: scene.senders.sent == sent(1))


def test_what_cannot_be_spelled_is_dead_and_says_why(scene: Scene) -> None:
    def refuse(parcel: Parcel) -> Rendered:
        raise PayloadUnrenderable("no such format: morse")

    scene.render = refuse
    scene.outbox.owe(a_parcel(1))

    scene.start()

    wait_until(lambda: not scene.outbox.owed)
    assert scene.outbox.results[0].answer.error == "no such format: morse"
    assert scene.senders.sent == []


def test_what_cannot_be_spelled_is_not_sent_empty_after_it_was_claimed_in_vain(
    scene: Scene,
) -> None:
    def refuse_the_second(parcel: Parcel) -> Rendered:
        if parcel.position == 2:
            raise PayloadUnrenderable("no such format: morse")
        return Rendered(b"{}", {})

    scene.render = refuse_the_second
    scene.senders.answer = lambda delivery, tried: BUSY if tried == 1 else TAKEN
    scene.outbox.owe(a_parcel(1), a_parcel(2))
    scene.start()
    wait_until(lambda: scene.outbox.released == [2])

    scene.go(seconds=6)

    wait_until(lambda: not scene.outbox.owed)
    assert scene.senders.sent == sent(1, 1)


def test_what_has_no_bytes_yet_is_spelled_as_its_receiver_wants_it_now(scene: Scene) -> None:
    spelled: list[str] = []

    def spell(parcel: Parcel) -> Rendered:
        spelled.append(parcel.payload)
        return Rendered(b"{}", {})

    scene.render = spell
    made = replace(a_parcel(2), payload="template", body=b"{}", headers={})
    scene.outbox.owe(replace(a_parcel(1), payload="template"), made)

    scene.start()

    wait_until(lambda: not scene.outbox.owed)
    assert spelled == ["github"]
    assert scene.senders.payloads == ["github", "template"]


def test_an_attempt_is_recorded_once_the_database_is_back_and_not_repeated(scene: Scene) -> None:
    def take_and_fail(delivery: str, tried: int) -> Answer:
        scene.outbox.is_down = True
        return TAKEN

    scene.senders.answer = take_and_fail
    scene.outbox.owe(a_parcel(1))
    scene.start()
    wait_until(lambda: scene.senders.sent == sent(1))

    scene.outbox.is_down = False
    scene.go(seconds=2)

    wait_until(lambda: not scene.outbox.owed)
    assert scene.senders.sent == sent(1)


def test_nothing_is_sent_once_the_lease_may_be_anothers(scene: Scene) -> None:
    def take_and_doubt(delivery: str, tried: int) -> Answer:
        scene.may_send = False
        return TAKEN

    scene.senders.answer = take_and_doubt
    scene.outbox.owe(*(a_parcel(position) for position in (1, 2, 3)))

    scene.start()

    wait_until(lambda: scene.outbox.released == [2, 3])
    assert scene.senders.sent == sent(1)


def test_a_lane_waits_without_a_write_while_the_lease_is_in_doubt(scene: Scene) -> None:
    """To claim and give back again and again would slow a slow database further."""
    scene.may_send = False
    scene.outbox.owe(a_parcel(1))
    scene.start()
    wait_until(lambda: scene.times_asked > 0)
    claims_in_doubt = scene.outbox.claims
    scene.may_send = True

    scene.go_on_until(lambda: scene.senders.sent == sent(1))

    assert claims_in_doubt == 0


def test_stopping_does_not_wait_for_lanes_whose_turn_had_not_come(scene: Scene) -> None:
    are_sending, may_answer = threading.Semaphore(0), threading.Event()

    def linger(delivery: str, tried: int) -> Answer:
        are_sending.release()
        assert may_answer.wait(5)
        return TAKEN

    scene.senders.answer = linger
    scene.outbox.owe(*(a_parcel(n, repository_id=n) for n in range(1, 9)))
    dispatcher = scene.start()
    for _ in range(CI.concurrency):
        assert are_sending.acquire(timeout=5)
    assert not dispatcher.stop(0.01)

    may_answer.set()

    assert dispatcher.stop(5)
    assert len(scene.senders.sent) == CI.concurrency


def test_an_attempt_is_recorded_although_an_observer_broke(scene: Scene) -> None:
    scene.observers = (BrokenObserver(),)
    scene.outbox.owe(a_parcel(1), a_parcel(2))

    scene.start()

    wait_until(lambda: scene.outbox.released == [2])
    assert scene.outbox.states() == [DeliveryState.DELIVERED]
    scene.go_on_until(lambda: not scene.outbox.owed)
    assert scene.senders.sent == sent(1, 2)


def test_a_clock_that_was_set_back_holds_no_delivery_for_long(scene: Scene) -> None:
    scene.outbox.owe(a_parcel(1, due_at=scene.clock() + timedelta(days=300)))

    scene.start()

    wait_until(lambda: scene.senders.sent == sent(1))


def test_a_try_that_a_person_asks_for_while_its_lane_is_busy_is_not_forgotten(scene: Scene) -> None:
    """The person asks between the record of a failure and the end of its lane's turn."""

    def ask_for_another(result: AttemptResult) -> None:
        if result.state is DeliveryState.WAITING:
            scene.outbox.owe(replace(scene.outbox.owed[1], due_at=scene.clock()))
            assert scene.dispatcher is not None
            scene.dispatcher.take_stock()
            looks = scene.outbox.times_looked
            wait_until(lambda: scene.outbox.times_looked > looks)

    scene.observers = (Listener(ask_for_another),)
    scene.senders.answer = lambda delivery, tried: BUSY if tried == 1 else TAKEN
    scene.outbox.owe(a_parcel(1))

    scene.start()

    wait_until(lambda: scene.senders.sent == sent(1, 1))


def test_a_lost_lease_is_told(scene: Scene) -> None:
    scene.outbox.fence += 1

    scene.start()

    assert scene.lost.wait(5)


def test_a_receiver_gets_no_more_at_once_than_it_wants(scene: Scene) -> None:
    together = threading.Barrier(2, timeout=5)

    def meet(delivery: str, tried: int) -> Answer:
        together.wait()
        return TAKEN

    scene.senders.answer = meet
    scene.outbox.owe(*(a_parcel(n, repository_id=n) for n in range(1, 9)))

    scene.start()

    wait_until(lambda: not scene.outbox.owed)
    assert scene.senders.most_at_once["ci"] == 2
