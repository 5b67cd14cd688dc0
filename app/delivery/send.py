"""One attempt: a delivery's bytes, signed now, go to its receiver, and an answer comes back."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TypeAlias

from app.delivery.signing import sign
from app.domain.delivery import Answer
from app.domain.errors import NotFound
from app.domain.secret import MASK
from app.settings.types import Receiver
from app.telemetry.logs import redact
from app.transport import NoAnswer, Reply, Transport

# What is kept of an answer, and what is read of it: a secret that is cut could not be masked.
ANSWER_LENGTH = 1024
ANSWER_BYTES = 2 * ANSWER_LENGTH

_PLAIN_HEADERS = frozenset({"accept", "content-type", "user-agent"})
# Less would mask ordinary words.
_SHORTEST_CREDENTIAL = 8

LONGEST_TARGET = 500  # characters of an address that is redirected to; a choice

# What makes two receivers share connections: the same TLS identity and the same trust.
_Identity: TypeAlias = tuple[Path | None, Path | None, Path | None]


class Sender:
    """Sends to one receiver; safe for many threads."""

    def __init__(
        self, receiver: Receiver, transport: Transport, now: Callable[[], datetime]
    ) -> None:
        self._receiver = receiver
        self._transport = transport
        self._now = now
        self._unspoken = _unspoken(receiver)

    def send(
        self, *, payload: str, body: bytes, headers: Mapping[str, str], delivery_id: str
    ) -> Answer:
        """Make one attempt and tell what came of it; never raise, retry or follow a redirect.

        Args:
            payload: The format it was rendered in, which tells how it is signed; the receiver may
                be configured for another by now.
            body: The payload, as rendered once and stored.
            headers: What was rendered with it; the receiver's own and the signature are added.
            delivery_id: The same at every attempt.
        """
        receiver = self._receiver
        try:
            reply = self._transport.send(
                "POST",
                receiver.url,
                headers=self._headers(payload, body, headers, delivery_id),
                body=body,
                timeout_s=receiver.timeout.total_seconds(),
                limit_bytes=ANSWER_BYTES,
                cut=True,
                repeatable=False,
            )
        except NoAnswer as error:
            return Answer(status=None, error=str(error))
        # A mistake of ours on one delivery must not end the thread that sends them all; the text
        # of an unknown error might hold a header, so that only its name is told.
        except Exception as error:  # noqa: BLE001 - as above
            return Answer(
                status=None, error=f"the request could not be made: {type(error).__name__}"
            )
        return Answer(
            status=reply.status,
            error=self._masked(_redirection(reply) or "") or None,
            body=self._masked(reply.body.decode(errors="replace"))[:ANSWER_LENGTH],
            retry_after=retry_after(reply.headers.get("Retry-After"), now=self._now()),
        )

    def _masked(self, told: str) -> str:
        """Mask what is secret: a receiver may echo what it was sent, GitLab's token among it."""
        for secret in self._unspoken:
            told = told.replace(secret, MASK)
        return redact(told)

    def _headers(
        self, payload: str, body: bytes, rendered: Mapping[str, str], delivery_id: str
    ) -> dict[str, str]:
        """Join what was rendered, what the receiver wants, and the signature.

        The last wins, whatever the capitals, so that no setting can spoil a signature.
        """
        receiver = self._receiver
        signature = sign(
            payload,
            body=body,
            delivery_id=delivery_id,
            timestamp_s=int(self._now().timestamp()),
            secret=receiver.secret,
            previous=receiver.previous_secret,
        )
        joined: dict[str, tuple[str, str]] = {}
        for part in (rendered, receiver.headers, signature):
            joined |= {name.lower(): (name, value) for name, value in part.items()}
        return dict(joined.values())


class Senders:
    """The senders of all receivers; those with the same TLS identity share their connections.

    Args:
        receivers: By name.
        now: The clock.
    """

    def __init__(self, receivers: Mapping[str, Receiver], now: Callable[[], datetime]) -> None:
        wanted: dict[_Identity, int] = {}
        for receiver in receivers.values():
            identity = _identity(receiver)
            # Connections are counted for each host, and several receivers may be on one.
            wanted[identity] = wanted.get(identity, 0) + receiver.concurrency
        self._transports = {
            identity: _transport(identity, connections) for identity, connections in wanted.items()
        }
        self._senders = {
            name: Sender(receiver, self._transports[_identity(receiver)], now)
            for name, receiver in receivers.items()
        }

    def for_receiver(self, name: str) -> Sender:
        """Return the sender of one receiver.

        Raises:
            NotFound: No receiver has this name.
        """
        try:
            return self._senders[name]
        except KeyError:
            raise NotFound(f"there is no receiver «{name}»") from None

    def close(self) -> None:
        """Close the connections that are kept open."""
        for transport in self._transports.values():
            transport.close()


def retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """Read a ``Retry-After`` header (RFC 9110, 10.2.3): seconds, or a date; None if it is neither.

    >>> noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    >>> retry_after("120", now=noon)
    datetime.timedelta(seconds=120)
    >>> retry_after("Sun, 01 Mar 2026 12:01:00 GMT", now=noon)
    datetime.timedelta(seconds=60)
    >>> retry_after("soon", now=noon), retry_after("Sun, 01 Mar 2026 11:00:00 GMT", now=noon)
    (None, datetime.timedelta(0))
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        # More digits than these would be too long for a timedelta, and for anyone's patience.
        return timedelta(seconds=int(text[:9]))
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(aware - now, timedelta(0))


def _unspoken(receiver: Receiver) -> list[str]:
    """List what no answer may show, the longest first: any header of its own may be a credential.

    >>> headers = {"Authorization": "Bearer open-sesame", "Accept": "application/json"}
    >>> _unspoken(Receiver("ci", "https://ci.example.com/", headers=headers))
    ['Bearer open-sesame', 'open-sesame']
    """
    secrets = [each.reveal() for each in (receiver.secret, receiver.previous_secret) if each]
    for name, value in receiver.headers.items():
        if name.lower() not in _PLAIN_HEADERS and len(value) >= _SHORTEST_CREDENTIAL:
            secrets += [value, *value.split()[-1:]]
    written = {json.dumps(secret)[1:-1] for secret in secrets}
    return sorted({*secrets, *written} - {""}, key=len, reverse=True)


def _redirection(reply: Reply) -> str | None:
    """Say why a redirect is no success: following it could turn a POST into a GET, or leave TLS."""
    if reply.status // 100 != 3:  # noqa: PLR2004 - HTTP's own class
        return None
    # A query may hold a key, and all of it be endless.
    target = (reply.headers.get("Location") or "").partition("?")[0][:LONGEST_TARGET] or "nowhere"
    return f"it redirects to {target}, and redirects are not followed: set that address as its url"


def _identity(receiver: Receiver) -> _Identity:
    return (receiver.ca_file, receiver.client_cert_file, receiver.client_key_file)


def _transport(identity: _Identity, connections: int) -> Transport:
    ca_file, certificate, key = identity
    # A file may hold the certificate and its key together.
    client_cert = (certificate, key or certificate) if certificate else None
    return Transport(ca_file=ca_file, client_cert=client_cert, connections=connections)
