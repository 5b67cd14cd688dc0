"""The composition root: makes the clock, the database, the services; starts and ends them in order.

A process is *active* while it holds the lease, and then a :class:`Term` polls and delivers; else it
is a *standby* that serves pages and API and waits. Nothing else in the program makes a clock.
"""

import logging
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol

from app import __version__
from app.delivery.payloads import Payloads
from app.delivery.send import Senders
from app.domain.allowance import CredentialState
from app.domain.confirmation import opens
from app.domain.delivery import DeliveryState, Parcel
from app.domain.errors import Conflict, InputInvalid, NotFound, RepoSentryError, StorageError
from app.domain.event import Event
from app.domain.health import Component, HealthReport, Status as HealthStatus, overall
from app.domain.plan import ForgePlan, ProbeHealth
from app.domain.repository import Repository
from app.forges import Forges
from app.services.branch_monitor import BranchMonitor
from app.services.catalog import Catalog, Entry
from app.services.dispatcher import Dispatcher
from app.services.enricher import Enricher
from app.services.leadership import TTL, Leadership
from app.services.periodic import Periodic
from app.services.planner import Planner
from app.services.poller import Poller
from app.services.prober import Prober
from app.services.scheduler import Call, Scheduler
from app.settings.types import Settings
from app.storage.database import Database
from app.storage.filters import DeliveryFilter
from app.storage.holds import Holds
from app.storage.lease import Lease
from app.storage.migrate import ensure_current
from app.storage.outbox import Outbox
from app.storage.records import AttemptResult, PollRecord, PollState
from app.storage.store import Store

# What only pages and API ask for is imported when it is first asked for: polling and delivering can
# begin without it, a tenth of the start-up earlier.
if TYPE_CHECKING:
    from app.services.hook_intake import HookIntake, Reception, Woken
    from app.services.status import Status
    from app.services.status.answers import OpenCircuit
    from app.services.status.forges import LiveWatch

log = logging.getLogger(__name__)

FLUSH_S = 3.0
PRUNE_S = 600.0
CLOCK_S = 5.0
CONFIRMATIONS_S = 5.0
HOOKS_S = 1.0
AUDIT_S = 10.0
CONFIRMED_WITHIN = timedelta(minutes=1)
POLL_HISTORY = timedelta(days=7)  # a choice: a week shows a weekly rhythm
DRAIN_S = 10.0
PLAN_S = 5.0
# A choice: a hundred lists every 13 s, of half a second each, keep four of them busy.
PROBE_THREADS = 16
# A start spreads the first polls: this far apart, or evenly over the shortest interval if closer.
START_GAP = timedelta(milliseconds=50)


class Observer(Protocol):
    """Hears of every change as it is found and of every attempt as it is made."""

    def found(self, repository: Repository, event: Event) -> None:
        """Take note; must not block and must not raise."""
        ...

    def attempted(self, parcel: Parcel, result: AttemptResult) -> None:
        """Take note; must not block and must not raise."""
        ...


def utc_now() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Term:
    """What exists only while this process is the active one."""

    catalog: Catalog
    poller: Poller
    scheduler: Scheduler
    dispatcher: Dispatcher
    enricher: Enricher
    forges: Forges
    senders: Senders
    prober: Prober
    probes: Scheduler
    planner: Planner
    chores: tuple[Periodic, ...]


