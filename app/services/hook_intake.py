"""A forge's own webhook at our door: is it signed, which repositories does it wake, what is kept.

It is a hint and no more: what it tells is polled for at once, and what polling finds is what
counts. A standby takes webhooks too, and the active process acts on them within a second or two.
"""

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit

from app.domain.errors import RepoSentryError
from app.domain.hook import HookChange, HookMessage, Verdict
from app.domain.repository import Repository, parse_remote
from app.forges.hooks import Headers, NotReadable, has_signature, is_signed, read
from app.settings.types import Forge
from app.storage.hooks import HookRecord, Received

log = logging.getLogger(__name__)

# Choices. How many wrong signatures a minute are written down; all of them are refused.
FORGED_A_MINUTE = 10
# How many deliveries are known again at once; the database knows the older ones.
DELIVERIES_KEPT = 2_000
# How many records may wait for a slow database; what comes beyond wakes and is not written down.
MOST_WAITING = 1_000
# What is remembered to tell who pushed.
REPOSITORIES_KEPT = 1_000
CHANGES_KEPT = 20
# For how long it is believed where repositories have moved to.
MOVED_S = 30.0


class Woken(StrEnum):
    """What became of a wake: its poll comes at once, another process polls, or nobody shall."""

    YES = "yes"
    ELSEWHERE = "elsewhere"
    PAUSED = "paused"


class Outcome(StrEnum):
    """What was made of a webhook."""

    WOKEN = "woken"
    PING = "ping"
    IGNORED = "ignored"
    FORGED = "forged"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Reception:
    """What was made of a webhook: ``note`` says why, ``repositories`` are those that it woke."""

    outcome: Outcome
    note: str
    repositories: tuple[str, ...] = ()


class Store(Protocol):
    """Where webhooks are written down."""

    def add(self, records: Sequence[HookRecord]) -> "Future[int]":
        """Write down what came; returns at once."""
        ...

    def moved(self) -> dict[str, str]:
        """Return where repositories have moved to, by their names here."""
        ...

    def list_received(self) -> list[Received]:
        """List what another process took and nobody has acted on."""
        ...

    def take(
        self, positions: Sequence[int], *, verdict: Verdict, reason: str | None = None
    ) -> None:
        """Note what was made of some of those."""
        ...


