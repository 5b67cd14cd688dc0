"""Whose turn it is at a receiver's gate."""

from dataclasses import replace
from datetime import timedelta

from app.domain.delivery import Answer
from app.services.gate import BATCH, Gate, LaneKey
from app.settings.types import Receiver
from tests.fakes.clock import NOON

CI = Receiver("ci", "https://ci.example.com/", concurrency=2)
BUSY = Answer(503)


def lane(repository_id: int) -> LaneKey:
    return ("ci", repository_id, 0)


def a_gate(receiver: Receiver = CI, *, lanes: int = 3) -> Gate:
    gate = Gate(receiver, at=NOON)
    for number in range(1, lanes + 1):
        gate.arrive(lane(number))
    return gate


def test_who_came_first_goes_first_and_no_more_than_may_at_once() -> None:
    gate = a_gate()

    turns = [gate.admit(NOON) for _ in range(3)]

    assert [turn and (turn.lane, turn.limit) for turn in turns] == [
        (lane(1), BATCH),
        (lane(2), BATCH),
        None,
    ]
    assert gate.wait(NOON) is None


def test_who_comes_back_stands_at_the_end_of_the_line() -> None:
    gate = a_gate(replace(CI, concurrency=1))
    order = []
    for _ in range(4):
        turn = gate.admit(NOON)
        assert turn is not None
        order.append(turn.lane)
        gate.leave(turn, due_at=NOON, now=NOON)
        gate.arrive(turn.lane)

    assert order == [lane(1), lane(2), lane(3), lane(1)]


def test_tokens_are_shared_by_those_who_can_be_served_beside_each_other() -> None:
    gate = a_gate(replace(CI, rate=6.0))

    first, second = gate.admit(NOON), gate.admit(NOON)

    assert first is not None
    assert second is not None
    assert (first.limit, second.limit) == (3, 3)


def test_what_is_given_back_lets_the_next_one_in() -> None:
    gate = a_gate(replace(CI, rate=1.0))
    first = gate.admit(NOON)
    assert first is not None
    assert gate.admit(NOON) is None
    assert gate.wait(NOON) == timedelta(seconds=1)

    gate.give_back(first, 1)

    assert gate.wait(NOON) == timedelta()
    assert gate.admit(NOON) is not None


def test_while_a_probe_is_under_way_nobody_else_is_let_in() -> None:
    gate = a_gate(lanes=0)
    gate.breaker.reopen(NOON, "it answered 503", at=NOON)
    gate.arrive(lane(1))
    gate.arrive(lane(2))

    probe = gate.admit(NOON)

    assert probe is not None
    assert (probe.is_probe, probe.limit) == (True, 1)
    assert gate.admit(NOON + timedelta(days=1)) is None
    assert gate.wait(NOON) is None


def test_a_probe_that_could_not_be_sent_is_put_off_for_a_moment() -> None:
    gate = a_gate(lanes=1)
    gate.breaker.reopen(NOON, "it answered 503", at=NOON)
    probe = gate.admit(NOON)
    assert probe is not None

    gate.leave(probe, due_at=NOON + timedelta(seconds=5), now=NOON)
    gate.arrive(lane(2))

    assert gate.admit(NOON) is None
    assert gate.wait(NOON) == timedelta(seconds=1)


def test_a_probe_that_found_nothing_to_send_lets_the_next_be_made_at_once() -> None:
    gate = a_gate(lanes=2)
    gate.breaker.reopen(NOON, "it answered 503", at=NOON)
    probe = gate.admit(NOON)
    assert probe is not None

    gate.leave(probe, due_at=None, now=NOON)

    following = gate.admit(NOON)
    assert following is not None
    assert following.lane == lane(2)


def test_what_failed_and_waits_for_its_own_time_may_be_the_probe() -> None:
    gate = a_gate(lanes=1)
    for _ in range(5):
        turn = gate.admit(NOON)
        assert turn is not None
        gate.hear(turn, BUSY, at=NOON, chance=0)
        gate.leave(turn, due_at=NOON, now=NOON)
        gate.arrive(lane(1))
    at = NOON + timedelta(seconds=5)
    probe = gate.admit(at)
    assert probe is not None
    gate.hear(probe, BUSY, at=at, chance=0)
    gate.leave(probe, due_at=at + timedelta(minutes=10), now=at)

    early = gate.admit(at + timedelta(seconds=10))

    assert early is not None
    assert (early.lane, early.is_early) == (lane(1), True)


def test_what_asked_for_a_wait_of_its_own_may_be_the_probe_once_that_is_over() -> None:
    gate = a_gate(lanes=1)
    asked = Answer(503, retry_after=timedelta(seconds=30))
    for _ in range(5):
        turn = gate.admit(NOON)
        assert turn is not None
        gate.hear(turn, asked, at=NOON, chance=0)
        gate.leave(turn, due_at=NOON, now=NOON)
        gate.arrive(lane(1))
    at = NOON + timedelta(seconds=30)
    probe = gate.admit(at)
    assert probe is not None
    gate.hear(probe, asked, at=at, chance=0)
    gate.leave(probe, due_at=at + timedelta(minutes=10), now=at)

    wait = gate.wait(at)
    assert wait == timedelta(seconds=30)
    assert gate.admit(at + wait - timedelta(seconds=1)) is None
    early = gate.admit(at + wait)

    assert early is not None
    assert (early.lane, early.is_early) == (lane(1), True)


def test_nobody_is_admitted_while_all_who_wait_have_asked_for_longer() -> None:
    gate = a_gate(lanes=1)
    gate.breaker.reopen(NOON, "it answered 503", at=NOON)
    probe = gate.admit(NOON)
    assert probe is not None
    gate.hear(probe, Answer(503, retry_after=timedelta(hours=2)), at=NOON, chance=0)
    gate.leave(probe, due_at=NOON + timedelta(hours=2), now=NOON)

    assert gate.admit(NOON + timedelta(hours=1)) is None
    assert gate.wait(NOON + timedelta(hours=1)) == timedelta(hours=1)


def test_a_shut_gate_lets_nobody_in_and_wants_nothing() -> None:
    gate = a_gate()
    gate.is_shut = True

    assert gate.admit(NOON) is None
    assert gate.wait(NOON) is None
    assert lane(1) in gate
