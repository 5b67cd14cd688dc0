"""Making settings of finished values: defaults filled in, forges and receivers found."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from app.domain.delivery import RetryPolicy
from app.domain.errors import Mistake
from app.domain.paths import PathFilter
from app.domain.refs import RefFilter
from app.domain.repository import AZURE_SSH_HOSTS, Remote, Repository
from app.domain.secret import Secret
from app.settings import types
from app.settings.schema import KINDS

# Known without an entry.
PUBLIC = {
    "github": "https://github.com",
    "gitlab": "https://gitlab.com",
    "bitbucket": "https://bitbucket.org",
    "azure": "https://dev.azure.com",
}
# Two of them have their API on a host of its own, the others below their URL.
_PUBLIC_APIS = {
    "https://github.com": "https://api.github.com",
    "https://bitbucket.org": "https://api.bitbucket.org/2.0",
}
_API_PATHS = {
    "github": "/api/v3",
    "gitlab": "/api/v4",
    "gitea": "/api/v1",
    "gogs": "/api/v1",
    "bitbucket": "/2.0",
    "bitbucket-server": "/rest/api/1.0",
    "azure": "",
}
# Hosts that are only for ssh, and the forge's own.
_SSH_HOSTS = {
    "ssh.github.com": "github.com",
    "altssh.gitlab.com": "gitlab.com",
    "altssh.bitbucket.org": "bitbucket.org",
    "ssh.dev.azure.com": "dev.azure.com",
}
# Their URLs for cloning name who clones, or the organisation; that is no token.
_NAME_WITHOUT_PASSWORD = frozenset({"azure", "bitbucket", "bitbucket-server"})

# What serves every repository that no other forge does.
PLAIN_GIT = types.Forge(name="git", kind="git", url="", api_url=None)


def resolve(
    values: Mapping[str, Any], *, files: Iterable[Path], warnings: Iterable[Mistake]
) -> types.Settings:
    """Make the settings of values that have no faults."""
    server = _written(values.get("server"))
    host, port = server.pop("listen", (types.Server().host, types.Server().port))
    polling = types.Polling(**_written(values.get("polling")))
    forges = forges_of(values.get("forges") or {})
    receivers = {
        name: _receiver(name, entry) for name, entry in (values.get("receivers") or {}).items()
    }
    defaults = types.Defaults(**_written(values.get("defaults")))
    chosen = _Choices(polling, defaults, tuple(receivers), ForgeFinder(forges.values()))
    return types.Settings(
        server=types.Server(host=host, port=port, **server),
        storage=types.Storage(**_with_secrets(values.get("storage"), "url")),
        polling=polling,
        forges=forges,
        receivers=receivers,
        defaults=defaults,
        repositories=tuple(chosen.repository(e) for e in values.get("repositories") or ()),
        discover=tuple(types.Discovery(**_written(e)) for e in values.get("discover") or ()),
        security=_security(values.get("security")),
        logging=types.Logging(**_written(values.get("logging"))),
        alerts=_alerts(values.get("alerts")),
        files=tuple(files),
        warnings=tuple(warnings),
    )


def repository_name(entry: Mapping[str, Any]) -> str:
    """Return what a repository is called: its own name, or one made of its URL."""
    name: str | None = entry.get("name")
    if name:
        return name
    remote: Remote = entry["url"]
    return re.sub(r"[^\w.+~@/-]+", "-", unquote(remote.default_name))


def forge_url(name: str, entry: Mapping[str, Any]) -> str | None:
    """Return what the URLs of a forge's repositories begin with; None where it must be written."""
    return entry.get("url") or PUBLIC.get(forge_kind(name, entry) or "")


def forge_kind(name: str, entry: Mapping[str, Any]) -> str | None:
    """Return what a forge speaks: what it says, or what its name says, or None."""
    return entry.get("kind") or (name if name in KINDS else None)


def forges_of(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, types.Forge]:
    """Return every forge by name: those of the file, then the public ones, then plain git.

    A public forge that the file has under another name is not there twice; one whose name the
    file has given to another server is called by its host.
    """
    forges = {name: _forge(name, entry) for name, entry in entries.items()}
    taken = {forge.url for forge in forges.values()}
    for kind, url in PUBLIC.items():
        if url not in taken:
            name = kind if kind not in forges else url.removeprefix("https://")
            forges[name] = _forge(name, {"kind": kind})
    forges[PLAIN_GIT.name] = PLAIN_GIT
    return forges


