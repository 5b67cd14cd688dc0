"""``kill -9`` hundreds of times, while forges and receivers fail in every way they know.

The program runs as it is shipped, alone or with a second process that waits for its place. A real
git server is pushed to over HTTP all the while, receivers answer wrongly, late, or not at all. At
every reckoning all faults end, and what was pushed is compared with what arrived: nothing that
stood long enough to be seen may be lost, doubled under another name, or out of order.

``python -m benchmarks crash --rounds 500 --database all --seed 7``
"""

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from sqlalchemy import Engine, create_engine, text

from benchmarks.databases import KINDS, an_empty_database
from benchmarks.row import HEAD, Row
from tests.e2e.scene import (
    MAIN,
    SECRET,
    PushedRepository,
    entries,
    wait_arrived,
    wait_watched,
    write_configuration,
)
from tests.e2e.truth import Truth
from tests.fakes.git_repository import GitRepository
from tests.fakes.git_server import GitHandler, GitServer
from tests.fakes.process import RunningSentry, eventually
from tests.fakes.receiver import Answering, Record, RecordingReceiver, Reply

ROOT = Path(__file__).parents[1]
REPOSITORIES = 3
INTERVAL = "250ms"
# From a start that is cut off in its imports to some polls, deliveries and retries.
LONGEST_LIFE_S = 2.6
# A reckoning costs seconds: all faults end, and all that is owed has to arrive.
RECKONED_EVERY = 10
# Every so many reckonings, a dead process's lease is honoured until it runs out by itself.
HONOURED_EVERY = 3
RECKONING_DEADLINE_S = 90.0
# How often a second process is started beside the first, to take its place.
COMPANY = 0.25
# So many looks at a ref by one process, and the first of those that saw it has been written down:
# one may have begun before the push, one may be doubted and asked again, the last is under way.
LOOKS_TO_STAND = 5
PARTING_DEADLINE_S = 30.0


def _late(_: Record) -> int:
    time.sleep(0.4)
    return 202


def _slow_down(_: Record) -> Reply:
    return 429, {"Retry-After": "1"}, b"slowly"


RECEIVER_FAULTS: Sequence[Answering] = (
    *(202, 200, 500, 503, _late, _slow_down),
    *("hang", "lost", "reset", "trickle"),
)
FORGE_FAULTS = (None, None, None, None, "500", "429", "hang", "half", "reset", "garbage", "empty")


class LookedAtHandler(GitHandler):
    """Counts the listings that went out whole."""

    def _send(
        self, status: int, headers: list[tuple[str, str]], body: bytes, *, sent: int | None = None
    ) -> None:
        super()._send(status, headers, body, sent=sent)
        server: LookedAtServer = self.service
        if self.path.endswith("/git-upload-pack") and sent is None and server.fault is None:
            server.count(self.path.strip("/").partition("/")[0])


class LookedAtServer(GitServer):
    """What is polled; ``requests`` also counts the listings by their repository's folder."""

    handler = LookedAtHandler


class RemoteRepository(PushedRepository):
    """A repository that is pushed to by git itself, over HTTP, from a clone.

    ``life`` is the number of the process that looks at it; a ref that one process has seen often
    enough must arrive, whatever becomes of that process.
    """

    def __init__(self, polled: LookedAtServer, pushed: GitServer, name: str, clone: Path) -> None:
        super().__init__(polled, name)
        self.life = 0
        self._remote = pushed.url(f"{name}.git")
        self._seen: dict[str, tuple[int, int, int]] = {}  # ref: its last move, life, looks
        self.git = GitRepository.create(clone)
        self.git.git("fetch", "--quiet", self._remote, "+refs/*:refs/*")

    @property
    def looks(self) -> int:
        """How often its refs have been told."""
        return self.server.requests[f"{self.name}.git"]

    def push(self, refs: Mapping[str, str | None], *, must: bool = True) -> None:
        """Push with git, and note which of the states that end here stood long enough."""
        for ref in refs:
            self._end(ref)
        at_s = time.time()
        refspecs = [f"{after or ''}:{ref}" for ref, after in refs.items()]
        self.git.git("push", "--quiet", "--force", "--atomic", "--", self._remote, *refspecs)
        for ref, after in refs.items():
            self._seen[ref] = (len(self.truth.moves), self.life, self.looks)
            self.truth.moved(ref, after, at_s=at_s, must=must)

    def settle(self) -> None:
        """Say that what stands now does so until it has arrived."""
        self.truth.settle()

    def _end(self, ref: str) -> None:
        index, life, looks = self._seen.get(ref, (0, -1, 0))
        if life == self.life and self.looks - looks >= LOOKS_TO_STAND:
            self.truth.moves[index] = replace(self.truth.moves[index], must=True)

    def move_something(self, chance: random.Random) -> None:
        """Make, move, rewind or delete some branches and tags, in one push."""
        standing = self.truth.standing()
        refs: dict[str, str | None] = {}
        for ref in chance.sample(self._names(), chance.choice((1, 1, 2, 5))):
            tip = standing.get(ref)
            if tip and ref != MAIN and chance.random() < 0.25:  # noqa: PLR2004 - a choice
                refs[ref] = None
            else:
                parents = [tip] if tip and chance.random() < 0.7 else []  # noqa: PLR2004 - as above
                refs[ref] = self.git.make_commit(*parents)
        self.push(refs, must=False)

    @staticmethod
    def _names() -> list[str]:
        topics = [f"refs/heads/topic/{number}" for number in range(6)]
        return [MAIN, MAIN, *topics, *(f"refs/tags/v{number}" for number in range(3))]


