"""The fake EventListener answers what a real one was seen to answer."""

import hashlib
import hmac
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from tests.fakes.receiver import Record, RecordingReceiver
from tests.fakes.tekton import EventListener
from tests.fakes.waiting import wait_until

SECRET, OTHER = "s3cret", "another"
PUSH = b'{"ref":"refs/heads/main","head_commit":{"id":"c0ffee"}}'
EVENTS = "dev.tekton.event.triggers"


def signed(body: bytes = PUSH, *, secret: str = SECRET, delivery: str = "d-1") -> dict[str, str]:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": f"sha256={signature}",
        "Content-Type": "application/json",
    }


def ask(
    listener: RecordingReceiver,
    body: bytes = PUSH,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "POST",
    path: str = "/",
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", listener.port, timeout=10)
    try:
        connection.request(method, path, body, dict(headers or signed(body)))
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


@contextmanager
def a_listener(**options: Any) -> Iterator[tuple[EventListener, RecordingReceiver]]:
    """Yield one, and what it tells what became of each request."""
    with RecordingReceiver() as sink, EventListener(SECRET, **options) as listener:
        listener.cloud_event_uri = sink.url
        yield listener, sink


def told(sink: RecordingReceiver) -> set[str]:
    return {str(record.header("Ce-Type")) for record in sink.records}


def events(*what: str) -> set[str]:
    return {f"{EVENTS}.{each}.v1" for each in what}


def test_a_genuine_push_is_202_and_makes_a_run_and_tells_of_it() -> None:
    with a_listener() as (listener, sink):
        status, headers, body = ask(listener)
        sink.wait_for(3)

    said = json.loads(body)
    assert (status, headers["Content-Type"]) == (202, "application/json")
    assert list(said) == ["eventListener", "namespace", "eventListenerUID", "eventID"]
    assert listener.runs == ["rs-d-1"]
    assert told(sink) == events("started", "done", "successful")
    assert {record.header("Ce-Id") for record in sink.records} == {said["eventID"]}


def test_it_tells_the_headers_that_it_got_as_go_writes_them_and_null_when_done() -> None:
    with a_listener() as (listener, sink):
        ask(listener)
        sink.wait_for(3)

    data = {record.header("Ce-Type"): record.json for record in sink.records}
    assert data[f"{EVENTS}.successful.v1"]["X-Github-Delivery"] == ["d-1"]
    assert data[f"{EVENTS}.done.v1"] is None


@pytest.mark.parametrize(
    ("options", "headers", "body"),
    [
        ({}, signed(secret=OTHER), PUSH),
        ({}, {"X-GitHub-Event": "push"}, PUSH),
        ({}, signed() | {"Content-Type": "application/x-www-form-urlencoded"}, PUSH),
        ({"interceptor": "gitlab"}, {"X-Gitlab-Token": "another"}, PUSH),
        ({}, signed(b'{"head_commit":null}'), b'{"head_commit":null}'),
        ({"needs": ("body", "missing")}, signed(), PUSH),
    ],
    ids=["signature", "none", "form", "token", "null", "missing"],
)
def test_what_comes_to_nothing_is_202_all_the_same(
    options: dict[str, Any], headers: dict[str, str], body: bytes
) -> None:
    with a_listener(**options) as (listener, sink):
        status, _, said = ask(listener, body, headers)
        sink.wait_for(2)

    assert status == 202
    assert "eventID" in json.loads(said)
    assert listener.runs == []
    assert told(sink) == events("started", "done")


def test_a_repeat_makes_no_second_run_and_no_second_success() -> None:
    with a_listener() as (listener, sink):
        ask(listener)
        ask(listener)
        ask(listener, headers=signed(delivery="d-2"))
        wait_until(lambda: len(sink.records) == 8)

    assert listener.runs == ["rs-d-1", "rs-d-2"]


def test_an_early_one_tells_before_it_answers() -> None:
    with a_listener(is_early=True) as (listener, sink):
        ask(listener)

        assert len(sink.records) == 3


def test_a_cloud_event_is_answered_by_one() -> None:
    with a_listener() as (listener, _):
        _, headers, body = ask(listener, headers=signed() | {"ce-specversion": "1.0"})

    assert headers["Ce-Id"] == json.loads(body)["eventID"]
    assert headers["Ce-Type"] == f"{EVENTS}.accepted.v1"
    assert headers["Ce-Source"] == listener.name


@pytest.mark.parametrize("body", [b"[]", b"", b"hello", b"<xml/>", b'"text"', b"17"])
def test_what_is_no_json_object_is_400(body: bytes) -> None:
    with a_listener() as (listener, _):
        status, _, said = ask(listener, body)

    assert status == 400
    assert json.loads(said)["errorMessage"].startswith("Invalid event body format : ")


def test_a_get_is_400_but_for_live() -> None:
    with a_listener() as (listener, _):
        assert ask(listener, b"", {}, method="GET")[0] == 400
        assert ask(listener, b"", {}, method="GET", path="/live")[::2] == (200, b"ok")


def test_a_double_slash_is_redirected() -> None:
    with a_listener() as (listener, _):
        status, headers, _ = ask(listener, path="//hooks")

    assert (status, headers["Location"]) == (307, "/hooks")
    assert listener.runs == []


def test_a_deleted_one_is_500_without_a_word() -> None:
    with a_listener() as (listener, _):
        listener.is_deleted = True

        assert ask(listener)[::2] == (500, b"")


def test_a_body_that_stalls_is_503_without_a_word_and_not_processed() -> None:
    with (
        a_listener(read_timeout_s=0.05) as (listener, _),
        socket.create_connection(("127.0.0.1", listener.port), timeout=10) as sock,
    ):
        sock.sendall(b"POST / HTTP/1.1\r\nHost: el\r\nContent-Length: 100\r\n\r\n{")
        answer = http.client.HTTPResponse(sock)
        answer.begin()

        assert (answer.status, answer.read()) == (503, b"")
        assert listener.records == []
        answer.close()


def test_a_handler_that_takes_too_long_is_503_but_may_have_made_the_run() -> None:
    with a_listener(takes_s=1, handler_timeout_s=0.02) as (listener, _):
        assert ask(listener)[::2] == (503, b"EventListener Timeout!")
        assert listener.runs == ["rs-d-1"]


def test_the_record_of_a_request_is_kept() -> None:
    with a_listener() as (listener, _):
        ask(listener)

        record: Record = listener.records[0]
        assert (record.valid, record.status) == (True, 202)
