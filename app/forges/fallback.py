"""Several ways to one repository, tried in order; a way that failed is left alone for a while."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.domain.details import Details, Push
from app.domain.errors import (
    ForgeAnswerInvalid,
    ForgeBusy,
    ForgeDenied,
    ForgeError,
    ForgeRateLimited,
    ForgeSignInRefused,
    ForgeUnavailable,
)
from app.domain.event import Event
from app.domain.repository import Repository
from app.forges.client import GitClient, RefsReply

log = logging.getLogger(__name__)

PAUSE = timedelta(minutes=5)
# A choice: a refusal is rarely over soon, and asking again may count as an attack (GitLab shuts an
# address out for an hour after 30 refusals in 3 minutes).
DENIED_PAUSES = 12
# A choice: how much of the time a way gets while another could still be asked.
FIRST_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Way:
    """One way of reading, ``name`` as its replies' ``read_by``.

    ``after`` says which failures of the way before it make it worth asking. The empty answer of a
    way that ``is_doubted`` must be borne out by another. ``lag`` is how old its answers may be.
    One that does not ``tells_files`` describes a change where no other can. One that does not
    ``reads_pulls`` is left out where pull requests are watched.
    """

    name: str
    client: GitClient
    after: tuple[type[ForgeError], ...] = (ForgeError,)
    is_doubted: bool = False
    lag: timedelta = timedelta(0)
    tells_files: bool = True
    reads_pulls: bool = True


@dataclass(frozen=True, slots=True)
class _Aside:
    until: datetime
    error: ForgeError


class Fallback:
    """A git client made of others; safe for many threads.

    Args:
        ways: The best first.
        now: The clock.
        pause: How long a way that failed is left alone, for the repository it failed on. A spent
            allowance lasts until it is new, a refusal twelve times as long.
    """

    def __init__(
        self, ways: Sequence[Way], *, now: Callable[[], datetime], pause: timedelta = PAUSE
    ) -> None:
        self._ways = tuple(ways)
        self._now = now
        self._pause = pause
        self._lock = threading.Lock()
        self._aside: dict[tuple[str, str], _Aside] = {}  # by repository URL and way

    def list_refs(
        self,
        repository: Repository,
        *,
        validator: Mapping[str, str],
        timeout_s: float,
        urgent: bool = False,
    ) -> RefsReply:
        """Ask the first way that is not left alone, and those after it while there is time.

        When none succeeds, the first one's error is raised and none is left alone.
        """
        deadline = time.monotonic() + timeout_s
        failure: ForgeError | None = None
        requests = 0
        for way, error in self._in_turn(repository):
            previous = failure or error
            if previous is not None and not isinstance(previous, way.after):
                continue
            left = deadline - time.monotonic()
            if failure is not None and left <= 0:
                break
            try:
                reply = self._ask(way, repository, validator, self._share(way, left), urgent=urgent)
                reply = self._borne_out(way, reply, repository, deadline)
            except ForgeBusy:
                raise  # its turn comes within moments; another way would cost more
            except ForgeError as refused:
                self._set_aside(repository, way, refused)
                failure = failure or refused
                requests += 1
                continue
            return replace(reply, requests=reply.requests + requests, lag=max(reply.lag, way.lag))
        self._forgive(repository)
        raise failure or ForgeUnavailable("there is no way to read this repository")

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        """Return what the first way says that can tell; one that is left alone is not asked."""
        deadline = time.monotonic() + timeout_s
        for way in sorted(self._ways, key=lambda way: not way.tells_files):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            if self._is_aside(repository, way):
                continue
            told = way.client.describe(repository, change=change, timeout_s=left)
            if told is not None:
                return told
        return None

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        """Return what the first way says that knows; one that is left alone is not asked."""
        deadline = time.monotonic() + timeout_s
        for way in self._ways:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            if self._is_aside(repository, way):
                continue
            told = way.client.pushes(repository, since=since, timeout_s=left)
            if told is not None:
                return told
        return None

    def _is_aside(self, repository: Repository, way: Way) -> bool:
        with self._lock:
            aside = self._aside.get((repository.url, way.name))
        return aside is not None and self._now() < aside.until

    def _in_turn(self, repository: Repository) -> list[tuple[Way, ForgeError | None]]:
        """List the ways to ask, each with why the one before it was left out, if it was."""
        now = self._now()
        turn: list[tuple[Way, ForgeError | None]] = []
        skipped: ForgeError | None = None
        with self._lock:
            for way in self._reading(repository):
                aside = self._aside.get((repository.url, way.name))
                if aside is not None and now < aside.until:
                    skipped = skipped or aside.error
                else:
                    self._aside.pop((repository.url, way.name), None)
                    turn.append((way, skipped))
        is_any = any(error is None or isinstance(error, way.after) for way, error in turn)
        return turn if is_any else [(way, None) for way in self._reading(repository)]

    def _reading(self, repository: Repository) -> tuple[Way, ...]:
        """Return the ways that read all that is watched."""
        if not repository.refs.wants_pulls:
            return self._ways
        return tuple(way for way in self._ways if way.reads_pulls)

    def way_of(self, repository: Repository) -> str:
        """Return the way that would be asked now."""
        for way, _ in self._in_turn(repository):
            return way.name
        return self._ways[0].name

    def _share(self, way: Way, left: float) -> float:
        later = self._ways[self._ways.index(way) + 1 :]
        may_follow = any(issubclass(ForgeUnavailable, other.after) for other in later)
        return left * FIRST_SHARE if may_follow else left

    def _ask(
        self,
        way: Way,
        repository: Repository,
        validator: Mapping[str, str],
        timeout_s: float,
        *,
        urgent: bool = False,
    ) -> RefsReply:
        """Ask one way, with the validator only if that way made it."""
        mark = f"{way.name}:"
        own = {
            name.removeprefix(mark): text
            for name, text in validator.items()
            if name.startswith(mark)
        }
        reply = way.client.list_refs(repository, validator=own, timeout_s=timeout_s, urgent=urgent)
        return replace(
            reply, validator={mark + name: text for name, text in reply.validator.items()}
        )

    def _borne_out(
        self, way: Way, reply: RefsReply, repository: Repository, deadline: float
    ) -> RefsReply:
        """Let another way confirm that a repository is empty: it would look like a mass deletion.

        Raises:
            ForgeAnswerInvalid: Another way says otherwise, or cannot be asked.
            ForgeBusy: Its turn comes within moments.
        """
        others = [other for other in self._reading(repository) if other.name != way.name]
        if reply.refs is None or reply.refs or not way.is_doubted or not others:
            return reply
        left = max(0.01, deadline - time.monotonic())
        try:
            second = self._ask(others[0], repository, {}, left)
        except ForgeBusy:
            raise
        except ForgeError as error:
            raise ForgeAnswerInvalid(
                f"the forge says the repository is empty, and git cannot confirm it: {error}"
            ) from error
        if second.refs:
            raise ForgeAnswerInvalid("the forge says the repository is empty, and git finds refs")
        return replace(reply, requests=reply.requests + second.requests)

    def _set_aside(self, repository: Repository, way: Way, error: ForgeError) -> None:
        until = self._now() + self._pause
        if isinstance(error, ForgeRateLimited):
            until = error.reset_at
        elif isinstance(error, ForgeSignInRefused) and error.until is not None:
            until = error.until
        elif isinstance(error, ForgeDenied):
            until = self._now() + self._pause * DENIED_PAUSES
        with self._lock:
            self._aside[repository.url, way.name] = _Aside(until, error)
        # What concerns a whole credential is told once, where it is found out.
        is_shared = isinstance(error, (ForgeRateLimited, ForgeSignInRefused))
        log.log(
            logging.DEBUG if is_shared else logging.INFO,
            "way of reading set aside",
            extra={
                "repository": repository.name,
                "read_by": way.name,
                "error": str(error),
                "until": until.isoformat(),
            },
        )

    def _forgive(self, repository: Repository) -> None:
        with self._lock:
            for way in self._ways:
                self._aside.pop((repository.url, way.name), None)
