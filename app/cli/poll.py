"""``reposentry poll``: one poll of one repository, now."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from app.cli.options import (
    config_option,
    database_option,
    json_option,
    listen_option,
    load_settings,
)
from app.cli.serving import address
from app.domain.errors import RepoSentryError
from app.runtime import Runtime
from app.settings.types import Settings
from app.transport import NoAnswer, Transport

WAIT_S = 5
TIMEOUT_S = 10.0


class PollRefused(RepoSentryError):
    """The running program did not poll."""

    code = "poll_refused"


@click.command(epilog="Example: reposentry poll acme/website")
@click.argument("name")
@config_option
@listen_option
@database_option
@json_option
def command(
    name: str, *, config: Path, listen: str | None, database: str | None, as_json: bool
) -> None:
    """Poll the repository NAME now and say what came of it.

    A program that runs with the same configuration is asked to; if none runs, the poll is made
    here, and what it finds is delivered when the program runs.
    """
    settings = load_settings(config, listen=listen, database=database)
    outcome = _ask(settings, name) or _poll_here(settings, name)
    if as_json:
        click.echo(json.dumps(outcome))
    else:
        click.echo(_sentence(name, outcome))
    if outcome["outcome"] == "failed":
        raise SystemExit(1)


def _ask(settings: Settings, name: str) -> dict[str, Any] | None:
    """Have the running program poll; None if none runs."""
    transport = Transport(connections=1)
    base = address(settings, port=settings.server.port)
    try:
        reply = transport.send(
            "POST",
            f"{base}api/v1/repositories/{quote(name)}/poll",
            headers={"Prefer": f"wait={WAIT_S}"},
            timeout_s=TIMEOUT_S,
        )
    except NoAnswer:
        return None
    finally:
        transport.close()
    try:
        told = json.loads(reply.body)
    except ValueError as error:
        raise PollRefused(f"{base} is another program: it answered {reply.status}") from error
    if reply.status // 100 != 2:  # noqa: PLR2004 - HTTP's own class
        raise PollRefused(told.get("detail") or told.get("title") or f"status {reply.status}")
    if not told.get("outcome"):
        return {"outcome": "pending", "changes": 0}
    return dict(told)


def _poll_here(settings: Settings, name: str) -> dict[str, Any]:
    runtime = Runtime(settings)
    try:
        record = runtime.poll_once(name)
    finally:
        runtime.stop()
    error = {"code": record.error_code, "message": record.error_message}
    return {
        "outcome": record.outcome,
        "changes": record.changes,
        "read_by": record.read_by,
        "duration_ms": record.duration_ms,
        "error": error if record.error_code else None,
    }


def _sentence(name: str, outcome: Mapping[str, Any]) -> str:
    if outcome["outcome"] == "failed":
        return f"{name}: failed: {(outcome.get('error') or {}).get('message', 'see its page')}"
    if outcome["outcome"] == "pending":
        return f"{name}: asked for; not finished within {WAIT_S} s"
    changes = outcome.get("changes", 0)
    found = "nothing new" if not changes else "1 change" if changes == 1 else f"{changes} changes"
    return f"{name}: {found}, read by {outcome.get('read_by')} in {outcome.get('duration_ms')} ms"
