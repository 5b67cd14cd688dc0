"""``reposentry config``: check, show and describe the configuration."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import yaml

from app.cli.options import config_option, json_option, load_settings, size_of
from app.delivery.payloads import Payloads
from app.domain.confirmation import confirmation_path
from app.domain.errors import ConfigurationInvalid, Conflict, NotFound
from app.domain.plan import ForgePlan
from app.settings import Settings, load
from app.settings.json_schema import json_schema
from app.settings.reference import reference_text
from app.settings.show import masked


@click.group(name="config", epilog="Example: reposentry config check -c reposentry.yaml")
def command() -> None:
    """Check, show and describe the configuration."""


@command.command(epilog="Example: reposentry config check -c reposentry.yaml")
@config_option
@json_option
@click.pass_context
def check(ctx: click.Context, config: Path, as_json: bool) -> None:
    """List every mistake as FILE:LINE:COLUMN: KEY: what is wrong, and end with 2 if there is one.

    Settings that have no effect in this version are warned of, and intervals that no plan can keep
    by what the forges usually grant; none is asked.
    """
    plans: dict[str, ForgePlan] = {}
    try:
        settings = load(config, os.environ)
        Payloads(settings.receivers)  # finds what is wrong in templates
        plans = _plans(settings)
        found: dict[str, Any] = {"mistakes": [], "warnings": list(map(asdict, settings.warnings))}
    except ConfigurationInvalid as error:
        if not as_json:
            raise
        found = {"mistakes": list(map(asdict, error.mistakes)), "warnings": []}
    if as_json:
        found["plans"] = [
            {"forge": name, "kept": plan.is_kept, "sentences": plan.sentences}
            for name, plan in plans.items()
        ]
        click.echo(json.dumps({"valid": not found["mistakes"], **found}, indent=2))
        ctx.exit(2 if found["mistakes"] else 0)
    for warning in settings.warnings:
        click.echo(f"warning: {warning}")
    for name, plan in plans.items():
        if not plan.is_kept:
            click.echo(f"warning: {name}: not every interval can be kept")
    click.echo(f"{config}: no mistakes; {size_of(settings)}")
    for name, plan in plans.items():
        for sentence in plan.sentences:
            click.echo(f"{name}: {sentence}")


@command.command(epilog="Example: reposentry config show --defaults > reposentry.yaml")
@config_option
@json_option
@click.option("--defaults", is_flag=True, help="Print every setting with its default and reason.")
def show(config: Path, as_json: bool, defaults: bool) -> None:
    """Print the configuration as it takes effect, secrets masked."""
    if defaults:
        text = reference_text()
        click.echo(json.dumps(yaml.safe_load(text), indent=2) if as_json else text, nl=as_json)
        return
    shown = masked(load_settings(config))
    if as_json:
        click.echo(json.dumps(shown, indent=2))
    else:
        click.echo(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True), nl=False)


@command.command(epilog="Example: reposentry config schema > reposentry.schema.json")
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))


@command.command("confirm-url", epilog="Example: reposentry config confirm-url tekton")
@click.argument("receiver")
@config_option
def confirm_url(receiver: str, config: Path) -> None:
    """Print the address at which RECEIVER confirms deliveries: its EventListener's cloudEventURI.

    It holds a key made of the receiver's secret. Nothing else shows it; treat it as the secret.
    """
    settings = load_settings(config)
    found = settings.receivers.get(receiver)
    if found is None:
        raise NotFound(f"no receiver named {receiver!r} is configured")
    if not found.confirm or not found.secret:
        raise Conflict(f"{receiver} confirms nothing: give it confirm: tekton and a secret")
    path = confirmation_path(found.secret, receiver)
    if settings.server.public_url is None:
        click.echo("server.public_url is not set, so this is the path alone:", err=True)
    click.echo((settings.server.public_url or "").rstrip("/") + path)


def _plans(settings: Settings) -> dict[str, ForgePlan]:
    """Plan as a run would, before it has asked anybody anything."""
    from app.forges import Forges
    from app.runtime import utc_now
    from app.services.planner import expected_plans

    forges = Forges(settings.forges, now=utc_now, connections=1)
    try:
        return expected_plans(settings, forges)
    finally:
        forges.close()
