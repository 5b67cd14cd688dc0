"""What lanes want written down while a write is under way goes into the next one together."""

from collections.abc import Sequence
from concurrent.futures import Future

import pytest

from app.domain.delivery import Answer, DeliveryState
from app.domain.errors import StorageUnavailable
from app.services.scribe import MOST, Scribe
from app.storage.records import AttemptResult
from tests.fakes.clock import NOON


def result(position: int) -> AttemptResult:
    return AttemptResult(position, NOON, 12, Answer(202), DeliveryState.DELIVERED)


class Writes:
    """Each write is under way until the test ends it."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[int], list[int]]] = []
        self.futures: list[Future[None]] = []

    def __call__(self, results: Sequence[AttemptResult], release: Sequence[int]) -> "Future[None]":
        self.asked.append(([r.position for r in results], list(release)))
        self.futures.append(Future())
        return self.futures[-1]

    def end(self, error: Exception | None = None) -> None:
        future = self.futures[-1]
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


def test_what_comes_while_a_write_is_under_way_is_written_together() -> None:
    writes = Writes()
    scribe = Scribe(writes)

    first = scribe.record([result(1)])
    others = [scribe.record([result(2)], [7]), scribe.record([result(3)], [8, 9])]
    writes.end()
    before = [other.done() for other in others]
    writes.end()

    assert first.result(0) is None
    assert before == [False, False]
    assert [other.result(0) for other in others] == [None, None]
    assert writes.asked == [([1], []), ([2, 3], [7, 8, 9])]


def test_no_write_is_longer_than_one_transaction_should_be() -> None:
    writes = Writes()
    scribe = Scribe(writes)
    scribe.record([result(0)])
    for position in range(1, MOST + 7, 10):
        scribe.record([result(position + n) for n in range(10)])

    writes.end()
    writes.end()

    assert [len(results) for results, _ in writes.asked] == [1, MOST // 10 * 10, 10]


def test_a_database_that_fails_is_told_to_all_who_wait() -> None:
    writes = Writes()
    scribe = Scribe(writes)
    scribe.record([result(1)])
    others = [scribe.record([result(2)]), scribe.record([result(3)])]
    writes.end()

    writes.end(StorageUnavailable("the database is restarting"))

    assert all(isinstance(other.exception(0), StorageUnavailable) for other in others)
    assert len(writes.asked) == 2


def test_what_cannot_be_written_spoils_nothing_that_was_to_be_written_with_it() -> None:
    writes = Writes()
    scribe = Scribe(writes)
    scribe.record([result(1)])
    good, bad, last = (scribe.record([result(n)]) for n in (2, 3, 4))
    writes.end()
    writes.end(ValueError("a defect"))

    writes.end()
    writes.end(ValueError("a defect"))
    writes.end()

    assert [positions for positions, _ in writes.asked] == [[1], [2, 3, 4], [2], [3], [4]]
    assert good.result(0) is None
    assert last.result(0) is None
    with pytest.raises(ValueError, match="a defect"):
        bad.result(0)


def test_a_write_that_cannot_even_begin_is_told_and_does_not_stop_the_next() -> None:
    writes = Writes()
    is_broken = True

    def conclude(results: Sequence[AttemptResult], release: Sequence[int]) -> "Future[None]":
        if is_broken:
            raise StorageUnavailable("closed")
        return writes(results, release)

    scribe = Scribe(conclude)

    refused = scribe.record([result(1)])
    is_broken = False
    taken = scribe.record([result(2)])
    writes.end()

    assert isinstance(refused.exception(0), StorageUnavailable)
    assert taken.result(0) is None
