"""What webhooks said is kept once, judged once, and compared with what polling found."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select

from app.domain.details import Commit, Details, Person
from app.domain.errors import InputInvalid, LeaseLost
from app.domain.hook import HookChange, Judgement, Verdict
from app.storage.database import Database
from app.storage.entries import HookEntry, HookSums
from app.storage.hooks import HookRecord, Hooks
from app.storage.queries import Queries
from app.storage.store import Store
from app.storage.tables import hooks
from tests.integration.storage.scene import (
    FIRST,
    MAIN,
    NOON,
    SECOND,
    THIRD,
    TOOLS,
    WEBSITE,
    elsewhere,
    lead,
    push,
    watch,
)

NONE = "0" * 40
ADA = Person("Ada", "ada@example.com", "ada")
CHANGE = HookChange(MAIN, FIRST, SECOND, ADA, NOON, forced=True)
MINUTE = timedelta(minutes=1)
FORGE = WEBSITE.forge


def a_record(delivery: str | None = "one", *, part: int = 0) -> HookRecord:
    return HookRecord(
        received_at=NOON,
        forge=FORGE,
        verdict=Verdict.PENDING,
        delivery=delivery,
        part=part,
        repository=WEBSITE.name,
        change=CHANGE,
    )


class Scene:
    """Two watched repositories whose forge sends webhooks."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.fence = lead(database)
        self.store = Store(database)
        self.website, self.tools = watch(self.store, self.fence, WEBSITE, TOOLS)
        self.hooks = Hooks(database)
        self.queries = Queries(database)

    def add(self, *records: HookRecord) -> int:
        return self.hooks.add(records).result(10)

    def listed(self) -> list[HookEntry]:
        return list(self.queries.list_hooks(limit=100).items)

    def miss(self, *, after: datetime = NOON - MINUTE, before: datetime = NOON + MINUTE) -> int:
        return self.hooks.miss([FORGE], after=after, before=before, limit=10, fence=self.fence)

    def settle(self, *judgements: Judgement) -> None:
        self.hooks.settle(judgements, fence=self.fence)


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


def test_what_came_is_kept_with_all_that_it_told(scene: Scene) -> None:
    added = scene.add(a_record())

    (entry,) = scene.listed()
    assert added == 1
    assert entry == HookEntry(
        position=entry.position,
        received_at=NOON,
        forge=FORGE,
        delivery="one",
        repository_id=scene.website.id,
        ref=MAIN,
        before=FIRST,
        after=SECOND,
        push={
            "pusher": {"name": "Ada", "email": "ada@example.com", "username": "ada"},
            "pushed_at": NOON.isoformat(),
            "forced": True,
        },
        verdict="pending",
        reason=None,
        event_id=None,
        lag_ms=None,
        repository_name=WEBSITE.name,
    )


def test_the_same_delivery_is_kept_once_also_by_another_process(
    scene: Scene, database_url: str
) -> None:
    first = scene.add(a_record(), a_record(part=1))
    with elsewhere(database_url) as other:
        second = Hooks(other).add([a_record(), a_record("two"), a_record(part=1)]).result(10)

    assert (first, second) == (2, 1)
    assert [entry.delivery for entry in scene.listed()] == ["two", "one", "one"]


def test_the_forged_have_no_name_and_are_all_kept(scene: Scene) -> None:
    forged = HookRecord(NOON, FORGE, Verdict.FORGED, reason="\0" + "x" * 999)

    assert scene.add(forged, forged) == 2
    assert {entry.reason for entry in scene.listed()} == {"x" * 200}


