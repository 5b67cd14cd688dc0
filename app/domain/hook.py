"""What a forge's own webhook tells, and how that compares with what polling finds."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.details import Person, Push
from app.domain.event import Event

# Choices. A webhook that comes this long after polling found its change is late.
LATE_AFTER = timedelta(seconds=10)
# Forges keep answers for up to half a minute (GitLab its branches), and replicas lag: only a poll
# that began this long after a webhook can say that there was nothing.
BELIEVED_AFTER = timedelta(seconds=60)
# A webhook for a change that was found earlier than this is not about that change.
TOLD_WITHIN = timedelta(days=1)


class Verdict(StrEnum):
    """What became of a webhook, or of an event that had none.

    ``received``: it has not woken anything yet (another process took it); ``pending``: it woke
    its repository, and polling has not shown yet whether it was right; ``delivered``: it came
    before its change was found, or hardly later; ``late``: it came well after; ``missed``: the
    event was found and no webhook came for it; ``contradicted``: it was signed, and polling found
    nothing of the kind; ``forged``: its signature was wrong; ``ignored``: it can tell nothing.
    """

    RECEIVED = "received"
    PENDING = "pending"
    DELIVERED = "delivered"
    LATE = "late"
    MISSED = "missed"
    CONTRADICTED = "contradicted"
    FORGED = "forged"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class HookChange:
    """One change of one ref, as a webhook tells it.

    ``before`` and ``after`` are ids, zeros where there was nothing. Everything is None that it
    does not tell.
    """

    ref: str
    before: str | None
    after: str | None
    pusher: Person | None = None
    pushed_at: datetime | None = None
    forced: bool | None = None

    @classmethod
    def of(cls, push: Push) -> "HookChange":
        """Tell what a forge's own log says in the same words."""
        return cls(push.ref, push.before, push.after, push.pusher, push.at, push.forced)


