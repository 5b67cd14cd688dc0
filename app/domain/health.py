"""How well a component is, and how well the whole is for it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal


class Status(StrEnum):
    """``degraded`` still does its work; ``failed`` does not."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Component:
    """One part's health: ``reason`` is a sentence for people, ``since`` when it became so."""

    name: str
    status: Status
    reason: str | None = None
    since: datetime | None = None


# What is unwell there is not the program's own doing.
OUTSIDE = frozenset({"forges", "receivers"})


@dataclass(frozen=True, slots=True)
class HealthReport:
    """How well the whole is, and each of its parts; ``active`` polls and delivers."""

    status: Status
    role: Literal["active", "standby"]
    components: Sequence[Component]


def overall(components: Iterable[Component]) -> Status:
    """Return the worst status among the components.

    >>> overall([Component("a", Status.OK), Component("b", Status.DEGRADED)]).value
    'degraded'
    """
    order = list(Status)
    return max((c.status for c in components), key=order.index, default=Status.OK)
