"""What a push brought and who pushed, asked after the change is safe and before it is spelled.

A change is recorded first and described then, so that no slow forge holds it up. Its delivery waits
for the answer, but never longer than a moment; what comes too late is kept for pages and API alone.
Nothing here is needed: a crash costs a question, which is asked once more, and never a change.

Who pushed, when, and whether by force stands in a forge's own log of pushes, where it has one: that
is asked once for all that a poll found. Where a signed webhook has told it already, nobody is.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeAlias

from app.domain.delivery import Parcel
from app.domain.details import Details
from app.domain.errors import RepoSentryError
from app.domain.event import Event
from app.domain.hook import HookChange, find_push
from app.domain.repository import Repository
from app.forges.client import GitClient

log = logging.getLogger(__name__)

# Choices. How long deliveries wait, from the moment the question was put.
DEADLINE_S = 1.0
# How long a question may take: late answers are still worth keeping.
QUESTION_S = 3.0
WORKERS = 4
# Of one poll no more changes are asked about: a storm would use the forge's allowance up.
MOST_ASKED = 20
# What is not asked when it is found (a storm's rest, or what a crash left) is asked about this
# rarely for each repository, and of a server that was late once no sooner either: a slow forge
# delays one batch of deliveries and not all.
CATCH_UP_S = 60.0
# A server that let a question run out of time is left alone for this long.
PAUSE_S = 30.0
MOST_KEPT = 1000
# How far before a change was found its push is looked for: longer than anything waits to be polled,
# and after a pause of ours as long as that may reasonably have been.
LOG_BACK = timedelta(hours=1)
LOG_BACK_AFTER_PAUSE = timedelta(days=1)

Server: TypeAlias = tuple[str, str]  # a forge's name and a host


@dataclass(frozen=True, slots=True)
class _Question:
    """What is being asked, and until when (by our clock) deliveries wait for it.

    ``answer`` tells what it brought; ``pushes`` is the forge's log of pushes, None where that is
    not asked; ``hint`` is what a webhook told.
    """

    event: Event
    answer: "Future[Details | None] | None"
    pushes: "Future[tuple[HookChange, ...]] | None"
    hint: HookChange | None
    until: float

    def open(self) -> "list[Future[Any]]":
        """List what has not been answered yet."""
        asked = (self.answer, self.pushes)
        return [future for future in asked if future is not None and not future.done()]

    def told(self) -> Details | None:
        """Return what is known by now."""
        details: Details | None = _result(self.answer)
        for push in (self.hint, find_push(self.event, _result(self.pushes) or ())):
            details = _with_push(details, push)
        return details


class Enricher:
    """Asks what changes brought, and gives it to their deliveries; safe for many threads.

    Args:
        client_for: Finds who to ask about a repository.
        find: Finds a watched repository by its name.
        keep: Writes down what was told of an event, piece by piece; its failure loses nothing.
        told: Tells what webhooks told of a repository lately, by its name.
        monotonic: A clock that is never set.
        pool: Where questions are asked, if not in threads of its own; one that asks at once will
            do as well.
    """

    def __init__(
        self,
        *,
        client_for: Callable[[Repository], GitClient],
        find: Callable[[str], Repository | None],
        keep: "Callable[[str, Details], Future[None]]",
        monotonic: Callable[[], float],
        told: Callable[[str], Sequence[HookChange]] = lambda _: (),
        pool: Executor | None = None,
    ) -> None:
        self._client_for = client_for
        self._find = find
        self._keep = keep
        self._monotonic = monotonic
        self._told = told
        self._pool = pool or ThreadPoolExecutor(WORKERS, thread_name_prefix="describe")
        # Guards everything below it; a pool may ask while it is handed a question.
        self._lock = threading.RLock()
        self._questions: OrderedDict[str, _Question] = OrderedDict()  # by event
        self._not_before: dict[str | Server, float] = {}  # catching up, by repository or server
        self._paused: dict[Server, float] = {}  # until when
        self._without_log: dict[Server, float] = {}  # as above, for logs of pushes alone
        self._is_closed = False

    def begin(self, repository: Repository, events: Sequence[Event]) -> None:
        """Ask about what one poll found; returns at once."""
        self._ask_some(repository, events)

    def complete(self, parcels: Sequence[Parcel]) -> list[Parcel]:
        """Return the parcels with what was told in time; those that were rendered stay the same.

        What was never asked, since a crash came before it, is asked now.
        """
        missing = [p for p in parcels if p.body is None and p.details is None]
        servers = self._catch_up(missing)
        with self._lock:
            asked = {p.event.id: self._questions.get(p.event.id) for p in missing}
        questions = {of: question for of, question in asked.items() if question is not None}
        if not self._wait(questions.values()):
            self._note_late(servers)
        return [_completed(parcel, questions) for parcel in parcels]

    def close(self) -> None:
        """Ask nothing more; what is being asked ends by its own deadline."""
        with self._lock:
            self._is_closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _catch_up(self, parcels: Iterable[Parcel]) -> set[Server]:
        """Ask about what was not asked yet, seldom for each repository; return who was asked."""
        servers: set[Server] = set()
        by_name: dict[str, dict[str, Event]] = {}
        with self._lock:
            for parcel in parcels:
                if parcel.event.id not in self._questions:
                    of_one = by_name.setdefault(parcel.repository_name, {})
                    of_one[parcel.event.id] = parcel.event
        for name, events in by_name.items():
            repository = self._find(name)
            if repository is not None and self._may_catch_up(repository):
                self._ask_some(repository, list(events.values()))
                servers.add(_server_of(repository))
        return servers

    def _may_catch_up(self, repository: Repository) -> bool:
        now = self._monotonic()
        with self._lock:
            keys = (repository.name, _server_of(repository))
            return all(self._not_before.get(key, now) <= now for key in keys)

    def _note_late(self, servers: Iterable[Server]) -> None:
        until = self._monotonic() + CATCH_UP_S
        with self._lock:
            self._not_before |= dict.fromkeys(servers, until)

    def _ask_some(self, repository: Repository, events: Sequence[Event]) -> None:
        hints = self._told(repository.name)
        asked: list[tuple[Event, HookChange | None]] = []
        with self._lock:
            now = self._monotonic()
            self._not_before[repository.name] = now + CATCH_UP_S
            # Nobody waits for a deletion's details: it brings nothing.
            in_order = sorted(events, key=lambda event: event.kind.change == "deleted")
            if not self._is_closed:
                asked = [
                    (event, find_push(event, hints))
                    for event in in_order[:MOST_ASKED]
                    if event.id not in self._questions
                ]
            answers = {
                event.id: self._pool.submit(self._ask, repository, event)
                for event, _ in asked
                if event.kind.change != "deleted"
            }
            pushes = self._ask_log(repository, asked, next(iter(answers.values()), None))
            for event, hint in asked:
                answer = answers.get(event.id)
                if answer is not None or pushes is not None or hint is not None:
                    question = _Question(event, answer, pushes, hint, now + DEADLINE_S)
                    self._questions[event.id] = question
            while len(self._questions) > MOST_KEPT:
                self._questions.popitem(last=False)
        for event, hint in asked:
            self._write_push(event, hint)

    def _ask_log(
        self,
        repository: Repository,
        asked: Sequence[tuple[Event, HookChange | None]],
        after: "Future[Details | None] | None",
    ) -> "Future[tuple[HookChange, ...]] | None":
        """Ask once who made these changes, unless webhooks have told it all.

        That comes ``after`` the first answer of what they brought: where the forge's allowance has
        room for one of the two alone, it is not this one.
        """
        open_ = [event for event, hint in asked if not _is_whole(hint)]
        if not open_:
            return None
        told: Future[tuple[HookChange, ...]] = Future()

        def ask(_: object = None) -> None:
            try:
                self._pool.submit(lambda: told.set_result(self._read_log(repository, open_)))
            except RuntimeError:  # the pool has been closed meanwhile
                told.set_result(())

        if after is None:
            ask()
        else:
            after.add_done_callback(ask)
        return told

    def _wait(self, questions: Iterable[_Question]) -> bool:
        """Wait for answers as long as there is time; tell whether all have come."""
        open_ = [(question, question.open()) for question in questions if question.open()]
        if not open_:
            return True
        left = max(question.until for question, _ in open_) - self._monotonic()
        futures = {future for _, of_one in open_ for future in of_one}
        return not wait(futures, timeout=max(0.0, left)).not_done

    # One question, in one of the pool's threads.

    def _ask(self, repository: Repository, event: Event) -> Details | None:
        """Return what the forge tells, and have it written down; never raises."""
        server = _server_of(repository)
        began = self._monotonic()
        with self._lock:
            if began < self._paused.get(server, began):
                return None
        try:
            client = self._client_for(repository)
            told = client.describe(repository, change=event, timeout_s=QUESTION_S)
        except Exception:  # a defect: no delivery may miss its turn for it
            log.exception("describing broke", extra={"repository": repository.name})
            return None
        if told is not None:
            self._write(event, told)
        elif (ended := self._monotonic()) - began >= QUESTION_S * 0.9:
            with self._lock:
                self._paused[server] = ended + PAUSE_S
        return told

    def _read_log(self, repository: Repository, events: Sequence[Event]) -> tuple[HookChange, ...]:
        """Return the forge's log of pushes, and have written down who made these; never raises."""
        server = _server_of(repository)
        began = self._monotonic()
        with self._lock:
            if began < self._without_log.get(server, began):
                return ()
        is_after_pause = any(event.catch_up for event in events)
        back = LOG_BACK_AFTER_PAUSE if is_after_pause else LOG_BACK
        try:
            client = self._client_for(repository)
            since = min(event.detected_at for event in events) - back
            found = client.pushes(repository, since=since, timeout_s=QUESTION_S)
        except Exception:  # a defect: no delivery may miss its turn for it
            log.exception("asking who pushed broke", extra={"repository": repository.name})
            return ()
        if found is None and (ended := self._monotonic()) - began >= QUESTION_S * 0.9:
            with self._lock:
                self._without_log[server] = ended + PAUSE_S
        pushes = tuple(HookChange.of(push) for push in found or ())
        for event in events:
            self._write_push(event, find_push(event, pushes))
        return pushes

    def _write_push(self, event: Event, push: HookChange | None) -> None:
        told = _with_push(None, push)
        if told is not None:
            self._write(event, told)

    def _write(self, event: Event, told: Details) -> None:
        try:
            self._keep(event.id, told).add_done_callback(_note)
        except RepoSentryError as error:
            log.debug("details not kept", extra={"event": event.id, "error": str(error)})