@dataclass(frozen=True, slots=True)
class HookMessage:
    """What a webhook says.

    ``event`` is the forge's own word for what happened. ``delivery`` names this message, also when
    it is sent again. ``urls`` are the repository's, in all spellings that it gives.
    """

    event: str
    delivery: str | None = None
    is_ping: bool = False
    urls: tuple[str, ...] = ()
    changes: tuple[HookChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """A webhook's change that waits for its verdict."""

    position: int
    received_at: datetime
    ref: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """As much of an event as a webhook is compared with."""

    id: str
    ref: str
    before: str
    after: str
    detected_at: datetime


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict on the webhook at ``position``; ``lag`` is from detection to the webhook."""

    position: int
    verdict: Verdict
    reason: str | None = None
    event_id: str | None = None
    lag: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What polling knows of a repository.

    ``polled_at`` is when the newest poll that succeeded began. ``refs`` are the snapshot's, as far
    as they were asked for. ``settled`` are ids of events that a webhook has told of already.
    """

    polled_at: datetime | None
    events: Sequence[FoundEvent] = ()
    refs: dict[str, str] = field(default_factory=dict)
    settled: frozenset[str] = frozenset()


def judge(told: Sequence[Told], standing: Standing) -> list[Judgement]:
    """Compare what webhooks told of one repository with what polling found there.

    Args:
        told: All of the repository's webhooks that wait.
        standing: What polling knows.

    Returns:
        The verdicts that can be given; a webhook without one waits on.
    """
    verdicts: list[Judgement] = []
    for ref in dict.fromkeys(one.ref for one in told):
        of_ref = [one for one in told if one.ref == ref]
        events = [event for event in standing.events if event.ref == ref]
        verdicts += _judge_ref(of_ref, events, standing)
    return verdicts


def _judge_ref(
    told: Sequence[Told], events: Sequence[FoundEvent], standing: Standing
) -> list[Judgement]:
    found: dict[int, Judgement] = {}
    for one in told:
        event = _event_of(one, events)
        if event is not None:
            found[one.position] = _compare(one, event, standing)
    verdicts = [j for j in found.values() if j.verdict is not Verdict.PENDING]
    by_before: dict[str, list[Told]] = defaultdict(list)
    for one in told:
        if one.before is not None:
            by_before[one.before].append(one)
    for one in told:
        if one.position in found or not _is_polled_after(one, standing):
            continue
        verdicts.append(_judge_lone(one, by_before, events, standing))
    return verdicts


def _event_of(one: Told, events: Iterable[FoundEvent]) -> FoundEvent | None:
    """Find the event of a webhook: that which tells the same, found nearest in time to it."""
    near = [
        event
        for event in events
        if one.received_at - event.detected_at < TOLD_WITHIN and _tells(one, event)
    ]
    return min(near, key=lambda event: abs(event.detected_at - one.received_at), default=None)


def _tells(one: Told, event: FoundEvent) -> bool:
    """Tell whether a webhook is about an event.

    Where two pushes were found as one change, the second webhook tells how it ended; where one
    does not tell the end, its beginning must do.
    """
    if one.after is None:
        return _is_same(one.before, event.before)
    return _is_same(one.after, event.after)


def _compare(one: Told, event: FoundEvent, standing: Standing) -> Judgement:
    lag = one.received_at - event.detected_at
    if lag <= LATE_AFTER:
        return Judgement(one.position, Verdict.DELIVERED, None, event.id, lag)
    if not _is_polled_after(one, standing):
        # The ref may have come back to where it was, and the event for that is still to come.
        return Judgement(one.position, Verdict.PENDING)
    if event.id in standing.settled:
        reason = "a webhook told of that change before"
        return Judgement(one.position, Verdict.IGNORED, reason, event.id, lag)
    return Judgement(one.position, Verdict.LATE, None, event.id, lag)


def _judge_lone(
    one: Told,
    by_before: Mapping[str, Sequence[Told]],
    events: Sequence[FoundEvent],
    standing: Standing,
) -> Judgement:
    """Judge a webhook whose change polling has not found, although it has looked since."""
    ends = _ends_of(one, by_before)
    now_at = standing.refs.get(one.ref)
    is_there = _plain(now_at or "") in ends
    if one.after is None:
        is_there = now_at is not None
    if is_there:
        reason = "polling knew already, or saw only what came after"
        return Judgement(one.position, Verdict.DELIVERED, reason)
    for event in events:
        if _is_same(one.before, event.before) or _plain(event.after) in ends:
            lag = one.received_at - event.detected_at
            if lag <= LATE_AFTER:
                reason = "polling found it together with other pushes"
                return Judgement(one.position, Verdict.DELIVERED, reason, event.id, lag)
    return Judgement(one.position, Verdict.CONTRADICTED, "polling found nothing of it")


def _ends_of(one: Told, by_before: Mapping[str, Sequence[Told]]) -> set[str]:
    """Return where a ref was by this webhook and by those that go on from there."""
    ends: set[str] = set()
    left: dict[str, Iterator[Told]] = {}  # who goes on from an end, and has not yet
    end = one.after
    while end is not None:
        ends.add(_plain(end))
        rest = left.setdefault(end, iter(by_before.get(end, ())))
        following = next((other for other in rest if other.position != one.position), None)
        end = following.after if following is not None else None
    return ends


def _is_polled_after(one: Told, standing: Standing) -> bool:
    polled_at = standing.polled_at
    return polled_at is not None and polled_at >= one.received_at + BELIEVED_AFTER


def _is_same(told: str | None, found: str) -> bool:
    return told is not None and _plain(told) == _plain(found)


def _plain(found: str) -> str:
    """Return an id as it is compared: «nothing» is as long as the forge likes."""
    return found if found.strip("0") else ""


def find_push(event: Event, pushes: Sequence[HookChange]) -> HookChange | None:
    """Find who made a change, in a log of pushes, oldest first; None where nobody did.

    What polling saw as one change may have been several pushes: then the last of them counts, and
    it was forced if one of them was. Whether it was is known only when all of them are there.
    """
    of_ref = [push for push in pushes if push.ref == event.ref]
    last = next(
        (at for at in reversed(range(len(of_ref))) if _is_same(of_ref[at].after, event.after)), None
    )
    if last is None:
        return None
    newest = of_ref[last]
    chain = [newest]
    for push in reversed(of_ref[:last]):
        if _is_same(chain[-1].before, event.before):
            break
        if push.after is not None and push.after == chain[-1].before:
            chain.append(push)
    is_whole = _is_same(chain[-1].before, event.before)
    forced = _any_forced(chain) if is_whole else (newest.forced or None)
    return replace(newest, before=event.before, after=event.after, forced=forced)


def _any_forced(chain: Sequence[HookChange]) -> bool | None:
    if any(push.forced for push in chain):
        return True
    return None if any(push.forced is None for push in chain) else False
