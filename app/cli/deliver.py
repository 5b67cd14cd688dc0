"""``reposentry deliver``: send again what was sent or given up, or end what is still owed."""

import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from app.cli.options import config_option, database_option, json_option, load_settings
from app.domain.delivery import Confirmation
from app.domain.errors import NotFound
from app.runtime import Runtime
from app.settings.units import parse_duration

# A choice: more than a person would read through is asked about first.
MANY = 100
# As many as the outbox owes again in one call.
MOST_AT_ONCE = 10_000
FILTERS = ("--state", "--confirmation", "--receiver", "--repository", "--since", "--until")


class Moment(click.ParamType[datetime]):
    """A moment (2026-11-05T12:00Z, in local time without a zone), or an age (2h)."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read it; an age is counted from now."""
        from app.runtime import utc_now

        if isinstance(value, datetime):
            return value
        try:
            return utc_now() - parse_duration(value)
        except (ValueError, OverflowError):
            pass
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f"«{value}» is neither a moment like 2026-11-05T12:00Z nor an age like 2h")


@click.command(
    epilog="Example: reposentry deliver 5a3c0d9e-… --to tekton\n\n"
    "Example: reposentry deliver --receiver tekton --state dead --since 2d"
)
@click.argument("some_id", metavar="[ID]", required=False)
@click.option("--to", "receivers", metavar="RECEIVER", multiple=True, help="To this one instead.")
@click.option(
    "--state",
    type=click.Choice(["dead", "delivered", "cancelled", "pending", "waiting", "held"]),
    help="Only in this state; by default dead ones, or with --cancel all that are owed.",
)
@click.option(
    "--confirmation",
    type=click.Choice([one.value for one in Confirmation]),
    help="Only what was delivered and is so.",
)
@click.option("--receiver", metavar="NAME", help="Only what this one was owed.")
@click.option("--repository", metavar="NAME", help="Only this repository's.")
@click.option("--since", type=Moment(), metavar="TIME", help="Only owed since: a moment, or 2h.")
@click.option("--until", type=Moment(), metavar="TIME", help="Only owed before that.")
@click.option("--cancel", is_flag=True, help="Do not send: end what is owed instead.")
@click.option("--yes", is_flag=True, help=f"Do not ask, even if there are more than {MANY}.")
@config_option
@database_option
@json_option
def command(
    *,
    some_id: str | None,
    receivers: tuple[str, ...],
    cancel: bool,
    yes: bool,
    config: Path,
    database: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Send the event ID (or the event of the delivery ID) once more, as new deliveries.

    Without an ID: whatever matches the filters, but not what that receiver has taken or is owed
    since; with --to, not what the other one ever took or is owed. They are owed from now on; the
    running program sends them within seconds, or else the next one that runs.

    With --cancel nothing is sent: the delivery ID, or whatever matches and is owed, is ended.
    """
    wanted = {name: value for name, value in chosen.items() if value is not None}
    _check(some_id, wanted, receivers, cancel=cancel)
    runtime = Runtime(load_settings(config, database=database))
    try:
        if some_id is None:
            told = _do_many(runtime, wanted, receivers, cancel=cancel, may_ask=not yes)
        else:
            told = _do_one(runtime, some_id, receivers, cancel=cancel)
    finally:
        runtime.stop()
    click.echo(json.dumps(told) if as_json else _says(told))
    name = wanted.get("receiver")
    if not any(told.values()) and name is not None and name not in runtime.settings.receivers:
        click.echo(f"No receiver named {name!r} is configured.", err=True)


def _check(
    some_id: str | None, wanted: Mapping[str, Any], receivers: tuple[str, ...], *, cancel: bool
) -> None:
    """Refuse what means nothing, before anything is touched."""
    if some_id is None and not wanted:
        raise click.UsageError(f"Say which: an ID, or at least one of {', '.join(FILTERS)}.")
    if some_id is not None and wanted:
        raise click.UsageError("An ID says which one it is; leave the filters out.")
    if cancel and "confirmation" in wanted:
        raise click.UsageError("What is confirmed or not was delivered; it cannot be cancelled.")
    if cancel and receivers:
        raise click.UsageError("What is cancelled goes to nobody; leave --to out.")
    state = wanted.get("state")
    is_owed = state in {"pending", "waiting", "held"}
    if state is not None and is_owed != cancel:
        needed = "is still owed; it can only be ended, by --cancel" if is_owed else "is finished"
        raise click.UsageError(f"What is {state} {needed}.")


def _do_one(
    runtime: Runtime, some_id: str, receivers: tuple[str, ...], *, cancel: bool
) -> dict[str, Any]:
    if not cancel:
        made = runtime.redeliver(runtime.event_of(some_id), list(receivers) or None)
        return {"deliveries": made}
    try:
        runtime.cancel_delivery(some_id)
    except NotFound:
        raise NotFound(f"no delivery has the id {some_id}; see its event's page") from None
    return {"cancelled": 1}


def _do_many(
    runtime: Runtime,
    wanted: dict[str, Any],
    receivers: tuple[str, ...],
    *,
    cancel: bool,
    may_ask: bool,
) -> dict[str, Any]:
    filter_ = runtime.status.chosen(**wanted)
    if may_ask and _is_a_person_there():
        _ask(lambda: runtime.status.count_chosen(filter_, is_owed=cancel), cancel=cancel)
    if cancel:
        return {"cancelled": runtime.cancel_many(filter_)}
    return {"redelivered": runtime.redeliver_many(filter_, list(receivers) or None)}


def _is_a_person_there() -> bool:
    return sys.stdin.isatty()


def _ask(count: Callable[[], int], *, cancel: bool) -> None:
    found = count()
    if found > MANY:
        verb = "Cancel" if cancel else "Send again"
        click.confirm(f"{verb} {found:,} deliveries?", abort=True, err=True)


def _says(told: Mapping[str, Any]) -> str:
    if "deliveries" in told:
        return "\n".join(f"owed again: delivery {one}" for one in told["deliveries"])
    ((did, count),) = told.items()
    if not count:
        is_ended = did == "cancelled"
        return "None matches." if is_ended else "None matches that was not taken or owed since."
    what = "delivery is" if count == 1 else "deliveries are"
    if did == "cancelled":
        return f"{count:,} {what} cancelled."
    more = " There may be more: run it again." if count >= MOST_AT_ONCE else ""
    return f"{count:,} {what} owed again.{more}"
