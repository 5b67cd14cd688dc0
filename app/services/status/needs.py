"""What a person should look at, and what to do about it."""

from collections.abc import Callable, Container, Sequence
from datetime import datetime, timedelta

from app.domain.allowance import Credential
from app.domain.errors import ForgeDenied, ForgeRateLimited
from app.domain.health import OUTSIDE, Component, Status as Health
from app.services.status.answers import Need, ReceiverStatus, Trouble
from app.storage.entries import HoldEntry
from app.storage.queries import Queries
from app.storage.records import PollState

# Shorter troubles end by themselves more often than not; nobody is called for them.
PATIENCE = timedelta(minutes=15)
# A weekend: what failed on Friday evening is still shown on Monday morning.
FAILED_SHOWN = timedelta(days=3)
_FORGE_REMEDY = "It is tried again by itself; look at the forge and the network between."
_FORGE_REMEDIES = {
    ForgeDenied.code: "Check that the repository exists and that the forge's token may read it.",
    ForgeRateLimited.code: "It goes on when the allowance returns; another token would add to it.",
}


def trouble_of(poll: PollState) -> Trouble | None:
    """Say what is wrong with a repository; None when its last poll went well."""
    if poll.error_code is None:
        return None
    return Trouble(
        code=poll.error_code,
        message=poll.error_message or poll.error_code,
        since=poll.error_since,
        remedy=_FORGE_REMEDIES.get(poll.error_code, _FORGE_REMEDY),
    )


def component_needs(components: Sequence[Component]) -> list[Need]:
    """Tell of the program's own parts that are not well."""
    # What lies outside has needs of its own, each with its remedy.
    return [
        Need(
            f"component_{one.status.value}",
            "component",
            one.name,
            f"{one.name} is {one.status.value}" + (f": {one.reason}" if one.reason else ""),
            "The program's log tells more.",
            one.since,
        )
        for one in components
        if one.status is not Health.OK and one.name not in OUTSIDE
    ]


def receiver_needs(receivers: Sequence[ReceiverStatus], now: datetime) -> list[Need]:
    """Tell of receivers that do not take what they are owed."""
    needs = []
    for one in receivers:
        if one.state == "disabled":
            says = f"{one.name} is disabled" + (f": {one.reason}" if one.reason else "")
            remedy = "See that its address is right, then resume it and redeliver what it refused."
            needs.append(Need("receiver_disabled", "receiver", one.name, says, remedy, one.since))
        elif one.state == "paused" and one.owed:
            says = f"{one.name} is paused and is owed {one.owed:,}"
            remedy = "Resume it when it is ready; nothing is lost meanwhile."
            needs.append(Need("receiver_paused", "receiver", one.name, says, remedy, one.since))
        elif one.state == "open":
            says = f"{one.name} does not answer, so one delivery at a time tries it"
            says += f": {one.reason}" if one.reason else ""
            remedy = "See that it runs and answers; with its first answer all goes on by itself."
            needs.append(Need("receiver_open", "receiver", one.name, says, remedy, one.since))
        elif one.state == "failing" and one.since and now - one.since >= PATIENCE:
            says = f"{one.name} does not take its deliveries: {one.reason}"
            remedy = "See that it runs and answers; each delivery is tried again by itself."
            needs.append(Need("receiver_failing", "receiver", one.name, says, remedy, one.since))
    return needs


def former_needs(former: Sequence[tuple[str, int]]) -> list[Need]:
    """Tell of receivers that are owed something and not configured any more."""
    remedy = "Name it under receivers: again and it is sent what waits, or cancel what waits."
    return [
        Need(
            "receiver_unknown",
            "former receiver",
            name,
            f"{name} is not configured any more and is still owed {owed:,}",
            remedy,
        )
        for name, owed in former
    ]


def forge_needs(refused: Sequence[tuple[str, Credential]]) -> list[Need]:
    """Tell of credentials that their forge does not take."""
    return [
        Need(
            "credential_refused",
            "forge",
            forge,
            f"{forge} does not take its {credential.name}: {credential.reason or 'it is refused'}",
            f"Put a new one into forges.{forge}; what else signs in goes on meanwhile.",
        )
        for forge, credential in refused
    ]


def storm_needs(storms: Sequence[HoldEntry]) -> list[Need]:
    """Tell of storms that wait to be decided on."""
    return [
        Need(
            "storm_held",
            "storm",
            one.id,
            f"{one.changes:,} changes of {one.repository_name} came at once and are held",
            "See whether so many are meant, then release or dismiss them.",
            one.created_at,
        )
        for one in storms
    ]


def repository_needs(
    queries: Queries, live: Callable[[int], PollState | None], now: datetime
) -> list[Need]:
    """Tell of repositories that cannot be read, and will not be by themselves."""
    needs = []
    for entry in queries.list_failing(limit=20):
        error = trouble_of(live(entry.id) or entry.poll)
        if error is None:
            continue
        since = error.since or now
        if error.code != ForgeDenied.code and now - since < PATIENCE:
            continue
        says = f"{entry.name} cannot be read: {error.message}"
        needs.append(Need(error.code, "repository", entry.name, says, error.remedy, error.since))
    return needs


def event_needs(queries: Queries, receivers: Container[str], now: datetime) -> list[Need]:
    """Tell of events that a receiver did not take."""
    failed = queries.list_failed_events(since=now - FAILED_SHOWN, limit=100)
    if not failed:
        return []
    newest = failed[0]
    count = "100 or more events were" if len(failed) == 100 else f"{len(failed)} events were"  # noqa: PLR2004 - the limit above
    if len(failed) == 1:
        count = "One event was"
    known = tuple(name for name in queries.list_refusers() if name in receivers)
    return [
        Need(
            "deliveries_dead",
            "event" if len(failed) == 1 else "deliveries",
            newest.id if len(failed) == 1 else "dead",
            f"{count} not taken by a receiver; the newest is of {newest.repository_name}",
            "See what the receiver answered, mend it, then redeliver.",
            failed[-1].detected_at,
            known,
        )
    ]


def unconfirmed_needs(queries: Queries, receivers: Container[str], now: datetime) -> list[Need]:
    """Tell of deliveries that were taken and of which no run was confirmed."""
    found = queries.count_unconfirmed(since=now - FAILED_SHOWN)
    if not found:
        return []
    count = sum(found.values())
    what = "One delivery was" if count == 1 else f"{count:,} deliveries were"
    return [
        Need(
            "deliveries_unconfirmed",
            "deliveries",
            "unconfirmed",
            f"{what} accepted, but no run was confirmed",
            "See the EventListener's log for the reason, mend it, then send them again.",
            receivers=tuple(name for name in sorted(found) if name in receivers),
        )
    ]
