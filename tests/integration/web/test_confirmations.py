"""The door by which a cluster confirms: opened by the key in the address, and by nothing else."""

import json
import logging
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app
from app.domain.errors import StorageUnavailable
from app.settings.types import Server, Settings
from app.telemetry.logs import JsonLines, TextLines
from tests.integration.web.conftest import CONFIRMED, KEY, FakeServices

DOOR = f"/api/v1/confirmations/tekton/{KEY}"
SUCCESSFUL = "dev.tekton.event.triggers.successful.v1"
ECHO = {
    "Content-Type": ["application/json"],
    "X-Hub-Signature-256": ["sha256=beef"],
    "X-Reposentry-Delivery": [CONFIRMED],
}


def binary(
    client: FlaskClient, data: Any = ECHO, *, kind: str | None = SUCCESSFUL, path: str = DOOR
) -> TestResponse:
    headers = {"Ce-Specversion": "1.0", "Ce-Id": "14a657", "Ce-Source": "/el", "Ce-Type": kind}
    return client.post(
        path,
        data=data if isinstance(data, bytes) else json.dumps(data),
        headers={name: value for name, value in headers.items() if value is not None},
        content_type="application/json",
    )


def structured(client: FlaskClient, event: Any) -> TestResponse:
    return client.post(
        DOOR, data=json.dumps(event), content_type="application/cloudevents+json; charset=UTF-8"
    )


def test_a_successful_event_confirms_the_delivery_whose_headers_it_echoes(
    client: FlaskClient, services: FakeServices
) -> None:
    for answer in (
        binary(client),
        structured(client, {"specversion": "1.0", "type": SUCCESSFUL, "data": ECHO}),
        binary(client, {"x-reposentry-delivery": CONFIRMED}),
        binary(client, {"X-Github-Delivery": [CONFIRMED]}),
    ):
        assert (answer.status_code, answer.json) == (202, {"confirmed": True})

    assert services.done == [("confirm", "tekton", CONFIRMED)] * 4


@pytest.mark.parametrize("kind", ["started", "done", "failed"])
def test_other_events_are_taken_and_change_nothing(
    client: FlaskClient, services: FakeServices, kind: str
) -> None:
    for data in (ECHO, None, b""):
        answer = binary(client, data, kind=f"dev.tekton.event.triggers.{kind}.v1")
        assert (answer.status_code, answer.json) == (202, {"confirmed": False})

    assert services.done == []


@pytest.mark.parametrize(
    "data",
    [None, [], "text", 7, {}, {"X-Reposentry-Delivery": ["a", "b"]}, {"Ce-Id": ["no uuid"]}, b""],
)
def test_what_names_no_delivery_of_ours_is_no_error(
    client: FlaskClient, services: FakeServices, data: Any
) -> None:
    answer = binary(client, data)

    assert (answer.status_code, answer.json, services.done) == (202, {"confirmed": False}, [])


@pytest.mark.parametrize(
    "path",
    [
        f"/api/v1/confirmations/tekton/{KEY[:-1]}0",
        f"/api/v1/confirmations/tekton/{KEY.upper()}",
        f"/api/v1/confirmations/tekton/{KEY}%20",
        "/api/v1/confirmations/tekton/caf%C3%A9",
        f"/api/v1/confirmations/audit/{KEY}",
        f"/api/v1/confirmations/nobody/{KEY}",
    ],
)
def test_a_wrong_key_and_an_unknown_receiver_are_told_apart_by_nothing(
    client: FlaskClient, services: FakeServices, path: str
) -> None:
    problem = binary(client, b"not JSON" * 100_000, path=path)

    assert problem.status_code == 404
    assert problem.json is not None
    assert (problem.json["code"], problem.json["detail"]) == (
        "not_found",
        "There is nothing at this address.",
    )
    assert services.done == []


def test_what_is_no_cloud_event_is_refused(client: FlaskClient, services: FakeServices) -> None:
    refused = [
        binary(client, b"{"),
        binary(client, b"[" * 60_000),
        binary(client, b"\xff\xfe"),
        binary(client, kind=None),
        structured(client, []),
        structured(client, {"type": 7}),
        structured(client, {"data": ECHO}),
        structured(client, None),
    ]

    assert [answer.status_code for answer in refused] == [400] * len(refused)
    assert services.done == []


def test_a_large_body_is_not_read(client: FlaskClient, services: FakeServices) -> None:
    answer = binary(client, json.dumps({**ECHO, "X": "x" * 65_536}).encode())

    assert (answer.status_code, services.done) == (413, [])


def test_a_cluster_comes_in_by_any_name_and_from_any_machine(services: FakeServices) -> None:
    client = create_app(Settings(server=Server()), services).test_client()
    elsewhere: dict[str, Any] = {
        "headers": {
            "Host": "reposentry.ci.svc:8080",
            "Origin": "https://other.example.com",
            "Ce-Type": SUCCESSFUL,
        },
        "environ_base": {"REMOTE_ADDR": "10.1.2.3"},
    }

    confirmed = client.post(DOOR, json=ECHO, **elsewhere)
    guessed = client.post(DOOR + "x", json=ECHO, **elsewhere)
    read = client.get(DOOR, **elsewhere)
    other = client.post("/api/v1/deliveries/cancel", json={"filter": {}}, **elsewhere)

    assert (confirmed.status_code, guessed.status_code) == (202, 404)
    assert (read.status_code, other.status_code) == (421, 421)


def test_neither_the_key_nor_the_echoed_headers_are_ever_logged_or_shown(
    client: FlaskClient, services: FakeServices, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [binary(client), binary(client, b"{")]
    services.failure = StorageUnavailable("the database is locked")
    answers.append(binary(client))
    services.failure = RuntimeError("broken")
    answers.append(binary(client))

    lines = [form.format(one) for one in caplog.records for form in (JsonLines(), TextLines())]

    assert [answer.status_code for answer in answers] == [202, 400, 503, 500]
    assert any("request failed" in line for line in lines)
    for text in (*lines, *(answer.text for answer in answers)):
        assert KEY not in text
        assert "sha256=beef" not in text
