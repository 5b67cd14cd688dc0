"""How much a forge still lets one credential ask, learned from what it answers.

Four things are kept apart, because they end at different times and mean different things: what the
forge counts over a long period (a purse), what it allows within a minute (a pace), that it asked us
to wait, and that it refused the sign-in.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TypeGuard

from app.domain.allowance import Budget, CredentialState, Limits, Resource
from app.domain.errors import ForgeBusy, ForgeRateLimited, ForgeSignInRefused
from app.transport import Reply

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

# Where each forge writes it: limit, what remains of it, and the second (epoch) it is new again;
# then the period that its documentation names.
HEADERS = (
    ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", HOUR),  # GitHub
    ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", MINUTE),  # GitLab
)
# GitHub's word for what a limit is about, and ours; it counts searches and more apart.
RESOURCES = {"": None, "core": Resource.REST, "graphql": Resource.GRAPHQL}

# The IETF's draft counts the seconds from now instead; in 2001 nobody polled forges.
LEAST_EPOCH_S = 1_000_000_000

# A choice: no forge's period is longer (GitHub's is an hour), so a moment further off is a mistake
# of the forge's, or our clock has been set back since it was noted.
LONGEST_PERIOD = DAY
# A choice: a clock that was set back by less is not noticed. Threads read it one after the other.
CLOCK_TOLERANCE = timedelta(seconds=5)
# More digits than these are no count and no moment.
MOST_DIGITS = 12
# What is above any forge's limit (GitHub's largest is 15,000 an hour) is a mistake, not a licence.
LARGEST_LIMIT = 100_000_000

# GitHub's advice for a limit that does not say how long it lasts: a minute, then longer.
FIRST_PAUSE = MINUTE
LONGEST_PAUSE = timedelta(minutes=15)
# A choice: a wait that the forge names is believed three times in a row, and then doubles too.
BELIEVED = 4

# The part of our share that polling leaves to people and to forges' webhooks.
FOR_URGENT = 0.1
# How long a refused credential is left alone. GitLab shuts an address out for an hour after 30
# refusals in 3 minutes; four an hour are far from that.
REFUSED_FOR = timedelta(minutes=15)
# A choice: how many tries a forge gets at once that gave the first one no answer.
MOST_UNTRIED = 8
# A choice: a first try that was not answered for this long holds up nobody any more.
TRIAL_FOR = timedelta(seconds=15)

# Choices. The longest that a poll is put off to its own slot; where the queue is longer, another
# way of reading is quicker. How much may be asked at once after a silence. How long a slot waits
# for whoever it was given to.
LONGEST_WAIT_S = 15.0
BURST_S = 5.0
SLOT_KEPT_S = 30.0
# How long the pace takes to be whole again after a wait, and where it begins.
RAMP_S = 60.0
RAMP_START = 0.1
# The pace during a ramp where no limit is known: GitHub's, as 900 a minute.
RAMP_PER_MINUTE = 900.0
# Asked this little too early, a slot is taken all the same: moments lose digits on their way.
SLACK_S = 0.01

# The part of a long period's share that may be spent at once; the rest is spread over the period,
# so that a bad quarter of an hour leaves something for the other three.
AHEAD = 0.25
LEAST_AHEAD = 10.0
# A choice: with less than this part of it left, what only describes changes is not asked, so that
# what finds them can be.
FOR_FINDING = 0.5

# At most so many at a time. GitHub: 100, REST and GraphQL together; some is left to others.
MOST_AT_ONCE = 64
# A choice: how long to wait when so many are under way; a request takes less.
CROWDED_S = 0.5

# The step of a sequence that never meets itself, for spreading without chance (the golden ratio).
_STEP = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer's headers say of a limit."""

    limit: int
    remaining: int
    reset_at: datetime
    period: timedelta


