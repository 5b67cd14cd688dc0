"""One process: the program's own parts, in virtual time, until it is killed."""

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from app.delivery.payloads import Payloads
from app.delivery.send import Sender
from app.domain.details import Details, Push
from app.domain.errors import LeaseLost, RepoSentryError, StorageError, StorageUnavailable
from app.domain.event import Event
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.forges import PLAIN_GIT, GitClient, RefsReply, github
from app.forges.fallback import Fallback
from app.forges.ways import Tools, git_way
from app.services.branch_monitor import BranchMonitor
from app.services.catalog import Catalog
from app.services.dispatcher import Dispatcher
from app.services.enricher import Enricher
from app.services.poller import Poller
from app.services.scheduler import Call, NextCall
from app.settings.types import Forge, Receiver
from app.simulation.forge import ModelRepository
from app.simulation.loop import Killed, Loop
from app.simulation.plan import Plan
from app.simulation.probes import ModelListing, Probed
from app.storage.inline import InlineDatabase, Memory, Step
from app.storage.lease import Lease
from app.storage.outbox import Outbox
from app.storage.records import PollState
from app.storage.store import Store
from app.transport import NoAnswer, Reply, Transport

# Longer than the program's own, so that a history has more changes than renewals.
TTL = timedelta(seconds=60)
RENEW_MS = 25_000
SEEK_MS = 20_000
FLUSH_MS = 60_000
POLL_TIMEOUT = timedelta(seconds=10)
CEILING = timedelta(minutes=2)
SETTLE_MS = 12  # how long a commit takes that nobody waits for
REST_MS = 1_000

GITHUB = Forge(
    name="github",
    kind="github",
    url="https://github.com",
    api_url="https://api.github.com",
    tokens=(Secret("simulated"),),
)


@dataclass(frozen=True, slots=True)
class Notice:
    """What a forge let this process know: nothing more before ``until``."""

    since: datetime
    until: datetime
    noted_ms: int


class Surroundings(Protocol):
    """What a process meets."""

    plan: Plan
    loop: Loop
    memory: Memory
    chance: Callable[[], float]
    watched: list[Repository]
    receivers: Mapping[str, Receiver]
    repositories: list[ModelRepository]

    @property
    def is_quiet(self) -> bool:
        """Whether all faults have ended."""
        ...

    def stepped(self, process: "Process", *, is_quiet: bool) -> bool:
        """Hear of a process's step; tell whether the process stalled there."""
        ...

    def looked(self) -> None:
        """Hear that a process reads."""
        ...

    def trouble(self, at: Step) -> str | None:
        """Say what ails the database at this step, if anything does."""
        ...

    def asking(self, process: "Process") -> AbstractContextManager[None]:
        """Mark a question to a forge, which may take several requests."""
        ...

    def ask(
        self,
        process: "Process",
        way: "WayToForges",
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_s: float,
    ) -> Reply | NoAnswer:
        """Take a request to its forge, and its answer back."""
        ...

    def polled(
        self, term: "Term", repository_id: int, began_ms: int, known: PollState, *, is_fresh: bool
    ) -> None:
        """Hear of a poll that ended."""
        ...

    def has_polled_enough(self, repository_id: int) -> bool:
        """Tell whether a repository need not be polled any more."""
        ...

    def deliver(
        self,
        term: "Term",
        receiver: str,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float,
    ) -> Reply | NoAnswer:
        """Take a request to its receiver, and its answer back."""
        ...


