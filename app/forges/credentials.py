"""A forge's credentials: which of them serves a repository, and what each may still ask."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar
from urllib.parse import urlsplit
from zlib import crc32

from app.domain.allowance import Credential, CredentialState, Limits, Purpose, Resource, Spent
from app.domain.errors import ForgeBusy, ForgeError, ForgeRateLimited, ForgeSignInRefused
from app.domain.secret import Secret
from app.forges.allowance import BURST_S, FOR_URGENT, MOST_AT_ONCE, Allowance
from app.forges.github_app import Installation
from app.settings.types import Forge
from app.transport import Transport

log = logging.getLogger(__name__)

# What the public forges document, by the host of their API: signed in, and without a credential.
# GitHub: 5,000 requests an hour (60 unknown), 5,000 points of GraphQL, 900 and 2,000 a minute.
# GitLab: 2,000 requests a minute (500 unknown). Bitbucket: 1,000 an hour (60), git 60,000.
_GITHUB = (Limits(5000, 900, 5000, 2000), Limits(60, 900, 0, 0))
_USUAL = {
    "api.github.com": _GITHUB,
    "gitlab.com": (Limits(rest_per_minute=2000), Limits(rest_per_minute=500)),
    "api.bitbucket.org": (
        Limits(rest_per_hour=1000, git_per_hour=60_000),
        Limits(rest_per_hour=60, git_per_hour=60_000),
    ),
}
_GITHUB_CLOUD = ".ghe.com"  # GitHub Enterprise Cloud with data residency
# GitHub's limits within a minute; a server that tells of the hourly one is taken to have them too.
_GITHUB_MINUTE = Limits(rest_per_minute=900, graphql_per_minute=2000)

# GitLab shuts an address out for an hour after 30 refused sign-ins in 3 minutes: were a token taken
# back in the middle of things, fewer than that may be under way, of all tokens together.
MOST_SIGN_INS = 24
# A choice: who may ask again this soon is counted with, so that no plan is made anew for it.
SOON = timedelta(minutes=2)

Stop = TypeVar("Stop", ForgeRateLimited, ForgeSignInRefused)


class Source(Protocol):
    """Where a credential's secret comes from; ``name`` is how people tell it from others."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    def secret(self, *, timeout_s: float) -> Secret | None:
        """Return the secret to sign in with now; None: ask without.

        Raises:
            ForgeError: There is none to be had.
        """
        ...

    def renew(self, refused: Secret) -> bool:
        """Note that it was refused; return whether there may be another."""
        ...


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, or none."""

    name: str
    token: Secret | None

    def secret(self, *, timeout_s: float) -> Secret | None:
        """Return the token."""
        return self.token

    def renew(self, refused: Secret) -> bool:
        """Return False: a token is what it is."""
        return False


class Account:
    """One way to sign in (or none), and what it may ask.

    Its ``number`` tells it from the forge's others.
    """

    def __init__(
        self,
        source: Source,
        allowance: Allowance,
        number: int,
        *,
        forge: str,
        now: Callable[[], datetime],
    ) -> None:
        self._forge = forge
        self._now = now
        self._told_until: datetime | None = None
        self.source = source
        self.allowance = allowance
        self.number = number

    def secret(self, *, timeout_s: float) -> Secret | None:
        """Return the secret to sign in with; None: ask without.

        Raises:
            ForgeError: There is none to be had; one that was refused is asked for no more.
        """
        try:
            return self.source.secret(timeout_s=timeout_s)
        except ForgeSignInRefused as error:
            refused = self.allowance.refuse("api", str(error))
            raise self.stopped(refused, refused.until) from error
        except ForgeError:
            self.allowance.give_up()
            raise

    def stopped(self, error: Stop, until: datetime | None) -> Stop:
        """Tell the log why nothing is asked with it until then, once; return that error."""
        told = self._told_until
        if until is not None and (told is None or self._now() >= told):
            self._told_until = until
            log.warning(
                "credential rests",
                extra={
                    "forge": self._forge,
                    "credential": self.source.name,
                    "error": str(error),
                    "until": until.isoformat(),
                },
            )
        return error

    def credential(self) -> Credential:
        """Return how it stands, for people."""
        state, reason, until = self.allowance.standing()
        requests, unchanged, errors = self.allowance.counts()
        return Credential(
            name=self.source.name,
            state=state,
            budgets=self.allowance.budgets(),
            reason=reason,
            until=until,
            requests=requests,
            unchanged=unchanged,
            errors=errors,
        )


class Accounts:
    """All credentials of one forge, or the lack of one; safe for many threads.

    Args:
        forge: Whose.
        sources: Where the credentials' secrets come from; none: nobody signs in.
        now: The clock.
    """

    def __init__(
        self, forge: Forge, sources: Sequence[Source], *, now: Callable[[], datetime]
    ) -> None:
        self._share = forge.share
        self._now = now
        self.signs_in = bool(sources)
        self._accounts = tuple(
            Account(
                source, _allowance(forge, len(sources), now=now), number, forge=forge.name, now=now
            )
            for number, source in enumerate(sources or (Token("without a token", None),))
        )
        self._spent: dict[Purpose, Spent] = {}
        self._lock = threading.Lock()

    def admit(
        self,
        key: str,
        *,
        resource: Resource = Resource.REST,
        urgent: bool = False,
        waits: bool = True,
        by: str = "api",
        points: int = 1,
        yields: bool = False,
    ) -> Account:
        """Return the account that may ask now.

        Args:
            key: Who asks; they keep their account as long as it can, since an ETag is made for one
                only, move on while it can not, and come back.
            resource: What it counts against.
            urgent: Whether somebody waits for it.
            waits: Whether it can be put off to a slot of its own; what can not goes first.
            by: ``api`` or ``git``.
            points: What it costs of the limit within a minute.
            yields: Whether it is asked only while the allowance is plenty.

        Raises:
            ForgeBusy: Its turn comes within moments.
            ForgeRateLimited: None has anything left.
            ForgeSignInRefused: The forge takes none of them.
        """
        count = len(self._accounts)
        first = crc32(key.encode("utf-8", "backslashreplace")) % count if count > 1 else 0
        refusals: list[ForgeError] = []
        for turn in range(count):
            account = self._accounts[(first + turn) % count]
            try:
                account.allowance.admit(
                    resource,
                    key=key if waits else "",
                    urgent=urgent,
                    by=by,
                    points=points,
                    yields=yields,
                )
            except ForgeBusy:
                raise  # its turn comes within moments, and there its ETags are good
            except (ForgeRateLimited, ForgeSignInRefused) as error:
                refusals.append(error)
            else:
                return account
        limited = [error for error in refusals if isinstance(error, ForgeRateLimited)]
        if limited:
            raise min(limited, key=lambda error: error.reset_at)
        raise refusals[0]

    @property
    def count(self) -> int:
        """How many there are, the lack of one among them."""
        return len(self._accounts)

    def note(
        self, purpose: Purpose, *, requests: int = 1, unchanged: int = 0, points: int = 0
    ) -> None:
        """Count what was asked."""
        with self._lock:
            known = self._spent.get(purpose, Spent())
            self._spent[purpose] = Spent(
                known.requests + requests, known.unchanged + unchanged, known.points + points
            )

    def spent(self) -> Mapping[str, Spent]:
        """Return what was asked since the start, by purpose."""
        with self._lock:
            return {purpose.value: spent for purpose, spent in self._spent.items()}

    def credentials(self) -> tuple[Credential, ...]:
        """Return how each stands, in the order they were configured."""
        return tuple(account.credential() for account in self._accounts)

    def limits(self) -> Limits:
        """Return what polling may spend: the share of every usable account but the urgent's part.

        None where nobody counts.
        """
        usable = [one.allowance.limits(soon=SOON) for one in self._accounts if self._is_usable(one)]
        part = self._share * (1 - FOR_URGENT)
        # What the pace hands out: a plan for more would have its probes refused again and again.
        steady = part * 60.0 / (60.0 + BURST_S)
        return Limits(
            rest_per_hour=_sum([one.rest_per_hour for one in usable], part),
            rest_per_minute=_sum([one.rest_per_minute for one in usable], steady),
            graphql_per_hour=_sum([one.graphql_per_hour for one in usable], part),
            graphql_per_minute=_sum([one.graphql_per_minute for one in usable], steady),
            git_per_hour=_sum([self._accounts[0].allowance.limits().git_per_hour], part),
        )

    def _is_usable(self, account: Account) -> bool:
        state, _, until = account.allowance.standing()
        if state is CredentialState.PAUSED:
            return until is not None and until - self._now() <= SOON
        return state is not CredentialState.REFUSED


def _sum(figures: Sequence[float | None], part: float) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) * part if len(known) == len(figures) else None


def _allowance(forge: Forge, count: int, *, now: Callable[[], datetime]) -> Allowance:
    host = urlsplit(forge.api_url or forge.url).hostname or ""
    usual = _GITHUB if host.endswith(_GITHUB_CLOUD) else _USUAL.get(host)
    is_github = forge.kind == "github"
    most = MOST_AT_ONCE if is_github or not count else max(1, MOST_SIGN_INS // count)
    return Allowance(
        share=forge.share,
        now=now,
        usual=Limits() if usual is None else usual[0 if count else 1],
        per_minute_when_told=_GITHUB_MINUTE if is_github else Limits(),
        signs_in=bool(count),
        unchanged_is_free=is_github and bool(count),
        most_at_once=most,
    )


def sources_of(forge: Forge, *, transport: Transport, now: Callable[[], datetime]) -> list[Source]:
    """Return what a forge is signed in to with, as it is called where people see it."""
    if forge.app is not None:
        return [Installation(forge.app, api_url=forge.api_url or "", transport=transport, now=now)]
    given = [token for token in forge.tokens if token]
    names = ["token"] if len(given) == 1 else [f"token {n}" for n in range(1, len(given) + 1)]
    return [Token(name, token) for name, token in zip(names, given, strict=True)]
