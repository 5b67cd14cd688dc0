"""The webhook auditor: compares what forges' webhooks told with what polling found.

Webhooks get lost, come late, or were never sent by the forge; polling finds every change, so it
knows. What comes of it is shown, and changes nothing: a forge whose webhooks cannot be relied on
costs time and never a change.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from app.domain.hook import (
    TOLD_WITHIN,
    FoundEvent,
    Judgement,
    Standing,
    Told,
    Verdict,
    judge,
)
from app.storage.records import PollState

log = logging.getLogger(__name__)

# Choices. How long a webhook may take until its event counts as missed; a day's webhook that no
# poll could answer is given up.
MISSED_AFTER = timedelta(minutes=5)
GIVEN_UP_AFTER = timedelta(days=1)
# How far back events are looked at after a start.
LOOKED_BACK = timedelta(hours=1)
MISSED_EVERY = timedelta(minutes=1)
MISSED_AT_ONCE = 200


class Store(Protocol):
    """Where webhooks and what polling found are kept."""

    def list_pending(self) -> dict[int, list[Told]]:
        """List what waits for its verdict, by repository."""
        ...

    def found_since(self, repository_id: int, since: datetime) -> list[FoundEvent]:
        """List a repository's newest events since then."""
        ...

    def standing_of(self, repository_id: int, wanted: Iterable[str]) -> dict[str, str]:
        """Return where the snapshot has these refs."""
        ...

    def settled(self, repository_id: int, event_ids: Iterable[str]) -> frozenset[str]:
        """Return which of these events a webhook has told of."""
        ...

    def settle(self, judgements: Sequence[Judgement], *, fence: int) -> None:
        """Write verdicts down."""
        ...

    def miss(
        self,
        forges: Sequence[str],
        *,
        after: datetime,
        before: datetime,
        limit: int,
        fence: int,
    ) -> int:
        """Note which events no webhook told of."""
        ...


class Auditor:
    """Judges webhooks; one thread at a time.

    Args:
        store: Where webhooks and what polling found are kept.
        live: How polling fares for a repository at this moment, by its id.
        forges: Whose webhooks are taken, by name.
        now: The clock.
        fence: The lease's number.
    """

    def __init__(
        self,
        *,
        store: Store,
        live: Callable[[int], PollState | None],
        forges: Iterable[str],
        now: Callable[[], datetime],
        fence: int,
    ) -> None:
        self._store = store
        self._live = live
        self._forges = sorted(forges)
        self._now = now
        self._fence = fence
        self._looked_until: datetime | None = None

    def audit(self) -> None:
        """Give every verdict that can be given; to be called every few seconds.

        Raises:
            LeaseLost: Another process judges now.
            StorageError: The database does not answer; the next call goes on.
        """
        judgements: list[Judgement] = []
        for repository_id, told in self._store.list_pending().items():
            judgements += self._judge(repository_id, told)
        self._store.settle(judgements, fence=self._fence)
        self._look_for_missed()

    def _judge(self, repository_id: int, told: Sequence[Told]) -> list[Judgement]:
        since = min(one.received_at for one in told) - TOLD_WITHIN
        events = self._store.found_since(repository_id, since)
        standing = Standing(
            polled_at=self._polled_at(repository_id),
            events=events,
            refs=self._store.standing_of(repository_id, {one.ref for one in told}),
            settled=self._store.settled(repository_id, [event.id for event in events]),
        )
        judged = judge(told, standing)
        known = {one.position for one in judged}
        too_old = self._now() - GIVEN_UP_AFTER
        given_up = [
            Judgement(one.position, Verdict.IGNORED, "no poll that succeeded came after it")
            for one in told
            if one.position not in known and one.received_at < too_old
        ]
        return judged + given_up

    def _polled_at(self, repository_id: int) -> datetime | None:
        state = self._live(repository_id)
        if state is None or state.last_outcome not in {"changed", "unchanged"}:
            return None
        return state.last_poll_at

    def _look_for_missed(self) -> None:
        now = self._now()
        before = now - MISSED_AFTER
        after = max(self._looked_until or now - LOOKED_BACK, now - LOOKED_BACK)
        if self._looked_until is not None and before - after < MISSED_EVERY:
            return
        missed = self._store.miss(
            self._forges, after=after, before=before, limit=MISSED_AT_ONCE, fence=self._fence
        )
        if missed < MISSED_AT_ONCE:  # else the next call goes on
            self._looked_until = before
        if missed:
            log.info("changes without a webhook", extra={"events": missed})
