"""Payloads of one's own: a sandboxed Jinja template for a receiver.

A template is compiled and tried on every sort of event before it is used, so that a mistake is
told by its file and line and not by a dead delivery. What bounds it is there against mistakes; who
writes the template also writes the configuration.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from types import CodeType
from typing import Any, ClassVar, TypeAlias

import jinja2
from jinja2 import meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.delivery.payloads import told
from app.delivery.payloads.addresses import Addresses, addresses
from app.delivery.payloads.samples import SAMPLES
from app.delivery.payloads.spelling import (
    Rendered,
    branch,
    default_branch,
    headers,
    short_sha,
)
from app.domain.delivery import Parcel
from app.domain.details import Commit, commit_to_json, person_to_json
from app.domain.errors import ConfigurationInvalid, Mistake
from app.domain.moments import instant
from app.settings.fields import nearest
from app.settings.types import Receiver

JSON = "application/json"
# Choices: far more than a webhook's body needs.
MOST_BYTES = 1024 * 1024
MOST_STEPS = 100_000

Values: TypeAlias = dict[str, Any]


class TemplateFault(Exception):
    """A template does not do; ``line`` is in its file, None where no single line is to blame."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class Template:
    """How one receiver's deliveries are spelled; safe for many threads.

    Raises:
        TemplateFault: It is not a template, asks for what it is not given, or gives no JSON
            although that is what it is sent as.
    """

    def __init__(self, receiver: Receiver) -> None:
        chosen = {name.lower(): value for name, value in receiver.headers.items()}
        self._content_type = chosen.get("content-type", JSON)
        self._name = str(receiver.template_file or receiver.name)
        self._template = _compiled(receiver.template or "", self._name)
        for sort, parcel in SAMPLES.items():
            self._try(sort, parcel)

    def render(self, parcel: Parcel) -> Rendered:
        """Spell an event; whatever goes wrong is raised."""
        body = self._body(parcel)
        carried = headers(parcel, user_agent="RepoSentry")
        return Rendered(body, {**carried, "Content-Type": self._content_type})

    def _try(self, sort: str, parcel: Parcel) -> None:
        try:
            self._body(parcel)
        except Exception as error:
            remedy = ""
            if isinstance(error, jinja2.UndefinedError):
                remedy = "; mend the name, or write a | default('') behind it"
            raise TemplateFault(
                f"fails for {sort}: {error}{remedy}", _line(error, self._name)
            ) from error

    def _body(self, parcel: Parcel) -> bytes:
        made = b"".join(self._pieces(parcel))
        if _is_json(self._content_type):
            _check_json(made.decode())
        return made

    def _pieces(self, parcel: Parcel) -> Iterator[bytes]:
        left = MOST_BYTES
        for piece in self._template.generate(**values(parcel), range=_counted_range()):
            encoded = piece.encode()
            left -= len(encoded)
            if left < 0:
                raise SecurityError(f"it writes more than {MOST_BYTES} bytes")
            yield encoded


def compile_all(receivers: Mapping[str, Receiver]) -> dict[str, Template]:
    """Compile and try the template of every receiver that has one.

    Raises:
        ConfigurationInvalid: Some do not do; says of each where and why.
    """
    made: dict[str, Template] = {}
    mistakes = []
    for name, receiver in receivers.items():
        if receiver.template is None:
            continue
        try:
            made[name] = Template(receiver)
        except TemplateFault as fault:
            mistakes.append(
                Mistake(
                    path=f"receivers.{name}.template",
                    message=str(fault),
                    file=str(receiver.template_file) if receiver.template_file else None,
                    line=fault.line,
                )
            )
    if mistakes:
        raise ConfigurationInvalid(mistakes)
    return made


def values(parcel: Parcel) -> Values:
    """Return what a template is given: the names of the ``standard`` body, and nothing missing.

    What the forge did not tell is filled in as in ``github``, so that no template fails for it.
    """
    where = addresses(parcel.repository_url, forge=parcel.repository_forge)
    is_told = bool(parcel.details and parcel.details.commits)
    return {
        "event": _event(parcel),
        "repository": _repository(parcel, where),
        "branch": {**branch(parcel), "ref": parcel.event.ref},
        "commit": _commit(told.head(parcel), where),
        "commits": [_commit(one, where) for one in told.commits(parcel)] if is_told else [],
        "commits_count": told.commits_count(parcel),
        "pusher": person_to_json(told.pusher(parcel) or told.NOBODY),
        "short_sha": short_sha(parcel),
        "delivery": parcel.delivery_id,
        "receiver": parcel.receiver,
        "labels": _Labels(parcel.labels),
    }


class _Labels(dict[str, str]):
    """A repository's labels; one that it does not have is empty."""

    def __missing__(self, name: str) -> str:
        return ""


def _event(parcel: Parcel) -> Values:
    event, pushed_at = parcel.event, told.pushed_at(parcel)
    return {
        "id": event.id,
        "sequence": event.sequence,
        "kind": event.kind.value,
        "change": event.kind.change,
        "ref": event.ref,
        "before": event.before,
        "after": event.after,
        "forced": told.is_forced(parcel),
        "pushed_at": instant(pushed_at) if pushed_at else None,
        "detected_at": instant(event.detected_at),
        "catch_up": event.catch_up,
    }


