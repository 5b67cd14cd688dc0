"""What one look at a repository costs this program's processor, by each way, when nothing moved.

First the clients alone, which is what a way of reading costs by itself; then the program as
people run it, with its scheduler, its history and its database.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.domain.plan import Probing
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.forges import Forges
from app.settings.types import Forge
from benchmarks.fake_github import AUTHORITY, FakeGitHubProcess, repository_name
from benchmarks.fleet import wait_all_polled, write_configuration
from benchmarks.row import Row
from benchmarks.usage import IS_TOLD, NOT_TOLD, cpu_s
from tests.fakes.github import TOKEN
from tests.fakes.process import RunningSentry

REPOSITORIES = 100
POLLED_A_SECOND = 300  # by the program: as 10,000 repositories every 30 s are
ROUNDS = 9
TIMEOUT_S = 10.0
# Each repository every second, and for so long: enough polls for a clock of 10 ms.
WATCHED_S = 20.0


def measure() -> Iterator[Row]:
    """Ask the same unchanged repositories over and over."""
    options = ("--organisations=1", f"--repositories={POLLED_A_SECOND}", "--unlimited")
    with FakeGitHubProcess(*options, "--tls") as github:
        yield from _clients(github)
        yield _program(github, "REST 304 over TLS", 1.5, kind="github")
    with FakeGitHubProcess(*options) as github:
        yield _client("ls-refs", 1.0, _Reading(github, kind="git"))
        yield _program(github, "ls-refs", 1.2, kind="git")


def _clients(github: FakeGitHubProcess) -> Iterator[Row]:
    yield _client("REST 304 over TLS", 1.2, _Reading(github, kind="github"))
    for probing, key in ((Probing.LISTING, "org-000"), (Probing.BATCH, "1")):
        yield _probe(github, probing, key)


@dataclass
class _Reading:
    """A fleet at one forge, and who reads it."""

    github: FakeGitHubProcess
    kind: str

    @contextmanager
    def open(self) -> Iterator[tuple[Forges, tuple[Repository, ...]]]:
        """Yield the clients, and what they read."""
        address = self.github.address
        forge = Forge(
            name=self.kind,
            kind=self.kind,
            url=address,
            api_url=f"{address}/api/v3" if self.kind == "github" else None,
            tokens=(Secret(TOKEN),),
            ca_file=AUTHORITY if address.startswith("https") else None,
        )
        forges = Forges({self.kind: forge}, now=lambda: datetime.now(UTC), connections=4)  # noqa: TID251 - as the runtime does
        names = (repository_name(n, organisations=1) for n in range(REPOSITORIES))
        try:
            yield (
                forges,
                tuple(Repository(one, self.github.url(one), forge=self.kind) for one in names),
            )
        finally:
            forges.close()


def _client(way: str, budget_ms: float, reading: _Reading) -> Row:
    with reading.open() as (forges, repositories):
        known = [(one, _poll(forges, one, {})) for one in repositories]

        def look_round() -> None:
            for one, validator in known:
                _poll(forges, one, validator, is_unchanged=True)

        spent_ms = _median_ms(look_round) / REPOSITORIES
    return Row(f"client's CPU for an unchanged poll by {way}", budget_ms, "ms", spent_ms)


def _poll(
    forges: Forges,
    repository: Repository,
    validator: Mapping[str, str],
    *,
    is_unchanged: bool = False,
) -> Mapping[str, str]:
    client = forges.client_for(repository)
    reply = client.list_refs(repository, validator=validator, timeout_s=TIMEOUT_S)
    if is_unchanged is not (reply.refs is None):
        raise RuntimeError(f"{repository.name} looks changed, by {reply.read_by}")
    return reply.validator


def _probe(github: FakeGitHubProcess, probing: Probing, key: str) -> Row:
    what = f"client's CPU for each of {REPOSITORIES} repositories by a probe ({probing})"
    with _Reading(github, kind="github").open() as (forges, repositories):
        probe = forges.probe_for("github", probing, key)
        if probe is None:
            return Row(what, 0.05, "ms", None, "there is no such probe")
        covered: frozenset[str] = frozenset()
        for _ in range(ROUNDS):  # a batch begins small and grows
            covered = probe.ask(repositories, timeout_s=TIMEOUT_S).covered
        if len(covered) < len(repositories):
            return Row(what, 0.05, "ms", float("inf"), f"only {len(covered)} are covered")

        def look_round() -> None:
            if probe.ask(repositories, timeout_s=TIMEOUT_S).moved:
                raise RuntimeError("nothing has moved")

        spent_ms = _median_ms(look_round) / REPOSITORIES
    return Row(what, 0.05, "ms", spent_ms, f"{len(covered)} covered")


def _median_ms(look_round: Callable[[], None]) -> float:
    look_round()
    spent = []
    for _ in range(ROUNDS):
        began_s = time.thread_time()
        look_round()
        spent.append(time.thread_time() - began_s)
    return 1000 * statistics.median(spent)


def _program(github: FakeGitHubProcess, way: str, budget_ms: float, *, kind: str) -> Row:
    what = f"CPU for an unchanged poll by {way}, all included"
    if not IS_TOLD:
        return Row(what, budget_ms, "ms", None, NOT_TOLD)
    names = [repository_name(n, organisations=1) for n in range(POLLED_A_SECOND)]
    forge: dict[str, Any] = github.settings() | {"kind": kind}
    if github.address.startswith("https"):
        forge["ca_file"] = str(AUTHORITY)
    with tempfile.TemporaryDirectory() as folder:
        file = write_configuration(
            Path(folder),
            {name: github.url(name) for name in names},
            polling={"policy": "fixed", "interval": "1s"},
            forges={"work": forge},
        )
        with RunningSentry("run", "-c", str(file), folder=Path(folder)) as sentry:
            sentry.wait_ready()
            wait_all_polled(sentry, len(names))
            github.control("forget")
            began_s, began_cpu_s = time.monotonic(), cpu_s(sentry.pid)
            time.sleep(WATCHED_S)
            told = github.control("report")
            spent_s, took_s = cpu_s(sentry.pid) - began_cpu_s, time.monotonic() - began_s
    asked = sum(sum(account["asked"].values()) for account in told["accounts"].values())
    ways = {way: n for one in told["accounts"].values() for way, n in one["asked"].items()}
    beside = f"{asked / took_s:.0f} polls/s, {100 * spent_s / took_s:.0f} % of a core; {ways}"
    return Row(what, budget_ms, "ms", 1000 * spent_s / max(1, asked), beside)
