"""``python -m benchmarks NAME…|all|list``, or ``python -m benchmarks CAMPAIGN [OPTION]…``."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from benchmarks import crash, delivery, forges, large, latency, memory, polls, startup
from benchmarks.row import HEAD, Row

BENCHMARKS: Mapping[str, Callable[[], Iterator[Row]]] = {
    "startup": startup.measure,
    "memory": memory.measure,
    "latency": latency.measure,
    "delivery": delivery.measure,
    "polls": polls.measure,
    "large": large.measure,
}

# What takes hours, or as long as one likes: each with options of its own (``--help``).
CAMPAIGNS: Mapping[str, Callable[[Sequence[str]], int]] = {
    "crash": crash.main,
    "forges": forges.main,
}


def main(chosen: list[str]) -> int:
    """Run the chosen benchmarks and return the exit code: 1 missed, 2 no such benchmark."""
    if not chosen or chosen == ["list"]:
        print("\n".join((*BENCHMARKS, *CAMPAIGNS)))  # noqa: T201 - a command's answer
        return 0
    if chosen[0] in CAMPAIGNS:
        return CAMPAIGNS[chosen[0]](chosen[1:])
    names = list(BENCHMARKS) if chosen == ["all"] else chosen
    if unknown := [name for name in names if name not in BENCHMARKS]:
        print(f"no such benchmark: {', '.join(unknown)}", file=sys.stderr)  # noqa: T201 - as above
        return 2
    print(HEAD)  # noqa: T201 - as above
    is_met = True
    for name in names:
        for row in BENCHMARKS[name]():
            print(row, flush=True)  # noqa: T201 - as above
            is_met &= row.is_met
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
