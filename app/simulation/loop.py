"""Virtual time, and all that happens in it: one thread, one order."""

import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

BEGINNING = datetime(2026, 1, 5, 12, tzinfo=UTC)
# Each event that happens while another is under way stands on its stack.
DEEPEST = 12


class Owner(Protocol):
    """Whoever's act an event is."""

    is_dead: bool
    is_frozen: bool
    deferred: list[Callable[[], None]]

    def die(self) -> None:
        """Do nothing any more."""
        ...


class Killed(BaseException):
    """A process ends here and now; nothing of it may catch this or act after it."""

    def __init__(self, owner: Owner) -> None:
        super().__init__("killed")
        self.owner = owner


class Loop:
    """Runs events in their order; one that sleeps lets the others happen meanwhile."""

    def __init__(self) -> None:
        self.ms = 0
        self.is_over = False
        self.is_telling = True
        self.story: list[tuple[Any, ...]] = []
        self._heap: list[tuple[int, int, Owner | None, Callable[[], None]]] = []
        self._count = itertools.count()
        self._stack: list[Owner | None] = []

    @property
    def now(self) -> datetime:
        """The true time."""
        return BEGINNING + timedelta(milliseconds=self.ms)

    @property
    def owner(self) -> Owner | None:
        """Whose act is under way."""
        return self._stack[-1] if self._stack else None

    def tell(self, *what: Any) -> None:
        """Add a line to the story."""
        if self.is_telling:
            self.story.append((self.ms, *what))

    def at(self, ms: int, act: Callable[[], None], owner: Owner | None = None) -> None:
        """Plan an event."""
        heapq.heappush(self._heap, (max(ms, self.ms), next(self._count), owner, act))

    def after(self, ms: int, act: Callable[[], None], owner: Owner | None = None) -> None:
        """Plan an event so many milliseconds from now."""
        self.at(self.ms + ms, act, owner)

    def run_until(self, ms: int) -> None:
        """Let happen what is planned until then; stop at once when all is over."""
        heap = self._heap
        while heap and heap[0][0] <= ms and not self.is_over:
            at, _, owner, act = heapq.heappop(heap)
            self.ms = max(self.ms, at)
            self._run(owner, act)
        if not self.is_over:
            self.ms = max(self.ms, ms)

    def step(self) -> bool:
        """Let the next event happen; False when there is none."""
        if not self._heap or self.is_over:
            return False
        self.run_until(self._heap[0][0])
        return True

    def sleep(self, ms: int) -> None:
        """Let the others go on for so long."""
        until = self.ms + ms
        if len(self._stack) < DEEPEST:
            self.run_until(until)
        elif not self.is_over:
            self.ms = until

    def is_running(self, owner: Owner) -> bool:
        """Tell whether some act of this owner is under way."""
        return owner in self._stack

    def _run(self, owner: Owner | None, act: Callable[[], None]) -> None:
        if owner is not None:
            if owner.is_dead:
                return
            if owner.is_frozen:
                owner.deferred.append(act)
                return
        self._stack.append(owner)
        try:
            act()
        except Killed as end:
            if end.owner in self._stack[:-1]:
                # What was under way in another process stood on top of it, and ends with it.
                if owner is not None:
                    owner.die()
                raise
        finally:
            self._stack.pop()
