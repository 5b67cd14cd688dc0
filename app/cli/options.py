"""Options that several commands share, and the one place where a command gets its settings."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from app.domain.errors import ConfigurationInvalid, Mistake
from app.settings import Settings, load
from app.settings.show import secrets_of
from app.telemetry import logs

log = logging.getLogger(__name__)

DEFAULT_FILE: Final = "reposentry.yaml"

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

config_option: Decorator = click.option(
    "-c",
    "--config",
    "config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    default=DEFAULT_FILE,
    envvar="REPOSENTRY_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The configuration file.",
)

listen_option: Decorator = click.option(
    "--listen", metavar="HOST:PORT", help="Where to serve the pages, over the file's server.listen."
)

database_option: Decorator = click.option(
    "--database", metavar="URL", help="The database, over the file's storage.url."
)

json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def load_settings(
    path: Path | None, *, listen: str | None = None, database: str | None = None
) -> Settings:
    """Load the configuration with this process's environment; tell its warnings, hide its secrets.

    Raises:
        ConfigurationInvalid: It cannot be used; the command ends with its mistakes and code 2.
    """
    settings = load(path, os.environ, listen=listen, database=database)
    keep_out_of_logs(settings)
    for warning in settings.warnings:
        click.echo(f"warning: {warning}", err=True)
    return settings


def load_for_database(path: Path, database: str | None) -> Settings:
    """Load what a command needs that only looks at the database: no file, if that is named.

    Raises:
        ConfigurationInvalid: It cannot be used.
    """
    return load_settings(None if database else path, database=database)


def load_to_serve(
    path: Path | None, *, listen: str | None = None, database: str | None = None
) -> Settings:
    """Load the configuration and begin to log as it says; its warnings are the first lines.

    Raises:
        ConfigurationInvalid: It cannot be used, or its log file cannot be opened.
    """
    settings = load(path, os.environ, listen=listen, database=database)
    keep_out_of_logs(settings)
    chosen = settings.logging
    try:
        logs.configure(chosen.level, chosen.format, chosen.file)
    except OSError as error:
        message = f"«{chosen.file}» cannot be opened: {error.strerror or error}"
        raise ConfigurationInvalid([Mistake("logging.file", message)]) from error
    for warning in settings.warnings:
        log.warning("configuration", extra={"warning": str(warning)})
    return settings


def keep_out_of_logs(settings: Settings) -> None:
    """Mask the secrets of these settings wherever they would be logged."""
    logs.register_secret(*secrets_of(settings))


def size_of(settings: Settings) -> str:
    """Tell how much is configured, in words."""
    counted = (
        (len(settings.repositories), "repository", "repositories"),
        (len(settings.receivers), "receiver", "receivers"),
    )
    return ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in counted)
