"""One process at a time polls and delivers."""

import threading
from collections.abc import Callable, Iterator

import pytest

from app.domain.errors import StorageUnavailable
from app.services import leadership
from app.services.leadership import Leadership
from tests.fakes.waiting import wait_until


class FakeLease:
    """A lease that can be taken away."""

    def __init__(self) -> None:
        self.is_free = True
        self.is_down = False
        self.breaks = False
        self.fence = 0
        self.renewals = 0
        self.released = threading.Event()

    def try_acquire(self) -> int | None:
        self._ask()
        if not self.is_free:
            return None
        self.is_free = False
        self.fence += 1
        return self.fence

    def renew(self) -> bool:
        self._ask()
        self.renewals += 1
        return not self.is_free

    def release(self) -> None:
        self.released.set()
        if self.breaks:
            raise RuntimeError("a defect")

    def _ask(self) -> None:
        if self.is_down:
            raise StorageUnavailable("the database is restarting")
        if self.breaks:
            raise RuntimeError("a defect")


class Scene:
    def __init__(self) -> None:
        self.lease = FakeLease()
        self.gained: list[int] = []
        self.lost = 0
        self.seconds = 0.0
        self.on_gain: Callable[[int], None] = self.gained.append
        self.on_loss: Callable[[], None] = lambda: None
        self.leadership = Leadership(
            lease=self.lease,
            on_gain=self._gain,
            on_loss=self._lose,
            monotonic=lambda: self.seconds,
        )

    def _gain(self, fence: int) -> None:
        self.on_gain(fence)

    def _lose(self) -> None:
        self.lost += 1
        self.on_loss()


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(leadership, "RENEW_S", 0.01)
    made = Scene()
    yield made
    made.leadership.stop(5)
    assert not made.leadership.is_alive


def test_a_free_lease_is_taken_and_kept(scene: Scene) -> None:
    scene.leadership.start()

    assert scene.leadership.wait_for_first_try(5)
    wait_until(lambda: scene.lease.renewals > 2)
    assert scene.gained == [1]
    assert scene.leadership.may_send


def test_a_standby_takes_over_when_the_lease_becomes_free(scene: Scene) -> None:
    scene.lease.is_free = False
    scene.leadership.start()
    assert scene.leadership.wait_for_first_try(5)
    assert not scene.leadership.may_send

    scene.lease.is_free = True

    wait_until(lambda: scene.gained == [1])


def test_a_lease_taken_by_another_ends_the_term(scene: Scene) -> None:
    scene.leadership.start()
    wait_until(lambda: scene.gained == [1])

    scene.lease.is_free = True

    wait_until(lambda: scene.lost == 1)


def test_a_refused_write_ends_the_term_and_a_new_one_may_follow(scene: Scene) -> None:
    scene.leadership.start()
    wait_until(lambda: scene.gained == [1])

    scene.leadership.lose(1)
    wait_until(lambda: scene.lost == 1)
    scene.lease.is_free = True

    wait_until(lambda: scene.gained == [1, 2])


def test_a_short_outage_of_the_database_keeps_the_term(scene: Scene) -> None:
    scene.leadership.start()
    wait_until(lambda: scene.lease.renewals > 0)
    scene.lease.is_down = True
    scene.seconds += 1
    scene.lease.is_down = False
    so_far = scene.lease.renewals

    wait_until(lambda: scene.lease.renewals > so_far)

    assert scene.lost == 0


def test_nothing_is_sent_once_the_lease_was_not_renewed_for_its_whole_time(scene: Scene) -> None:
    scene.leadership.start()
    wait_until(lambda: scene.lease.renewals > 0)
    scene.lease.is_down = True

    scene.seconds += leadership.TTL.total_seconds()

    assert not scene.leadership.may_send
    wait_until(lambda: scene.lost == 1)


def test_stopping_ends_the_work_before_the_lease_is_given_back(scene: Scene) -> None:
    scene.leadership.start()
    wait_until(lambda: scene.gained == [1])

    scene.leadership.stop(5)

    assert scene.lost == 1
    assert scene.lease.released.is_set()


def test_work_that_cannot_begin_gives_the_lease_back(scene: Scene) -> None:
    def fail(fence: int) -> None:
        raise StorageUnavailable("the disk is full")

    scene.on_gain = fail
    scene.leadership.start()

    wait_until(scene.lease.released.is_set)
    assert scene.lost >= 1


def test_work_that_cannot_begin_leaves_the_lease_to_others_first(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who takes it again at once would keep a healthy process from its turn for ever."""
    monkeypatch.setattr(leadership, "RENEW_S", 60)

    def fail(fence: int) -> None:
        raise StorageUnavailable("the disk is full")

    scene.on_gain = fail
    scene.leadership.start()

    assert scene.lease.released.wait(5)


def test_work_that_does_not_end_cleanly_gives_the_lease_back_all_the_same(scene: Scene) -> None:
    """Else it would be renewed for ever, by a process that does nothing."""

    def fail() -> None:
        raise RuntimeError("a defect")

    scene.on_loss = fail
    scene.leadership.start()
    wait_until(lambda: scene.gained == [1])

    scene.leadership.lose(1)

    assert scene.lease.released.wait(5)
    scene.lease.is_free = True
    wait_until(lambda: scene.gained == [1, 2])


def test_what_an_earlier_term_left_behind_does_not_end_the_present_one(scene: Scene) -> None:
    """A poll that hung across a change of terms is refused long after."""
    scene.leadership.start()
    wait_until(lambda: scene.gained == [1])
    scene.leadership.lose(1)
    wait_until(lambda: scene.lost == 1)
    scene.lease.is_free = True
    wait_until(lambda: scene.gained == [1, 2])

    scene.leadership.lose(1)

    so_far = scene.lease.renewals
    wait_until(lambda: scene.lease.renewals > so_far + 1)
    assert scene.lost == 1
    assert scene.leadership.may_send


def test_a_defect_in_a_renewal_is_one_that_failed(scene: Scene) -> None:
    scene.leadership.start()
    wait_until(lambda: scene.lease.renewals > 0)
    scene.lease.breaks = True
    scene.seconds += leadership.TTL.total_seconds()
    wait_until(lambda: scene.lost == 1)

    scene.lease.breaks = False
    scene.lease.is_free = True

    wait_until(lambda: scene.gained == [1, 2])


def test_a_database_that_refuses_or_is_silent_is_known_without_asking_it(scene: Scene) -> None:
    scene.leadership.start()
    wait_until(lambda: scene.lease.renewals > 0)
    well = scene.leadership.database_trouble
    scene.lease.is_down = True
    wait_until(lambda: scene.leadership.database_trouble == "the database is restarting")
    scene.lease.is_down = False
    wait_until(lambda: scene.leadership.database_trouble is None)

    scene.leadership.stop(5)
    scene.seconds += leadership.LONGEST_SILENCE_S + 2

    assert well is None
    assert scene.leadership.database_trouble == "it has not answered for 12 s"
