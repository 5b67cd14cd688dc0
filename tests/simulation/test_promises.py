"""The five promises, on as many histories as there is time for."""

import os

from app.simulation.campaign import campaign, cores, told
from app.simulation.history import run

SEEDS = int(os.environ.get("REPOSENTRY_SIMULATION_SEEDS", "100"))
# Fewer than this are lived sooner here than elsewhere.
WORTH_A_PROCESS = 200


def test_every_history_keeps_the_five_promises() -> None:
    processes = cores() if SEEDS > WORTH_A_PROCESS else 1

    total = campaign(range(SEEDS), processes=processes, progress=lambda _: None)

    failed = [seed for seed, _ in total.failed]
    assert failed == [], told(run(failed[0]))
    assert total.histories == SEEDS
    assert total.kills > 0
    assert total.requests > total.deliveries > 0