class Allowance:
    """What one credential may still ask; safe for many threads.

    Args:
        share: The part (0 to 1) of the limits that polling may use; the rest is left to others.
        now: The clock.
        usual: The forge's limits as it documents them, until it tells its own.
        per_minute_when_told: The limits within a minute that hold where the forge counts at all;
            None in both where it has none beside those of its headers.
        signs_in: Whether there is a credential; without one no sign-in can be refused.
        unchanged_is_free: Whether an unchanged answer costs nothing of the longer limit.
        most_at_once: The most requests under way.
    """

    def __init__(
        self,
        *,
        share: float,
        now: Callable[[], datetime],
        usual: Limits = Limits(),  # noqa: B008 - frozen
        per_minute_when_told: Limits = Limits(),  # noqa: B008 - frozen
        signs_in: bool = False,
        unchanged_is_free: bool = False,
        most_at_once: int = MOST_AT_ONCE,
    ) -> None:
        self._now = now
        self._usual = usual
        self._minute_limits = {
            Resource.REST: usual.rest_per_minute or per_minute_when_told.rest_per_minute,
            Resource.GRAPHQL: usual.graphql_per_minute or per_minute_when_told.graphql_per_minute,
        }
        self._signs_in = signs_in
        self._unchanged_is_free = unchanged_is_free
        self._most_at_once = most_at_once
        self._share = share
        self._lock = threading.Lock()
        self._purses = {
            Resource.REST: _Purse(share, usual.rest_per_hour),
            Resource.GRAPHQL: _Purse(share, usual.graphql_per_hour),
        }
        self._paces = {
            Resource.REST: _Pace(share, usual.rest_per_minute),
            Resource.GRAPHQL: _Pace(share, usual.graphql_per_minute),
        }
        self._paused_until: datetime | None = None
        self._paused_at = now()
        self._pause = FIRST_PAUSE
        self._sign_in = _SignIn()
        self._in_flight = 0
        self._crowd_s = 0.0  # the last moment that somebody was put off to, because of the crowd
        self._turn = 0.0
        self._requests = self._unchanged = self._errors = 0

    def admit(
        self,
        resource: Resource = Resource.REST,
        *,
        key: str = "",
        urgent: bool = False,
        by: str = "api",
        points: int = 1,
        yields: bool = False,
    ) -> None:
        """Let a request pass, or refuse it before it is sent.

        Args:
            resource: What it counts against: REST, GRAPHQL, or GIT, which is not counted.
            key: Who asks, so that they find the slot they were given; empty for who cannot wait,
                and goes before those who can.
            urgent: Whether somebody waits for it: what is kept for them may be used.
            by: ``api`` or ``git``: a credential may be good for one and not for the other.
            points: What it costs of the limit within a minute.
            yields: Whether it is asked only while the allowance is plenty.

        Raises:
            ForgeBusy: Its turn comes within moments.
            ForgeRateLimited: Our share is used up, or the forge asked to wait.
            ForgeSignInRefused: The forge does not take this credential.
        """
        now = self._now()
        with self._lock:
            self._sign_in.check(by, now)
            if resource is not Resource.GIT:
                self._check_pause(now)
                purse = self._purses[resource]
                if purse.is_spent(now) and purse.reset_at is not None:
                    self._paces[resource].ramp_from(purse.reset_at, now)
                purse.check(now, urgent=urgent, jitter=self._jitter(), yields=yields)
            self._check_crowd(by, now)
            if resource is not Resource.GIT:
                pace = self._paces[resource]
                pace.admit(key, now, urgent=urgent, points=points, jitter=self._jitter())
            if self._signs_in:
                self._sign_in.begin(by, now)

    def enter(self) -> None:
        """Note that a request goes out; ``leave`` must follow."""
        with self._lock:
            self._in_flight += 1
            self._requests += 1

    def leave(self, status: int | None, *, by: str = "api") -> None:
        """Note that a request is over: its answer's status, or None where none came."""
        with self._lock:
            self._in_flight -= 1
            if status is None:
                self._errors += 1
                self._sign_in.give_up(by)
                return
            if status == HTTPStatus.NOT_MODIFIED:
                self._unchanged += 1
            elif status >= HTTPStatus.BAD_REQUEST:
                self._errors += 1
            if status != HTTPStatus.UNAUTHORIZED:
                self._sign_in.prove(by)

    def charge(self, resource: Resource = Resource.REST, points: int = 1) -> None:
        """Count a further request of a call that has been let pass already."""
        if resource is not Resource.GIT:
            with self._lock:
                self._paces[resource].charge(self._now(), points)

    def learn(self, reply: Reply, resource: Resource = Resource.REST, points: int = 1) -> int:
        """Take in what an answer's headers say; an answer that says nothing changes no limit.

        Return what the request cost of the longer allowance.
        """
        now = self._now()
        is_free = self._unchanged_is_free and reply.status == HTTPStatus.NOT_MODIFIED
        cost = 0 if is_free else points
        found = told(reply.headers, now=now)
        with self._lock:
            if resource is not Resource.GIT and cost:
                self._purses[resource].spend(cost)
            if found is None:
                return cost
            named, limit = found
            self._learn(named or resource, limit, now)
        return cost

    def _learn(self, resource: Resource, limit: Told, now: datetime) -> None:
        purse = self._purses.get(resource)
        if purse is None:
            return
        purse.learn(limit, now)
        self._paces[resource].limit = (
            float(limit.limit) if purse.period <= MINUTE else self._minute_limits[resource]
        )

    def pause(self, until: datetime | None = None) -> ForgeRateLimited:
        """Refuse everything ``until`` then, or for a while that doubles each time; return why.

        Refusals of requests that were under way together count as one.
        """
        now = self._now()
        with self._lock:
            running = (
                self._paused_until
                if _is_ahead(self._paused_until, now, since=self._paused_at)
                else None
            )
            if running is not None:
                moment = max(running, until or running)
            elif until is None:
                moment = now + self._pause
            else:
                # A time that is named again and again is not enough, and is lengthened.
                longer = (until - now) * (self._pause / FIRST_PAUSE / BELIEVED)
                moment = max(until, now + min(longer, LONGEST_PAUSE))
            if running is None:
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
            self._paused_until, self._paused_at = moment, now
            for pace in self._paces.values():
                pace.ramp_from(moment, now)
            return ForgeRateLimited("the forge's rate limit is reached", reset_at=moment)

    def exhaust(self, resource: Resource, until: datetime) -> ForgeRateLimited:
        """Note that nothing is left of one resource until then; return why."""
        now = self._now()
        with self._lock:
            purse = self._purses[resource]
            purse.empty(until, now)
            self._paces[resource].ramp_from(until, now)
            return ForgeRateLimited("the forge's rate limit is reached", reset_at=until)

    def resume(self) -> None:
        """Note that the forge answers again, so that the next untold pause is a short one."""
        with self._lock:
            if not _is_ahead(self._paused_until, self._now(), since=self._paused_at):
                self._pause = FIRST_PAUSE

    def give_up(self, by: str = "api") -> None:
        """Note that what was let pass was never sent."""
        with self._lock:
            self._sign_in.give_up(by)

    def refuse(self, by: str, reason: str) -> ForgeSignInRefused:
        """Note that the sign-in was refused; return why nothing is asked with it now."""
        with self._lock:
            return self._sign_in.refuse(by, reason, self._now())

    def spent_until(self, reply: Reply) -> datetime | None:
        """Return when the allowance is new, if this answer says that nothing of it remains.

        At the earliest in a minute, whatever it says.
        """
        now = self._now()
        found = told(reply.headers, now=now)
        if found is None or found[1].remaining > 0:
            return None
        return found[1].reset_at if found[1].reset_at > now else now + FIRST_PAUSE

    def limits(self, *, soon: timedelta = timedelta(0)) -> Limits:
        """Return the forge's limits, as it told them, or as it documents them.

        A resource whose share is used up has none, unless it is new again ``soon``.
        """
        now = self._now()
        with self._lock:
            rest, graphql = self._purses[Resource.REST], self._purses[Resource.GRAPHQL]
            has_rest, has_graphql = rest.is_good(now, soon), graphql.is_good(now, soon)
            rest_minute = self._paces[Resource.REST].limit
            graphql_minute = self._paces[Resource.GRAPHQL].limit
            return Limits(
                rest_per_hour=rest.per_hour() if has_rest else 0,
                rest_per_minute=rest_minute if has_rest else 0,
                graphql_per_hour=graphql.per_hour() if has_graphql else 0,
                graphql_per_minute=graphql_minute if has_graphql else 0,
                git_per_hour=self._usual.git_per_hour,
            )

    def standing(self) -> tuple[CredentialState, str | None, datetime | None]:
        """Return whether this credential may ask now; if not, why, and until when."""
        now = self._now()
        with self._lock:
            refused = self._sign_in.refusal(now)
            if refused is not None:
                return CredentialState.REFUSED, str(refused), refused.until
            if _is_ahead(self._paused_until, now, since=self._paused_at):
                return CredentialState.PAUSED, "the forge asked to wait", self._paused_until
            for resource, purse in self._purses.items():
                if purse.is_spent(now):
                    name = "REST" if resource is Resource.REST else "GraphQL"
                    return CredentialState.SPENT, f"our share of {name} is used up", purse.reset_at
            return CredentialState.OK, None, None

    def budgets(self) -> tuple[Budget, ...]:
        """Return every limit that is known, and what remains of it."""
        now = self._now()
        with self._lock:
            found = [purse.budget(name, now) for name, purse in self._purses.items()]
            minutes = {
                Resource.REST: Resource.REST_MINUTE,
                Resource.GRAPHQL: Resource.GRAPHQL_MINUTE,
            }
            found += [pace.budget(minutes[name], now) for name, pace in self._paces.items()]
        return tuple(budget for budget in found if budget is not None)

    def counts(self) -> tuple[int, int, int]:
        """Return how many requests were sent, how many were unchanged, and how many failed."""
        with self._lock:
            return self._requests, self._unchanged, self._errors

    def _check_pause(self, now: datetime) -> None:
        if _is_ahead(self._paused_until, now, since=self._paused_at):
            raise ForgeRateLimited(
                "the forge asked to wait before the next request", reset_at=self._paused_until
            )

    def _check_crowd(self, by: str, now: datetime) -> None:
        is_tried = self._signs_in and self._sign_in.is_tried(by, now)
        if is_tried or self._in_flight >= self._most_at_once:
            why = (
                "the first request with this credential is under way"
                if is_tried
                else f"{self._in_flight} requests are under way"
            )
            raise ForgeBusy(why, at=now + timedelta(seconds=self._crowd_wait_s(now)))

    def _crowd_wait_s(self, now: datetime) -> float:
        """Return how long to wait: longer, the more wait already, so that few come back in vain."""
        now_s = now.timestamp()
        if not now_s <= self._crowd_s <= now_s + LONGEST_WAIT_S:
            self._crowd_s = now_s
        self._crowd_s += CROWDED_S / self._most_at_once
        wait_s = self._crowd_s - now_s + CROWDED_S * (0.5 + self._jitter())
        return min(wait_s, LONGEST_WAIT_S * (0.5 + self._jitter() / 2))

    def _jitter(self) -> float:
        self._turn = (self._turn + _STEP) % 1.0
        return self._turn


