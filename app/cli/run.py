"""``reposentry run``: everything in one process, as the configuration file says."""

from pathlib import Path

import click

from app.cli.options import (
    config_option,
    database_option,
    listen_option,
    load_settings,
)
from app.cli.serving import serve
from app.runtime import Runtime
from app.telemetry import logs


@click.command(epilog="Example: reposentry run -c /etc/reposentry/reposentry.yaml")
@config_option
@listen_option
@database_option
def command(config: Path, listen: str | None, database: str | None) -> None:
    """Poll, deliver, and serve the pages and the API, until it is stopped.

    The database is brought up to date first. Where several processes share a database, one at a
    time polls and delivers; the others serve pages and take over when it ends.
    """
    settings = load_settings(config, listen=listen, database=database)
    logging = settings.logging
    logs.configure(logging.level, logging.format, logging.file)
    serve(
        settings,
        Runtime(settings),
        ready=lambda url: click.echo(f"RepoSentry serves {url}", err=True),
    )
