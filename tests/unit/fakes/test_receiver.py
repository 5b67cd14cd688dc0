"""The fake receiver does what tests rely on: a fake that lies would prove nothing."""

import hashlib
import hmac
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.fakes.receiver import RecordingReceiver

BODY = b'{"ref":"refs/heads/main"}'
DEADLINE_S = 10.0
ROOT = Path(__file__).parents[3]


def post(port: int, body: bytes = BODY, timeout_s: float = DEADLINE_S, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", "/hook", body, named)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def signature(secret: str, body: bytes = BODY) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def test_it_remembers_what_arrived_and_answers_as_told() -> None:
    with RecordingReceiver() as receiver:
        receiver.answer = 503
        statuses = [post(receiver.port, X_RepoSentry_Delivery="d-1")]
        receiver.answer = 202
        statuses.append(post(receiver.port, X_RepoSentry_Delivery="d-1"))

        assert statuses == [503, 202]
        assert [r.delivery for r in receiver.records] == ["d-1", "d-1"]
        assert [r.status for r in receiver.taken] == [202]
        assert receiver.records[0].path == "/hook"
        assert receiver.records[0].json == {"ref": "refs/heads/main"}


def test_it_tells_a_right_signature_from_a_wrong_one() -> None:
    with RecordingReceiver("s3cret") as receiver:
        post(receiver.port, X_Hub_Signature_256=signature("s3cret"))
        post(receiver.port, X_Hub_Signature_256=signature("other"))
        post(receiver.port)

        assert [r.valid for r in receiver.records] == [True, False, False]


def test_a_function_of_the_request_may_choose_the_answer() -> None:
    with RecordingReceiver(answer=lambda r: (429, {"Retry-After": "2"}, b"later")) as receiver:
        connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=DEADLINE_S)
        connection.request("POST", "/", BODY)
        answer = connection.getresponse()

        assert (answer.status, answer.headers["Retry-After"], answer.read()) == (429, "2", b"later")
        connection.close()


def test_an_answer_that_stalls_has_a_head_and_no_body() -> None:
    with RecordingReceiver(answer="stall") as receiver:
        connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=DEADLINE_S)
        connection.request("POST", "/", BODY)
        answer = connection.getresponse()

        assert answer.status == 200
        assert connection.sock is not None
        connection.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            answer.read()
        connection.close()


def test_the_very_bytes_may_be_told() -> None:
    with RecordingReceiver(answer=lambda _: b"HTTP/1.1 299 Odd\r\n\r\n") as receiver:
        assert post(receiver.port) == 299

        assert [r.status for r in receiver.records] == [None]


def test_a_path_is_told_as_it_was_asked_for() -> None:
    with RecordingReceiver() as receiver:
        connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=DEADLINE_S)
        connection.request("POST", "//hook?x=1", BODY)
        connection.getresponse().read()

        assert [r.path for r in receiver.records] == ["//hook?x=1"]
        connection.close()


@pytest.mark.parametrize("fault", ["reset", "lost"])
def test_a_connection_that_breaks_is_recorded_but_not_answered(fault: str) -> None:
    with RecordingReceiver(answer=fault) as receiver:
        broken = ConnectionResetError if fault == "reset" else http.client.RemoteDisconnected
        with pytest.raises(broken):
            post(receiver.port)

        assert [r.status for r in receiver.records] == [None]


def test_a_request_that_hangs_goes_on_when_the_answer_is_set_anew() -> None:
    statuses: list[int] = []
    with RecordingReceiver(answer="hang") as receiver:
        client = threading.Thread(target=lambda: statuses.append(post(receiver.port)))
        client.start()
        receiver.wait_for(1)

        receiver.answer = 200
        client.join(DEADLINE_S)

    assert statuses == [200]


def test_closing_it_frees_those_that_hang() -> None:
    with RecordingReceiver(answer="hang") as receiver, pytest.raises(TimeoutError):
        post(receiver.port, timeout_s=0.05)

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", receiver.port), DEADLINE_S)


def test_a_trickle_gives_one_byte_at_a_time() -> None:
    with RecordingReceiver(answer="trickle") as receiver:
        receiver.trickle_s = DEADLINE_S
        with socket.create_connection(("127.0.0.1", receiver.port), DEADLINE_S) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")

            assert client.recv(4096) == b"H"


def test_it_comes_back_at_the_same_address() -> None:
    with RecordingReceiver() as first:
        port = first.port
        post(port)

    with RecordingReceiver(port=port) as second:
        assert post(port) == 202
        assert len(second.records) == 1


def test_waiting_for_what_does_not_come_fails_in_words() -> None:
    with RecordingReceiver() as receiver, pytest.raises(AssertionError, match="0 of 1 came"):
        receiver.wait_for(1, deadline_s=0.01)


def test_a_fault_that_does_not_exist_is_refused() -> None:
    with RecordingReceiver() as receiver, pytest.raises(ValueError, match="no such fault: hnag"):
        receiver.answer = "hnag"


def test_as_a_process_it_writes_down_each_request_and_reads_its_fault_from_a_file(
    tmp_path: Path,
) -> None:
    log, secret, fault = tmp_path / "log", tmp_path / "secret", tmp_path / "fault"
    secret.write_text("s3cret\n")
    fault.write_text("429 Retry-After=2")
    options = ["--log", str(log), "--secret-file", str(secret), "--fault-file", str(fault)]
    command = [sys.executable, "-m", "tests.fakes.receiver", *options]

    with subprocess.Popen(  # noqa: S603 - our own module
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().strip(" /\n").rpartition(":")[2])
            first = post(port, X_Hub_Signature_256=signature("s3cret"))
            fault.write_text("")
            second = post(port)
        finally:
            process.kill()

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert (first, second) == (429, 202)
    assert [(line["valid"], line["status"]) for line in lines] == [(True, 429), (False, 202)]
    assert lines[0]["body"] == {"ref": "refs/heads/main"}
    assert lines[0]["ts"] == pytest.approx(time.time(), abs=60)
