"""Asks whether everything is there that a run would need, and says what to do where it is not."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from app.domain.allowance import Limits
from app.domain.cadence import in_words
from app.domain.errors import (
    ForgeDenied,
    ForgeError,
    ForgeRateLimited,
    ForgeSignInRefused,
    RepoSentryError,
)
from app.domain.plan import Member
from app.domain.repository import Repository
from app.forges import Forges
from app.forges.sign_in import SignedIn, alone, ask
from app.services.planner import owner_of, plan_for, seen_by
from app.settings.types import Forge, Receiver, Settings
from app.storage import migrate
from app.storage.database import Database
from app.transport import MEBIBYTE, NoAnswer, Transport

# The deadline of each single question.
TIMEOUT_S = 10.0
# GitHub's Apps sign with the time; more than this is more than a slow answer explains.
MOST_SKEW = timedelta(seconds=30)
# A choice: time for a person to make a new token or certificate, holidays included.
SOON = timedelta(days=14)
# A choice: of plain git servers so many are asked, each by one of its repositories.
SERVERS_ASKED = 8
AT_ONCE = 16
LARGEST_ANSWER = 4 * MEBIBYTE


class Level(StrEnum):
    """How bad something is."""

    OK = "ok"
    WARNING = "warning"  # it works, and will not for ever
    PROBLEM = "problem"  # a run would not do what is wanted


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; ``remedy`` is what to do about it, None where nothing."""

    subject: str
    level: Level
    says: str
    remedy: str | None = None


Task: TypeAlias = tuple[str, Callable[[], list[Finding]]]


