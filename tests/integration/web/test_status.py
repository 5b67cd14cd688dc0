"""What pages and API are told of how everything fares."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest

from app.domain.health import Component, Status as Health
from app.domain.refs import RefFilter
from app.domain.repository import Repository
from app.services.status import Status
from app.services.status.answers import OpenCircuit, Overview, ReceiverStatus
from app.settings.types import Receiver
from app.storage.entries import HourCount, Reaction
from app.storage.filters import RepositoryFilter
from app.storage.holds import Holds
from app.storage.queries import Queries
from app.storage.queries.asking import Readable
from tests.integration.web.conftest import RECEIVERS, Clock, LiveStates
from tests.integration.web.story import HOUR, MINUTE, NOON, SECOND, Story


def status_of(story: Story, clock: Clock, receivers: Mapping[str, Receiver] = RECEIVERS) -> Status:
    database = story.database
    return Status(
        Queries(database),
        live=LiveStates(),
        receivers=receivers,
        now=clock,
        holds=Holds(database),
    )


def overview(story: Story, clock: Clock) -> Overview:
    return status_of(story, clock).overview()


def says(story: Story, clock: Clock) -> list[str]:
    return [need.says for need in overview(story, clock).needs]


def test_nothing_watched_is_said_before_all_else(empty: Story, clock: Clock) -> None:
    found = overview(empty, clock)

    assert (found.level, found.sentence) == ("empty", "Nothing is watched yet.")


def test_all_is_well_when_everything_was_taken(empty: Story, clock: Clock) -> None:
    empty.delivery(empty.event(empty.repository("acme/site")))

    found = overview(empty, clock)

    assert (found.level, found.sentence, found.needs) == ("ok", "All is well.", ())


def test_a_short_trouble_calls_nobody(empty: Story, clock: Clock) -> None:
    empty.repository("acme/site", error_code="forge_unavailable", error_since=NOON - MINUTE)

    found = overview(empty, clock)

    assert (found.level, found.needs) == ("busy", ())
    assert "one repository does not answer just now" in found.sentence


def test_a_long_trouble_and_a_refusal_need_a_person(empty: Story, clock: Clock) -> None:
    empty.repository("acme/a", error_code="forge_unavailable", error_since=NOON - HOUR)
    empty.repository("acme/b", error_code="forge_denied", error_since=NOON - SECOND)

    found = overview(empty, clock)

    assert [need.subject for need in found.needs] == ["acme/a", "acme/b"]
    assert "token" in found.needs[1].remedy
    assert found.sentence == "2 things need a person."


def test_a_delivery_that_waits_calls_nobody_until_it_has_waited_long(
    empty: Story, clock: Clock
) -> None:
    event = empty.event(empty.repository("acme/site"), state="open")
    empty.delivery(event, state="waiting", finished_at=None, last_status=503)

    at_first = overview(empty, clock)
    clock.at += 20 * MINUTE
    later = says(empty, clock)

    assert (at_first.level, at_first.waiting, at_first.needs) == ("busy", 1, ())
    assert later == ["tekton does not take its deliveries: it answered 503"]


def test_a_receiver_that_is_disabled_or_paused_while_owed_needs_a_person(
    empty: Story, clock: Clock
) -> None:
    event = empty.event(empty.repository("acme/site"), state="open")
    empty.delivery(event, state="pending", finished_at=None, last_status=None)
    empty.receiver("tekton", paused_at=NOON)
    empty.receiver("audit", disabled_at=NOON, disabled_reason="it answered 410 Gone")

    assert says(empty, clock) == [
        "audit is disabled: it answered 410 Gone",
        "tekton is paused and is owed 1",
    ]


def test_an_open_circuit_is_told_by_whoever_sends_and_else_as_it_is_stored(
    empty: Story, clock: Clock
) -> None:
    empty.receiver("tekton", opened_at=NOON - HOUR, opened_reason="it answered 503")
    live = OpenCircuit(NOON - MINUTE, "connection refused", 9, NOON + SECOND)

    def told(circuits: Mapping[str, OpenCircuit] | None) -> ReceiverStatus:
        queries = Queries(empty.database)
        return Status(
            queries,
            live=LiveStates(),
            receivers=RECEIVERS,
            now=clock,
            circuits=lambda: circuits,
        ).receiver("tekton")

    assert told(None).circuit == OpenCircuit(NOON - HOUR, "it answered 503")
    assert (told(None).state, told(None).since) == ("open", NOON - HOUR)
    assert (told({"tekton": live}).circuit, told({"tekton": live}).state) == (live, "open")
    assert (told({}).circuit, told({}).state) == (None, "ok")


def test_an_open_receiver_needs_a_person_at_once(empty: Story, clock: Clock) -> None:
    empty.receiver("tekton", opened_at=NOON, opened_reason="it answered 503")
    empty.receiver("audit", opened_at=NOON, paused_at=NOON)

    (need,) = overview(empty, clock).needs

    assert (need.code, need.subject, need.since) == ("receiver_open", "tekton", NOON)
    assert need.says.endswith(": it answered 503")


def test_a_disabled_receiver_is_named_with_its_remedy(empty: Story, clock: Clock) -> None:
    empty.receiver("audit", disabled_at=NOON - HOUR, disabled_reason="it answered 410: gone")

    (need,) = overview(empty, clock).needs

    assert (need.code, need.subject, need.since) == ("receiver_disabled", "audit", NOON - HOUR)
    assert "resume it and redeliver" in need.remedy


def test_what_a_person_has_just_changed_is_shown_at_once(empty: Story, clock: Clock) -> None:
    status = status_of(empty, clock)
    before = status.receiver("tekton").state, len(status.overview().needs)
    empty.receiver("tekton", disabled_at=NOON)

    status.look_anew()

    assert before == ("ok", 0)
    assert (status.receiver("tekton").state, len(status.overview().needs)) == ("disabled", 1)


def test_what_lies_outside_is_told_by_its_own_need_alone(empty: Story, clock: Clock) -> None:
    outside = [Component(name, Health.DEGRADED, "it is slow") for name in ("forges", "receivers")]

    assert status_of(empty, clock).overview(outside).needs == ()


def test_a_storm_that_is_held_needs_a_person_and_one_that_is_decided_does_not(
    empty: Story, clock: Clock
) -> None:
    site = empty.repository("acme/site")
    held = empty.storm(site)
    empty.storm(site, state="released", finished_at=NOON)

    (need,) = overview(empty, clock).needs

    assert (need.code, need.about, need.subject) == ("storm_held", "storm", held)
    assert need.says == "1,200 changes of acme/site came at once and are held"


def test_what_nobody_confirmed_lately_needs_a_person(empty: Story, clock: Clock) -> None:
    site = empty.repository("acme/site")
    for state in ("confirmed", "awaited", "unconfirmed"):
        empty.delivery(empty.event(site), confirmation=state)
    empty.delivery(empty.event(site), confirmation="unconfirmed", created_at=NOON - 80 * HOUR)

    (need,) = overview(empty, clock).needs

    assert need.code == "deliveries_unconfirmed"
    assert need.says == "One delivery was accepted, but no run was confirmed"
    assert need.receivers == ("tekton",)


def test_who_is_owed_something_and_not_configured_any_more_is_named(
    empty: Story, clock: Clock
) -> None:
    event = empty.event(empty.repository("acme/site"), state="open")
    owed = {"state": "pending", "finished_at": None, "attempts_made": 0}
    for receiver in ("tekton", "old-ci", "old-ci", "zulu"):
        empty.delivery(event, receiver=receiver, **owed)
    empty.delivery(event, receiver="long-gone")
    status = status_of(empty, clock)

    assert status.former_receivers() == (("old-ci", 2), ("zulu", 1))
    assert [(need.code, need.subject) for need in status.overview().needs] == [
        ("receiver_unknown", "old-ci"),
        ("receiver_unknown", "zulu"),
    ]


def test_what_was_given_up_can_be_sent_again_to_those_who_still_refuse_it(
    empty: Story, clock: Clock
) -> None:
    event = empty.event(empty.repository("acme/site"), state="failed")
    for receiver in ("tekton", "audit", "old-ci"):
        empty.delivery(event, receiver=receiver, state="dead")
    empty.delivery(event, receiver="audit", redelivery=1)

    (need,) = overview(empty, clock).needs

    assert (need.code, need.receivers) == ("deliveries_dead", ("tekton",))


def test_failed_events_need_a_person_for_three_days(empty: Story, clock: Clock) -> None:
    site = empty.repository("acme/site")
    for _ in range(2):
        empty.event(site, state="failed")

    at_first = says(empty, clock)
    clock.at += 73 * HOUR
    later = says(empty, clock)

    assert at_first == ["2 events were not taken by a receiver; the newest is of acme/site"]
    assert later == []


def test_an_unwell_component_comes_first(empty: Story, clock: Clock) -> None:
    empty.repository("acme/site", error_code="forge_denied", error_since=NOON)
    component = Component("database", Health.DEGRADED, "its disk is nearly full")

    found = status_of(empty, clock).overview([component])

    assert found.needs[0].says == "database is degraded: its disk is nearly full"


class CountingQueries(Queries):
    """Notes how many hours it was asked to count, and how many repositories' reactions to list."""

    def __init__(self, database: Readable) -> None:
        super().__init__(database)
        self.asked: list[int] = []
        self.reactions_of: list[int] = []

    def list_reactions(self, repository_ids: Sequence[int]) -> tuple[Reaction, ...]:
        self.reactions_of.append(len(repository_ids))
        return super().list_reactions(repository_ids)

    def count_hours(self, hours: Sequence[datetime]) -> tuple[HourCount, ...]:
        self.asked.append(len(hours))
        return super().count_hours(hours)


