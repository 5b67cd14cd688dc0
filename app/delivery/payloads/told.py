"""What is known of a change: what the forge told of it, and stand-ins where it told nothing.

Formats of other worlds have no word for «unknown»; what stands in does no harm there, and the
honest answer stands beside it, in what is ours.
"""

from dataclasses import replace
from datetime import datetime

from app.domain.delivery import Parcel
from app.domain.details import Commit, Person
from app.domain.refs import is_tag

# RFC 2606 keeps .invalid from being anyone's.
NOBODY = Person("RepoSentry", "reposentry@noreply.invalid", "reposentry")


def commits(parcel: Parcel) -> tuple[Commit, ...]:
    """Return the commits of a push, newest last; at least one, unless the ref was deleted.

    Lists of files are there only where they are whole, together: who reads them (Argo CD) looks
    at nothing else, so that half a list is worse than none. What leads to the new state of a
    created or rewound ref, nobody can list.
    """
    event, details = parcel.event, parcel.details
    if event.kind.change == "deleted":
        return ()
    if details is None or details.head is None:
        return (_stand_in(parcel),)
    # «Forced» must be known: of a branch that may have lost commits, their files are missing.
    is_ahead = event.kind.change == "updated" and is_forced(parcel) is False
    if is_ahead and details.head.added is not None:
        return details.commits
    return tuple(_without_files(commit) for commit in details.commits)


def head(parcel: Parcel) -> Commit:
    """Return the commit that matters, with all that is known of it."""
    known = commits(parcel)
    return known[-1] if known else _stand_in(parcel)


def commits_count(parcel: Parcel) -> int | None:
    """Return how many commits the push brought; None where nobody told."""
    details = parcel.details
    return details.total if details else None


def target(parcel: Parcel) -> str:
    """Return the commit that matters: where the ref leads, or was when it was deleted.

    That is past an annotated tag, where the forge told what it is a tag of.
    """
    details = parcel.details
    head = details.head if details and is_tag(parcel.event.ref) else None
    return head.id if head else parcel.event.commit


def is_forced(parcel: Parcel) -> bool | None:
    """Tell whether the ref was rewound; None where it could not be told."""
    if parcel.event.forced is not None or parcel.details is None:
        return parcel.event.forced
    return parcel.details.forced


def pushed_at(parcel: Parcel) -> datetime | None:
    """Return when it was pushed; None where nobody says."""
    if parcel.event.pushed_at is not None or parcel.details is None:
        return parcel.event.pushed_at
    return parcel.details.pushed_at


def pusher(parcel: Parcel) -> Person | None:
    """Return who pushed; None where nobody told."""
    return parcel.details.pusher if parcel.details else None


def _stand_in(parcel: Parcel) -> Commit:
    moment = pushed_at(parcel) or parcel.event.detected_at
    return Commit(parcel.event.commit, "", NOBODY, NOBODY, moment)


def _without_files(commit: Commit) -> Commit:
    return replace(commit, added=None, modified=None, removed=None)
