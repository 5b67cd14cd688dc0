"""The auditor asks polling what became of webhooks, and gives up on none too early."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.domain.hook import BELIEVED_AFTER, FoundEvent, Judgement, Told, Verdict
from app.services.auditor import LOOKED_BACK, MISSED_AFTER, MISSED_AT_ONCE, Auditor
from app.storage.records import PollState
from tests.fakes.clock import NOON

MAIN = "refs/heads/main"
A, B = "a" * 40, "b" * 40
FENCE = 7
MINUTE = timedelta(minutes=1)
TOLD = Told(1, NOON, MAIN, A, B)
STATE = PollState(3, {}, "rest", NOON, "changed", None, None, None, 0, None, None, None)


class FakeStore:
    """Knows one repository's webhooks and events."""

    def __init__(self) -> None:
        self.pending: dict[int, list[Told]] = {3: [TOLD]}
        self.events: list[FoundEvent] = []
        self.judged: list[Judgement] = []
        self.looked: list[tuple[datetime, datetime]] = []
        self.missed = 0

    def list_pending(self) -> dict[int, list[Told]]:
        return self.pending

    def found_since(self, repository_id: int, since: datetime) -> list[FoundEvent]:
        assert since < NOON
        return self.events

    def standing_of(self, repository_id: int, wanted: Iterable[str]) -> dict[str, str]:
        return dict.fromkeys(wanted, A)

    def settled(self, repository_id: int, event_ids: Iterable[str]) -> frozenset[str]:
        return frozenset()

    def settle(self, judgements: Sequence[Judgement], *, fence: int) -> None:
        assert fence == FENCE
        self.judged += judgements

    def miss(
        self,
        forges: Sequence[str],
        *,
        after: datetime,
        before: datetime,
        limit: int,
        fence: int,
    ) -> int:
        assert (forges, limit, fence) == (["github"], MISSED_AT_ONCE, FENCE)
        self.looked.append((after, before))
        return self.missed


class Scene:
    """An auditor whose clock is moved."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.state: PollState | None = STATE
        self.at = NOON
        self.auditor = Auditor(
            store=self.store,
            live=lambda _: self.state,
            forges={"github"},
            now=lambda: self.at,
            fence=FENCE,
        )

    def verdicts(self) -> list[Verdict]:
        self.auditor.audit()
        return [one.verdict for one in self.store.judged]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_webhook_whose_change_was_found_is_delivered(scene: Scene) -> None:
    scene.store.events = [FoundEvent("e", MAIN, A, B, NOON)]

    assert scene.verdicts() == [Verdict.DELIVERED]


def test_a_webhook_waits_for_a_poll_that_can_be_believed(scene: Scene) -> None:
    at_first = scene.verdicts()
    scene.state = replace(STATE, last_poll_at=NOON + BELIEVED_AFTER, last_outcome="failed")
    after_a_failure = scene.verdicts()
    scene.state = replace(STATE, last_poll_at=NOON + BELIEVED_AFTER, last_outcome="unchanged")

    assert (at_first, after_a_failure) == ([], [])
    assert scene.verdicts() == [Verdict.CONTRADICTED]


@pytest.mark.parametrize("state", [None, replace(STATE, last_poll_at=None)])
def test_what_no_poll_answers_within_a_day_is_let_go(scene: Scene, state: PollState) -> None:
    scene.state = state
    at_first = scene.verdicts()
    scene.at += timedelta(days=1, seconds=1)

    assert at_first == []
    assert scene.verdicts() == [Verdict.IGNORED]


def test_events_are_looked_at_once_when_their_webhook_has_had_time(scene: Scene) -> None:
    scene.auditor.audit()
    scene.at += MINUTE / 2
    scene.auditor.audit()
    scene.at += MINUTE
    scene.auditor.audit()

    begun = NOON - MISSED_AFTER
    assert scene.store.looked == [(NOON - LOOKED_BACK, begun), (begun, begun + MINUTE * 1.5)]


def test_what_is_left_over_is_looked_at_again(scene: Scene) -> None:
    scene.store.missed = MISSED_AT_ONCE
    scene.auditor.audit()
    scene.auditor.audit()

    assert len(scene.store.looked) == 2
    assert scene.store.looked[0] == scene.store.looked[1]
