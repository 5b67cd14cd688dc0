"""The forges' page: what each grants, what is asked of it, what watches its repositories."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Response

from app.domain.allowance import Budget, Credential, CredentialState
from app.domain.plan import ProbeHealth, Spend
from app.services.status.answers import ForgeStatus
from app.web.pages import charts
from app.web.pages.views import blueprint, render
from app.web.wiring import services

# Choices: the rest is in the API, so that a page stays small however many there are.
CREDENTIALS_SHOWN = 8
PROBES_SHOWN = 20

WORST_FIRST = ("failing", "late", "new", "ok")
MINUTES = "-minute"  # how the resources end that are counted within a minute


@dataclass(frozen=True, slots=True)
class Shown:
    """One forge as the page has it; ``state`` is a word that ``words.state`` knows."""

    forge: ForgeStatus
    state: str
    credentials: tuple[tuple[Credential, tuple[tuple[Budget, charts.Gauge], ...]], ...]
    spends: tuple[tuple[Spend, float, float | None, timedelta, charts.Gauge | None], ...]
    probes: tuple[tuple[ProbeHealth, str], ...]
    failing: int
    late: int

    @property
    def covered(self) -> int:
        """How many repositories a probe would show now."""
        return sum(one.covered for one in self.forge.work.probes) if self.forge.work else 0


@blueprint.get("/forges")
def forges() -> Response:
    """Show every forge that is used."""
    status = services().status
    now = status.now()
    return render("forges.html", forges=[shown(one, now) for one in status.forges()])


def shown(one: ForgeStatus, now: datetime) -> Shown:
    """Choose what fits on a page, what is not well first."""
    work = one.work
    if work is None:
        return Shown(one, "elsewhere", (), (), (), 0, 0)
    told = sorted(work.credentials, key=lambda it: it.state is CredentialState.OK)
    probes = [(probe, state_of_probe(probe)) for probe in work.probes]
    failing, late = (sum(state == word for _, state in probes) for word in ("failing", "late"))
    probes.sort(key=lambda pair: WORST_FIRST.index(pair[1]))
    return Shown(
        forge=one,
        state="failing" if 0 < one.repositories == one.failing else state_of(work.credentials),
        credentials=tuple(
            (it, tuple((b, charts.budget(b, share=one.share, now=now)) for b in it.budgets))
            for it in told[:CREDENTIALS_SHOWN]
        ),
        spends=tuple(map(_spend, work.plan.spends)) if work.plan else (),
        probes=tuple(probes[:PROBES_SHOWN]),
        failing=failing,
        late=late,
    )


def state_of_probe(one: ProbeHealth) -> str:
    """Return whether a probe would show what moves; one that answered and covers nobody is late."""
    if one.error:
        return "failing"
    if one.covered:
        return "ok"
    return "late" if one.answered_at else "new"


def state_of(credentials: Sequence[Credential]) -> str:
    """Return how a forge's credentials stand together: as the best of them does."""
    best = (
        CredentialState.OK,
        CredentialState.SPENT,
        CredentialState.PAUSED,
        CredentialState.REFUSED,
    )
    states = {one.state for one in credentials}
    return next((state.value for state in best if state in states), "ok")


def _spend(one: Spend) -> tuple[Spend, float, float | None, timedelta, charts.Gauge | None]:
    """Tell a plan's hour in the period that its resource is counted in."""
    is_minute = one.resource.value.endswith(MINUTES)
    parts = 60 if is_minute else 1
    granted = None if one.granted is None else one.granted / parts
    gauge = None if one.granted is None else charts.planned(one.planned, one.granted)
    period = timedelta(minutes=1) if is_minute else timedelta(hours=1)
    return one, one.planned / parts, granted, period, gauge
