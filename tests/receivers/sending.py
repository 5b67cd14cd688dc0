"""Sends a delivery as the program does: spelled, signed, and over a real socket."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from app.delivery.payloads import PAYLOADS
from app.delivery.send import Sender
from app.domain.delivery import Answer, Parcel
from app.domain.secret import Secret
from app.settings.types import Receiver
from app.transport import Reply, Transport
from tests.contract.parcels import CASES, spelled_as
from tests.fakes.receiver import Record, RecordingReceiver

SECRET = "whsec_Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ"  # noqa: S105 - made up, for signatures
FORMER = "whsec_dHIwdWI0ZG9yICYgMyBhbmQgbW9yZSBvZiB0aGF0"
COMMIT = "e5bd3914e2e596debea16f433f57875b5b90bcd6"


class Tampering(Transport):
    """Changes one byte of the body on its way, after it was signed."""

    def send(self, method: str, url: str, **options: Any) -> Reply:
        options["body"] = options["body"].replace(COMMIT.encode(), COMMIT[::-1].encode())
        return super().send(method, url, **options)


def now() -> datetime:
    """Tell the time: these receivers look at it."""
    return datetime.fromtimestamp(time.time(), UTC)


def deliver(
    url: str,
    *,
    payload: str,
    case: str = "branch-updated",
    secret: str | None = SECRET,
    previous: str | None = None,
    transport: type[Transport] = Transport,
) -> Answer:
    """Make one attempt at the delivery of a case, and return what came of it."""
    parcel: Parcel = spelled_as(payload, CASES[case])
    receiver = Receiver(
        name="real",
        url=url,
        payload=payload,
        secret=Secret(secret) if secret else None,
        previous_secret=Secret(previous) if previous else None,
    )
    rendered = PAYLOADS[payload](parcel)
    opened = transport()
    try:
        return Sender(receiver, opened, now).send(
            payload=payload,
            body=rendered.body,
            headers=rendered.headers,
            delivery_id=parcel.delivery_id,
        )
    finally:
        opened.close()


def caught(*, payload: str, **options: Any) -> Record:
    """Return a delivery as it came out of a socket."""
    with RecordingReceiver() as receiver:
        answer = deliver(receiver.url, payload=payload, **options)
        assert answer.status == 202
        (record,) = receiver.records
    return record


def lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers by their names in small letters, as verifiers want them."""
    return {name.lower(): value for name, value in headers.items()}
