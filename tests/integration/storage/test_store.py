"""A repository's step is taken whole or not at all; the configuration's repositories are kept."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from app.domain.errors import LeaseLost, NotFound
from app.domain.event import delivery_id
from app.domain.repository import Repository
from app.domain.snapshot import Change
from app.storage.database import Database
from app.storage.records import Watched
from app.storage.store import Store
from app.storage.tables import deliveries, events, refs, repositories
from tests.integration.storage.scene import (
    FIRST,
    MAIN,
    NOON,
    SECOND,
    THIRD,
    TOOLS,
    WEBSITE,
    a_step,
    at_once,
    lead,
    push,
    watch,
)

LATER = NOON + timedelta(hours=1)


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


@pytest.fixture
def fence(database: Database) -> int:
    return lead(database)


@pytest.fixture
def website(store: Store, fence: int) -> Watched:
    return watch(store, fence)[0]


def counts(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in (refs, events, deliveries)
        }


# The step from one snapshot to the next.


def test_a_step_writes_the_refs_the_events_and_what_is_owed(
    database: Database, store: Store, fence: int, website: Watched
) -> None:
    step = a_step(
        website,
        [Change(MAIN, None, FIRST), Change("refs/tags/v1", None, FIRST)],
        after={MAIN: FIRST, "refs/tags/v1": FIRST},
        receivers=("ci", "chat"),
    )

    is_taken = store.advance(step, fence=fence)

    standing = store.watched(website.id)
    with database.read() as connection:
        kept_events = connection.execute(select(events).order_by(events.c.position)).all()
        kept_deliveries = connection.execute(
            select(deliveries.c.id, deliveries.c.event_position, deliveries.c.receiver,
                   deliveries.c.state, deliveries.c.next_attempt_at)
            .order_by(deliveries.c.position)
        ).all()  # fmt: skip
    assert is_taken
    assert store.snapshot(website.id) == {MAIN: FIRST, "refs/tags/v1": FIRST}
    assert (standing.sequence, standing.digest, standing.refs_count) == (2, step.to_digest, 2)
    assert (standing.default_branch, standing.last_change_at) == (MAIN, NOON)
    assert standing.watched == step.watched
    assert [(e.id, e.sequence, e.kind, e.state) for e in kept_events] == [
        (step.events[0].id, 1, "branch_created", "open"),
        (step.events[1].id, 2, "tag_created", "open"),
    ]
    assert [tuple(row) for row in kept_deliveries] == [
        (
            delivery_id(event=event.id, receiver=receiver),
            kept.position,
            receiver,
            "pending",
            NOON,
        )
        for event, kept in zip(step.events, kept_events, strict=True)
        for receiver in ("ci", "chat")
    ]


def test_refs_move_and_go(store: Store, fence: int, website: Watched) -> None:
    both, _ = push(store, push(store, website, fence)[0], fence, ref="refs/heads/old")
    changes = [Change(MAIN, FIRST, SECOND), Change("refs/heads/old", FIRST, None)]

    store.advance(a_step(both, changes, after={MAIN: SECOND}), fence=fence)

    assert store.snapshot(website.id) == {MAIN: SECOND}
    assert store.watched(website.id).refs_count == 1


def test_a_baseline_without_events_is_no_change(store: Store, fence: int, website: Watched) -> None:
    step = a_step(website, [Change(MAIN, None, FIRST)], after={MAIN: FIRST})

    store.advance(replace(step, events=(), owed=()), fence=fence)

    standing = store.watched(website.id)
    assert store.snapshot(website.id) == {MAIN: FIRST}
    assert (standing.sequence, standing.last_change_at) == (0, None)
    assert standing.digest == step.to_digest


def test_an_event_that_nobody_wants_is_ignored(
    database: Database, store: Store, fence: int, website: Watched
) -> None:
    push(store, website, fence, receivers=())

    with database.read() as connection:
        assert connection.scalars(select(events.c.state)).all() == ["ignored"]


@pytest.mark.parametrize("stale", ["sequence", "digest"])
def test_a_step_from_where_the_repository_no_longer_stands_writes_nothing(
    database: Database, store: Store, fence: int, website: Watched, stale: str
) -> None:
    standing, _ = push(store, website, fence)
    before = counts(database)
    step = a_step(standing, [Change(MAIN, FIRST, SECOND)], after={MAIN: SECOND})
    step = (
        replace(step, from_sequence=0) if stale == "sequence" else replace(step, from_digest=None)
    )

    is_taken = store.advance(step, fence=fence)

    assert not is_taken
    assert counts(database) == before
    assert store.watched(website.id) == standing


def test_of_many_polls_that_found_the_same_one_is_written(
    database: Database, store: Store, fence: int, website: Watched
) -> None:
    step = a_step(website, [Change(MAIN, None, FIRST)], after={MAIN: FIRST})

    outcomes = at_once([lambda: store.advance(step, fence=fence)] * 8)

    assert sorted(outcomes, key=str) == [False] * 7 + [True]
    assert counts(database) == {"refs": 1, "events": 1, "deliveries": 1}


def test_a_step_that_fails_in_the_middle_leaves_nothing(
    database: Database, store: Store, fence: int, website: Watched
) -> None:
    step = a_step(website, [Change(MAIN, None, FIRST)], after={MAIN: FIRST})
    owed_twice = replace(step, owed=step.owed * 2)  # the delivery's id is taken by the first

    with pytest.raises(Exception, match="refused"):
        store.advance(owed_twice, fence=fence)

    assert counts(database) == {"refs": 0, "events": 0, "deliveries": 0}
    assert store.watched(website.id) == website
    assert store.advance(step, fence=fence)


def test_who_lost_the_lease_writes_nothing(
    database: Database, store: Store, fence: int, website: Watched
) -> None:
    step = a_step(website, [Change(MAIN, None, FIRST)], after={MAIN: FIRST})

    with pytest.raises(LeaseLost):
        store.advance(step, fence=fence - 1)

    assert counts(database) == {"refs": 0, "events": 0, "deliveries": 0}


@pytest.mark.slow
def test_two_thousand_changes_at_once_keep_their_order(
    database: Database, store: Store, fence: int, website: Watched
) -> None:
    names = [f"refs/heads/branch-{n:04d}" for n in range(2000)]
    created = a_step(
        website, [Change(name, None, FIRST) for name in names], after=dict.fromkeys(names, FIRST)
    )
    assert store.advance(created, fence=fence)
    removed = a_step(
        store.watched(website.id), [Change(name, FIRST, None) for name in names], after={}
    )

    is_taken = store.advance(removed, fence=fence)

    with database.read() as connection:
        by_event = connection.scalars(select(events.c.sequence).order_by(events.c.position)).all()
        by_delivery = connection.scalars(
            select(events.c.sequence).join(deliveries).order_by(deliveries.c.position)
        ).all()
    assert is_taken
    assert by_event == by_delivery == list(range(1, 4001))
    assert store.snapshot(website.id) == {}


def test_refs_that_differ_in_case_alone_are_two(store: Store, fence: int, website: Watched) -> None:
    standing, _ = push(store, website, fence, ref="refs/heads/Main", to=FIRST)
    standing, _ = push(store, standing, fence, ref="refs/heads/main", to=SECOND)
    push(store, standing, fence, ref="refs/heads/Main", to=THIRD)

    assert store.snapshot(website.id) == {"refs/heads/Main": THIRD, "refs/heads/main": SECOND}


# The configuration's repositories.


def test_repositories_come_in_the_order_in_which_they_are_wanted(store: Store, fence: int) -> None:
    first = watch(store, fence, WEBSITE, TOOLS)
    second = watch(store, fence, TOOLS, WEBSITE)

    assert [known.url for known in first] == [WEBSITE.url, TOOLS.url]
    assert second == first[::-1]
    assert [known.key for known in first] == [WEBSITE.url, TOOLS.url]


def test_what_is_as_wanted_is_not_written_again(
    database: Database, store: Store, fence: int
) -> None:
    watch(store, fence, WEBSITE, TOOLS)
    with database.alone() as connection, connection.begin():
        connection.execute(update(repositories).values(created_at=LATER))

    watch(store, fence, WEBSITE, TOOLS)

    with database.read() as connection:
        assert connection.scalars(select(repositories.c.created_at)).all() == [LATER] * 2


def test_what_the_configuration_changes_is_changed(database: Database, store: Store) -> None:
    fence = lead(database)
    (known,) = watch(store, fence, WEBSITE)
    wanted = replace(WEBSITE, name="site", forge="github", labels={"a": "b"}, enabled=False)

    (changed,) = watch(store, fence, wanted)

    with database.read() as connection:
        row = connection.execute(select(repositories)).one()
    assert changed == replace(known, name="site", forge="github")
    assert (row.labels, row.enabled) == ({"a": "b"}, False)
    assert store.find_by_name("site") == changed
    assert store.find_by_name(WEBSITE.name) is None


def test_a_repository_that_vanished_is_retired_and_comes_back_with_its_snapshot(
    store: Store, fence: int, website: Watched
) -> None:
    standing, _ = push(store, website, fence)

    watch(store, fence, TOOLS)
    while_gone = (store.find_by_name(WEBSITE.name), [k.name for k in store.list_watched()])
    known = watch(store, fence, TOOLS, WEBSITE)

    assert while_gone == (None, [TOOLS.name])
    assert known[1] == standing
    assert store.snapshot(website.id) == {MAIN: FIRST}


def test_a_repository_is_known_again_by_the_url_it_once_had(
    database: Database, store: Store, fence: int, website: Watched
) -> None:
    moved = "https://git.example.com/new/website"
    with database.alone() as connection, connection.begin():
        connection.execute(update(repositories).values(url=moved))

    (by_url,) = watch(store, fence, replace(WEBSITE, url=moved))
    (by_key,) = watch(store, fence, WEBSITE)

    assert (by_url.id, by_url.url) == (website.id, moved)
    assert (by_key.id, by_key.url) == (website.id, WEBSITE.url)


def test_a_repository_that_is_watched_by_both_its_names_is_two(
    database: Database, store: Store, fence: int, website: Watched
) -> None:
    moved = replace(WEBSITE, name="acme/moved", url="https://git.example.com/new/website")
    with database.alone() as connection, connection.begin():
        connection.execute(update(repositories).values(facts={"moved_to": moved.url}))

    known = watch(store, fence, moved, WEBSITE)

    assert known[1].id == website.id
    assert known[0].id != website.id


def test_a_renamed_repository_keeps_its_history_under_its_new_address(
    database: Database, store: Store, fence: int, website: Watched
) -> None:
    with database.alone() as connection, connection.begin():
        facts = {"moved_to": "https://git.example.com/New/website.git"}
        connection.execute(update(repositories).values(facts=facts))
    moved = replace(WEBSITE, url="https://git.example.com/new/website")

    (renamed,) = watch(store, fence, moved)
    again = watch(store, fence, moved)

    assert (renamed.id, renamed.key, renamed.url) == (website.id, website.key, moved.url)
    assert again == [renamed]


def test_who_was_taken_out_before_is_not_the_one_that_is_where_it_moved_to(
    database: Database, store: Store, fence: int, website: Watched
) -> None:
    with database.alone() as connection, connection.begin():
        facts = {"moved_to": "https://git.example.com/new/website"}
        connection.execute(update(repositories).values(facts=facts))
    moved = replace(WEBSITE, name="acme/new", url="https://git.example.com/new/website")
    watch(store, fence, replace(WEBSITE, name="acme/x", url="https://git.example.com/acme/x"))

    (new,) = watch(store, fence, moved)

    assert new.id != website.id
    assert new.key == moved.url


def test_a_repository_that_now_stands_where_another_was_first_seen_has_its_own_history(
    database: Database, store: Store, fence: int, website: Watched
) -> None:
    moved = replace(WEBSITE, url="https://git.example.com/new/website")
    with database.alone() as connection, connection.begin():
        connection.execute(update(repositories).values(url=moved.url))

    known = watch(store, fence, replace(WEBSITE, name="acme/successor"), moved)

    assert known[1].id == website.id
    assert known[0].id != website.id
    assert known[0].key != known[1].key
    assert known == watch(store, fence, replace(WEBSITE, name="acme/successor"), moved)


def test_what_the_api_manages_stays_until_the_file_wants_it(
    database: Database, store: Store, fence: int, website: Watched
) -> None:
    with database.alone() as connection, connection.begin():
        connection.execute(update(repositories).values(managed_by="api"))

    watch(store, fence, TOOLS)
    left_alone = store.find_by_name(WEBSITE.name)
    known = watch(store, fence, WEBSITE)

    with database.read() as connection:
        managed_by = connection.scalar(
            select(repositories.c.managed_by).where(repositories.c.id == website.id)
        )
    assert left_alone == website
    assert known == [website]
    assert managed_by == "file"


def test_who_lost_the_lease_does_not_touch_the_repositories(store: Store, fence: int) -> None:
    with pytest.raises(LeaseLost):
        watch(store, fence + 1, WEBSITE)

    assert store.list_watched() == []


def test_an_unknown_repository_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        store.watched(7)
    with pytest.raises(NotFound):
        store.pause(7, at=NOON)


def test_people_pause_a_repository_and_let_it_go_on(store: Store, website: Watched) -> None:
    store.pause(website.id, at=LATER)
    paused = store.watched(website.id)
    store.pause(website.id, at=None)

    assert paused == replace(website, paused_at=LATER)
    assert store.watched(website.id) == website


def test_many_repositories_come_and_go_in_a_few_statements(
    database: Database, store: Store, fence: int
) -> None:
    wanted = [Repository(f"acme/{n}", f"https://git.example.com/acme/{n}") for n in range(1500)]

    first = watch(store, fence, *wanted)
    second = watch(store, fence, *wanted[500:])

    assert second == first[500:]
    assert len(store.list_watched()) == 1000
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(repositories)) == 1500


def test_a_position_is_never_given_out_twice(
    database: Database, store: Store, fence: int, website: Watched
) -> None:
    standing, _ = push(store, website, fence)
    with database.alone() as connection, connection.begin():
        first = connection.execute(select(deliveries.c.position)).scalar_one()
        connection.execute(events.delete())
        connection.execute(deliveries.delete())

    push(store, standing, fence, to=SECOND)

    with database.read() as connection:
        second = connection.execute(select(deliveries.c.position)).scalar_one()
    assert second > first
