"""A probe over the modelled repositories that lags, lies and fails; and whom it lets rest.

What it swallows is never shown again: only the repository's own poll can find it.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from app.domain.cadence import Pace
from app.domain.errors import ForgeUnavailable
from app.domain.plan import ForgePlan, Group, Probing
from app.domain.repository import Repository
from app.forges.probe import Seen
from app.services.catalog import Catalog, Entry
from app.services.prober import Prober, Seats
from app.simulation.forge import STALE_MS, ModelRepository
from app.simulation.loop import Loop

EVERY = timedelta(seconds=15)
TOOK_MS = 80
# How long it is in one mood, and the moods in their turn; a history begins with any of them.
MOOD_MS = 40_000
MOODS = ("true", "lags", "true", "lies", "fails")


class World(Protocol):
    """What a probe looks at."""

    loop: Loop
    repositories: list[ModelRepository]

    @property
    def is_quiet(self) -> bool:
        """Whether all faults have ended."""
        ...


class ModelListing:
    """The list of all repositories, as the forge shows it at this moment.

    Args:
        world: Where they are.
        step: What a process passes before and after each question, where it may end.
        seed: The number of the history.
    """

    name = "the list of acme's repositories"
    probing = Probing.LISTING

    def __init__(self, world: World, step: Callable[[], object], seed: int) -> None:
        self._world = world
        self._step = step
        self._seed = seed
        self._models = {model.url: model for model in world.repositories}
        self._shown: dict[str, dict[str, str]] = {}

    def ask(self, repositories: Sequence[Repository], *, timeout_s: float) -> Seen:
        """Show what moved, or seems to have."""
        loop = self._world.loop
        self._step()
        mood = self._mood(loop.ms)
        at = loop.ms - (STALE_MS if mood == "lags" else 0)
        shown = {one.url: self._models[one.url].at(at) for one in repositories}
        loop.sleep(TOOK_MS)
        self._step()
        if mood == "fails":
            loop.tell("the list", mood)
            raise ForgeUnavailable("the list is not answered")
        moved = {url for url, refs in shown.items() if self._shown.get(url) is not refs}
        self._shown = shown
        loop.tell("the list", mood, len(moved))
        return Seen(frozenset() if mood == "lies" else frozenset(moved), frozenset(shown))

    def _mood(self, ms: int) -> str:
        if self._world.is_quiet:
            return "true"
        return MOODS[(self._seed + ms // MOOD_MS) % len(MOODS)]


class Probed:
    """Lets those rest whom a probe covers, as the planner does."""

    def __init__(
        self,
        catalog: Catalog,
        listing: ModelListing,
        *,
        wake: Callable[[int], None],
        now: Callable[[], datetime],
        ceiling: timedelta,
    ) -> None:
        self._ceiling = ceiling
        self.prober = Prober(
            catalog=catalog,
            probe_for=lambda *_: listing,
            wake=wake,
            now=now,
            timeout=timedelta(seconds=10),
        )

    def begin(self, members: Sequence[int], seats: Seats) -> None:
        """Begin to ask."""
        group = Group(Probing.LISTING, "acme", tuple(members), EVERY, self._ceiling)
        self.prober.follow([ForgePlan("github", (group,))], seats)

    def pace(self, entry: Entry, /) -> Pace:
        """Return the ceiling for who is covered, and its own interval for who is not."""
        interval = entry.repository.interval
        if self.prober.is_covered(entry.watched.id):
            return Pace(interval, self._ceiling, rest=self._ceiling, reason="watched")
        return Pace(interval, self._ceiling)

    def polled(self, repository_id: int, started_at: datetime, /) -> None:
        """Note a poll that went well."""
        self.prober.polled(repository_id, started_at)
