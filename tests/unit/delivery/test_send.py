"""One attempt sends the stored bytes, freshly signed, and tells whatever comes of it."""

import hmac
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from app.delivery.send import ANSWER_LENGTH, Sender, Senders
from app.domain.delivery import Answer
from app.domain.errors import NotFound
from app.domain.secret import Secret
from app.settings.types import Receiver
from app.transport import Transport
from tests.fakes.receiver import Record, RecordingReceiver, Reply

BODY = b'{"ref":"refs/heads/main"}'
RENDERED = {"Content-Type": "application/json", "X-RepoSentry-Delivery": "d-1"}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "s3cret"  # noqa: S105 - of this test


@pytest.fixture
def receiver() -> Iterator[RecordingReceiver]:
    with RecordingReceiver(SECRET) as receiver:
        yield receiver


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = Transport(connections=1)
    yield transport
    transport.close()


def attempt(
    transport: Transport,
    url: str,
    *,
    timeout: timedelta = timedelta(seconds=10),
    headers: dict[str, str] | None = None,
) -> Answer:
    configured = Receiver(
        "tekton", url, secret=Secret(SECRET), timeout=timeout, headers=headers or {}
    )
    sender = Sender(configured, transport, now=lambda: NOON)
    return sender.send(payload=configured.payload, body=BODY, headers=RENDERED, delivery_id="d-1")


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_the_very_bytes_arrive_with_their_headers_and_a_valid_signature(
    receiver: RecordingReceiver, transport: Transport
) -> None:
    receiver.answer = lambda _: (202, {}, b'{"eventID":"e-1"}')

    answer = attempt(transport, receiver.url)

    (record,) = receiver.records
    assert answer == Answer(status=202, body='{"eventID":"e-1"}')
    assert (record.method, record.body, record.valid) == ("POST", BODY, True)
    assert record.header("Content-Type") == "application/json"
    assert record.delivery == "d-1"


def test_configured_headers_travel_too_and_cannot_spoil_the_signature(
    receiver: RecordingReceiver, transport: Transport
) -> None:
    configured = {"X-Team": "platform", "content-type": "text/x", "x-hub-signature-256": "none"}

    attempt(transport, receiver.url, headers=configured)

    (record,) = receiver.records
    assert record.header("X-Team") == "platform"
    assert record.header("Content-Type") == "text/x"
    assert record.valid


def test_a_standard_webhook_is_signed_at_the_time_of_its_attempt(
    receiver: RecordingReceiver, transport: Transport
) -> None:
    moments = iter([NOON, NOON, NOON + timedelta(minutes=5), NOON + timedelta(minutes=5)])
    configured = Receiver("flux", receiver.url, payload="standard", secret=Secret(SECRET))
    sender = Sender(configured, transport, now=lambda: next(moments))

    for _ in range(2):
        sender.send(payload=configured.payload, body=BODY, headers=RENDERED, delivery_id="d-1")

    first, second = receiver.records
    assert first.header("webhook-id") == second.header("webhook-id") == "d-1"
    stamps = [int(r.header("webhook-timestamp") or 0) for r in (first, second)]
    assert stamps == [NOON.timestamp(), NOON.timestamp() + 300]
    assert first.header("webhook-signature") != second.header("webhook-signature")
    assert first.valid
    assert second.valid


def test_only_the_beginning_of_an_answer_is_kept(
    receiver: RecordingReceiver, transport: Transport
) -> None:
    receiver.answer = lambda _: (500, {}, b"x" * 100_000)

    answer = attempt(transport, receiver.url)

    assert answer == Answer(status=500, body="x" * ANSWER_LENGTH)


def test_what_an_answer_echoes_of_our_secrets_is_masked(
    receiver: RecordingReceiver, transport: Transport
) -> None:
    def echo(request: Record) -> Reply:
        return 500, {}, f"{dict(request.headers)} knows {SECRET}".encode()

    receiver.answer = echo

    answer = attempt(transport, receiver.url, headers={"X-Key": "open-sesame"})

    assert "X-Key" in answer.body
    assert (SECRET in answer.body, "open-sesame" in answer.body) == (False, False)


def test_a_secret_that_an_answer_is_cut_in_is_masked_all_the_same(
    receiver: RecordingReceiver, transport: Transport
) -> None:
    receiver.answer = lambda _: (500, {}, b"x" * (ANSWER_LENGTH - 5) + SECRET.encode())

    answer = attempt(transport, receiver.url)

    assert SECRET[:5] not in answer.body
    assert len(answer.body) == ANSWER_LENGTH


def test_a_redirect_is_told_without_the_password_in_it(
    receiver: RecordingReceiver, transport: Transport
) -> None:
    receiver.answer = lambda _: (302, {"Location": "https://bob:hush@ci.example.com/x"}, b"")

    answer = attempt(transport, receiver.url)

    assert "ci.example.com/x" in (answer.error or "")
    assert "hush" not in (answer.error or "")


def test_of_an_endless_address_only_the_beginning_is_told(
    receiver: RecordingReceiver, transport: Transport
) -> None:
    receiver.answer = lambda _: (302, {"Location": "https://ci.example.com/" + "x" * 5000}, b"")

    answer = attempt(transport, receiver.url)

    assert len(answer.error or "") < 700


