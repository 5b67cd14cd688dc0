"""``reposentry simulate``: a fleet in virtual time."""

import json
import math
import re
import sys
from dataclasses import asdict
from datetime import timedelta

import click

from app.cli.options import json_option
from app.settings.units import parse_duration
from app.simulation.campaign import AT_ONCE, Tally, campaign, cores, told
from app.simulation.capacity import Fleet, Report, simulate
from app.simulation.history import run

BAR = 40
SOME = click.IntRange(min=1)
STEPS = 200  # of which each is a line, where nobody looks


def _finite(
    context: click.Context, parameter: click.Parameter, value: float | None
) -> float | None:
    """Refuse what click takes for a number: nan and inf."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter("it must be a number such as 24", context, parameter)
    return value


@click.command(
    epilog="Example: reposentry simulate --hours 24 --repositories 200 --pushes-per-day 12"
)
@click.option("--seed", default=1, show_default=True, help="The number all chance follows from.")
@click.option("--seeds", metavar="FROM-TO", help="Live these histories, and check each.")
@click.option("--processes", type=SOME, metavar="N", help="For --seeds; default: one each core.")
@click.option("--story", is_flag=True, help="With --seed: tell all that happens in it.")
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    metavar="H",
    callback=_finite,
    help="Watch a fleet for so long.",
)
@click.option("--repositories", default=100, show_default=True, type=SOME, metavar="N")
@click.option(
    "--pushes-per-day",
    default=12.0,
    show_default=True,
    type=click.FloatRange(min=0),
    metavar="N",
    callback=_finite,
    help="Of each.",
)
@click.option(
    "--interval", default="15s", show_default=True, metavar="TIME", help="How often each is polled."
)
@click.option(
    "--forge", default="github", show_default=True, type=click.Choice(["github", "git", "both"])
)
@click.option(
    "--allowance",
    default=5000,
    show_default=True,
    type=SOME,
    metavar="N",
    help="The forge's hourly limit.",
)
@json_option
def command(
    *,
    seed: int,
    seeds: str | None,
    processes: int | None,
    story: bool,
    hours: float | None,
    repositories: int,
    pushes_per_day: float,
    interval: str,
    forge: str,
    allowance: int,
    as_json: bool,
) -> None:
    """Watch a fleet in virtual time, or try to break a promise.

    With --hours it answers what a fleet would cost and how soon its changes would arrive. Without,
    it lives one history in which forges, receivers, people and the program itself fail, and checks
    the five promises; with --seeds it lives many of them.
    """
    if hours is not None:
        wait = _duration(interval)
        fleet = Fleet(hours, repositories, pushes_per_day, wait, forge, allowance, seed)
        _watch(fleet, as_json=as_json)
    elif seeds is not None:
        _attack(_range(seeds), processes or cores(), as_json=as_json)
    else:
        _live(seed, is_story=story, as_json=as_json)


def _watch(fleet: Fleet, *, as_json: bool) -> None:
    report = simulate(fleet, _progress)
    if as_json:
        click.echo(json.dumps(_numbers(report)))
    else:
        click.echo(_sentences(report))
    if report.broken:
        raise SystemExit(1)


def _live(seed: int, *, is_story: bool, as_json: bool) -> None:
    outcome = run(seed)
    if as_json:
        broken = str(outcome.broken) if outcome.broken else None
        click.echo(json.dumps({"seed": seed, "mark": outcome.mark, "broken": broken}))
    elif outcome.broken:
        click.echo(told(outcome))
    else:
        for ms, *what in outcome.story if is_story else ():
            click.echo(f"{int(str(ms)) / 1000:9.3f} s  {' '.join(map(str, what))}")
        click.echo(
            f"seed {seed}: {outcome.virtual_s:.0f} s with {outcome.polls} polls, "
            f"{outcome.events} events, {outcome.deliveries} deliveries, {outcome.requests} "
            f"requests and {outcome.kills} kills; all promises were kept ({outcome.mark})"
        )
    if outcome.broken:
        raise SystemExit(1)


def _attack(seeds: range, processes: int, *, as_json: bool) -> None:
    told_of: set[int] = set()

    def progress(tally: Tally) -> None:
        for seed, why in tally.failed:
            if seed not in told_of:
                told_of.add(seed)
                click.echo(f"seed {seed}: {why}", err=True)
        begun, done = (
            n * STEPS // len(seeds) for n in (tally.histories - AT_ONCE, tally.histories)
        )
        if sys.stderr.isatty() or begun != done:
            _progress(tally.histories / len(seeds), f"{len(tally.failed)} broke a promise")

    total = campaign(seeds, processes=processes, progress=progress)
    if as_json:
        click.echo(json.dumps(asdict(total)))
    else:
        for seed, _ in total.failed[:3]:
            click.echo(told(run(seed)))
        for seed, why in total.failed:
            click.echo(f"seed {seed}: {why}")
        click.echo(str(total))
    if total.failed:
        raise SystemExit(1)


def _progress(share: float, beside: str = "") -> None:
    """Show how far it is where somebody looks; in a file, a line for each step."""
    if sys.stderr.isatty():
        done = round(share * BAR)
        end = "\n" if share >= 1 else ""
        bar = f"\r{'█' * done}{'░' * (BAR - done)} {share:4.0%} {beside}{end}"
        click.echo(bar, err=True, nl=False)
    elif beside:
        click.echo(f"{share:6.1%} {beside}", err=True)


def _duration(text: str) -> timedelta:
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise click.UsageError(f"--interval {text} {error}") from None
    if found <= timedelta(0):
        raise click.UsageError(f"--interval {text} is no time at all")
    return found


def _range(text: str) -> range:
    found = re.fullmatch(r"(\d+)-(\d+)", text)
    if found is None or int(found[1]) > int(found[2]):
        raise click.UsageError(f"--seeds {text} is no range like 0-1999")
    return range(int(found[1]), int(found[2]) + 1)


def _numbers(report: Report) -> dict[str, object]:
    return {
        "hours": report.fleet.hours,
        "repositories": report.fleet.repositories,
        "polls": report.polls,
        "requests": report.requests,
        "unmodified": report.unmodified,
        "allowance": report.fleet.allowance,
        "most_charged_an_hour": report.most_charged_an_hour,
        "pushes": report.pushes,
        "events": report.events,
        "deliveries": report.deliveries,
        "attempts": report.attempts,
        "longest_outbox": report.longest_outbox,
        "latency_s": {"p50": report.latency_s(0.5), "p95": report.latency_s(0.95)},
        "broken": report.broken,
    }


def _sentences(report: Report) -> str:
    fleet = report.fleet
    used = report.most_charged_an_hour / fleet.allowance
    p50, p95 = report.latency_s(0.5), report.latency_s(0.95)
    soon = (
        f"p50 {p50:.1f} s, p95 {p95:.1f} s"
        if p50 is not None and p95 is not None
        else "nothing was found"
    )
    rows = {
        "repositories": f"{fleet.repositories:,} for {fleet.hours:g} h",
        "polls": f"{report.polls:,}",
        "requests": f"{report.requests:,}, of which {report.unmodified:,} told of no change (304)",
        "allowance": f"{report.most_charged_an_hour:,} of {fleet.allowance:,} at most ({used:.0%})",
        "changes": f"{report.pushes:,} pushed, {report.events:,} found",
        "push to receipt": soon,
        "deliveries": f"{report.deliveries:,} in {report.attempts:,} attempts",
        "longest outbox": f"{report.longest_outbox:,}",
        "promises": report.broken or "all kept",
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows.items())
