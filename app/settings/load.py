"""The way from a file to settings: read, fill in, check everything, and only then make them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.domain.errors import ConfigurationInvalid, Mistake
from app.settings import not_yet
from app.settings.checks import check
from app.settings.document import (
    COMMAND_LINE,
    KeyPath,
    Node,
    Source,
    Unreadable,
    find,
    from_data,
    key_path,
    mistake_at,
)
from app.settings.expand import Expansion
from app.settings.fields import shown
from app.settings.including import Reading
from app.settings.reading import Fault, read
from app.settings.resolve import resolve
from app.settings.types import Settings


def load(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    listen: str | None = None,
    database: str | None = None,
) -> Settings:
    """Read a configuration file and all that it includes.

    Args:
        path: The file; None for the defaults alone.
        environ: What ``${NAME}`` refers to; nothing else here reads the environment.
        listen: ``HOST:PORT`` over the file's ``server.listen``.
        database: A URL over the file's ``storage.url``.

    Raises:
        ConfigurationInvalid: It cannot be used; carries every mistake, in the order of the file.
    """
    if path is None:
        return from_mapping({}, environ, listen=listen, database=database)
    try:
        reading = Reading(path, environ)
    except Unreadable as error:
        others = _mistakes_of(environ, listen=listen, database=database)
        raise ConfigurationInvalid([error.mistake, *others]) from None
    if not isinstance(reading.root.value, dict):
        raise ConfigurationInvalid([*reading.mistakes, _not_a_configuration(reading.root)])
    _override(reading.root, listen=listen, database=database)
    return _settings(reading.root, environ, files=reading.files, mistakes=reading.mistakes)


def from_mapping(
    data: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    listen: str | None = None,
    database: str | None = None,
) -> Settings:
    """Make settings without a file, of what a file would hold; see ``load``.

    Values are checked and filled in as a file's are, so ``$`` in a text that is meant as it stands
    must be doubled. Relative paths start where we are; mistakes are told of the command line.
    """
    root = from_data(data, _command_line())
    _override(root, listen=listen, database=database)
    return _settings(root, environ, files=(), mistakes=())


def _settings(
    root: Node, environ: Mapping[str, str], *, files: Sequence[Path], mistakes: Iterable[Mistake]
) -> Settings:
    expansion = Expansion(environ)
    data = expansion.data(root)
    # A place of the file's own for what its anchors share, as in Compose files.
    values, wrong = read({key: value for key, value in data.items() if key[:2] != "x-"})
    faults = [Fault(path, message) for path, message in expansion.faults.items()]
    faults += (fault for fault in wrong if fault.path not in expansion.faults)
    known = {fault.path for fault in faults}
    said = check(values, lambda path: _where(root, path))
    faults += (fault for fault in said if fault.path not in known)
    faults += not_yet.refused(values)
    found = [*mistakes, *(_place(root, fault) for fault in faults)]
    if found:
        raise ConfigurationInvalid(_in_order(found, files))
    warnings = [_place(root, fault) for fault in not_yet.without_effect(values)]
    return resolve(values, files=files, warnings=_in_order(warnings, files))


def _mistakes_of(
    environ: Mapping[str, str], *, listen: str | None, database: str | None
) -> tuple[Mistake, ...]:
    """Return what is wrong on the command line, where the file says nothing at all."""
    try:
        from_mapping({}, environ, listen=listen, database=database)
    except ConfigurationInvalid as error:
        return error.mistakes
    return ()


def _override(root: Node, *, listen: str | None, database: str | None) -> None:
    """Put what the command line says over what the file does; it is meant as it stands."""
    for section, key, text in (("server", "listen", listen), ("storage", "url", database)):
        if text is None or not isinstance(root.value, dict):
            continue
        holder = root.value.get(section)
        if holder is None or holder.value is None:
            holder = root.value[section] = Node({}, _command_line())
        if isinstance(holder.value, dict):
            holder.value.pop(f"{key}_file", None)
            holder.value[key] = Node(text.replace("$", "$$"), _command_line())


def _command_line() -> Source:
    return Source(COMMAND_LINE, Path.cwd())


def _place(root: Node, fault: Fault) -> Mistake:
    node = find(root, fault.path)
    text = node.value if node is not None and not fault.is_secret else None
    value = shown(text) if isinstance(text, str) else None
    return mistake_at(root, fault.path, fault.message, value=value, at_key=fault.at_key)


def _where(root: Node, path: KeyPath) -> str:
    mistake = mistake_at(root, path, "")
    return f"{mistake.file}:{mistake.line}" if mistake.line else key_path(path)


def _in_order(mistakes: Iterable[Mistake], files: Sequence[Path]) -> list[Mistake]:
    names = [str(file) for file in files]

    def place(mistake: Mistake) -> tuple[int, int, int]:
        number = names.index(mistake.file) if mistake.file in names else -1
        return number, mistake.line or 0, mistake.column or 0

    return sorted(mistakes, key=place)


def _not_a_configuration(root: Node) -> Mistake:
    if root.value is None:
        message = "is empty; «reposentry config show --defaults» prints what may stand in it"
    else:
        message = "must hold settings, each on a line of its own as «name: value»"
    return mistake_at(root, (), message)
