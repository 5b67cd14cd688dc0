"""The world of one history: what is true in it, who acts in it, and what it holds against us."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

from app.domain.delivery import RetryPolicy
from app.domain.errors import RepoSentryError
from app.domain.refs import RefFilter
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.settings.types import Receiver
from app.simulation.forge import API, SHARE, ModelForges, ModelRepository
from app.simulation.loop import Killed, Loop
from app.simulation.plan import Happening, Plan
from app.simulation.process import Notice, Process, Term, WayToForges
from app.simulation.receivers import ModelReceiver
from app.storage.holds import Holds
from app.storage.inline import InlineDatabase, Memory, Step
from app.storage.outbox import Outbox
from app.storage.records import PollState
from app.storage.store import Store
from app.transport import NoAnswer, Reply

QUIET_MS = 90 * 60_000  # after the last fault, all that is owed is delivered within this
GIVE_UP = {False: timedelta(days=3), True: timedelta(minutes=2)}
MOST_LOOKS = 3_000  # a choice: usual are 100
A_SECOND = timedelta(seconds=1)
HELP_MS = 60_000  # how often people look after what is shut, once all faults have ended

_STANDS = (
    "SELECT position, state, finished_at, claim_fence, repository_id, event_position, receiver,"
    " attempts_made FROM deliveries WHERE id = ?"
)
_BEFORE = (
    "SELECT position, id FROM deliveries WHERE receiver = ? AND repository_id = ?"
    " AND position < ? AND finished_at IS NULL AND state != 'held'"
)
_HELD_BY = (
    "SELECT deliveries.position FROM deliveries"
    " JOIN events ON events.position = deliveries.event_position"
    " WHERE events.hold_id = ? AND deliveries.state = 'held'"
)


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that a history broke."""

    promise: int
    what: str

    def __str__(self) -> str:
        return f"promise {self.promise}: {self.what}"


@dataclass(slots=True)
class Sent:
    """What was sent under one delivery id."""

    body: bytes
    event_id: str
    receiver: str
    first_ms: int
    times: int = 0
    taken: int = 0
    final: set[int] = field(default_factory=set)  # statuses that end a delivery
    asked_until: datetime | None = None
    asked_of: int = -1  # the term that heard it: another may know nothing of it