class Runtime:
    """The running program, and all that pages, API and commands may ask of it."""

    version = __version__

    def __init__(self, settings: Settings, *, observers: Sequence[Observer] = ()) -> None:
        """Make the parts; start nothing, and touch neither network nor disk.

        Raises:
            ConfigurationInvalid: The database's URL or a receiver's template cannot be used.
        """
        self.settings = settings
        self._observers = tuple(observers)
        self._payloads = Payloads(settings.receivers)
        self._database = Database(settings.storage.url.reveal(), now=utc_now)
        self._store = Store(self._database)
        self._outbox = Outbox(self._database)
        self._holds = Holds(self._database)
        self._intake = self._make_intake()
        self._term: Term | None = None
        self._term_lock = threading.Lock()
        self._is_started = False
        self._is_stopping = False
        self._leadership = Leadership(
            lease=self._lease(),
            on_gain=self._begin_term,
            on_loss=self._end_term,
            monotonic=time.monotonic,
        )

    @cached_property
    def status(self) -> "Status":
        """How everything fares."""
        from app.services.status import Status
        from app.storage.queries import Queries

        configured = {repository.name: repository for repository in self.settings.repositories}
        return Status(
            Queries(self._database),
            live=self._live,
            receivers=self.settings.receivers,
            now=utc_now,
            configured=configured.get,
            circuits=self._circuits,
            holds=self._holds,
            forges=self.settings.forges,
            watch=self._watch,
        )

    def start(self) -> None:
        """Bring the database up to date, then poll and deliver, or stand by.

        Raises:
            StorageError: The database cannot be used; the program should say so and end.
        """
        ensure_current(self._database)
        self._leadership.start()
        self._leadership.wait_for_first_try(TTL.total_seconds())
        self._is_started = True

    def stop(self, timeout_s: float = DRAIN_S) -> None:
        """Poll no more, finish what is in flight, write what is noted, give the lease back."""
        self._is_stopping = True  # nobody shall send requests here while the rest is finished
        self._leadership.stop(timeout_s)
        self._database.close()

    # The term of an active process.

    def _begin_term(self, fence: int) -> None:
        term = self._make_term(fence)
        try:
            entries = term.catalog.load(self.settings.repositories)
            term.planner.plan()
            _seat(term.scheduler, entries, term.planner, utc_now())
            term.dispatcher.start()
            term.scheduler.start()
            for chore in term.chores:
                chore.start()
        except BaseException:
            _wind_up(term)
            raise
        self._term = term

    def _make_term(self, fence: int) -> Term:
        polling, receivers = self.settings.polling, self.settings.receivers
        catalog = Catalog(self._store, now=utc_now, fence=fence)
        forges = Forges(self.settings.forges, now=utc_now, connections=polling.workers)
        senders = Senders(receivers, now=utc_now)
        configured = {repository.name: repository for repository in self.settings.repositories}
        enricher = Enricher(
            client_for=forges.client_for,
            find=configured.get,
            keep=self._store.keep_details,
            told=self._intake.told if self._intake else lambda _: (),
            monotonic=time.monotonic,
        )
        dispatcher = Dispatcher(
            outbox=self._outbox,
            receivers=receivers,
            sender_for=senders.for_receiver,
            render=self._payloads.render,
            enrich=enricher.complete,
            observers=self._observers,
            fence=fence,
            may_send=lambda: self._leadership.may_send,
            lease_lost=partial(self._leadership.lose, fence),
            now=utc_now,
            chance=random.random,
        )
        monitor = BranchMonitor(
            store=self._store,
            client_for=forges.client_for,
            receivers=receivers,
            now=utc_now,
            fence=fence,
            timeout=polling.timeout,
            trigger_on_baseline=polling.baseline == "trigger",
            storm_limit=polling.storm_limit,
        )
        scheduler = Scheduler(
            poll=lambda number, call: poller.poll(number, call),  # noqa: PLW0108 - it is made below
            workers=polling.workers,
            now=utc_now,
        )
        prober = Prober(
            catalog=catalog,
            probe_for=forges.probe_for,
            wake=partial(scheduler.wake, reason="probe"),
            now=utc_now,
            timeout=polling.timeout,
        )
        probes = Scheduler(poll=prober.ask, workers=PROBE_THREADS, now=utc_now, name="probe")
        planner = Planner(
            catalog=catalog,
            settings=self.settings.forges,
            forges=forges,
            prober=prober,
            probes=probes,
            polls=scheduler,
            now=utc_now,
            ceiling=polling.max_interval,
        )
        poller = Poller(
            catalog=catalog,
            monitor=monitor,
            observers=self._observers,
            describe=enricher.begin,
            owed=dispatcher.owed,
            lease_lost=partial(self._leadership.lose, fence),
            now=utc_now,
            chance=random.random,
            ceiling=polling.max_interval,
            timeout=polling.timeout,
            paces=planner,
        )
        chores = (
            Periodic("flush", catalog.flush, every_s=FLUSH_S),
            Periodic("prune", self._prune, every_s=PRUNE_S),
            Periodic("clock", scheduler.mind_the_clock, every_s=CLOCK_S),
            Periodic("probe clock", probes.mind_the_clock, every_s=CLOCK_S),
            Periodic("plan", planner.plan, every_s=PLAN_S),
            Periodic("confirmations", self._expire_confirmations, every_s=CONFIRMATIONS_S),
            *self._hook_chores(catalog, fence),
        )
        return Term(
            catalog=catalog,
            poller=poller,
            scheduler=scheduler,
            dispatcher=dispatcher,
            enricher=enricher,
            forges=forges,
            senders=senders,
            prober=prober,
            probes=probes,
            planner=planner,
            chores=chores,
        )

    def _make_intake(self) -> "HookIntake | None":
        """Make what takes the forges' own webhooks, where one of them has a secret for that."""
        if not any(forge.hook_secret for forge in self.settings.forges.values()):
            return None
        from app.services.hook_intake import HookIntake
        from app.storage.hooks import Hooks

        return HookIntake(
            store=Hooks(self._database),
            forges=self.settings.forges,
            repositories=self.settings.repositories,
            wake=self._wake_for_hook,
            now=utc_now,
            monotonic=time.monotonic,
        )

    def _hook_chores(self, catalog: Catalog, fence: int) -> tuple[Periodic, ...]:
        if self._intake is None:
            return ()
        from app.services.auditor import Auditor
        from app.storage.hooks import Hooks

        auditor = Auditor(
            store=Hooks(self._database),
            live=catalog.live,
            forges=[name for name, forge in self.settings.forges.items() if forge.hook_secret],
            now=utc_now,
            fence=fence,
        )
        return (
            Periodic("hooks", self._intake.pick_up, every_s=HOOKS_S),
            Periodic("audit", auditor.audit, every_s=AUDIT_S),
        )

    def _end_term(self) -> None:
        with self._term_lock:
            term, self._term = self._term, None
        if term is not None:
            _wind_up(term)

    def _prune(self) -> None:
        now = utc_now()
        self._store.prune(
            events_before=now - self.settings.storage.retention,
            polls_before=now - POLL_HISTORY,
        )

    def _expire_confirmations(self) -> None:
        expired = self._outbox.expire_confirmations(before=utc_now() - CONFIRMED_WITHIN)
        for delivery, receiver in expired.items():
            told = {"receiver": receiver, "delivery": delivery}
            log.warning("accepted, but no run was confirmed", extra=told)

    # What pages, API and commands ask.

    def _live(self, repository_id: int) -> PollState | None:
        term = self._term
        return term.catalog.live(repository_id) if term else None

    def _watch(self) -> "LiveWatch | None":
        from app.services.status.forges import LiveWatch

        term = self._term
        return LiveWatch(term.forges, term.planner, term.prober) if term else None

    def _circuits(self) -> "Mapping[str, OpenCircuit] | None":
        from app.services.status.answers import OpenCircuit

        term = self._term
        if term is None:
            return None
        return {
            name: OpenCircuit(one.opened_at, one.reason, one.failures, one.next_probe_at)
            for name, one in term.dispatcher.circuits().items()
            if one.opened_at is not None
        }

    def _active(self) -> Term:
        term = self._term
        if term is None:
            raise Conflict("this process is a standby; ask the one that polls and delivers")
        return term

    def ready(self) -> tuple[bool, str]:
        """Tell whether it can poll and deliver, or stand by, and in which role."""
        if not self._is_started:
            return False, "starting"
        if self._is_stopping or not self._leadership.is_alive:
            return False, "stopping"
        return True, "active" if self._term else "standby"

    def health(self) -> HealthReport:
        """Tell how well each component is."""
        database = self._database_health()
        components = [
            database,
            *self._term_health(),
            self._receivers_health(is_known=database.status is HealthStatus.OK),
            Component("configuration", HealthStatus.OK, self._configuration_read()),
        ]
        return HealthReport(
            status=overall(components),
            role="active" if self._term and self._leadership.may_send else "standby",
            components=components,
        )

    def _database_health(self) -> Component:
        trouble = self._leadership.database_trouble
        if trouble is not None:
            return Component("database", HealthStatus.FAILED, trouble)
        return Component("database", HealthStatus.OK)

    def _term_health(self) -> list[Component]:
        from app.services.health import forges_health

        term = self._term
        if term is None:
            role = "another process polls and delivers" if self._is_started else "starting"
            status = HealthStatus.OK if self._leadership.is_alive else HealthStatus.FAILED
            parts = ("scheduler", "dispatcher", "forges")
            return [Component(part, status, role) for part in parts]
        asks_probes = bool(term.prober.healths())
        return [
            _alive(
                "scheduler",
                is_alive=term.scheduler.is_alive and (term.probes.is_alive or not asks_probes),
            ),
            _alive("dispatcher", is_alive=term.dispatcher.is_alive),
            forges_health(term.catalog.entries(), self._refused_credentials(term)),
        ]

    def plans(self) -> Mapping[str, ForgePlan]:
        """Return how each forge's repositories are watched; empty where this process does not."""
        term = self._term
        return term.planner.plans() if term else {}

    def probes(self) -> tuple[ProbeHealth, ...]:
        """Return how each probe fares; empty where this process asks none."""
        term = self._term
        return term.prober.healths() if term else ()

    def _refused_credentials(self, term: Term) -> list[str]:
        return [
            f"the {credential.name} of {name}"
            for name in self.settings.forges
            for credential in term.forges.credentials(name)
            if credential.state is CredentialState.REFUSED
        ]

    def _receivers_health(self, *, is_known: bool) -> Component:
        from app.services.health import receivers_health

        if is_known:
            with suppress(StorageError):
                return receivers_health(self.status.receivers())
        reason = "not known while the database does not answer"
        return Component("receivers", HealthStatus.DEGRADED, reason)

    def _configuration_read(self) -> str:
        files, warnings = self.settings.files, len(self.settings.warnings)
        read = files[0].name if files else "from the command line"
        if not warnings:
            return read
        return f"{read}, with {warnings} {'warning' if warnings == 1 else 'warnings'}"

    def wake(self, name: str) -> None:
        """Bring a repository's next poll forward to now.

        Raises:
            NotFound: No such repository is watched.
            Conflict: This process does not poll, or the repository is paused.
        """
        term = self._active()
        entry = term.catalog.by_name(name)
        if entry.watched.paused_at or not entry.repository.enabled:
            raise Conflict(f"{name} is paused; resume it first")
        term.scheduler.wake(entry.watched.id)

    def poll_and_wait(self, name: str, wait_s: float) -> PollRecord | None:
        """Wake a repository and wait for its poll's outcome; None if it takes longer.

        Raises:
            NotFound: No such repository is watched.
            Conflict: This process does not poll, or the repository is paused.
        """
        term = self._active()
        since = utc_now()
        self.wake(name)
        entry = term.catalog.by_name(name)
        return term.catalog.wait_for_poll(entry.watched.id, since=since, wait_s=wait_s)

    def pause_repository(self, name: str) -> None:
        """Poll a repository no more until it is resumed."""
        term = self._active()
        entry = term.catalog.by_name(name)
        at = entry.watched.paused_at or utc_now()
        self._store.pause(entry.watched.id, at=at)
        term.catalog.pause(entry.watched.id, at)
        term.scheduler.remove(entry.watched.id)
        term.planner.hurry()

    def resume_repository(self, name: str) -> None:
        """Poll a paused repository again, at once."""
        term = self._active()
        entry = term.catalog.by_name(name)
        if entry.watched.paused_at is None:
            return
        self._store.pause(entry.watched.id, at=None)
        term.catalog.pause(entry.watched.id, None)
        if not entry.repository.enabled:
            return
        term.planner.hurry()
        term.scheduler.add(
            entry.watched.id, due_at=utc_now(), wait=entry.repository.interval, reason="wake"
        )

    def redeliver(self, event_id: str, receivers: Sequence[str] | None = None) -> list[str]:
        """Owe an event once more, under new delivery ids; to all its receivers if none is named.

        Raises:
            NotFound: No such event.
            InputInvalid: No such receiver is configured.
        """
        known = self.settings.receivers
        self._check_named(receivers or ())
        chosen = {name: known[name].payload for name in receivers or known}
        made = self._outbox.redeliver(
            event_id, receivers=chosen, only_former=receivers is None, now=utc_now()
        )
        self._tell_dispatcher()
        return made

    def redeliver_many(self, wanted: DeliveryFilter, receivers: Sequence[str] | None = None) -> int:
        """Owe again what matches and is finished, the dead if no state is named; return how many.

        Raises:
            InputInvalid: No such receiver is configured.
        """
        self._check_named(receivers or ())
        known = {name: one.payload for name, one in self.settings.receivers.items()}
        others = {name: known[name] for name in receivers} if receivers else None
        made = self._outbox.redeliver_many(wanted, receivers=others, known=known, now=utc_now())
        self._tell_dispatcher()
        self.status.look_anew()
        return made

    def cancel_many(self, wanted: DeliveryFilter) -> int:
        """Give up what matches and is neither finished nor being sent; return how many."""
        ended = self._outbox.cancel_many(wanted, now=utc_now())
        self._tell_dispatcher(everything=True)
        self.status.look_anew()
        return ended

    def release_storm(self, hold_id: str) -> None:
        """Send what was held back of a storm."""
        self._holds.release(hold_id, now=utc_now())
        self._tell_dispatcher(everything=True)
        self.status.look_anew()

    def dismiss_storm(self, hold_id: str) -> None:
        """Cancel what was held back of a storm."""
        self._holds.dismiss(hold_id, now=utc_now())
        self.status.look_anew()

    def may_confirm(self, receiver: str, key: str) -> bool:
        """Tell whether this key opens that receiver's confirmation address."""
        found = self.settings.receivers.get(receiver)
        if found is None or not found.confirm:
            return False
        secrets = (found.secret, found.previous_secret)
        return opens(key, receiver, [one for one in secrets if one])

    def confirm_delivery(self, receiver: str, delivery_id: str) -> bool:
        """Note that a delivery had its effect; False if it is none of that receiver's."""
        before = self._outbox.confirm(delivery_id, receiver, now=utc_now())
        if before is DeliveryState.WAITING:  # what it held back is due
            self._tell_dispatcher(everything=True)
        return before is not None

    def event_of(self, some_id: str) -> str:
        """Return the id of an event, given its own or one of its deliveries'.

        Raises:
            NotFound: Neither an event nor a delivery has it.
        """
        try:
            return self.status.event(some_id).event.id
        except NotFound:
            return self.status.delivery(some_id).delivery.event_id

    def takes_hooks(self, forge: str) -> bool:
        """Tell whether this forge's own webhooks are listened to."""
        return self._intake is not None and self._intake.takes(forge)

    def receive_hook(self, forge: str, headers: Mapping[str, str], body: bytes) -> "Reception":
        """Take a webhook of a forge that is listened to; its repositories are polled at once.

        Raises:
            NotFound: That forge has no secret for its webhooks.
        """
        if self._intake is None or not self._intake.takes(forge):
            raise NotFound(f"no webhooks are taken from {forge!r}")
        return self._intake.receive(forge, headers, body)

    def _wake_for_hook(self, name: str) -> "Woken":
        from app.services.hook_intake import Woken

        term = self._term
        if term is None:
            return Woken.ELSEWHERE
        try:
            entry = term.catalog.by_name(name)
        except NotFound:
            return Woken.PAUSED
        if entry.watched.paused_at or not entry.repository.enabled:
            return Woken.PAUSED
        term.scheduler.wake(entry.watched.id, "hook")
        return Woken.YES

    def retry_delivery(self, delivery_id: str) -> None:
        """Try a waiting delivery now."""
        self._outbox.retry(delivery_id, now=utc_now())
        self._tell_dispatcher(everything=True)
        term = self._term
        if term is not None:  # where the circuit is open, it is asked at once whether it may close
            term.dispatcher.probe(self.status.delivery(delivery_id).delivery.receiver)

    def cancel_delivery(self, delivery_id: str) -> None:
        """Give up an unfinished delivery."""
        self._outbox.cancel(delivery_id, now=utc_now())
        self._tell_dispatcher(everything=True)

    def pause_receiver(self, name: str) -> None:
        """Begin no further attempt to a receiver until it is resumed; it is owed all the same.

        Raises:
            NotFound: No such receiver is configured.
        """
        self._check_receiver(name)
        self._outbox.pause_receiver(name, at=utc_now())
        self._heed_receivers()

    def resume_receiver(self, name: str) -> None:
        """Send to a receiver again that said 410 or was paused.

        Raises:
            NotFound: No such receiver is configured.
        """
        self._check_receiver(name)
        self._outbox.enable_receiver(name, now=utc_now())
        self._heed_receivers()

    def _check_named(self, receivers: Sequence[str]) -> None:
        unknown = [name for name in receivers if name not in self.settings.receivers]
        if unknown:
            message = f"no receiver named {unknown[0]!r} is configured"
            raise InputInvalid(f"receivers: {message}", mistakes={"receivers": message})

    def _check_receiver(self, name: str) -> None:
        if name not in self.settings.receivers:
            raise NotFound(f"no receiver named {name!r} is configured")

    def _heed_receivers(self) -> None:
        self.status.look_anew()
        term = self._term
        if term is not None:  # else the active process looks around by itself
            term.dispatcher.heed_receivers()

    def _tell_dispatcher(self, *, everything: bool = False) -> None:
        term = self._term
        if term is None:
            return  # the active process looks around by itself
        if everything:
            term.dispatcher.take_stock()
        else:
            term.dispatcher.owed()

    def poll_once(self, name: str) -> PollRecord:
        """Poll one repository in this process, for a command; deliveries are owed, not sent.

        Raises:
            NotFound: No such repository is configured.
            Conflict: Another process polls; ask that one.
        """
        ensure_current(self._database)
        lease = self._lease()
        fence = lease.try_acquire()
        if fence is None:
            raise Conflict("another process polls and delivers; ask it, by its API")
        try:
            term = self._make_term(fence)
            term.catalog.load(self.settings.repositories)
            entry = term.catalog.by_name(name)
            since = utc_now()
            term.poller.poll(entry.watched.id, Call("wake", since))
            term.catalog.flush()
            record = term.catalog.wait_for_poll(entry.watched.id, since=since, wait_s=0)
            term.enricher.close()
        finally:
            lease.release()
        if record is None:
            raise Conflict("another process took over meanwhile; ask it, by its API")
        return record

    def _lease(self) -> Lease:
        return Lease(
            self._database,
            holder=f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}",
            ttl=TTL,
            now=utc_now,
            monotonic=time.monotonic,
        )


