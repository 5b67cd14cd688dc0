"""Pages are whole, well formed, and say what to do next."""

import re
from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.domain.errors import StorageUnavailable
from app.settings.types import Settings
from app.storage.database import Database
from app.storage.filters import DeliveryFilter
from app.storage.records import PollRecord
from app.web.pages.views import NOTICES
from tests.integration.web.conftest import (
    ClientOver,
    Clock,
    FakeServices,
    LiveStates,
    services_over,
)
from tests.integration.web.markup import Page
from tests.integration.web.story import NOON, Fleet, Story

LATER = NOON + timedelta(minutes=10)

EVERY_PAGE = [
    ("/", "Overview"),
    ("/repositories", "Repositories"),
    ("/repositories?state=failing", "Repositories"),
    ("/repositories?q=nothing-like-it", "Repositories"),
    ("/repositories/acme/site", "acme/site"),
    ("/repositories/acme/site?why=main", "acme/site"),
    ("/repositories/acme/site?did=paused", "acme/site"),
    ("/repositories/acme/infra", "acme/infra"),
    ("/repositories/acme/brand-new", "acme/brand-new"),
    ("/repositories/acme/quiet", "acme/quiet"),
    ("/repositories/acme/former", "acme/former"),
    ("/events", "Events"),
    ("/events?state=open&age=24h", "Events"),
    ("/events?ref=nothing-like-it", "Events"),
    ("/deliveries", "Deliveries"),
    ("/deliveries?state=dead", "Deliveries"),
    ("/deliveries?confirmation=unconfirmed&age=7d", "Deliveries"),
    ("/deliveries?repository=acme/site", "Deliveries"),
    ("/receivers", "Receivers"),
    ("/receivers/tekton", "tekton"),
    ("/receivers/audit", "audit"),
    ("/forges", "Forges"),
]


def read(client: FlaskClient, url: str, status: int = 200) -> Page:
    response = client.get(url)
    assert response.status_code == status, response.text
    assert response.mimetype == "text/html"
    return Page(response.text)


@pytest.mark.parametrize(("url", "title"), EVERY_PAGE)
def test_a_page_has_its_title_and_is_well_formed_and_self_contained(
    client: FlaskClient, url: str, title: str
) -> None:
    page = read(client, url)

    assert page.title == f"{title} · RepoSentry"
    assert page.faults == []
    assert page.tags.count("h1") == 1


def test_an_events_page_is_well_formed_whatever_became_of_it(
    client: FlaskClient, fleet: Fleet
) -> None:
    for event in (fleet.taken, fleet.waiting, fleet.dead):
        page = read(client, f"/events/{event}")
        assert page.faults == []


@pytest.mark.parametrize("url", ["/", "/repositories", "/events", "/deliveries"])
def test_a_page_says_what_to_do_when_there_is_nothing_yet(
    empty: Story, client_over: ClientOver, url: str
) -> None:
    page = read(client_over(empty), url)

    assert page.faults == []
    assert re.search(r"No .* yet|Nothing .* yet|repositor", page.text)


def test_the_receivers_page_says_what_to_do_when_there_is_none(
    told: tuple[Database, Fleet], live: LiveStates, clock: Clock
) -> None:
    services = services_over(told[0], live, clock, receivers={})

    page = read(create_app(Settings(), services).test_client(), "/receivers")

    assert "No receiver is configured" in page.text


def test_every_link_of_our_own_leads_somewhere(client: FlaskClient, fleet: Fleet) -> None:
    urls = [url for url, _ in EVERY_PAGE] + [f"/events/{fleet.dead}"]
    links = {link for url in urls for link in read(client, url).links if link.startswith("/")}

    broken = [link for link in sorted(links) if client.get(link).status_code != 200]

    assert len(links) > 15
    assert broken == []


