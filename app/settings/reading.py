"""Reading plain data by the schema: finished values as far as they are right, and every fault."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, ValidationError, fields

from app.settings.document import KeyPath
from app.settings.fields import nearest
from app.settings.schema import Configuration


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong at a path, not yet placed; ``at_key``: the key is wrong, not its value."""

    path: KeyPath
    message: str
    at_key: bool = False
    is_secret: bool = False


def read(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """Return the finished values of a file's data, as far as they are right, and all faults."""
    schema = Configuration()
    try:
        return schema.load(data), []
    except ValidationError as error:
        faults = _section_faults(schema, error.messages_dict, ())
        valid = error.valid_data
        return (valid if isinstance(valid, dict) else {}), list(faults)


def _section_faults(schema: Schema, errors: Mapping[str, Any], path: KeyPath) -> Iterator[Fault]:
    known = schema.fields
    for key, messages in errors.items():
        if key == "_schema":
            yield Fault(path, "must hold settings, each on a line of its own as «name: value»")
        elif key in known:
            yield from _field_faults(known[key], messages, (*path, key))
        else:
            yield Fault((*path, key), _unknown(key, known), at_key=True, is_secret=True)


def _field_faults(field: fields.Field[Any], messages: Any, path: KeyPath) -> Iterator[Fault]:
    if isinstance(messages, list):
        is_secret = getattr(field, "is_secret", False)
        yield from (Fault(path, message, is_secret=is_secret) for message in messages)
    elif isinstance(field, fields.Nested):
        yield from _section_faults(field.schema, messages, path)
    elif isinstance(field, fields.List):
        for index, inner in messages.items():
            yield from _field_faults(field.inner, inner, (*path, index))
    elif isinstance(field, fields.Dict):
        yield from _entry_faults(field, messages, path)


def _entry_faults(field: fields.Dict, messages: Any, path: KeyPath) -> Iterator[Fault]:
    for key, wrong in messages.items():
        for message in wrong.get("key", ()):
            yield Fault((*path, key), message, at_key=True)
        if "value" in wrong and field.value_field:
            yield from _field_faults(field.value_field, wrong["value"], (*path, key))


def _unknown(key: str, known: Mapping[str, Any]) -> str:
    meant = nearest(key, known)
    if meant:
        return f"there is no such setting{meant}"
    return f"there is no such setting; here belong {', '.join(known)}"
