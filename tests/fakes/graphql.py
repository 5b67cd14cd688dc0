"""As much of GraphQL as questions about repositories need: reading a query and carrying it out.

Queries only, with variables, aliases, fragments and inline fragments; no directives. What each
type can be asked is for the caller to say.
"""

import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

TOKEN = re.compile(
    r"""[\s,]+|\#[^\n]*|(\.\.\.|[{}()\[\]:!=$@|]|"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|[A-Za-z_]\w*)"""
)


class Refused(Exception):
    """A query that cannot be carried out at all; says why."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A value that comes with the query."""

    name: str


@dataclass(slots=True, eq=False)
class Selection:
    """One field that is asked for; or, with a ``kind``, those of one type or of a fragment."""

    name: str
    alias: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    inner: "list[Selection]" = field(default_factory=list)
    kind: str = ""  # "on" for an inline fragment, "spread" for a named one


@dataclass(slots=True, eq=False)
class Query:
    """A query, taken apart; ``is_deep`` tells that variables are used below its first fields."""

    selections: list[Selection]
    fragments: dict[str, list[Selection]]
    variables: dict[str, Any]  # by name: what it is unless it is given
    is_deep: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A thing of a type, which must be asked on; the same ``key`` tells the same thing of it."""

    kind: str
    value: Any
    key: Hashable = None


class Reader:
    """Takes a query apart."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0

    def read(self) -> Query:
        """Read the one query and its fragments."""
        query = Query([], {}, {})
        while self._at < len(self._tokens):
            word = self._peek()
            if word == "fragment":
                self._take()
                name = self._take()
                self._expect("on")
                self._take()
                query.fragments[name] = self._selections()
                continue
            if word == "query":
                self._take()
                if self._peek() not in {"{", "("}:
                    self._take()
                if self._peek() == "(":
                    query.variables = self._declared()
            elif word != "{":
                raise Refused(f"Expected one of QUERY, FRAGMENT, actual: {word}")
            query.selections = self._selections()
        return query

    def _declared(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._expect("(")
        while self._peek() != ")":
            self._expect("$")
            name = self._take()
            self._expect(":")
            while self._peek() not in {"$", ")", "="}:
                self._take()
            found[name] = None
            if self._peek() == "=":
                self._take()
                found[name] = self._value()
        self._expect(")")
        return found

    def _selections(self) -> list[Selection]:
        found = []
        self._expect("{")
        while self._peek() != "}":
            found.append(self._selection())
        self._expect("}")
        return found

    def _selection(self) -> Selection:
        name = self._take()
        if name == "...":
            if self._peek() == "on":
                self._take()
                return Selection(self._take(), inner=self._selections(), kind="on")
            return Selection(self._take(), kind="spread")
        alias = name
        if self._peek() == ":":
            self._take()
            name = self._take()
        made = Selection(name, alias)
        if self._peek() == "(":
            self._take()
            while self._peek() != ")":
                key = self._take()
                self._expect(":")
                made.arguments[key] = self._value()
            self._expect(")")
        if self._peek() == "{":
            made.inner = self._selections()
        return made

    def _value(self) -> Any:
        word = self._take()
        if word == "$":
            return Variable(self._take())
        if word == "[":
            items = []
            while self._peek() != "]":
                items.append(self._value())
            self._expect("]")
            return items
        if word.startswith('"'):
            return word[1:-1].replace('\\"', '"').replace("\\\\", "\\")
        constants = {"true": True, "false": False, "null": None}
        if word in constants:
            return constants[word]
        return int(word) if word.lstrip("-").isdigit() else word

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        word = self._peek()
        if not word:
            raise Refused("Unexpected end of document")
        self._at += 1
        return word

    def _expect(self, word: str) -> None:
        found = self._take()
        if found != word:
            raise Refused(f"Expected {word!r}, actual: {found!r}")


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise Refused(f"Parse error on {text[at : at + 10]!r}")
        at = match.end()
        if match[1]:
            yield match[1]


@lru_cache(maxsize=256)
def read(text: str) -> Query:
    """Take a query apart; the same text gives the same thing.

    Raises:
        Refused: It is none.
    """
    query = Reader(text).read()
    inner = [below for selection in query.selections for below in selection.inner]
    inner += [one for fragment in query.fragments.values() for one in fragment]
    query.is_deep = any(map(_uses_variables, inner))
    return query


def _uses_variables(selection: Selection) -> bool:
    used = any(isinstance(value, Variable) for value in selection.arguments.values())
    return used or any(map(_uses_variables, selection.inner))


Resolve = Callable[[Any, Mapping[str, Any]], Any]


Known = dict[tuple[Selection, Hashable], tuple[dict[str, Any], int, int]]
MOST_KNOWN = 50_000  # a choice: the parts of answers that are kept for the next time


class Execution:
    """One carrying out of a query against ``types``: what each can be asked, by name.

    ``known`` keeps what was told of nodes with a key, for the next time. ``errors`` are those of
    single parts, which are then null. ``connections`` and ``nodes`` count what GitHub's cost is
    made of.
    """

    def __init__(
        self,
        query: Query,
        variables: Mapping[str, Any],
        types: Mapping[str, Mapping[str, Resolve]],
        known: Known | None = None,
    ) -> None:
        self._known_parts: Known = {} if known is None else known
        self._query = query
        self._variables = {**query.variables, **variables}
        self._types = types
        self.errors: list[dict[str, Any]] = []
        self.connections = 0
        self.nodes = 0

    def run(self, root: Node) -> dict[str, Any]:
        """Return the data."""
        return self._select(root, self._query.selections, [])

    def _select(
        self, node: Node, selections: list[Selection], path: list[str | int]
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for selection in selections:
            if selection.kind == "spread":
                inner = self._query.fragments.get(selection.name)
                if inner is None:
                    raise Refused(f"Fragment {selection.name} was used, but not defined")
                found |= self._select(node, inner, path)
            elif selection.kind == "on":
                if selection.name == node.kind:
                    found |= self._select(node, selection.inner, path)
            else:
                found[selection.alias] = self._field(node, selection, path)
        return found

    def _field(self, node: Node, selection: Selection, path: list[str | int]) -> Any:
        if selection.name == "__typename":
            return node.kind
        resolve = self._types[node.kind].get(selection.name)
        if resolve is None:
            raise Refused(f"Field '{selection.name}' doesn't exist on type '{node.kind}'")
        arguments = {name: self._known(value) for name, value in selection.arguments.items()}
        here = [*path, selection.alias]
        if "first" in arguments or "last" in arguments:
            self.connections += 1
            self.nodes += int(arguments.get("first") or arguments.get("last") or 0)
        value = resolve(node.value, arguments)
        if isinstance(value, dict) and "type" in value and "message" in value:
            self.errors.append({**value, "path": here})
            return None
        return self._whole(value, selection, here)

    def _whole(self, value: Any, selection: Selection, path: list[str | int]) -> Any:
        if isinstance(value, Node):
            if not selection.inner:
                raise Refused(f"Field must have selections (field '{selection.name}')")
            return self._remembered(value, selection, path)
        if isinstance(value, list):
            return [self._whole(one, selection, [*path, n]) for n, one in enumerate(value)]
        return value

    def _remembered(
        self, node: Node, selection: Selection, path: list[str | int]
    ) -> dict[str, Any]:
        if node.key is None or self._query.is_deep:
            return self._select(node, selection.inner, path)
        key = (selection, node.key)
        if key not in self._known_parts:
            before = (self.connections, self.nodes)
            found = self._select(node, selection.inner, path)
            if len(self._known_parts) >= MOST_KNOWN:
                self._known_parts.clear()
            counts = (self.connections - before[0], self.nodes - before[1])
            self._known_parts[key] = (found, *counts)
            return found
        found, connections, nodes = self._known_parts[key]
        self.connections += connections
        self.nodes += nodes
        return found

    def _known(self, value: Any) -> Any:
        if isinstance(value, Variable):
            if value.name not in self._variables:
                raise Refused(f"Variable ${value.name} is used but not declared")
            return self._variables[value.name]
        return [self._known(one) for one in value] if isinstance(value, list) else value
