"""The simulator is worth something if it finds what is wrong: planted mistakes, one at a time."""

from collections.abc import Callable

import pytest

from app.simulation.history import Outcome, run
from tests.simulation.mutants import MUTANTS

MOST_SEEDS = 2000


def first_broken() -> Outcome | None:
    outcomes = (run(seed) for seed in range(MOST_SEEDS))
    return next((outcome for outcome in outcomes if outcome.broken), None)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_planted_mistake_is_found(
    mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        mutant(patch)
        found = first_broken()

    assert found is not None
    assert found.broken is not None
    assert found.broken.promise in MUTANTS[mutant]
    assert run(found.plan).broken is None  # without the mistake, nothing is wrong with it
