"""Settings in the file's own shape, words and units; secrets are masked."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

from marshmallow import Schema, fields

from app.domain.secret import MASK, Secret
from app.settings import schema, types
from app.settings.fields import Inner, Keyed, Many, Scalar

_ABSENT: Final = object()
_PASSWORD: Final = re.compile(r"://[^:/@]*:(.*)@")


def masked(settings: types.Settings) -> dict[str, Any]:
    """Return the effective configuration as plain dicts, lists and scalars.

    Everything is resolved: a repository names its receivers and interval, a forge its API. Loaded
    again it gives the same settings but for the secrets, which are six dots here.
    """
    return {
        "server": _written(schema.ServerSection(), settings.server),
        "storage": _written(schema.StorageSection(), settings.storage),
        "polling": _written(schema.PollingSection(), settings.polling),
        "forges": _forges(settings.forges.values()),
        "receivers": _receivers(settings.receivers),
        "defaults": _written(schema.DefaultsSection(), settings.defaults),
        "repositories": _many(schema.RepositorySection(), settings.repositories),
        "discover": _many(schema.DiscoverySection(), settings.discover),
        "security": _security(settings.security),
        "logging": _written(schema.LoggingSection(), settings.logging),
        "alerts": _written(schema.AlertsSection(), settings.alerts),
    }


def standard_of(section: Schema, field: fields.Field[Any]) -> Any:
    """Return what stands in a file for a setting's default; None where there is none."""
    value = _held(getattr(section, "standard", None), field)
    return None if value is _ABSENT else _spelled(field, value)


def secrets_of(settings: types.Settings) -> Iterator[Secret]:
    """List every secret, so that logs can be kept clear of them."""
    password = _PASSWORD.search(settings.storage.url.reveal())
    if password:
        yield from (settings.storage.url, Secret(unquote(password[1])))
    for forge in settings.forges.values():
        yield from forge.tokens
        if forge.app:
            yield forge.app.key
    for receiver in settings.receivers.values():
        yield from filter(None, (receiver.secret, receiver.previous_secret))
    for repository in settings.repositories:
        if repository.credentials:
            user, secret = repository.credentials
            yield secret or Secret(user)
    yield from settings.security.encryption_keys
    yield from (channel.url for channel in settings.alerts.channels)
    yield from filter(None, (settings.security.metrics_token, settings.alerts.heartbeat_url))


def _written(section: Schema, owner: object) -> dict[str, Any]:
    held = {name: (field, _held(owner, field)) for name, field in section.fields.items()}
    return {
        name: _spelled(field, value)
        for name, (field, value) in held.items()
        if value is not _ABSENT
    }


def _held(owner: object, field: Any) -> Any:
    """Return a setting's value; absent is what only a file has, such as ``token_file``."""
    try:
        return field.read(owner)
    except AttributeError:
        return _ABSENT


def _spelled(field: fields.Field[Any], value: Any) -> Any:
    if value is None:
        return None
    if isinstance(field, Scalar):
        return field.write(value)
    if isinstance(field, Inner):
        return _written(field.schema, value)
    if isinstance(field, Many):
        return [_spelled(field.inner, item) for item in value]
    if isinstance(field, Keyed) and field.value_field:
        return {key: _spelled(field.value_field, item) for key, item in value.items()}
    return None


def _many(section: Schema, owners: Iterable[object]) -> list[dict[str, Any]]:
    return [_written(section, owner) for owner in owners]


def _forges(forges: Iterable[types.Forge]) -> dict[str, Any]:
    """Write all but plain git, which no file can name; one token is written as a token."""
    section = schema.ForgeSection()
    written: dict[str, Any] = {}
    for forge in forges:
        if not forge.url:
            continue
        entry = _written(section, forge)
        if len(forge.tokens) <= 1:
            entry.pop("tokens")
            entry["token"] = MASK if forge.tokens else None
        written[forge.name] = entry
    return written


def _receivers(receivers: Mapping[str, types.Receiver]) -> dict[str, Any]:
    """Write them; what a URL says after its question mark is often a token, so it is masked."""
    section = schema.ReceiverSection()
    written = {name: _written(section, receiver) for name, receiver in receivers.items()}
    for entry in written.values():
        entry["url"] = re.sub(r"(?<=[?&])([^=&]*)=[^&]*", rf"\1={MASK}", entry["url"])
    return written


def _security(security: types.Security) -> dict[str, Any]:
    written = _written(schema.SecuritySection(), security)
    return {**written, "encryption_key": MASK if security.encryption_keys else None}
