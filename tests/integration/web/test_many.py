"""Deciding on many at once: storms, sending again and cancelling in bulk, one receiver's page."""

import json
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.domain.delivery import RetryPolicy
from app.domain.refs import RefFilter
from app.domain.secret import Secret
from app.services.status import Status
from app.services.status.answers import OpenCircuit
from app.settings.types import Receiver, Settings
from app.storage.filters import DeliveryFilter
from app.storage.holds import Holds
from app.storage.queries import Queries
from tests.integration.web.conftest import (
    RECEIVERS,
    ClientOver,
    Clock,
    FakeServices,
    LiveStates,
    services_over,
)
from tests.integration.web.markup import Page
from tests.integration.web.story import HOUR, MINUTE, NOON, SECOND, Fleet, Story

API = "/api/v1"
OWED = {"state": "pending", "finished_at": None, "attempts_made": 0, "last_status": None}
PERSON = {"name": "Ada Lovelace", "email": "ada@example.com", "username": "ada"}


def services_of(
    story: Story, clock: Clock, receivers: dict[str, Receiver] | None = None
) -> FakeServices:
    return services_over(story.database, LiveStates(), clock, receivers or RECEIVERS)


def client_of(services: FakeServices) -> FlaskClient:
    return create_app(Settings(receivers=RECEIVERS), services).test_client()


def read(client: FlaskClient, url: str) -> Page:
    response = client.get(url)
    assert response.status_code == 200, response.text
    page = Page(response.text)
    assert page.faults == []
    page.text = " ".join(page.text.split())
    return page


def test_storms_are_listed_and_decided(empty: Story, clock: Clock) -> None:
    site = empty.repository("acme/site")
    held = empty.storm(site)
    over = empty.storm(site, state="dismissed", finished_at=NOON, created_at=NOON - HOUR)
    services = services_of(empty, clock)
    client = client_of(services)

    listed = client.get(f"{API}/storms").json
    assert listed is not None
    assert [one["id"] for one in listed["items"]] == [held, over]
    assert listed["items"][0] == {
        "id": held,
        "repository": "acme/site",
        "state": "held",
        "changes": 1_200,
        "first_sequence": 1,
        "last_sequence": 1_200,
        "created_at": "2026-11-05T11:50:00.123Z",
        "finished_at": None,
    }
    assert client.get(f"{API}/storms?state=held").json == {
        "items": listed["items"][:1],
        "next": None,
    }
    released = client.post(f"{API}/storms/{held}/release")
    dismissed = client.post(f"{API}/storms/{held}/dismiss", json={})
    again = client.post(f"{API}/storms/{over}/release")

    assert (released.status_code, dismissed.status_code, again.status_code) == (200, 200, 409)
    assert services.done == [("release", held), ("dismiss", held)]


def test_a_storms_events_can_be_looked_at(empty: Story, client_over: ClientOver) -> None:
    site = empty.repository("acme/site")
    storm = empty.storm(site)
    inside = empty.event(site, hold_id=storm, state="held")
    empty.event(site)
    client = client_over(empty)

    found = client.get(f"{API}/events?hold={storm}").json

    assert found is not None
    assert [(one["id"], one["hold"]) for one in found["items"]] == [(inside, storm)]
    assert f"/events/{inside}" in read(client, f"/events?hold={storm}").links
    assert f"/events?hold={storm}" in read(client, f"/events/{inside}").links


def test_pages_show_a_storm_with_its_two_ways_out(empty: Story, clock: Clock) -> None:
    site = empty.repository("acme/site")
    storm = empty.storm(site)
    empty.delivery(empty.event(site, hold_id=storm, state="held"), **OWED | {"state": "held"})
    services = services_of(empty, clock)
    client = client_of(services)

    for url in ("/", "/deliveries"):
        html = client.get(url).text
        assert f'action="/storms/{storm}/release"' in html
        assert f'action="/storms/{storm}/dismiss"' in html
        assert f"/events?hold={storm}" in read(client, url).links
        assert "<summary>Dismiss…</summary><p>None of it will be sent" in html
    assert "when released" in client.get("/deliveries").text
    assert 'state=held">1 held' in client.get("/").text
    answers = [client.post(f"/storms/{storm}/{way}") for way in ("release", "dismiss")]

    assert [one.location for one in answers] == [
        "/deliveries?did=storm-released",
        "/deliveries?did=storm-dismissed",
    ]
    assert services.done == [("release", storm), ("dismiss", storm)]