class _SignIn:
    """Whether a forge takes a credential: tried by one request, then by all, or left alone."""

    def __init__(self) -> None:
        self._proven: set[str] = set()
        self._refused: dict[str, ForgeSignInRefused] = {}
        self._refused_at: dict[str, datetime] = {}
        self._tried: dict[str, tuple[int, datetime]] = {}  # how many, and when the last began
        # How many may be under way before one is answered: more, once a first had no answer.
        self._most_untried = 1

    def check(self, by: str, now: datetime) -> None:
        """Raise what it was refused with, while that holds.

        What the API refused is not tried on git, and the other way round only where the API has
        taken it before: a token may be meant for the API alone.
        """
        for other in ("api", "git"):
            refused = self._refused.get(other)
            if refused is None or not self._holds(other, now):
                continue
            if other in {by, "api"} or by not in self._proven:
                raise ForgeSignInRefused(str(refused), until=refused.until)

    def is_tried(self, by: str, now: datetime) -> bool:
        """Tell whether a first try is under way, which others had better wait for."""
        tried = self._tried.get(by)
        if by in self._proven or tried is None:
            return False
        count, tried_at = tried
        return count >= self._most_untried and timedelta(0) <= now - tried_at < TRIAL_FOR

    def begin(self, by: str, now: datetime) -> None:
        if by not in self._proven:
            count, _ = self._tried.get(by, (0, now))
            self._tried[by] = (count + 1, now)

    def give_up(self, by: str) -> None:
        if by not in self._proven:
            count, tried_at = self._tried.pop(by, (1, None))
            if count > 1 and tried_at is not None:
                self._tried[by] = (count - 1, tried_at)
            self._most_untried = MOST_UNTRIED

    def prove(self, by: str) -> None:
        if by not in self._proven:
            self._proven.add(by)
            self._tried.pop(by, None)
            self._refused.pop(by, None)

    def refuse(self, by: str, reason: str, now: datetime) -> ForgeSignInRefused:
        self._proven.discard(by)
        self._tried.pop(by, None)
        if by == "api":
            self._proven.discard("git")
        known = self._refused.get(by)
        if known is None or not self._holds(by, now):
            known = ForgeSignInRefused(reason, until=now + REFUSED_FOR)
            self._refused[by], self._refused_at[by] = known, now
        return ForgeSignInRefused(str(known), until=known.until)

    def refusal(self, now: datetime) -> ForgeSignInRefused | None:
        """Return what stops it now; git's refusal alone does not stop a token of the API's."""
        for by in ("api", "git"):
            refused = self._refused.get(by)
            is_whole = by == "api" or "api" not in self._proven
            if refused is not None and is_whole and self._holds(by, now):
                return refused
        return None

    def _holds(self, by: str, now: datetime) -> bool:
        refused = self._refused.get(by)
        return refused is not None and _is_ahead(refused.until, now, since=self._refused_at[by])


