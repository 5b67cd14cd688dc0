"""Carries a lane's next deliveries to their receiver, and has every attempt written down."""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from app.delivery.payloads import Rendered
from app.domain.delivery import (
    Answer,
    Confirmation,
    DeliveryState,
    Parcel,
    Verdict,
    is_given_up,
    judge,
    next_wait,
)
from app.domain.errors import PayloadUnrenderable, StorageUnavailable
from app.services.scribe import Scribe
from app.settings.types import Receiver
from app.storage.records import AttemptResult, Prepared

log = logging.getLogger(__name__)

CLAIM_SLACK = timedelta(seconds=10)


class Books(Protocol):
    """Where it is written who sends what, and what came of it."""

    def claim(
        self, prepared: Sequence[Prepared], *, at: datetime, until: datetime, fence: int
    ) -> list[int]:
        """Claim deliveries for sending, and keep their bytes; return the positions claimed."""
        ...

    def conclude(
        self, results: Sequence[AttemptResult], *, release: Sequence[int] = (), fence: int
    ) -> "Future[None]":
        """Record attempts and what became of their deliveries; give other claims back."""
        ...


class Sender(Protocol):
    """Sends to one receiver."""

    def send(
        self, *, payload: str, body: bytes, headers: Mapping[str, str], delivery_id: str
    ) -> Answer:
        """Make one attempt; never raises."""
        ...


class Observer(Protocol):
    """Hears of every attempt as it is recorded."""

    def attempted(self, parcel: Parcel, result: AttemptResult) -> None:
        """Take note; must not block and must not raise."""
        ...


@dataclass(frozen=True, slots=True)
class Errand:
    """What to carry to whom.

    ``may_go_on`` is asked before each attempt. ``heard`` is told each answer, with the verdict and
    when it came, before it is written down.
    """

    receiver: Receiver
    parcels: Sequence[Parcel]
    may_go_on: Callable[[], bool]
    heard: Callable[[Answer, Verdict, datetime], None]


@dataclass(slots=True)
class Outcome:
    """What came of an errand.

    ``attempts`` counts those that were made. ``left`` counts those that were not, although they
    were due. ``retry_at`` is when the one that failed is tried again, None when none has to be.
    """

    attempts: int = 0
    left: int = 0
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Stamped:
    """A parcel with its bytes, or with the reason why there are none."""

    parcel: Parcel
    prepared: Prepared
    error: str | None = None


class _Ledger:
    """Writes attempts down while the next is sent, those that come meanwhile together."""

    def __init__(
        self,
        record: "Callable[[Sequence[AttemptResult], Sequence[int]], Future[None]]",
        pause: Callable[[], bool],
    ) -> None:
        self._record = record
        self._pause = pause
        self._unwritten: list[AttemptResult] = []
        self._writing: list[AttemptResult] = []
        self._future: Future[None] | None = None

    def add(self, result: AttemptResult) -> None:
        """Note an attempt, and begin to write if nothing is being written."""
        self._unwritten.append(result)
        if self._future is None or self._future.done():
            self._settle()
            self._begin(())

    def close(self, *, release: Sequence[int]) -> None:
        """See everything written, and the claims on ``release`` given back."""
        self._settle()
        if self._unwritten or release:
            self._begin(release)
            self._settle(release)

    def _begin(self, release: Sequence[int]) -> None:
        self._writing, self._unwritten = self._unwritten, []
        self._future = self._record(self._writing, release)

    def _settle(self, release: Sequence[int] = ()) -> None:
        """Wait for what is being written, and try again while the database fails.

        To forget what was sent would be to send it twice.
        """
        while self._future is not None:
            try:
                self._future.result()
                self._future = None
            except StorageUnavailable:
                log.warning("attempts not recorded yet", extra={"attempts": len(self._writing)})
                if not self._pause():
                    raise
                self._future = self._record(self._writing, release)