def test_many_are_sent_again_to_the_same_or_to_others(
    client: FlaskClient, services: FakeServices, fleet: Fleet
) -> None:
    wanted = {
        "state": "dead",
        "receiver": "audit",
        "repository": "acme/infra",
        "since": "2026-11-05T00:00:00Z",
        "until": "2026-11-05T12:00:00.123456Z",
    }

    same = client.post(f"{API}/deliveries/redeliver", json={"filter": wanted})
    others = client.post(
        f"{API}/deliveries/redeliver",
        json={"filter": {"receiver": "audit"}, "receivers": ["tekton"]},
    )

    assert (same.status_code, same.json) == (202, {"redelivered": 3})
    assert others.status_code == 202
    midnight = NOON - timedelta(hours=12, microseconds=123456)
    assert services.done == [
        ("redeliver many", DeliveryFilter("dead", "audit", fleet.infra, midnight, NOON), None),
        ("redeliver many", DeliveryFilter(receiver="audit"), ["tekton"]),
    ]


def test_what_nobody_confirmed_is_sent_again(client: FlaskClient, services: FakeServices) -> None:
    body = {"filter": {"receiver": "tekton", "confirmation": "unconfirmed"}}

    answer = client.post(f"{API}/deliveries/redeliver", json=body)
    page = client.post("/receivers/tekton/redeliver", data={"which": "unconfirmed"})

    assert (answer.status_code, page.status_code) == (202, 303)
    wanted = DeliveryFilter("delivered", "tekton", confirmation="unconfirmed")
    assert services.done == [("redeliver many", wanted, None)] * 2


def test_many_are_cancelled(client: FlaskClient, services: FakeServices) -> None:
    answer = client.post(f"{API}/deliveries/cancel", json={"filter": {"receiver": "gone"}})

    assert (answer.status_code, answer.json) == (200, {"cancelled": 3})
    assert services.done == [("cancel many", DeliveryFilter(receiver="gone"))]


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        ("redeliver", {}, ["filter"]),
        ("redeliver", {"filter": {}}, ["filter"]),
        ("redeliver", {"filter": None}, ["filter"]),
        ("redeliver", {"filter": []}, ["filter"]),
        ("redeliver", {"filter": {"state": "pending"}}, ["filter.state"]),
        ("redeliver", {"filter": {"state": None}}, ["filter.state"]),
        ("redeliver", {"filter": {"repository": "acme/nothing"}}, ["repository"]),
        ("redeliver", {"filter": {"receiver": "audit"}, "receivers": ["nobody"]}, ["receivers"]),
        ("redeliver", {"filter": {"receiver": "audit"}, "receivers": []}, ["receivers"]),
        (
            "redeliver",
            {"filter": {"state": "bogus", "since": "noon", "who": 1}, "receivers": [7], "x": 1},
            ["filter.since", "filter.state", "filter.who", "receivers.0", "x"],
        ),
        ("cancel", {"filter": {}}, ["filter"]),
        ("cancel", {"filter": {"state": "dead"}}, ["filter.state"]),
        ("cancel", {"filter": {"confirmation": "awaited"}}, ["filter.confirmation"]),
        ("cancel", {"filter": {"receiver": "x" * 1001}}, ["filter.receiver"]),
        ("cancel", {"filter": {"receiver": "audit"}, "receivers": ["audit"]}, ["receivers"]),
        ("cancel", [], ["body"]),
        ("cancel", "text", ["body"]),
    ],
)
def test_a_filter_that_cannot_be_understood_is_refused_with_every_mistake(
    client: FlaskClient, services: FakeServices, path: str, body: Any, fields: list[str]
) -> None:
    answer = client.post(f"{API}/deliveries/{path}", json=body)

    assert (answer.status_code, services.done) == (422, [])
    assert answer.json is not None
    assert sorted(one["field"] for one in answer.json["errors"]) == fields


NEW_ROUTES = [
    "/api/v1/storms",
    "/api/v1/storms/x",
    "/api/v1/storms/x/release",
    "/api/v1/storms/x/dismiss",
    "/api/v1/deliveries/redeliver",
    "/api/v1/deliveries/cancel",
    "/api/v1/confirmations/tekton/x",
    "/api/v1/confirmations//",
    "/receivers/x",
    "/receivers/x/redeliver",
    "/receivers/x/cancel",
    "/storms/x/release",
    "/storms/x/dismiss",
]
MALFORMED: list[dict[str, Any]] = [
    {},
    {"data": b"\xff\x00", "content_type": "application/json"},
    {"data": b"{", "content_type": "application/json"},
    {"data": b"[" * 100_000, "content_type": "application/json"},
    {"data": b'{"filter": {"receiver": "\\u0000"}}', "content_type": "application/json"},
    {"data": b'{"filter": {"receiver": "\\ud800"}}', "content_type": "application/json"},
    {"data": b'{"filter": {"since": 1e999}}', "content_type": "application/json"},
    {"data": b"null", "content_type": "application/json"},
    {"data": b"a=b", "content_type": "text/plain"},
    {"query_string": "state=%ff&hold=%F0%9F&cursor=%7B"},
]


