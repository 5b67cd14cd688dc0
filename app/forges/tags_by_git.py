"""Forges whose API tells what a tag leads to, and not the tag's own id.

A tag is known here by the id of the tag object itself, as git tells it, so that the same tag never
looks changed because it was read another way. Such an API reads repositories whose tags are not
watched; of the others it only tells what a change brought.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from app.domain.details import Details, Push
from app.domain.errors import ForgeDenied
from app.domain.event import Event
from app.domain.repository import Repository
from app.forges.client import RefsReply
from app.forges.fallback import Fallback, Way


class TagsByGit:
    """Reads by git first and by the API after it, which is left out where tags are watched."""

    def __init__(self, git: Way, rest: Way, *, now: Callable[[], datetime]) -> None:
        self._git = Fallback([git], now=now)
        self._both = Fallback([git, rest], now=now)

    def list_refs(
        self,
        repository: Repository,
        *,
        validator: Mapping[str, str],
        timeout_s: float,
        urgent: bool = False,
    ) -> RefsReply:
        """Ask the ways that tell all that is watched."""
        return self._for(repository).list_refs(
            repository, validator=validator, timeout_s=timeout_s, urgent=urgent
        )

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        """Ask the API too, which knows the commit that a tag leads to."""
        return self._both.describe(repository, change=change, timeout_s=timeout_s)

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        """Ask the API too."""
        return self._both.pushes(repository, since=since, timeout_s=timeout_s)

    def way_of(self, repository: Repository) -> str:
        """Return the way that would be asked now."""
        return self._for(repository).way_of(repository)

    def _for(self, repository: Repository) -> Fallback:
        return self._git if repository.refs.tags else self._both


def refuse_tags(repository: Repository, forge: str) -> None:
    """Refuse to list a repository whose tags are watched.

    Raises:
        ForgeDenied: They are.
    """
    if repository.refs.tags:
        raise ForgeDenied(f"{forge}'s API does not tell tags by their own ids; git does")
