"""What a probe promises: one cheap question that covers many repositories at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.domain.plan import Probing
from app.domain.repository import Repository


@dataclass(frozen=True, slots=True)
class Facts:
    """What a forge says of a repository beside its refs; None where it was not told.

    ``moved_to`` is its URL now, where that is another than configured.
    """

    moved_to: str | None = None
    is_archived: bool | None = None
    is_disabled: bool | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What one question showed.

    ``moved`` holds the URLs of repositories that may have changed since the question before; all
    that are covered, the first time. ``covered`` are those whose next change would be seen too:
    whoever is missing there (another owner's, hidden from the credential, too far down the list)
    must be polled by itself. ``requests`` counts what it took, ``points`` what it cost in the
    probe's resource, where an unchanged answer is free.
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
