"""An event owed to a receiver: what an answer means, and when to try again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.details import Details
from app.domain.event import Event

# Retried a few times within an hour although they look final: a person may be deploying.
DEPLOY_GAP = frozenset({401, 403, 404})
DEPLOY_GAP_TRIES = 3
DEPLOY_GAP_WAIT = timedelta(minutes=20)
LONGEST_RETRY_AFTER = timedelta(days=1)  # a choice: who asks for more is not believed
TRANSIENT = frozenset({408, 425, 429})
GONE = 410
SERVER_ERRORS = 500


class DeliveryState(StrEnum):
    """Where a delivery stands.

    ``pending``: not tried yet; ``sending``: a try is under way; ``waiting``: for its next try;
    ``held``: for a person; the last three are final.
    """

    PENDING = "pending"
    SENDING = "sending"
    WAITING = "waiting"
    HELD = "held"
    DELIVERED = "delivered"
    DEAD = "dead"
    CANCELLED = "cancelled"


class Confirmation(StrEnum):
    """What the receiver's own word says of a delivery that it took.

    ``awaited``: none came yet; ``confirmed``: it had its effect; ``unconfirmed``: none came in
    time, which a later word can still change.
    """

    AWAITED = "awaited"
    CONFIRMED = "confirmed"
    UNCONFIRMED = "unconfirmed"


OPEN_STATES = frozenset(
    {DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.WAITING, DeliveryState.HELD}
)


class Verdict(StrEnum):
    """What one answer means for the delivery; ``disable`` also stops the whole receiver."""

    DELIVERED = "delivered"
    RETRY = "retry"
    DEAD = "dead"
    DISABLE = "disable"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to go on: the first wait, the longest wait, and when to give up altogether."""

    first: timedelta = timedelta(seconds=5)
    longest: timedelta = timedelta(minutes=10)
    give_up: timedelta = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from one attempt.

    ``status`` is None when there was no HTTP answer, and then ``error`` says why. ``body`` is the
    beginning of the answer, as text. ``retry_after`` is how long the receiver asked to wait.
    """

    status: int | None
    error: str | None = None
    body: str = ""
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Parcel:
    """A delivery with all that is needed to render and send it.

    ``body`` and ``headers`` are None before the first attempt. ``due_at`` is when it may be tried.
    ``details`` are what the forge told of the change, None where it was not asked or did not tell.
    ``asked_until`` is what the receiver's last Retry-After for it came to.
    """

    position: int
    delivery_id: str
    receiver: str
    payload: str
    redelivery: int
    attempts_made: int
    first_attempt_at: datetime | None
    due_at: datetime
    body: bytes | None
    headers: Mapping[str, str] | None
    event: Event
    repository_id: int
    repository_name: str
    repository_url: str
    repository_forge: str
    default_branch: str | None
    labels: Mapping[str, str]
    details: Details | None = None
    asked_until: datetime | None = None


def is_transient(status: int | None) -> bool:
    """Tell whether there was no answer, or one that says to ask again: 408, 425, 429, 5xx."""
    return status is None or status in TRANSIENT or status >= SERVER_ERRORS


def judge(status: int | None, *, expect: str, attempt: int) -> Verdict:
    """Say what an HTTP status means, ``attempt`` counting from 1.

    ``expect`` is ``2xx`` or one status; another success than the expected one was not taken and
    will not be by asking again.

    >>> judge(202, expect="2xx", attempt=1).value, judge(200, expect="202", attempt=1).value
    ('delivered', 'dead')
    >>> judge(None, expect="2xx", attempt=9).value, judge(503, expect="2xx", attempt=9).value
    ('retry', 'retry')
    >>> judge(404, expect="2xx", attempt=2).value, judge(404, expect="2xx", attempt=3).value
    ('retry', 'dead')
    """
    if status is None or is_transient(status):
        return Verdict.RETRY
    if status // 100 == 2:  # noqa: PLR2004 - HTTP's own class
        taken = expect == "2xx" or status == int(expect)
        return Verdict.DELIVERED if taken else Verdict.DEAD
    if status == GONE:
        return Verdict.DISABLE
    if status in DEPLOY_GAP and attempt < DEPLOY_GAP_TRIES:
        return Verdict.RETRY
    return Verdict.DEAD


def next_wait(policy: RetryPolicy, answer: Answer, *, attempt: int, chance: float) -> timedelta:
    """Return how long to wait after a failed ``attempt`` (from 1): doubled each time, jittered.

    ``chance`` in [0, 1) takes up to half of the wait away, so that many deliveries that failed
    together do not come back together. A ``Retry-After`` is the least, whatever the policy says,
    up to a day.

    >>> [next_wait(RetryPolicy(), Answer(500), attempt=n, chance=0).seconds for n in (1, 2, 9)]
    [5, 10, 600]
    """
    if answer.status in DEPLOY_GAP:
        wait = DEPLOY_GAP_WAIT
    else:
        doublings = min(attempt - 1, 32)
        wait = min(policy.longest, policy.first * 2**doublings)
    wait *= 1 - chance / 2
    if answer.retry_after is not None:
        wait = max(wait, min(answer.retry_after, LONGEST_RETRY_AFTER))
    return wait


def longest_wait(policy: RetryPolicy) -> timedelta:
    """Return what no wait between two attempts exceeds."""
    return max(policy.longest, DEPLOY_GAP_WAIT, LONGEST_RETRY_AFTER)


def is_given_up(policy: RetryPolicy, *, first_attempt_at: datetime, retry_at: datetime) -> bool:
    """Tell whether the next try would come after the delivery has been tried for ``give_up``."""
    return retry_at - first_attempt_at > policy.give_up