@dataclass(slots=True)
class Battlefield:
    """The program in up to two processes, between a git server and receivers."""

    sentries: Sequence[RunningSentry]
    engine: Engine
    server: LookedAtServer
    repositories: Sequence[RemoteRepository]
    receivers: Mapping[str, RecordingReceiver]
    chance: random.Random
    kills: int = 0
    lives: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def truths(self) -> list[Truth]:
        """What was pushed."""
        return [each.truth for each in self.repositories]

    @property
    def running(self) -> list[RunningSentry]:
        """The processes that live."""
        return [each for each in self.sentries if each.is_running]

    def start(self, count: int = 1) -> None:
        """Let so many processes live."""
        resting = [each for each in self.sentries if not each.is_running]
        for sentry in resting[: max(0, count - len(self.running))]:
            sentry.start()

    def strike(self) -> None:
        """Let the program live for a moment while much is pushed and much fails, then kill it."""
        self.commit_faults()
        self.start(2 if self.chance.random() < COMPANY else 1)
        ends_at = time.monotonic() + self.chance.uniform(0, LONGEST_LIFE_S)
        for _ in range(self.chance.choice((1, 2, 2, 3))):
            time.sleep(max(0.0, self.chance.uniform(0, ends_at - time.monotonic())))
            self.push()
        time.sleep(max(0.0, ends_at - time.monotonic()))
        self.kill(self.chance.choice(self.running))
        if self.chance.random() < 0.5:  # noqa: PLR2004 - a choice
            self.push()

    def push(self) -> None:
        """Move something in one of the repositories."""
        self.chance.choice(self.repositories).move_something(self.chance)

    def commit_faults(self) -> None:
        """Let everybody but one receiver misbehave as it comes."""
        self.server.fault = self.chance.choice(FORGE_FAULTS)
        for name, receiver in self.receivers.items():
            receiver.answer = 202 if name == "well" else self.chance.choice(RECEIVER_FAULTS)

    def kill(self, sentry: RunningSentry, *, is_lease_honoured: bool = False) -> None:
        """Kill one process, and spare the others the wait for its lease unless it is honoured."""
        pid = sentry.pid
        sentry.kill()
        self.kills += 1
        life = next(self.lives)
        for repository in self.repositories:
            repository.life = life
        if not is_lease_honoured:
            free = text("UPDATE leases SET holder = NULL WHERE holder LIKE :dead")
            with self.engine.begin() as connection:
                connection.execute(free, {"dead": f"%:{pid}:%"})

    def reckon(self, *, is_lease_honoured: bool) -> list[str]:
        """End all faults, wait until what must arrive has, and return what is wrong."""
        for sentry in self.running:
            self.kill(sentry, is_lease_honoured=is_lease_honoured)
        self.server.fault = None
        for receiver in self.receivers.values():
            receiver.answer = 202
        for repository in self.repositories:
            repository.settle()
        self.start()
        complaints = self._complaints()
        (sentry,) = self.running
        sentry.wait_ready()
        complaints += [f"still owed: {owed}" for owed in self._wait_all_concluded(sentry)]
        return complaints or self._complaints()

    def _complaints(self) -> list[str]:
        return [
            f"{name}: {complaint}"
            for name, receiver in self.receivers.items()
            for complaint in wait_arrived(
                self.truths, [receiver], deadline_s=RECKONING_DEADLINE_S
            ).complaints
        ]

    def _wait_all_concluded(self, sentry: RunningSentry) -> list[str]:
        """Wait until every delivery is written down as delivered; return those that are not."""

        def others() -> list[str]:
            states = ("pending", "sending", "waiting", "held", "dead", "cancelled")
            return [
                f"{each['receiver']} {each['id']} {state}"
                for state in states
                for each in sentry.deliveries(f"&state={state}")
            ]

        try:
            eventually(lambda: not others(), deadline_s=PARTING_DEADLINE_S, what="all is concluded")
        except AssertionError:
            return others()
        return []

    def tell(self) -> str:
        """Return what has happened so far, in figures."""
        moves = [move for truth in self.truths for move in truth.moves]
        records = [record for each in self.receivers.values() for record in each.records]
        changes = len({(r.delivery) for r in records})
        standing = sum(move.must for move in moves)
        return (
            f"{self.kills} kills, {len(moves)} pushed ref states of which {standing} had to arrive,"
            f" {changes} deliveries, {len(records) - changes} repeats"
        )