@pytest.mark.parametrize("path", NEW_ROUTES)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_nothing_malformed_makes_a_server_error(
    client: FlaskClient, method: str, path: str
) -> None:
    statuses = [client.open(path, method=method, **one).status_code for one in MALFORMED]

    assert [status for status in statuses if status >= 500] == []


def test_deliveries_are_filtered_by_all_that_is_known_of_them(
    empty: Story, client_over: ClientOver
) -> None:
    site, infra = empty.repository("acme/site"), empty.repository("acme/infra")
    first = empty.delivery(empty.event(site), created_at=NOON - HOUR, confirmation="confirmed")
    second = empty.delivery(empty.event(infra), confirmation="unconfirmed")
    client = client_over(empty)

    def found(query: str) -> list[str]:
        answer = client.get(f"{API}/deliveries?{query}").json
        assert answer is not None
        return [one["id"] for one in answer["items"]]

    assert found("repository=acme/site") == [first]
    assert found("confirmation=unconfirmed") == [second]
    assert found("since=2026-11-05T11:30:00Z") == [second]
    assert found("until=2026-11-05T11:30:00Z&state=delivered") == [first]
    assert found("receiver=tekton&repository=acme/infra&confirmation=confirmed") == []
    page = read(client, "/deliveries?age=1h&confirmation=unconfirmed")
    assert "acme/infra" in page.text
    assert "▲ unconfirmed" in page.text


def test_a_receivers_page_says_how_it_is_sent_to_without_its_secrets(
    empty: Story, clock: Clock
) -> None:
    receivers = {
        "tekton": Receiver(
            "tekton",
            "https://bob:s3cret@ci.example.com/hook?token=s3cret",
            expect="202",
            confirm="tekton",
            rate=5.0,
            secret=Secret("s3cret"),
            previous_secret=Secret("0ld-s3cret"),
            headers={"X-Api-Key": "s3cret"},
            retry=RetryPolicy(),
            order="none",
            changes=("created", "updated"),
            refs=RefFilter(("main", "!wip/*"), ()),
        )
    }
    event = empty.event(empty.repository("acme/site"))
    empty.delivery(event, confirmation="unconfirmed")
    empty.delivery(event, state="dead", redelivery=1)
    client = client_of(services_of(empty, clock, receivers))

    page = read(client, "/receivers/tekton")

    for said in (
        "with its secret and the one before it",
        "only the answer 202",
        "by tekton's own event, within a minute",
        "created and updated: branches main !wip/*",
        "none: no delivery waits for another",
        "8 at once, 5/s",
        "after 5s, doubled up to 10m; given up when tried for 3d",
        "X-Api-Key",
        "Given up1",
        "Not confirmed1",
    ):
        assert said in page.text
    assert "s3cret" not in client.get("/receivers/tekton").text
    assert "Send all unconfirmed again" in page.text
    assert "Send all given up again" in page.text


def test_an_open_circuit_is_told_in_words_and_in_the_api(empty: Story, clock: Clock) -> None:
    empty.receiver("tekton", opened_at=NOON - HOUR, opened_reason="it answered 503")
    stored = client_of(services_of(empty, clock))
    live = OpenCircuit(NOON - MINUTE, "connection refused", 9, NOON + 30 * SECOND)
    status = Status(
        Queries(empty.database),
        live=LiveStates(),
        receivers=RECEIVERS,
        now=clock,
        circuits=lambda: {"tekton": live},
        holds=Holds(empty.database),
    )
    client = client_of(FakeServices(status))

    told = client.get(f"{API}/receivers/tekton").json

    assert told is not None
    assert (told["state"], told["reason"]) == ("open", "connection refused")
    assert told["circuit"] == {
        "opened_at": "2026-11-05T11:59:00.123Z",
        "reason": "connection refused",
        "failures": 9,
        "next_probe_at": "2026-11-05T12:00:30.123Z",
    }
    assert "▲ circuit open connection refused (for 1 min)" in read(client, "/receivers/tekton").text
    assert "It failed 9 times in a row" in read(client, "/receivers/tekton").text
    assert "next in 30 s" in read(client, "/receivers/tekton").text
    assert "It failed again and again" in read(stored, "/receivers/tekton").text
    assert "circuit open" in read(stored, "/receivers").text
    other = client.get(f"{API}/receivers/audit").json
    assert other is not None
    assert other["circuit"] is None


