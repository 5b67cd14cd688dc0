"""What a probe promises: one cheap question that covers many repositories at once."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from app.domain.plan import Probing
from app.domain.refs import RefFilter
from app.domain.repository import LONGEST_URL, Repository
from app.domain.snapshot import Refs
from app.forges.client import RefsReply
from app.forges.listing import keep

# A choice: within this the poll that a probe wakes begins; later it should look for itself.
FRESH_FOR_S = 10.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What a forge says of a repository beside its refs; None where it was not told.

    ``moved_to`` is its URL now, where that is another than configured, and else ``HERE``.
    ``pushed_at`` is when it was pushed to last, by the forge's clock.
    """

    moved_to: str | None = None
    is_archived: bool | None = None
    is_disabled: bool | None = None
    pushed_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one question showed.

    ``moved`` holds the URLs of repositories that may have changed since the question before; all
    that are covered, the first time. ``covered`` are those whose next change would be seen too:
    whoever is missing there (another owner's, hidden from the credential, too far down the list)
    must be polled by itself. ``facts`` are of those of which something new was told. ``requests``
    counts what it took, ``points`` what it cost in the probe's resource, where an unchanged answer
    is free.
    """

    moved: frozenset[str]
    covered: frozenset[str]
    facts: Mapping[str, Facts] = field(default_factory=dict)
    requests: int = 1
    points: int = 1


class Probe(Protocol):
    """Tells which of some repositories have moved; one thread at a time.

    It only wakes: a probe that lies costs time, never a change.
    """

    probing: Probing
    name: str

    def ask(self, repositories: Sequence[Repository], *, timeout_s: float) -> Seen:
        """Ask once about these repositories, which may be others than the last time.

        Raises:
            ForgeError: As a git client's ``list_refs``.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Kept:
    wanted: RefFilter
    refs: Refs
    at: float
    read_by: str
    default_branch: str | None
    moved_to: str | None


class JustTold:
    """Refs that probes were told moments ago, for the polls that they wake; safe for many threads.

    Each is handed out once, so that the next poll looks for itself.

    Args:
        seconds: A clock that only goes forward.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}  # by repository URL, the oldest first

    def keep(
        self,
        url: str,
        wanted: RefFilter,
        refs: Refs,
        *,
        at: float,
        read_by: str,
        default_branch: str | None = None,
        moved_to: str | None = None,
    ) -> None:
        """Keep every ref that was ``wanted``, as asked for ``at`` a moment of our clock."""
        oldest = self._seconds() - FRESH_FOR_S
        with self._lock:
            self._kept.pop(url, None)
            while self._kept and next(iter(self._kept.values())).at < oldest:
                self._kept.pop(next(iter(self._kept)))
            self._kept[url] = _Kept(wanted, refs, at, read_by, default_branch, moved_to)

    def take(self, repository: Repository) -> RefsReply | None:
        """Return what was kept of a repository, if it is fresh and answers what is asked now."""
        with self._lock:
            kept = self._kept.pop(repository.url, None)
        if kept is None or kept.wanted != repository.refs:
            return None
        age_s = self._seconds() - kept.at
        if age_s > FRESH_FOR_S:
            return None
        return RefsReply(
            keep(kept.refs.items(), repository),
            kept.read_by,
            default_branch=kept.default_branch,
            requests=0,
            lag=timedelta(seconds=age_s),
            moved_to=kept.moved_to,
        )


def url_of(url: str, path: str, now: str) -> str | None:
    """Return a repository's URL once its path at the forge is ``now`` another, or None.

    None stands for what cannot be kept as an address.

    >>> url_of("https://git.example.com/acme/Site.git", "acme/site", "acme/web")
    'https://git.example.com/acme/web.git'
    """
    at = url.lower().rfind(path.lower())
    moved = url[:at] + now + url[at + len(path) :] if at >= 0 else url
    return moved if is_url(moved) else None


def is_url(found: str) -> bool:
    """Tell whether what a forge names as an address can be kept and shown as one."""
    return len(found) <= LONGEST_URL and found.isprintable()
