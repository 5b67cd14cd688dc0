"""What every way of reading a repository's refs promises."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from app.domain.details import Details, Push
from app.domain.event import Event
from app.domain.repository import Repository
from app.domain.snapshot import Refs

HERE = ""  # where a repository has moved to that the forge knows by its configured name


@dataclass(frozen=True, slots=True)
class RefsReply:
    """What a forge said of a repository's refs.

    ``refs`` is None when nothing has changed since the validator that was sent; otherwise it holds
    every ref that could match the repository's patterns (and maybe more). Tags are told by the id
    of the tag object itself, never peeled, whatever the way of reading. ``validator`` is what to
    send next time (empty: ask unconditionally). ``default_branch`` is a full ref name, where it was
    told. ``read_by`` names the way: rest, ls-refs or ls-remote; ``requests`` counts what it took.
    ``lag`` is how old the answer may be, where a forge keeps its answers for a while. ``moved_to``
    is the repository's own URL now, where the forge led on to another name; ``HERE`` where it would
    have, and did not; None where it told neither.
    """

    refs: Refs | None
    read_by: str
    validator: Mapping[str, str] = field(default_factory=dict)
    default_branch: str | None = None
    requests: int = 1
    lag: timedelta = timedelta(0)
    moved_to: str | None = None


class GitClient(Protocol):
    """Reads the refs of one remote repository; safe to call from many threads."""

    def list_refs(
        self,
        repository: Repository,
        *,
        validator: Mapping[str, str],
        timeout_s: float,
        urgent: bool = False,
    ) -> RefsReply:
        """Ask once for every watched ref; never retry here, the scheduler does.

        Args:
            repository: Whose refs.
            validator: What the last reply carried, or empty to ask unconditionally.
            timeout_s: Seconds for the whole call, all pages together.
            urgent: Whether a person or a webhook waits for it, for whom some of the allowance is
                kept.

        Raises:
            ForgeBusy: Nothing was asked, since the pace allows it only later.
            ForgeUnavailable: No answer in time, or a 5xx.
            ForgeRateLimited: The allowance is spent; carries ``reset_at``.
            ForgeDenied: 401, 403, 404 and their like.
            ForgeAnswerInvalid: Cut off, too large, or not what the protocol says.
        """
        ...

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        """Tell what a created or updated ref brought; None where it cannot be told.

        Never raises, since nothing depends on it, and asks no forge whose allowance is spent. The
        newest commit is told for a new ref, for a tag, and for a branch that was only taken back.
        """
        ...

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        """Return the forge's own log of pushes since then, oldest first; None where it has none.

        Never raises, like ``describe``. It may lag behind the refs, or lack some.
        """
        ...
