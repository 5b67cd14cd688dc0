"""``reposentry run``: everything in one process, as the configuration file says."""

import logging
from pathlib import Path

import click

from app.cli.options import (
    config_option,
    database_option,
    listen_option,
    load_to_serve,
)
from app.cli.serving import serve
from app.runtime import Runtime

log = logging.getLogger(__name__)


@click.command(epilog="Example: reposentry run -c /etc/reposentry/reposentry.yaml")
@config_option
@listen_option
@database_option
def command(config: Path, listen: str | None, database: str | None) -> None:
    """Poll, deliver, and serve the pages and the API, until it is stopped.

    The database is brought up to date first. Where several processes share a database, one at a
    time polls and delivers; the others serve pages and take over when it ends.
    """
    settings = load_to_serve(config, listen=listen, database=database)
    serve(
        settings,
        Runtime(settings),
        ready=lambda url: log.info("pages are served", extra={"url": url}),
    )
