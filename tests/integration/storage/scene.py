"""What the tests of storage speak of: two repositories, their pushes, one receiver."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy import Connection, Engine, event as events

from app.domain.event import Event, record
from app.domain.repository import Repository
from app.domain.snapshot import Change, digest
from app.storage.database import Database
from app.storage.lease import Lease
from app.storage.records import Advance, Owed, Watched
from app.storage.store import Store

T = TypeVar("T")

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
WEBSITE = Repository("acme/website", "https://git.example.com/acme/website", labels={"team": "web"})
TOOLS = Repository("acme/tools", "https://git.example.com/acme/tools")
MAIN = "refs/heads/main"
FIRST, SECOND, THIRD = "1" * 40, "2" * 40, "3" * 40
PATTERNS = {"branches": ["*"], "tags": []}


class FakeClock:
    """A clock that moves when it is told to."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at
        self.seconds = 100.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    def pass_by(self, by: timedelta) -> None:
        self.at += by
        self.seconds += by.total_seconds()


def lead(database: Database, *, clock: FakeClock | None = None) -> int:
    """Take the lease and return its fence."""
    clock = clock or FakeClock()
    lease = Lease(
        database,
        holder=f"test {id(clock)}",
        ttl=timedelta(seconds=5),
        now=clock.now,
        monotonic=clock.monotonic,
    )
    fence = lease.try_acquire()
    assert fence is not None
    return fence


def watch(store: Store, fence: int, *wanted: Repository) -> list[Watched]:
    return store.sync_repositories(wanted or (WEBSITE,), now=NOON, fence=fence)


def a_step(
    known: Watched,
    changes: Sequence[Change],
    *,
    after: dict[str, str],
    receivers: Sequence[str] = ("ci",),
    at: datetime = NOON,
    hold: bool = False,
) -> Advance:
    """Spell a step as a poll does: every change an event, owed to every receiver."""
    events = [
        record(change, key=known.key, sequence=number, detected_at=at)
        for number, change in enumerate(changes, known.sequence + 1)
    ]
    return Advance(
        repository_id=known.id,
        from_sequence=known.sequence,
        from_digest=known.digest,
        to_digest=digest(after),
        watched=PATTERNS,
        refs_count=len(after),
        default_branch=MAIN,
        upserts={c.ref: c.after for c in changes if c.after},
        removals=tuple(c.ref for c in changes if c.after is None),
        events=tuple(events),
        owed=tuple(Owed(e.id, name, "github") for e in events for name in receivers),
        at=at,
        hold=hold,
    )


def push(
    store: Store,
    known: Watched,
    fence: int,
    *,
    ref: str = MAIN,
    to: str = FIRST,
    receivers: Sequence[str] = ("ci",),
    at: datetime = NOON,
) -> tuple[Watched, Event]:
    """Move one ref, and return where the repository stands then and the event."""
    before = store.snapshot(known.id)
    after = {**before, ref: to}
    step = a_step(
        known, [Change(ref, before.get(ref), to)], after=after, receivers=receivers, at=at
    )
    assert store.advance(step, fence=fence)
    return store.watched(known.id), step.events[0]


def at_once(works: Sequence[Callable[[], T]], *, deadline_s: float = 60) -> list[T | Exception]:
    """Run each in a thread of its own, started together; return what came of each."""
    gate = threading.Barrier(len(works))
    outcomes: list[T | Exception] = [AssertionError("it did not end")] * len(works)

    def run(index: int) -> None:
        gate.wait(deadline_s)
        try:
            outcomes[index] = works[index]()
        except Exception as error:  # noqa: BLE001 - it is what the test looks at
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(deadline_s)
    return outcomes


@contextmanager
def elsewhere(database_url: str) -> Iterator[Database]:
    """Open the same database as another process does."""
    opened = Database(database_url, now=lambda: NOON)
    yield opened
    opened.close()


def overlapping(first: Callable[[], object], second: Callable[[], T]) -> T:
    """Let the second begin when the first has written and not committed; return what it returns."""
    is_ending = threading.Event()

    def note(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if statement.lstrip().startswith(("INSERT", "UPDATE", "DELETE")):
            connection.info["has_written"] = True

    def hold(connection: Connection) -> None:
        if connection.info.pop("has_written", False) and not is_ending.is_set():
            is_ending.set()
            wait([following], timeout=0.2)

    def follow() -> T:
        is_ending.wait(30)
        return second()

    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(follow)
        events.listen(Engine, "after_cursor_execute", note)
        events.listen(Engine, "commit", hold)
        try:
            first()
            return following.result(30)
        finally:
            events.remove(Engine, "commit", hold)
            events.remove(Engine, "after_cursor_execute", note)
