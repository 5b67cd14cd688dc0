"""One call to a forge over HTTP: its deadline, its count of requests, its failures in our words."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from app.domain.errors import (
    ForgeAnswerInvalid,
    ForgeDenied,
    ForgeError,
    ForgeRateLimited,
    ForgeSignInRefused,
    ForgeUnavailable,
)
from app.transport import MEBIBYTE, AnswerTooLarge, NoAnswer, Reply, Transport

# GitHub's advice for a limit that does not say how long it lasts.
UNTOLD_WAIT = timedelta(minutes=1)
# A choice: a server that asks for more is asked again after this all the same.
LONGEST_WAIT = timedelta(days=1)

DENIALS = {
    401: "sign-in was refused (401): the token or password is missing, wrong or expired",
    402: "payment is required (402)",
    403: "access is denied (403)",
    404: "there is no such repository, or no access to it (404)",
    410: "the repository is gone (410)",
    451: "the repository is blocked for legal reasons (451)",
}


class Exchange:
    """Sends the requests of one call; all of them together have ``timeout_s`` seconds.

    An answer's body of more than ``limit_bytes`` is refused.
    """

    def __init__(
        self, transport: Transport, *, timeout_s: float, limit_bytes: int = 16 * MEBIBYTE
    ) -> None:
        self._transport = transport
        self._limit_bytes = limit_bytes
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self.requests = 0

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Reply:
        """Return the answer, whatever its status.

        Raises:
            ForgeUnavailable: There was none in time.
            ForgeAnswerInvalid: It was cut off or is too large.
        """
        left = self.left_s()
        self.requests += 1
        try:
            return self._transport.send(
                method,
                url,
                headers=headers,
                body=body,
                timeout_s=left,
                limit_bytes=self._limit_bytes,
            )
        except AnswerTooLarge as error:
            raise ForgeAnswerInvalid(str(error)) from error
        except NoAnswer as error:
            if error.kind == "timeout":
                raise self._late() from error
            sort = ForgeAnswerInvalid if error.began else ForgeUnavailable
            raise sort(str(error)) from error

    def left_s(self) -> float:
        """Return the seconds that are left.

        Raises:
            ForgeUnavailable: None are.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._late()
        return left

    def _late(self) -> ForgeUnavailable:
        return ForgeUnavailable(f"timed out after {self._timeout_s:.3g} s")


def refusal(reply: Reply, *, now: datetime) -> ForgeError:
    """Return the error that an answer without success means, where its forge says no more.

    A redirect that nobody could follow is an answer that is not what the protocol says.
    """
    status = reply.status
    wait = retry_after(reply.headers, now=now)
    if status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.FORBIDDEN and wait):
        return ForgeRateLimited(
            f"the server asks to come back later ({status})", reset_at=wait or now + UNTOLD_WAIT
        )
    if status == HTTPStatus.NON_AUTHORITATIVE_INFORMATION:
        return ForgeSignInRefused("the server shows its page to sign in (203)")
    if status == HTTPStatus.UNAUTHORIZED:
        return ForgeSignInRefused(DENIALS[status])
    if status in DENIALS:
        return ForgeDenied(DENIALS[status])
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return ForgeUnavailable(f"the server failed ({status})")
    return ForgeAnswerInvalid(f"the server answered {status}, which was not expected")


def message_of(reply: Reply) -> str:
    """Return what an error's body says to people, in one line; empty where it says nothing."""
    try:
        said = _said(json.loads(reply.body))
    except (ValueError, AttributeError, LookupError, TypeError, RecursionError):
        return ""
    text = said if isinstance(said, str) else ""
    return "".join(c if c.isprintable() else " " for c in text).strip()[:300]


def _said(found: Any) -> Any:
    """Return the message in an error: most have it outside, Bitbucket one level further in.

    GitHub says beside it why a repository is blocked: dmca, tos, ….
    """
    if "message" in found:
        reason = (found.get("block") or {}).get("reason")
        return f"{found['message']} ({reason})" if reason else found["message"]
    return found["error"]["message"] if "error" in found else found["errors"][0]["message"]


def retry_after(headers: Mapping[str, str], *, now: datetime) -> datetime | None:
    """Return the moment that ``Retry-After`` names, in seconds or as an HTTP date.

    Never the past, nor further off than ``LONGEST_WAIT``.

    >>> noon = datetime(2026, 11, 1, 12, tzinfo=UTC)
    >>> retry_after({"Retry-After": "90"}, now=noon).isoformat()
    '2026-11-01T12:01:30+00:00'
    >>> retry_after({"Retry-After": "Sun, 01 Nov 2026 12:10:00 GMT"}, now=noon).isoformat()
    '2026-11-01T12:10:00+00:00'
    >>> retry_after({"Retry-After": "soon"}, now=noon), retry_after({}, now=noon)
    (None, None)
    """
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        if text.isascii() and text.isdigit():
            return now + min(timedelta(seconds=int(text[:9])), LONGEST_WAIT)
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    told = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(now, told), now + LONGEST_WAIT)


def origin(url: str) -> tuple[str, str, int | None]:
    """Return the scheme, host and port that a secret may be sent to.

    >>> origin("https://git.example.com:443/a") == origin("https://GIT.example.com/b")
    True
    """
    parts = urlsplit(url)
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or usual
