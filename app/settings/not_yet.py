"""What a file may say although this version cannot do it yet.

Each line goes away with the feature that makes it untrue. A setting that would only be ignored is
warned of, so that nobody is fooled; one that could not be ignored without harm is refused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, fields

from app.settings.document import KeyPath
from app.settings.reading import Fault
from app.settings.schema import Configuration, Section

NO_EFFECT = "has no effect yet in this version"


@dataclass(frozen=True, slots=True)
class NotYet:
    """A setting without its feature.

    ``path`` has ``*`` for any name or number. ``values`` are those that are meant; empty: all but
    the default. ``refusal`` says why it cannot be accepted; empty: it is only warned of.
    """

    path: str
    values: tuple[object, ...] = ()
    refusal: str = ""


NOT_YET = (
    NotYet("polling.policy", values=("adaptive",)),
    NotYet("polling.objective"),
    NotYet("discover"),
    NotYet(
        "security.tokens",
        values=("required",),
        refusal="required is not available in this version; listen on 127.0.0.1 behind a proxy"
        " that asks who comes in",
    ),
    NotYet(
        "security.allow_private_networks",
        refusal="false is not available in this version; keep receivers out by the network's means",
    ),
    NotYet("security.encryption_key"),
    NotYet("security.encryption_key_file"),
    NotYet("security.metrics_token"),
    NotYet("security.metrics_token_file"),
    NotYet("alerts.channels"),
    NotYet("alerts.heartbeat_url"),
    NotYet("alerts.heartbeat_url_file"),
)


def refused(values: Mapping[str, Any]) -> Iterator[Fault]:
    """List what is asked for and cannot be had."""
    for rule in NOT_YET:
        if rule.refusal:
            yield from (Fault(path, rule.refusal) for path in _found(rule, values))


def without_effect(values: Mapping[str, Any]) -> Iterator[Fault]:
    """List what is asked for and will be ignored."""
    for rule in NOT_YET:
        if not rule.refusal:
            yield from (Fault(path, NO_EFFECT) for path in _found(rule, values))


def _found(rule: NotYet, values: Mapping[str, Any]) -> Iterator[KeyPath]:
    steps = rule.path.split(".")
    default = _default(steps)
    for path, value in _reach(steps, values, ()):
        plain = tuple(value) if isinstance(value, list) else value
        is_other = bool(plain) if default is None else plain not in (None, default)
        if plain in rule.values if rule.values else is_other:
            yield path


def _reach(steps: list[str], holder: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if not steps:
        yield path, holder
        return
    step, rest = steps[0], steps[1:]
    if step != "*":
        if isinstance(holder, dict) and step in holder:
            yield from _reach(rest, holder[step], (*path, step))
        return
    entries = holder.items() if isinstance(holder, dict) else enumerate(holder or ())
    for key, inner in entries:
        yield from _reach(rest, inner, (*path, key))


def _default(steps: list[str]) -> Any:
    """Return what the setting is when nothing is written; None where only an entry could tell."""
    section: Schema = Configuration()
    field: Any = None
    for step in steps:
        if step != "*":
            field = section.fields[step]
        else:
            field = field.inner if isinstance(field, fields.List) else field.value_field
        if isinstance(field, fields.Nested):
            section = field.schema
    standard = section.standard if isinstance(section, Section) else None
    return getattr(standard, steps[-1], None)
