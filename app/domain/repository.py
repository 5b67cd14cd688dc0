"""A repository that is watched: what it is called, where it is, and what in it matters."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import unquote, urlsplit

from app.domain.paths import PathFilter
from app.domain.refs import RefFilter
from app.domain.secret import Secret

# Where Azure DevOps takes ssh, for paths such as v3/organisation/project/name.
AZURE_SSH_HOSTS = frozenset({"ssh.dev.azure.com", "vs-ssh.visualstudio.com"})
# What it puts before a repository's name over HTTP, for a whole clone or a quick one.
AZURE_MARKS = frozenset({"_git", "_full", "_optimized"})

# As long as the database's column.
LONGEST_URL = 500

DEFAULT_PORTS = {"http": 80, "https": 443, "ssh": 22, "git": 9418}


@dataclass(frozen=True, slots=True)
class Remote:
    """A git remote's address, taken apart.

    ``scheme`` is https, http, ssh, git or file. ``host`` is empty for file. ``path`` has no
    leading slash but for file, where it is the path as written. ``username`` and ``password`` are
    what the URL carried; ``url`` is the address without the password (and, over HTTP, without the
    username), safe to show and to compare.
    """

    scheme: str
    host: str
    port: int | None
    path: str
    url: str
    username: str | None = None
    password: Secret | None = None

    @property
    def default_name(self) -> str:
        """The name a repository has when its entry gives none: owner/name.

        >>> parse_remote("https://github.com/tektoncd/pipeline.git").default_name
        'tektoncd/pipeline'
        >>> parse_remote("/srv/git/site.git").default_name
        'site'
        >>> parse_remote("https://dev.azure.com/acme/web/_git/site").default_name
        'acme/web/site'
        """
        parts = [p for p in re.split(r"[/\\]", self.path.removesuffix("/")) if p]
        if self.scheme != "file":
            parts = self._without_marks(parts)
        if parts and parts[-1] == ".git":  # a work tree's own repository
            parts.pop()
        if not parts:
            return self.host or "repository"
        parts[-1] = parts[-1].removesuffix(".git") or parts[-1]
        return parts[-1] if self.scheme == "file" else "/".join(parts)

    def _without_marks(self, parts: list[str]) -> list[str]:
        """Leave out what is in a path for Azure DevOps or Bitbucket Server, not for people."""
        if self.scheme == "ssh" and self.host in AZURE_SSH_HOSTS and parts[:1] == ["v3"]:
            return parts[1:]
        if parts[:1] == ["scm"] and len(parts) == 3:  # noqa: PLR2004 - scm, a project and a name
            return parts[1:]
        if "_git" in parts[:-1]:
            return [part for part in parts if part not in AZURE_MARKS]
        return parts


def parse_remote(text: str) -> Remote:
    """Take a git remote's address apart: a URL, ``user@host:path``, or a local path.

    >>> parse_remote("https://bob:s3cret@git.example.com:443/infra/site.git").url
    'https://git.example.com/infra/site.git'
    >>> parse_remote("git@git.example.com:infra.git").url
    'ssh://git@git.example.com/infra.git'
    >>> parse_remote("/srv/git/site.git").scheme
    'file'

    Raises:
        ValueError: It is no address that git could use; the message says why.
    """
    text = text.strip()
    if not text or text.startswith("-") or re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError("it is not a Git URL or path")
    if re.match(r"[\w.+-]+::", text):
        raise ValueError("git's remote helpers (NAME::…) run programs and are not supported")
    if "://" not in text:
        scp = re.fullmatch(r"(?:([\w.+-]+)@)?([\w.-]{2,}|\[[0-9a-fA-F:]+\]):(?!\\)(.+)", text)
        if scp is None:
            return Remote("file", "", None, text, text)
        user, host, path = scp.groups()
        text = f"ssh://{user + '@' if user else ''}{host}/{path.lstrip('/')}"
    return _parse_url(text)


def _parse_url(text: str) -> Remote:
    parts = urlsplit(text)
    scheme = parts.scheme.lower()
    if scheme == "file":
        path = unquote(parts.path)
        if re.match(r"/[A-Za-z]:", path):  # file:///C:/repositories/site.git
            path = path[1:]
        return Remote("file", "", None, path, text)
    if scheme not in DEFAULT_PORTS:
        raise ValueError(f"{scheme}:// is not supported; use https, http, ssh, git or file")
    if not parts.hostname or parts.hostname.startswith("-"):
        raise ValueError("it names no host")
    if parts.query or parts.fragment:
        raise ValueError("a repository URL has no query and no fragment")
    host = parts.hostname.lower()
    port = None if parts.port == DEFAULT_PORTS[scheme] else parts.port
    path = parts.path.strip("/")
    if not path:
        raise ValueError("it names a host, and no repository there")
    shown_user = f"{parts.username}@" if scheme == "ssh" and parts.username else ""
    shown_host = f"[{host}]" if ":" in host else host
    shown_port = f":{port}" if port else ""
    return Remote(
        scheme=scheme,
        host=host,
        port=port,
        path=path,
        url=f"{scheme}://{shown_user}{shown_host}{shown_port}/{path}",
        username=unquote(parts.username) if parts.username else None,
        password=Secret(unquote(parts.password)) if parts.password else None,
    )


@dataclass(frozen=True, slots=True)
class Repository:
    """One watched repository, as the configuration wants it.

    ``url`` never holds a password; ``credentials`` are (user name, secret) where the URL carried
    some. ``forge`` names the forge entry that serves it, or ``git`` for a plain git server.
    ``receivers`` are names, already resolved (never «empty = all»). ``interval`` is the shortest
    time between two polls. ``paths`` chooses the changes that receivers are owed. ``paused`` is set
    by people at run time, ``enabled`` by the file.
    """

    name: str
    url: str
    forge: str = "git"
    refs: RefFilter = field(default_factory=RefFilter)
    paths: PathFilter = field(default_factory=PathFilter)
    receivers: tuple[str, ...] = ()
    interval: timedelta = timedelta(seconds=15)
    priority: float = 1.0
    labels: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True
    credentials: tuple[str, Secret] | None = None

    @property
    def remote(self) -> Remote:
        """The address, taken apart."""
        return parse_remote(self.url)
