"""A webhook is judged by what polling found, and never the other way round."""

import time
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from app.domain.details import Person, Push
from app.domain.event import Event, record
from app.domain.hook import (
    BELIEVED_AFTER,
    LATE_AFTER,
    FoundEvent,
    HookChange,
    Judgement,
    Standing,
    Told,
    Verdict,
    find_push,
    judge,
)
from app.domain.snapshot import Change
from tests.fakes.clock import NOON

MAIN = "refs/heads/main"
A, B, C, D, NONE = "a" * 40, "b" * 40, "c" * 40, "d" * 40, "0" * 40
SECOND = timedelta(seconds=1)
LATER = NOON + BELIEVED_AFTER


def told(before: str | None, after: str | None, *, position: int = 1, at: datetime = NOON) -> Told:
    return Told(position, at, MAIN, before, after)


def found(before: str, after: str, *, at: datetime = NOON, id: str = "e") -> FoundEvent:  # noqa: A002
    return FoundEvent(id, MAIN, before, after, at)


def standing(
    *events: FoundEvent,
    polled_at: datetime | None = None,
    now_at: str | None = None,
    settled: str = "",
) -> Standing:
    refs = {MAIN: now_at} if now_at else {}
    return Standing(polled_at, events, refs, frozenset(settled.split()))


def verdicts(judgements: list[Judgement]) -> list[tuple[int, str, str | None]]:
    return [(one.position, one.verdict.value, one.event_id) for one in judgements]


def test_a_days_webhooks_of_one_branch_are_judged_in_no_time() -> None:
    """So many wait for a repository that could not be polled."""
    ids = [f"{number:040x}" for number in range(1, 1_001)]
    waiting = [told(*ends, position=number) for number, ends in enumerate(pairwise(ids))]
    begun = time.process_time()

    judged = judge(waiting, standing(found(A, ids[-1]), polled_at=LATER))

    assert {one.verdict for one in judged} == {Verdict.DELIVERED}
    assert len(judged) == len(waiting)
    assert time.process_time() - begun < 10  # it takes one


@pytest.mark.parametrize("after", [-5 * SECOND, 0 * SECOND, 5 * SECOND, LATE_AFTER])
def test_a_webhook_that_came_first_or_hardly_later_is_delivered(after: timedelta) -> None:
    (judged,) = judge([told(A, B, at=NOON + after)], standing(found(A, B)))

    assert (judged.verdict, judged.event_id, judged.lag) == (Verdict.DELIVERED, "e", after)


def test_a_webhook_that_came_well_after_is_late_once_a_poll_has_confirmed_it() -> None:
    at = NOON + timedelta(minutes=2)
    before = judge([told(A, B, at=at)], standing(found(A, B), polled_at=at))
    after = judge([told(A, B, at=at)], standing(found(A, B), polled_at=at + BELIEVED_AFTER))

    assert before == []
    assert verdicts(after) == [(1, "late", "e")]
    assert after[0].lag == timedelta(minutes=2)


def test_a_webhook_for_the_same_change_again_is_not_of_that_change() -> None:
    at = NOON + timedelta(hours=1)
    known = standing(found(A, B), polled_at=at + BELIEVED_AFTER, settled="e")

    assert verdicts(judge([told(A, B, at=at)], known)) == [(1, "ignored", "e")]


def test_of_two_events_that_end_alike_the_nearer_one_is_meant() -> None:
    early = found(A, B, at=NOON - timedelta(hours=1), id="early")
    near = found(C, B, at=NOON + SECOND, id="near")

    assert verdicts(judge([told(C, B)], standing(near, early))) == [(1, "delivered", "near")]


def test_an_event_of_long_ago_is_not_meant() -> None:
    long_ago = found(A, B, at=NOON - timedelta(days=2))
    known = standing(long_ago, polled_at=LATER, now_at=C)

    assert verdicts(judge([told(A, B)], known)) == [(1, "contradicted", None)]


def test_nothing_is_said_before_a_poll_could_have_found_it() -> None:
    assert judge([told(A, B)], standing()) == []
    assert judge([told(A, B)], standing(polled_at=LATER - SECOND, now_at=A)) == []


def test_a_webhook_that_polling_found_nothing_of_is_contradicted() -> None:
    judged = judge([told(A, B)], standing(polled_at=LATER, now_at=A))

    assert verdicts(judged) == [(1, "contradicted", None)]


def test_what_polling_knew_already_is_not_contradicted() -> None:
    judged = judge([told(A, B)], standing(polled_at=LATER, now_at=B))

    assert verdicts(judged) == [(1, "delivered", None)]