class ForgeFinder:
    """Tells which forge serves a remote: the one with the longest URL that it begins with.

    A remote over ssh belongs to a forge only where a token lets us ask the API about it: the key
    that opens it for git does not open the API.
    """

    @dataclass(frozen=True, slots=True)
    class _Place:
        name: str
        kind: str
        url: str
        host: str | None
        path: str
        has_token: bool

    def __init__(self, forges: Iterable[types.Forge]) -> None:
        by_length = sorted(forges, key=lambda forge: -len(forge.url))
        self._places = [
            self._Place(
                name=forge.name,
                kind=forge.kind,
                url=forge.url + "/",
                host=urlsplit(forge.url).hostname,
                path=urlsplit(forge.url).path.lstrip("/"),
                has_token=forge.signs_in,
            )
            for forge in by_length
            if forge.url
        ]

    def name(self, remote: Remote) -> str:
        """Return the forge's name."""
        place = self._find(remote)
        return place.name if place else PLAIN_GIT.name

    def takes_names_for_credentials(self, remote: Remote) -> bool:
        """Tell whether a name without a password in a URL may be a token."""
        place = self._find(remote)
        return place is None or place.kind not in _NAME_WITHOUT_PASSWORD

    def _find(self, remote: Remote) -> _Place | None:
        is_ssh = remote.scheme == "ssh"
        host, path = _as_over_http(remote) if is_ssh else ("", "")
        for place in self._places:
            if not is_ssh:
                is_it = remote.url.startswith(place.url)
            else:
                # Over ssh, Bitbucket Server knows nothing of the path that it has over HTTP.
                is_below = place.kind == "bitbucket-server" or path.startswith(place.path)
                is_it = place.has_token and host == place.host and is_below
            if is_it:
                return place
        return None


def _as_over_http(remote: Remote) -> tuple[str, str]:
    """Return the host and path over HTTP of a remote over ssh, where those are others."""
    host, path = _SSH_HOSTS.get(remote.host, remote.host), remote.path
    if remote.host in AZURE_SSH_HOSTS:
        path = path.removeprefix("v3/")
        if host != "dev.azure.com":
            organisation, _, path = path.partition("/")
            host = f"{organisation.lower()}.visualstudio.com"
    return host, path


@dataclass(frozen=True, slots=True)
class _Choices:
    """What holds for a repository where its entry is silent."""

    polling: types.Polling
    defaults: types.Defaults
    receivers: tuple[str, ...]
    forges: ForgeFinder

    def repository(self, entry: Mapping[str, Any]) -> Repository:
        remote: Remote = entry["url"]
        credentials = None
        is_name = remote.username and remote.scheme != "ssh"
        if remote.password or (is_name and self.forges.takes_names_for_credentials(remote)):
            credentials = (remote.username or "", remote.password or Secret(""))
        return Repository(
            name=repository_name(entry),
            url=remote.url,
            forge=self.forges.name(remote),
            refs=RefFilter(
                branches=_tuple(entry.get("branches"), self.defaults.branches),
                tags=_tuple(entry.get("tags"), self.defaults.tags),
                wants_pulls=entry.get("pull_requests") or False,
            ),
            paths=PathFilter(tuple(entry.get("paths") or ())),
            # One that is named twice is owed each event once.
            receivers=tuple(
                dict.fromkeys(entry.get("receivers") or self.defaults.receivers or self.receivers)
            ),
            interval=entry.get("interval", self.polling.interval),
            priority=entry.get("priority", 1.0),
            labels=entry.get("labels") or {},
            enabled=entry.get("enabled", True),
            credentials=credentials,
        )


def _tuple(written: list[str] | None, default: tuple[str, ...]) -> tuple[str, ...]:
    return default if written is None else tuple(written)


def _forge(name: str, entry: Mapping[str, Any]) -> types.Forge:
    found = _with_secrets(entry, "token", "hook_secret")
    kind, url = forge_kind(name, entry) or "git", forge_url(name, entry) or ""
    api_url = found.pop("api_url", None)
    if api_url is None and kind in _API_PATHS:
        api_url = _PUBLIC_APIS.get(url) or url + _API_PATHS[kind]
    token = found.pop("token", None)
    found["tokens"] = found.get("tokens") or ((token,) if token else ())
    app = found.pop("app", None)
    if app is not None:
        found["app"] = types.ForgeApp(**_with_secrets(app, "key"))
    return types.Forge(**{**found, "name": name, "kind": kind, "url": url, "api_url": api_url})


def _receiver(name: str, entry: Mapping[str, Any]) -> types.Receiver:
    found = _with_secrets(entry, "secret", "previous_secret")
    if "retry" in found:
        found["retry"] = RetryPolicy(**_written(found["retry"]))
    if "template" in found:
        found["template_file"], found["template"] = found["template"]
    usual = types.Receiver("", "").refs
    refs = RefFilter(
        branches=found.pop("branches", usual.branches), tags=found.pop("tags", usual.tags)
    )
    return types.Receiver(name=name, refs=refs, **found)


def _security(entry: Mapping[str, Any] | None) -> types.Security:
    found = _with_secrets(entry, "encryption_key", "metrics_token")
    key: Secret | None = found.pop("encryption_key", None)
    if key:
        words = key.reveal().replace(",", " ").split()
        found["encryption_keys"] = tuple(Secret(word) for word in words)
    return types.Security(**found)


def _alerts(entry: Mapping[str, Any] | None) -> types.Alerts:
    found = _with_secrets(entry, "heartbeat_url")
    channels = found.pop("channels", ())
    made = tuple(types.AlertChannel(**_with_secrets(channel, "url")) for channel in channels)
    return types.Alerts(channels=made, **found)


def _with_secrets(entry: Mapping[str, Any] | None, *names: str) -> dict[str, Any]:
    """Return what is written, with each secret's file taken for the secret itself."""
    found = _written(entry)
    for name in names:
        from_file = found.pop(f"{name}_file", None)
        if from_file is not None:
            found[name] = from_file
    return found


def _written(entry: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what is written: nothing for what was left empty, and lists as tuples."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in (entry or {}).items()
        if value is not None
    }