def test_the_navigation_says_where_one_is(client: FlaskClient) -> None:
    listed = client.get("/repositories").text
    within = client.get("/repositories/acme/site").text

    assert 'href="/repositories" aria-current="page"' in listed
    assert 'href="/repositories" aria-current="true"' in within


def test_the_overview_names_what_needs_a_person_and_the_remedy(
    client: FlaskClient, fleet: Fleet
) -> None:
    page = read(client, "/")

    assert "2 things need a person." in page.text
    assert "acme/infra cannot be read: no answer within 10 s" in page.text
    assert "See what the receiver answered, mend it, then redeliver." in page.text
    assert f"/events/{fleet.dead}" in page.links


def test_the_overview_says_when_all_is_well(empty: Story, client_over: ClientOver) -> None:
    empty.delivery(empty.event(empty.repository("acme/site")))

    page = read(client_over(empty), "/")

    assert "All is well." in page.text
    assert "1 change found and 1 delivery made in the last 24 hours" in page.text


def test_a_moment_is_relative_and_exact_on_hover(client: FlaskClient, clock: Clock) -> None:
    clock.at += timedelta(minutes=2)

    html = client.get("/events").text

    assert (
        '<time datetime="2026-11-05T11:59:00Z" title="2026-11-05 11:59:00 UTC">3 min ago</time>'
    ) in html


def test_a_state_is_told_by_shape_and_word(client: FlaskClient) -> None:
    html = client.get("/repositories").text

    assert '<span class="state bad"><i aria-hidden="true">▲</i> failing</span>' in html
    assert '<span class="state good"><i aria-hidden="true">●</i> ok</span>' in html


def test_a_repository_says_when_and_why_it_is_polled_next(client: FlaskClient) -> None:
    page = read(client, "/repositories/acme/site")

    assert "Next poll in 12 s: it was pushed to lately" in " ".join(page.text.split())
    assert "3 refs" not in page.text
    assert "2 refs are watched" in page.text


def test_a_repository_links_to_its_forge(client: FlaskClient) -> None:
    links = read(client, "/repositories/acme/site").links

    assert "https://github.com/acme/site" in links
    assert "https://github.com/acme/site/tree/main" in links
    assert "https://github.com/acme/site/tree/v1.0" in links


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        ("main", "refs/heads/main is watched: the branch pattern * takes it in."),
        ("wip/x", "refs/heads/wip/x is not watched: the branch pattern !wip/* takes it out."),
        ("v1.0", "refs/tags/v1.0 is watched: the tag pattern v* takes it in."),
        ("refs/tags/x", "refs/tags/x is not watched: no tag pattern matches it."),
        ("refs/notes/x", "refs/notes/x is neither a branch nor a tag"),
        ("refs/pull/1/head", "refs/pull/1/head is not watched: no pull_requests."),
    ],
)
def test_a_repository_explains_why_a_ref_triggers_or_not(
    client: FlaskClient, ref: str, reason: str
) -> None:
    assert reason in read(client, f"/repositories/acme/site?why={ref}").text


def test_an_event_shows_its_attempts_and_what_was_sent_without_secrets(
    client: FlaskClient, fleet: Fleet
) -> None:
    page = read(client, f"/events/{fleet.waiting}")
    html = client.get(f"/events/{fleet.waiting}").text

    assert "eventListener" in page.text
    assert page.text.count("503") == 3
    assert '"ref": "refs/heads/main"' in page.text
    assert "X-GitHub-Event" in page.text
    assert "s3cret" not in html
    assert "<script>" not in html


def test_a_receivers_address_is_shown_without_its_secrets(client: FlaskClient) -> None:
    html = client.get("/receivers").text

    assert "https://audit.example.com/in?…" in html
    assert "s3cret" not in html


