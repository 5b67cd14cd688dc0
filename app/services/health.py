"""How well what lies outside of the program is, for those who watch the program from outside."""

from collections.abc import Iterable, Sequence
from itertools import islice

from app.domain.errors import (
    ForgeAnswerInvalid,
    ForgeDenied,
    ForgeRateLimited,
    ForgeSignInRefused,
    ForgeUnavailable,
)
from app.domain.health import Component, Status as Health
from app.services.catalog import Entry
from app.services.status.answers import ReceiverStatus

# Where very many fail, so many tell why: most of them have the same cause.
ASKED = 200
CAUSES_TOLD = 3
UNWELL = frozenset({"failing", "open", "disabled"})

_CAUSES = {
    ForgeUnavailable.code: "{} does not answer",
    ForgeRateLimited.code: "the allowance at {} is spent",
    ForgeDenied.code: "{} refuses access",
    ForgeSignInRefused.code: "{} refuses the sign-in",
    ForgeAnswerInvalid.code: "{} answers what cannot be understood",
}


def forges_health(entries: Iterable[Entry], refused: Sequence[str] = ()) -> Component:
    """Tell how well the forges answer.

    Degraded while the last poll of any repository failed, or while a forge takes a credential no
    more; ``refused`` names those, which others stand in for as long as they can.
    """
    polled = [e for e in entries if e.repository.enabled and e.watched.paused_at is None]
    failing = [e for e in polled if e.watched.error_code is not None]
    if not failing and refused:
        verb = "is" if len(refused) == 1 else "are"
        return Component("forges", Health.DEGRADED, f"{', '.join(refused)} {verb} refused")
    if not failing:
        return Component("forges", Health.OK)
    causes = dict.fromkeys(_cause(entry) for entry in islice(failing, ASKED))
    fail = "fails" if len(failing) == 1 else "fail"
    return Component(
        "forges",
        Health.DEGRADED,
        f"{len(failing):,} of {_count(len(polled), 'repository', 'repositories')} {fail}: "
        + "; ".join(islice(causes, CAUSES_TOLD)),
        min((e.watched.error_since for e in failing if e.watched.error_since), default=None),
    )


def receivers_health(receivers: Sequence[ReceiverStatus]) -> Component:
    """Tell how well the receivers listen: degraded while one fails or has said that it is gone.

    One that a person paused is not unwell.
    """
    unwell = [one for one in receivers if one.state in UNWELL]
    if not unwell:
        return Component("receivers", Health.OK)
    verb = "is" if len(unwell) == 1 else "are"
    told = "; ".join(f"{one.name}: {one.reason or one.state}" for one in unwell[:CAUSES_TOLD])
    return Component(
        "receivers",
        Health.DEGRADED,
        f"{len(unwell)} of {_count(len(receivers), 'receiver', 'receivers')} {verb} unwell: {told}",
        min((one.since for one in unwell if one.since), default=None),
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _cause(entry: Entry) -> str:
    place = entry.repository.remote.host or entry.repository.name
    return _CAUSES.get(entry.watched.error_code or "", "{} cannot be read").format(place)
