"""What the API answers, and how it refuses."""

import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.domain.errors import Conflict, ForgeRateLimited, StorageUnavailable
from app.domain.health import Component, HealthReport, Status as Health
from app.storage.records import PollRecord, PollState
from tests.integration.web.conftest import ClientOver, Clock, FakeServices, LiveStates
from tests.integration.web.story import HOUR, NOON, SECOND, Fleet, Story

API = "/api/v1"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def said(response: TestResponse) -> Any:
    """Return what a response says in JSON."""
    return json.loads(response.data)


def get(client: FlaskClient, path: str, status: int = 200) -> Any:
    response = client.get(API + path)
    assert response.status_code == status, response.text
    kind = "application/json" if status == 200 else "application/problem+json"
    assert response.mimetype == kind
    return said(response)


def moments(value: Any) -> list[str]:
    """Collect what stands under every key that names a moment."""
    if isinstance(value, list):
        return [one for item in value for one in moments(item)]
    if not isinstance(value, dict):
        return []
    own = [v for k, v in value.items() if k.endswith("_at") and v is not None]
    return own + [one for item in value.values() for one in moments(item)]


def test_a_repository_has_the_promised_shape(client: FlaskClient) -> None:
    assert get(client, "/repositories/acme/site") == {
        "name": "acme/site",
        "url": "https://github.com/acme/site",
        "forge": "github",
        "state": "ok",
        "labels": {"team": "web", "tier": "1"},
        "refs_count": 2,
        "default_branch": "refs/heads/main",
        "interval_s": 15.0,
        "last_change_at": "2026-11-05T11:59:00.123Z",
        "last_poll_at": "2026-11-05T11:59:57.123Z",
        "last_outcome": "unchanged",
        "read_by": "rest",
        "next_poll_at": "2026-11-05T12:00:12.123Z",
        "next_poll_reason": "it was pushed to lately",
        "failures": 0,
        "latency_s": {"p50": 4.0, "p95": 4.0},
        "error": None,
        "moved_to": None,
        "is_archived": None,
        "is_disabled": None,
        "paths": [],
        "pull_requests": False,
        "watching": {"promised_s": None, "way": None, "probe": None, "takes_hooks": False},
    }


def test_a_failing_repository_says_what_is_wrong_since_when(client: FlaskClient) -> None:
    found = get(client, "/repositories/acme/infra")

    assert found["state"] == "failing"
    assert found["error"] == {
        "code": "forge_unavailable",
        "message": "no answer within 10 s",
        "since": "2026-11-05T10:00:00.123Z",
    }


def test_a_poll_that_is_not_written_yet_is_shown(
    client: FlaskClient, live: LiveStates, fleet: Fleet
) -> None:
    live.states[fleet.infra] = PollState(
        fleet.infra, {}, "rest", NOON, "unchanged", NOON + SECOND, "wake", 30.0, 0, None, None, None
    )

    found = get(client, "/repositories/acme/infra")
    failing = get(client, "/repositories?state=failing")

    assert (found["state"], found["error"], found["interval_s"]) == ("ok", None, 30.0)
    assert found["last_poll_at"] == "2026-11-05T12:00:00.123Z"
    assert failing["items"] == []


def test_a_paused_repository_has_no_next_poll(client: FlaskClient) -> None:
    found = get(client, "/repositories/acme/quiet")

    assert (found["state"], found["next_poll_at"], found["next_poll_reason"]) == (
        "paused",
        None,
        None,
    )


def test_repositories_are_filtered_and_paged(client: FlaskClient) -> None:
    first = client.get(f"{API}/repositories?limit=3&state=")
    link = re.fullmatch(r'<(.+)>; rel="next"', first.headers["Link"])
    assert link
    second = client.get(link[1])

    assert [one["name"] for one in said(first)["items"]] == [
        "acme/brand-new",
        "acme/infra",
        "acme/quiet",
    ]
    assert "limit=3" in link[1]
    assert said(first)["next"] in link[1]
    assert [one["name"] for one in said(second)["items"]] == ["acme/site"]
    assert said(second)["next"] is None
    assert "Link" not in second.headers
    assert len(get(client, "/repositories?label=team:web&forge=github&q=SITE")["items"]) == 1


