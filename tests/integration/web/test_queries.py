"""Lists stay in order and quick, whatever is added meanwhile."""

from datetime import timedelta
from typing import Any

import pytest

from app.domain.errors import InputInvalid, NotFound
from app.storage.database import Database
from app.storage.entries import EventEntry
from app.storage.filters import DeliveryFilter, EventFilter, RepositoryFilter
from app.storage.queries import (
    Queries,
    asking,
    deliveries as asked_of_deliveries,
    events as asked_of_events,
)
from app.storage.queries.paging import encode_cursor
from tests.integration.web.story import BODY, HOUR, MINUTE, NOON, SECOND, Fleet, Story, sha, tell


@pytest.fixture
def story(database: Database) -> Story:
    return Story(database)


@pytest.fixture
def queries(database: Database) -> Queries:
    return Queries(database)


@pytest.fixture
def fleet(story: Story) -> Fleet:
    return tell(story)


def names(found: Any) -> list[str]:
    return [one.name for one in found.items]


def all_events(queries: Queries, wanted: EventFilter, *, limit: int = 2) -> list[EventEntry]:
    found: list[EventEntry] = []
    page = queries.list_events(wanted, limit=limit)
    while True:
        found += page.items
        if page.next is None:
            return found
        page = queries.list_events(wanted, limit=limit, cursor=page.next)


def test_repositories_are_listed_by_name_and_the_retired_only_when_asked_for(
    queries: Queries, fleet: Fleet
) -> None:
    watched = queries.list_repositories(RepositoryFilter(), limit=10)
    retired = queries.list_repositories(RepositoryFilter(state="retired"), limit=10)

    assert names(watched) == ["acme/brand-new", "acme/infra", "acme/quiet", "acme/site"]
    assert names(retired) == ["acme/former"]


def test_repositories_are_found_by_state_label_forge_and_text(
    queries: Queries, fleet: Fleet
) -> None:
    expected = [
        (RepositoryFilter(state="new"), ["acme/brand-new"]),
        (RepositoryFilter(state="ok"), ["acme/site"]),
        (RepositoryFilter(state="failing"), ["acme/infra"]),
        (RepositoryFilter(state="paused"), ["acme/quiet"]),
        (RepositoryFilter(label="team"), ["acme/site"]),
        (RepositoryFilter(label="team:web"), ["acme/site"]),
        (RepositoryFilter(label="team=web"), ["acme/site"]),
        (RepositoryFilter(label="team:WEB"), []),
        (RepositoryFilter(label="tea"), []),
        (RepositoryFilter(label="team:we"), []),
        (RepositoryFilter(forge="git"), ["acme/infra"]),
        (RepositoryFilter(text="SITE"), ["acme/site"]),
        (RepositoryFilter(text="git.example.com"), ["acme/infra"]),
        (RepositoryFilter(text="%"), []),
    ]

    found = [(wanted, names(queries.list_repositories(wanted, limit=10))) for wanted, _ in expected]

    assert found == expected


def test_a_label_inside_another_labels_value_is_not_mistaken_for_one(
    queries: Queries, story: Story
) -> None:
    story.repository("acme/sly", labels={"note": '"team":"web"'})

    assert names(queries.list_repositories(RepositoryFilter(label="team:web"), limit=10)) == []


def test_repositories_of_one_name_are_told_apart_by_the_cursor(
    queries: Queries, story: Story
) -> None:
    for number in range(5):
        story.repository("acme/twin", url=f"https://example.com/{number}")

    first = queries.list_repositories(RepositoryFilter(), limit=3)
    second = queries.list_repositories(RepositoryFilter(), limit=3, cursor=first.next)

    assert len({one.id for one in (*first.items, *second.items)}) == 5
    assert second.next is None


def test_of_two_repositories_of_one_name_the_watched_one_is_found(
    queries: Queries, story: Story
) -> None:
    watched = story.repository("acme/site")
    story.repository("acme/site", url="https://old.example.com/site", retired_at=NOON)

    assert queries.get_repository("acme/site").id == watched


def test_an_unknown_repository_event_or_delivery_is_not_found(queries: Queries) -> None:
    with pytest.raises(NotFound, match="acme/nothing"):
        queries.get_repository("acme/nothing")
    with pytest.raises(NotFound):
        queries.get_event("nothing")
    with pytest.raises(NotFound):
        queries.get_delivery("nothing")


