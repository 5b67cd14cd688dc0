"""``kill -9`` at any moment, on any database: nothing is lost, doubled or reordered.

Every receiver and every git server commits a fault of its own when the blow falls, so that one
kill hits deliveries that are being sent, wait, or hang, and polls that fail in every way.
``REPOSENTRY_CRASH_ROUNDS`` sets how many blows fall on each database, ``REPOSENTRY_CRASH_SEED``
repeats an unlucky run.
"""

import itertools
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, make_url, text

from tests.e2e.scene import (
    MAIN,
    SECRET,
    PushedRepository,
    entries,
    gathered,
    wait_arrived,
    wait_watched,
    write_configuration,
)
from tests.e2e.truth import judge
from tests.fakes.git_server import GitServer
from tests.fakes.process import RunningSentry, eventually
from tests.fakes.receiver import Answering, RecordingReceiver

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("REPOSENTRY_CRASH_ROUNDS", "2"))
SEED = int(os.environ.get("REPOSENTRY_CRASH_SEED", "0")) or random.SystemRandom().randrange(
    1, 10**6
)
# More rounds than by default ask for every step; otherwise each database has steps of its own.
STRIDE = 1 if ROUNDS > 2 else 8
FIRST_STEP = {"sqlite": 1, "postgresql": 2, "mysql": 3}
# Reading, writing, claiming, sending and concluding two changes; fewer would prove nothing.
FEWEST_DEATHS = 10
DOOMED = Path(__file__).parent / "doomed"
# The longest that a blow waits: time for two polls, an attempt that times out, and some retries.
LONGEST_LIFE_S = 1.5

RECEIVER_FAULTS: Mapping[str, Answering] = {
    "well": 202,
    "failing": 500,
    "hanging": "hang",
    "slowing": lambda _: (429, {"Retry-After": "1"}, b"slowly"),
    "forgetting": "lost",
}
FORGE_FAULTS: Mapping[str, str | None] = {
    "well": None,
    "failing": "500",
    "hanging": "hang",
    "cutting": "half",
    "resetting": "reset",
}


@dataclass(frozen=True, slots=True)
class Battlefield:
    """Receivers and repositories, each with a fault of its own, and the program between them."""

    sentry: RunningSentry
    repositories: Mapping[str, PushedRepository]
    receivers: Mapping[str, RecordingReceiver]

    @property
    def names(self) -> list[str]:
        """The repositories' names."""
        return [each.name for each in self.repositories.values()]

    def commit_faults(self) -> None:
        """Let everybody but the well ones misbehave."""
        for fault, receiver in self.receivers.items():
            receiver.answer = RECEIVER_FAULTS[fault]
        for fault, repository in self.repositories.items():
            repository.server.fault = FORGE_FAULTS[fault]

    def lift_faults(self) -> None:
        """Let everybody behave, and say that what stands now must arrive."""
        for receiver in self.receivers.values():
            receiver.answer = 202
        for repository in self.repositories.values():
            repository.server.fault = None
            repository.truth.settle()

    def push(self, chance: random.Random) -> None:
        """Move something in every repository, as it comes."""
        for repository in self.repositories.values():
            standing = sorted(repository.truth.standing().keys() - {MAIN})
            repository.commit(f"refs/heads/{chance.randrange(10**6)}", must=False)
            repository.force(MAIN, must=False)
            if len(standing) > 3:
                repository.delete(chance.choice(standing), must=False)

    def complaints(self) -> list[str]:
        """Wait until all that must arrive has arrived everywhere, and return what is wrong."""
        truths = [each.truth for each in self.repositories.values()]
        for receiver in self.receivers.values():
            wait_arrived(truths, [receiver])
        return [
            f"{name}: {complaint}"
            for name, receiver in self.receivers.items()
            for complaint in judge(truths, gathered([receiver])).complaints
        ]


@contextmanager
def a_battlefield(folder: Path, database_url: str) -> Iterator[Battlefield]:
    """Yield one on which every baseline has been taken."""
    with ExitStack() as stack:
        repositories = {}
        for fault in FORGE_FAULTS:
            (folder / fault).mkdir()
            server = stack.enter_context(GitServer(folder / fault))
            repositories[fault] = PushedRepository(server, f"git-{fault}")
        receivers = {name: RecordingReceiver(SECRET) for name in RECEIVER_FAULTS}
        for receiver in receivers.values():
            stack.enter_context(receiver)
        file = write_configuration(
            folder,
            database=database_url,
            repositories=entries(repositories.values()),
            receivers={name: receiver.url for name, receiver in receivers.items()},
        )
        sentry = RunningSentry("run", "-c", str(file), folder=folder)
        stack.enter_context(sentry)
        field = Battlefield(sentry, repositories, receivers)
        wait_watched(sentry.wait_ready(), field.names)
        yield field