def _result(future: "Future[Any] | None") -> Any:
    """Return what came of it, None where nothing has yet."""
    is_there = future is not None and future.done() and not future.cancelled()
    return future.result() if future is not None and is_there else None


def _with_push(details: Details | None, push: HookChange | None) -> Details | None:
    """Add who pushed, when and how, as far as that is not known."""
    if push is None or (push.pusher is None and push.pushed_at is None and push.forced is None):
        return details
    known = details or Details()
    return replace(
        known,
        forced=push.forced if known.forced is None else known.forced,
        pusher=known.pusher or push.pusher,
        pushed_at=known.pushed_at or push.pushed_at,
    )


def _is_whole(push: HookChange | None) -> bool:
    return push is not None and push.pusher is not None and push.pushed_at is not None


def _server_of(repository: Repository) -> Server:
    return repository.forge, repository.remote.host


def _note(written: "Future[None]") -> None:
    error = None if written.cancelled() else written.exception()
    if error is not None:
        log.debug("details not kept", extra={"error": str(error)})


def _completed(parcel: Parcel, questions: Mapping[str, _Question]) -> Parcel:
    question = questions.get(parcel.event.id)
    details = question.told() if question else None
    if details is None or parcel.body is not None:
        return parcel
    event = parcel.event
    if event.forced is None:
        event = replace(event, forced=details.forced)
    if event.pushed_at is None:
        event = replace(event, pushed_at=details.pushed_at)
    return replace(parcel, event=event, details=details)