def test_repositories_are_counted_by_state(queries: Queries, fleet: Fleet) -> None:
    expected = {"new": 1, "ok": 1, "failing": 1, "paused": 1, "retired": 1}

    assert queries.count_repositories() == expected


def test_moments_and_labels_come_back_as_they_were_written(queries: Queries, fleet: Fleet) -> None:
    site = queries.get_repository("acme/site")

    assert site.labels == {"team": "web", "tier": "1"}
    assert site.last_change_at == NOON - MINUTE
    assert site.poll.next_poll_at == NOON + 12 * SECOND
    assert site.enabled is True
    assert site.poll.interval_s == 15.0


def test_refs_are_paged_by_name(queries: Queries, story: Story) -> None:
    site = story.repository("acme/site")
    for name in ("refs/heads/b", "refs/heads/a", "refs/tags/ü", "refs/heads/B"):
        story.ref(site, name)

    first = queries.list_refs(site, limit=3)
    second = queries.list_refs(site, limit=3, cursor=first.next)

    assert sorted(names(first) + names(second)) == [
        "refs/heads/B",
        "refs/heads/a",
        "refs/heads/b",
        "refs/tags/ü",
    ]
    assert (len(first.items), len(second.items), second.next) == (3, 1, None)


def test_events_are_listed_newest_first(queries: Queries, fleet: Fleet) -> None:
    found = queries.list_events(EventFilter(), limit=10)

    assert [one.id for one in found.items] == [fleet.waiting, fleet.taken, fleet.dead]
    assert [one.forced for one in found.items] == [False, False, True]
    assert found.items[2].repository_name == "acme/infra"


def test_paging_neither_repeats_nor_misses_what_stood_while_events_are_added(
    queries: Queries, story: Story
) -> None:
    site = story.repository("acme/site")
    stood = [story.event(site) for _ in range(7)]
    seen: list[str] = []

    page = queries.list_events(EventFilter(), limit=3)
    while page.next is not None:
        seen += [one.id for one in page.items]
        story.event(site)
        page = queries.list_events(EventFilter(), limit=3, cursor=page.next)
    seen += [one.id for one in page.items]

    assert seen == list(reversed(stood))


