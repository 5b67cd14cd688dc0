"""Refs that moved and came back between two looks."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from app.domain.details import Push
from app.domain.round_trips import MOST_ROUND_TRIPS, round_trips

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
MAIN, DEV = "refs/heads/main", "refs/heads/dev"
NONE, A, B, C = "0" * 40, "a" * 40, "b" * 40, "c" * 40


def pushes(*moves: tuple[str, str, str]) -> list[Push]:
    return [
        Push(ref, before, after, NOON + timedelta(seconds=number), forced=False)
        for number, (ref, before, after) in enumerate(moves)
    ]


def found(
    *moves: tuple[str, str, str],
    recorded: tuple[tuple[str, str, str], ...] = (),
    at: str | None = A,
) -> list[tuple[str, str, str]]:
    refs = {} if at is None else {MAIN: at}
    trips = round_trips(pushes(*moves), refs, recorded)
    return [(push.ref, push.before, push.after) for push in trips]


def test_what_went_away_and_came_back_is_found() -> None:
    there, back = (MAIN, A, B), (MAIN, B, A)

    assert found(there, back) == [there, back]
    assert found(there, (MAIN, B, C), (MAIN, C, A)) == [there, (MAIN, B, C), (MAIN, C, A)]


def test_what_was_made_and_deleted_again_is_found() -> None:
    made, gone = (MAIN, NONE, B), (MAIN, B, NONE)

    assert found(made, gone, at=None) == [made, gone]
    assert found((MAIN, A, NONE), (MAIN, NONE, A)) == [(MAIN, A, NONE), (MAIN, NONE, A)]


@pytest.mark.parametrize(
    ("ref", "away"),
    [(MAIN, "b"), (MAIN, "z" * 40), (MAIN, "b" * 400), ("refs/heads/" + "x" * 700, B)],
)
def test_a_log_that_makes_no_sense_tells_of_no_change(ref: str, away: str) -> None:
    assert found((ref, NONE, away), (ref, away, NONE), at=None) == []
    assert found((MAIN, A, away + "\0"), (MAIN, away + "\0", A)) == []
    assert found((MAIN + "\ud800", NONE, B), (MAIN + "\ud800", B, NONE), at=None) == []


def test_what_was_recorded_as_one_move_is_not_told_push_by_push() -> None:
    way = ((MAIN, A, B), (MAIN, B, C), (MAIN, C, B), (MAIN, B, A))
    recorded = ((MAIN, A, C), (MAIN, C, A))

    assert found(*way, recorded=recorded) == []
    assert found(*way, *way[:1], *way[3:], recorded=recorded) == [way[0], way[3]]


def test_pushes_from_before_only_tell_what_was_recorded() -> None:
    moves = (MAIN, A, B), (MAIN, B, A), (MAIN, A, B), (MAIN, B, A)

    told = round_trips(pushes(*moves), {MAIN: A}, moves[:2], since=NOON + timedelta(seconds=2))

    assert [push.at.second for push in told] == [2, 3]
    assert round_trips(pushes(*moves), {MAIN: A}, (), since=NOON + timedelta(seconds=4)) == []


def test_what_does_not_lead_back_is_left_to_the_next_look() -> None:
    assert found((MAIN, A, B)) == []
    assert found((MAIN, A, B), (MAIN, B, A), (MAIN, A, C)) == []
    assert found((MAIN, A, B), (MAIN, B, A), at=None) == []


def test_a_log_with_a_gap_is_not_believed() -> None:
    assert found((MAIN, A, B), (MAIN, C, A)) == []


def test_a_push_that_moved_nothing_is_not_believed() -> None:
    assert found((MAIN, A, A), (MAIN, A, A)) == []


def test_what_came_before_the_last_look_is_left_out() -> None:
    assert found((MAIN, C, A), (MAIN, A, B), (MAIN, B, A)) == [(MAIN, A, B), (MAIN, B, A)]
    assert found((MAIN, C, A)) == []


def test_what_is_recorded_already_is_not_recorded_again() -> None:
    there, back = (MAIN, A, B), (MAIN, B, A)

    assert found(there, back, recorded=(there, back)) == []
    assert found(there, back, there, back, recorded=(there, back)) == [there, back]


def test_each_ref_has_a_way_of_its_own() -> None:
    moves = [(MAIN, A, B), (DEV, NONE, C), (MAIN, B, A), (DEV, C, NONE)]

    assert found(*moves) == [moves[1], moves[3], moves[0], moves[2]]


def test_a_long_way_is_shortened_at_its_beginning() -> None:
    ids = [A, *(f"{number:040x}" for number in range(1, 40)), A]
    way = [(MAIN, one, two) for one, two in pairwise(ids)]

    told = round_trips(pushes(*way), {MAIN: A}, ())

    assert len(told) == MOST_ROUND_TRIPS
    assert (told[0].before, told[0].forced, told[-1].after) == (A, None, A)
    assert [one.after for one in told[:-1]] == [two.before for two in told[1:]]
    assert told[1:] == pushes(*way)[-MOST_ROUND_TRIPS + 1 :]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([MAIN, DEV]),
            st.sampled_from([NONE, A, B]),
            st.sampled_from([NONE, A, B]),
        ),
        max_size=60,
    ),
    st.dictionaries(st.sampled_from([MAIN, DEV]), st.sampled_from([A, B])),
)
def test_what_is_found_always_leads_from_where_a_ref_is_to_there(
    moves: list[tuple[str, str, str]], refs: dict[str, str]
) -> None:
    told = round_trips(pushes(*moves), refs, ())

    assert len(told) <= MOST_ROUND_TRIPS
    for ref in (MAIN, DEV):
        way = [push for push in told if push.ref == ref]
        at = refs.get(ref, NONE)
        for push in way:
            assert push.before == at
            at = push.after
        assert at == refs.get(ref, NONE)