def test_refs_are_listed(client: FlaskClient) -> None:
    found = get(client, "/repositories/acme/site/refs?limit=1")

    assert found["items"] == [
        {
            "name": "refs/heads/main",
            "commit": found["items"][0]["commit"],
            "changed_at": "2026-11-05T11:00:00.123Z",
        }
    ]
    assert found["next"]


def test_it_is_explained_why_a_ref_triggers_or_not(client: FlaskClient, fleet: Fleet) -> None:
    taken = get(client, "/repositories/acme/site/explain?ref=main")
    left = get(client, "/repositories/acme/site/explain?ref=refs/heads/wip/%3Cb%3Ebold%3C/b%3E")

    assert (taken["watched"], taken["pattern"]) == (True, "*")
    assert taken["last_event"]["id"] == fleet.taken
    assert taken["deliveries"][0]["state"] == "delivered"
    assert (left["watched"], left["pattern"], left["last_event"]) == (False, "!wip/*", None)
    assert "takes it out" in left["reasons"][0]


def test_an_event_has_the_promised_shape_and_alone_its_deliveries(
    client: FlaskClient, fleet: Fleet
) -> None:
    listed = get(client, "/events?repository=acme/site&kind=branch_updated")["items"]
    alone = get(client, f"/events/{fleet.taken}")
    deliveries = alone.pop("deliveries")

    assert listed == [alone]
    assert alone.keys() == {
        *("id", "sequence", "kind", "repository", "ref", "before", "after", "forced", "commits"),
        *("commits_count", "pusher", "pushed_at", "detected_at", "catch_up", "state", "hold"),
        *("paths", "paths_count", "path_filter"),
    }
    assert alone["repository"] == {
        "name": "acme/site",
        "url": "https://github.com/acme/site",
        "forge": "github",
    }
    assert deliveries[0].keys() >= {
        *("id", "event_id", "receiver", "payload", "state", "confirmation", "attempts_made"),
        *("next_attempt_at", "created_at", "finished_at", "last_status", "last_error", "attempts"),
    }
    assert deliveries[0]["attempts"] == [
        {
            "number": 1,
            "started_at": "2026-11-05T11:59:00.123Z",
            "duration_ms": 42,
            "status": 202,
            "error": None,
            "answer": '{"eventListener":"reposentry","eventID":"14a657"}',
        }
    ]


def test_every_moment_is_rfc_3339_in_utc_with_milliseconds(
    client: FlaskClient, fleet: Fleet
) -> None:
    paths = ("/repositories", "/events", "/deliveries", f"/events/{fleet.waiting}", "/status")

    found = [one for path in paths for one in moments(get(client, path))]

    assert len(found) > 20
    assert [one for one in found if not MOMENT.fullmatch(one)] == []


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("since=2026-11-05T11:00:00Z", 2),
        ("since=2026-11-05T12:00:00%2B01:00", 2),
        ("since=2026-11-05T12:00:00+01:00", 2),
        ("until=2026-11-05T11:00:00Z", 1),
        ("state=open", 1),
        ("ref=main&state=failed", 1),
        ("repository=acme/infra", 1),
        ("repository=acme/quiet", 0),
    ],
)
def test_events_are_filtered(client: FlaskClient, query: str, count: int) -> None:
    assert len(get(client, f"/events?{query}")["items"]) == count


def test_paging_through_events_sees_each_once_while_new_ones_arrive(
    empty: Story, client_over: ClientOver
) -> None:
    site = empty.repository("acme/site")
    stood = [empty.event(site) for _ in range(7)]
    client = client_over(empty)
    seen = []

    page = get(client, "/events?limit=2")
    while page["next"]:
        seen += [one["id"] for one in page["items"]]
        empty.event(site)
        page = get(client, f"/events?limit=2&cursor={page['next']}")
    seen += [one["id"] for one in page["items"]]

    assert seen == list(reversed(stood))