class Checkup:
    """Looks at one configuration's surroundings.

    Args:
        settings: The configuration.
        now: The clock.
        timeout_s: Seconds for each single question.
    """

    def __init__(
        self, settings: Settings, *, now: Callable[[], datetime], timeout_s: float = TIMEOUT_S
    ) -> None:
        self._settings = settings
        self._now = now
        self._timeout_s = timeout_s
        self._forges = Forges(settings.forges, now=now, connections=AT_ONCE)
        self._repositories: dict[str, list[Repository]] = {}
        for one in settings.repositories:
            if one.enabled:
                self._repositories.setdefault(one.forge, []).append(one)

    def tasks(self) -> list[Task]:
        """List what there is to look at, by name; each may be done by a thread of its own."""
        asked = [
            forge
            for name, forge in self._settings.forges.items()
            if name in self._repositories or forge.signs_in
        ]
        return [
            ("database", self._database),
            *((forge.name, lambda forge=forge: list(self._forge(forge))) for forge in asked),
            *(
                (name, lambda one=receiver: list(self._receiver(one)))
                for name, receiver in sorted(self._settings.receivers.items())
            ),
        ]

    def close(self) -> None:
        """Close the idle connections."""
        self._forges.close()

    # The database.

    def _database(self) -> list[Finding]:
        url = self._settings.storage.url.reveal()
        database = Database(url, now=self._now)
        try:
            return [self._standing(database)]
        except RepoSentryError as error:
            says = f"{database.url} cannot be used: {error}"
            remedy = "See that it runs, and that storage.url names it, its user and password."
            return [Finding("database", Level.PROBLEM, says, remedy)]
        finally:
            database.close()

    def _standing(self, database: Database) -> Finding:
        if database.dialect == "sqlite" and database.name not in {"", ":memory:"}:
            missing = _missing_file(Path(database.name))
            if missing is not None:
                return missing
        version = migrate.current(database)
        if version is None:
            says = f"{database.url} answers and is empty; the first run makes its tables"
            return Finding("database", Level.OK, says)
        if version > migrate.HEAD:
            says = f"{database.url} has version {version}; this program knows up to {migrate.HEAD}"
            remedy = "Install the newer program, or restore the backup made before its upgrade."
            return Finding("database", Level.PROBLEM, says, remedy)
        if version != migrate.HEAD:
            says = f"{database.url} has version {version}; the next run brings it to {migrate.HEAD}"
            return Finding("database", Level.OK, says)
        return Finding("database", Level.OK, f"{database.url} answers, at version {version}")

    # The forges.

    def _forge(self, forge: Forge) -> Iterator[Finding]:
        if forge.url:
            reached = list(_reached(forge.name, forge.api_url or forge.url, self._reach(forge)))
            yield from reached
            if any(one.level is Level.PROBLEM for one in reached):
                return
        credentials = alone(forge)
        samples = self._samples(forge)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            signing = [(name, pool.submit(self._sign_in, name, one)) for name, one in credentials]
            reading = [pool.submit(self._read, forge, one) for one in samples]
            signed = [one.result() for _, one in signing]
            for findings, _ in signed:
                yield from findings
            for one in reading:
                yield one.result()
        usable = [told.limits for _, told in signed if told is not None]
        if credentials and not usable:
            return
        yield from self._plan(forge, together(usable) if usable else None)

    def _reach(self, forge: Forge) -> Callable[[], tuple[list[Finding], float]]:
        transport = Transport(ca_file=forge.ca_file, connections=1)

        def look() -> tuple[list[Finding], float]:
            url = forge.api_url or forge.url
            begun = time.monotonic()
            try:
                found = list(self._certificate(forge.name, transport, url))
                asked_at = self._now()
                reply = transport.send(
                    "GET",
                    url,
                    headers={},
                    timeout_s=self._timeout_s,
                    limit_bytes=LARGEST_ANSWER,
                    cut=True,
                )
                took_s = time.monotonic() - begun
                middle = asked_at + (self._now() - asked_at) / 2
                found += _clock(forge.name, reply.headers, middle)
            finally:
                transport.close()
            return found, took_s

        return look

    def _sign_in(self, name: str, forge: Forge) -> tuple[list[Finding], SignedIn | None]:
        transport = Transport(ca_file=forge.ca_file, connections=1)
        try:
            told = ask(forge, transport, now=self._now, timeout_s=self._timeout_s)
        except ForgeSignInRefused as error:
            remedy = f"Make a new one and put it into forges.{forge.name}."
            return [Finding(forge.name, Level.PROBLEM, f"{name}: {error}", remedy)], None
        except ForgeRateLimited as error:
            wait = in_words(max(error.reset_at - self._now(), timedelta(seconds=1)))
            says = f"{name}: {error}, for {wait}"
            remedy = "It goes on by itself; another credential would add to what may be asked."
            return [Finding(forge.name, Level.WARNING, says, remedy)], None
        except ForgeError as error:
            remedy = "Look at the forge and the network between."
            return [Finding(forge.name, Level.PROBLEM, f"{name}: {error}", remedy)], None
        finally:
            transport.close()
        if told is None:  # it is seen by reading a repository
            return [], SignedIn("a token", limits=self._forges.limits(forge.name))
        return list(signed_in(forge.name, name, told, self._now())), told

    def _samples(self, forge: Forge) -> list[Repository]:
        """Choose one repository, or one of each server where they are many."""
        by_server: dict[tuple[str, str], Repository] = {}
        for one in self._repositories.get(forge.name, ()):
            by_server.setdefault((one.remote.scheme, one.remote.host), one)
        return list(by_server.values())[:SERVERS_ASKED]

    def _read(self, forge: Forge, repository: Repository) -> Finding:
        try:
            reply = self._forges.client_for(repository).list_refs(
                repository, validator={}, timeout_s=self._timeout_s, urgent=True
            )
        except RepoSentryError as error:
            says = f"{repository.name} cannot be read: {error}"
            remedy = "See that its server runs, and look at the network between."
            if isinstance(error, ForgeDenied):
                remedy = "Check that it exists, and that what signs in there may read it."
            return Finding(forge.name, Level.PROBLEM, says, remedy)
        watched = sum(repository.refs.watches(ref) for ref in reply.refs or {})
        says = f"{repository.name} is read by {reply.read_by}: {watched} of its refs are watched"
        if watched:
            return Finding(forge.name, Level.OK, says)
        remedy = "See whether its branches: and tags: are meant so."
        return Finding(forge.name, Level.WARNING, says, remedy)

    def _plan(self, forge: Forge, limits: Limits | None) -> Iterator[Finding]:
        members = [
            Member(
                id=number,
                owner=owner_of(forge, one),
                interval=one.interval,
                way=self._forges.way_of(one),
                is_seen=seen_by(forge, one),
                priority=one.priority,
            )
            for number, one in enumerate(self._repositories.get(forge.name, ()), 1)
        ]
        if not members:
            return
        granted = self._forges.limits(forge.name) if limits is None else limits
        ceiling = self._settings.polling.max_interval
        plan = plan_for(forge, forge.name, members, granted, ceiling=ceiling)
        said = " ".join(plan.sentences)
        if plan.is_kept:
            yield Finding(forge.name, Level.OK, f"every interval is kept. {said}".strip())
            return
        remedy = "Longer intervals, fewer repositories or another credential would make room."
        says = f"not every interval can be kept. {said}"
        yield Finding(forge.name, Level.WARNING, says.strip(), remedy)

    def _certificate(self, subject: str, transport: Transport, url: str) -> Iterator[Finding]:
        return _certificate(subject, transport, url, now=self._now(), timeout_s=self._timeout_s)

    # The receivers.

    def _receiver(self, one: Receiver) -> Iterator[Finding]:
        pair = (one.client_cert_file, one.client_key_file)
        client_cert = (pair[0], pair[1]) if pair[0] and pair[1] else None
        transport = Transport(ca_file=one.ca_file, client_cert=client_cert, connections=1)

        def look() -> tuple[list[Finding], float]:
            begun = time.monotonic()
            try:
                found = list(self._certificate(one.name, transport, one.url))
            finally:
                transport.close()
            return found, time.monotonic() - begun

        yield from _reached(one.name, one.url, look)


