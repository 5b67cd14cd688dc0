"""One history: lived from its plan, checked, and told."""

import gc
import logging
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Any
from unittest.mock import patch

from app.services import dispatcher
from app.simulation import promises
from app.simulation.plan import Plan, draw
from app.simulation.world import Broken, World
from app.storage.inline import Memory

# Nobody waits for the real time to pass, and looking costs more than all else.
PACE = {"LOOK_AROUND_S": 40.0, "TAKE_STOCK_S": 120.0, "STORAGE_PAUSE_S": 0.001}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a history; ``mark`` is equal for equal histories."""

    plan: Plan
    broken: Broken | None
    story: tuple[tuple[object, ...], ...]
    mark: str
    polls: int
    kills: int
    events: int
    deliveries: int
    requests: int
    virtual_s: float


def run(plan: Plan | int, memory: Memory | None = None) -> Outcome:
    """Live a history, given its plan or its number, and check what was promised."""
    plan = draw(plan) if isinstance(plan, int) else plan
    memory = memory or shared_memory()
    memory.forget()
    world = World(plan, memory)
    with attending(world):
        world.live()
        broken = promises.check(world)
    count = memory.raw.execute
    return Outcome(
        plan=plan,
        broken=broken,
        story=tuple(world.loop.story),
        mark=blake2b(repr(world.loop.story).encode(), digest_size=16).hexdigest(),
        polls=world.polls,
        kills=world.kills,
        events=count("SELECT count(*) FROM events").fetchone()[0],
        deliveries=count("SELECT count(*) FROM deliveries").fetchone()[0],
        requests=sum(model.requests for model in world.models.values()),
        virtual_s=world.loop.ms / 1000,
    )


@cache
def shared_memory() -> Memory:
    """Return this process's memory; making one takes longer than a history."""
    return Memory()


@contextmanager
def attending(world: World) -> Iterator[None]:
    """Let a world be lived in this thread: unhurried, and with its defects heard."""
    with _unhurried(), _alone(world), _defects(world):
        yield


@contextmanager
def _alone(world: World) -> Iterator[None]:
    """Where a thread would wait for another to write, write: there is no other."""
    wait = Future.result

    def result(future: "Future[Any]", timeout: float | None = None) -> Any:
        if not future.done():
            world.write_down()
        return wait(future, 0)

    with patch.object(Future, "result", result):
        yield


@contextmanager
def _unhurried() -> Iterator[None]:
    """Have the dispatcher look around seldom, and not wait for a database in true time."""
    with patch.dict(vars(dispatcher), PACE):
        yield


class _Listener(logging.Handler):
    """Takes what is logged as an error for a defect: such loops must not die of it, and do not."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._world.breaks(5, f"a defect: {record.getMessage()}: {type(error).__name__}: {error}")


@contextmanager
def _defects(world: World) -> Iterator[None]:
    """Hear of defects that the program survived, and of nothing else."""
    log = logging.getLogger("app")
    before = log.level, log.propagate
    listener = _Listener(world)
    log.setLevel(logging.ERROR)
    log.propagate = False
    log.addHandler(listener)
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_collecting:
            gc.enable()
        log.removeHandler(listener)
        log.level, log.propagate = before[0], before[1]