def test_a_receiver_says_how_it_stands_and_offers_what_can_be_done(
    empty: Story, client_over: ClientOver
) -> None:
    empty.receiver("tekton", disabled_at=NOON - timedelta(hours=2), disabled_reason="it is gone")
    html = client_over(empty).get("/receivers").text
    audit, tekton = html.partition("<tbody>")[2].split("</tr>")[:2]

    assert "●</i> ok" in audit
    assert 'action="/receivers/audit/pause"' in audit
    assert "✕</i> disabled" in tekton
    assert "it is gone" in tekton
    assert "for 2 h" in tekton
    assert 'action="/receivers/tekton/resume"' in tekton


def test_what_waits_for_a_closed_receiver_says_so(empty: Story, client_over: ClientOver) -> None:
    event = empty.event(empty.repository("acme/site"), state="open")
    empty.delivery(event, state="pending", attempts_made=0, finished_at=None, last_status=None)
    empty.receiver("tekton", paused_at=NOON)

    page = read(client_over(empty), f"/events/{event}")

    assert page.faults == []
    assert "tekton is paused (a person paused it), so this waits until it is resumed" in page.text
    assert "/receivers" in page.links


def test_a_list_of_deliveries_says_what_each_waits_for(
    empty: Story, client_over: ClientOver
) -> None:
    event = empty.event(empty.repository("acme/site"), state="open")
    owed = {"finished_at": None, "last_status": None}
    empty.receiver("tekton", paused_at=NOON)
    empty.delivery(event, **owed, state="pending", next_attempt_at=NOON)
    empty.delivery(event, **owed, receiver="audit", state="waiting", next_attempt_at=LATER)
    empty.delivery(event, **owed, receiver="audit", state="pending", next_attempt_at=NOON)

    html = client_over(empty).get("/deliveries").text

    rows = html.partition("<tbody>")[2].split("</tr>")[:3]
    assert [re.sub(r"<[^>]*>", "", row.rpartition("<td>")[2]) for row in rows] == [
        "in its turn",
        "in 10 min",
        "when resumed",
    ]


def test_a_repository_that_was_never_read_blames_no_pattern(
    empty: Story, client_over: ClientOver
) -> None:
    trouble = {"error_code": "forge_denied", "error_since": NOON, "last_outcome": "failed"}
    empty.repository("acme/site", **trouble, digest=None, watched=None, refs_count=0)
    client = client_over(empty)

    page = read(client, "/repositories/acme/site")

    assert "They show here after the first poll that succeeds." in page.text
    assert "No ref matches" not in page.text
    assert "0+" not in page.text


def test_very_many_refs_are_shown_some_at_a_time(empty: Story, client_over: ClientOver) -> None:
    site = empty.repository("acme/site", refs_count=60)
    for number in range(60):
        empty.ref(site, f"refs/heads/topic-{number:02}")
    client = client_over(empty)

    first = read(client, "/repositories/acme/site")
    (more,) = [link for link in first.links if "cursor=" in link]
    second = read(client, more)

    assert "Watched branches and tags by name, 50 of 60" in first.text
    assert ("topic-49" in first.text, "topic-50" in first.text) == (True, False)
    assert ("topic-49" in second.text, "topic-50" in second.text) == (False, True)
    assert more.endswith("#refs")


@pytest.mark.parametrize(
    ("url", "filtered"),
    [
        ("/repositories", "/repositories?state=ok"),
        ("/events", "/events?state=open"),
        ("/deliveries", "/deliveries?state=dead"),
    ],
)
def test_a_list_of_nothing_offers_no_filter_unless_one_is_set(
    empty: Story, client_over: ClientOver, url: str, filtered: str
) -> None:
    client = client_over(empty)

    assert "form" not in read(client, url).tags
    assert "form" in read(client, filtered).tags