def test_hours_that_are_over_are_counted_once_and_the_newest_anew(
    empty: Story, clock: Clock
) -> None:
    site = empty.repository("acme/site")
    empty.event(site, detected_at=NOON - 5 * HOUR)
    queries = CountingQueries(empty.database)
    status = Status(queries, live=LiveStates(), receivers={}, now=clock)
    first = status.overview()

    clock.at += HOUR
    empty.event(site, detected_at=clock.at)
    second = status.overview()

    assert (first.changes, second.changes) == (1, 2)
    assert queries.asked == [24, 3]
    assert [hour.changes for hour in second.hours if hour.changes] == [1, 1]
    assert len(second.hours) == 24


def test_a_receiver_no_longer_configured_is_not_shown(empty: Story, clock: Clock) -> None:
    empty.receiver("former", paused_at=NOON)

    found = status_of(empty, clock, {"tekton": RECEIVERS["tekton"]}).receivers()

    assert [one.name for one in found] == ["tekton"]


def test_an_explanation_uses_the_patterns_that_hold_now(empty: Story, clock: Clock) -> None:
    empty.repository("acme/site", watched={"branches": ["*"], "tags": []})
    wanted = Repository("acme/site", "https://x/site", refs=RefFilter(branches=("main",)))
    status = Status(
        Queries(empty.database),
        live=LiveStates(),
        receivers={},
        now=clock,
        configured={"acme/site": wanted}.get,
    )

    assert status.explain("acme/site", "main").watched is True
    assert status.explain("acme/site", "next").pattern is None


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (
            {"verdict": "missed", "files": ["a"], "total": 3},
            "None of its 3 changed files matches paths, so nobody is owed it.",
        ),
        (
            {"verdict": "matched", "files": ["a"], "total": 3},
            "Some of its 3 changed files match paths.",
        ),
        (
            {"verdict": "unknown", "files": [], "total": None},
            "Which files it changed could not be told, so it is sent whatever paths say.",
        ),
    ],
)
def test_it_is_explained_what_the_files_of_a_change_came_to(
    empty: Story, clock: Clock, paths: dict[str, Any], said: str
) -> None:
    site = empty.repository("acme/site", sequence=1)
    empty.event(site, ref="refs/heads/main", paths=paths)

    assert said in status_of(empty, clock).explain("acme/site", "main").reasons


