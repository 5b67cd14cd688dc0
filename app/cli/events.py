"""``reposentry events``: what was noticed, newest first."""

import json
from pathlib import Path
from typing import Any

import click

from app.cli.options import config_option, database_option, json_option, load_for_database
from app.domain.event import EventKind, EventState
from app.domain.moments import instant
from app.domain.refs import short_name
from app.runtime import Runtime
from app.storage.entries import EventEntry

SHORT = 8


@click.command(epilog="Example: reposentry events --repository acme/website --limit 5")
@click.option("--repository", metavar="NAME", help="Only this repository's.")
@click.option("--ref", metavar="REF", help="Only this ref's: refs/heads/main.")
@click.option("--kind", type=click.Choice([kind.value for kind in EventKind]))
@click.option("--state", type=click.Choice([state.value for state in EventState]))
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True)
@config_option
@database_option
@json_option
def command(
    *,
    repository: str | None,
    ref: str | None,
    kind: str | None,
    state: str | None,
    limit: int,
    config: Path,
    database: str | None,
    as_json: bool,
) -> None:
    """List the events, newest first."""
    runtime = Runtime(load_for_database(config, database))
    try:
        page = runtime.status.events(
            repository=repository, ref=ref, kind=kind, state=state, limit=limit
        )
    finally:
        runtime.stop()
    for entry in page.items:
        click.echo(json.dumps(_plain(entry)) if as_json else _line(entry))
    if not page.items and not as_json:
        click.echo("No event.", err=True)


def _plain(entry: EventEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "sequence": entry.sequence,
        "kind": entry.kind,
        "repository": {
            "name": entry.repository_name,
            "url": entry.repository_url,
            "forge": entry.repository_forge,
        },
        "ref": entry.ref,
        "before": entry.before,
        "after": entry.after,
        "forced": entry.forced,
        "detected_at": instant(entry.detected_at),
        "catch_up": entry.catch_up,
        "state": entry.state,
    }


def _line(entry: EventEntry) -> str:
    return (
        f"{entry.detected_at.astimezone():%Y-%m-%d %H:%M:%S}  {entry.state:<9}  "
        f"{entry.kind:<14}  {entry.repository_name}  {short_name(entry.ref)}  "
        f"{entry.before[:SHORT]}..{entry.after[:SHORT]}  {entry.id}"
    )