def _commit(commit: Commit, where: Addresses) -> Values:
    """Spell a commit; lists of files are empty where they are not known."""
    return {
        **commit_to_json(commit),
        "url": commit.url or where.commit(commit.id),
        "added": list(commit.added or ()),
        "modified": list(commit.modified or ()),
        "removed": list(commit.removed or ()),
    }


def _repository(parcel: Parcel, where: Addresses) -> Values:
    return {
        "name": parcel.repository_name,
        "url": parcel.repository_url,
        "forge": parcel.repository_forge,
        "owner": where.owner,
        "full_name": where.full_name,
        "html_url": where.html,
        "clone_url": where.clone,
        "ssh_url": where.ssh,
        "default_branch": default_branch(parcel),
    }


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja without a way out, without chance, and with an end to what it multiplies."""

    intercepted_binops: ClassVar[frozenset[str]] = frozenset({"*", "**"})  # type: ignore[misc]

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse what would only fill the memory."""
        factors = (left, right)
        is_numbers = all(isinstance(factor, int | float) for factor in factors)
        if not is_numbers:
            size = max((len(f) for f in factors if isinstance(f, str | list | tuple)), default=0)
            times = max((f for f in factors if isinstance(f, int)), default=0)
            if size * times > MOST_BYTES:
                raise SecurityError(f"it makes a value longer than {MOST_BYTES}")
        elif operator == "**" and max(abs(factor) for factor in factors) > MOST_STEPS:
            raise SecurityError("the power is too large")
        return super().call_binop(context, operator, left, right)


def _counted_range() -> Callable[..., range]:
    """Return a ``range`` whose uses in one rendering all together come to an end."""
    left = MOST_STEPS

    def counted(*bounds: int) -> range:
        nonlocal left
        steps = range(*bounds)
        left -= len(steps)
        if left < 0:
            raise SecurityError(f"its loops take more than {MOST_STEPS} steps")
        return steps

    return counted


def _tojson(value: Any, indent: int | None = None) -> str:
    """Write JSON in ASCII; unlike Jinja's own, for JSON and not for HTML."""

    def refuse(inner: Any) -> Any:
        if isinstance(inner, jinja2.Undefined):
            str(inner)  # raises, and says which
        raise TypeError(f"{type(inner).__name__} cannot be written as JSON")

    return json.dumps(value, indent=indent, allow_nan=False, default=refuse)


def _environment() -> _Sandbox:
    environment = _Sandbox(undefined=jinja2.StrictUndefined, autoescape=False)
    environment.filters["tojson"] = _tojson
    # The same parcel always gives the same bytes.
    del environment.filters["random"]
    del environment.globals["lipsum"]
    return environment


_ENVIRONMENT = _environment()
# What would read another file.
_READS_ANOTHER = (nodes.Extends, nodes.FromImport, nodes.Import, nodes.Include)


def _compiled(text: str, name: str) -> jinja2.Template:
    try:
        tree = _ENVIRONMENT.parse(text, name, name)
        _check_alone(tree)
        _check_names(tree)
        code: CodeType = _ENVIRONMENT.compile(tree, name, name)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateFault(f"is no Jinja template: {error.message}", error.lineno) from error
    return jinja2.Template.from_code(_ENVIRONMENT, code, dict(_ENVIRONMENT.globals))


def _check_alone(tree: nodes.Template) -> None:
    for found in tree.find_all(_READS_ANOTHER):
        message = "cannot extend, include or import another file; write all of it in this one"
        raise TemplateFault(message, found.lineno)


def _check_names(tree: nodes.Template) -> None:
    """Find names that no template is given, also where no sample leads."""
    given = [*values(next(iter(SAMPLES.values()))), *_ENVIRONMENT.globals]
    unknown = meta.find_undeclared_variables(tree) - set(given)
    for found in tree.find_all(nodes.Name):
        if found.name in unknown:
            meant = nearest(found.name, given) or f"; there are {', '.join(sorted(given))}"
            raise TemplateFault(f"there is no «{found.name}»{meant}", found.lineno)


def _is_json(content_type: str) -> bool:
    """Tell whether a content type promises JSON.

    >>> _is_json("application/vnd.acme+json; charset=utf-8"), _is_json("text/plain")
    (True, False)
    """
    essence = content_type.partition(";")[0].strip().lower()
    return essence.endswith(("/json", "+json"))


def _check_json(text: str) -> None:
    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON")

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError as error:
        raise ValueError(
            f"what it writes is no JSON ({error}); write each value as {{{{ value | tojson }}}}, or"
            " say what it is by a Content-Type among the receiver's headers"
        ) from error


def _line(error: BaseException, name: str) -> int | None:
    """Return the template's line that raised an error."""
    line = error.lineno if isinstance(error, jinja2.TemplateSyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == name:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
