"""Looks into changes before they are owed, where a repository chooses them by the files they touch.

Nothing is lost for want of an answer: what cannot be told is owed, and says so.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from app.domain.details import Details
from app.domain.event import Event
from app.domain.paths import Verdict
from app.domain.repository import Repository
from app.forges.client import GitClient
from app.forges.commits import has_base

log = logging.getLogger(__name__)

# Choices: for all changes of one poll together, which wait for it.
DEADLINE_S = 3.0
MOST_ASKED = 20
SHORTEST_S = 0.05  # less time than this, and no forge is asked


@dataclass(frozen=True, slots=True)
class Seen:
    """An event with what its files say, and all else that was told of it on the way."""

    event: Event
    details: Details | None = None

    @property
    def is_missed(self) -> bool:
        """Whether it is known to touch none of the paths."""
        paths = self.event.paths
        return paths is not None and paths.verdict is Verdict.MISSED


def inspect(
    client: GitClient,
    repository: Repository,
    events: Sequence[Event],
    *,
    monotonic: Callable[[], float] = time.monotonic,
) -> list[Seen]:
    """Ask which files changed; of a deleted ref nobody asks.

    There is nothing to compare a new ref or a tag with. Never raises.
    """
    deadline = monotonic() + DEADLINE_S
    left_to_ask = MOST_ASKED
    seen: list[Seen] = []
    for event in events:
        if event.kind.change == "deleted":
            seen.append(Seen(event))
            continue
        details = None
        left = deadline - monotonic()
        if has_base(event) and left_to_ask and left > SHORTEST_S:
            left_to_ask -= 1
            details = _described(client, repository, event, left)
        seen.append(_seen(repository, event, details))
    return seen


def _described(
    client: GitClient, repository: Repository, event: Event, timeout_s: float
) -> Details | None:
    try:
        return client.describe(repository, change=event, timeout_s=timeout_s)
    except Exception:  # a defect: no change may be held up by it
        log.exception("describing broke", extra={"repository": repository.name})
        return None


def _seen(repository: Repository, event: Event, details: Details | None) -> Seen:
    touched = repository.paths.touched(details.files if details else None)
    event = replace(event, paths=touched)
    if details is not None:
        forced = event.forced if event.forced is not None else details.forced
        event = replace(event, forced=forced, pushed_at=event.pushed_at or details.pushed_at)
    return Seen(event, details)
