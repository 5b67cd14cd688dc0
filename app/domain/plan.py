"""How a forge's repositories are watched within its allowance: what is asked, and how often."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from app.domain.allowance import Resource


class Probing(StrEnum):
    """What looks after a repository between its own polls."""

    NONE = "none"  # nothing does: its own polls come at its interval
    LISTING = "listing"  # its owner's list of repositories, newest push first
    BATCH = "batch"  # one query for many repositories (GraphQL)


@dataclass(frozen=True, slots=True)
class Member:
    """A repository as the planner sees it.

    ``id`` is its number, ``owner`` the first part of its path at the forge (empty where there is
    none). ``interval`` is what was promised. ``way`` is how its own poll reads: ``rest``,
    ``ls-refs`` or ``ls-remote``. ``is_seen`` says by which probes it can be noticed.
    """

    id: int
    owner: str
    interval: timedelta
    way: str
    is_seen: frozenset[Probing] = frozenset()
    priority: float = 1.0


@dataclass(frozen=True, slots=True)
class Group:
    """Repositories that are watched alike: probed together ``every`` so often, or each alone.

    ``interval`` is between two polls of each member's own. ``key`` names the group within its
    forge: an owner for a listing, a number for a batch, empty for those that are not probed.
    """

    probing: Probing
    key: str
    members: tuple[int, ...]
    every: timedelta
    interval: timedelta


@dataclass(frozen=True, slots=True)
class Spend:
    """What the plan asks of one resource, against what polling may have of it, both an hour."""

    resource: Resource
    planned: float
    granted: float | None


@dataclass(frozen=True, slots=True)
class ForgePlan:
    """One forge's plan.

    ``is_kept`` says whether every member is looked at within its interval. ``sentences`` explain
    the choice to people, and what would make a promise possible that cannot be kept.
    """

    forge: str
    groups: tuple[Group, ...] = ()
    spends: tuple[Spend, ...] = ()
    is_kept: bool = True
    sentences: tuple[str, ...] = field(default=())
