"""A change, recorded: what every receiver is told, and by which name it is known for good."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.domain.paths import Touched
from app.domain.refs import is_tag, short_name, zeros
from app.domain.snapshot import Change

# Chosen once, at random, for this program; ids made under it must never change.
NAMESPACE = uuid.UUID("6f2d4a0e-6c0b-5d0e-9a53-7c1f5f0f7a11")


class EventKind(StrEnum):
    """What happened to which sort of ref."""

    BRANCH_CREATED = "branch_created"
    BRANCH_UPDATED = "branch_updated"
    BRANCH_DELETED = "branch_deleted"
    TAG_CREATED = "tag_created"
    TAG_UPDATED = "tag_updated"
    TAG_DELETED = "tag_deleted"

    @classmethod
    def of(cls, change: Change) -> "EventKind":
        """Name a change.

        >>> EventKind.of(Change("refs/tags/v1", None, "a1")).value
        'tag_created'
        """
        sort = "tag" if is_tag(change.ref) else "branch"
        if change.before is None:
            return cls(f"{sort}_created")
        return cls(f"{sort}_deleted" if change.after is None else f"{sort}_updated")

    @property
    def change(self) -> str:
        """The change alone, as receivers filter by it: created, updated or deleted."""
        return self.value.partition("_")[2]


class EventState(StrEnum):
    """How far an event's deliveries are.

    ``open``: some are owed; ``delivered``: all taken; ``failed``: none owed and at least one dead;
    ``held``: waits for a person; ``ignored``: no receiver wanted it, or all were cancelled.
    """

    OPEN = "open"
    DELIVERED = "delivered"
    FAILED = "failed"
    HELD = "held"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one ref of one repository.

    ``sequence`` counts the repository's events from 1 without gaps. ``before`` and ``after`` are
    full hex ids, zeros where there is none. ``forced`` is None where it could not be told.
    ``pushed_at`` is None where nobody says when it was pushed. ``catch_up`` means that it was
    found after a pause of ours, so that ``detected_at`` says nothing of our speed. ``paths`` is
    what its files say where the repository asks for some, and None where nobody asked.
    """

    id: str
    sequence: int
    kind: EventKind
    ref: str
    before: str
    after: str
    forced: bool | None
    detected_at: datetime
    pushed_at: datetime | None = None
    catch_up: bool = False
    paths: Touched | None = None

    @property
    def name(self) -> str:
        """The branch's or tag's short name."""
        return short_name(self.ref)

    @property
    def commit(self) -> str:
        """The id that matters: where the ref is now, or where it was when it was deleted."""
        return self.before if self.kind.change == "deleted" else self.after


def event_id(*, key: str, ref: str, before: str, after: str, sequence: int) -> str:
    """Return the id that this change has on every machine and after every crash.

    >>> one = event_id(key="https://x/a", ref="refs/heads/m", before="0", after="1", sequence=1)
    >>> one == event_id(key="https://x/a", ref="refs/heads/m", before="0", after="1", sequence=1)
    True
    """
    return str(uuid.uuid5(NAMESPACE, "\n".join((key, ref, before, after, str(sequence)))))


def delivery_id(*, event: str, receiver: str, redelivery: int = 0) -> str:
    """Return the id that a delivery keeps over all its attempts.

    ``redelivery`` counts deliberate repeats; each is a new delivery with a new id. The id is safe
    as part of a Kubernetes name (RFC 1123 label).
    """
    return str(uuid.uuid5(NAMESPACE, "\n".join((event, receiver, str(redelivery)))))


def hold_id(*, event: str) -> str:
    """Return the id of the storm that began with this event."""
    return str(uuid.uuid5(NAMESPACE, f"hold\n{event}"))


def record(
    change: Change,
    *,
    key: str,
    sequence: int,
    detected_at: datetime,
    forced: bool | None = None,
    pushed_at: datetime | None = None,
    catch_up: bool = False,
) -> Event:
    """Make the event of a change.

    A created or deleted ref is never forced; an update is what the caller could find out.
    """
    known = change.after or change.before or ""
    before = change.before or zeros(known)
    after = change.after or zeros(known)
    kind = EventKind.of(change)
    return Event(
        id=event_id(key=key, ref=change.ref, before=before, after=after, sequence=sequence),
        sequence=sequence,
        kind=kind,
        ref=change.ref,
        before=before,
        after=after,
        forced=forced if kind.change == "updated" else False,
        detected_at=detected_at,
        pushed_at=pushed_at,
        catch_up=catch_up,
    )