class Process:
    """Seeks the lease, polls and delivers while it has it, and dies when it is told to."""

    def __init__(self, world: Surroundings, number: int, *, skew_ms: int) -> None:
        self.world = world
        self.number = number
        self.name = f"process {number}"
        self.skew_ms = skew_ms
        self.is_dead = False
        self.is_frozen = False
        self.questions: list[int] = []  # since when each question to a forge is being asked
        self.deferred: list[Callable[[], None]] = []
        self.term: Term | None = None
        self.database = InlineDatabase(
            world.memory, now=self.now, boundary=self._boundary, soon=self._soon
        )
        self._lease = Lease(
            self.database,
            holder=f"{self.name} of seed {world.plan.seed}",
            ttl=TTL,
            now=self.now,
            monotonic=self.monotonic,
        )
        self._renewed_at = -math.inf
        world.loop.after(0, self._seek, self)

    def now(self) -> datetime:
        """Tell the time by this machine's clock."""
        return self.world.loop.now + timedelta(milliseconds=self.skew_ms)

    def monotonic(self) -> float:
        """Tell seconds that only go forward."""
        return self.world.loop.ms / 1000

    # Its end.

    def die(self) -> None:
        """Do nothing any more; what is not committed is gone."""
        self.is_dead = True
        self.term = None

    def step(self, *, is_quiet: bool = False) -> bool:
        """Pass a point at which the process may end or stall; tell whether it stalled here.

        At a quiet point nothing of the database is open, and others may act.

        Raises:
            Killed: It ended.
        """
        self._live_on()
        stalled = self.world.stepped(self, is_quiet=is_quiet)
        self._live_on()
        return stalled

    def _live_on(self) -> None:
        if self.is_dead or self.world.loop.is_over:
            raise Killed(self)

    def _boundary(self, at: Step) -> None:
        if at is Step.READ:
            self._live_on()
            self.world.looked()
            return
        self.step(is_quiet=at in {Step.WRITE, Step.WRITTEN})
        trouble = self.world.trouble(at)
        if trouble is not None:
            raise StorageUnavailable(trouble)

    def _soon(self) -> None:
        self.world.loop.after(SETTLE_MS, self.database.settle, self)

    # The lease.

    def _seek(self) -> None:
        loop = self.world.loop
        try:
            fence = self._lease.try_acquire()
        except StorageError:
            fence = None
        if fence is None:
            loop.after(SEEK_MS, self._seek, self)
            return
        self._renewed_at = self.monotonic()
        loop.tell(self.name, "polls and delivers now", fence)
        loop.after(RENEW_MS, self._keep, self)
        try:
            self.term = Term(self, fence)
            self.term.begin()
        except StorageError:
            self._end_term()

    def _keep(self) -> None:
        term = self.term
        if term is None or term.is_over:
            return
        begun_at = self.monotonic()
        try:
            is_kept = self._lease.renew()
        except StorageError:
            self.world.loop.after(RENEW_MS // 4, self._keep, self)
            return
        if is_kept:
            self._renewed_at = begun_at
            self.world.loop.after(RENEW_MS, self._keep, self)
        else:
            self.lose(term.fence)

    def may_send(self) -> bool:
        """Tell whether the lease is surely still held."""
        return self.monotonic() - self._renewed_at < TTL.total_seconds()

    def lose(self, fence: int) -> None:
        """End the term: another process has the lease."""
        term = self.term
        if term is not None and term.fence == fence and not term.is_over:
            term.is_over = True
            self._renewed_at = -math.inf
            self.world.loop.tell(self.name, "has lost the lease")
            self.world.loop.after(0, self._end_term, self)

    def stop(self) -> None:
        """End as one that is asked to: finish, write down, give the lease back."""
        self.world.loop.tell(self.name, "is asked to stop")
        if self.term is not None:
            self.term.is_over = True
        self._end_term()
        self.die()

    def _end_term(self) -> None:
        term, self.term = self.term, None
        if term is not None:
            term.end()
        self.database.settle()
        with suppress(StorageError):
            self._lease.release()
        self.world.loop.after(SEEK_MS, self._seek, self)


class Term:
    """What polls and delivers while the lease is held; made as the runtime makes it."""

    def __init__(self, process: Process, fence: int) -> None:
        world = process.world
        self.process = process
        self.fence = fence
        self.is_over = False
        self._loop = world.loop
        self._turn_ms: int | None = None
        self.settled: set[int] = set()  # deliveries that got their last answer here
        self._polling: set[int] = set()
        self._woken: set[int] = set()
        lost = partial(process.lose, fence)
        self.outbox = Outbox(process.database)
        self.store = Store(process.database)
        self.catalog = Catalog(self.store, now=process.now, fence=fence)
        self._ages: dict[str, timedelta] = {}  # of the newest answer, by repository
        self._clients = {
            kind: _Noted(client, self._ages) for kind, client in _clients(process).items()
        }
        enricher = Enricher(
            client_for=self._client_for,
            find={repository.name: repository for repository in world.watched}.get,
            keep=self.store.keep_details,
            monotonic=process.monotonic,
            pool=_AtOnce(process),
        )
        senders = {
            name: Sender(receiver, _WayOut(self, name), process.now)
            for name, receiver in world.receivers.items()
        }
        self.dispatcher = Dispatcher(
            outbox=self.outbox,
            receivers=world.receivers,
            sender_for=senders.__getitem__,
            render=Payloads(world.receivers).render,
            observers=(),
            fence=fence,
            may_send=process.may_send,
            lease_lost=lost,
            now=process.now,
            chance=world.chance,
            pools=self._pool,
            enrich=enricher.complete,
        )
        monitor = BranchMonitor(
            store=self.store,
            client_for=self._client_for,
            receivers=world.receivers,
            now=process.now,
            fence=fence,
            timeout=POLL_TIMEOUT,
            trigger_on_baseline=world.plan.is_baseline_told,
            storm_limit=world.plan.storm_limit,
        )
        self._probed = self._make_probed() if world.plan.has_probe else None
        self._poller = Poller(
            catalog=self.catalog,
            monitor=monitor,
            observers=(),
            describe=enricher.begin,
            owed=self._owed,
            lease_lost=lost,
            now=process.now,
            chance=world.chance,
            ceiling=CEILING,
            timeout=POLL_TIMEOUT,
            paces=self._probed,
        )

    def _make_probed(self) -> Probed:
        process = self.process
        step = partial(process.step, is_quiet=True)
        return Probed(
            self.catalog,
            ModelListing(process.world, step, process.world.plan.seed),
            wake=partial(self.wake, reason="probe"),
            now=process.now,
            ceiling=CEILING,
        )

    # Its life.

    def begin(self) -> None:
        """Take the repositories in, and plan the first polls and the dispatcher's first turn."""
        entries = self.catalog.load(self.process.world.watched)
        for number, entry in enumerate(entries):
            if entry.watched.paused_at is not None:
                continue
            now = self.process.now()
            due_at = entry.watched.next_poll_at or now
            if not now < due_at <= now + entry.repository.interval:
                due_at = now + timedelta(milliseconds=50 * number)
            self._plan_poll(entry.watched.id, due_at - now, "start")
        if self._probed is not None:
            self._probed.begin([entry.watched.id for entry in entries], self)
        self._plan_turn(0)
        self._loop.after(FLUSH_MS, self._flush, self.process)

    def end(self) -> None:
        """Begin nothing more, and write down what is noted."""
        self.dispatcher.stop(0)
        with suppress(RepoSentryError):
            self.catalog.flush()

    def _flush(self) -> None:
        if self.is_over:
            return
        try:
            self.catalog.flush()
        except LeaseLost:
            self.process.lose(self.fence)
        except StorageError:
            pass  # kept for the next time
        self._loop.after(FLUSH_MS, self._flush, self.process)

    # Polls.

    def wake(self, repository_id: int, reason: str = "wake") -> None:
        """Poll now."""
        if repository_id in self._polling:
            return
        self._woken.add(repository_id)
        self._loop.after(0, lambda: self._poll(repository_id, reason, is_woken=True), self.process)

    def resume(self, repository_id: int) -> None:
        """Poll again what was paused."""
        self._plan_poll(repository_id, timedelta(0), "wake")

    def _plan_poll(self, repository_id: int, wait: timedelta, reason: str) -> None:
        ms = max(0, math.ceil(wait.total_seconds() * 1000))
        self._loop.after(ms, lambda: self._poll(repository_id, reason), self.process)

    def _poll(self, repository_id: int, reason: str, *, is_woken: bool = False) -> None:
        world = self.process.world
        if self.is_over or world.has_polled_enough(repository_id):
            return
        if self.catalog.get(repository_id).watched.paused_at is not None:
            self._woken.discard(repository_id)  # as the program refuses to wake it
            return
        if not is_woken and repository_id in self._woken:
            self._woken.discard(repository_id)  # its turn came early
            return
        if repository_id in self._polling:
            return
        self._polling.add(repository_id)
        with world.asking(self.process):
            follow = self._ask(repository_id, reason)
        self._polling.discard(repository_id)
        if follow is not None:
            self._plan_poll(repository_id, follow.at - self.process.now(), follow.reason)

    def _ask(self, repository_id: int, reason: str) -> NextCall | None:
        world = self.process.world
        began_ms = self._loop.ms
        follow = self._poller.poll(repository_id, Call(reason, self.process.now()))
        known = self.catalog.live(repository_id)
        name = self.catalog.get(repository_id).repository.name
        is_fresh = self._ages.pop(name, None) == timedelta(0)
        if not self.is_over and known is not None:
            world.polled(self, repository_id, began_ms, known, is_fresh=is_fresh)
        return follow

    # Probes, whose only seats are the loop's.

    def add(self, number: int, /, *, due_at: datetime, wait: timedelta, reason: str) -> None:
        """Give a probe its turn."""
        self._plan_probe(number, due_at, reason)

    def remove(self, number: int, /) -> None:
        """Do nothing: the one probe stays."""

    def start(self) -> None:
        """Do nothing: the loop runs."""

    def _plan_probe(self, number: int, at: datetime, reason: str) -> None:
        wait = at - self.process.now()
        ms = max(0, math.ceil(wait.total_seconds() * 1000))
        self._loop.after(ms, lambda: self._ask_probe(number, reason), self.process)

    def _ask_probe(self, number: int, reason: str) -> None:
        if self.is_over or self._probed is None:
            return
        follow = self._probed.prober.ask(number, Call(reason, self.process.now()))
        self._plan_probe(number, follow.at, follow.reason)

    def live(self, repository_id: int) -> PollState | None:
        """Return how polling of one repository fares."""
        return self.catalog.live(repository_id)

    def _client_for(self, repository: Repository) -> GitClient:
        return self._clients["github" if repository.forge == "github" else "git"]

    # Deliveries.

    def _owed(self) -> None:
        self.dispatcher.owed()
        self._plan_turn(0)

    def look_around(self) -> None:
        """Have the dispatcher look for what others have changed."""
        self._plan_turn(0)

    def _plan_turn(self, wait_ms: int) -> None:
        at = self._loop.ms + wait_ms
        if self._turn_ms is None or at < self._turn_ms:
            self._turn_ms = at
            self._loop.at(at, lambda: self._turn(at), self.process)

    def _turn(self, planned_ms: int) -> None:
        if self._turn_ms != planned_ms or self.is_over:
            return
        self._turn_ms = None
        wait_ms = math.ceil(self.dispatcher.turn() * 1000)
        # Without the lease it has nothing to do but wait, and its own pause is cut short here.
        self._plan_turn(max(1 if self.process.may_send() else REST_MS, wait_ms))

    def _pool(self, name: str, size: int) -> Executor:
        return _Pool(self, size)

    def served(self) -> None:
        """Hear that a thread of a pool has ended its work."""
        if not self.is_over:
            self._plan_turn(1)


class _Pool(Executor):
    """As many threads as there may be, each an event of the loop."""

    def __init__(self, term: Term, size: int) -> None:
        self._term = term
        self._free = size
        self._queue: list[Callable[[], None]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Take work."""
        self._queue.append(lambda: fn(*args, **kwargs))
        self._serve()
        return Future()

    def _serve(self) -> None:
        loop = self._term.process.world.loop
        while self._free and self._queue:
            self._free -= 1
            loop.after(1, partial(self._run, self._queue.pop(0)), self._term.process)

    def _run(self, work: Callable[[], None]) -> None:
        work()
        self._free += 1
        self._serve()
        self._term.served()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: no thread runs."""


class _AtOnce(Executor):
    """Does what it is given before it returns."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Take work."""
        future: Future[Any] = Future()
        with self._process.world.asking(self._process):
            future.set_result(fn(*args, **kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: no thread runs."""


class _WayOut(Transport):
    """The way to one receiver, as the sender knows it."""

    def __init__(self, term: Term, receiver: str) -> None:
        self._term = term
        self._receiver = receiver

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout_s: float,
        limit_bytes: int = 0,
        cut: bool = False,
        repeatable: bool = True,
    ) -> Reply:
        """Send as the true one does."""
        return _raised(
            self._term.process.world.deliver(
                self._term, self._receiver, headers, body or b"", timeout_s
            )
        )

    def close(self) -> None:
        """Do nothing: no connection is open."""


class WayToForges(Transport):
    """The way to all forges, as their clients know it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.notices: dict[str, Notice] = {}  # by the API, or a repository's address
        self.newest_reset_s = 0  # when the API's period ends, by its newest word

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout_s: float,
        limit_bytes: int = 0,
        cut: bool = False,
        repeatable: bool = True,
    ) -> Reply:
        """Send as the true one does."""
        return _raised(self._process.world.ask(self._process, self, url, headers, body, timeout_s))

    def close(self) -> None:
        """Do nothing: no connection is open."""


def _raised(answer: Reply | NoAnswer) -> Reply:
    if isinstance(answer, NoAnswer):
        raise answer
    return answer


class _Noted:
    """A git client; how old each of its answers may be is noted.

    What a forge tells again and again before it looks anew need not show what stands there.
    """

    def __init__(self, client: GitClient, ages: dict[str, timedelta]) -> None:
        self._client = client
        self._ages = ages

    def list_refs(
        self,
        repository: Repository,
        *,
        validator: Mapping[str, str],
        timeout_s: float,
        urgent: bool = False,
    ) -> RefsReply:
        """Ask, and note."""
        reply = self._client.list_refs(
            repository, validator=validator, timeout_s=timeout_s, urgent=urgent
        )
        self._ages[repository.name] = reply.lag
        return reply

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        """Ask."""
        return self._client.describe(repository, change=change, timeout_s=timeout_s)

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        """Ask."""
        return self._client.pushes(repository, since=since, timeout_s=timeout_s)


def _clients(process: Process) -> dict[str, GitClient]:
    # Not by ``Forges``: the git command is no part of the world.
    tools = Tools(WayToForges(process), process.now)
    plain = Fallback([git_way(PLAIN_GIT, tools, username="git")], now=process.now)
    return {"github": github.client(GITHUB, tools), "git": plain}