def test_a_pull_request_is_explained_by_its_short_name(empty: Story, clock: Clock) -> None:
    watched = {"branches": ["main"], "tags": [], "pulls": ["*"]}
    site = empty.repository("acme/site", watched=watched)
    empty.repository("acme/shop")
    empty.ref(site, "refs/pull/7/head")
    status = status_of(empty, clock)

    there, elsewhere = (
        status.explain("acme/site", "pull/7/head"),
        status.explain("acme/shop", "refs/pull/7/head"),
    )

    assert (there.ref, there.watched) == ("refs/pull/7/head", True)
    assert there.reasons[0] == "refs/pull/7/head is watched: pull_requests is on."
    assert elsewhere.reasons[0] == "refs/pull/7/head is not watched: no pull_requests."


def test_a_ref_that_stood_before_the_watch_began_is_explained(empty: Story, clock: Clock) -> None:
    site = empty.repository("acme/site")
    empty.ref(site, "refs/heads/main")

    reasons = status_of(empty, clock).explain("acme/site", "main").reasons

    assert "the first snapshot makes none" in reasons[2]


def test_latency_is_never_negative_although_clocks_differ(empty: Story, clock: Clock) -> None:
    site = empty.repository("acme/site")
    empty.event(site, detected_at=NOON, pushed_at=NOON + SECOND)
    empty.event(site, detected_at=NOON, pushed_at=NOON - 8 * SECOND)

    latency = status_of(empty, clock).repository("acme/site").latency

    assert (latency.p50, latency.p95) == (0.0, 8.0)


def test_a_latency_is_read_anew_only_when_the_repository_has_a_newer_event(
    empty: Story, clock: Clock
) -> None:
    site, _ = empty.repository("acme/site"), empty.repository("acme/tools")
    empty.event(site, detected_at=NOON, pushed_at=NOON - 4 * SECOND)
    queries = CountingQueries(empty.database)
    status = Status(queries, live=LiveStates(), receivers={}, now=clock)
    listed = [status.repositories(RepositoryFilter(), limit=10).items for _ in range(2)]

    empty.event(site, detected_at=NOON, pushed_at=NOON - 8 * SECOND)
    later = status.repository("acme/site").latency

    assert [[one.latency.p95 for one in items] for items in listed] == [[4.0, None]] * 2
    assert later.p95 == 8.0
    assert queries.reactions_of == [2, 1]