class World:
    """One history while it is lived."""

    def __init__(self, plan: Plan, memory: Memory) -> None:
        self.plan = plan
        self.memory = memory
        self.loop = Loop()
        self._random = Random(plan.seed ^ 0x5EED)  # noqa: S311 - it must be repeatable
        self.chance: Callable[[], float] = self._random.random
        self.repositories = _repositories(plan)
        self.receivers: Mapping[str, Receiver] = _receivers(plan)
        self.watched = [
            _watched(model, self.receivers, plan.interval_ms) for model in self.repositories
        ]
        self.forges = ModelForges(
            self.loop, self.repositories, plan.allowance, plan.window_ms, self.chance
        )
        self.models = {name: ModelReceiver(name, self.loop, self.chance) for name in self.receivers}
        self.broken: Broken | None = None
        self.sent: dict[str, Sent] = {}
        self.pushed: dict[tuple[str, str, str], int] = {}
        self.moves = 0  # of refs by pushes, deletions as well
        self.cancelled: set[str] = set()
        self.dismissed: set[str] = set()
        # What a storm held and a person released: which was the newest that was owed then.
        self.released: dict[int, int] = {}
        self.observed: dict[int, list[dict[str, str]]] = defaultdict(list)
        self.steps = 0
        self.looks = 0
        self.polls = 0
        self.kills = 0
        self._is_quiet = False
        self._polled_enough: set[int] = set()
        self._model_of: dict[int, ModelRepository] = {}
        self._processes: list[Process] = []
        self._made = 0
        self._commits = 0
        stepwise = sorted(
            (h for h in plan.happenings if h.step is not None),
            key=lambda h: (h.step or 0, h.number),
            reverse=True,
        )
        self._stepwise = [h for h in stepwise if h.kind != "database"]
        self._troubles = [h for h in stepwise if h.kind == "database"]
        self.people = InlineDatabase(memory, now=lambda: self.loop.now, boundary=lambda _: None)
        self._outbox, self._store = Outbox(self.people), Store(self.people)
        self._holds = Holds(self.people)

    # A history.

    def live(self) -> None:
        """Live it through to its end, or to the first promise that is broken."""
        for model in self.repositories:
            refs = {"refs/heads/main": self._commit(), "refs/heads/dev": self._commit()}
            if self.plan.seed % 23 == 0 and model.number == 0:
                refs |= {f"refs/heads/b{n:03}": self._commit() for n in range(98)}
            model.put(0, refs)
        for happening in self.plan.happenings:
            if happening.ms is not None:
                self.loop.at(happening.ms, partial(self._happen, happening))
        for number in range(self.plan.processes):
            self.loop.after(number * 700, partial(self._start, skew_ms=0))
        self.loop.run_until(self.plan.lasts_ms)
        self._end_all_faults()
        until = self.loop.ms + QUIET_MS
        while not self._is_done() and self.loop.ms < until and self.loop.step():
            pass
        self._settle_all()

    def _settle_all(self) -> None:
        """Let what is under way end, and what was handed in be written."""
        if self.broken is None:
            self.loop.run_until(self.loop.ms + 1000)

    def _start(self, *, skew_ms: int) -> None:
        self._made += 1
        process = Process(self, self._made, skew_ms=skew_ms)
        self._processes = [*(p for p in self._processes if not p.is_dead), process]

    def _is_done(self) -> bool:
        if self.broken is not None:
            return True
        if len(self._polled_enough) < len(self.repositories):
            return False
        question = "SELECT 1 FROM deliveries WHERE finished_at IS NULL LIMIT 1"
        return self.memory.raw.execute(question).fetchone() is None

    def _end_all_faults(self) -> None:
        self.loop.tell("all faults end")
        self._is_quiet = True
        self._stepwise.clear()
        self._troubles.clear()
        self.forges.recover()
        for model in self.models.values():
            model.recover()
        self._help()

    def _help(self) -> None:
        """Have people open what is shut."""
        for name, state in sorted(self._outbox.receiver_states().items()):
            if state.paused_at or state.disabled_at:
                self._resume_receiver(name)
        for number in range(len(self.repositories)):
            self._act("resume repository", number)
        self._act("release", 0)
        self.loop.after(HELP_MS, self._help)

    @property
    def is_quiet(self) -> bool:
        """Whether all faults have ended."""
        return self._is_quiet

    def breaks(self, promise: int, what: str) -> None:
        """Note that a promise is broken, and end the history."""
        if self.broken is None:
            self.broken = Broken(promise, what)
            self.loop.tell("BROKEN", promise, what)
            self.loop.is_over = True

    # What happens.

    def _happen(self, it: Happening) -> None:
        if self._is_quiet:
            return
        self.loop.tell(it.kind, it.what, it.number % 1000)
        if it.kind == "push":
            self._push(it)
        elif it.kind == "forge":
            self.forges.fail(it)
        elif it.kind == "receiver":
            names = sorted(self.models)
            self.models[names[it.number % len(names)]].fail(it)
        elif it.kind == "person":
            self._act(it.what, it.number)
        elif it.kind == "clock":
            self._set_clock(it)
        elif it.kind == "stop":
            self._stop_one(it)

    def stepped(self, process: Process, *, is_quiet: bool) -> bool:
        """Hear of a process's step; let happen what is planned for it.

        Returns:
            Whether the process stalled at this step.
        """
        self.steps += 1
        stalled = False
        waiting = self._stepwise
        while waiting and (waiting[-1].step or 0) <= self.steps and not process.is_dead:
            it = waiting[-1]
            if it.kind != "kill" and not is_quiet:
                break
            waiting.pop()
            self.loop.tell(it.kind, it.what, process.name)
            if it.kind == "kill":
                self.kills += 1
                process.die()
                self.loop.after(it.length_ms, partial(self._start, skew_ms=process.skew_ms))
            elif it.kind == "freeze":
                self._freeze(process, it.length_ms)
                stalled = True
            else:
                self._act(it.what, it.number, is_told=False)
        return stalled

    def trouble(self, at: Step) -> str | None:
        """Say what ails the database at this step, if anything does.

        It refuses a transaction, or its answer to the very commit is lost.
        """
        if not self._troubles or (self._troubles[-1].step or 0) > self.steps:
            return None
        what = self._troubles[-1].what
        if at is not (Step.WRITE if what == "refuses" else Step.WRITTEN):
            return None
        self._troubles.pop()
        self.loop.tell("database", what)
        return f"the database: {what}"

    def write_down(self) -> None:
        """Have everything written that was handed in, unless whoever waits for it is dead."""
        waiter = self.loop.owner
        if waiter is not None and (waiter.is_dead or self.loop.is_over):
            raise Killed(waiter)
        for process in self._processes:
            if not (process.is_dead or process.is_frozen):
                process.database.settle()

    def looked(self) -> None:
        """Hear that a process reads; it must not do that without an end."""
        self.looks += 1
        if self.looks > MOST_LOOKS:
            self.breaks(5, f"it looks {MOST_LOOKS} times and rests too little")

    def _freeze(self, process: Process, ms: int) -> None:
        process.is_frozen = True
        self.loop.sleep(ms)
        process.is_frozen = False
        deferred, process.deferred = process.deferred, []
        for act in deferred:
            self.loop.after(0, act, process)
        self.loop.tell(process.name, "wakes up")

    def _stop_one(self, it: Happening) -> None:
        alive = [p for p in self._processes if not p.is_dead]
        if not alive or self._is_quiet:
            return
        process = alive[it.number % len(alive)]
        if process.is_frozen or self.loop.is_running(process):
            self.loop.after(200, partial(self._stop_one, it))
            return
        self.loop.after(it.length_ms, partial(self._start, skew_ms=process.skew_ms))
        process.stop()

    def _set_clock(self, it: Happening) -> None:
        alive = [p for p in self._processes if not p.is_dead]
        if alive:
            process = alive[it.number % len(alive)]
            process.skew_ms += it.length_ms if it.what == "forward" else -it.length_ms

    def may_be_cancelled(self, delivery_id: str) -> bool:
        """Tell whether people cancelled a delivery, or dismissed the storm it was in."""
        return delivery_id in self.cancelled or delivery_id in self.dismissed

    # What is pushed.

    def _commit(self) -> str:
        self._commits += 1
        return f"{self._commits:08x}" * 5

    def _push(self, it: Happening) -> None:
        model = self.repositories[it.number % len(self.repositories)]
        number = it.number // 8
        refs = dict(model.refs)
        branches = sorted(ref for ref in refs if ref.startswith("refs/heads/"))
        chosen = branches[number % len(branches)] if branches else "refs/heads/main"
        if it.what == "delete" and len(branches) > 1:
            refs.pop(chosen)
        elif it.what == "create":
            refs[f"refs/heads/feature/{number % 7}"] = self._commit()
        elif it.what == "rewind":
            refs[chosen] = model.at(self.loop.ms - 60_000).get(chosen) or self._commit()
        elif it.what == "many":
            names = (f"refs/heads/many/{n}" for n in range(number % 5 + 2))
            refs |= {name: self._commit() for name in names}
        elif it.what == "tag":
            refs[f"refs/tags/v{number % 4}"] = self._commit()
        elif it.what == "there and back":
            before = refs.get(chosen)
            refs[chosen] = self._commit()
            if before is not None:
                self.loop.after(number % 40_000, lambda: self._put(model, chosen, before))
        else:
            refs[chosen] = self._commit()
        self._replace(model, refs)

    def _put(self, model: ModelRepository, ref: str, commit: str) -> None:
        if self._is_quiet:
            return
        self._replace(model, {**model.refs, ref: commit})

    def _replace(self, model: ModelRepository, refs: dict[str, str]) -> None:
        names = {*refs, *model.refs}
        self.moves += sum(refs.get(name) != model.refs.get(name) for name in names)
        for ref, commit in refs.items():
            if model.refs.get(ref) != commit:
                self.pushed.setdefault((model.name, ref, commit), self.loop.ms)
        model.put(self.loop.ms, refs)

    # What people do.

    def _active(self) -> Term | None:
        terms = [p.term for p in self._processes if not (p.is_dead or p.is_frozen)]
        return next((term for term in terms if term is not None and not term.is_over), None)

    def _now(self) -> datetime:
        """Tell the time of the machine that people ask."""
        term = self._active()
        return term.process.now() if term else self.loop.now

    def _act(self, what: str, number: int, *, is_told: bool = True) -> None:
        """Do what people do; ``is_told`` when they do it through the process that delivers."""
        with suppress(RepoSentryError):
            self._do(what, number)
        term = self._active()
        if is_told and term is not None:
            term.dispatcher.take_stock()
            term.look_around()

    def _do(self, what: str, number: int) -> None:
        if what.endswith("receiver"):
            names = sorted(self.receivers)
            self._do_to_receiver(what, names[number % len(names)])
        elif what.endswith("repository") or what == "wake":
            self._do_to_repository(what, number % len(self.repositories))
        elif what in {"release", "dismiss"}:
            self._do_to_storms(what)
        elif what == "redeliver":
            self._redeliver(number)
        else:
            self._do_to_delivery(what, number)

    def _do_to_receiver(self, what: str, name: str) -> None:
        if what == "pause receiver":
            self._outbox.pause_receiver(name, at=self._now())
        else:
            self._resume_receiver(name)

    def _do_to_storms(self, what: str) -> None:
        for hold in self._holds.list("held"):
            if what == "release":
                self._note_released(hold.id)
                self._holds.release(hold.id, now=self._now())
                continue
            held = "SELECT id FROM deliveries WHERE state = 'held'"
            self.dismissed |= {row[0] for row in self.memory.raw.execute(held)}
            self._holds.dismiss(hold.id, now=self._now())

    def _note_released(self, hold_id: str) -> None:
        """Remember what was owed when a storm was released: it may have been about to go."""
        (newest,) = self.memory.raw.execute("SELECT max(position) FROM deliveries").fetchone()
        held = self.memory.raw.execute(_HELD_BY, (hold_id,))
        self.released |= {position: newest for (position,) in held}

    def _redeliver(self, number: int) -> None:
        found = self._any("SELECT id FROM events ORDER BY position", number)
        payloads = {name: receiver.payload for name, receiver in self.receivers.items()}
        if found:
            self._outbox.redeliver(found, receivers=payloads, only_former=True, now=self._now())

    def _do_to_delivery(self, what: str, number: int) -> None:
        open_ = "SELECT id FROM deliveries WHERE finished_at IS NULL ORDER BY position"
        found = self._any(open_, number)
        if found and what == "cancel":
            self._outbox.cancel(found, now=self._now())
            self.cancelled.add(found)
            self.loop.tell("cancelled", found)
        elif found:
            self._outbox.retry(found, now=self._now())
            if found in self.sent:
                self.sent[found].asked_until = None

    def _any(self, question: str, number: int) -> str | None:
        rows = self.memory.raw.execute(question).fetchall()
        return str(rows[number % len(rows)][0]) if rows else None

    def _resume_receiver(self, name: str) -> None:
        self._outbox.enable_receiver(name, now=self._now())
        self._forget_wishes(name)

    def _forget_wishes(self, receiver: str) -> None:
        for sent in self.sent.values():
            if sent.receiver == receiver:
                sent.asked_until = None

    def _do_to_repository(self, what: str, number: int) -> None:
        term = self._active()
        if term is None:
            return
        repository_id = term.catalog.by_name(self.repositories[number].name).watched.id
        paused_at = term.catalog.get(repository_id).watched.paused_at
        if what == "wake":
            term.wake(repository_id)
        elif what == "pause repository" and paused_at is None:
            self._store.pause(repository_id, at=self._now())
            term.catalog.pause(repository_id, self._now())
        elif what == "resume repository" and paused_at is not None:
            self._store.pause(repository_id, at=None)
            term.catalog.pause(repository_id, None)
            term.resume(repository_id)

    # What is asked of forges.

    @contextmanager
    def asking(self, process: Process) -> Iterator[None]:
        """Mark a question to a forge, which may take several requests."""
        process.questions.append(self.loop.ms)
        try:
            yield
        finally:
            process.questions.pop()

    def ask(
        self,
        process: Process,
        way: WayToForges,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_s: float,
    ) -> Reply | NoAnswer:
        """Take a request to its forge, and its answer back."""
        process.step(is_quiet=True)
        server = API if API in url else url.partition("/info/refs")[0].partition("/git-upload")[0]
        self._check_politeness(process, way, server)
        took_ms, answer = self.forges.answer(url, headers, body, timeout_s)
        self.loop.sleep(took_ms)
        process.step(is_quiet=True)
        if isinstance(answer, Reply):
            self._notice(process, way, server, answer)
        return answer

    def _check_politeness(self, process: Process, way: WayToForges, server: str) -> None:
        notice = way.notices.get(server)
        if notice is None or process.questions[-1] <= notice.noted_ms:
            return
        if not notice.since <= process.now() < notice.until:
            del way.notices[server]  # it is over, or the clock was set back
        elif process.now() < notice.until - A_SECOND:
            self.breaks(4, f"{process.name} asks {server}, which is spent until {notice.until}")

    def _notice(self, process: Process, way: WayToForges, server: str, answer: Reply) -> None:
        now = process.now()
        until: datetime | None = None
        headers = answer.headers
        limit = int(headers.get("X-RateLimit-Limit", 0))
        if answer.status in {403, 429}:
            if "Retry-After" in headers:
                until = now + timedelta(seconds=int(headers["Retry-After"]))
            elif not limit:
                until = now + timedelta(minutes=1)
        if until is None and limit:
            reset_s = int(headers["X-RateLimit-Reset"])
            if reset_s < way.newest_reset_s:  # overtaken by an answer of the next period
                return
            way.newest_reset_s = reset_s
            if int(headers["X-RateLimit-Remaining"]) <= round(limit * (1 - SHARE)):
                until = datetime.fromtimestamp(reset_s, UTC)
        known = way.notices.get(server)
        # A clock that is wrong by more than a day is not believed by the program either.
        if until is not None and now < until and (known is None or known.until < until):
            way.notices[server] = Notice(now, until, self.loop.ms)

    def polled(
        self, term: Term, repository_id: int, began_ms: int, known: PollState, *, is_fresh: bool
    ) -> None:
        """Note what a poll must have seen: what stood there all the while it took.

        What is not ``is_fresh`` was put off, or its answer may be from before it.
        """
        self.polls += 1
        self.loop.tell(term.process.name, "polled", repository_id, known.last_outcome)
        model = self._model_of.get(repository_id)
        if model is None:
            name = term.catalog.get(repository_id).repository.name
            model = next(m for m in self.repositories if m.name == name)
            self._model_of[repository_id] = model
        if known.last_outcome not in {"changed", "unchanged"} or model.lied_ms >= began_ms:
            return
        if not is_fresh or model.states[-1][0] > began_ms:
            return
        if self._is_deposed(term):  # what it finds is another's to write down
            return
        seen = self.observed[repository_id]
        if not seen or seen[-1] is not model.refs:
            seen.append(model.refs)
        if self._is_quiet:
            self._polled_enough.add(repository_id)

    def has_polled_enough(self, repository_id: int) -> bool:
        """Tell whether a repository was seen as it will stay."""
        return repository_id in self._polled_enough

    # What is sent to receivers.

    def deliver(
        self,
        term: Term,
        receiver: str,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float,
    ) -> Reply | NoAnswer:
        """Take a request to its receiver, and its answer back."""
        process = term.process
        has_stalled = process.step(is_quiet=True)
        found = {name.lower(): value for name, value in headers.items()}
        delivery_id = found["x-reposentry-delivery"]
        row = self.memory.raw.execute(_STANDS, (delivery_id,)).fetchone()
        self.loop.tell(process.name, "sends", receiver, delivery_id)
        sent = self._note_sent(delivery_id, found["x-reposentry-event"], receiver, body)
        if row is None:
            self.breaks(1, f"{delivery_id} is sent and not recorded")
        elif not has_stalled and not self._is_deposed(term):
            self._check_claim(term, delivery_id, row)
            self._check_order(term, delivery_id, row, is_first=sent.times == 1)
            self._check_patience(term, delivery_id, sent)
        outcome = self.models[receiver].outcome(timeout_s)
        sent.taken += outcome.is_taken
        self.loop.sleep(outcome.took_ms)
        process.step(is_quiet=True)
        self._note_answer(term, receiver, sent, outcome.reply, row)
        return outcome.reply

    def _note_sent(self, delivery_id: str, event_id: str, receiver: str, body: bytes) -> Sent:
        sent = self.sent.get(delivery_id)
        if sent is None:
            sent = Sent(body, event_id, receiver, self.loop.ms)
            self.sent[delivery_id] = sent
        elif (sent.body, sent.event_id, sent.receiver) != (body, event_id, receiver):
            self.breaks(2, f"{delivery_id} is sent with other bytes than before")
        sent.times += 1
        return sent

    def _is_deposed(self, term: Term) -> bool:
        """Tell whether another process has taken over, which this one cannot know yet."""
        newest = self.memory.raw.execute("SELECT fence FROM leases").fetchone()
        return bool(newest[0] > term.fence)

    def _check_claim(self, term: Term, delivery_id: str, row: tuple[Any, ...]) -> None:
        _, state, finished_at, claim_fence, *_ = row
        if delivery_id in self.cancelled:
            self.breaks(3, f"{delivery_id} is sent although it was cancelled")
        if finished_at is not None:
            self.breaks(3, f"{delivery_id} is sent although it is {state} and finished")
        elif state != "sending" or claim_fence != term.fence:
            self.breaks(3, f"{delivery_id} is sent although it is {state}, by {claim_fence}")

    def _check_order(
        self, term: Term, delivery_id: str, row: tuple[Any, ...], *, is_first: bool
    ) -> None:
        position, repository_id, receiver = row[0], row[4], row[6]
        if not is_first or self.receivers[receiver].order != "repository":
            return
        for other, other_id in self.memory.raw.execute(
            _BEFORE, (receiver, repository_id, position)
        ):
            is_behind = position not in self.released and position <= self.released.get(other, 0)
            if is_behind or other in term.settled or self._may_be_given_up(other_id):
                continue
            self.breaks(3, f"{delivery_id} is sent before {other_id}, which is unfinished")

    def _may_be_given_up(self, delivery_id: str) -> bool:
        """Tell whether one that was sent may have been tried for long enough.

        By the program's account, that is: what a dead process had claimed counts as tried.
        """
        return self.plan.is_impatient and delivery_id in self.sent

    def _check_patience(self, term: Term, delivery_id: str, sent: Sent) -> None:
        until = sent.asked_until
        if until is None or sent.asked_of != term.fence:
            return
        if term.process.now() < until - A_SECOND:
            self.breaks(4, f"{delivery_id} is sent again before {until}, as it was asked to wait")
        sent.asked_until = None  # that much was done, and a clock may be set back after it

    def _note_answer(
        self,
        term: Term,
        receiver: str,
        sent: Sent,
        reply: Reply | NoAnswer,
        row: tuple[Any, ...] | None,
    ) -> None:
        if isinstance(reply, NoAnswer):
            return
        process, status = term.process, reply.status
        after = reply.headers.get("Retry-After", "")
        if after.isdigit():
            sent.asked_until = process.now() + timedelta(seconds=int(after))
            sent.asked_of = term.fence
        is_final = status < 500 and status not in {408, 425, 429}  # noqa: PLR2004 - HTTP's own
        if is_final:
            self._forget_wishes(receiver)  # it is back: what waits is brought forward
        if status in {401, 403, 404}:
            # Tried three times, a third of an hour apart: too long for the impatient.
            is_final = self.plan.is_impatient or (row is not None and row[7] >= 2)  # noqa: PLR2004
        if is_final and row is not None:
            sent.final.add(status)
            term.settled.add(row[0])


