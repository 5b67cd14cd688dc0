"""Reading YAML so that each value knows where it was written.

Scalars stay the text that stands in the file (``1.10`` is a branch, ``on`` is a word); the schema
decides what they are. Only an empty value, ``null`` and ``~`` are None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from app.domain.errors import Mistake

# The compiled parser where PyYAML brings it: its events for 10,000 repositories take 0.16 s
# (2026-11, one core of the build machine).
_Parser: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

COMMAND_LINE = "command line"
KeyPath: TypeAlias = tuple[str | int, ...]

# Choices: nothing that a person would write comes near them, and everything below them is cheap.
_DEEPEST = 50
_MOST_BY_ALIAS = 100_000


@dataclass(frozen=True, slots=True)
class Source:
    """Where values come from: a file's name as people know it, and the folder it lies in."""

    name: str
    folder: Path


class _Mark(NamedTuple):
    """A place as PyYAML counts it, from 0."""

    line: int
    column: int


# Where a key begins: whose, and its line and column, counted from 1.
Place: TypeAlias = tuple[Source, int, int]


@dataclass(slots=True, eq=False)
class Node:
    """One value and where it begins; ``line`` 0 means that it was not written in a file.

    ``keys`` tells of a mapping where the key of each entry begins.
    """

    value: "str | dict[str, Node] | list[Node] | None"
    source: Source
    line: int = 0
    column: int = 0
    keys: dict[str, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Document:
    """What one file holds, and what is wrong in it although it could be read."""

    root: Node
    mistakes: tuple[Mistake, ...] = ()


class Unreadable(Exception):
    """A document that cannot be read at all; ``mistake`` says where and why."""

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(str(mistake))
        self.mistake = mistake


def read_path(file: Path) -> Document:
    """Read one YAML file.

    Raises:
        Unreadable: The file cannot be read as YAML; it says where and why.
    """
    source = Source(str(file), file.absolute().parent)
    return parse(_read_text(file, source), source)


def parse(text: str, source: Source) -> Document:
    """Read YAML text that came from ``source``.

    Raises:
        Unreadable: It is not YAML; the mistake says where and why.
    """
    try:
        parser = _Parser(text)
        composer = _Composer(parser, source)
        return Document(composer.document(), tuple(composer.mistakes))
    except yaml.MarkedYAMLError as error:
        message, mark = _explain(error, text)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _unreadable(message, source, line, column) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        code = error.character if isinstance(error.character, int) else ord(error.character)
        message = f"the character U+{code:04X} is not allowed in YAML"
        raise _unreadable(message, source, line, column) from None


def from_data(data: object, source: Source) -> Node:
    """Make a document of plain values that no file holds, such as a command line's."""
    if isinstance(data, Mapping):
        return Node({str(k): from_data(v, source) for k, v in data.items()}, source)
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return Node([from_data(item, source) for item in data], source)
    if isinstance(data, bool):
        return Node("true" if data else "false", source)
    return Node(None if data is None else str(data), source)


def mistake_at(
    root: Node, path: KeyPath, message: str, *, value: str | None = None, at_key: bool = False
) -> Mistake:
    """Place a mistake: at the value of ``path`` (or at its key), or at what would have held it."""
    node = root
    source, line, column = root.source, root.line, root.column
    for number, step in enumerate(path, start=1):
        child = _child(node, step)
        if child is None:
            break
        is_at_key = not isinstance(child.value, str) or (at_key and number == len(path))
        if is_at_key and step in node.keys:
            source, line, column = node.keys[str(step)]
        else:
            source, line, column = child.source, child.line, child.column
        node = child
    return Mistake(
        path=key_path(path),
        message=message,
        value=value,
        file=source.name,
        line=line or None,
        column=column or None,
    )


def find(root: Node, path: KeyPath) -> Node | None:
    """Return the value at ``path``, or None where nothing was written."""
    node: Node | None = root
    for step in path:
        if node is None:
            return None
        node = _child(node, step)
    return node


def key_path(path: KeyPath) -> str:
    """Write a path as people read it.

    >>> key_path(("repositories", 3, "url"))
    'repositories[3].url'
    """
    return "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in path).removeprefix(".")


def _child(node: Node, step: str | int) -> Node | None:
    if isinstance(node.value, dict):
        return node.value.get(str(step))
    if isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
        return node.value[step]
    return None


class _Composer:
    """Makes a tree of the parser's events, and refuses what a settings file has no need of.

    PyYAML's own composer calls itself for each level, in C: 100,000 brackets end the process.
    """

    def __init__(self, parser: Any, source: Source) -> None:
        self.mistakes: list[Mistake] = []
        self._next = parser.get_event
        self._source = source
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._made = 0
        self._by_alias = 0

    def document(self) -> Node:
        self._next()  # the stream begins
        if isinstance(self._next(), StreamEndEvent):
            return Node(None, self._source, 1, 1)
        root = self._node(self._next(), 0)
        self._next()  # the document ends
        event = self._next()
        if isinstance(event, DocumentStartEvent):
            self._note("one file holds one document; remove this line and what follows", event)
        return root

    def _node(self, event: Any, depth: int) -> Node:
        self._made += 1
        if type(event) is AliasEvent:
            return self._alias(event)
        if event.tag is not None and event.tag != "tag:yaml.org,2002:str":
            self._note_tag(event)
        if depth > _DEEPEST:
            raise self._refusal("this is nested too deeply", event)
        mark, made_before = event.start_mark, self._made
        node = Node(None, self._source, mark.line + 1, mark.column + 1)
        if type(event) is ScalarEvent:
            is_null = event.implicit[0] and event.value in ("", "~", "null", "Null", "NULL")
            node.value = None if is_null else event.value or self._as_meant(event)
        elif type(event) is SequenceStartEvent:
            node.value = self._items(depth)
        else:
            node.value = self._entries(node.keys, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, self._made - made_before)
        return node

    def _alias(self, event: Any) -> Node:
        if event.anchor not in self._anchors:
            name = event.anchor
            self._note(
                f'nothing above is named &{name}; if it is a pattern, write "*{name}"', event
            )
            return Node(f"*{name}", self._source)  # as it was meant, to find no second mistake
        node, size = self._anchors[event.anchor]
        self._made += size
        self._by_alias += size
        if self._by_alias > _MOST_BY_ALIAS:
            raise self._refusal("aliases would make this file too large", event)
        return node

    def _items(self, depth: int) -> list[Node]:
        items = []
        while type(event := self._next()) is not SequenceEndEvent:
            items.append(self._node(event, depth + 1))
        return items

    def _entries(self, keys: dict[str, Place], depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        merged: list[Node] = []
        while type(event := self._next()) is not MappingEndEvent:
            if type(event) is not ScalarEvent:
                self._note("a key must be one word", event)
                self._node(event, depth + 1)
                self._node(self._next(), depth + 1)
                continue
            key = event.value
            child = self._node(self._next(), depth + 1)
            if key == "<<":
                merged.append(child)
            elif key in entries:
                self._note(f"{key} is here twice; the first is on line {keys[key][1]}", event)
            else:
                entries[key] = child
                mark: Any = event.start_mark
                keys[key] = (self._source, mark.line + 1, mark.column + 1)
        for other in merged:
            self._merge(other, entries, keys)
        return entries

    def _merge(self, other: Node, entries: dict[str, Node], keys: dict[str, Place]) -> None:
        """Take over what ``<<`` names; what is written beside it wins."""
        if isinstance(other.value, list):
            for one in other.value:
                self._merge(one, entries, keys)
        elif isinstance(other.value, dict):
            for key in other.value.keys() - entries.keys():
                entries[key] = other.value[key]
                keys[key] = other.keys[key]

    def _as_meant(self, event: Any) -> str:
        """Return an unquoted ``!pattern`` whole, to find no second mistake in it."""
        return event.tag if str(event.tag).startswith("!") else ""

    def _note_tag(self, event: Any) -> None:
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")
        if tag.startswith("!!") or type(event) is not ScalarEvent:
            self._note(f"{tag} is not allowed; write the value alone", event)
        else:
            self._note(f'quote what begins with an exclamation mark: "{tag}"', event)

    def _note(self, message: str, event: Any) -> None:
        self.mistakes.append(self._refusal(message, event).mistake)

    def _refusal(self, message: str, event: Any) -> Unreadable:
        mark = event.start_mark
        return _unreadable(message, self._source, mark.line + 1, mark.column + 1)


def _unreadable(message: str, source: Source, line: int = 0, column: int = 0) -> Unreadable:
    return Unreadable(
        Mistake("", message, file=source.name, line=line or None, column=column or None)
    )


def _read_text(file: Path, source: Source) -> str:
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        raise _unreadable("there is no such file", source) from None
    except OSError as error:
        if file.is_dir():
            raise _unreadable("is a folder; name the file in it", source) from None
        raise _unreadable(f"cannot be read: {error.strerror}", source) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        raise _unreadable("is not UTF-8 text; save it as UTF-8", source, line, column) from None


def _explain(error: yaml.MarkedYAMLError, text: str) -> tuple[str, Any]:
    """Say what the parser met and where, with the remedy where the cause is a common one."""
    problem, context = error.problem or "", error.context or ""
    begun, met = error.context_mark, error.problem_mark
    if "while scanning a quoted scalar" in context:
        return "the quote that begins here is not closed", begun
    if "while parsing a flow node" in context:
        return _explain_missing(text, met)
    if "while parsing a flow" in context:
        bracket = "[" if "sequence" in context else "{"
        return f"the {bracket} that begins here is not closed", begun
    if "alias" in context:
        return 'quote what begins with an asterisk: "*"', begun
    if "scanning a tag" in context:
        return 'quote what begins with an exclamation mark: "!"', begun
    if "cannot start any token" in problem:
        return _explain_character(text, met), met
    if "mapping values are not allowed" in problem:
        return "a colon is not expected here; quote the value, or mend the indentation", met
    if "could not find expected ':'" in problem:
        return "a name without «: value» stands here", begun or met
    if "while parsing a block" in context:
        return "the indentation does not fit what stands above", met
    return "is not YAML: " + " ".join(part for part in (problem, context) if part), met or begun


def _explain_missing(text: str, mark: Any) -> tuple[str, Any]:
    """Tell a list or mapping that never ends from a value that is missing in one."""
    lines = text.splitlines()[: mark.line + 1]
    for number in range(len(lines) - 1, -1, -1):
        end = mark.column if number == mark.line else len(lines[number])
        column = max(lines[number].rfind("[", 0, end), lines[number].rfind("{", 0, end))
        if column >= 0 and not any(line.strip() for line in text.splitlines()[mark.line :]):
            bracket = lines[number][column]
            return f"the {bracket} that begins here is not closed", _Mark(number, column)
    return "a value is missing here", mark


def _explain_character(text: str, mark: Any) -> str:
    lines = text.splitlines()
    character = lines[mark.line][mark.column : mark.column + 1] if mark.line < len(lines) else ""
    if character == "\t":
        return "a tab cannot indent YAML; use spaces"
    return f"quote what begins with {character}"
