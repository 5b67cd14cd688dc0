"""``reposentry watch``: watch some repositories at once, without a configuration file."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from app.cli.console import Console
from app.cli.options import database_option, keep_out_of_logs, listen_option
from app.cli.serving import serve
from app.delivery.payloads import PAYLOADS
from app.domain.errors import ConfigurationInvalid, Mistake
from app.domain.repository import Remote, parse_remote
from app.runtime import Runtime
from app.settings import Settings, from_mapping
from app.settings.types import Polling
from app.settings.units import parse_duration
from app.telemetry import logs

RECEIVER: Final = "receiver"

# By which option each setting is chosen here, as patterns of its path.
OPTIONS: Final = {
    r"repositories\[\d+\]\.url": "URL",
    r"repositories\[\d+\]\.branches\[\d+\]": "--branch",
    r"repositories\[\d+\]\.tags\[\d+\]": "--tag",
    r"polling\.(max_)?interval": "--interval",
    rf"receivers\.{RECEIVER}\.url": "--to",
    rf"receivers\.{RECEIVER}\.secret": "WEBHOOK_SECRET",
    rf"receivers\.{RECEIVER}\.secret_file": "--secret-file",
    r"forges\.github\.token": "GITHUB_TOKEN",
    r"forges\.gitlab\.token": "GITLAB_TOKEN",
    r"server\.listen": "--listen",
    r"storage\.url": "--database",
}


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
    if not to and secret_file is not None:
        raise click.UsageError("--secret-file signs what --to delivers; give --to as well.")
    data = configuration(
        urls,
        to=to,
        payload=payload,
        branches=branches,
        tags=tags,
        interval=interval,
        secret_file=secret_file,
    )
    try:
        settings = from_mapping(data, os.environ, listen=listen, database=database)
    except ConfigurationInvalid as error:
        raise ConfigurationInvalid(list(dict.fromkeys(map(_as_typed, error.mistakes)))) from None
    keep_out_of_logs(settings)
    logs.configure("warning", "text")
    for warning in settings.warnings:
        click.echo(f"warning: {warning}", err=True)
    if to and settings.receivers[RECEIVER].secret is None:
        click.echo("Deliveries are not signed; set WEBHOOK_SECRET or --secret-file.", err=True)
    runtime = Runtime(settings, observers=[Console()])
    serve(settings, runtime, ready=lambda url: _welcome(url, settings, runtime))


def configuration(
    urls: Sequence[str],
    *,
    to: str | None,
    payload: str,
    branches: Sequence[str],
    tags: Sequence[str],
    interval: str,
    secret_file: Path | None,
) -> dict[str, Any]:
    """Say as a configuration file would what was asked for on the command line."""
    watched: dict[str, Any] = {
        "branches": list(map(_as_it_stands, branches)) or (["*"] if not tags else []),
        "tags": list(map(_as_it_stands, tags)) or (["*"] if not branches else []),
    }
    data: dict[str, Any] = {
        "polling": {"interval": interval},
        "forges": {
            "github": {"kind": "github", "token": "${GITHUB_TOKEN:-}"},
            "gitlab": {"kind": "gitlab", "token": "${GITLAB_TOKEN:-}"},
        },
        "repositories": [
            {"url": _as_it_stands(url), **named, **watched}
            for url, named in zip(urls, _told_apart(urls), strict=True)
        ],
        # Who types an address means it.
        "security": {"require_https": False},
    }
    if _is_longer_than_usual(interval):
        data["polling"]["max_interval"] = interval
    if to:
        secret = {"secret": "${WEBHOOK_SECRET:-}"}
        if secret_file is not None:
            secret = {"secret_file": _as_it_stands(str(secret_file.absolute()))}
        data["receivers"] = {RECEIVER: {"url": _as_it_stands(to), "payload": payload, **secret}}
    return data


def _as_it_stands(text: str) -> str:
    """Spare a text from being filled in: the shell has done that already."""
    return text.replace("$", "$$")


def _told_apart(urls: Sequence[str]) -> list[dict[str, str]]:
    """Give the names that repositories need beyond those made of their URLs.

    Those that would be called the same are called by their hosts too, or by their places.
    """
    remotes = [_remote(url) for url in urls]
    usual = Counter(remote.default_name for remote in remotes if remote)
    return [
        {"name": _name_by_place(remote)} if remote and usual[remote.default_name] > 1 else {}
        for remote in remotes
    ]


def _name_by_place(remote: Remote) -> str:
    place = f"{remote.host}/{remote.path}".rstrip("/").removesuffix(".git")
    return re.sub(r"[^\w.+~@/-]+", "-", place).strip("/-")


def _remote(url: str) -> Remote | None:
    try:
        return parse_remote(url)
    except ValueError:
        return None  # the settings say what is wrong with it


def _is_longer_than_usual(interval: str) -> bool:
    try:
        return parse_duration(interval) > Polling().max_interval
    except ValueError:
        return False


def _as_typed(mistake: Mistake) -> Mistake:
    """Name the option that is wrong, where its user never wrote the setting."""
    for setting, option in OPTIONS.items():
        if re.fullmatch(setting, mistake.path):
            return replace(mistake, path=option)
    return mistake


def _welcome(url: str, settings: Settings, runtime: Runtime) -> None:
    count = len(settings.repositories)
    what = "1 repository" if count == 1 else f"{count} repositories"
    if runtime.ready() == (True, "standby"):
        click.echo(
            "Another process polls and delivers with this database; this one waits for its end, "
            "and watches nothing until then. To watch beside it: --database sqlite:///other.db",
            err=True,
        )
        click.echo(f"Waiting to watch {what}. Pages: {url}   Stop: Ctrl-C")
        return
    click.echo(f"Watching {what}. Pages: {url}   Stop: Ctrl-C")
