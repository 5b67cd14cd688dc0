"""How the forges fare: what each grants, what the plan asks of it, what their webhooks told."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from app.domain.allowance import Budget, Credential, CredentialState, Spent
from app.domain.errors import NotFound
from app.domain.plan import ForgePlan, ProbeHealth
from app.domain.repository import Repository
from app.forges import Forges
from app.services.planner import Planner
from app.services.prober import Prober
from app.services.status.answers import (
    Forecast,
    ForgeStatus,
    ForgeWork,
    RepositoryProbe,
    RepositoryWatch,
)
from app.settings.types import Forge
from app.storage.entries import RepositoryEntry
from app.storage.queries import Queries

# A choice: a week shows whether webhooks come at all; of a month nobody remembers the cause.
AUDITED = timedelta(days=7)
HOOKS_SHOWN = 5
# A choice: earlier in its period than this, a budget's pace is mere chance.
LEAST_ELAPSED = 0.05


class Watch(Protocol):
    """What only the process that polls can tell; safe for many threads."""

    def credentials(self, forge: str) -> tuple[Credential, ...]:
        """Return a forge's credentials, without their secrets."""
        ...

    def spent(self, forge: str) -> Mapping[str, Spent]:
        """Return what was asked since the start, by purpose."""
        ...

    def plan(self, forge: str) -> ForgePlan | None:
        """Return a forge's plan, None while there is none."""
        ...

    def probes(self, forge: str) -> tuple[ProbeHealth, ...]:
        """Tell how each of a forge's probes fares."""
        ...

    def probe_of(self, repository_id: int) -> RepositoryProbe | None:
        """Tell of the probe that looks after a repository, if one does."""
        ...

    def way_of(self, repository: Repository) -> str:
        """Return the way by which its own poll would read now."""
        ...


class LiveWatch:
    """What this process knows while it polls."""

    def __init__(self, forges: Forges, planner: Planner, prober: Prober) -> None:
        self._forges = forges
        self._planner = planner
        self._prober = prober

    def credentials(self, forge: str) -> tuple[Credential, ...]:
        """Ask the forges."""
        return self._forges.credentials(forge)

    def spent(self, forge: str) -> Mapping[str, Spent]:
        """Ask the forges."""
        return self._forges.spent(forge)

    def plan(self, forge: str) -> ForgePlan | None:
        """Ask the planner."""
        return self._planner.plans().get(forge)

    def probes(self, forge: str) -> tuple[ProbeHealth, ...]:
        """Ask the prober; by name, which counts and does not spell."""
        found = [one for one in self._prober.healths() if one.forge == forge]
        return tuple(sorted(found, key=lambda one: (one.probing, len(one.name), one.name)))

    def probe_of(self, repository_id: int) -> RepositoryProbe | None:
        """Ask the prober."""
        name = self._prober.name_of(repository_id)
        known = next((one for one in self._prober.healths() if one.name == name), None)
        if known is None:
            return None
        return RepositoryProbe(known.name, known.every, self._prober.is_covered(repository_id))

    def way_of(self, repository: Repository) -> str:
        """Ask the forges."""
        return self._forges.way_of(repository)