class Courier:
    """Safe to use from many threads, each with an errand of its own."""

    def __init__(
        self,
        *,
        books: Books,
        sender_for: Callable[[str], Sender],
        render: Callable[[Parcel], Rendered],
        enrich: Callable[[Sequence[Parcel]], Sequence[Parcel]],
        observers: Sequence[Observer],
        fence: int,
        now: Callable[[], datetime],
        chance: Callable[[], float],
        pause: Callable[[], bool],
    ) -> None:
        """Make it; ``pause`` waits before the database is tried again, False: try no more."""
        self._books = books
        self._scribe = Scribe(partial(_conclude, books, fence))
        self._sender_for = sender_for
        self._render = render
        self._enrich = enrich
        self._observers = observers
        self._fence = fence
        self._now = now
        self._chance = chance
        self._pause = pause

    def carry(self, errand: Errand) -> Outcome:
        """Send in order, and stop at one that must wait where order matters.

        Raises:
            LeaseLost: Another process delivers now.
            StorageError: Nothing could be claimed, or what was sent could not be written down.
        """
        at = self._now()
        until = at + errand.receiver.timeout * 2 + CLAIM_SLACK
        stamped = {
            parcel.position: self._stamp(parcel, errand.receiver)
            for parcel in self._enriched(errand.parcels)
        }
        claimed = self._books.claim(
            [s.prepared for s in stamped.values()], at=at, until=until, fence=self._fence
        )
        outcome = Outcome(left=len(errand.parcels))
        ledger = _Ledger(self._scribe.record, self._pause)
        left = list(claimed)
        try:
            while left and self._goes_on(errand, outcome, until):
                done = stamped[left.pop(0)]
                result = self._attempt(errand, done)
                ledger.add(result)
                outcome.attempts += 1
                outcome.left -= 1
                outcome.retry_at = result.retry_at or outcome.retry_at
                self._tell(errand.receiver, done.parcel, result)
        finally:  # whatever broke, what was sent is written down, or it would be sent again
            ledger.close(release=left)
        return outcome

    def _goes_on(self, errand: Errand, outcome: Outcome, until: datetime) -> bool:
        """Tell whether the next attempt may begin, and end before the claim does."""
        holds_back = errand.receiver.order == "repository" and outcome.retry_at is not None
        is_in_time = self._now() + errand.receiver.timeout <= until
        return not holds_back and is_in_time and errand.may_go_on()

    def _enriched(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """Add what is known by now to those that have no bytes yet."""
        bare = [parcel for parcel in parcels if parcel.body is None]
        if not bare:
            return parcels
        full = {parcel.position: parcel for parcel in self._enrich(bare)}
        return [full.get(parcel.position, parcel) for parcel in parcels]

    def _stamp(self, parcel: Parcel, receiver: Receiver) -> _Stamped:
        """Make what has no bytes yet, in the format that the receiver wants by now."""
        if parcel.body is not None and parcel.headers is not None:
            return _Stamped(parcel, Prepared(parcel.position, parcel.body, parcel.headers))
        parcel = replace(parcel, payload=receiver.payload)
        try:
            made = self._render(parcel)
        except PayloadUnrenderable as error:
            return _Stamped(parcel, Prepared(parcel.position), str(error))
        prepared = Prepared(parcel.position, made.body, made.headers, parcel.payload)
        return _Stamped(parcel, prepared)

    def _attempt(self, errand: Errand, stamped: _Stamped) -> AttemptResult:
        parcel, receiver = stamped.parcel, errand.receiver
        started_at = self._now()
        if stamped.error is not None:
            answer = Answer(None, error=stamped.error)
            return AttemptResult(parcel.position, started_at, 0, answer, DeliveryState.DEAD)
        answer = self._sender_for(receiver.name).send(
            payload=parcel.payload,
            body=stamped.prepared.body or b"",
            headers=stamped.prepared.headers,
            delivery_id=parcel.delivery_id,
        )
        ended_at = self._now()
        verdict = judge(answer.status, expect=receiver.expect, attempt=parcel.attempts_made + 1)
        errand.heard(answer, verdict, ended_at)
        state, retry_at = _consequence(
            receiver, parcel, answer, verdict, at=ended_at, chance=self._chance()
        )
        is_awaited = receiver.confirm is not None and state is DeliveryState.DELIVERED
        return AttemptResult(
            parcel.position,
            started_at,
            round((ended_at - started_at).total_seconds() * 1000),
            answer,
            state,
            retry_at,
            confirmation=Confirmation.AWAITED.value if is_awaited else None,
        )

    def _tell(self, receiver: Receiver, parcel: Parcel, result: AttemptResult) -> None:
        level = logging.INFO if result.state is DeliveryState.DELIVERED else logging.WARNING
        log.log(
            level,
            "delivery attempted",
            extra={
                "repository": parcel.repository_name,
                "ref": parcel.event.ref,
                "receiver": receiver.name,
                "delivery": parcel.delivery_id,
                "state": result.state.value,
                "attempt": parcel.attempts_made + 1,
                "status": result.answer.status,
                "error": result.answer.error,
            },
        )
        for observer in self._observers:
            observer.attempted(parcel, result)


def _conclude(
    books: Books, fence: int, results: Sequence[AttemptResult], release: Sequence[int]
) -> "Future[None]":
    return books.conclude(results, release=release, fence=fence)


def _consequence(
    receiver: Receiver,
    parcel: Parcel,
    answer: Answer,
    verdict: Verdict,
    *,
    at: datetime,
    chance: float,
) -> tuple[DeliveryState, datetime | None]:
    """Say what an attempt makes of its delivery, and when it is tried again if it is."""
    if verdict is Verdict.DELIVERED:
        return DeliveryState.DELIVERED, None
    if verdict is not Verdict.RETRY:
        return DeliveryState.DEAD, None
    number = parcel.attempts_made + 1
    retry_at = at + next_wait(receiver.retry, answer, attempt=number, chance=chance)
    first_at = parcel.first_attempt_at or at
    if is_given_up(receiver.retry, first_attempt_at=first_at, retry_at=retry_at):
        return DeliveryState.DEAD, None
    return DeliveryState.WAITING, retry_at
