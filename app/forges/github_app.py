"""Signs in as an installation of a GitHub App: a token for an hour, renewed before it ends."""

import json
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from app.domain.errors import (
    ForgeAnswerInvalid,
    ForgeBusy,
    ForgeError,
    ForgeSignInRefused,
    ForgeUnavailable,
)
from app.domain.secret import Secret
from app.forges.exchange import Exchange, message_of, refusal
from app.settings.types import ForgeApp
from app.transport import MEBIBYTE, Reply, Transport

log = logging.getLogger(__name__)

HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}

# GitHub's advice against clocks that differ: say that the assertion was made a minute ago. It takes
# none that is to hold for more than ten minutes.
MADE_AGO = timedelta(minutes=1)
HOLDS_FOR = timedelta(minutes=8)
# A choice: a clock that is further off than this has the forge's own put in its place.
MOST_SKEW = timedelta(seconds=30)

# GitHub's tokens hold for an hour. Choices: how long before their end one is renewed, how long a
# renewal that failed is let be, and what is taken for a token's life that was told oddly.
RENEW_BEFORE = timedelta(minutes=10)
LET_BE = timedelta(seconds=30)
USUAL_LIFE = timedelta(hours=1)
# A choice: where a token this new is refused, another would be too.
NEW_FOR = timedelta(minutes=1)
# A choice: how long nobody tries again where there is no token; who waits fails meanwhile.
TOLD_FOR = timedelta(seconds=5)
# A choice: while another thread fetches the token, the poll comes back.
SOON = timedelta(seconds=1)

REFUSALS = {
    HTTPStatus.UNAUTHORIZED: "GitHub does not take the App's signature (401); check that app.id is"
    " the App's number and that the key is one of its private keys",
    HTTPStatus.FORBIDDEN: "GitHub gives the App no token (403); the installation may be suspended",
    HTTPStatus.NOT_FOUND: "GitHub knows no such installation of the App (404); check"
    " app.installation: it ends the address of the installation's settings",
}


class Installation:
    """The token of one installation; safe for many threads.

    Args:
        app: Which App and installation, and the App's private key.
        api_url: Where the API is.
        transport: The way to HTTP.
        now: The clock.
    """

    def __init__(
        self, app: ForgeApp, *, api_url: str, transport: Transport, now: Callable[[], datetime]
    ) -> None:
        self._app = app
        self._url = f"{api_url.rstrip('/')}/app/installations/{app.installation}/access_tokens"
        self._transport = transport
        self._now = now
        self._skew = timedelta(0)  # how far the forge's clock is ahead of ours
        self._renewing = threading.Lock()
        # Replaced whole, so that it is read without a lock.
        self._token: tuple[Secret, datetime] | None = None
        self._made_at = datetime.min.replace(tzinfo=UTC)
        self._failed: tuple[ForgeError, datetime] | None = None  # and when

    @property
    def name(self) -> str:
        """What people call it."""
        return f"app {self._app.id}"

    def secret(self, *, timeout_s: float) -> Secret:
        """Return the token, a new one where the last is about to end.

        Raises:
            ForgeSignInRefused: GitHub gives none; the message says what to look at.
            ForgeBusy: Another thread is fetching it.
            ForgeError: It could not be fetched.
        """
        now = self._now()
        token, ends_at = self._token or (None, now)
        if token is not None and now < ends_at - RENEW_BEFORE:
            return token
        is_good = token is not None and now < ends_at
        failure, failed_at = self._failed or (None, now)
        if failure is not None and timedelta(0) <= now - failed_at < LET_BE:
            if token is not None and is_good:
                return token
            if now - failed_at < TOLD_FOR:
                # Else all repositories would wait for one another, each to find the same.
                raise failure.with_traceback(None)
        if not self._renewing.acquire(blocking=False):
            if token is not None and is_good:
                return token
            raise ForgeBusy("the App's token is being fetched", at=now + SOON)
        try:
            return self._renewed(token, timeout_s)
        except ForgeError as error:
            self._failed = error, self._now()
            if token is None or not is_good:
                raise
            log.warning("App token not renewed", extra={"app": self._app.id, "error": str(error)})
            return token
        finally:
            self._renewing.release()

    def renew(self, refused: Secret) -> bool:
        """Forget the token that was refused; return whether another may be fetched."""
        token = self._token
        if token is None or token[0] is not refused:
            return True
        self._token = None
        self._failed = None
        return not timedelta(0) <= self._now() - self._made_at < NEW_FOR

    def _renewed(self, known: Secret | None, timeout_s: float) -> Secret:
        now = self._token
        if now is not None and now[0] is not known:
            return now[0]  # another thread has just been here
        exchange = Exchange(self._transport, timeout_s=timeout_s, limit_bytes=MEBIBYTE)
        reply = self._ask(exchange)
        if reply.status == HTTPStatus.UNAUTHORIZED and self._is_set_right(reply):
            reply = self._ask(exchange)
        if reply.status != HTTPStatus.CREATED:
            raise self._refusal(reply)
        token, ends_at = self._read(reply)
        self._token = (token, ends_at)
        self._made_at = self._now()
        self._failed = None
        return token

    def _ask(self, exchange: Exchange) -> Reply:
        signed = {"Authorization": f"Bearer {self._assertion()}"}
        return exchange.send("POST", self._url, {**HEADERS, **signed}, b"")

    def _assertion(self) -> str:
        # With the cryptography behind it, only for who has an App.
        import jwt

        at = self._now() + self._skew
        claims = {
            "iat": int((at - MADE_AGO).timestamp()),
            "exp": int((at + HOLDS_FOR).timestamp()),
            "iss": str(self._app.id),
        }
        try:
            return jwt.encode(claims, self._app.key.reveal(), algorithm="RS256")
        except (jwt.PyJWTError, ValueError, TypeError):
            # Not chained: the library's errors may quote the key.
            raise ForgeSignInRefused("the App's key is no RSA private key in PEM") from None

    def _is_set_right(self, reply: Reply) -> bool:
        """Take the forge's time for ours where they differ; tell whether that changed anything."""
        told = _date(reply)
        if told is None:
            return False
        skew = told - self._now()
        if abs(skew - self._skew) <= MOST_SKEW:
            return False
        self._skew = skew
        return True

    def _read(self, reply: Reply) -> tuple[Secret, datetime]:
        try:
            found = json.loads(reply.body)
            token, ends = found["token"], found["expires_at"]
            ends_at = datetime.fromisoformat(ends)
            life = ends_at - (_date(reply) or self._now() + self._skew)
        except (ValueError, LookupError, TypeError, RecursionError):
            raise ForgeAnswerInvalid("GitHub's answer holds no token for the App") from None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise ForgeAnswerInvalid("GitHub's answer holds no token for the App")
        if not timedelta(0) < life <= USUAL_LIFE * 24:
            life = USUAL_LIFE
        return Secret(token), self._now() + life

    def _refusal(self, reply: Reply) -> ForgeError:
        said = message_of(reply)
        meant = refusal(reply, now=self._now())
        sentence = REFUSALS.get(HTTPStatus(reply.status)) if reply.status in REFUSALS else None
        if sentence is None or isinstance(meant, ForgeUnavailable):
            return meant
        return ForgeSignInRefused(f"{sentence}: {said}" if said else sentence)


def _date(reply: Reply) -> datetime | None:
    try:
        told = parsedate_to_datetime(reply.headers.get("Date", ""))
    except ValueError:
        return None
    return told if told.tzinfo else told.replace(tzinfo=UTC)
