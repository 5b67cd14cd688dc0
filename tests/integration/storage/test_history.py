"""What polling leaves behind is counted, kept for a while, and deleted in small steps."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, func, select, update

from app.domain.errors import LeaseLost
from app.storage import history
from app.storage.database import Database
from app.storage.records import PollRecord, PollState, Watched
from app.storage.store import Store
from app.storage.tables import attempts, deliveries, events, poll_hours, polls
from tests.integration.storage.scene import NOON, SECOND, TOOLS, WEBSITE, lead, push, watch

HOUR = timedelta(hours=1)
LONG_AGO = NOON - timedelta(days=40)
MONTH_AGO = NOON - timedelta(days=30)


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


@pytest.fixture
def fence(database: Database) -> int:
    return lead(database)


@pytest.fixture
def website(store: Store, fence: int) -> Watched:
    return watch(store, fence, WEBSITE, TOOLS)[0]


def a_state(of: Watched) -> PollState:
    return PollState(
        repository_id=of.id,
        validator={"etag": '"abc"'},
        read_by="api",
        last_poll_at=NOON,
        last_outcome="failed",
        next_poll_at=NOON + HOUR,
        next_poll_reason="it failed 2 times",
        interval_s=30.5,
        failures=2,
        error_code="forge_unavailable",
        error_message="it said: \0garbage",
        error_since=NOON - HOUR,
        facts={"moved_to": "https://git.example.com/acme/site"},
    )


def a_poll(of: Watched, outcome: str = "unchanged", *, minutes: int = 0) -> PollRecord:
    return PollRecord(
        repository_id=of.id,
        started_at=NOON + timedelta(minutes=minutes),
        duration_ms=20,
        reason="schedule",
        outcome=outcome,
    )


def count(database: Database, table: object) -> int:
    with database.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0  # type: ignore[arg-type] # any table


def test_how_polling_fares_is_written_and_read(store: Store, fence: int, website: Watched) -> None:
    state = a_state(website)

    store.flush_polls([state], [], fence=fence)

    found = store.watched(website.id)
    for name in PollState.__slots__:
        if name not in {"repository_id", "error_message"}:
            assert getattr(found, name) == getattr(state, name), name
    assert found.error_message == "it said: garbage"
    assert (found.sequence, found.digest) == (website.sequence, website.digest)


def test_an_unchanged_poll_is_counted_and_the_others_are_kept(
    database: Database, store: Store, fence: int, website: Watched
) -> None:
    records = [
        a_poll(website, minutes=1),
        a_poll(website, minutes=2),
        replace(a_poll(website, "changed", minutes=3), changes=2, read_by="git"),
        replace(a_poll(website, "failed", minutes=61), error_code="forge_denied"),
    ]

    store.flush_polls([], records[:2], fence=fence)
    store.flush_polls([], records[2:], fence=fence)

    with database.read() as connection:
        hours = connection.execute(select(poll_hours).order_by(poll_hours.c.hour)).all()
        kept = connection.execute(select(polls).order_by(polls.c.position)).all()
    assert [tuple(row) for row in hours] == [
        (website.id, NOON, 1, 2, 0, 60),
        (website.id, NOON + HOUR, 0, 0, 1, 20),
    ]
    assert [(row.outcome, row.changes, row.read_by, row.error_code) for row in kept] == [
        ("changed", 2, "git", None),
        ("failed", 0, None, "forge_denied"),
    ]


@pytest.mark.parametrize(("lasted_ms", "kept_ms"), [(10**10, 2**31 - 1), (-5000, 0)])
def test_a_poll_across_which_the_clock_was_set_is_kept_like_any_other(
    database: Database, store: Store, fence: int, website: Watched, lasted_ms: int, kept_ms: int
) -> None:
    """A machine that slept through a month in the middle of a poll must not stop the writing."""
    jumped = replace(a_poll(website, "failed"), duration_ms=lasted_ms)

    store.flush_polls([], [jumped, a_poll(website)], fence=fence)

    with database.read() as connection:
        kept = connection.scalars(select(polls.c.duration_ms)).all()
        took = connection.scalars(select(poll_hours.c.took_ms)).all()
    assert (kept, took) == ([kept_ms], [kept_ms + 20])


def test_many_repositories_are_flushed_together(store: Store, fence: int, website: Watched) -> None:
    tools = store.find_by_name(TOOLS.name)
    assert tools is not None

    store.flush_polls(
        [a_state(tools), a_state(website)], [a_poll(tools), a_poll(website)], fence=fence
    )

    assert [known.failures for known in store.list_watched()] == [2, 2]


def test_a_repository_that_moved_meanwhile_keeps_its_step(
    store: Store, fence: int, website: Watched
) -> None:
    state = a_state(website)
    standing, _ = push(store, website, fence)

    store.flush_polls([state], [], fence=fence)

    found = store.watched(website.id)
    assert (found.sequence, found.digest) == (standing.sequence, standing.digest)


def test_who_lost_the_lease_flushes_nothing(
    database: Database, store: Store, fence: int, website: Watched
) -> None:
    with pytest.raises(LeaseLost):
        store.flush_polls([a_state(website)], [], fence=fence - 1)
    with pytest.raises(LeaseLost):
        store.flush_polls([], [a_poll(website)], fence=fence - 1)

    assert store.watched(website.id) == website
    assert count(database, poll_hours) == 0


def finish_all(database: Database) -> None:
    """Say that all deliveries were taken, each at the first attempt."""
    with database.alone() as connection, connection.begin():
        connection.execute(
            update(deliveries).values(state="delivered", finished_at=NOON, attempts_made=1)
        )
        connection.execute(update(events).values(state="delivered"))
        for position in connection.scalars(select(deliveries.c.position)).all():
            connection.execute(
                attempts.insert().values(delivery_position=position, number=1, started_at=NOON)
            )


def test_old_finished_events_go_with_all_that_belongs_to_them(
    database: Database, store: Store, fence: int, website: Watched
) -> None:
    standing, _ = push(store, website, fence, at=LONG_AGO)
    push(store, standing, fence, to=SECOND, at=NOON)
    finish_all(database)

    gone = store.prune(events_before=MONTH_AGO, polls_before=MONTH_AGO)

    assert gone == 1
    assert [count(database, table) for table in (events, deliveries, attempts)] == [1, 1, 1]
    assert store.snapshot(website.id) != {}
    assert store.prune(events_before=MONTH_AGO, polls_before=MONTH_AGO) == 0


def test_an_old_event_that_is_still_owed_stays(
    database: Database, store: Store, fence: int, website: Watched
) -> None:
    push(store, website, fence, at=LONG_AGO)

    gone = store.prune(events_before=NOON, polls_before=NOON)

    assert gone == 0
    assert count(database, deliveries) == 1


def test_old_events_go_in_small_steps(
    database: Database, store: Store, fence: int, website: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    standing = website
    for to in "12345":
        standing, _ = push(store, standing, fence, to=to * 40, at=LONG_AGO, receivers=())

    steps: list[int] = []
    one_step = history.prune_events

    def watched_step(connection: Connection, before: datetime, limit: int) -> int:
        steps.append(one_step(connection, before, limit))
        return steps[-1]

    monkeypatch.setattr(history, "prune_events", watched_step)

    gone = store.prune(events_before=NOON, polls_before=NOON, limit=2)

    assert gone == 5
    assert steps == [2, 2, 1]
    assert count(database, events) == 0


def test_old_polls_and_counts_go(
    database: Database, store: Store, fence: int, website: Watched
) -> None:
    old, new = (a_poll(website, "failed", minutes=m) for m in (-90, 0))
    store.flush_polls([], [old, new], fence=fence)

    gone = store.prune(events_before=NOON, polls_before=NOON - HOUR)

    assert gone == 2
    assert (count(database, polls), count(database, poll_hours)) == (1, 1)


def test_a_repository_keeps_only_its_newest_polls(
    database: Database, store: Store, fence: int, website: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "POLLS_KEPT", 3)
    tools = store.find_by_name(TOOLS.name)
    assert tools is not None
    failed = [a_poll(website, "failed", minutes=n) for n in range(5)]
    store.flush_polls([], [*failed, a_poll(tools, "failed")], fence=fence)

    gone = store.prune(events_before=LONG_AGO, polls_before=LONG_AGO)

    with database.read() as connection:
        kept = connection.scalars(
            select(polls.c.started_at)
            .where(polls.c.repository_id == website.id)
            .order_by(polls.c.position)
        ).all()
    assert gone == 2
    assert kept == [record.started_at for record in failed[2:]]
    assert count(database, polls) == 4
