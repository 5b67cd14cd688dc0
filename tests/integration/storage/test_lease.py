"""One process at a time holds the lease, and what another writes under an old number is refused."""

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta

import pytest
from sqlalchemy import Connection

from app.domain.errors import LeaseLost
from app.storage.database import Database
from app.storage.lease import Lease, check_fence
from tests.integration.storage.scene import FakeClock, at_once

TTL = timedelta(seconds=5)
WAIT_S = 30


def a_lease(database: Database, holder: str, clock: FakeClock) -> Lease:
    return Lease(database, holder=holder, ttl=TTL, now=clock.now, monotonic=clock.monotonic)


def test_one_of_two_gets_it(database: Database) -> None:
    clock = FakeClock()
    one, other = (a_lease(database, name, clock) for name in ("one", "other"))

    fences = (one.try_acquire(), other.try_acquire(), other.try_acquire())

    assert fences == (1, None, None)
    assert one.renew()
    assert not other.renew()


def test_one_of_many_that_begin_together_gets_it(database_url: str) -> None:
    clock = FakeClock()
    databases = [Database(database_url, now=clock.now) for _ in range(6)]
    leases = [a_lease(d, f"process {n}", clock) for n, d in enumerate(databases)]

    # The row is made by the first round, and may be taken by none of it.
    for _ in range(3):
        fences = at_once([lease.try_acquire for lease in leases])
        if any(fences):
            break

    for database in databases:
        database.close()
    assert sorted(fences, key=str) == [1, None, None, None, None, None]


def test_what_was_given_back_is_taken_at_once_with_a_higher_number(database: Database) -> None:
    clock = FakeClock()
    one, other = (a_lease(database, name, clock) for name in ("one", "other"))
    one.try_acquire()

    one.release()

    assert other.try_acquire() == 2
    assert not one.renew()


def test_a_holder_that_renews_keeps_it(database: Database) -> None:
    clock = FakeClock()
    one, other = (a_lease(database, name, clock) for name in ("one", "other"))
    one.try_acquire()

    fences = []
    for _ in range(5):
        clock.pass_by(TTL / 2)
        assert one.renew()
        fences.append(other.try_acquire())

    assert fences == [None] * 5


def test_a_silent_holder_is_replaced_after_its_time(database: Database) -> None:
    clock = FakeClock()
    one, other = (a_lease(database, name, clock) for name in ("one", "other"))
    one.try_acquire()

    clock.pass_by(TTL)
    just_in_time = other.try_acquire()
    clock.pass_by(timedelta(seconds=1))
    too_late = other.try_acquire()

    assert (just_in_time, too_late) == (None, 2)
    assert not one.renew()


def test_a_dead_holder_whose_clock_was_ahead_is_replaced_all_the_same(database: Database) -> None:
    ahead, ours = FakeClock(), FakeClock()
    ahead.pass_by(timedelta(days=1))
    one, other = a_lease(database, "one", ahead), a_lease(database, "other", ours)
    one.try_acquire()

    first_look = other.try_acquire()
    ours.pass_by(TTL)
    after_ttl = other.try_acquire()

    assert (first_look, after_ttl) == (None, 2)


def test_a_live_holder_whose_clock_stands_still_keeps_it(database: Database) -> None:
    stopped, ours = FakeClock(), FakeClock()
    one, other = a_lease(database, "one", stopped), a_lease(database, "other", ours)
    stopped.pass_by(timedelta(hours=1))
    one.try_acquire()

    fences = []
    for _ in range(5):
        ours.pass_by(TTL / 2)
        one.renew()
        fences.append(other.try_acquire())

    assert fences == [None] * 5


def test_a_process_that_lost_the_answer_takes_its_own_lease_again(database: Database) -> None:
    clock = FakeClock()
    a_lease(database, "one", clock).try_acquire()

    fence = a_lease(database, "one", clock).try_acquire()

    assert fence == 2


def test_giving_back_what_another_holds_changes_nothing(database: Database) -> None:
    clock = FakeClock()
    one, other = (a_lease(database, name, clock) for name in ("one", "other"))
    one.try_acquire()
    clock.pass_by(TTL * 2)
    other.try_acquire()

    one.release()

    assert other.renew()


def test_only_the_newest_number_may_write(database: Database) -> None:
    clock = FakeClock()
    one, other = (a_lease(database, name, clock) for name in ("one", "other"))
    old = one.try_acquire()
    clock.pass_by(TTL * 2)
    new = other.try_acquire()
    assert old is not None
    assert new is not None

    with pytest.raises(LeaseLost):
        database.write(lambda connection: check_fence(connection, old))

    database.write(lambda connection: check_fence(connection, new))


def test_nobody_may_write_before_there_is_a_lease(database: Database) -> None:
    with pytest.raises(LeaseLost):
        database.write(lambda connection: check_fence(connection, 1))


def test_a_takeover_waits_for_what_is_being_written_under_the_old_number(
    database: Database, database_url: str
) -> None:
    clock = FakeClock()
    old = a_lease(database, "one", clock).try_acquire()
    assert old is not None
    clock.pass_by(TTL * 2)
    elsewhere = Database(database_url, now=clock.now)
    other = a_lease(elsewhere, "other", clock)
    has_checked, may_end = threading.Event(), threading.Event()

    def work(connection: Connection) -> None:
        check_fence(connection, old)
        has_checked.set()
        may_end.wait(WAIT_S)

    writing = database.write_soon(work)
    has_checked.wait(WAIT_S)
    with ThreadPoolExecutor(1) as pool:
        taking = pool.submit(other.try_acquire)
        is_early = wait([taking], timeout=0.2).done
        may_end.set()
        fence = taking.result(WAIT_S)
    writing.result(WAIT_S)
    elsewhere.close()

    assert not is_early
    assert fence == 2
