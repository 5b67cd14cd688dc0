"""A change keeps its name for good."""

import pytest

from app.domain.event import EventKind, delivery_id, event_id, record
from app.domain.snapshot import Change
from tests.fakes.clock import NOON

URL = "https://git.example.com/acme/website"
A, B = "a" * 40, "b" * 40


@pytest.mark.parametrize(
    ("change", "kind", "before", "after"),
    [
        (Change("refs/heads/x", None, A), EventKind.BRANCH_CREATED, "0" * 40, A),
        (Change("refs/heads/x", A, B), EventKind.BRANCH_UPDATED, A, B),
        (Change("refs/heads/x", A, None), EventKind.BRANCH_DELETED, A, "0" * 40),
        (Change("refs/tags/x", None, "a" * 64), EventKind.TAG_CREATED, "0" * 64, "a" * 64),
        (Change("refs/tags/x", A, B), EventKind.TAG_UPDATED, A, B),
        (Change("refs/tags/x", A, None), EventKind.TAG_DELETED, A, "0" * 40),
    ],
)
def test_a_change_is_recorded_with_zeros_where_there_is_nothing(
    change: Change, kind: EventKind, before: str, after: str
) -> None:
    event = record(change, key=URL, sequence=1, detected_at=NOON)

    assert (event.kind, event.before, event.after) == (kind, before, after)


def test_the_id_depends_on_the_change_and_on_nothing_else() -> None:
    parts = {"key": URL, "ref": "refs/heads/x", "before": A, "after": B, "sequence": 7}
    one = event_id(**parts)  # type: ignore[arg-type] # of two types, each in its place

    others = {
        event_id(**{**parts, name: value})  # type: ignore[arg-type] # as above
        for name, value in (
            ("key", URL + "2"),
            ("ref", "refs/heads/y"),
            ("before", B),
            ("after", A),
            ("sequence", 8),
        )
    }

    assert one == event_id(**parts)  # type: ignore[arg-type] # as above
    assert one not in others
    assert len(others) == 5


def test_ids_made_today_are_those_that_were_made_before() -> None:
    """Ids are in other people's systems: whoever changes how they are made breaks them all."""
    known = event_id(key=URL, ref="refs/heads/main", before=A, after=B, sequence=1)

    assert known == "02b1793e-f1c1-53b0-bb1d-d8b0121bd455"
    assert delivery_id(event=known, receiver="ci") == "65534b39-4a45-58dd-a645-7a81f38c872a"


def test_a_redelivery_has_an_id_of_its_own() -> None:
    ids = {
        delivery_id(event="e", receiver=receiver, redelivery=number)
        for receiver in ("ci", "chat")
        for number in range(3)
    }

    assert len(ids) == 6


@pytest.mark.parametrize("forced", [True, False, None])
def test_only_an_update_can_be_forced(forced: bool | None) -> None:
    def forced_of(before: str | None, after: str | None) -> bool | None:
        change = Change("refs/heads/x", before, after)
        return record(change, key=URL, sequence=1, detected_at=NOON, forced=forced).forced

    assert forced_of(A, B) is forced
    assert forced_of(None, A) is False
    assert forced_of(A, None) is False