def test_what_another_process_took_is_handed_over_once(scene: Scene) -> None:
    scene.add(replace(a_record(), verdict=Verdict.RECEIVED))
    scene.add(replace(a_record("two"), verdict=Verdict.RECEIVED, repository="gone"))
    scene.add(a_record("three"))

    mine, gone = scene.hooks.list_received()
    scene.hooks.take([mine.position], verdict=Verdict.PENDING)
    scene.hooks.take([mine.position, gone.position], verdict=Verdict.IGNORED, reason="gone")
    scene.hooks.take([], verdict=Verdict.IGNORED)

    assert (mine.repository, mine.change) == (WEBSITE.name, CHANGE)
    assert gone.repository is None
    assert scene.hooks.list_received() == []
    assert [entry.verdict for entry in scene.listed()] == ["pending", "ignored", "pending"]


def test_a_change_that_told_little_comes_back_as_it_was(scene: Scene) -> None:
    little = HookChange(MAIN, None, NONE)
    scene.add(replace(a_record(), verdict=Verdict.RECEIVED, change=little))

    assert [one.change for one in scene.hooks.list_received()] == [little]


def test_what_waits_is_listed_by_repository_beside_what_polling_found(scene: Scene) -> None:
    scene.add(a_record(), replace(a_record("two"), repository=TOOLS.name))
    _, event = push(scene.store, scene.website, scene.fence)

    pending = scene.hooks.list_pending()
    events = scene.hooks.found_since(scene.website.id, NOON)

    assert {of: [one.after for one in told] for of, told in pending.items()} == {
        scene.website.id: [SECOND],
        scene.tools.id: [SECOND],
    }
    assert [(one.id, one.ref, one.after) for one in events] == [(event.id, MAIN, FIRST)]
    assert scene.hooks.found_since(scene.website.id, NOON + MINUTE) == []
    assert scene.hooks.standing_of(scene.website.id, [MAIN, "refs/heads/x"]) == {MAIN: FIRST}


def test_a_verdict_is_given_once(scene: Scene) -> None:
    scene.add(a_record())
    (position,) = (entry.position for entry in scene.listed())

    scene.settle(Judgement(position, Verdict.DELIVERED, None, "e1", timedelta(seconds=-2)))
    scene.settle(Judgement(position, Verdict.LATE, "again", "e2", MINUTE))
    scene.settle()

    (entry,) = scene.listed()
    assert (entry.verdict, entry.event_id, entry.lag_ms) == ("delivered", "e1", -2000)
    assert scene.hooks.list_pending() == {}
    assert scene.hooks.settled(scene.website.id, ["e1", "e2"]) == {"e1"}


def test_who_lost_the_lease_judges_nothing(scene: Scene) -> None:
    scene.fence -= 1

    with pytest.raises(LeaseLost):
        scene.settle(Judgement(1, Verdict.LATE))
    with pytest.raises(LeaseLost):
        scene.miss()


def test_an_event_without_a_webhook_is_missed_where_webhooks_come(scene: Scene) -> None:
    scene.add(replace(a_record(), received_at=NOON - MINUTE))
    _, event = push(scene.store, scene.website, scene.fence)
    push(scene.store, scene.tools, scene.fence)  # for which no webhook ever came

    assert (scene.miss(), scene.miss()) == (1, 0)

    entry = scene.listed()[0]
    assert (entry.verdict, entry.event_id, entry.delivery) == ("missed", event.id, None)
    assert entry.reason
    assert entry.repository_name == WEBSITE.name


def test_no_event_is_missed_that_was_told_or_is_of_another_time_or_forge(scene: Scene) -> None:
    scene.add(replace(a_record(), received_at=NOON - MINUTE))
    _, event = push(scene.store, scene.website, scene.fence)

    other = scene.hooks.miss(
        ["other"], after=NOON - MINUTE, before=NOON + MINUTE, limit=10, fence=scene.fence
    )
    too_early = scene.miss(after=NOON)
    too_late = scene.miss(before=NOON - timedelta(seconds=1))
    scene.settle(Judgement(scene.listed()[0].position, Verdict.DELIVERED, None, event.id))

    assert (other, too_early, too_late, scene.miss()) == (0, 0, 0, 0)


