"""The configuration file described for editors: JSON Schema, made of the schema that loads it."""

from typing import Any

from marshmallow import Schema, fields

from app.settings.fields import Inner, Keyed, Many, Scalar
from app.settings.schema import Configuration
from app.settings.show import standard_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a configuration file.

    It knows types, allowed values, defaults and descriptions; what must fit together (a receiver's
    name that exists, an interval below another) only ``load`` can tell.
    """
    described = _section(Configuration())
    # Where anchors may be kept, as in Compose files.
    described["patternProperties"] = {"^x-": True}
    return {"$schema": DIALECT, "title": "RepoSentry's configuration", **described}


def _section(section: Schema) -> dict[str, Any]:
    described: dict[str, Any] = {
        "type": "object",
        "properties": {name: _setting(section, field) for name, field in section.fields.items()},
        "additionalProperties": False,
    }
    required = [name for name, field in section.fields.items() if field.required]
    if required:
        described["required"] = required
    return described


def _setting(section: Schema, field: fields.Field[Any]) -> dict[str, Any]:
    described = {"description": field.metadata["description"], **_kind(field)}
    default = standard_of(section, field)
    if default not in (None, "") and not isinstance(field, Inner) and not field.required:
        described["default"] = default
    return described


def _kind(field: Any) -> dict[str, Any]:
    if isinstance(field, Scalar):
        return field.json()
    if isinstance(field, Many):
        return {"type": ["array", "null"], "items": _kind(field.inner)}
    if isinstance(field, Keyed):
        return {"type": ["object", "null"], "additionalProperties": _kind(field.value_field)}
    described = _section(field.schema)
    return {**described, "type": ["object", "null"]} if field.allow_none else described
