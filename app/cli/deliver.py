"""``reposentry deliver``: send an event again."""

import json
from pathlib import Path

import click

from app.cli.options import config_option, database_option, json_option, load_settings
from app.runtime import Runtime


@click.command(epilog="Example: reposentry deliver 5a3c0d9e-… --to tekton")
@click.argument("event_id", metavar="ID")
@click.option("--to", "receivers", metavar="RECEIVER", multiple=True, help="Only to this one.")
@config_option
@database_option
@json_option
def command(
    *,
    event_id: str,
    receivers: tuple[str, ...],
    config: Path,
    database: str | None,
    as_json: bool,
) -> None:
    """Send the event ID (or the event of the delivery ID) once more, as new deliveries.

    They are owed from now on; the running program sends them within seconds, or else the next one
    that runs.
    """
    runtime = Runtime(load_settings(config, database=database))
    try:
        made = runtime.redeliver(runtime.event_of(event_id), list(receivers) or None)
    finally:
        runtime.stop()
    if as_json:
        click.echo(json.dumps({"deliveries": made}))
        return
    for delivery in made:
        click.echo(f"owed again: delivery {delivery}")
