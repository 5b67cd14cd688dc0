"""Filling in the environment: ``${NAME}``, ``${NAME:-default}``, and ``$$`` for a dollar sign."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.settings.document import KeyPath, Node

_REFERENCE = re.compile(r"\$(?:\$|\{(?:([A-Za-z_]\w*)(?::-([^}]*))?\})?)")


class Text(str):
    """A value as it stands after expansion, and the folder that a relative path in it starts from.

    It is a ``str``, so that everything that reads text can read it.
    """

    __slots__ = ("folder",)
    folder: Path


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Fill in the variables of one value.

    >>> expand("${USER}:${PASSWORD:-none} costs $$5", {"USER": "bob"})
    'bob:none costs $5'

    Raises:
        ValueError: A variable is not set, or it is not named properly.
    """

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        if match[0] == "$$":
            return "$"
        if name is None:
            raise ValueError(
                "${ begins no variable here; write ${NAME}, or $${ for the text itself"
            )
        found = environ.get(name, "")
        if found or default is not None:
            return found or default or ""
        state = "is empty" if name in environ else "is not set"
        raise ValueError(
            f"the environment variable {name} {state}; set it, or write ${{{name}:-}} to allow that"
        )

    return _REFERENCE.sub(value, text)


class Expansion:
    """Turns a document into plain data; ``faults`` are the values that could not be filled in."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.faults: dict[KeyPath, str] = {}
        self._environ = environ

    def data(self, node: Node, path: KeyPath = ()) -> Any:
        """Return dicts, lists, ``Text`` and None; a variable that leaves nothing is None."""
        value = node.value
        if value is None:
            return None
        if isinstance(value, str):
            return self._scalar(value, node, path)
        if isinstance(value, list):
            return [self.data(item, (*path, number)) for number, item in enumerate(value)]
        return {key: self.data(child, (*path, key)) for key, child in value.items()}

    def _scalar(self, value: str, node: Node, path: KeyPath) -> Text | None:
        if "$" in value:
            try:
                filled = expand(value, self._environ)
            except ValueError as error:
                self.faults[path] = str(error)
                return None
            if not filled and value:
                return None
            value = filled
        text = Text(value)
        text.folder = node.source.folder
        return text
