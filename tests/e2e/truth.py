"""What was pushed and what arrived, and every way in which the two can disagree.

A poll sees what stands at that moment, so of several moves between two polls only the last need
arrive. What must arrive is said by the one who pushed (``must``); nothing else than what stood
at some time may arrive, and never out of order.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from tests.fakes.receiver import Record


@dataclass(frozen=True, slots=True)
class Move:
    """One ref's move; None where there is no such ref.

    ``at_s`` is the wall clock just before the push began. ``must`` says that it stood long enough
    for a poll to see it.
    """

    ref: str
    after: str | None
    at_s: float
    must: bool


@dataclass(frozen=True, slots=True)
class Receipt:
    """One request that the receiver got, understood."""

    at_s: float
    repository: str
    ref: str
    before: str | None
    after: str | None
    sequence: int
    event: str
    delivery: str
    body: bytes = field(repr=False)
    valid: bool | None
    status: int | None

    @property
    def is_refused(self) -> bool:
        """Whether the answer said for certain that it was not taken."""
        return self.status is not None and self.status // 100 != 2

    @classmethod
    def of(cls, record: Record) -> Self:
        """Understand a ``github`` payload."""
        said = record.json
        event = record.header("X-RepoSentry-Event")
        assert event is not None
        assert record.delivery is not None
        assert record.header("X-GitHub-Delivery") == record.delivery
        assert said["reposentry"]["event"] == event
        return cls(
            at_s=record.at_s,
            repository=said["repository"]["full_name"],
            ref=said["ref"],
            before=_present(said["before"]),
            after=_present(said["after"]),
            sequence=said["reposentry"]["sequence"],
            event=event,
            delivery=record.delivery,
            body=record.body,
            valid=record.valid,
            status=record.status,
        )


def _present(commit: str) -> str | None:
    return commit if commit.strip("0") else None


@dataclass(slots=True)
class Truth:
    """What one repository's refs were when watching began, and every move since."""

    name: str
    baseline: Mapping[str, str]
    moves: list[Move] = field(default_factory=list)

    def moved(self, ref: str, after: str | None, *, at_s: float, must: bool = True) -> Move:
        """Write one move down."""
        move = Move(ref, after, at_s, must)
        self.moves.append(move)
        return move

    def standing(self) -> dict[str, str]:
        """Return every ref as it stands now."""
        refs: dict[str, str | None] = dict(self.baseline)
        refs |= {move.ref: move.after for move in self.moves}
        return {ref: after for ref, after in refs.items() if after is not None}

    def settled(self) -> "Truth":
        """Return the truth if what stands now stands long enough to be seen."""
        last = {move.ref: index for index, move in enumerate(self.moves)}
        moves = [
            replace(move, must=move.must or last[move.ref] == index)
            for index, move in enumerate(self.moves)
        ]
        return Truth(self.name, self.baseline, moves)

    def settle(self) -> None:
        """Say that what stands now does so until it has been seen."""
        self.moves = self.settled().moves


@dataclass(slots=True)
class Verdict:
    """How what arrived compares: ``complaints`` is empty when nothing is wrong.

    ``missing`` counts what must arrive and has not; ``lags_s`` are seconds from push to first
    receipt, one for each move that arrived.
    """

    complaints: list[str] = field(default_factory=list)
    missing: int = 0
    lags_s: list[float] = field(default_factory=list)


def judge(truths: Iterable[Truth], records: Sequence[Record]) -> Verdict:
    """Compare every repository with what arrived about it.

    It complains of a change that is lost or invented, that came out of order, before its
    predecessor was taken, or twice under different names, of a gap in the sequence, and of a wrong
    signature. ``records`` are those of one receiver.
    """
    verdict = Verdict()
    receipts = [Receipt.of(record) for record in records]
    known = {truth.name: truth for truth in truths}
    for receipt in receipts:
        if receipt.repository not in known:
            verdict.complaints.append(f"not watched: {receipt.repository}")
        if receipt.valid is False:
            verdict.complaints.append(f"wrongly signed: {receipt}")
    for name, truth in known.items():
        own = [receipt for receipt in receipts if receipt.repository == name]
        firsts = _firsts(own, verdict)
        _judge_sequence(name, firsts, verdict)
        _judge_patience(name, own, verdict)
        by_ref: dict[str, list[Receipt]] = defaultdict(list)
        for receipt in firsts:
            by_ref[receipt.ref].append(receipt)
        for ref in by_ref.keys() | {move.ref for move in truth.moves}:
            _judge_ref(truth, ref, by_ref[ref], verdict)
    return verdict


def _firsts(receipts: Sequence[Receipt], verdict: Verdict) -> list[Receipt]:
    """Return the first receipt of each event; a repeat must be the same to the last byte."""
    firsts: dict[str, Receipt] = {}
    for receipt in receipts:
        first = firsts.setdefault(receipt.event, receipt)
        if (receipt.delivery, receipt.body) != (first.delivery, first.body):
            verdict.complaints.append(f"repeated under another name: {first} / {receipt}")
    return list(firsts.values())


def _judge_sequence(name: str, firsts: Sequence[Receipt], verdict: Verdict) -> None:
    came = [receipt.sequence for receipt in firsts]
    if came != list(range(1, len(came) + 1)):
        verdict.complaints.append(f"{name}: out of order or with gaps: {came}")


def _judge_patience(name: str, receipts: Sequence[Receipt], verdict: Verdict) -> None:
    """Hold every change back until the one before it has been taken."""
    newest: dict[int, Receipt] = {}
    for receipt in receipts:
        former = newest.get(receipt.sequence - 1)
        if former is not None and former.is_refused and receipt.sequence not in newest:
            verdict.complaints.append(f"{name}: overtaken: {former} by {receipt}")
        newest[receipt.sequence] = receipt


def _judge_ref(truth: Truth, ref: str, firsts: Sequence[Receipt], verdict: Verdict) -> None:
    """Follow one ref through the moves that were made, along what arrived.

    A ref that is deleted twice does not tell which of the two moves a receipt is about, so every
    way to read it is followed.
    """
    moves = [move for move in truth.moves if move.ref == ref]
    state = truth.baseline.get(ref)
    ways = {0}  # how many of the moves are behind us
    for receipt in firsts:
        if receipt.before != state:
            verdict.complaints.append(f"{truth.name} {ref}: not from {state}: {receipt}")
        found = {index for at in ways for index in _find(moves, at, state, receipt.after)}
        if not found:
            verdict.complaints.append(f"{truth.name} {ref}: invented, or one was lost: {receipt}")
            return
        verdict.lags_s.append(min(abs(receipt.at_s - moves[index].at_s) for index in found))
        ways, state = {index + 1 for index in found}, receipt.after
    # Away and back again between two polls is no change at all.
    lost = min(
        ([move for move in moves[at:] if move.must and move.after != state] for at in ways),
        key=len,
    )
    verdict.missing += len(lost)
    verdict.complaints += [f"{truth.name} {ref}: lost: {move}" for move in lost]


def _find(moves: Sequence[Move], at: int, state: str | None, after: str | None) -> Iterator[int]:
    """Tell which moves it may have been, without passing over one that must have arrived before."""
    for index, move in enumerate(moves[at:], at):
        if move.after == after:
            yield index
        if move.must and move.after != state:
            return
