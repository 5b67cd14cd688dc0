"""README's tables, read, and what the code says that they should hold."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.domain import errors
from app.settings.json_schema import json_schema
from app.settings.not_yet import NOT_YET

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FILE = "_file"
FILES_THEMSELVES = ("ca_file", "client_cert_file", "client_key_file")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without its head."""
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def code(cell: str) -> str:
    """Return what a cell has in backquotes, without them."""
    found = re.search(r"`([^`]+)`", cell)
    return found[1] if found else cell


def settings() -> Iterator[tuple[str, str, str]]:
    """List every setting with its mark and default as README's table has them, and its meaning."""
    for path, default, meaning in _leaves(json_schema(), ""):
        if path.endswith(FILE) and not path.endswith(FILES_THEMSELVES):
            continue
        shown = "" if default in (None, "", [], {}) else f"`{_spelled(default)}`"
        yield f"`{path}`{_mark(path)}", shown, meaning


def error_codes() -> Iterator[tuple[str, str]]:
    """List every error's code and what it means, the base of a family excepted."""
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.RepoSentryError):
            meaning = (error.__doc__ or "").partition("\n")[0].replace("``", "`")
            if "never raised itself" not in (error.__doc__ or ""):
                yield error.code, meaning


def _leaves(node: dict[str, Any], path: str) -> Iterator[tuple[str, Any, str]]:
    for key, inner in node.get("properties", {}).items():
        yield from _leaf(inner, f"{path}.{key}".lstrip("."))


def _leaf(node: dict[str, Any], path: str) -> Iterator[tuple[str, Any, str]]:
    entries, items = node.get("additionalProperties"), node.get("items")
    if "properties" in node:
        yield from _leaves(node, path)
    elif isinstance(entries, dict) and "properties" in entries:
        yield from _leaves(entries, f"{path}.NAME")
    elif isinstance(items, dict) and "properties" in items:
        yield from _leaves(items, f"{path}[]")
    else:
        yield path, node.get("default"), node.get("description", "")


def _spelled(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, list):
        return f"[{', '.join(str(item) for item in default)}]"
    return str(default)


def _mark(path: str) -> str:
    """Say whether a setting has no effect yet (◌), or is refused (✕); only as a whole."""
    general = path.replace(".NAME", ".*").replace("[]", ".*")
    for rule in NOT_YET:
        if general == rule.path or general.startswith(f"{rule.path}."):
            if rule.values:
                return ""
            return " ✕" if rule.refusal else " ◌"
    return ""