def test_a_kill_at_any_moment_loses_doubles_and_reorders_nothing(
    database_url: str, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    chance = random.Random(SEED)  # noqa: S311 - not a secret, and repeatable
    back_s = []
    with a_battlefield(tmp_path, database_url) as field:
        for _ in range(ROUNDS):
            field.commit_faults()
            field.push(chance)
            let_live(chance)
            field.push(chance)
            field.sentry.kill()
            let_lease_run_out(database_url)
            field.push(chance)
            field.sentry.start()
            let_live(chance)  # this time perhaps not even started
            field.sentry.kill()
            let_lease_run_out(database_url)
            field.sentry.start().wait_ready()
            back_s.append(time.monotonic() - field.sentry.started_at)
            field.lift_faults()

            assert field.complaints() == [], f"REPOSENTRY_CRASH_SEED={SEED}"

    blows = f"{2 * ROUNDS} kills on {database_url.partition(':')[0]}, seed {SEED}"
    tell(f"{blows}: nothing lost, doubled or reordered; back in at most {max(back_s):.1f} s")


def let_live(chance: random.Random) -> None:
    """Let the program live for a moment that nobody can foretell: the moment is what is tested."""
    time.sleep(chance.uniform(0, LONGEST_LIFE_S))


def test_no_step_of_the_walk_is_a_wrong_one_to_die_before(
    database_url: str, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    """Each start dies a few steps later than the one before, until one reaches the end."""
    (tmp_path / "git").mkdir()
    dialect = make_url(database_url).get_backend_name()
    deaths = 0
    with GitServer(tmp_path / "git") as server, RecordingReceiver(SECRET) as receiver:
        repository = PushedRepository(server, "steps")
        file = write_configuration(
            tmp_path,
            database=database_url,
            repositories=entries([repository]),
            receivers={"ci": receiver.url},
        )
        with RunningSentry("run", "-c", str(file), folder=tmp_path) as sentry:
            wait_watched(sentry.wait_ready(), [repository.name])
            sentry.kill()
            let_lease_run_out(database_url)
            for step in itertools.count(FIRST_STEP[dialect], STRIDE):
                repository.commit("refs/heads/topic", must=False)
                repository.force(MAIN, must=False)
                sentry.start({"PYTHONPATH": str(DOOMED), "DIE_BEFORE_STEP": str(step)})
                if not dies_first(sentry, repository, receiver):
                    break
                deaths += 1
                let_lease_run_out(database_url)
            sentry.kill()
            let_lease_run_out(database_url)

            sentry.start().wait_ready()
            repository.truth.settle()
            verdict = wait_arrived([repository.truth], [receiver])

    assert verdict.complaints == []
    assert deaths > FEWEST_DEATHS / STRIDE
    tell(f"{deaths} deaths on {dialect}, at every {STRIDE}. step: nothing lost or doubled")


def let_lease_run_out(database_url: str) -> None:
    """Spare the next process the seconds for which it would honour a dead one's lease."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE leases SET holder = NULL"))
    engine.dispose()


def dies_first(
    sentry: RunningSentry, repository: PushedRepository, receiver: RecordingReceiver
) -> bool:
    """Wait until the process has died, or else until all that stands has arrived."""

    def look() -> str | None:
        if not sentry.is_running:
            return "died"
        missing = judge([repository.truth.settled()], receiver.records).missing
        return None if missing else "arrived"

    return eventually(look, deadline_s=30, what="it dies, or all arrives") == "died"


def test_a_kill_while_the_tables_are_made_does_not_stop_the_next_start(
    database_url: str, tmp_path: Path
) -> None:
    file = write_configuration(
        tmp_path, database=database_url, repositories=[], receivers={"ci": "http://127.0.0.1:9/"}
    )
    engine = create_engine(database_url)
    with RunningSentry("run", "-c", str(file), folder=tmp_path) as sentry:
        eventually(lambda: inspect(engine).get_table_names(), deadline_s=30, what="a table is made")
        sentry.kill()
        engine.dispose()

        sentry.start().wait_ready()
