"""The addresses that a payload gives for a repository: to read, to clone, to compare.

Only the URL that is watched is known for certain. The others follow the habits of the forge where
its URLs give it away (GitHub, GitLab, Gitea, Bitbucket, Azure DevOps), and GitHub's elsewhere: the
best guess for any other server.
"""

import re
from dataclasses import dataclass
from pathlib import PureWindowsPath
from urllib.parse import quote

from app.domain.repository import DEFAULT_PORTS, Remote, parse_remote

# How many digits of a commit id GitHub writes in its own compare URLs.
COMPARE_SHA = 12


@dataclass(frozen=True, slots=True)
class Pages:
    """How a forge spells the addresses of its pages, after the repository's own."""

    commit: str = "/commit/{id}"
    compare: str = "/compare/{before}...{after}"
    compare_new: str = "/compare/{name}"
    abbreviates: bool = True


GITHUB = Pages()
# GitLab's pages begin with /-/; it also redirects those that do not.
GITLAB = Pages("/-/commit/{id}", "/-/compare/{before}...{after}", "/-/compare/{name}")
AZURE = Pages(
    compare="/branchCompare?baseVersion=GC{before}&targetVersion=GC{after}",
    compare_new="?version=GB{name}",
    abbreviates=False,
)
BITBUCKET = Pages(
    commit="/commits/{id}",
    compare="/branches/compare/{after}%0D{before}",
    compare_new="/branch/{name}",
    abbreviates=False,
)
BITBUCKET_SERVER = Pages(
    commit="/commits/{id}",
    compare="/compare/commits?sourceBranch={after}&targetBranch={before}",
    compare_new="/browse?at={name}",
    abbreviates=False,
)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where one repository is found.

    ``full_name`` is owner/name; a repository without an owner has ``owner`` «local», or its host.
    ``html`` is the page, without ``.git``; ``clone`` the URL that can be cloned by whoever watches
    it. ``url`` is what most Tekton bindings hand to ``git clone``: the page where a forge lets it
    be cloned too, as GitHub has it, else ``clone``. ``api`` is what GitHub's API links begin with;
    ``pages`` tells whose habits the pages of commits and comparisons follow.
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
    pages: "Pages"

    def commit(self, commit_id: str) -> str:
        """Return the page of one commit."""
        return self.html + self.pages.commit.format(id=commit_id)

    def compare(self, before: str, after: str) -> str:
        """Return the page that shows what lies between two commits."""
        length = COMPARE_SHA if self.pages.abbreviates else None
        return self.html + self.pages.compare.format(before=before[:length], after=after[:length])

    def compare_new(self, name: str) -> str:
        """Return the page that shows what a new branch or tag brings."""
        return self.html + self.pages.compare_new.format(name=_escaped(name))


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
    pages = _pages(remote, forge)
    html = f"{origin}/{path}"
    if pages is BITBUCKET_SERVER:
        html = f"{origin}/{_page_of_bitbucket_server(path)}"
    # Azure DevOps takes .git for a part of the name; Bitbucket Server clones from no page.
    is_hosted = web and forge != "git" and pages not in {AZURE, BITBUCKET_SERVER}
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
        pages=pages,
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


def _pages(remote: Remote, forge: str) -> Pages:
    parts = remote.path.split("/")
    if "_git" in parts[:-1]:
        return AZURE
    if parts[0] == "scm" and len(parts) == 3:  # noqa: PLR2004 - scm, a project and a name
        return BITBUCKET_SERVER
    if forge == "bitbucket" or remote.host == "bitbucket.org":
        return BITBUCKET
    is_gitlab = forge == "gitlab" or "gitlab" in remote.host.split(".")
    return GITLAB if is_gitlab else GITHUB


def _page_of_bitbucket_server(path: str) -> str:
    _, project, name = path.split("/")
    owner = f"users/{project[1:]}" if project.startswith("~") else f"projects/{project}"
    return f"{owner}/repos/{name}"


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
        pages=GITHUB,
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
