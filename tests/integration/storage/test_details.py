"""What was told of a change later is added to its event, and nothing known is lost by it."""

from dataclasses import replace

from sqlalchemy import select

from app.domain.details import Commit, Details, Person, commit_to_json
from app.storage.database import Database
from app.storage.outbox import Outbox
from app.storage.store import Store
from app.storage.tables import events
from tests.integration.storage.scene import FIRST, NOON, SECOND, lead, push, watch

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
