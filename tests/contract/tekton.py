"""What Tekton Triggers makes of a request, as far as ``config/deploy/tekton`` asks it to.

The rules are those of Tekton's own code: a binding whose path is missing creates nothing, values
are put into the template as JSON text, a CEL expression that cannot be evaluated stops the trigger.
Interceptors that check a signature are not modelled; the real programs do that.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).parents[2] / "config" / "deploy" / "tekton"

# A comparison as our filters have it: a value, and either a method or a literal it equals.
TERM = re.compile(
    r"(?P<negated>!)?"
    r"(?:header\.canonical\('(?P<header>[^']+)'\)|body\.(?P<path>[\w.]+?))"
    r"(?:\.(?P<method>startsWith|endsWith)\('(?P<text>[^']*)'\)| == (?P<literal>true|false))"
)


class NothingCreated(Exception):
    """Tekton answers 202 all the same; the reason stands in the EventListener's log alone."""


@dataclass(frozen=True)
class Request:
    """What arrives at an EventListener."""

    headers: Mapping[str, str]
    body: Mapping[str, Any]

    def header(self, name: str) -> str | None:
        """Return a header's value, whatever the capitals."""
        return {key.lower(): value for key, value in self.headers.items()}.get(name.lower())


@cache
def documents(path: Path) -> list[dict[str, Any]]:
    """Read the objects of one manifest; nobody changes them."""
    return [found for found in yaml.safe_load_all(path.read_text("utf-8")) if found]


def objects(payload: str) -> list[dict[str, Any]]:
    """List all that is applied for one payload, in the order of its files."""
    return list(_kustomized(MANIFESTS / payload))


def _kustomized(folder: Path) -> Iterator[dict[str, Any]]:
    (listing,) = documents(folder / "kustomization.yaml")
    for entry in listing["resources"]:
        path = folder / entry
        if path.is_dir():
            yield from _kustomized(path)
        else:
            yield from documents(path)


def named(payload: str, kind: str, name: str) -> dict[str, Any]:
    """Return the one object of a kind and name."""
    (found,) = (
        each
        for each in objects(payload)
        if (each["kind"], each["metadata"]["name"]) == (kind, name)
    )
    return found


def trigger(payload: str) -> dict[str, Any]:
    """Return the one trigger of the payload's EventListener."""
    (listener,) = (each for each in objects(payload) if each["kind"] == "EventListener")
    (only,) = listener["spec"]["triggers"]
    return dict(only)


def filters(payload: str) -> list[str]:
    """List the CEL expressions that a request must satisfy."""
    return [
        parameter["value"]
        for interceptor in trigger(payload)["interceptors"]
        for parameter in interceptor["params"]
        if parameter["name"] == "filter"
    ]


def create(payload: str, request: Request) -> dict[str, Any]:
    """Return the object that is created for a request.

    Raises:
        NothingCreated: The request is filtered out, or a binding finds nothing.
    """
    for expression in filters(payload):
        if not satisfies(expression, request):
            raise NothingCreated(f"filtered out by {expression}")
    template = named(payload, "TriggerTemplate", trigger(payload)["template"]["ref"])
    (resource,) = template["spec"]["resourcetemplates"]
    text = json.dumps(resource)
    for name, value in parameters(payload, request).items():
        text = text.replace(f"$(tt.params.{name})", json.dumps(value)[1:-1])
    made: dict[str, Any] = json.loads(text)
    return made


def parameters(payload: str, request: Request) -> dict[str, str]:
    """Return what the bindings find."""
    return {
        parameter["name"]: re.sub(
            r"\$\(([^)]+)\)", lambda found: resolve(found[1], request), parameter["value"]
        )
        for binding in trigger(payload)["bindings"]
        for parameter in named(payload, "TriggerBinding", binding["ref"])["spec"]["params"]
    }


def resolve(path: str, request: Request) -> str:
    """Return what a binding's path leads to, as text.

    Raises:
        NothingCreated: There is nothing; or null, which Tekton would write as the word «null».
    """
    root, _, rest = path.partition(".")
    if root == "header":
        value: Any = request.header(rest)
    elif root == "body":
        value = _reach(request.body, rest)
    else:
        raise ValueError(f"$({path}) is not modelled")
    if value is None:
        raise NothingCreated(f"{path} is not found")
    return value if isinstance(value, str) else json.dumps(value)


def satisfies(expression: str, request: Request) -> bool:
    """Evaluate a CEL filter of the few shapes that ours have.

    Raises:
        NothingCreated: It reads what is not there.
        ValueError: It has another shape, which this must learn first.
    """
    return all(_term(term.strip(), request) for term in expression.split(" && "))


def _term(term: str, request: Request) -> bool:
    read = TERM.fullmatch(term)
    if read is None:
        raise ValueError(f"the filter «{term}» is not modelled")
    if read["header"]:
        value: Any = request.header(read["header"]) or ""
    else:
        value = _reach(request.body, read["path"])
    if read["literal"]:
        holds = value is (read["literal"] == "true")
    elif not isinstance(value, str):
        raise NothingCreated(f"{term}: no such overload")
    else:
        ask = value.startswith if read["method"] == "startsWith" else value.endswith
        holds = ask(read["text"])
    return holds is not bool(read["negated"])


def _reach(body: Mapping[str, Any], path: str) -> Any:
    value: Any = body
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise NothingCreated(f"body.{path} is not found")
        value = value[key]
    return value
