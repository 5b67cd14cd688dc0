"""One number, one history: on every machine, and told so that it can be understood."""

import json
import os
import subprocess
import sys
from datetime import timedelta

import pytest
from click.testing import CliRunner

from app.cli import commands
from app.simulation.campaign import AT_ONCE, campaign, shortened, told
from app.simulation.capacity import Fleet, simulate
from app.simulation.history import run, shared_memory
from app.simulation.plan import draw
from tests.simulation.mutants import the_cursor_moves_before_the_outbox

A_SEED = 7


def test_a_number_stands_for_one_history() -> None:
    first = run(A_SEED)
    first_stored = shared_memory().dump()
    run(A_SEED + 1)
    second = run(A_SEED)

    assert first.story == second.story
    assert first_stored == shared_memory().dump()


def test_in_some_histories_a_list_lags_lies_and_fails() -> None:
    stories = [run(seed).story for seed in range(1, 16, 3)]
    told = {line[2:] for story in stories for line in story if line[1] == "the list"}

    assert {mood for mood, *_ in told} == {"true", "lags", "lies", "fails"}
    assert any(moved for mood, *rest in told for moved in rest if mood == "lies")
    assert not any(line[1] == "the list" for line in run(2).story)


def test_it_is_the_same_in_every_process() -> None:
    marks = {run(A_SEED).mark}
    for hash_seed in ("1", "2"):
        ended = subprocess.run(  # noqa: S603 - this very program
            [sys.executable, "-m", "app", "simulate", "--seed", str(A_SEED), "--json"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        )
        marks.add(json.loads(ended.stdout)["mark"])

    assert len(marks) == 1


def test_the_same_plan_is_drawn_from_the_same_number() -> None:
    assert draw(A_SEED) == draw(A_SEED)
    assert draw(A_SEED) != draw(A_SEED + 1)


def test_a_broken_history_is_made_short_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    the_cursor_moves_before_the_outbox(monkeypatch)
    broken = next(outcome for outcome in map(run, range(500)) if outcome.broken)

    short = shortened(broken)

    assert short.broken is not None
    assert len(short.plan.happenings) <= 3  # a push and a kill, and maybe what brings them together
    story = told(broken)
    assert f"reposentry simulate --seed {broken.plan.seed}" in story
    assert "kill process" in story
    assert "breaks promise 1" in story


def test_a_killed_process_writes_nothing_more() -> None:
    outcomes = [run(seed) for seed in range(40)]

    assert sum(outcome.kills for outcome in outcomes) > 10
    for outcome in outcomes:
        dead: set[object] = set()
        for _, *what in outcome.story:
            assert what[0] not in dead
            if what[:2] == ["kill", "process"]:
                dead.add(what[2])


def test_histories_can_be_lived_in_several_processes() -> None:
    heard: list[int] = []

    total = campaign(
        range(AT_ONCE + 5), processes=2, progress=lambda tally: heard.append(tally.histories)
    )

    assert heard[-1] == total.histories == AT_ONCE + 5
    assert total.failed == ()


def test_a_fleet_is_watched_for_a_day_and_its_cost_is_told() -> None:
    fleet = Fleet(
        hours=2,
        repositories=5,
        pushes_per_day=60,
        interval=timedelta(seconds=15),
        forge="github",
        allowance=5000,
    )

    report = simulate(fleet, lambda _: None)

    assert report.broken is None
    assert report.polls == pytest.approx(5 * 2 * 240, rel=0.05)
    assert report.unmodified > report.charged
    assert 0 < report.events <= report.pushes
    assert (report.latency_s(0.95) or 99) < 17


def test_the_command_tells_what_a_fleet_costs() -> None:
    asked = ["simulate", "--hours", "0.5", "--repositories", "3", "--pushes-per-day", "100"]

    told_ = CliRunner().invoke(commands, asked)
    counted = CliRunner().invoke(commands, [*asked, "--json"])

    assert told_.exit_code == 0
    assert "all kept" in told_.output
    assert json.loads(counted.stdout)["repositories"] == 3


def test_the_command_lives_a_range_of_histories() -> None:
    lived = CliRunner().invoke(commands, ["simulate", "--seeds", "0-9", "--processes", "1"])

    assert lived.exit_code == 0
    assert "10 histories" in lived.output
    assert "0 broke a promise" in lived.output


@pytest.mark.parametrize(
    "wrong",
    [
        ["--seeds", "9-0"],
        ["--seeds", "all"],
        ["--hours", "1", "--interval", "15"],
        ["--hours", "0"],
        ["--hours", "nan"],
        ["--hours", "1", "--pushes-per-day", "inf"],
        ["--hours", "1", "--repositories", "0"],
        ["--hours", "1", "--allowance", "0"],
        ["--hours", "1", "--pushes-per-day", "-1"],
    ],
)
def test_the_command_refuses_what_makes_no_sense(wrong: list[str]) -> None:
    assert CliRunner().invoke(commands, ["simulate", *wrong]).exit_code == 2