def _wind_up(term: Term) -> None:
    """End what is under way within the time there is, also of a term that began only in part."""
    deadline = time.monotonic() + DRAIN_S - 1
    term.probes.stop(max(0.0, deadline - time.monotonic()))
    term.scheduler.stop(max(0.0, deadline - time.monotonic()))
    term.dispatcher.stop(max(0.0, deadline - time.monotonic()))
    term.enricher.close()
    for chore in term.chores:
        chore.stop(1.0)
    with suppress(RepoSentryError):  # it costs a poll, never a change
        term.catalog.flush()
    term.senders.close()
    term.forges.close()


def _seat(scheduler: Scheduler, entries: Sequence[Entry], planner: Planner, now: datetime) -> None:
    """Give every repository that is polled its place; those overdue are spread, not all at once."""
    polled = [e for e in entries if e.repository.enabled and e.watched.paused_at is None]
    if not polled:
        return
    gap = min(START_GAP, min(e.repository.interval for e in polled) / len(polled))
    late = 0
    for entry in polled:
        pace = planner.pace(entry)
        rest = pace.floor if pace.rest is None else pace.rest
        due_at = entry.watched.next_poll_at or now
        if due_at <= now or due_at > now + rest:
            # As far apart as the forge's allowance suffices for, where that is scarce.
            slow = rest / len(polled) if rest > entry.repository.interval else gap
            due_at, late = now + max(gap, slow) * late, late + 1
        scheduler.add(entry.watched.id, due_at=due_at, wait=rest, reason="start")


def _alive(name: str, *, is_alive: bool) -> Component:
    if is_alive:
        return Component(name, HealthStatus.OK)
    return Component(name, HealthStatus.FAILED, "it has ended; see the log")