class _Purse:
    """What is left of a limit over a long period; spent evenly, but for a part at once."""

    def __init__(self, share: float, usual: float | None) -> None:
        self._share = share
        self._usual = usual
        self._limit = 0
        self._remaining = 0
        self.reset_at: datetime | None = None
        self._told_at: datetime | None = None
        self.period = HOUR
        self._used = 0
        self._ahead = 0.0
        self._ahead_at: datetime | None = None

    def per_hour(self) -> float | None:
        if not self._limit:
            return self._usual
        return None if self.period <= MINUTE else self._limit * (HOUR / self.period)

    def learn(self, told: Told, now: datetime) -> None:
        # Answers may overtake one another: within one period only the least counts.
        is_known = _is_ahead(self.reset_at, now, since=self._told_at)
        if is_known and self.reset_at is not None and told.reset_at < self.reset_at:
            return
        remaining = told.remaining
        if told.reset_at == self.reset_at:
            remaining = min(remaining, self._remaining)
        elif not is_known or self._is_next(told):
            self._used = 0
            self._ahead = self._most_ahead(told.limit)
            self._ahead_at = now
        self.period = max(told.period, self.period if self._limit else told.period)
        self._limit, self.reset_at, self._told_at = told.limit, told.reset_at, now
        self._remaining = min(remaining, told.limit)

    def _is_next(self, told: Told) -> bool:
        """Tell a new period from the same, whose end some forges count from each request on."""
        return self.reset_at is None or told.remaining > self._remaining

    def empty(self, until: datetime, now: datetime) -> None:
        self._limit = self._limit or 1
        self._remaining, self.reset_at, self._told_at = 0, until, now

    def spend(self, points: int) -> None:
        self._used += points
        self._ahead -= points

    def _floor(self, *, urgent: bool) -> int:
        ours = self._limit * self._share
        return round(self._limit - ours + (0 if urgent else ours * FOR_URGENT))

    def is_spent(self, now: datetime) -> bool:
        is_known = _is_ahead(self.reset_at, now, since=self._told_at)
        return is_known and self._remaining <= self._floor(urgent=False)

    def is_good(self, now: datetime, soon: timedelta) -> bool:
        return not self.is_spent(now) or (self.reset_at is not None and self.reset_at <= now + soon)

    def check(self, now: datetime, *, urgent: bool, jitter: float, yields: bool = False) -> None:
        if not _is_ahead(self.reset_at, now, since=self._told_at):
            return
        ours = self._remaining - self._floor(urgent=urgent)
        if ours <= 0:
            raise ForgeRateLimited(
                f"our share of the forge's allowance is used up "
                f"({self._remaining} of {self._limit} remain)",
                reset_at=self.reset_at,
            )
        if urgent or self.period <= MINUTE:
            return
        rate = ours / max(1.0, (self.reset_at - now).total_seconds())
        self._refill(now, rate)
        least = self._most_ahead(self._limit) * FOR_FINDING if yields else 0.0
        if self._ahead > least:
            return
        wait_s = min(
            (least + 1.0 - self._ahead) / rate * (1.0 + jitter), LONGEST_PERIOD.total_seconds()
        )
        at = min(now + timedelta(seconds=wait_s), self.reset_at)
        # Not a slot to wait for: it would be anybody's who comes first then, and where many ask,
        # some were put off for minutes while another way could have read them.
        raise ForgeRateLimited(
            f"what is left of the forge's allowance is spread until it is new "
            f"({self._remaining} of {self._limit} remain)",
            reset_at=at,
        )

    def _refill(self, now: datetime, rate: float) -> None:
        since = self._ahead_at or now
        passed_s = max(0.0, (now - since).total_seconds())
        self._ahead_at = now
        most = self._most_ahead(self._limit)
        self._ahead = max(min(most, self._ahead + passed_s * rate), -most)

    def _most_ahead(self, limit: int) -> float:
        return max(LEAST_AHEAD, limit * self._share * AHEAD)

    def budget(self, resource: Resource, now: datetime) -> Budget | None:
        if not self._limit:
            return None
        is_known = _is_ahead(self.reset_at, now, since=self._told_at)
        return Budget(
            resource,
            self._limit,
            self._remaining if is_known else self._limit,
            self._used if is_known else 0,
            self.period,
            self.reset_at if is_known else None,
        )


