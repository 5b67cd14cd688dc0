"""The door for forges' own webhooks: who may knock, what may be carried, what is answered."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings, strategies as st

from app.services.hook_intake import Outcome, Reception
from app.web.api.hooks import LARGEST_HOOK
from tests.integration.web.conftest import FakeServices

DOOR = "/api/v1/hooks/github"


def knock(client: FlaskClient, body: bytes = b"{}", **more: Any) -> Any:
    usual = {"content_type": "application/json", "headers": {"X-GitHub-Event": "push"}}
    return client.post(DOOR, data=body, **{**usual, **more})


def test_what_wakes_is_answered_with_what_it_woke(
    client: FlaskClient, services: FakeServices
) -> None:
    answer = knock(client, b'{"ref": 1}')

    assert answer.status_code == 202
    assert answer.get_json() == {
        "outcome": "woken",
        "note": "polled at once",
        "repositories": ["acme/website"],
    }
    assert services.done == [("hook", "github", "push", 10)]


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.PING, 200),
        (Outcome.IGNORED, 202),
        (Outcome.FORGED, 401),
        (Outcome.UNREADABLE, 400),
    ],
)
def test_each_outcome_has_its_status(
    client: FlaskClient, services: FakeServices, outcome: Outcome, status: int
) -> None:
    services.reception = Reception(outcome, "for a reason")

    answer = knock(client)

    assert answer.status_code == status
    assert "for a reason" in answer.get_data(as_text=True)


def test_a_forge_without_a_secret_has_no_door(client: FlaskClient, services: FakeServices) -> None:
    assert client.post("/api/v1/hooks/work", json={}).status_code == 404
    assert client.get(DOOR).status_code == 405
    assert services.done == []


def test_it_opens_to_another_host_and_origin(client: FlaskClient) -> None:
    from_outside = {"Host": "sentry.example.com", "Origin": "https://github.com"}

    answer = knock(client, headers=from_outside, environ_base={"REMOTE_ADDR": "192.0.2.7"})

    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json; charset=utf-8", 202),
        ("application/x-www-form-urlencoded", 202),
        ("text/plain", 415),
        ("", 415),
    ],
)
def test_json_or_a_form_is_carried(client: FlaskClient, kind: str, status: int) -> None:
    assert knock(client, content_type=kind).status_code == status


def test_what_is_too_large_is_refused_unread(client: FlaskClient, services: FakeServices) -> None:
    said = knock(client, environ_overrides={"CONTENT_LENGTH": str(LARGEST_HOOK + 1)})
    elsewhere = client.post(
        "/api/v1/deliveries/retry", data=b"x" * (2 * 1024 * 1024), content_type="application/json"
    )

    assert said.status_code == 413
    assert elsewhere.status_code in {404, 405, 413}
    assert services.done == []


def test_a_large_one_is_taken(client: FlaskClient, services: FakeServices) -> None:
    body = b" " * (3 * 1024 * 1024)

    assert knock(client, body).status_code == 202
    assert services.done == [("hook", "github", "push", len(body))]


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    body=st.binary(max_size=300),
    name=st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=20),
    kind=st.sampled_from(["application/json", "application/x-www-form-urlencoded", "x", "a/b;;"]),
)
def test_no_body_and_no_header_breaks_it(
    client: FlaskClient, body: bytes, name: str, kind: str
) -> None:
    answer = knock(client, body, content_type=kind, headers={"X-GitHub-Event": name})

    assert answer.status_code < 500
