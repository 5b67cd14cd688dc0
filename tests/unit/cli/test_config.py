"""``reposentry config`` and the frame of all commands: what is printed, and the exit code."""

import json
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import pytest
import yaml

from app import __version__, cli
from app.domain.errors import NotFound

Run = Callable[..., tuple[int, str, str]]

WRONG = "polling: {interval: 15, workers: 0}\n"
RIGHT = (
    "polling: {policy: adaptive}\n"
    "receivers: {ci: {url: 'https://ci.example.com/', secret: hunter2}}\n"
    "repositories: [{url: 'https://x.io/a'}]\n"
)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command line in an empty folder; return exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REPOSENTRY_CONFIG", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        assert isinstance(ended.value.code, int)
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Put a command that does this in the place of ``run``."""

    def stand_in(does: Callable[[], object]) -> None:
        module = types.ModuleType("app.cli.run")
        module.command = click.command("run")(does)  # type: ignore[attr-defined] # as every one has
        monkeypatch.setitem(sys.modules, "app.cli.run", module)

    return stand_in


def test_check_lists_every_mistake_and_ends_with_2(run: Run) -> None:
    Path("reposentry.yaml").write_text(WRONG, encoding="utf-8")

    code, out, err = run("config", "check")

    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "reposentry.yaml:1:21: polling.interval: «15» has no unit; write 15s, 15m or 15h",
        "reposentry.yaml:1:34: polling.workers: «0» is not a whole number of 1 to 1000",
    ]


def test_check_says_what_is_there_and_warns_of_what_has_no_effect(run: Run) -> None:
    Path("other.yaml").write_text(RIGHT, encoding="utf-8")

    code, out, err = run("config", "check", "-c", "other.yaml")

    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "warning: other.yaml:1:19: polling.policy: has no effect yet in this version",
        "other.yaml: no mistakes; 1 repository, 1 receiver",
        "git: 1 repository is polled one by one, every 15 s.",
    ]


def test_check_tells_how_a_fleet_would_be_watched_and_what_cannot_be_kept(run: Run) -> None:
    many = "".join(f"  - url: https://github.com/o{n}/r\n" for n in range(1000))
    signed_in = "forges: {github: {token: t0ps3cret}}\n"
    Path("fleet.yaml").write_text(f"{signed_in}repositories:\n{many}", encoding="utf-8")

    code, out, _ = run("config", "check", "-c", "fleet.yaml")
    lines = out.splitlines()
    _, as_json, _ = run("config", "check", "-c", "fleet.yaml", "--json")
    (plan,) = json.loads(as_json)["plans"]

    assert code == 0
    assert "warning: github: not every interval can be kept" in lines
    assert (
        "github: 1,000 repositories every 15 s need 9,415 points an hour by GraphQL against 3,600; "
        "4,000 requests a minute one by one over REST against 598; "
        "240,000 an hour by git against 60,000."
    ) in lines
    assert (plan["forge"], plan["kept"]) == ("github", False)
    assert [f"github: {sentence}" for sentence in plan["sentences"]] == lines[2:]


def test_check_finds_what_is_wrong_in_a_template(run: Run) -> None:
    Path("ci.json.j2").write_text('{"who":\n {{ pushr.name | tojson }}}', encoding="utf-8")
    Path("reposentry.yaml").write_text(
        "receivers: {ci: {url: 'https://x.io/', payload: template, template: ci.json.j2}}\n",
        encoding="utf-8",
    )

    code, _, err = run("config", "check")

    file = Path("ci.json.j2").absolute()
    assert (code, err) == (
        2,
        f"{file}:2: receivers.ci.template: there is no «pushr»; did you mean pusher?\n",
    )


def test_check_prints_json_for_machines(run: Run) -> None:
    Path("reposentry.yaml").write_text(WRONG, encoding="utf-8")

    code, out, _ = run("config", "check", "--json")

    told = json.loads(out)
    assert (code, told["valid"], told["warnings"]) == (2, False, [])
    assert told["mistakes"][0] == {
        "path": "polling.interval",
        "message": "«15» has no unit; write 15s, 15m or 15h",
        "value": "15",
        "file": "reposentry.yaml",
        "line": 1,
        "column": 21,
    }


def test_the_file_may_be_named_by_the_environment(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("named.yaml").write_text(WRONG, encoding="utf-8")
    monkeypatch.setenv("REPOSENTRY_CONFIG", "named.yaml")

    code, _, err = run("config", "check")

    assert code == 2
    assert err.startswith("named.yaml:1:21")


def test_a_missing_file_is_told_in_one_line(run: Run) -> None:
    assert run("config", "check") == (2, "", "reposentry.yaml: there is no such file\n")


def test_show_prints_what_takes_effect_without_secrets(run: Run) -> None:
    Path("reposentry.yaml").write_text(RIGHT, encoding="utf-8")

    code, out, _ = run("config", "show")
    _, as_json, _ = run("config", "show", "--json")

    shown = yaml.safe_load(out)
    assert code == 0
    assert shown == json.loads(as_json)
    assert shown["repositories"][0]["receivers"] == ["ci"]
    assert "hunter2" not in out


def test_show_prints_the_reference_as_it_is(run: Run) -> None:
    reference = Path(__file__).parents[3] / "config" / "default.yaml"

    code, out, _ = run("config", "show", "--defaults")
    _, as_json, _ = run("config", "show", "--defaults", "--json")

    assert (code, out) == (0, reference.read_text("utf-8"))
    assert json.loads(as_json)["polling"]["interval"] == "15s"


def test_schema_prints_a_json_schema(run: Run) -> None:
    code, out, _ = run("config", "schema")

    assert code == 0
    assert json.loads(out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(
    "arguments", [("config",), ("config", "check"), ("config", "show"), ("config", "schema")]
)
def test_every_command_explains_itself_with_an_example(arguments: Sequence[str], run: Run) -> None:
    code, out, _ = run(*arguments, "--help")

    assert code == 0
    assert "Example: reposentry" in out


def test_help_lists_every_command_and_imports_none(run: Run) -> None:
    before = {name for name in sys.modules if name.startswith("app.cli.")}

    code, out, _ = run("--help")

    assert code == 0
    assert [name for name in cli.COMMANDS if f"  {name} " not in out] == []
    assert {name for name in sys.modules if name.startswith("app.cli.")} == before


def test_the_version_is_told(run: Run) -> None:
    assert run("--version") == (0, f"reposentry {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["confg"], "did you mean config?"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["--no-such"], "No such option"),
        (["config", "check", "--no-such"], "No such option"),
    ],
)
def test_a_wrong_command_line_ends_with_2(arguments: list[str], told: str, run: Run) -> None:
    code, out, err = run(*arguments)

    assert (code, out) == (2, "")
    assert told in err


def test_an_error_of_ours_is_one_clear_line(
    run: Run, stand_in: Callable[[Callable[[], object]], None]
) -> None:
    def fail() -> None:
        raise NotFound("there is no repository website")

    stand_in(fail)

    assert run("run") == (1, "", "reposentry: there is no repository website\n")


def test_an_unexpected_error_is_one_line_and_a_traceback_when_asked_for(
    run: Run, stand_in: Callable[[Callable[[], object]], None]
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("by a thing\nof two lines")

    stand_in(fail)

    summary = "reposentry: unexpected ZeroDivisionError: by a thing"
    assert run("run") == (1, "", f"{summary}; run again with --debug for the traceback\n")
    for arguments in (["--debug", "run"], ["run", "--debug"]):
        code, _, err = run(*arguments)
        assert code == 1
        assert err.startswith("Traceback (most recent call last):")


def test_an_interruption_ends_quietly(
    run: Run, stand_in: Callable[[Callable[[], object]], None]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    stand_in(interrupt)

    code, out, err = run("run")
    assert (code, out, err.strip()) == (130, "", "")


def test_a_command_that_is_terminated_tidies_up_first(
    run: Run, stand_in: Callable[[Callable[[], object]], None]
) -> None:
    tidied = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            tidied.append("the folder")

    stand_in(work)
    before = signal.getsignal(signal.SIGTERM)

    assert run("run") == (143, "", "")
    assert tidied == ["the folder"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_command_may_end_with_a_code_of_its_own(
    run: Run, stand_in: Callable[[Callable[[], object]], None]
) -> None:
    stand_in(lambda: click.get_current_context().exit(1))

    assert run("run") == (1, "", "")


def python(*arguments: str, encoding: str = "utf-8") -> "subprocess.Popen[bytes]":
    """Start the program as a process, its output a pipe of this encoding."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONWARNINGS": "error"}
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "app", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=Path(__file__).parents[3],
    )


def test_a_reader_that_goes_away_gets_no_traceback() -> None:
    with python("config", "schema") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()

    assert (process.returncode, told) == (1, b"")


def test_a_console_that_lacks_a_character_still_gets_its_text() -> None:
    with python("config", "show", "--defaults", encoding="cp437") as process:
        out, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (0, b"")
    assert rb"pymysql://\u2026 (MariaDB, too)" in out