class _Pace:
    """What may be asked within a minute, as slots that are handed out in the order asked for."""

    def __init__(self, share: float, limit: float | None) -> None:
        self.limit = limit
        self._share = share
        self._next_s = 0.0  # when all that was let pass is paid for, in seconds of the epoch
        self._urgent_s = 0.0
        self._slots: dict[str, float] = {}
        self._swept_s = 0.0
        self._ramp_s = 0.0
        self._ramp_noted_s = 0.0
        self._recent: list[tuple[int, int]] = []  # points by second, for the last minute

    def ramp_from(self, moment: datetime, now: datetime) -> None:
        known_s = self._ramp_s if self._is_noted_by(now.timestamp()) else 0.0
        self._ramp_s = max(known_s, moment.timestamp())
        self._ramp_noted_s = now.timestamp()

    def _is_noted_by(self, now_s: float) -> bool:
        """Tell whether the ramp was noted before: else the clock was set back since."""
        return self._ramp_noted_s <= now_s + CLOCK_TOLERANCE.total_seconds()

    def admit(self, key: str, now: datetime, *, urgent: bool, points: int, jitter: float) -> None:
        now_s = now.timestamp()
        rate = self._rate(now_s)
        if rate is None:
            self._slots.pop(key, None)
            return
        # A clock that was set back waits for nothing that it has seen before.
        if self._next_s > now_s + LONGEST_WAIT_S + RAMP_S:
            self._next_s = 0.0
            self._slots.clear()
        is_let_by = urgent and self._take_urgent(now_s, points)
        if is_let_by or self._redeem(key, now_s, urgent=urgent):
            self._note(now_s, points)
            return
        after = self._after(now_s, points, rate)
        can_wait = bool(key) and not urgent
        if after - now_s > (LONGEST_WAIT_S if can_wait else 2 * LONGEST_WAIT_S):
            wait_s = LONGEST_WAIT_S + (RAMP_S - LONGEST_WAIT_S) * jitter
            raise ForgeRateLimited(
                "more is asked of the forge than it allows within a minute",
                reset_at=now + timedelta(seconds=wait_s),
            )
        self._next_s = after
        if can_wait and after > now_s + SLACK_S:
            self._sweep(now_s)
            self._slots[key] = after
            raise _busy(after)
        self._note(now_s, points)

    def _redeem(self, key: str, now_s: float, *, urgent: bool) -> bool:
        """Take the slot that somebody was given; it has been counted already."""
        slot = self._slots.get(key) if key else None
        if slot is None:
            return False
        if slot > now_s + SLACK_S and not urgent:
            raise _busy(slot)
        del self._slots[key]
        return now_s - slot <= SLOT_KEPT_S

    def charge(self, now: datetime, points: int) -> None:
        now_s = now.timestamp()
        rate = self._rate(now_s)
        self._note(now_s, points)
        if rate is not None:
            self._next_s = self._after(now_s, points, rate)

    def _after(self, now_s: float, points: int, rate: float) -> float:
        """Return when this much more is paid for; after a silence, one request always is."""
        cost_s = points / rate
        return max(self._next_s, now_s - max(BURST_S, cost_s)) + cost_s

    def _rate(self, now_s: float) -> float | None:
        """Return the points a second that polling may have now; None where nobody counts."""
        passed_s = now_s - self._ramp_s
        is_ramp = self._is_noted_by(now_s) and -LONGEST_PERIOD.total_seconds() <= passed_s < RAMP_S
        if self.limit is None and not is_ramp:
            return None
        limit = RAMP_PER_MINUTE if self.limit is None else self.limit
        # A full burst and a minute at this rate are together what a minute may have.
        whole = max(limit, 1.0) * self._share * (1 - FOR_URGENT) / (60.0 + BURST_S)
        if not is_ramp:
            return whole
        ramped = whole * (RAMP_START + (1 - RAMP_START) * max(0.0, passed_s) / RAMP_S)
        return max(ramped, min(whole, 1 / BURST_S))

    def _take_urgent(self, now_s: float, points: int) -> bool:
        limit = self.limit or RAMP_PER_MINUTE
        rate = limit * self._share * FOR_URGENT / (60.0 + BURST_S)
        after = max(min(self._urgent_s, now_s + RAMP_S), now_s - BURST_S) + points / rate
        if after > now_s + SLACK_S:
            return False
        self._urgent_s = after
        return True

    def _sweep(self, now_s: float) -> None:
        if 0 <= now_s - self._swept_s < SLOT_KEPT_S:
            return
        self._swept_s = now_s
        oldest = now_s - SLOT_KEPT_S
        self._slots = {key: at for key, at in self._slots.items() if at >= oldest}

    def _note(self, now_s: float, points: int) -> None:
        second = int(now_s)
        if self._recent and self._recent[-1][0] == second:
            self._recent[-1] = (second, self._recent[-1][1] + points)
            return
        self._recent.append((second, points))
        while self._recent and not second - 60 < self._recent[0][0] <= second:
            del self._recent[0]

    def budget(self, resource: Resource, now: datetime) -> Budget | None:
        if self.limit is None:
            return None
        second = int(now.timestamp())
        used = sum(points for at, points in self._recent if second - 60 < at <= second)
        limit = int(self.limit)
        return Budget(resource, limit, max(0, limit - used), used, MINUTE)


