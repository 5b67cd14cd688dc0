"""What may be asked: every query and body, checked whole before anything is done."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict, cast

from marshmallow import Schema, ValidationError, fields, validate, validates_schema
from werkzeug.datastructures import MultiDict

from app.domain.delivery import Confirmation, DeliveryState
from app.domain.errors import InputInvalid
from app.domain.event import EventKind, EventState
from app.storage.holds import HoldState

REPOSITORY_STATES = ("new", "ok", "failing", "paused", "retired")
FINISHED = ("dead", "delivered", "cancelled")
CANCELLABLE = ("pending", "waiting", "held")
DEFAULT_LIMIT = 50
LONGEST_LIMIT = 200
LONGEST_TEXT = 1000


def _text(*choices: str) -> fields.String:
    checks: list[Any] = [validate.Length(max=LONGEST_TEXT)]
    if choices:
        checks.append(validate.OneOf(choices, error=f"It must be one of {', '.join(choices)}."))
    return fields.String(validate=checks)


def _moment() -> fields.AwareDateTime:
    return fields.AwareDateTime(format="iso", validate=_check_in_utc)


def _check_in_utc(given: datetime) -> None:
    try:
        given.astimezone(UTC)
    except OverflowError as error:
        raise ValidationError("In UTC it is no date.") from error


class _Paged(Schema):
    """A list, asked for page by page."""

    limit = fields.Integer(
        load_default=DEFAULT_LIMIT,
        validate=validate.Range(
            1, LONGEST_LIMIT, error=f"It must be between 1 and {LONGEST_LIMIT}."
        ),
    )
    cursor = fields.String(validate=validate.Length(max=4000))


class _Repositories(_Paged):
    state = _text(*REPOSITORY_STATES)
    label = _text()
    forge = _text()
    q = _text()


class _Events(_Paged):
    repository = _text()
    ref = _text()
    kind = _text(*EventKind)
    state = _text(*EventState)
    since = _moment()
    until = _moment()
    hold = _text()


class _Deliveries(_Paged):
    state = _text(*DeliveryState)
    receiver = _text()
    repository = _text()
    confirmation = _text(*Confirmation)
    since = _moment()
    until = _moment()


class _Storms(Schema):
    state = _text(*HoldState)


class _Explain(Schema):
    ref = fields.String(required=True, validate=validate.Length(1, LONGEST_TEXT))


class _Redeliver(Schema):
    receivers = fields.List(
        fields.String(validate=validate.Length(1, 100)),
        validate=validate.Length(min=1, error="Name at least one, or leave it out for all."),
    )


class _Chosen(Schema):
    """Which deliveries many of which are meant at once."""

    receiver = _text()
    repository = _text()
    since = _moment()
    until = _moment()

    @validates_schema(pass_original=True)
    def _names_some(self, data: Any, original: Any, **_: Any) -> None:
        if not original:
            raise ValidationError(f"Name at least one of {', '.join(self.fields)}.")


class _ChosenFinished(_Chosen):
    state = _text(*FINISHED)
    confirmation = _text(*Confirmation)


class _ChosenOwed(_Chosen):
    state = _text(*CANCELLABLE)


class _RedeliverMany(_Redeliver):
    filter = fields.Nested(_ChosenFinished, required=True)


class _CancelMany(Schema):
    filter = fields.Nested(_ChosenOwed, required=True)


class Paged(TypedDict, total=False):
    """What every list may be asked; a missing key means any."""

    limit: int
    cursor: str


class RepositoriesQuery(Paged, total=False):
    """Which repositories."""

    state: str
    label: str
    forge: str
    q: str


class EventsQuery(Paged, total=False):
    """Which events."""

    repository: str
    ref: str
    kind: str
    state: str
    since: datetime
    until: datetime
    hold: str


class DeliveriesQuery(Paged, total=False):
    """Which deliveries."""

    state: str
    receiver: str
    repository: str
    confirmation: str
    since: datetime
    until: datetime


class ManyDeliveries(TypedDict, total=False):
    """Which deliveries something is done to at once; a missing key means any."""

    state: str
    receiver: str
    repository: str
    confirmation: str
    since: datetime
    until: datetime


def read_repositories_query(arguments: MultiDict[str, str]) -> RepositoriesQuery:
    """Read which repositories are asked for; raises InputInvalid with every mistake."""
    return cast("RepositoriesQuery", _load_query(_Repositories(), arguments))


def read_events_query(arguments: MultiDict[str, str]) -> EventsQuery:
    """Read which events are asked for; raises InputInvalid with every mistake."""
    return cast("EventsQuery", _load_query(_Events(), arguments))


def read_deliveries_query(arguments: MultiDict[str, str]) -> DeliveriesQuery:
    """Read which deliveries are asked for; raises InputInvalid with every mistake."""
    return cast("DeliveriesQuery", _load_query(_Deliveries(), arguments))


def read_storms_query(arguments: MultiDict[str, str]) -> str | None:
    """Read which storms are asked for, None for all; raises InputInvalid with every mistake."""
    return cast("str | None", _load_query(_Storms(), arguments).get("state"))


def read_paged_query(arguments: MultiDict[str, str]) -> Paged:
    """Read which page is asked for; raises InputInvalid with every mistake."""
    return cast("Paged", _load_query(_Paged(), arguments))


def read_explain_query(arguments: MultiDict[str, str]) -> str:
    """Read which ref is to be explained; raises InputInvalid with every mistake."""
    return cast("str", _load_query(_Explain(), arguments)["ref"])


def read_nothing(arguments: MultiDict[str, str]) -> None:
    """Make sure that nothing is asked; raises InputInvalid naming each parameter."""
    _load_query(Schema(), arguments)


def read_redeliver(body: Any) -> list[str] | None:
    """Read which receivers are to have it again, None for all; raises InputInvalid."""
    return cast("list[str] | None", _load(_Redeliver(), body).get("receivers"))


def read_redeliver_many(body: Any) -> tuple[ManyDeliveries, list[str] | None]:
    """Read what is to be sent again, and to whom instead; raises InputInvalid."""
    loaded = _load(_RedeliverMany(), body)
    return cast("ManyDeliveries", loaded["filter"]), loaded.get("receivers")


def read_cancel_many(body: Any) -> ManyDeliveries:
    """Read what is not to be sent any more; raises InputInvalid."""
    return cast("ManyDeliveries", _load(_CancelMany(), body)["filter"])


def read_empty(body: Any) -> None:
    """Make sure that a body says nothing; raises InputInvalid naming each field."""
    _load(Schema(), body)


def _load_query(schema: Schema, arguments: MultiDict[str, str]) -> dict[str, Any]:
    """Load a query string; what is empty was not asked, as a form's empty fields are."""
    repeated = {
        name: "It is given more than once."
        for name, values in arguments.lists()
        if len(values) > 1 and name in schema.fields
    }
    asked = {name: _mended(name, value) for name, value in arguments.items() if value != ""}
    try:
        loaded = _load(schema, asked)
    except InputInvalid as error:
        raise _invalid(repeated | error.mistakes) from error
    if repeated:
        raise _invalid(repeated)
    return loaded


def _mended(name: str, value: str) -> str:
    """Give a moment its plus sign back, which an unescaped query string turns into a space."""
    if name in {"since", "until"}:
        return re.sub(r" (?=\d\d:?\d\d$)", "+", value)
    return value


def _load(schema: Schema, data: Any) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", schema.load(data))
    except ValidationError as error:
        raise _invalid(_flat(error.messages_dict)) from error


def _flat(messages: Mapping[Any, Any], prefix: str = "") -> dict[str, str]:
    """Name each mistake by its path: ``receivers.0``."""
    flat: dict[str, str] = {}
    for key, value in messages.items():
        path = prefix if key == "_schema" else f"{prefix}.{key}".lstrip(".")
        if isinstance(value, Mapping):
            flat |= _flat(value, path)
        else:
            flat[path or "body"] = " ".join(str(one) for one in value)
    return flat


def _invalid(mistakes: dict[str, str]) -> InputInvalid:
    says = "; ".join(f"{name}: {message}" for name, message in mistakes.items())
    return InputInvalid(says, mistakes=mistakes)