def test_a_delivery_alone_has_its_attempts_and_request_without_secrets(
    client: FlaskClient, fleet: Fleet
) -> None:
    found = get(client, f"/deliveries/{fleet.waiting_delivery}")

    assert [one["number"] for one in found["attempts"]] == [1, 2, 3]
    assert found["request"]["headers"] == {"X-GitHub-Event": "push", "X-Gitlab-Token": "••••••"}
    assert json.loads(found["request"]["body"])["ref"] == "refs/heads/main"


def test_deliveries_are_filtered(client: FlaskClient, fleet: Fleet) -> None:
    found = get(client, "/deliveries?state=dead&receiver=audit")["items"]

    assert [one["id"] for one in found] == [fleet.dead_delivery]


def test_receivers_tell_what_they_are_owed_without_secrets(client: FlaskClient) -> None:
    audit, tekton = get(client, "/receivers")["items"]

    assert (audit["name"], audit["state"], audit["owed"]) == ("audit", "ok", 0)
    assert audit["url"] == "https://audit.example.com/in?…"
    assert (tekton["state"], tekton["owed"]) == ("failing", 1)
    assert tekton["reason"] == "it answered 503"


def test_a_receiver_is_paused_and_resumed(client: FlaskClient, services: FakeServices) -> None:
    paused = client.post(f"{API}/receivers/tekton/pause")
    resumed = client.post(f"{API}/receivers/tekton/resume", json={})

    assert (paused.status_code, resumed.status_code) == (200, 200)
    assert said(paused) == get(client, "/receivers/tekton")
    assert services.done == [("pause", "tekton"), ("resume", "tekton")]


def test_a_receiver_that_is_closed_says_why_and_since_when(
    empty: Story, client_over: ClientOver
) -> None:
    empty.receiver("tekton", paused_at=NOON)
    empty.receiver("audit", paused_at=NOON, disabled_at=NOON - HOUR, disabled_reason="gone")

    audit, tekton = get(client_over(empty), "/receivers")["items"]

    assert (audit["state"], audit["reason"]) == ("disabled", "gone")
    assert audit["since"] == "2026-11-05T11:00:00.123Z"
    assert (tekton["state"], tekton["reason"]) == ("paused", "a person paused it")
    assert tekton["since"] == "2026-11-05T12:00:00.123Z"


def test_the_status_tells_everything_at_once(client: FlaskClient) -> None:
    found = get(client, "/status")

    assert (found["health"], found["role"], found["level"]) == ("ok", "active", "trouble")
    assert [one["code"] for one in found["needs"]] == ["forge_unavailable", "deliveries_dead"]
    assert found["repositories"]["watched"] == 4
    assert found["deliveries"] == {"owed": 1, "waiting": 1, "held": 0}
    assert found["last_24h"] == {"changes": 3, "delivered": 1, "dead": 1}
    assert len(found["hours"]) == 24


def test_the_overviews_figures_are_read_again_after_a_moment(
    empty: Story, client_over: ClientOver, clock: Clock
) -> None:
    site = empty.repository("acme/site")
    client = client_over(empty)
    before = get(client, "/status")["last_24h"]["changes"]
    empty.event(site)

    at_once = get(client, "/status")["last_24h"]["changes"]
    clock.at += 3 * SECOND
    later = get(client, "/status")["last_24h"]["changes"]
    clock.at += 24 * HOUR
    next_day = get(client, "/status")["last_24h"]["changes"]

    assert (before, at_once, later, next_day) == (0, 0, 1, 0)


def test_the_version_is_told(client: FlaskClient) -> None:
    assert get(client, "/version") == {"name": "reposentry", "version": "1.2.3", "api": "v1"}


def test_a_wake_is_accepted_with_a_link(client: FlaskClient, services: FakeServices) -> None:
    response = client.post(f"{API}/repositories/acme/site/poll")

    assert response.status_code == 202
    assert response.headers["Location"] == f"{API}/repositories/acme/site"
    assert services.done == [("wake", "acme/site")]