def test_hostile_names_and_answers_are_only_text(empty: Story, client_over: ClientOver) -> None:
    hostile = "<script>alert('x')</script>\"'&amp;"
    site = empty.repository(
        "acme/" + hostile, labels={hostile: hostile}, url="https://x/" + hostile
    )
    empty.ref(site, "refs/heads/" + hostile)
    event = empty.event(site, ref="refs/heads/" + hostile, state="failed")
    empty.delivery(event, state="dead", last_error=hostile, headers={hostile: hostile})
    empty.poll(site, outcome="failed", error_message=hostile, error_code="x")
    client = client_over(empty)
    name = "acme/%3Cscript%3Ealert('x')%3C/script%3E%22'%26amp;"

    for url in ("/", "/repositories", f"/repositories/{name}", "/events", f"/events/{event}"):
        page = read(client, url)
        assert page.faults == [], url
        assert "script" not in page.tags
        assert hostile in page.text, url
    for url in (
        f"/repositories/{name}?why={name}",
        f"/repositories?q={name}&label={name}",
        f"/events?ref={name}",
        "/nothing/" + name,
        f"/events?state={name}",
    ):
        page = Page(client.get(url).text)
        assert page.faults == [], url
        assert "script" not in page.tags


def test_a_link_cannot_make_the_page_say_its_own_text(client: FlaskClient) -> None:
    assert "phish" not in client.get("/repositories/acme/site?did=phish").text
    assert NOTICES["paused"] in client.get("/repositories/acme/site?did=paused").text


def test_older_events_are_one_link_away_and_keep_the_filter(
    empty: Story, client_over: ClientOver
) -> None:
    site = empty.repository("acme/site")
    for _ in range(5):
        empty.event(site)
    client = client_over(empty)

    first = read(client, "/events?limit=3&kind=branch_updated&ref=")
    older = [link for link in first.links if "cursor=" in link]
    second = read(client, older[0])

    assert "kind=branch_updated" in older[0]
    assert first.tags.count("time") - second.tags.count("time") == 1
    assert not [link for link in second.links if "cursor=" in link]
    assert "/events?limit=3&kind=branch_updated" in second.links


@pytest.mark.parametrize(
    ("outcome", "did"),
    [
        (None, "woken"),
        ("changed", "changed"),
        ("unchanged", "unchanged"),
        ("failed", "poll-failed"),
    ],
)
def test_poll_now_waits_a_moment_and_says_what_was_found(
    client: FlaskClient, services: FakeServices, outcome: str | None, did: str
) -> None:
    if outcome is not None:
        services.outcome = PollRecord(1, NOON, 80, "wake", outcome)

    response = client.post("/repositories/acme/site/poll")

    assert response.status_code == 303
    assert response.location == f"/repositories/acme/site?did={did}"
    assert services.done == [("poll", "acme/site", 3)]


def test_buttons_do_what_they_say_and_lead_back(
    client: FlaskClient, services: FakeServices, fleet: Fleet
) -> None:
    posts = {
        "/repositories/acme/site/pause": "/repositories/acme/site?did=paused",
        "/repositories/acme/site/resume": "/repositories/acme/site?did=resumed",
        f"/deliveries/{fleet.waiting_delivery}/retry": f"/events/{fleet.waiting}?did=retried",
        f"/deliveries/{fleet.waiting_delivery}/cancel": f"/events/{fleet.waiting}?did=cancelled",
        f"/events/{fleet.dead}/redeliver": f"/events/{fleet.dead}?did=redelivered",
        "/receivers/tekton/pause": "/receivers/tekton?did=receiver-paused",
        "/receivers/tekton/resume": "/receivers/tekton?did=receiver-resumed",
        "/receivers/tekton/redeliver": "/receivers/tekton?did=receiver-redelivered",
        "/receivers/tekton/cancel": "/receivers/tekton?did=receiver-cancelled",
        "/receivers/old-ci/cancel": "/receivers?did=receiver-cancelled",
    }

    answers = {url: client.post(url) for url in posts}

    assert {url: answer.location for url, answer in answers.items()} == posts
    assert {answer.status_code for answer in answers.values()} == {303}
    assert services.done == [
        ("pause", "acme/site"),
        ("resume", "acme/site"),
        ("retry", fleet.waiting_delivery),
        ("cancel", fleet.waiting_delivery),
        ("redeliver", fleet.dead, None),
        ("pause", "tekton"),
        ("resume", "tekton"),
        ("redeliver many", DeliveryFilter(state="dead", receiver="tekton"), None),
        ("cancel many", DeliveryFilter(receiver="tekton")),
        ("cancel many", DeliveryFilter(receiver="old-ci")),
    ]