class ForgeReader:
    """Reads it anew each time.

    Args:
        queries: The stored part.
        forges: The configured forges by name.
        watch: What the process that polls can tell; None where another one polls.
        now: The clock.
    """

    def __init__(
        self,
        queries: Queries,
        forges: Mapping[str, Forge],
        watch: Callable[[], Watch | None],
        now: Callable[[], datetime],
    ) -> None:
        self._queries = queries
        self._forges = forges
        self._watch = watch
        self._now = now

    def read(self) -> tuple[ForgeStatus, ...]:
        """Tell how the forges fare that something is known of or wanted from, by name."""
        counts = self._queries.count_by_forge()
        wanted = {name for name, forge in self._forges.items() if forge.signs_in}
        wanted |= {name for name, forge in self._forges.items() if forge.hook_secret}
        audits = self._queries.sum_hooks(since=self._now() - AUDITED)
        watch = self._watch()
        return tuple(
            ForgeStatus(
                name=name,
                kind=forge.kind if forge else None,
                url=forge.url if forge else "",
                api_url=forge.api_url if forge else None,
                share=forge.share if forge else 1.0,
                repositories=counts.get(name, (0, 0))[0],
                failing=counts.get(name, (0, 0))[1],
                takes_hooks=bool(forge and forge.hook_secret),
                work=_work(watch, name) if watch else None,
                audit=audits.get(name),
                hooks=self._queries.list_hooks(limit=HOOKS_SHOWN, forge=name).items
                if name in audits
                else (),
            )
            for name in sorted(wanted | counts.keys())
            for forge in (self._forges.get(name),)
        )

    def refused(self) -> tuple[tuple[str, Credential], ...]:
        """List the credentials that a forge does not take, with their forge; cheap to ask."""
        watch = self._watch()
        if watch is None:
            return ()
        return tuple(
            (name, credential)
            for name, forge in sorted(self._forges.items())
            if forge.signs_in
            for credential in watch.credentials(name)
            if credential.state is CredentialState.REFUSED
        )

    def watched(self, entry: RepositoryEntry, repository: Repository | None) -> RepositoryWatch:
        """Tell what looks after one repository, and by which way it is read now."""
        watch = self._watch()
        return RepositoryWatch(
            interval=repository.interval if repository else None,
            way=watch.way_of(repository) if watch and repository else None,
            probe=watch.probe_of(entry.id) if watch else None,
            is_told=watch is not None,
            takes_hooks=bool(
                (forge := self._forges.get(entry.forge)) is not None and forge.hook_secret
            ),
            paths=repository.paths.patterns if repository else (),
            pull_requests=bool(repository and repository.refs.wants_pulls),
        )


def find(forges: tuple[ForgeStatus, ...], name: str) -> ForgeStatus:
    """Return the one of that name; raises NotFound."""
    found = next((one for one in forges if one.name == name), None)
    if found is None:
        raise NotFound(f"no forge named {name!r} is used")
    return found


def facts_of(url: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out where a repository has moved to once that is where it is configured.

    >>> facts_of("https://x/a.git", {"moved_to": "https://x/A", "is_archived": True})
    {'is_archived': True}
    """
    moved_to = str(facts.get("moved_to") or "")
    if moved_to.lower().removesuffix(".git") != url.lower().removesuffix(".git"):
        return facts
    return {name: value for name, value in facts.items() if name != "moved_to"}


def _work(watch: Watch, name: str) -> ForgeWork:
    return ForgeWork(
        credentials=watch.credentials(name),
        plan=watch.plan(name),
        probes=watch.probes(name),
        spent=dict(watch.spent(name)),
    )


def forecast(budget: Budget, now: datetime) -> Forecast | None:
    """Tell where a budget will be when it is new, if it goes on as since its period began.

    All that ask with the credential are in it, not we alone. None where the period slides, and
    while it is too young to tell.

    >>> from datetime import UTC
    >>> from app.domain.allowance import Resource
    >>> noon = datetime(2026, 11, 5, 12, tzinfo=UTC)
    >>> hour = timedelta(hours=1)
    >>> forecast(Budget(Resource.REST, 5000, 4000, 900, hour, noon + hour / 2), noon)
    Forecast(spent=2000, runs_out_at=None)
    """
    if budget.reset_at is None or budget.limit <= 0 or not budget.period:
        return None
    left = budget.reset_at - now
    elapsed = budget.period - left
    if left <= timedelta(0) or elapsed < budget.period * LEAST_ELAPSED:
        return None
    spent = max(0, budget.limit - budget.remaining)
    until_new = round(spent * (budget.period / elapsed))
    if until_new <= budget.limit:
        return Forecast(until_new)
    runs_out_at = now + elapsed * (budget.remaining / spent)
    return Forecast(budget.limit, runs_out_at)