def test_two_pushes_that_were_found_as_one_change_are_both_delivered() -> None:
    known = standing(found(A, C, at=NOON + 2 * SECOND), polled_at=LATER, now_at=C)
    both = [told(A, B, position=1), told(B, C, position=2, at=NOON + SECOND)]

    judged = sorted(verdicts(judge(both, known)))

    assert judged == [(1, "delivered", None), (2, "delivered", "e")]


def test_a_push_that_was_taken_back_before_a_poll_is_not_contradicted() -> None:
    known = standing(polled_at=LATER + SECOND, now_at=A)
    both = [told(A, B, position=1), told(B, A, position=2, at=NOON + SECOND)]

    assert {one[1] for one in verdicts(judge(both, known))} == {"delivered"}


def test_webhooks_that_go_round_in_a_circle_come_to_an_end() -> None:
    known = standing(polled_at=LATER, now_at=D)
    both = [told(A, B, position=1), told(B, A, position=2)]

    assert len(judge(both, known)) == 2


def test_a_webhook_that_does_not_tell_the_end_is_known_by_its_beginning() -> None:
    created = judge([told(NONE, None)], standing(found(NONE, B)))
    deleted = judge([told(None, NONE)], standing(found(A, "0" * 64)))
    nowhere = judge([told(None, NONE)], standing(polled_at=LATER, now_at=A))
    gone = judge([told(None, NONE)], standing(polled_at=LATER))
    there = judge([told(NONE, None)], standing(polled_at=LATER, now_at=A))

    assert verdicts(created) == verdicts(deleted) == [(1, "delivered", "e")]
    assert verdicts(nowhere) == [(1, "contradicted", None)]
    assert verdicts(gone) == verdicts(there) == [(1, "delivered", None)]


def test_another_refs_event_says_nothing() -> None:
    other = FoundEvent("e", "refs/heads/other", A, B, NOON)

    assert judge([told(A, B)], standing(other)) == []


# Who pushed.

ADA, GRACE = Person("Ada", "", "ada"), Person("Grace", "", "grace")


def an_event(before: str | None, after: str | None) -> Event:
    return record(Change(MAIN, before, after), key="k", sequence=1, detected_at=NOON)


def a_push(
    before: str,
    after: str,
    *,
    by: Person = ADA,
    forced: bool | None = False,
    minute: int = 0,
    ref: str = MAIN,
) -> HookChange:
    at = NOON + timedelta(minutes=minute)
    return HookChange.of(Push(ref, before, after, at, by, forced))


def test_the_push_that_made_a_change_is_found() -> None:
    pushes = [a_push(A, C, by=GRACE, ref="refs/heads/x"), a_push(A, B), a_push(B, C, by=GRACE)]

    assert find_push(an_event(A, B), pushes) == a_push(A, B)


def test_of_several_pushes_the_last_one_counts_and_one_forced_is_enough() -> None:
    pushes = [a_push(A, B, forced=True), a_push(B, C), a_push(C, D, by=GRACE, minute=1)]

    push = find_push(an_event(A, D), pushes)

    assert push is not None
    assert (push.pusher, push.forced, push.pushed_at) == (GRACE, True, NOON + timedelta(minutes=1))
    assert (push.before, push.after) == (A, D)


def test_whether_it_was_forced_is_not_known_where_a_push_is_missing() -> None:
    plain, forced = a_push(C, D), a_push(C, D, forced=True)
    unknown = [a_push(A, C, forced=None), a_push(C, D)]

    assert (find_push(an_event(A, D), [plain]) or plain).forced is None
    assert (find_push(an_event(A, D), [forced]) or plain).forced is True
    assert (find_push(an_event(A, D), unknown) or plain).forced is None


def test_of_the_same_push_twice_the_newer_one_is_meant() -> None:
    pushes = [a_push(A, B), a_push(B, A), a_push(A, B, by=GRACE, minute=2)]

    push = find_push(an_event(A, B), pushes)

    assert push is not None
    assert push.pusher == GRACE


def test_a_creation_and_a_deletion_are_found_too() -> None:
    created, deleted = a_push("0" * 64, B), a_push(B, NONE)

    assert find_push(an_event(None, B), [created, deleted]) is not None
    assert find_push(an_event(B, None), [created, deleted]) is not None


def test_what_nobody_pushed_is_not_found() -> None:
    assert find_push(an_event(A, D), [a_push(A, B)]) is None
    assert find_push(an_event(A, D), []) is None