class HookIntake:
    """Takes webhooks; safe to use from many threads."""

    def __init__(
        self,
        *,
        store: Store,
        forges: Mapping[str, Forge],
        repositories: Sequence[Repository],
        wake: Callable[[str], Woken],
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        """Make an intake.

        Args:
            store: Where webhooks are written down.
            forges: The forges by name; those without a secret are not listened to.
            repositories: Those that are watched.
            wake: Brings a repository's next poll forward to now, by its name.
            now: The clock.
            monotonic: A clock that is never set.
        """
        self._store = store
        self._forges = {name: forge for name, forge in forges.items() if forge.hook_secret}
        self._repositories = {one.name: one for one in repositories}
        self._wake = wake
        self._now = now
        self._monotonic = monotonic
        self._lock = threading.Lock()  # guards everything below
        self._places: dict[str, list[str]] | None = None
        self._moved: tuple[float, dict[str, list[str]]] | None = None
        self._deliveries: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._told: OrderedDict[str, deque[HookChange]] = OrderedDict()
        self._forged_at: deque[float] = deque(maxlen=FORGED_A_MINUTE)
        self._waiting = 0

    def takes(self, forge: str) -> bool:
        """Tell whether a forge's webhooks are listened to."""
        return forge in self._forges

    def receive(self, forge_name: str, headers: Headers, body: bytes) -> Reception:
        """Take one webhook; asks nobody, and waits for nothing.

        Args:
            forge_name: One that ``takes`` says yes to.
            headers: The request's, by their names in lower case.
            body: The very bytes that came.
        """
        forge = self._forges[forge_name]
        secret = forge.hook_secret
        if secret is None or not is_signed(forge.kind, secret, headers, body, now=self._now()):
            is_there = has_signature(forge.kind, headers)
            reason = "the signature is wrong" if is_there else "it is not signed"
            self._note_forged(forge_name, reason)
            return Reception(Outcome.FORGED, reason)
        try:
            message = read(headers, body)
        except NotReadable as error:
            return Reception(Outcome.UNREADABLE, str(error))
        if message.is_ping:
            return Reception(Outcome.PING, "webhooks arrive here")
        return self._act_on(forge, message)

    def told(self, name: str) -> tuple[HookChange, ...]:
        """Return what webhooks told of a repository lately, oldest first."""
        with self._lock:
            return tuple(self._told.get(name, ()))

    def pick_up(self) -> None:
        """Act on what other processes took; to be called by the active one, every second or so.

        Raises:
            StorageError: The database does not answer.
        """
        taken: dict[tuple[Verdict, str | None], list[int]] = {}
        woken: dict[str, Woken] = {}
        for one in self._store.list_received():
            verdict, reason = self._pick_up_one(one, woken)
            taken.setdefault((verdict, reason), []).append(one.position)
        for (verdict, reason), positions in taken.items():
            self._store.take(positions, verdict=verdict, reason=reason)

    def _pick_up_one(self, one: Received, woken: dict[str, Woken]) -> tuple[Verdict, str | None]:
        if one.repository is None or one.change is None:
            return Verdict.IGNORED, "no such repository is watched any more"
        if one.repository not in woken:
            woken[one.repository] = self._wake(one.repository)
        self._remember(one.repository, [one.change])
        if woken[one.repository] is not Woken.YES:
            return Verdict.IGNORED, "the repository is paused"
        return Verdict.PENDING, None

    def _act_on(self, forge: Forge, message: HookMessage) -> Reception:
        if not message.changes:
            return _ignored(f"{message.event} tells of no branch and no tag that changed")
        names = self._find(forge, message.urls)
        if not names:
            return _ignored("no such repository is watched here")
        if not self._is_new(forge.name, message.delivery):
            return _ignored("this delivery was received before")
        records: list[HookRecord] = []
        awake: list[str] = []
        at = self._now()
        for name in names:
            changes = self._watched(name, message.changes)
            if not changes:
                continue
            self._remember(name, changes)
            woken = self._wake(name)
            if woken is Woken.PAUSED:
                continue
            awake.append(name)
            verdict = Verdict.PENDING if woken is Woken.YES else Verdict.RECEIVED
            records += [
                HookRecord(
                    received_at=at,
                    forge=forge.name,
                    verdict=verdict,
                    delivery=message.delivery,
                    part=len(records) + number,
                    repository=name,
                    change=change,
                )
                for number, change in enumerate(changes)
            ]
        if not awake:
            return _ignored("what changed is not watched, or the repository is paused")
        self._write(records)
        return Reception(Outcome.WOKEN, "polled at once", tuple(awake))

    def _watched(self, name: str, changes: Iterable[HookChange]) -> list[HookChange]:
        repository = self._repositories[name]
        if not repository.enabled:
            return []
        return [change for change in changes if repository.refs.watches(change.ref)]

    # Which repository is meant.

    def _find(self, forge: Forge, urls: Sequence[str]) -> list[str]:
        """List the watched repositories that are at one of these addresses of this forge."""
        with self._lock:
            if self._places is None:
                self._places = _places_of(self._repositories.values())
        found = self._at(self._places, forge, urls)
        return found or self._at(self._where_moved(), forge, urls)

    def _at(self, places: Mapping[str, list[str]], forge: Forge, urls: Sequence[str]) -> list[str]:
        host = urlsplit(forge.url).hostname
        found: dict[str, None] = {}
        for url in urls:
            for place in _places(url):
                for name in places.get(place, ()):
                    repository = self._repositories[name]
                    is_there = "/" in place and place.split("/", 1)[0] == host
                    if repository.forge == forge.name or is_there:
                        found[name] = None
        return list(found)

    def _where_moved(self) -> dict[str, list[str]]:
        known = self._moved
        if known is not None and self._monotonic() - known[0] < MOVED_S:
            return known[1]
        places: dict[str, list[str]] = {}
        try:
            for name, url in self._store.moved().items():
                if name in self._repositories:
                    for place in _places(url):
                        places.setdefault(place, []).append(name)
        except RepoSentryError as error:
            log.debug("moved repositories not known", extra={"error": str(error)})
        self._moved = (self._monotonic(), places)
        return places

    # What is remembered and written down.

    def _is_new(self, forge: str, delivery: str | None) -> bool:
        if delivery is None:
            return True
        with self._lock:
            if (forge, delivery) in self._deliveries:
                return False
            self._deliveries[forge, delivery] = None
            if len(self._deliveries) > DELIVERIES_KEPT:
                self._deliveries.popitem(last=False)
        return True

    def _remember(self, name: str, changes: Sequence[HookChange]) -> None:
        with self._lock:
            kept = self._told.setdefault(name, deque(maxlen=CHANGES_KEPT))
            kept.extend(changes)
            self._told.move_to_end(name)
            if len(self._told) > REPOSITORIES_KEPT:
                self._told.popitem(last=False)

    def _note_forged(self, forge: str, reason: str) -> None:
        log.debug("webhook refused", extra={"forge": forge, "reason": reason})
        now = self._monotonic()
        with self._lock:
            full = len(self._forged_at) == FORGED_A_MINUTE
            if full and now - self._forged_at[0] < 60:  # noqa: PLR2004 - seconds in a minute
                return
            self._forged_at.append(now)
        log.warning("webhook with a wrong signature", extra={"forge": forge, "reason": reason})
        at, verdict = self._now(), Verdict.FORGED
        self._write([HookRecord(received_at=at, forge=forge, verdict=verdict, reason=reason)])

    def _write(self, records: Sequence[HookRecord]) -> None:
        """Hand records in; a webhook that is not written down has woken its repository anyway."""
        with self._lock:
            if self._waiting >= MOST_WAITING:
                return
            self._waiting += 1
        try:
            self._store.add(records).add_done_callback(self._note_written)
        except RepoSentryError as error:
            with self._lock:
                self._waiting -= 1
            log.debug("webhook not written down", extra={"error": str(error)})

    def _note_written(self, written: "Future[int]") -> None:
        with self._lock:
            self._waiting -= 1
        error = None if written.cancelled() else written.exception()
        if error is not None:
            log.debug("webhook not written down", extra={"error": str(error)})


def _ignored(note: str) -> Reception:
    return Reception(Outcome.IGNORED, note)


def _places_of(repositories: Iterable[Repository]) -> dict[str, list[str]]:
    """Index repositories by where they are."""
    places: dict[str, list[str]] = {}
    for repository in repositories:
        for place in _places(repository.url):
            places.setdefault(place, []).append(repository.name)
    return places


def _places(url: str) -> Iterator[str]:
    """Spell an address as all its spellings have in common: host and path, and the path alone.

    The path alone serves a forge that does not know by which host we reach it.

    >>> list(_places("git@GitHub.com:Acme/Website.git"))
    ['github.com/acme/website', '/acme/website']
    """
    try:
        remote = parse_remote(url)
    except ValueError:
        return
    if remote.scheme == "file":
        return
    path = remote.path.strip("/").lower().removesuffix(".git")
    # Bitbucket Server clones over HTTP from below /scm.
    path = path.removeprefix("scm/")
    if path:
        yield f"{remote.host}/{path}"
        yield f"/{path}"
