"""What must fit together although each value is right alone."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from app.domain.delivery import RetryPolicy
from app.domain.repository import LONGEST_URL, Remote
from app.domain.secret import MASK
from app.settings import types
from app.settings.document import KeyPath
from app.settings.fields import MISSING, nearest
from app.settings.reading import Fault
from app.settings.resolve import PUBLIC, forge_kind, forge_url, repository_name
from app.settings.schema import KINDS
from app.settings.units import format_duration

# Suffixes of the API's routes for one repository; a name that ends in one could not be asked for.
RESERVED_ENDINGS = ("refs", "explain", "poll", "pause", "resume")

# Kinds of forges where a user name may have to go with a token.
SIGNS_NO_HOOKS = frozenset({"azure"})  # theirs carry no signature
NAMES_ITS_USER = frozenset({"bitbucket", "bitbucket-server", "gitea", "gogs", "git"})

_OPEN_SCHEMES = ("http", "git")

# Tells people where a path was written: «reposentry.yaml:12».
Where = Callable[[KeyPath], str]


def check(values: Mapping[str, Any], where: Where) -> Iterator[Fault]:
    """List what does not fit together in values that may have faults of their own."""
    yield from _polling(values.get("polling") or {})
    yield from _forges(values.get("forges") or {}, where)
    yield from _receivers(values.get("receivers") or {})
    yield from _watches_something(values.get("defaults") or {}, ("defaults",), types.Defaults())
    yield from _repositories(values, where)
    yield from _references(values)
    yield from _channels(values.get("alerts") or {})
    yield from _unencrypted(values)
    yield from _doors(values)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a host.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("::")
    (True, True, True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _polling(polling: Mapping[str, Any]) -> Iterator[Fault]:
    interval = polling.get("interval", types.Polling().interval)
    if interval > polling.get("max_interval", types.Polling().max_interval):
        name = "max_interval" if "max_interval" in polling else "interval"
        message = f"max_interval is shorter than interval ({format_duration(interval)})"
        yield Fault(("polling", name), message)


def _forges(forges: Mapping[str, Any], where: Where) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for name, entry in forges.items():
        path: KeyPath = ("forges", name)
        if name == "git":
            yield Fault(
                path, "is what plain git servers are called; take another name", at_key=True
            )
        kind, url = forge_kind(name, entry), forge_url(name, entry)
        if kind is None:
            kinds = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}"
            yield Fault((*path, "kind"), f"{MISSING}; write {kinds}")
        elif url is None:
            yield Fault((*path, "url"), f"{MISSING}; write the server's https://HOST")
        elif url in seen:
            first = where(("forges", seen[url]))
            yield Fault((*path, "url"), f"{url} is already the forge {seen[url]} ({first})")
        elif url:
            seen[url] = name
        given = [way for way in ("token", "token_file", "tokens", "app") if entry.get(way)]
        if len(given) > 1 and given != ["token", "token_file"]:
            yield Fault((*path, given[-1]), f"{' and '.join(given)} are given; keep one")
        app = entry.get("app")
        if app and kind not in {None, "github"}:
            yield Fault((*path, "app"), "is GitHub's alone; sign in with a token", at_key=True)
        if kind is not None:
            yield from _of_its_kind(entry, kind, path)
        yield from _credentials(entry, path)


def _credentials(entry: Mapping[str, Any], path: KeyPath) -> Iterator[Fault]:
    """Find tokens that no header can carry, and those that would be counted twice."""
    places: list[KeyPath] = [(*path, n) for n in ("token", "token_file") if entry.get(n)]
    texts = [entry[str(place[-1])].reveal() for place in places]
    for number, token in enumerate(entry.get("tokens") or ()):
        text = token.reveal()
        if text not in {"", MASK} and text in texts:
            message = "the value stands there already and is granted nothing more; leave one out"
            yield Fault((*path, "tokens", number), message, is_secret=True)
        places.append((*path, "tokens", number))
        texts.append(text)
    for place, text in zip(places, texts, strict=True):
        # With a user name it is a password, of which all letters can be sent; a masked one is what
        # «config show» printed.
        is_any = entry.get("username") or text == MASK
        if not is_any and not (text.isascii() and " " not in text.strip()):
            message = "the value has a space or a letter such as é, as no token has; copy it anew"
            yield Fault(place, message, is_secret=True)


def _of_its_kind(entry: Mapping[str, Any], kind: str, path: KeyPath) -> Iterator[Fault]:
    """Find what a forge of that kind has no use for."""
    is_elsewhere = entry.get("url") not in {None, PUBLIC["bitbucket"]}
    if kind == "bitbucket" and is_elsewhere and not entry.get("api_url"):
        message = "is not Bitbucket Cloud; write kind: bitbucket-server for a server of your own"
        message = f"{entry['url']} {message}"
        yield Fault((*path, "url"), message)
    if entry.get("username") and kind not in NAMES_ITS_USER:
        message = f"has no use with {kind}, which knows whose token it is; leave it out"
        yield Fault((*path, "username"), message)
    elif entry.get("username") and not entry.keys() & {"token", "token_file", "tokens"}:
        yield Fault((*path, "username"), "goes with a token or password; write that as token")
    if kind in SIGNS_NO_HOOKS:
        for key in (name for name in ("hook_secret", "hook_secret_file") if entry.get(name)):
            message = f"has no use with {kind}, whose webhooks are not taken; leave it out"
            yield Fault((*path, key), message, at_key=True)


def _receivers(receivers: Mapping[str, Any]) -> Iterator[Fault]:
    for name, entry in receivers.items():
        path: KeyPath = ("receivers", name)
        if entry.get("template") and entry.get("payload") != "template":
            yield Fault((*path, "template"), "goes with payload: template, and only with it")
        elif entry.get("payload") == "template" and not entry.get("template"):
            yield Fault((*path, "template"), f"{MISSING}; payload: template needs its file")
        for one, other in (
            ("client_cert_file", "client_key_file"),
            ("client_key_file", "client_cert_file"),
        ):
            if entry.get(one) and not entry.get(other):
                yield Fault((*path, other), f"{MISSING}; {one} needs it")
        if entry.get("previous_secret") and not (entry.get("secret") or entry.get("secret_file")):
            yield Fault((*path, "secret"), f"{MISSING}; previous_secret is the one before it")
        if entry.get("confirm") and not (entry.get("secret") or entry.get("secret_file")):
            yield Fault((*path, "secret"), f"{MISSING}; confirm needs it for its address")
        if entry.get("payload") == "gitlab":
            yield from _tokens(entry, path)
        if entry.get("payload") != "template":
            yield from _content_types(entry.get("headers") or {}, (*path, "headers"))
        yield from _watches_something(entry, path, types.Defaults(tags=("*",)))
        yield from _retry(entry.get("retry") or {}, (*path, "retry"))


def _tokens(entry: Mapping[str, Any], path: KeyPath) -> Iterator[Fault]:
    """Find secrets that X-Gitlab-Token could not carry as they are."""
    for name in ("secret", "secret_file"):
        text = entry[name].reveal() if entry.get(name) else ""
        if not (text.isascii() and text.isprintable() and text == text.strip()):
            message = "cannot be sent as X-Gitlab-Token; take ASCII letters, digits and signs"
            yield Fault((*path, name), message, is_secret=True)


def _content_types(headers: Mapping[str, Any], path: KeyPath) -> Iterator[Fault]:
    """Find content types that are not for the configuration to choose."""
    for name in headers:
        if name.lower() == "content-type":
            message = "is set by the payload, unless that is a template; leave it out"
            yield Fault((*path, name), message, at_key=True)


def _retry(retry: Mapping[str, Any], path: KeyPath) -> Iterator[Fault]:
    usual = RetryPolicy()
    first = retry.get("first", usual.first)
    longest = retry.get("longest", usual.longest)
    if first > longest:
        at = "longest" if "longest" in retry else "first"
        yield Fault((*path, at), f"longest is shorter than first ({format_duration(first)})")
    if longest > retry.get("give_up", usual.give_up):
        at = "give_up" if "give_up" in retry else "longest"
        yield Fault((*path, at), f"give_up is shorter than longest ({format_duration(longest)})")


def _watches_something(
    entry: Mapping[str, Any], path: KeyPath, defaults: types.Defaults
) -> Iterator[Fault]:
    for kind in ("branches", "tags"):
        patterns = entry.get(kind)
        if patterns and all(pattern.startswith("!") for pattern in patterns):
            yield Fault((*path, kind), 'only takes out; begin with what to watch, such as "*"')
    branches, tags = entry.get("branches"), entry.get("tags")
    chosen_branches = defaults.branches if branches is None else branches
    chosen_tags = defaults.tags if tags is None else tags
    if not (chosen_branches or chosen_tags):
        at = "branches" if branches is not None else "tags"
        yield Fault((*path, at), "watches neither branches nor tags")


def _repositories(values: Mapping[str, Any], where: Where) -> Iterator[Fault]:
    defaults = _defaults(values)
    ceiling = (values.get("polling") or {}).get("max_interval", types.Polling().max_interval)
    names: dict[str, int] = {}
    urls: dict[str, int] = {}
    for number, entry in enumerate(values.get("repositories") or ()):
        path: KeyPath = ("repositories", number)
        yield from _watches_something(entry, path, defaults)
        if "interval" in entry and entry["interval"] > ceiling:
            longest = format_duration(ceiling)
            yield Fault((*path, "interval"), f"is longer than polling.max_interval ({longest})")
        if "url" in entry:
            yield from _identity(entry, number, names, urls, where)


def _identity(
    entry: Mapping[str, Any],
    number: int,
    names: dict[str, int],
    urls: dict[str, int],
    where: Where,
) -> Iterator[Fault]:
    path: KeyPath = ("repositories", number)
    remote: Remote = entry["url"]
    name = repository_name(entry)
    at = "name" if entry.get("name") else "url"
    same_name = names.setdefault(name, number)
    same_url = urls.setdefault(remote.url.rstrip("/").removesuffix(".git"), number)
    if same_url != number:
        there = where(("repositories", same_url))
        yield Fault((*path, "url"), f"{remote.url} is watched already ({there})")
    elif same_name != number:
        there = where(("repositories", same_name))
        yield Fault(
            (*path, at), f"{name} is already the name of another ({there}); give it its own"
        )
    if name.rpartition("/")[2] in RESERVED_ENDINGS:
        words = ", ".join(RESERVED_ENDINGS)
        message = f"{name} cannot be its name: {words} end addresses of the API; give it another"
        yield Fault((*path, at), message)
    if len(remote.url) > LONGEST_URL:
        yield Fault((*path, "url"), f"is longer than {LONGEST_URL} characters")


def _references(values: Mapping[str, Any]) -> Iterator[Fault]:
    """Find names of receivers and forges that nothing bears."""
    receivers = values.get("receivers") or {}
    places: list[tuple[KeyPath, Any]] = [(("defaults",), values.get("defaults") or {})]
    places += [(("repositories", n), e) for n, e in enumerate(values.get("repositories") or ())]
    for path, entry in places:
        for number, name in enumerate(entry.get("receivers") or ()):
            if name not in receivers:
                message = f"there is no receiver {name}{_meant(name, receivers)}"
                yield Fault((*path, "receivers", number), message)
    forges = [*(values.get("forges") or {}), *PUBLIC]
    for number, entry in enumerate(values.get("discover") or ()):
        if "forge" in entry and entry["forge"] not in forges:
            message = f"there is no forge {entry['forge']}{_meant(entry['forge'], forges)}"
            yield Fault(("discover", number, "forge"), message)


def _channels(alerts: Mapping[str, Any]) -> Iterator[Fault]:
    for number, channel in enumerate(alerts.get("channels") or ()):
        if not (channel.get("url") or channel.get("url_file")):
            yield Fault(("alerts", "channels", number, "url"), f"{MISSING}; write an Apprise URL")


def _meant(name: str, names: Iterable[str]) -> str:
    known = list(names)
    return nearest(name, known) or (f"; there are {', '.join(known[:9])}" if known else "")


def _unencrypted(values: Mapping[str, Any]) -> Iterator[Fault]:
    """Find what would be asked without TLS though it must not be."""
    security = values.get("security") or {}
    if not security.get("require_https", True):
        return
    allowed = security.get("allow_http")
    globs = types.Security().allow_http if allowed is None else allowed
    for path, scheme, host in _addresses(values):
        if scheme in _OPEN_SCHEMES and not is_loopback(host):
            if any(fnmatchcase(host, glob.lower()) for glob in globs):
                continue
            remedy = f"write https, or add {host} to security.allow_http"
            yield Fault(path, f"{scheme}://{host} is not encrypted; {remedy}")


def _addresses(values: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str, str]]:
    for name, entry in (values.get("forges") or {}).items():
        for key in ("url", "api_url"):
            if entry.get(key):
                parts = urlsplit(entry[key])
                yield ("forges", name, key), parts.scheme, parts.hostname or ""
    for name, entry in (values.get("receivers") or {}).items():
        parts = urlsplit(entry.get("url", ""))
        yield ("receivers", name, "url"), parts.scheme, parts.hostname or ""
    for number, entry in enumerate(values.get("repositories") or ()):
        if "url" in entry:
            yield ("repositories", number, "url"), entry["url"].scheme, entry["url"].host


def _doors(values: Mapping[str, Any]) -> Iterator[Fault]:
    """Find pages and API open to others than this machine, unless that is what was asked for."""
    usual = types.Server()
    host, port = (values.get("server") or {}).get("listen", (usual.host, usual.port))
    tokens = (values.get("security") or {}).get("tokens", "auto")
    if tokens == "auto" and not is_loopback(host):
        yield Fault(
            ("server", "listen"),
            f"others could reach {host}, and this version has no API tokens yet; listen on"
            f" 127.0.0.1:{port} behind a proxy that asks who comes in, or write"
            " security.tokens: off to open it knowingly",
        )


def _defaults(values: Mapping[str, Any]) -> types.Defaults:
    entry = values.get("defaults") or {}
    usual = types.Defaults()
    branches, tags = entry.get("branches"), entry.get("tags")
    return types.Defaults(
        branches=usual.branches if branches is None else tuple(branches),
        tags=usual.tags if tags is None else tuple(tags),
    )
