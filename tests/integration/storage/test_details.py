"""What was told of a change later is added to its event, and nothing known is lost by it."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import select

from app.domain.details import Commit, Details, Person, commit_to_json
from app.domain.paths import Touched, Verdict
from app.domain.snapshot import Change
from app.storage.database import Database
from app.storage.outbox import Outbox
from app.storage.store import Store
from app.storage.tables import events
from tests.integration.storage.scene import FIRST, MAIN, NOON, SECOND, a_step, lead, push, watch

ADA = Person("Ada", "ada@example.com", "ada")
COMMIT = Commit(SECOND, "Fix ß 🚀", ADA, ADA, NOON, added=("a",), modified=(), removed=None)
TOLD = Details((COMMIT,), total=1, forced=True, pusher=ADA, pushed_at=NOON)


def test_details_are_kept_with_the_event_and_go_with_its_delivery(database: Database) -> None:
    store, outbox, fence = Store(database), Outbox(database), lead(database)
    known, _ = push(store, watch(store, fence)[0], fence, to=FIRST)
    _, event = push(store, known, fence, to=SECOND)

    store.keep_details(event.id, TOLD).result(10)

    parcels = outbox.parcels("ci", known.id, limit=10, fence=fence)
    assert [parcel.details for parcel in parcels] == [None, TOLD]
    assert parcels[1].event == replace(event, forced=True, pushed_at=NOON)


def test_what_is_known_of_an_event_already_stays(database: Database) -> None:
    store, fence = Store(database), lead(database)
    known, created = push(store, watch(store, fence)[0], fence, to=FIRST)

    store.keep_details(created.id, TOLD).result(10)
    store.keep_details(created.id, replace(TOLD, pusher=None, pushed_at=None)).result(10)

    with database.read() as connection:
        row = connection.execute(select(events).where(events.c.id == created.id)).one()
    assert row.forced is False  # a created ref never is
    assert row.pushed_at == NOON
    assert row.pusher == {"name": "Ada", "email": "ada@example.com", "username": "ada"}
    assert row.commits == [commit_to_json(COMMIT)]
    assert row.commits_count == 1
    assert store.watched(known.id).sequence == 1


def test_details_of_an_event_that_is_gone_are_no_error(database: Database) -> None:
    assert Store(database).keep_details("gone", TOLD).result(10) is None


def test_what_was_known_when_it_was_recorded_is_kept_in_the_same_step(database: Database) -> None:
    store, outbox, fence = Store(database), Outbox(database), lead(database)
    known, _ = push(store, watch(store, fence)[0], fence, to=FIRST)
    missed = Touched(Verdict.MISSED, ("docs/größe.md",), 1)
    changes = [Change(MAIN, FIRST, SECOND), Change("refs/heads/dev", None, SECOND)]
    step = a_step(known, changes, after={MAIN: SECOND, "refs/heads/dev": SECOND})
    dev, main = sorted(step.events, key=lambda event: event.ref)
    main = replace(main, paths=missed, forced=True)
    step = replace(step, events=(dev, main), details={main.id: replace(TOLD, pushed_at=None)})

    assert store.advance(step, fence=fence)

    parcels = outbox.parcels("ci", known.id, limit=10, fence=fence)
    assert {parcel.event.id: parcel.event.paths for parcel in parcels[1:]} == {
        dev.id: None,
        main.id: missed,
    }
    assert [parcel.details for parcel in parcels[1:]] == [None, replace(TOLD, pushed_at=None)]


def test_what_was_found_lately_is_listed_oldest_first(database: Database) -> None:
    store, fence = Store(database), lead(database)
    known, _ = push(store, watch(store, fence)[0], fence, to=FIRST)
    later = NOON + timedelta(minutes=1)
    known, _ = push(store, known, fence, to=SECOND, at=later)
    known, _ = push(store, known, fence, to=FIRST, at=later)

    moves = store.moves(known.id, since=later)

    assert moves == [(MAIN, FIRST, SECOND), (MAIN, SECOND, FIRST)]
    assert len(store.moves(known.id, since=NOON)) == 3
    assert store.moves(known.id + 1, since=NOON) == []
