"""``reposentry watch``: watch some repositories at once, without a configuration file."""

import os
from pathlib import Path
from typing import Any

import click

from app.cli.console import Console
from app.cli.options import database_option, keep_out_of_logs, listen_option
from app.cli.serving import serve
from app.delivery.payloads import PAYLOADS
from app.runtime import Runtime
from app.settings import from_mapping
from app.telemetry import logs


@click.command(
    epilog="Example: reposentry watch https://github.com/tektoncd/pipeline "
    "--to http://127.0.0.1:9000/ --branch main --interval 5s",
)
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option("--to", metavar="URL", help="Deliver every event there; without it, only print.")
@click.option(
    "--payload",
    type=click.Choice(sorted(PAYLOADS)),
    default="github",
    show_default=True,
    help="How events are spelled.",
)
@click.option(
    "--branch",
    "branches",
    metavar="GLOB",
    multiple=True,
    help="Watch these branches only; may be given again. !GLOB takes out, /…/ is a regular "
    "expression.",
)
@click.option(
    "--tag",
    "tags",
    metavar="GLOB",
    multiple=True,
    help="Watch these tags; all if neither --branch nor --tag is given.",
)
@click.option("--interval", default="15s", show_default=True, help="How often to poll: 5s, 1m.")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path),
    help="Sign deliveries with the secret in this file, or set WEBHOOK_SECRET.",
)
@listen_option
@database_option
def command(
    *,
    urls: tuple[str, ...],
    to: str | None,
    payload: str,
    branches: tuple[str, ...],
    tags: tuple[str, ...],
    interval: str,
    secret_file: Path | None,
    listen: str | None,
    database: str | None,
) -> None:
    """Watch repositories, print each event as a line, and deliver it if --to is given.

    A URL is whatever git understands, a local path too. What is known is kept in reposentry.db in
    this folder (--database), so that nothing is missed from one run to the next. GITHUB_TOKEN and
    GITLAB_TOKEN are used if they are set.
    """
    watched: dict[str, Any] = {
        "branches": list(branches) or (["*"] if not tags else []),
        "tags": list(tags) or (["*"] if not branches else []),
    }
    data: dict[str, Any] = {
        "polling": {"interval": interval},
        "forges": {
            "github": {"kind": "github", "token": "${GITHUB_TOKEN:-}"},
            "gitlab": {"kind": "gitlab", "token": "${GITLAB_TOKEN:-}"},
        },
        "repositories": [{"url": url, **watched} for url in urls],
        # Who types an address means it.
        "security": {"require_https": False},
    }
    if listen:
        data["server"] = {"listen": listen}
    if database:
        data["storage"] = {"url": database}
    if to:
        data["receivers"] = {"to": {"url": to, "payload": payload, **_secret(secret_file)}}
    settings = from_mapping(data, os.environ)
    keep_out_of_logs(settings)
    logs.configure("warning", "text")
    for warning in settings.warnings:
        click.echo(f"warning: {warning}", err=True)
    if to and settings.receivers["to"].secret is None:
        click.echo("Deliveries are not signed; set WEBHOOK_SECRET or --secret-file.", err=True)
    runtime = Runtime(settings, observers=[Console()])
    serve(settings, runtime, ready=lambda url: _welcome(url, len(urls)))


def _secret(file: Path | None) -> dict[str, str]:
    if file is not None:
        return {"secret_file": str(file.absolute())}
    return {"secret": "${WEBHOOK_SECRET:-}"}


def _welcome(url: str, count: int) -> None:
    what = "1 repository" if count == 1 else f"{count} repositories"
    click.echo(f"Watching {what}. Pages: {url}   Stop: Ctrl-C")
