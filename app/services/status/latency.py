"""How soon changes were found, of one repository and of all."""

import math
from collections.abc import Sequence

from app.services.status.answers import Latency
from app.storage.entries import Reaction, RepositoryEntry
from app.storage.queries import Queries

# Some pages of repositories, in half a megabyte.
LATENCIES_KEPT = 2_000


class Latencies:
    """The latencies of repositories, read once for each change."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._known: dict[tuple[int, int], Latency] = {}

    def of(self, entries: Sequence[RepositoryEntry]) -> list[Latency]:
        """Return each repository's latency: that of its newest events, so it holds until the next.

        To read twenty events for each of a hundred rows would be half of a page's time.
        """
        known = {one.id: self._known.get((one.id, one.sequence)) for one in entries}
        asked = [one for one in entries if known[one.id] is None]
        if asked:
            by_repository: dict[int, list[Reaction]] = {one.id: [] for one in asked}
            for reaction in self._queries.list_reactions(list(by_repository)):
                by_repository[reaction.repository_id].append(reaction)
            if len(self._known) > LATENCIES_KEPT:
                self._known.clear()
            for one in asked:
                found = known[one.id] = latency_of(by_repository[one.id])
                self._known[one.id, one.sequence] = found
        return [known[one.id] or Latency() for one in entries]


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least ``share`` of the values do not exceed.

    >>> percentile([4.0, 1.0, 3.0, 2.0], 0.5), percentile([], 0.5)
    (2.0, None)
    """
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def latency_of(reactions: Sequence[Reaction]) -> Latency:
    """Return the median and the 95th percentile of what is known."""
    # A forge's clock may run ahead of ours; a change is not found before it is made.
    seconds = [max(0.0, (r.detected_at - r.pushed_at).total_seconds()) for r in reactions]
    return Latency(percentile(seconds, 0.5), percentile(seconds, 0.95))
