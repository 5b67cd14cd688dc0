"""The judge of the other tests here, judged."""

import json
from collections.abc import Sequence

import pytest

from tests.e2e.truth import Truth, judge
from tests.fakes.receiver import Record

MAIN = "refs/heads/main"
A, B, C = "a" * 40, "b" * 40, "c" * 40
NOTHING = "0" * 40
SITE = "acme/site"


def a_record(
    sequence: int,
    before: str,
    after: str,
    *,
    event: str | None = None,
    valid: bool = True,
    status: int | None = 202,
) -> Record:
    event = event or f"event-{sequence}"
    said = {
        "ref": MAIN,
        "before": before,
        "after": after,
        "repository": {"full_name": SITE},
        "reposentry": {"event": event, "sequence": sequence},
    }
    names = {
        "X-RepoSentry-Event": event,
        "X-RepoSentry-Delivery": f"delivery-{event}",
        "X-GitHub-Delivery": f"delivery-{event}",
    }
    return Record(float(sequence), "POST", "/", names, json.dumps(said).encode(), valid, status)


def a_truth(*, must: Sequence[bool] = (True, True)) -> Truth:
    truth = Truth(SITE, {MAIN: A})
    truth.moved(MAIN, B, at_s=0.5, must=must[0])
    truth.moved(MAIN, C, at_s=1.5, must=must[1])
    return truth


def test_everything_once_and_in_order_is_well() -> None:
    verdict = judge([a_truth()], [a_record(1, A, B), a_record(2, B, C)])

    assert verdict.complaints == []
    assert verdict.lags_s == [0.5, 0.5]


def test_what_was_refused_and_then_taken_is_well() -> None:
    records = [a_record(1, A, B, status=500), a_record(1, A, B), a_record(2, B, C)]

    assert judge([a_truth()], records).complaints == []


def test_what_no_poll_could_see_need_not_arrive() -> None:
    assert judge([a_truth(must=(False, True))], [a_record(1, A, C)]).complaints == []


def test_the_same_request_twice_is_a_repeat_and_well() -> None:
    records = [a_record(1, A, B), a_record(1, A, B), a_record(2, B, C)]

    assert judge([a_truth()], records).complaints == []


def test_away_and_back_between_two_polls_is_no_change() -> None:
    truth = Truth(SITE, {MAIN: A})
    truth.moved(MAIN, B, at_s=1, must=False)
    truth.moved(MAIN, A, at_s=2)

    assert judge([truth], []).complaints == []


def test_of_two_deletions_the_first_may_have_been_seen_and_the_second_too() -> None:
    truth = Truth(SITE, {MAIN: A})
    truth.moved(MAIN, None, at_s=1, must=False)
    truth.moved(MAIN, B, at_s=2, must=False)
    truth.moved(MAIN, None, at_s=3)

    seen = [a_record(1, A, NOTHING), a_record(2, NOTHING, B), a_record(3, B, NOTHING)]

    assert judge([truth], seen).complaints == []
    assert judge([truth], seen[:1]).complaints == []
    assert judge([truth], seen[:2]).missing == 1


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        ([], "lost"),
        ([a_record(1, A, B)], "lost"),
        ([a_record(1, A, C)], "invented, or one was lost"),
        ([a_record(1, A, B), a_record(2, B, NOTHING), a_record(3, NOTHING, C)], "invented"),
        ([a_record(2, B, C), a_record(1, A, B)], "out of order"),
        ([a_record(1, A, B), a_record(3, B, C)], "gaps"),
        ([a_record(1, A, B), a_record(2, A, B, event="x"), a_record(3, B, C)], "invented"),
        ([a_record(1, A, B), a_record(2, B, C), a_record(9, B, C, event="event-2")], "repeated"),
        ([a_record(1, A, B), a_record(2, B, C, valid=False)], "wrongly signed"),
        ([a_record(1, A, B, status=500), a_record(2, B, C), a_record(1, A, B)], "overtaken"),
    ],
)
def test_what_is_wrong_is_complained_of(records: list[Record], complaint: str) -> None:
    complaints = judge([a_truth()], records).complaints

    assert any(complaint in text for text in complaints), complaints