@pytest.mark.parametrize(
    ("prefer", "waited"), [("wait=2", 2), ("respond-async, wait=60", 5), ('Wait = "3"', 3)]
)
def test_a_poll_can_be_waited_for_but_not_long(
    client: FlaskClient, services: FakeServices, prefer: str, waited: int
) -> None:
    services.outcome = PollRecord(1, NOON, 80, "wake", "changed", "rest", 2)

    response = client.post(f"{API}/repositories/acme/site/poll", headers={"Prefer": prefer})

    assert response.status_code == 200
    assert response.headers["Preference-Applied"] == f"wait={waited}"
    assert (said(response)["outcome"], said(response)["changes"]) == ("changed", 2)
    assert services.done == [("poll", "acme/site", waited)]


def test_a_poll_that_is_not_over_in_time_was_asked_for(
    client: FlaskClient, services: FakeServices
) -> None:
    response = client.post(f"{API}/repositories/acme/site/poll", headers={"Prefer": "wait=1"})

    assert response.status_code == 202
    assert response.headers["Preference-Applied"] == "wait=1"


def test_a_preference_that_is_nonsense_is_ignored(
    client: FlaskClient, services: FakeServices
) -> None:
    response = client.post(f"{API}/repositories/acme/site/poll", headers={"Prefer": "wait=soon"})

    assert response.status_code == 202
    assert services.done == [("wake", "acme/site")]


def test_a_repository_is_paused_and_resumed(client: FlaskClient, services: FakeServices) -> None:
    paused = client.post(f"{API}/repositories/acme/site/pause")
    resumed = client.post(f"{API}/repositories/acme/site/resume", json={})

    assert (paused.status_code, resumed.status_code) == (200, 200)
    assert said(paused)["name"] == "acme/site"
    assert services.done == [("pause", "acme/site"), ("resume", "acme/site")]


@pytest.mark.parametrize(
    ("body", "receivers"), [(None, None), ({}, None), ({"receivers": ["audit"]}, ["audit"])]
)
def test_an_event_is_redelivered(
    client: FlaskClient,
    services: FakeServices,
    fleet: Fleet,
    body: dict[str, Any] | None,
    receivers: list[str] | None,
) -> None:
    response = client.post(f"{API}/events/{fleet.dead}/redeliver", json=body)

    assert response.status_code == 202
    assert said(response) == {"deliveries": ["new-delivery"]}
    assert response.headers["Location"] == f"{API}/events/{fleet.dead}"
    assert services.done == [("redeliver", fleet.dead, receivers)]