def test_what_is_owed_to_a_receiver_that_is_gone_can_be_cancelled(
    empty: Story, clock: Clock
) -> None:
    empty.delivery(empty.event(empty.repository("acme/site")), receiver="old-ci", **OWED)
    services = services_of(empty, clock)
    client = client_of(services)

    event = json.loads(client.get(f"{API}/events").data)["items"][0]["id"]
    told = read(client, f"/events/{event}")
    assert "old-ci is not configured any more, so this waits" in told.text
    assert "/receivers/old-ci" not in told.links
    for url in ("/", "/receivers"):
        assert "old-ci" in read(client, url).text
        assert 'action="/receivers/old-ci/cancel"' in client.get(url).text
    assert client.post("/receivers/old-ci/cancel").location == "/receivers?did=receiver-cancelled"


def test_what_changed_nothing_says_so(client: FlaskClient, services: FakeServices) -> None:
    services.counted = 0

    again = client.post("/receivers/tekton/redeliver")
    ended = client.post("/receivers/tekton/cancel")

    assert again.location == "/receivers/tekton?did=receiver-none-left"
    assert ended.location == "/receivers/tekton?did=receiver-none-owed"
    assert client.post("/receivers/nobody/redeliver").status_code == 404


def test_what_was_given_up_is_sent_again_from_the_overview(
    empty: Story, client_over: ClientOver
) -> None:
    event = empty.event(empty.repository("acme/site"), state="failed")
    empty.delivery(event, state="dead")

    html = client_over(empty).get("/").text

    assert 'action="/receivers/tekton/redeliver"' in html
    assert 'action="/receivers/audit/redeliver"' not in html


def test_a_receiver_that_refuses_has_not_taken_all_that_it_was_sent(
    empty: Story, client_over: ClientOver
) -> None:
    site, client = empty.repository("acme/site"), client_over(empty)
    before = read(client, "/receivers/tekton").text
    empty.delivery(empty.event(site, state="failed"), state="dead", last_status=422)

    after = read(client, "/receivers/tekton").text

    assert "It has taken all that it was sent." in before
    assert "It has taken" not in after
    assert "It answers, but of what it was sent 1 was given up." in after


def test_an_event_shows_its_commits_with_authors_and_who_pushed(
    empty: Story, client_over: ClientOver
) -> None:
    commits = [
        {
            "id": f"{number:040x}",
            "message": f"Change {number}\n\nand why",
            "author": PERSON,
            "committed_at": "2026-11-05T13:00:00+02:00",
        }
        for number in (1, 2)
    ]
    event = empty.event(
        empty.repository("acme/site"), commits=commits, commits_count=25, pusher=PERSON
    )
    strange: list[Any] = [{}, {"id": None, "author": {}, "committed_at": "soon"}, "text", None]
    odd = empty.event(1, commits=strange)
    client = client_over(empty)

    page = read(client, f"/events/{event}")
    told = client.get(f"{API}/events/{event}").json

    assert "The newest 2 of 25." in page.text
    assert "Change 2 Ada Lovelace, 1 h ago" in page.text
    assert "Pushed byada" in page.text
    assert told is not None
    assert (told["commits"], told["commits_count"], told["pusher"]) == (commits, 25, PERSON)
    read(client, f"/events/{odd}")


def test_an_event_can_be_sent_to_receivers_that_were_never_owed_it(
    client: FlaskClient, services: FakeServices, fleet: Fleet
) -> None:
    html = client.get(f"/events/{fleet.taken}").text

    client.post(f"/events/{fleet.taken}/redeliver", data={"receiver": ["audit", "tekton"]})

    assert '<input type="checkbox" name="receiver" value="audit">' in html
    assert services.done == [("redeliver", fleet.taken, ["audit", "tekton"])]


def test_a_delivery_says_whether_its_effect_was_confirmed(
    empty: Story, client_over: ClientOver
) -> None:
    event = empty.event(empty.repository("acme/site"))
    delivery = empty.delivery(event, confirmation="unconfirmed")
    client = client_over(empty)

    page = read(client, f"/events/{event}")

    assert "● delivered ▲ unconfirmed" in page.text
    assert "nobody confirmed within a minute that a run began" in page.text
    assert json.loads(client.get(f"{API}/deliveries/{delivery}").data)["confirmation"] == (
        "unconfirmed"
    )
