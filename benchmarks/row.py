"""One row of the budget table, measured."""

import os
from dataclasses import dataclass

# A shared machine gives figures that differ by this much from one run to the next.
NOISE = 1.10
HEAD = "| what | budget | measured | beside |\n| --- | --- | --- | --- |"


@dataclass(frozen=True, slots=True)
class Row:
    """``measured`` is to be no more than ``budget``, both in ``unit``; ``beside`` tells more.

    ``measured`` is None where it cannot be measured, and ``beside`` then says why.
    """

    what: str
    budget: float
    unit: str
    measured: float | None
    beside: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the budget is kept, or missed by no more than noise."""
        return self.measured is None or self.measured <= self.budget * NOISE

    def __str__(self) -> str:
        """Read as a row of the table in Markdown."""
        figure = "not measured" if self.measured is None else f"{self.measured:.3g} {self.unit}"
        word = "" if self.is_met else " MISSED"
        budget = f"≤ {self.budget:g} {self.unit}"
        beside = f"{self.beside}; {load()}" if self.beside else load()
        return f"| {self.what} | {budget} | {figure}{word} | {beside} |"


def load() -> str:
    """Tell how busy the machine is: the load of the last minute, and its cores."""
    cores = f"{os.cpu_count()} cores"
    if not hasattr(os, "getloadavg"):
        return cores
    return f"load {os.getloadavg()[0]:.1f} on {cores}"