def test_a_delivery_is_hurried_or_ended(
    client: FlaskClient, services: FakeServices, fleet: Fleet
) -> None:
    delivery = f"{API}/deliveries/{fleet.waiting_delivery}"

    retried = client.post(f"{delivery}/retry")
    cancelled = client.post(f"{delivery}/cancel")

    assert (retried.status_code, cancelled.status_code) == (202, 200)
    assert said(retried)["id"] == fleet.waiting_delivery
    assert [what for what, _ in services.done] == ["retry", "cancel"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "", 404, "not_found"),
        ("GET", "/repositories/acme/nothing", 404, "not_found"),
        ("GET", "/repositories/acme/nothing/refs", 404, "not_found"),
        ("GET", "/repositories/acme/nothing/explain?ref=main", 404, "not_found"),
        ("POST", "/repositories/acme/nothing/poll", 404, "not_found"),
        ("GET", "/events/nothing", 404, "not_found"),
        ("POST", "/events/nothing/redeliver", 404, "not_found"),
        ("GET", "/deliveries/nothing", 404, "not_found"),
        ("POST", "/deliveries/nothing/retry", 404, "not_found"),
        ("GET", "/receivers/nobody", 404, "not_found"),
        ("POST", "/receivers/nobody/pause", 404, "not_found"),
        ("POST", "/receivers/nobody/resume", 404, "not_found"),
        ("GET", "/storms?state=bogus", 422, "validation_failed"),
        ("GET", "/storms/nothing", 404, "not_found"),
        ("POST", "/storms/nothing/release", 404, "not_found"),
        ("POST", "/storms/nothing/dismiss", 404, "not_found"),
        ("POST", "/storms/nothing/release?now=1", 422, "validation_failed"),
        ("GET", "/deliveries?confirmation=bogus", 422, "validation_failed"),
        ("GET", "/deliveries?since=yesterday", 422, "validation_failed"),
        ("GET", "/deliveries?since=0001-01-01T00:00:00%2B10:00", 422, "validation_failed"),
        ("GET", "/events?until=9999-12-31T23:59:59-10:00", 422, "validation_failed"),
        ("GET", "/deliveries?repository=acme/nothing", 422, "validation_failed"),
        ("GET", "/receivers/tekton/pause", 405, "method_not_allowed"),
        ("POST", "/receivers/tekton/pause?until=noon", 422, "validation_failed"),
        ("DELETE", "/repositories/acme/site", 405, "method_not_allowed"),
        ("POST", "/events", 405, "method_not_allowed"),
        ("GET", "/repositories/acme/site/poll/x", 404, "not_found"),
        ("GET", "/repositories?state=bogus", 422, "validation_failed"),
        ("GET", "/repositories?limit=0", 422, "validation_failed"),
        ("GET", "/repositories?limit=201", 422, "validation_failed"),
        ("GET", "/repositories?limit=many", 422, "validation_failed"),
        ("GET", "/repositories?cursor=bogus", 422, "validation_failed"),
        ("GET", "/repositories?bogus=1", 422, "validation_failed"),
        ("GET", "/repositories?state=ok&state=new", 422, "validation_failed"),
        ("GET", "/repositories/acme/site?bogus=1", 422, "validation_failed"),
        ("GET", "/repositories/acme/site/explain", 422, "validation_failed"),
        ("POST", "/repositories/acme/site/poll?bogus=1", 422, "validation_failed"),
        ("GET", "/events?kind=bogus", 422, "validation_failed"),
        ("GET", "/events?since=yesterday", 422, "validation_failed"),
        ("GET", "/events?since=2026-11-05T12:00:00", 422, "validation_failed"),
        ("GET", "/events?repository=acme/nothing", 422, "validation_failed"),
        ("GET", "/deliveries?state=bogus", 422, "validation_failed"),
        ("GET", "/status?bogus=1", 422, "validation_failed"),
        ("GET", "/events/a%00b", 400, "bad_request"),
        ("GET", "/events?ref=a%00b", 400, "bad_request"),
    ],
)
def test_an_error_is_a_problem_with_a_stable_code(
    client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    response = client.open(API + path, method=method)

    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    assert said(response)["code"] == code
    assert said(response).keys() >= {"type", "title", "status", "detail", "code"}
    assert said(response)["status"] == status
    assert said(response)["request_id"] == response.headers["X-Request-Id"]


def test_every_mistake_is_told_at_once(client: FlaskClient) -> None:
    problem = get(client, "/events?limit=0&kind=bogus&since=never&colour=red&ref=a&ref=b", 422)

    assert {one["field"] for one in problem["errors"]} == {
        *("limit", "kind", "since", "colour", "ref"),
    }


def test_a_method_that_is_not_allowed_names_those_that_are(client: FlaskClient) -> None:
    response = client.delete(f"{API}/events")

    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"receivers=audit", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
        (b'{"receivers": "audit"}', "application/json", 422),
        (b'{"receivers": []}', "application/json", 422),
        (b'{"receivers": [1]}', "application/json", 422),
        (b'{"receivers": ["nobody"]}', "application/json", 422),
        (b'{"colour": "red"}', "application/json", 422),
    ],
)
def test_a_body_that_cannot_be_understood_is_refused(
    client: FlaskClient,
    services: FakeServices,
    fleet: Fleet,
    data: bytes,
    content_type: str,
    status: int,
) -> None:
    response = client.post(
        f"{API}/events/{fleet.dead}/redeliver", data=data, content_type=content_type
    )

    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    assert services.done == []


def test_an_action_takes_no_fields(client: FlaskClient, services: FakeServices) -> None:
    response = client.post(f"{API}/repositories/acme/site/pause", json={"until": "tomorrow"})

    assert response.status_code == 422
    assert said(response)["errors"] == [{"field": "until", "message": "Unknown field."}]
    assert services.done == []


