"""What will go wrong in a history, and when: drawn from its number, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

MINUTE = 60_000
# Of a process: writes, statements of writes, requests to forges and receivers.
KILLS_APART = 140

FORGE_FAULTS = (
    "down",
    "hang",
    "500",
    "503 html",
    "half",
    "cut",
    "garbage",
    "empty",
    "stale",
    "secondary",
    "secondary untold",
    "exhausted",
    "404",
)
RECEIVER_FAULTS = (
    "refused",
    "hang",
    "hang taken",
    "closed taken",
    "slow",
    "500",
    "503 later",
    "429",
    "404",
    "410",
    "400",
    "307",
    "hostile",
)
DATABASE_FAULTS = ("refuses", "answer lost")
PUSHES = (
    "update",
    "update",
    "update",
    "create",
    "delete",
    "rewind",
    "many",
    "tag",
    "there and back",
)
PEOPLE = (
    "cancel",
    "cancel",
    "retry",
    "redeliver",
    "pause receiver",
    "resume receiver",
    "pause repository",
    "resume repository",
    "wake",
    "release",
    "dismiss",
)


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that the program must live with.

    ``kind`` is push, forge, receiver, database, person, kill, freeze, stop or clock. It happens at
    ``ms``, or, where that is None, when the processes have made ``step`` steps. ``number`` is its
    own chance: which repository, which delivery.
    """

    kind: str
    what: str
    number: int
    ms: int | None = None
    step: int | None = None
    length_ms: int = 0

    def __str__(self) -> str:
        when = f"at {self.ms / 1000:.1f} s" if self.ms is not None else f"at step {self.step}"
        lasts = f" for {self.length_ms / 1000:.1f} s" if self.length_ms else ""
        return f"{when}: {self.kind} {self.what}{lasts} ({self.number % 1000})"


@dataclass(frozen=True, slots=True)
class Plan:
    """A history before it is lived."""

    seed: int
    repositories: int
    receivers: int
    processes: int
    lasts_ms: int
    is_baseline_told: bool
    storm_limit: int
    allowance: int
    is_impatient: bool
    happenings: tuple[Happening, ...]
    interval_ms: int = 20_000
    window_ms: int = 5 * MINUTE
    forge: str = "both"  # or github, or git
    has_probe: bool = False  # one that lags, lies and fails


def draw(seed: int) -> Plan:
    """Draw the plan that a number stands for."""
    chance = Random(seed)  # noqa: S311 - it must be repeatable
    repositories = 1 + chance.randrange(3)
    lasts_ms = MINUTE * (3 + chance.randrange(4))
    processes = 1 if chance.random() < 0.6 else 2  # noqa: PLR2004 - a choice
    happenings = [
        *_pushes(chance, lasts_ms),
        *_faults(chance, "forge", FORGE_FAULTS, 4, lasts_ms),
        *_faults(chance, "receiver", RECEIVER_FAULTS, 5, lasts_ms),
        *_people(chance, lasts_ms),
        *_ends(chance, lasts_ms, processes),
    ]
    return Plan(
        seed=seed,
        repositories=repositories,
        receivers=1 + chance.randrange(2),
        processes=processes,
        lasts_ms=lasts_ms,
        is_baseline_told=chance.randrange(4) == 0,
        storm_limit=3 if chance.randrange(4) == 0 else 0,
        allowance=(12, 30, 5000)[chance.randrange(3)],
        is_impatient=chance.randrange(4) == 0,
        happenings=tuple(happenings),
        has_probe=seed % 3 == 1,
    )


def _pushes(chance: Random, lasts_ms: int) -> list[Happening]:
    made: list[Happening] = []
    for _ in range(3 + chance.randrange(6)):
        ms = chance.randrange(lasts_ms)
        for _ in range(1 + (chance.randrange(3) == 0) * chance.randrange(4)):
            made.append(Happening("push", _one(chance, PUSHES), _number(chance), ms))
            ms += chance.randrange(20_000)
    return made


def _faults(
    chance: Random, kind: str, faults: Sequence[str], most: int, lasts_ms: int
) -> list[Happening]:
    return [
        Happening(
            kind,
            _one(chance, faults),
            _number(chance),
            chance.randrange(lasts_ms),
            length_ms=2000 + chance.randrange(90_000),
        )
        for _ in range(chance.randrange(most + 1))
    ]


def _people(chance: Random, lasts_ms: int) -> list[Happening]:
    made: list[Happening] = []
    for _ in range(chance.randrange(6)):
        what, number = _one(chance, PEOPLE), _number(chance)
        if chance.randrange(2):
            made.append(Happening("person", what, number, chance.randrange(lasts_ms)))
        else:  # between two steps of a process
            made.append(Happening("person", what, number, step=chance.randrange(900)))
    return made


def _ends(chance: Random, lasts_ms: int, processes: int) -> list[Happening]:
    made: list[Happening] = []
    step = 0
    for _ in range(chance.randrange(5)):
        step += 1 + chance.randrange(2 * KILLS_APART)
        delay = chance.randrange(60_000)
        made.append(Happening("kill", "process", _number(chance), step=step, length_ms=delay))
    for _ in range(chance.randrange(3) if processes > 1 else chance.randrange(4) == 0):
        lasts = 1000 + chance.randrange(200_000)
        step = chance.randrange(700)
        made.append(Happening("freeze", "process", _number(chance), step=step, length_ms=lasts))
    if chance.randrange(4) == 0:
        at = chance.randrange(lasts_ms)
        made.append(Happening("stop", "process", _number(chance), at, length_ms=5000))
    for _ in range(chance.randrange(3)):
        step = chance.randrange(700)
        made.append(
            Happening("database", _one(chance, DATABASE_FAULTS), _number(chance), step=step)
        )
    for _ in range(chance.randrange(3)):
        back_or_forth = _one(chance, ("back", "forward"))
        by = 500 + chance.randrange(180_000)
        at = chance.randrange(lasts_ms)
        made.append(Happening("clock", back_or_forth, _number(chance), at, length_ms=by))
    return made


def _one(chance: Random, of: Sequence[str]) -> str:
    return of[chance.randrange(len(of))]


def _number(chance: Random) -> int:
    return chance.randrange(1 << 30)
