"""The addresses that a payload gives for a repository: to read, to clone, to compare.

Only the URL that is watched is known for certain. The others follow the habits of GitHub, GitLab
and Gitea, and are the best guess for any other server.
"""

import re
from dataclasses import dataclass
from pathlib import PureWindowsPath
from urllib.parse import quote

from app.domain.repository import DEFAULT_PORTS, Remote, parse_remote

# How many digits of a commit id GitHub writes in its own compare URLs.
COMPARE_SHA = 12


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where one repository is found.

    ``full_name`` is owner/name; a repository without an owner has ``owner`` «local», or its host.
    ``html`` is the page, without ``.git``; ``clone`` the URL that can be cloned by whoever watches
    it. ``url`` is what most Tekton bindings hand to ``git clone``: the page where a forge lets it
    be cloned too, as GitHub has it, else ``clone``. ``api`` is what GitHub's API links begin with;
    ``pages`` stands between the page and ``commit/…`` or ``compare/…``.
    """

    owner: str
    name: str
    full_name: str
    origin: str
    html: str
    url: str
    clone: str
    ssh: str
    git: str
    api: str
    pages: str

    def commit(self, commit_id: str) -> str:
        """Return the page of one commit."""
        return f"{self.html}{self.pages}/commit/{commit_id}"

    def compare(self, before: str, after: str) -> str:
        """Return the page that shows what lies between two commits."""
        return f"{self.html}{self.pages}/compare/{before[:COMPARE_SHA]}...{after[:COMPARE_SHA]}"

    def compare_new(self, name: str) -> str:
        """Return the page that shows what a new branch or tag brings."""
        return f"{self.html}{self.pages}/compare/{_escaped(name)}"


def addresses(url: str, *, forge: str) -> Addresses:
    """Work out a repository's addresses from the URL that is watched.

    >>> found = addresses("https://github.com/tektoncd/pipeline", forge="github")
    >>> found.full_name, found.clone, found.ssh
    ('tektoncd/pipeline', 'https://github.com/tektoncd/pipeline.git', \
'git@github.com:tektoncd/pipeline.git')
    >>> addresses("ssh://git@git.example.com/infra.git", forge="git").html
    'https://git.example.com/infra'

    Raises:
        ValueError: It is no address that git could use.
    """
    remote = parse_remote(url)
    if remote.scheme == "file":
        return _local(remote)
    full_name = remote.default_name
    owner, _, name = full_name.rpartition("/")
    web = remote.scheme in {"http", "https"}
    path = _quoted(remote.path.removesuffix(".git"))
    origin = f"{remote.scheme if web else 'https'}://{_netloc(remote, with_port=web)}"
    html = f"{origin}/{path}"
    is_hosted = web and forge != "git"
    return Addresses(
        owner=owner or remote.host,
        name=name,
        full_name=full_name,
        origin=origin,
        html=html,
        url=html if is_hosted else remote.url,
        # A plain server is asked for nothing but the URL it is known by.
        clone=f"{html}.git" if is_hosted else remote.url,
        ssh=remote.url if remote.scheme == "ssh" else _scp(remote),
        git=f"git://{_netloc(remote, with_port=remote.scheme == 'git')}/{path}.git",
        api=_api(remote, full_name, html),
        pages="/-" if _is_gitlab(remote, forge) else "",
    )


def _scp(remote: Remote) -> str:
    path = remote.path.removesuffix(".git")
    return f"git@{_netloc(remote, with_port=False)}:{path}.git"


def _netloc(remote: Remote, *, with_port: bool) -> str:
    host = f"[{remote.host}]" if ":" in remote.host else remote.host
    port = remote.port or DEFAULT_PORTS[remote.scheme]
    is_shown = with_port and port != DEFAULT_PORTS[remote.scheme]
    return f"{host}:{port}" if is_shown else host


def _api(remote: Remote, full_name: str, html: str) -> str:
    """GitHub's API for GitHub; elsewhere the page, since the links must only be well-formed."""
    if remote.host == "github.com":
        return f"https://api.github.com/repos/{_quoted(full_name)}"
    return html


def _is_gitlab(remote: Remote, forge: str) -> bool:
    """GitLab's pages begin with ``/-/``; it also redirects those that do not."""
    return forge == "gitlab" or "gitlab" in remote.host.split(".")


def _local(remote: Remote) -> Addresses:
    """Give a path on this machine as file URLs: there is no other way to it."""
    uri = _file_uri(remote)
    html = uri.removesuffix("/").removesuffix(".git").removesuffix("/")
    return Addresses(
        owner="local",
        name=remote.default_name,
        full_name=remote.default_name,
        origin="file://",
        html=html,
        url=uri,
        clone=uri,
        ssh=uri,
        git=uri,
        api=html,
        pages="",
    )


def _file_uri(remote: Remote) -> str:
    if re.match(r"[A-Za-z]:[\\/]|\\\\", remote.path):  # wherever this runs
        return PureWindowsPath(remote.path).as_uri()
    return f"file:///{_escaped(remote.path.lstrip('/'))}"


def _escaped(text: str) -> str:
    """Escape what a URL's path may not hold, percent signs too."""
    return quote(text, safe="/@:+")


def _quoted(path: str) -> str:
    """Escape what a URL's path may not hold, in a path that came from a URL."""
    return quote(path, safe="/%~@:+")