def test_an_answer_that_is_no_text_is_kept_as_well_as_can_be(
    receiver: RecordingReceiver, transport: Transport
) -> None:
    receiver.answer = lambda _: (200, {}, b"ok \xff")

    assert attempt(transport, receiver.url).body == "ok �"


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("2", timedelta(seconds=2)),
        ("Sun, 01 Mar 2026 12:00:30 GMT", timedelta(seconds=30)),
        ("Sunday, 01-Mar-26 12:00:30 GMT", timedelta(seconds=30)),
        ("Sun, 01 Mar 2026 11:00:00 GMT", timedelta(0)),
        ("9" * 400, timedelta(seconds=999_999_999)),
        ("-5", None),
        ("²", None),
        ("soon", None),
        ("Sun, 99 Mar 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(
    receiver: RecordingReceiver, transport: Transport, header: str, wait: timedelta | None
) -> None:
    receiver.answer = lambda _: (429, {"Retry-After": header}, b"")

    assert attempt(transport, receiver.url) == Answer(status=429, retry_after=wait)


def test_a_redirect_is_told_and_not_followed(
    receiver: RecordingReceiver, transport: Transport
) -> None:
    def redirect(_: object) -> Reply:
        return 307, {"Location": f"{receiver.url}elsewhere?key=1"}, b""

    receiver.answer = redirect

    answer = attempt(transport, receiver.url)

    assert answer.status == 307
    assert answer.error is not None
    assert f"it redirects to {receiver.url}elsewhere, and" in answer.error
    assert len(receiver.records) == 1


@pytest.mark.parametrize("fault", ["reset", "lost"])
def test_a_broken_connection_is_an_answer_without_a_status(
    receiver: RecordingReceiver, transport: Transport, fault: str
) -> None:
    receiver.answer = fault

    answer = attempt(transport, receiver.url)

    assert answer.status is None
    assert answer.error


@pytest.mark.parametrize("fault", ["reset", "lost"])
def test_one_attempt_is_one_request_also_over_a_kept_connection(
    receiver: RecordingReceiver, transport: Transport, fault: str
) -> None:
    attempt(transport, receiver.url)
    receiver.answer = fault

    answer = attempt(transport, receiver.url)

    assert answer.status is None
    assert [record.status for record in receiver.records] == [202, None]


def test_a_connection_that_was_closed_while_idle_costs_no_attempt(transport: Transport) -> None:
    with RecordingReceiver() as first:
        attempt(transport, first.url)

    with RecordingReceiver(port=first.port) as second:
        assert attempt(transport, second.url).status == 202


def test_a_receiver_that_is_not_there_is_an_answer_without_a_status(transport: Transport) -> None:
    answer = attempt(transport, f"http://127.0.0.1:{closed_port()}/")

    assert answer.status is None
    assert answer.error


@pytest.mark.parametrize("fault", ["hang", "trickle"])
def test_a_receiver_that_dawdles_is_left_in_time(
    receiver: RecordingReceiver, transport: Transport, fault: str
) -> None:
    receiver.answer = fault

    answer = attempt(transport, receiver.url, timeout=timedelta(milliseconds=250))

    assert answer.status is None
    assert answer.error


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/", "http://[broken", "gopher://x/"])
def test_an_address_that_cannot_be_used_is_an_answer_without_a_status(
    transport: Transport, url: str
) -> None:
    answer = attempt(transport, url)

    assert answer.status is None
    assert answer.error


def test_a_header_that_cannot_be_sent_is_told_without_its_value(
    receiver: RecordingReceiver, transport: Transport
) -> None:
    answer = attempt(transport, receiver.url, headers={"X-Key": "h\r\nush"})

    assert answer.status is None
    assert "ush" not in (answer.error or "ush")
    assert receiver.records == []


def test_receivers_with_the_same_tls_identity_share_their_connections() -> None:
    receivers = {
        "one": Receiver("one", "http://127.0.0.1:1/"),
        "two": Receiver("two", "http://127.0.0.1:2/"),
    }
    senders = Senders(receivers, now=lambda: NOON)

    assert senders.for_receiver("one") is senders.for_receiver("one")
    assert senders.for_receiver("one") is not senders.for_receiver("two")
    with pytest.raises(NotFound, match="there is no receiver «three»"):
        senders.for_receiver("three")
    senders.close()


def test_many_deliveries_reach_their_own_receivers(receiver: RecordingReceiver) -> None:
    with RecordingReceiver() as other:
        senders = Senders(
            {"a": Receiver("a", receiver.url), "b": Receiver("b", other.url)}, now=lambda: NOON
        )
        answers = [
            senders.for_receiver(name).send(
                payload="github", body=BODY, headers=RENDERED, delivery_id="d"
            )
            for name in ("a", "b", "a")
        ]
        senders.close()

        assert [answer.status for answer in answers] == [202, 202, 202]
        assert (len(receiver.records), len(other.records)) == (2, 1)


def test_no_signature_is_sent_where_there_is_no_secret(
    receiver: RecordingReceiver, transport: Transport
) -> None:
    sender = Sender(Receiver("open", receiver.url), transport, now=lambda: NOON)

    sender.send(payload="github", body=BODY, headers=RENDERED, delivery_id="d-1")

    (record,) = receiver.records
    assert not any("signature" in name.lower() for name in record.headers)


def test_the_signature_is_that_of_the_configured_secret(
    receiver: RecordingReceiver, transport: Transport
) -> None:
    attempt(transport, receiver.url)

    expected = "sha256=" + hmac.digest(SECRET.encode(), BODY, "sha256").hex()
    assert receiver.records[0].header("X-Hub-Signature-256") == expected


def test_what_was_spelled_in_a_former_format_is_signed_as_that_one(
    receiver: RecordingReceiver, transport: Transport
) -> None:
    configured = Receiver("flux", receiver.url, payload="standard", secret=Secret(SECRET))
    sender = Sender(configured, transport, now=lambda: NOON)

    sender.send(payload="github", body=BODY, headers=RENDERED, delivery_id="d-1")

    (record,) = receiver.records
    assert record.header("X-Hub-Signature-256")
    assert record.header("webhook-signature") is None
