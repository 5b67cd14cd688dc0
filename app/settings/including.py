"""Reading a configuration file together with the files that it includes."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.domain.errors import Mistake
from app.settings.document import Node, Unreadable, mistake_at, read_path
from app.settings.expand import expand

# What may be spread over several files.
_SHARED = ("forges", "receivers", "repositories")


class Reading:
    """One configuration file and all that it includes, as one document.

    Raises:
        Unreadable: The file itself cannot be read; an included one is a mistake like others.
    """

    def __init__(self, file: Path, environ: Mapping[str, str]) -> None:
        document = read_path(file)
        self.root = document.root
        self.files = [file]
        self.mistakes = list(document.mistakes)
        if isinstance(self.root.value, dict):
            for pattern in self._patterns(environ):
                self._include(pattern, file)

    def _patterns(self, environ: Mapping[str, str]) -> Iterator[Node]:
        written = isinstance(self.root.value, dict) and self.root.value.get("include")
        if not isinstance(written, Node) or not isinstance(written.value, list):
            return
        for node in written.value:
            if isinstance(node.value, str):
                try:
                    filled = expand(node.value, environ)
                except ValueError:
                    continue  # said where all values are filled in
                yield Node(filled, node.source, node.line, node.column)

    def _include(self, pattern: Node, main: Path) -> None:
        text = str(pattern.value)
        found = list(_matches(pattern.source.folder, text))
        if not found and not re.search(r"[*?\[]", text):
            self._note(pattern, f"{text}: there is no such file")
        for file in found:
            is_here = any(file.absolute() == known.absolute() for known in (main, *self.files))
            if not is_here:
                self._read(file)

    def _read(self, file: Path) -> None:
        self.files.append(file)
        try:
            document = read_path(file)
        except Unreadable as error:
            self.mistakes.append(error.mistake)
            return
        self.mistakes += document.mistakes
        other = document.root
        if isinstance(other.value, dict):
            for key in other.value:
                self._take(key, other)
        elif other.value is not None:
            self._note(other, f"must hold {', '.join(_SHARED)}")

    def _take(self, key: str, other: Node) -> None:
        """Add what an included file says under one key to what the others said."""
        if not isinstance(self.root.value, dict) or not isinstance(other.value, dict):
            return
        theirs = other.value[key]
        ours = self.root.value.get(key)
        if key not in _SHARED:
            message = f"cannot stand in an included file, only {', '.join(_SHARED)} can"
            self.mistakes.append(mistake_at(other, (key,), message, at_key=True))
        elif ours is None or ours.value is None:
            self.root.value[key] = theirs
            self.root.keys[key] = other.keys[key]
        elif isinstance(ours.value, list) and isinstance(theirs.value, list):
            ours.value += theirs.value
        elif isinstance(ours.value, dict) and isinstance(theirs.value, dict):
            self._merge(key, ours, theirs)
        elif theirs.value is not None:
            kind = "list" if isinstance(ours.value, list) else "mapping"
            self.mistakes.append(mistake_at(other, (key,), f"must be a {kind}, as in the others"))

    def _merge(self, key: str, ours: Node, theirs: Node) -> None:
        if not isinstance(ours.value, dict) or not isinstance(theirs.value, dict):
            return
        for name, node in theirs.value.items():
            source, line, column = theirs.keys[name]
            if name in ours.value:
                first, first_line, _ = ours.keys[name]
                message = f"{name} is here twice; the first is at {first.name}:{first_line}"
                path = f"{key}.{name}"
                self.mistakes.append(Mistake(path, message, None, source.name, line, column))
            else:
                ours.value[name] = node
                ours.keys[name] = theirs.keys[name]

    def _note(self, node: Node, message: str) -> None:
        place = node.source.name, node.line or None, node.column or None
        self.mistakes.append(Mistake("include", message, None, *place))


def _matches(folder: Path, pattern: str) -> Iterator[Path]:
    """List the files that a path or glob names, sorted; hidden ones are an editor's, not ours."""
    path = Path(pattern)
    start = Path(path.anchor) if path.is_absolute() else folder
    relative = str(path.relative_to(path.anchor)) if path.is_absolute() else pattern
    for file in sorted(start.glob(relative)):
        if not file.name.startswith(".") and file.is_file():
            yield file