def test_a_question_no_index_answers_is_answered_stretch_by_stretch(
    queries: Queries, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = story.repository("acme/site")
    rare = [
        story.event(site, ref="refs/heads/rare" if number % 4 == 0 else "refs/heads/main")
        for number in range(10)
    ]

    for length in (1, 3, 100):
        monkeypatch.setattr(asked_of_events, "STRETCH", length)
        found = all_events(queries, EventFilter(ref="rare"))
        assert [one.id for one in found] == [rare[8], rare[4], rare[0]]


def test_events_are_found_by_ref_kind_state_and_time(queries: Queries, fleet: Fleet) -> None:
    expected = [
        (EventFilter(ref="refs/heads/main"), 2),
        (EventFilter(ref="main"), 2),
        (EventFilter(ref="mai"), 0),
        (EventFilter(kind="branch_created"), 1),
        (EventFilter(kind="branch_updated", state="delivered"), 1),
        (EventFilter(state="open"), 1),
        (EventFilter(state="failed", kind="branch_updated"), 1),
        (EventFilter(since=NOON - HOUR), 2),
        (EventFilter(since=NOON - 5 * HOUR), 3),
        (EventFilter(until=NOON - HOUR), 1),
        (EventFilter(until=NOON - 5 * HOUR), 0),
        (EventFilter(since=NOON - 6 * HOUR, until=NOON - 2 * HOUR, ref="main"), 1),
        (EventFilter(since=NOON + 3 * HOUR), 0),
        (EventFilter(until=NOON - timedelta(days=9)), 0),
    ]

    found = [(wanted, len(all_events(queries, wanted))) for wanted, _ in expected]

    assert found == expected


def test_events_are_found_by_repository(queries: Queries, fleet: Fleet) -> None:
    found = all_events(queries, EventFilter(repository_id=fleet.infra))

    assert [one.id for one in found] == [fleet.dead]


def test_the_last_event_of_a_ref_is_found(queries: Queries, story: Story) -> None:
    site = story.repository("acme/site")
    story.event(site)
    last = story.event(site)
    story.event(site, ref="refs/heads/other")

    found = queries.find_last_event(site, 3, "refs/heads/main")

    assert found is not None
    assert found.id == last
    assert queries.find_last_event(site, 3, "refs/heads/none") is None


def test_an_events_deliveries_come_with_attempts_and_request(
    queries: Queries, fleet: Fleet
) -> None:
    (found,) = queries.list_event_deliveries(queries.get_event(fleet.waiting))

    assert found.delivery.id == fleet.waiting_delivery
    assert [(one.number, one.status) for one in found.attempts] == [(1, 503), (2, 503), (3, 503)]
    assert found.body == BODY
    assert found.headers == {"X-GitHub-Event": "push", "X-Gitlab-Token": "s3cret"}


def test_deliveries_are_found_by_state_and_receiver(queries: Queries, fleet: Fleet) -> None:
    expected = [
        (DeliveryFilter(), 3),
        (DeliveryFilter(state="dead"), 1),
        (DeliveryFilter(receiver="tekton"), 2),
        (DeliveryFilter(state="delivered", receiver="tekton"), 1),
        (DeliveryFilter(state="dead", receiver="tekton"), 0),
    ]

    found = [
        (wanted, len(queries.list_deliveries(wanted, limit=10).items)) for wanted, _ in expected
    ]

    assert found == expected


def test_deliveries_are_found_by_when_they_were_owed(
    queries: Queries, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked_of_deliveries, "STRETCH", 1)
    event = story.event(story.repository("acme/site"))
    made = [
        story.delivery(event, redelivery=number, created_at=NOON - (9 - number) * HOUR)
        for number in range(10)
    ]

    found = [
        [one.id for one in queries.list_deliveries(wanted, limit=20).items]
        for wanted in (
            DeliveryFilter(since=NOON - 2 * HOUR),
            DeliveryFilter(until=NOON - 7 * HOUR),
            DeliveryFilter(since=NOON - 6 * HOUR, until=NOON - 4 * HOUR),
            DeliveryFilter(since=NOON + HOUR),
            DeliveryFilter(until=NOON - 99 * HOUR),
        )
    ]

    assert found == [made[7:][::-1], made[:2][::-1], made[3:5][::-1], [], []]


def test_deliveries_that_no_index_tells_are_found_a_stretch_at_a_time(
    queries: Queries, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked_of_deliveries, "STRETCH", 2)
    site, tools = story.repository("acme/site"), story.repository("acme/tools")
    of_site = story.delivery(story.event(site))
    for number in range(5):
        story.delivery(story.event(tools), redelivery=number)
    wanted = DeliveryFilter(repository_id=site)

    pages = [queries.list_deliveries(wanted, limit=9)]
    while pages[-1].next and not pages[-1].items:
        pages.append(queries.list_deliveries(wanted, limit=9, cursor=pages[-1].next))

    assert [[one.id for one in page.items] for page in pages] == [[], [], [of_site]]


def test_deliveries_are_paged_newest_first(queries: Queries, story: Story) -> None:
    event = story.event(story.repository("acme/site"))
    made = [story.delivery(event, redelivery=number) for number in range(5)]

    first = queries.list_deliveries(DeliveryFilter(), limit=3)
    second = queries.list_deliveries(DeliveryFilter(), limit=3, cursor=first.next)

    assert [one.id for one in (*first.items, *second.items)] == list(reversed(made))
    assert second.next is None


def test_what_is_owed_is_counted_up_to_a_limit(
    queries: Queries, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "COUNT_LIMIT", 2)
    event = story.event(story.repository("acme/site"))
    for number in range(3):
        story.delivery(event, redelivery=number, state="waiting", finished_at=None)
    story.delivery(event, receiver="audit", state="waiting", finished_at=None)

    assert queries.count_owed(["tekton", "audit", "other"]) == {
        "tekton": 2,
        "audit": 1,
        "other": 0,
    }
    assert queries.count_deliveries(["waiting", "held"]) == {"waiting": 2, "held": 0}
    assert queries.count_all_owed() == 2


def test_hours_count_changes_and_finished_deliveries(queries: Queries, fleet: Fleet) -> None:
    eleven = NOON.replace(hour=11, minute=0, second=0, microsecond=0)

    hours = queries.count_hours([eleven - 4 * HOUR, eleven - 3 * HOUR, eleven])

    assert [(one.changes, one.finished) for one in hours] == [(1, 0), (0, 1), (2, 1)]
    assert queries.count_hours([]) == ()


def test_latency_is_known_where_the_push_is_and_no_pause_was_between(
    queries: Queries, story: Story
) -> None:
    site = story.repository("acme/site")
    pushed_at = NOON - 3 * MINUTE
    story.event(site, pushed_at=pushed_at)
    story.event(site, pushed_at=pushed_at, catch_up=True)
    story.event(site)

    reactions = queries.list_reactions([site])

    assert [(one.repository_id, one.pushed_at) for one in reactions] == [(site, pushed_at)]
    assert queries.list_newest_reactions(limit=10) == reactions


def test_failing_repositories_come_longest_failing_first(queries: Queries, story: Story) -> None:
    for name, hours in (("acme/b", 1), ("acme/a", 3)):
        story.repository(name, error_code="forge_denied", error_since=NOON - hours * HOUR)

    assert [one.name for one in queries.list_failing(limit=5)] == ["acme/a", "acme/b"]


def test_a_receivers_owed_deliveries_and_decisions_are_told(
    queries: Queries, story: Story, fleet: Fleet
) -> None:
    story.receiver("tekton", paused_at=NOON)

    assert [one.id for one in queries.list_next_owed("tekton", limit=5)] == [fleet.waiting_delivery]
    assert [(one.name, one.paused_at) for one in queries.list_receivers()] == [("tekton", NOON)]
    assert [one.id for one in queries.list_failed_events(since=NOON - 6 * HOUR, limit=5)] == [
        fleet.dead
    ]
    assert queries.list_dead_times(limit=5) == (NOON - 4 * HOUR,)


def test_what_one_receiver_refused_is_told_while_others_are_still_owed_it(
    queries: Queries, story: Story
) -> None:
    site = story.repository("acme/site")
    refused, taken_at_last = story.event(site, state="open"), story.event(site, state="open")
    for event in (refused, taken_at_last):
        story.delivery(event, receiver="flux", state="dead", last_status=400)
        story.delivery(event, state="waiting", finished_at=None)
    story.delivery(taken_at_last, receiver="flux", redelivery=1)

    told = queries.list_failed_events(since=NOON - HOUR, limit=5)

    assert [one.id for one in told] == [refused]


def test_polls_and_their_hours_are_told(queries: Queries, fleet: Fleet) -> None:
    (poll,) = queries.list_polls(fleet.infra, limit=5)
    hours = queries.list_poll_hours(fleet.site, since=NOON - 3 * HOUR)

    assert (poll.outcome, poll.error_code) == ("failed", "forge_unavailable")
    assert [one.changed for one in hours] == [0, 1, 0]


def test_a_cursor_of_another_making_is_refused(queries: Queries) -> None:
    made_elsewhere = [
        "nonsense",
        "",
        "é",
        encode_cursor("refs", "refs/heads/main"),
        encode_cursor("events", "12"),
        encode_cursor("events", -1),
        encode_cursor("events", 2**70),
        encode_cursor("events", 1, 2),
        "W10",
        "bnVsbA",
        "WyJldmVudHMiLHRydWVd",
    ]

    for cursor in made_elsewhere:
        with pytest.raises(InputInvalid, match="cursor"):
            queries.list_events(EventFilter(), limit=1, cursor=cursor)


def test_a_cursor_with_text_no_database_holds_is_refused(queries: Queries) -> None:
    cursor = encode_cursor("repositories", "a\0b", 1)

    with pytest.raises(InputInvalid):
        queries.list_repositories(RepositoryFilter(), limit=1, cursor=cursor)


def test_a_ref_is_found_by_its_full_name(queries: Queries, fleet: Fleet) -> None:
    found = queries.find_ref(fleet.site, "refs/heads/main")

    assert found is not None
    assert found.commit_id == sha(2)
    assert queries.find_ref(fleet.site, "refs/heads/Main") is None


def all_deliveries(queries: Queries, wanted: DeliveryFilter) -> list[str]:
    found: list[str] = []
    page = queries.list_deliveries(wanted, limit=2)
    while True:
        found += [one.id for one in page.items]
        if page.next is None:
            return found
        page = queries.list_deliveries(wanted, limit=2, cursor=page.next)


def test_deliveries_are_found_by_repository_time_and_confirmation_stretch_by_stretch(
    queries: Queries, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked_of_deliveries, "STRETCH", 3)
    site, infra = story.repository("acme/site"), story.repository("acme/infra")
    made = [
        story.delivery(
            story.event(infra if number == 2 else site),
            created_at=NOON - (10 - number) * HOUR,
            confirmation="confirmed" if number % 2 else None,
        )
        for number in range(10)
    ]
    since = NOON - 2 * HOUR

    assert all_deliveries(queries, DeliveryFilter(repository_id=infra)) == [made[2]]
    assert all_deliveries(queries, DeliveryFilter(since=since)) == [made[9], made[8]]
    assert all_deliveries(queries, DeliveryFilter(until=NOON - 9 * HOUR)) == [made[0]]
    assert all_deliveries(queries, DeliveryFilter(confirmation="confirmed")) == made[9::-2]
    assert all_deliveries(queries, DeliveryFilter(confirmation="confirmed", since=since)) == [
        made[9]
    ]
    assert all_deliveries(queries, DeliveryFilter(confirmation="unconfirmed")) == []


def test_a_page_since_a_moment_looks_no_further_back_than_that(
    queries: Queries, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked_of_deliveries, "STRETCH", 3)
    event = story.event(story.repository("acme/site"))
    for number in range(10):
        story.delivery(event, created_at=NOON - (10 - number) * HOUR)

    page = queries.list_deliveries(DeliveryFilter(since=NOON - HOUR), limit=10)

    assert (len(page.items), page.next) == (1, None)


def test_a_storms_events_are_found(queries: Queries, story: Story) -> None:
    site = story.repository("acme/site")
    storm = story.storm(site)
    inside = [story.event(site, hold_id=storm, ref=f"refs/heads/{name}") for name in "cab"]
    story.event(site)

    found = [one.id for one in all_events(queries, EventFilter(hold_id=storm))]

    assert found == inside[::-1]


def test_whoever_is_owed_something_is_named_once(queries: Queries, story: Story) -> None:
    event = story.event(story.repository("acme/site"))
    for receiver in ("tekton", "audit", "tekton", "old-ci"):
        story.delivery(event, receiver=receiver, state="pending", finished_at=None)
    story.delivery(event, receiver="content")

    assert queries.list_owed_receivers() == ("audit", "old-ci", "tekton")


def test_what_matches_is_counted_up_to_a_limit(
    queries: Queries, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = story.event(story.repository("acme/site"))
    for number in range(5):
        story.delivery(event, state="dead" if number else "pending", finished_at=None)
    dead = DeliveryFilter("dead", "tekton")

    assert queries.count_matching(dead) == 4
    assert queries.count_matching(dead, is_owed=False) == 0
    assert queries.count_matching(DeliveryFilter(receiver="tekton"), is_owed=True) == 5
    monkeypatch.setattr(asking, "COUNT_LIMIT", 3)
    assert queries.count_matching(dead) == 3


def test_a_receiver_refuses_until_what_it_refused_was_made_anew(
    queries: Queries, story: Story
) -> None:
    event = story.event(story.repository("acme/site"))
    for receiver in ("tekton", "audit", "audit"):
        story.delivery(event, receiver=receiver, state="dead")

    before = queries.list_refusers()
    story.delivery(event, receiver="audit", redelivery=1, state="pending", finished_at=None)

    assert (before, queries.list_refusers()) == (("audit", "tekton"), ("tekton",))


def test_what_nobody_confirmed_is_counted_by_receiver_until_it_is_made_anew(
    queries: Queries, story: Story
) -> None:
    site = story.repository("acme/site")
    events = [story.event(site) for _ in range(3)]
    for event in events:
        for receiver in ("tekton", "audit"):
            story.delivery(event, receiver=receiver, confirmation="unconfirmed")
    story.delivery(events[0], receiver="audit", redelivery=1, confirmation="awaited")
    story.delivery(site_event := story.event(site), confirmation="unconfirmed")
    story.delivery(site_event, receiver="old", confirmation="unconfirmed", created_at=NOON - HOUR)

    assert queries.count_unconfirmed(since=NOON - 2 * MINUTE) == {"tekton": 4, "audit": 2}
    assert queries.count_unconfirmed(since=NOON) == {}