def test_what_the_state_does_not_allow_is_a_conflict(
    client: FlaskClient, services: FakeServices, fleet: Fleet
) -> None:
    finished = client.post(f"{API}/deliveries/{fleet.dead_delivery}/cancel")
    services.failure = Conflict("it is paused")
    paused = client.post(f"{API}/repositories/acme/site/poll")

    assert (finished.status_code, said(finished)["code"]) == (409, "conflict")
    assert (paused.status_code, said(paused)["detail"]) == (409, "it is paused")


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (StorageUnavailable("no answer"), 503, "storage_unavailable"),
        (ForgeRateLimited("spent", reset_at=NOON), 503, "forge_rate_limited"),
    ],
)
def test_what_passes_by_itself_says_when_to_come_back(
    client: FlaskClient, services: FakeServices, failure: Exception, status: int, code: str
) -> None:
    services.failure = failure

    response = client.post(f"{API}/repositories/acme/site/poll")

    assert (response.status_code, said(response)["code"]) == (status, code)
    assert response.headers["Retry-After"] == "5"


def test_an_unexpected_error_is_told_without_details_and_logged_with_them(
    client: FlaskClient, services: FakeServices, caplog: pytest.LogCaptureFixture
) -> None:
    services.failure = RuntimeError("the password is s3cret")

    response = client.post(f"{API}/repositories/acme/site/poll")

    assert (response.status_code, said(response)["code"]) == (500, "internal")
    assert "s3cret" not in response.text
    (record,) = caplog.records
    assert record.exc_info
    assert record.__dict__["request_id"] == response.headers["X-Request-Id"]


def test_health_tells_each_component_and_fails_only_when_the_whole_has(
    client: FlaskClient, services: FakeServices
) -> None:
    answers = []
    for status in Health:
        component = Component("database", status, "it is slow", NOON)
        services.report = HealthReport(status, "standby", [component])
        answers.append(client.get("/health"))

    assert [one.status_code for one in answers] == [200, 200, 503]
    assert said(answers[1]) == {
        "status": "degraded",
        "version": "1.2.3",
        "role": "standby",
        "components": {
            "database": {
                "status": "degraded",
                "reason": "it is slow",
                "since": "2026-11-05T12:00:00.123Z",
            }
        },
    }


def test_a_process_that_is_not_ready_is_alive(client: FlaskClient, services: FakeServices) -> None:
    services.readiness = (False, "the database is migrated")

    ready, live = client.get("/health/ready"), client.get("/health/live")

    assert (ready.status_code, said(ready)["reason"]) == (503, "the database is migrated")
    assert live.status_code == 200


def test_an_unknown_probe_is_a_problem_too(client: FlaskClient) -> None:
    assert client.get("/health/nothing").mimetype == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/events", {"GET", "HEAD", "OPTIONS"}),
        ("/repositories/acme/site", {"GET", "HEAD", "OPTIONS"}),
        ("/repositories/acme/site/refs", {"GET", "HEAD", "OPTIONS"}),
        ("/receivers/tekton/pause", {"POST", "OPTIONS"}),
    ],
)
def test_options_name_the_methods(client: FlaskClient, path: str, methods: set[str]) -> None:
    response = client.options(API + path)

    assert (response.status_code, response.data) == (200, b"")
    assert set(response.headers["Allow"].split(", ")) == methods


@pytest.mark.parametrize("path", ["/events", "/repositories/acme/site", "/version"])
def test_a_head_request_is_answered_without_a_body(client: FlaskClient, path: str) -> None:
    response = client.head(API + path)

    assert (response.status_code, response.data) == (200, b"")


def test_a_name_with_unusual_characters_is_found(empty: Story, client_over: ClientOver) -> None:
    names = ["a//b", "ü/☃", "with space/and%25", "refs", "x/refs.git", "a+b/c&d=e"]
    for name in names:
        empty.repository(name, url=f"https://example.com/{len(name)}{name}")
    client = client_over(empty)

    for name in names:
        quoted = name.replace("%", "%25").replace(" ", "%20").replace("&", "%26")
        assert get(client, f"/repositories/{quoted}")["name"] == name
        assert get(client, f"/repositories/{quoted}/refs")["items"] == []
