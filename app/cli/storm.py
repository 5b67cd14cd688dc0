"""``reposentry storm``: decide on changes that came too many at once."""

import json
from pathlib import Path

import click

from app.cli.options import config_option, database_option, json_option, load_for_database
from app.domain.moments import instant
from app.runtime import Runtime
from app.storage.entries import HoldEntry
from app.storage.holds import HoldState


@click.group(name="storm", epilog="Example: reposentry storm release 5a3c0d9e-…")
def command() -> None:
    """Release or dismiss what was held because one poll found more than polling.storm_limit."""


@command.command("list", epilog="Example: reposentry storm list --state held")
@click.option("--state", type=click.Choice([state.value for state in HoldState]))
@config_option
@database_option
@json_option
def list_(*, state: str | None, config: Path, database: str | None, as_json: bool) -> None:
    """List the storms, newest first."""
    runtime = Runtime(load_for_database(config, database))
    try:
        found = runtime.status.storms(state)
    finally:
        runtime.stop()
    for one in found:
        click.echo(json.dumps(_plain(one)) if as_json else _line(one))
    if not found and not as_json:
        click.echo("No storm.", err=True)


@command.command(epilog="Example: reposentry storm release 5a3c0d9e-…")
@click.argument("storm_id", metavar="ID")
@config_option
@database_option
def release(storm_id: str, *, config: Path, database: str | None) -> None:
    """Send what the storm ID holds; the running program begins within a minute."""
    runtime = Runtime(load_for_database(config, database))
    try:
        runtime.release_storm(storm_id)
    finally:
        runtime.stop()
    click.echo(f"storm {storm_id} is released; its deliveries are owed from now on")


@command.command(epilog="Example: reposentry storm dismiss 5a3c0d9e-…")
@click.argument("storm_id", metavar="ID")
@config_option
@database_option
def dismiss(storm_id: str, *, config: Path, database: str | None) -> None:
    """Cancel what the storm ID holds; its events stay in the history."""
    runtime = Runtime(load_for_database(config, database))
    try:
        runtime.dismiss_storm(storm_id)
    finally:
        runtime.stop()
    click.echo(f"storm {storm_id} is dismissed; none of its deliveries will be sent")


def _plain(one: HoldEntry) -> dict[str, object]:
    return {
        "id": one.id,
        "repository": one.repository_name,
        "state": one.state,
        "changes": one.changes,
        "created_at": instant(one.created_at),
    }


def _line(one: HoldEntry) -> str:
    return (
        f"{one.created_at.astimezone():%Y-%m-%d %H:%M:%S}  {one.state:<9}  "
        f"{one.changes:>7,} changes  {one.repository_name}  {one.id}"
    )
