"""``reposentry doctor``: whether everything is there that a run would need."""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from threading import Thread
from typing import Final

import click

from app.cli.options import (
    config_option,
    database_option,
    json_option,
    load_settings,
    size_of,
)
from app.domain.errors import RepoSentryError
from app.runtime import utc_now
from app.services.checkup import AT_ONCE, TIMEOUT_S, Checkup, Finding, Level, Task
from app.settings import Settings

MARKS: Final = {Level.OK: "ok", Level.WARNING: "warning", Level.PROBLEM: "problem"}
WIDTH: Final = max(map(len, MARKS.values()))
# A choice: a person who waits for longer than this wonders.
QUIET_S: Final = 1.0
# A forge is asked for its address and then, all at once, for the rest; then it is enough.
LONGEST_S: Final = 3 * TIMEOUT_S


@click.command(epilog="Example: reposentry doctor -c /etc/reposentry/reposentry.yaml")
@config_option
@database_option
@json_option
def command(config: Path, database: str | None, as_json: bool) -> None:
    """Ask every forge and receiver, and the database, for what a run would need.

    Each forge: whether it answers, takes its credentials and for how long, whether a repository can
    be read, and whether its rate limit suffices for the intervals. Each receiver: whether it can be
    connected to; nothing is delivered. Ends with 1 if there is a problem; warnings are none.
    """
    settings = load_settings(config, database=database)
    checkup = Checkup(settings, now=utc_now)
    found: list[Finding] = []
    try:
        for finding in (*_configuration(config, settings), *_look(checkup.tasks())):
            found.append(finding)
            if not as_json:
                _tell(finding)
    finally:
        checkup.close()
    problems = sum(one.level is Level.PROBLEM for one in found)
    warnings = sum(one.level is Level.WARNING for one in found)
    if as_json:
        checks = [
            {"subject": o.subject, "level": o.level.value, "says": o.says, "remedy": o.remedy}
            for o in found
        ]
        told = {"checks": checks, "problems": problems, "warnings": warnings}
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(_summary(problems, warnings))
    if problems:
        raise SystemExit(1)


def _configuration(config: Path, settings: Settings) -> Iterator[Finding]:
    says = f"{config} has no mistakes: {size_of(settings)}"
    yield Finding("configuration", Level.OK, says)
    for warning in settings.warnings:
        yield Finding("configuration", Level.WARNING, str(warning))


def _look(tasks: list[Task]) -> Iterator[Finding]:
    """Do all at once, and tell in their order."""
    begun: list[tuple[str, Future[list[Finding]]]] = []
    waiting = list(tasks)
    running: set[Future[list[Finding]]] = set()
    told = False
    for name, _ in tasks:
        begun.append((name, Future()))
    by_task = dict(zip(range(len(tasks)), begun, strict=True))
    for number, (_, future) in by_task.items():
        if len(running) >= AT_ONCE:
            _, running = wait(running, timeout=LONGEST_S, return_when=FIRST_COMPLETED)
        _begin(waiting[number], future)
        running.add(future)
    _, late = wait([future for _, future in begun], timeout=QUIET_S)
    if late and sys.stderr.isatty():
        told = True
        names = ", ".join(name for name, future in begun if future in late)
        click.echo(f"waiting for {names} …", err=True, nl=False)
    _, late = wait([future for _, future in begun], timeout=LONGEST_S)
    if told:
        click.echo("\r\x1b[K", err=True, nl=False)
    for name, future in begun:
        if future in late:
            says = f"no answer within {LONGEST_S:.0f} s"
            yield Finding(name, Level.PROBLEM, says, "Look at the network between.")
        else:
            yield from future.result()


def _begin(task: Task, future: "Future[list[Finding]]") -> None:
    """Do a task in a thread that nobody must wait for."""
    name, look = task

    def run() -> None:
        try:
            future.set_result(look())
        except RepoSentryError as error:
            future.set_result([Finding(name, Level.PROBLEM, str(error))])
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            future.set_exception(error)

    Thread(target=run, name=f"doctor-{name}", daemon=True).start()


def _tell(finding: Finding) -> None:
    mark = f"{MARKS[finding.level]:<{WIDTH}}"
    colour = {Level.WARNING: "yellow", Level.PROBLEM: "red"}.get(finding.level, "green")
    click.echo(f"{click.style(mark, fg=colour)}  {finding.subject}: {finding.says}")
    if finding.remedy and finding.level is not Level.OK:
        click.echo(f"{' ' * WIDTH}  {finding.remedy}")


def _summary(problems: int, warnings: int) -> str:
    if not problems and not warnings:
        return "All is well."
    counted = (
        (problems, "problem", "problems"),
        (warnings, "warning", "warnings"),
    )
    said = [f"{count} {one if count == 1 else many}" for count, one, many in counted if count]
    return ", ".join(said) + "."