def test_what_was_missed_and_comes_after_all_is_late_and_no_longer_missed(scene: Scene) -> None:
    scene.add(replace(a_record(), received_at=NOON - MINUTE))
    _, event = push(scene.store, scene.website, scene.fence)
    scene.miss()
    scene.add(replace(a_record("late"), received_at=NOON + 10 * MINUTE))

    position = scene.listed()[0].position
    scene.settle(Judgement(position, Verdict.LATE, None, event.id, 10 * MINUTE))

    assert [entry.verdict for entry in scene.listed()] == ["late", "pending"]


def test_the_list_is_paged_and_chosen_from(scene: Scene) -> None:
    scene.add(*(a_record(str(number)) for number in range(5)))
    scene.add(HookRecord(NOON, "other", Verdict.FORGED))

    first = scene.queries.list_hooks(limit=4)
    rest = scene.queries.list_hooks(limit=4, cursor=first.next)

    assert [entry.delivery for entry in (*first.items, *rest.items)] == [None, *"43210"]
    assert rest.next is None
    assert len(scene.queries.list_hooks(forge="other").items) == 1
    assert len(scene.queries.list_hooks(repository_id=scene.website.id).items) == 5
    assert len(scene.queries.list_hooks(verdict="forged").items) == 1
    with pytest.raises(InputInvalid):
        scene.queries.list_hooks(cursor="nonsense")


def test_webhooks_are_summed_up_by_forge(scene: Scene) -> None:
    scene.add(*(a_record(str(number)) for number in range(5)))
    scene.add(HookRecord(NOON, "other", Verdict.FORGED))
    lags = (-3, 20, None)
    for entry, seconds in zip(scene.listed()[1:4], lags, strict=True):
        lag = None if seconds is None else timedelta(seconds=seconds)
        verdict = Verdict.LATE if seconds == 20 else Verdict.DELIVERED
        scene.settle(Judgement(entry.position, verdict, None, None, lag))

    sums = scene.queries.sum_hooks(since=NOON - MINUTE)

    assert sums == {
        FORGE: HookSums(delivered=2, late=1, pending=2, median_lag_ms=-3000, last_received_at=NOON),
        "other": HookSums(forged=1),
    }
    assert scene.queries.sum_hooks(since=NOON + MINUTE) == {}
    assert scene.queries.sum_hooks(since=NOON, repository_id=scene.tools.id) == {}


def test_where_repositories_have_moved_to_is_told(scene: Scene) -> None:
    known = scene.website
    moved_to = "https://git.example.com/acme/site"
    with scene.database.alone() as connection, connection.begin():
        connection.exec_driver_sql(
            f'UPDATE repositories SET facts = \'{{"moved_to": "{moved_to}"}}\' '  # noqa: S608
            f"WHERE id = {known.id}"
        )
        connection.exec_driver_sql(
            f"UPDATE repositories SET facts = '{{}}' WHERE id = {scene.tools.id}"  # noqa: S608
        )

    assert scene.hooks.moved() == {WEBSITE.name: moved_to}


def test_old_webhooks_go_with_the_rest_of_history(scene: Scene) -> None:
    scene.add(*(replace(a_record(str(n)), received_at=NOON - n * MINUTE) for n in range(5)))

    gone = scene.store.prune(
        events_before=NOON - 2 * MINUTE, polls_before=NOON - timedelta(days=1), limit=1
    )

    assert gone == 2
    with scene.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(hooks)) == 3


def test_what_is_told_piece_by_piece_is_kept_together(scene: Scene) -> None:
    commit = Commit(THIRD, "Fix it", ADA, ADA, NOON)
    _, event = push(scene.store, scene.website, scene.fence)

    scene.store.keep_details(event.id, Details((commit,), total=3)).result(10)
    scene.store.keep_details(event.id, Details(pusher=ADA, pushed_at=NOON)).result(10)

    kept = scene.queries.get_event(event.id)
    assert kept.commits is not None
    assert (len(kept.commits), kept.commits_count) == (1, 3)
    assert kept.pusher is not None
    assert kept.pushed_at == NOON
