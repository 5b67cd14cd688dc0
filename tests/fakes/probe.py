"""A probe that says what it is told to, and may lie, lag or fail."""

from collections.abc import Callable, Mapping, Sequence

from app.domain.errors import ForgeError
from app.domain.plan import Probing
from app.domain.repository import Repository
from app.forges.probe import Facts, Seen


class FakeProbe:
    """Shows as moved what ``mark`` marks differently than at the question before.

    ``hides`` are URLs that it does not show, ``error`` is raised, and while it ``lies`` nothing
    seems to move.
    """

    def __init__(
        self, mark: Callable[[Repository], object], *, probing: Probing = Probing.LISTING
    ) -> None:
        self.name = "the list of acme's repositories"
        self.probing = probing
        self.mark = mark
        self.error: ForgeError | None = None
        self.lies = False
        self.requests = 1
        self.hides: set[str] = set()
        self.facts: Mapping[str, Facts] = {}
        self.asked: list[tuple[str, ...]] = []
        self._marks: dict[str, object] = {}

    def ask(self, repositories: Sequence[Repository], *, timeout_s: float) -> Seen:
        self.asked.append(tuple(one.name for one in repositories))
        if self.error is not None:
            raise self.error
        now = {one.url: self.mark(one) for one in repositories if one.url not in self.hides}
        moved = {url for url, mark in now.items() if self._marks.get(url) != mark}
        if self.lies:
            return Seen(frozenset(), frozenset(now), self.facts, self.requests)
        self._marks = now
        return Seen(frozenset(moved), frozenset(now), self.facts, self.requests)