def _repositories(plan: Plan) -> list[ModelRepository]:
    kinds = (("github", "https://github.com", False), ("git", "https://git.example.com", True))
    made = []
    for number in range(plan.repositories):
        kind = plan.seed + number if plan.forge == "both" else plan.forge == "git"
        forge, host, has_tags = kinds[kind % 2]
        has_tags = has_tags or (plan.forge == "both" and (plan.seed // 2 + number) % 5 == 0)
        name = f"acme/r{number}"
        made.append(ModelRepository(number, name, f"{host}/{name}", forge, has_tags))
    return made


def _watched(
    model: ModelRepository, receivers: Mapping[str, Receiver], interval_ms: int
) -> Repository:
    return Repository(
        name=model.name,
        url=model.url,
        forge=model.forge,
        refs=RefFilter(("*",), ("*",) if model.watches_tags else ()),
        receivers=tuple(receivers),
        interval=timedelta(milliseconds=interval_ms),
    )


def _receivers(plan: Plan) -> dict[str, Receiver]:
    retry = RetryPolicy(timedelta(seconds=2), timedelta(seconds=40), GIVE_UP[plan.is_impatient])
    made = [_receiver(plan, number, retry) for number in range(plan.receivers)]
    return {receiver.name: receiver for receiver in made}


def _receiver(plan: Plan, number: int, retry: RetryPolicy) -> Receiver:
    is_first = number == 0
    return Receiver(
        name="tekton" if is_first else "standard",
        url=f"https://receiver{number}.example.com/",
        payload="github" if is_first else "standard",
        secret=Secret("s3cret"),
        timeout=timedelta(seconds=5),
        retry=retry,
        rate=4.0 if (plan.seed + number) % 7 == 0 else None,
        order="repository" if is_first or plan.seed % 3 else "none",
        concurrency=2 if plan.seed % 2 else 8,
        changes=("created", "updated", "deleted") if is_first else ("created", "updated"),
    )