def signed_in(forge: str, name: str, told: SignedIn, now: datetime) -> Iterator[Finding]:
    """Say what a forge thinks of a credential that it takes."""
    says = f"{name} signs in: {told.sort}"
    if told.scopes is not None:
        says += f", for {', '.join(told.scopes) or 'nothing but what is public'}"
    left = None if told.expires_at is None else told.expires_at - now
    if told.expires_at is not None:
        says += f", until {told.expires_at:%Y-%m-%d}"
    if left is not None and left < SOON:
        says += f", which is in {in_words(max(left, timedelta(0)))}"
        remedy = f"Make a new one before then and put it into forges.{forge}."
        yield Finding(forge, Level.WARNING, says, remedy)
    else:
        yield Finding(forge, Level.OK, says)
    if told.missing:
        says = f"{name} lacks {' and '.join(told.missing)}"
        remedy = "Without it some repositories cannot be read, or only in ways that take longer."
        yield Finding(forge, Level.WARNING, says, remedy)
    if told.surplus:
        says = f"{name} may do more than is needed here: {', '.join(told.surplus)}"
        remedy = "A token that can only read does less harm when it is lost."
        yield Finding(forge, Level.WARNING, says, remedy)


def together(limits: Sequence[Limits]) -> Limits:
    """Add what several credentials grant; None where one of them is not counted.

    >>> together([Limits(rest_per_hour=5.0), Limits(rest_per_hour=2.5)]).rest_per_hour
    7.5
    """
    sums: dict[str, float | None] = {}
    for field in fields(Limits):
        figures = [getattr(one, field.name) for one in limits]
        sums[field.name] = None if None in figures else sum(figures)
    # Git's is granted to who asks, whatever the credential.
    sums["git_per_hour"] = limits[0].git_per_hour
    return Limits(**sums)


def _reached(
    subject: str, url: str, look: Callable[[], tuple[list[Finding], float]]
) -> Iterator[Finding]:
    where = _shown(url)
    try:
        found, took_s = look()
    except NoAnswer as error:
        remedy = {
            "dns": "Check the name, and this machine's resolver.",
            "tls": "Name its certificate authority in ca_file, or have its certificate renewed.",
            "connect": "See that it runs there, and that no firewall is between.",
        }.get(error.kind, "See that it runs, and look at the network between.")
        yield Finding(subject, Level.PROBLEM, f"{where} cannot be reached: {error}", remedy)
        return
    sure = ", by TLS with a trusted certificate" if url.startswith("https:") else ""
    yield Finding(subject, Level.OK, f"{where} answers in {round(took_s * 1000)} ms{sure}")
    yield from found


def _certificate(
    subject: str, transport: Transport, url: str, *, now: datetime, timeout_s: float
) -> Iterator[Finding]:
    until = transport.reach(url, timeout_s=timeout_s).certificate_until
    if until is not None and until - now < SOON:
        yield Finding(
            subject,
            Level.WARNING,
            f"its certificate ends on {until:%Y-%m-%d}",
            "Have whoever runs it renew the certificate before then.",
        )


def _clock(subject: str, headers: Mapping[str, str], ours: datetime) -> Iterator[Finding]:
    """Compare our clock with a server's."""
    try:
        theirs = parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, TypeError):
        return
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    skew = ours - theirs
    if abs(skew) <= MOST_SKEW:
        return
    way = "ahead of" if skew > timedelta(0) else "behind"
    says = f"this machine's clock is {in_words(abs(skew))} {way} the forge's"
    remedy = "Set the clock (NTP): rate limits, Apps and latencies are told by it."
    yield Finding(subject, Level.WARNING, says, remedy)


def _missing_file(file: Path) -> Finding | None:
    """Tell of a SQLite file that is not there yet; None where it is."""
    if file.exists():
        return None
    folder = file.absolute().parent
    if folder.is_dir() and os.access(folder, os.W_OK):
        return Finding("database", Level.OK, f"{file} is not there yet; the first run makes it")
    says = f"{file} cannot be made: {folder} is not there or may not be written to"
    return Finding("database", Level.PROBLEM, says, "Make the folder, for the user who runs this.")


def _shown(url: str) -> str:
    """Return where an address leads, without what may be secret in it."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"
