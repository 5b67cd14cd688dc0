"""What a fleet would cost, and how soon its changes would arrive: a day in some seconds."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from app.simulation import promises
from app.simulation.history import attending, shared_memory
from app.simulation.loop import Loop
from app.simulation.plan import Happening, Plan
from app.simulation.world import World

HOUR_MS = 3_600_000
SHOWS = 200  # how often a run says how far it is
KINDS = ("update", "update", "update", "update", "create", "delete", "rewind")


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is to be watched, and for how long."""

    hours: float
    repositories: int
    pushes_per_day: float
    interval: timedelta
    forge: str
    allowance: int
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it. ``latencies_s`` are from a push to its receipt, in order."""

    fleet: Fleet
    polls: int
    requests: int
    unmodified: int
    charged: int
    most_charged_an_hour: int
    pushes: int
    events: int
    deliveries: int
    attempts: int
    longest_outbox: int
    latencies_s: tuple[float, ...]
    broken: str | None

    def latency_s(self, share: float) -> float | None:
        """Return the latency that so large a share of the changes stayed within."""
        if not self.latencies_s:
            return None
        return self.latencies_s[min(len(self.latencies_s) - 1, int(len(self.latencies_s) * share))]


def simulate(fleet: Fleet, progress: Callable[[float], None]) -> Report:
    """Watch a fleet in virtual time; nothing fails in it but an answer now and then."""
    memory = shared_memory()
    memory.forget()
    world = World(_plan(fleet), memory)
    world.loop.is_telling = False
    outbox = _Outbox(world, fleet, progress)
    world.loop.after(0, outbox.look)
    with attending(world):
        world.live()
        broken = promises.check(world)
    progress(1.0)
    return Report(
        fleet=fleet,
        polls=world.polls,
        requests=world.forges.requests,
        unmodified=world.forges.unmodified,
        charged=world.forges.charged,
        most_charged_an_hour=world.forges.most_used,
        pushes=world.moves,
        events=_count(world, "events"),
        deliveries=_count(world, "deliveries"),
        attempts=_count(world, "attempts"),
        longest_outbox=outbox.longest,
        latencies_s=tuple(sorted(_latencies(world))),
        broken=str(broken) if broken else None,
    )


class _Outbox:
    """Looks at how long the outbox is, now and then."""

    def __init__(self, world: World, fleet: Fleet, progress: Callable[[float], None]) -> None:
        self._world = world
        self._ms = int(fleet.hours * HOUR_MS)
        self._progress = progress
        self.longest = 0

    def look(self) -> None:
        """Count, and say how far the time is."""
        loop: Loop = self._world.loop
        owed = "SELECT count(*) FROM deliveries WHERE finished_at IS NULL"
        self.longest = max(self.longest, self._world.memory.raw.execute(owed).fetchone()[0])
        if loop.ms < self._ms:
            self._progress(loop.ms / self._ms)
            loop.after(max(1000, self._ms // SHOWS), self.look)


def _plan(fleet: Fleet) -> Plan:
    chance = Random(fleet.seed)  # noqa: S311 - it must be repeatable
    lasts_ms = max(1, int(fleet.hours * HOUR_MS))
    count = round(fleet.repositories * fleet.pushes_per_day * fleet.hours / 24)
    pushes = [
        Happening(
            "push",
            KINDS[chance.randrange(len(KINDS))],
            chance.randrange(1 << 30),
            chance.randrange(lasts_ms),
        )
        for _ in range(count)
    ]
    return Plan(
        seed=fleet.seed,
        repositories=fleet.repositories,
        receivers=1,
        processes=1,
        lasts_ms=lasts_ms,
        is_baseline_told=False,
        storm_limit=0,
        allowance=fleet.allowance,
        is_impatient=False,
        happenings=tuple(pushes),
        interval_ms=int(fleet.interval.total_seconds() * 1000),
        window_ms=HOUR_MS,
        forge=fleet.forge,
    )


def _count(world: World, table: str) -> int:
    return int(world.memory.raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - ours


def _latencies(world: World) -> list[float]:
    told = world.memory.raw.execute(
        "SELECT d.id, r.name, e.ref, e.after FROM deliveries d"
        " JOIN events e ON e.position = d.event_position"
        " JOIN repositories r ON r.id = e.repository_id WHERE d.redelivery = 0"
    )
    found = []
    for delivery_id, name, ref, after in told:
        pushed_ms = world.pushed.get((name, ref, after))
        sent = world.sent.get(delivery_id)
        if pushed_ms is not None and sent is not None and sent.first_ms >= pushed_ms:
            found.append((sent.first_ms - pushed_ms) / 1000)
    return found