def test_one_receiver_alone_can_have_it_again(
    client: FlaskClient, services: FakeServices, fleet: Fleet
) -> None:
    client.post(f"/events/{fleet.dead}/redeliver", data={"receiver": "audit"})

    assert services.done == [("redeliver", fleet.dead, ["audit"])]


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/events/nothing", 404),
        ("GET", "/repositories/acme/nothing", 404),
        ("POST", "/repositories/acme/nothing/poll", 404),
        ("POST", "/events", 405),
        ("GET", "/events?state=bogus", 422),
        ("GET", "/events?repository=acme/nothing", 422),
        ("GET", "/repositories?bogus=1", 422),
        ("GET", "/events?cursor=bogus", 422),
    ],
)
def test_an_error_is_a_page_in_the_same_style(
    client: FlaskClient, method: str, url: str, status: int
) -> None:
    response = client.open(url, method=method)
    page = Page(response.text)

    assert response.status_code == status
    assert page.faults == []
    assert "Back to the overview" in page.text
    assert response.headers["X-Request-Id"] in page.text


def test_cancelling_what_is_finished_is_a_conflict(client: FlaskClient, fleet: Fleet) -> None:
    response = client.post(f"/deliveries/{fleet.dead_delivery}/cancel")

    assert response.status_code == 409
    assert "redeliver its event instead" in Page(response.text).text


def test_an_unexpected_error_shows_no_details(
    client: FlaskClient, services: FakeServices, caplog: pytest.LogCaptureFixture
) -> None:
    services.failure = RuntimeError("the password is s3cret")

    response = client.post("/repositories/acme/site/pause")

    assert response.status_code == 500
    assert "s3cret" not in response.text
    assert Page(response.text).faults == []
    assert [record.message for record in caplog.records] == ["request failed"]


def test_a_database_that_does_not_answer_is_said_with_when_to_come_back(
    client: FlaskClient, services: FakeServices
) -> None:
    services.failure = StorageUnavailable("the database does not answer")

    response = client.post("/repositories/acme/site/pause")

    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    assert "Try again in a few seconds" in response.text


def test_no_list_of_a_hundred_rows_is_larger_than_60_kb(
    empty: Story, client_over: ClientOver
) -> None:
    for number in range(100):
        site = empty.repository(f"acme-corporation/service-number-{number}", labels={"team": "web"})
        event = empty.event(site, ref=f"refs/heads/feature/PROJ-{number}-a-usual-branch-name")
        empty.delivery(event, confirmation="confirmed")
        empty.ref(1, f"refs/heads/feature/PROJ-{number}-a-usual-branch-name")
    client = client_over(empty)

    sizes = {
        url: len(client.get(url).data)
        for url in (
            "/",
            "/repositories?limit=100",
            "/repositories/acme-corporation/service-number-0",
            "/events?limit=100",
            "/deliveries?limit=100",
            "/receivers",
            "/receivers/tekton",
        )
    }

    assert max(sizes.values()) < 60_000, sizes


def test_a_head_request_is_answered_without_a_body(client: FlaskClient) -> None:
    response = client.head("/events")

    assert (response.status_code, response.data) == (200, b"")


def test_the_style_sheet_is_served_by_us(client: FlaskClient) -> None:
    with client.get("/static/style.css") as response:
        assert response.mimetype == "text/css"
        sheet = response.get_data(as_text=True)
        assert "url(" not in sheet
        assert "@import" not in sheet
