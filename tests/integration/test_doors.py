"""What people and clusters ask of the real program, through its real doors."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.domain.confirmation import confirmation_path
from app.domain.delivery import RetryPolicy
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.runtime import Runtime
from app.settings.types import Polling, Receiver, Settings, Storage
from tests.fakes.git_repository import GitRepository
from tests.fakes.receiver import RecordingReceiver
from tests.fakes.waiting import wait_until

SECRET, OLD = Secret("s3cret-s3cret"), Secret("the one before")
SUCCESSFUL = "dev.tekton.event.triggers.successful.v1"
TEKTON = Receiver(
    "tekton", "http://127.0.0.1:1/", confirm="tekton", secret=SECRET, previous_secret=OLD
)
PLAIN = Receiver("plain", "http://127.0.0.1:1/", secret=SECRET)


@pytest.fixture
def runtime(tmp_path: Path, repository: GitRepository) -> Iterator[Runtime]:
    settings = Settings(
        storage=Storage(url=Secret(f"sqlite:///{(tmp_path / 'r.db').as_posix()}")),
        polling=Polling(storm_limit=3),
        receivers={"tekton": TEKTON, "plain": PLAIN},
        repositories=(
            Repository(
                name="acme/website",
                url=repository.path.as_posix(),
                forge="git",
                receivers=("tekton", "plain"),
            ),
        ),
    )
    made = Runtime(settings)
    made.poll_once("acme/website")
    yield made
    made.stop()


@pytest.fixture
def client(runtime: Runtime) -> FlaskClient:
    return create_app(runtime.settings, runtime).test_client()


def push(runtime: Runtime, repository: GitRepository, *branches: str) -> None:
    for branch in branches:
        repository.commit(branch)
    runtime.poll_once("acme/website")


def items(client: FlaskClient, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(client.get(f"/api/v1/{path}").data)["items"]
    return found


def confirm(client: FlaskClient, path: str, delivery_id: str) -> tuple[int, Any]:
    answer = client.post(
        path,
        json={"X-Reposentry-Delivery": [delivery_id]},
        headers={"Ce-Type": SUCCESSFUL, "Host": "reposentry.ci.svc:8080"},
    )
    return answer.status_code, answer.json


def test_a_confirmation_is_noted_for_its_own_receiver_and_under_both_secrets(
    runtime: Runtime, repository: GitRepository, client: FlaskClient
) -> None:
    push(runtime, repository, "a")
    ids = {one["receiver"]: one["id"] for one in items(client, "deliveries")}

    early = confirm(client, confirmation_path(OLD, "tekton"), ids["tekton"])
    again = confirm(client, confirmation_path(SECRET, "tekton"), ids["tekton"])
    foreign = confirm(client, confirmation_path(SECRET, "tekton"), ids["plain"])
    closed = confirm(client, confirmation_path(SECRET, "plain"), ids["plain"])
    wrong = confirm(client, confirmation_path(Secret("guess"), "tekton"), ids["tekton"])

    assert early == again == (202, {"confirmed": True})
    assert foreign == (202, {"confirmed": False})
    assert (closed[0], wrong[0]) == (404, 404)
    assert {one["receiver"]: one["confirmation"] for one in items(client, "deliveries")} == {
        "tekton": "confirmed",
        "plain": None,
    }


def test_what_a_waiting_delivery_held_back_goes_on_once_it_is_confirmed(
    runtime: Runtime, repository: GitRepository
) -> None:
    patience = RetryPolicy(first=timedelta(minutes=5), longest=timedelta(minutes=5))
    with RecordingReceiver(answer=503) as listener:
        tekton = replace(TEKTON, url=listener.url, retry=patience)
        active = Runtime(replace(runtime.settings, receivers={"tekton": tekton}))
        push(active, repository, "a", "b")
        try:
            active.start()
            (refused,) = listener.wait_for(1)
            assert refused.delivery is not None
            listener.answer = 202
            client = create_app(active.settings, active).test_client()
            wait_until(lambda: items(client, "deliveries?state=waiting") != [])

            confirm(client, confirmation_path(SECRET, "tekton"), refused.delivery)

            listener.wait_for(2)
        finally:
            active.stop()


def test_a_storm_is_held_shown_and_released(
    runtime: Runtime, repository: GitRepository, client: FlaskClient
) -> None:
    push(runtime, repository, "a", "b", "c", "d")
    (storm,) = items(client, "storms?state=held")
    status = json.loads(client.get("/api/v1/status").data)
    held = {one["state"] for one in items(client, "deliveries")}

    released = client.post(f"/api/v1/storms/{storm['id']}/release")
    again = client.post(f"/storms/{storm['id']}/dismiss")

    assert "storm_held" in {need["code"] for need in status["needs"]}
    assert (held, {one["state"] for one in items(client, "deliveries")}) == ({"held"}, {"pending"})
    assert (json.loads(released.data)["state"], again.status_code) == ("released", 409)
    after = json.loads(client.get("/api/v1/status").data)["needs"]
    assert "storm_held" not in {need["code"] for need in after}
    assert len(items(client, f"events?hold={storm['id']}")) == 4


def test_many_are_cancelled_and_sent_to_others_by_the_api(
    runtime: Runtime, repository: GitRepository, client: FlaskClient
) -> None:
    push(runtime, repository, "a", "b")

    ended = client.post("/api/v1/deliveries/cancel", json={"filter": {"receiver": "plain"}})
    again = client.post(
        "/api/v1/deliveries/redeliver",
        json={"filter": {"receiver": "plain", "state": "cancelled"}, "receivers": ["tekton"]},
    )
    nobody = client.post(
        "/api/v1/deliveries/redeliver",
        json={"filter": {"receiver": "plain"}, "receivers": ["nobody"]},
    )

    assert (ended.json, again.status_code) == ({"cancelled": 2}, 202)
    assert nobody.status_code == 422
    assert len(items(client, "deliveries?receiver=tekton&state=pending")) == (
        2 + json.loads(again.data)["redelivered"]
    )


def test_a_receiver_that_is_down_is_told_with_its_circuit_here_and_by_a_standby(
    tmp_path: Path, repository: GitRepository
) -> None:
    down = Receiver("down", "http://127.0.0.1:1/", retry=RetryPolicy(first=timedelta(seconds=0.01)))
    settings = Settings(
        storage=Storage(url=Secret(f"sqlite:///{(tmp_path / 'down.db').as_posix()}")),
        polling=Polling(baseline="trigger"),
        receivers={"down": down},
        repositories=(
            Repository(
                name="acme/website",
                url=repository.path.as_posix(),
                forge="git",
                receivers=("down",),
            ),
        ),
    )
    active, standby = Runtime(settings), Runtime(settings)
    try:
        active.start()
        wait_until(lambda: active.status.receiver("down").state == "open", deadline_s=15)
        wait_until(lambda: standby.status.receiver("down").circuit is not None, deadline_s=15)
        here = create_app(settings, active).test_client()
        told = json.loads(here.get("/api/v1/receivers/down").data)["circuit"]
        stored = standby.status.receiver("down").circuit
    finally:
        standby.stop()
        active.stop()

    assert told["failures"] >= 5
    assert told["reason"].startswith("connection refused")
    assert stored is not None
    assert (stored.reason, stored.failures) == (told["reason"], None)
