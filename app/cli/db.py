"""``reposentry db``: the database's schema."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from app.cli.options import config_option, database_option, load_for_database
from app.runtime import utc_now
from app.storage import migrate
from app.storage.database import Database


@click.group(epilog="Example: reposentry db upgrade --database sqlite:///reposentry.db")
def command() -> None:
    """Look after the database's schema; ``run`` brings it up to date by itself."""


@contextmanager
def _open(config: Path, database: str | None) -> Iterator[Database]:
    opened = Database(load_for_database(config, database).storage.url.reveal(), now=utc_now)
    try:
        yield opened
    finally:
        opened.close()


@command.command(epilog="Example: reposentry db upgrade")
@config_option
@database_option
def upgrade(config: Path, database: str | None) -> None:
    """Bring the schema up to date."""
    with _open(config, database) as opened:
        migrate.upgrade(opened)
        click.echo(f"{opened.url} is at {migrate.current(opened)}")


@command.command(epilog="Example: reposentry db current")
@config_option
@database_option
def current(config: Path, database: str | None) -> None:
    """Print the schema's version."""
    with _open(config, database) as opened:
        click.echo(migrate.current(opened) or "empty")


@command.command(epilog="Example: reposentry db check")
@config_option
@database_option
def check(config: Path, database: str | None) -> None:
    """Compare the schema with what this version expects; exit 1 where they differ."""
    with _open(config, database) as opened:
        differences = migrate.check(opened)
        is_old = migrate.current(opened) != migrate.HEAD
    for difference in differences:
        click.echo(difference)
    if is_old:
        click.echo("reposentry db upgrade brings it up to date.", err=True)
    if differences:
        raise SystemExit(1)
    click.echo("The schema is what this version expects.")