def told(headers: Mapping[str, str], *, now: datetime) -> tuple[Resource | None, Told] | None:
    """Return what headers say of a limit, and of which resource, where they name it.

    None where they say nothing, or nothing that could be meant.
    """
    resource = headers.get("X-RateLimit-Resource", "")
    if resource not in RESOURCES:
        return None
    for *names, period in HEADERS:
        limit_name, remaining_name, reset_name = names
        numbers = [
            headers.get(name, "").strip() for name in (limit_name, remaining_name, reset_name)
        ]
        if all(text.isascii() and text.isdigit() for text in numbers):
            if max(map(len, numbers)) > MOST_DIGITS:
                return None
            limit, remaining, reset_s = map(int, numbers)
            is_epoch = reset_s >= LEAST_EPOCH_S
            wait_s = reset_s - now.timestamp() if is_epoch else reset_s
            if wait_s > LONGEST_PERIOD.total_seconds() or not 0 < limit <= LARGEST_LIMIT:
                return None
            reset_at = (
                datetime.fromtimestamp(reset_s, UTC)
                if is_epoch
                else now + timedelta(seconds=reset_s)
            )
            return RESOURCES[resource], Told(limit, remaining, reset_at, _period(wait_s, period))
    return None


def _period(wait_s: float, usual: timedelta) -> timedelta:
    """Return the shortest period that a limit with this wait may have."""
    slack_s = 5.0  # our clock and the forge's are not the same
    for period in (usual, HOUR, DAY):
        if wait_s <= period.total_seconds() + slack_s:
            return period
    return DAY


def _busy(at_s: float) -> ForgeBusy:
    at = datetime.fromtimestamp(at_s, UTC)
    return ForgeBusy("its turn within the forge's limit has not come", at=at)


def _is_ahead(
    moment: datetime | None, now: datetime, *, since: datetime | None
) -> TypeGuard[datetime]:
    """Tell whether a moment is still to come, and not so far off that it cannot be meant.

    Before ``since``, when it was noted, the clock was set back: nothing waits for it to catch up.
    """
    if moment is None or (since is not None and now < since - CLOCK_TOLERANCE):
        return False
    return now < moment <= now + LONGEST_PERIOD