@contextmanager
def a_battlefield(folder: Path, database_url: str, chance: random.Random) -> Iterator[Battlefield]:
    """Yield one on which every baseline has been taken."""
    root = folder / "git"
    root.mkdir()
    with ExitStack() as stack:
        polled = stack.enter_context(LookedAtServer(root))
        pushed = stack.enter_context(GitServer(root))
        repositories = [
            RemoteRepository(polled, pushed, f"r{number}", folder / f"clone-{number}.git")
            for number in range(REPOSITORIES)
        ]
        names = ("well", "moody", "fickle", "unsteady")
        receivers = {name: stack.enter_context(RecordingReceiver(SECRET)) for name in names}
        file = write_configuration(
            folder,
            database=database_url,
            repositories=entries(repositories),
            receivers={name: each.url for name, each in receivers.items()},
            interval=INTERVAL,
        )
        # The program of this checkout, wherever another one is installed.
        surroundings = {"PYTHONPATH": str(ROOT)}
        sentries = [
            stack.enter_context(
                _Resting("run", "-c", str(file), folder=folder, environ=surroundings)
            )
            for _ in range(2)
        ]
        engine = create_engine(database_url)
        stack.callback(engine.dispose)
        battlefield = Battlefield(sentries, engine, polled, repositories, receivers, chance)
        battlefield.start()
        wait_watched(sentries[0].wait_ready(), [each.name for each in repositories])
        yield battlefield


class _Resting(RunningSentry):
    """Not started by being entered: both processes have their turns later."""

    def __enter__(self) -> Self:
        return self


class PromiseBroken(Exception):
    """What arrived is not what was pushed."""

    def __init__(self, complaints: Sequence[str]) -> None:
        super().__init__(f"{len(complaints)} complaints")
        self.complaints = complaints


def campaign(kind: str, *, rounds: int, seed: int) -> Row:
    """Strike so many times, or until a promise is broken, and return the row."""
    folder = Path(tempfile.mkdtemp(prefix="reposentry-crash-"))
    complaints: Sequence[str] = ()
    told = "nothing was reckoned"
    try:
        with an_empty_database(kind, folder) as url:
            _say(f"{kind}: seed {seed}, {folder}, {url}")
            chance = random.Random(seed)  # noqa: S311 - not a secret, and repeatable
            with a_battlefield(folder, url, chance) as battlefield:
                for told in fight(battlefield, rounds):
                    _say(f"{kind}: {told}")
        shutil.rmtree(folder, ignore_errors=True)
    except PromiseBroken as broken:
        complaints = broken.complaints
        for line in (*complaints, *getattr(broken, "__notes__", ())):
            _say(f"WRONG {line}")
        _say(f"{kind}: what is left lies in {folder}, and the database stays too")
    what = f"lost, doubled or reordered by kill -9 on {kind}, seed {seed}"
    return Row(what, 0, "changes", len(complaints), told)


def fight(battlefield: Battlefield, rounds: int) -> Iterator[str]:
    """Strike so many times, and tell at every reckoning what has happened so far.

    Raises:
        PromiseBroken: Something was lost, doubled or reordered.
    """
    began_at = time.monotonic()
    reckonings = itertools.count(1)
    for number in range(1, rounds + 1):
        battlefield.strike()
        if number % RECKONED_EVERY and number != rounds:
            continue
        is_honoured = next(reckonings) % HONOURED_EVERY == 0
        if complaints := battlefield.reckon(is_lease_honoured=is_honoured):
            raise PromiseBroken(complaints)
        a_round_s = (time.monotonic() - began_at) / number
        yield f"{number} of {rounds} rounds, {a_round_s:.2f} s each: {battlefield.tell()}"


def main(arguments: Sequence[str]) -> int:
    """Run campaigns; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks crash", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--database", choices=(*KINDS, "all"), default="sqlite")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 10**6))
    chosen = parser.parse_args(arguments)
    kinds = KINDS if chosen.database == "all" else (chosen.database,)
    rows = [campaign(kind, rounds=chosen.rounds, seed=chosen.seed) for kind in kinds]
    print("\n".join((HEAD, *map(str, rows))))  # noqa: T201 - a command's answer
    return 0 if all(row.is_met for row in rows) else 1


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)  # noqa: T201 - progress
