"""Where a forge shows a commit, a comparison, a branch or a tag, where its addresses are known."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from app.domain.refs import is_pull, is_tag, short_name
from app.domain.repository import parse_remote
from app.settings.types import Forge


@dataclass(frozen=True, slots=True)
class Addresses:
    """How one kind of forge spells its addresses, after the repository's own."""

    commit: str
    compare: str
    branch: str
    tag: str
    pull: str | None = None


KINDS = {
    "github": Addresses(
        "/commit/{id}",
        "/compare/{before}...{after}",
        "/tree/{name}",
        "/tree/{name}",
        "/pull/{name}",
    ),
    "gitlab": Addresses(
        "/-/commit/{id}",
        "/-/compare/{before}...{after}",
        "/-/tree/{name}",
        "/-/tags/{name}",
        "/-/merge_requests/{name}",
    ),
    "gitea": Addresses(
        "/commit/{id}",
        "/compare/{before}...{after}",
        "/src/branch/{name}",
        "/src/tag/{name}",
        "/pulls/{name}",
    ),
    "gogs": Addresses(
        "/commit/{id}",
        "/compare/{before}...{after}",
        "/src/{name}",
        "/src/{name}",
        "/pulls/{name}",
    ),
    # The later commit first, with an escaped line end between.
    "bitbucket": Addresses(
        "/commits/{id}",
        "/branches/compare/{after}%0D{before}",
        "/branch/{name}",
        "/commits/tag/{name}",
    ),
    "bitbucket-server": Addresses(
        "/commits/{id}",
        "/compare/commits?sourceBranch={after}&targetBranch={before}",
        "/browse?at=refs%2Fheads%2F{name}",
        "/browse?at=refs%2Ftags%2F{name}",
        "/pull-requests/{name}",
    ),
    "azure": Addresses(
        "/commit/{id}",
        "/branchCompare?baseVersion=GC{before}&targetVersion=GC{after}",
        "?version=GB{name}",
        "?version=GT{name}",
    ),
}

_AZURE_SSH = re.compile(r"v3/([^/]+)/([^/]+)/([^/]+)")
_BITBUCKET_SERVER = re.compile(r"(https?://[^/]+.*?)(?:/scm)?/([^/]+)/([^/]+)")


class ForgeLinks:
    """Links from events and refs to the forge; None where its addresses are not known."""

    def __init__(self, forges: Mapping[str, Forge]) -> None:
        self._forges = forges

    def repository(self, forge: str, url: str) -> str | None:
        """Return the repository's own page."""
        return self._link(forge, url, lambda addresses: "")

    def commit(self, forge: str, url: str, commit_id: str) -> str | None:
        """Return a commit's page; None for the id of zeros."""
        if not commit_id.strip("0"):
            return None
        return self._link(forge, url, lambda kind: kind.commit.format(id=commit_id))

    def compare(self, forge: str, url: str, before: str, after: str) -> str | None:
        """Return the page that shows what lies between two commits; None if one is of zeros."""
        if not before.strip("0") or not after.strip("0"):
            return None
        return self._link(forge, url, lambda kind: kind.compare.format(before=before, after=after))

    def ref(self, forge: str, url: str, ref: str) -> str | None:
        """Return a branch's, a tag's or a pull request's page."""
        if is_pull(ref):
            number = ref.split("/")[2]
            return self._link(forge, url, lambda kind: (kind.pull or "").format(name=number))
        name = quote(short_name(ref))
        return self._link(
            forge, url, lambda kind: (kind.tag if is_tag(ref) else kind.branch).format(name=name)
        )

    def _link(self, name: str, url: str, spell: Callable[[Addresses], str]) -> str | None:
        entry = self._forges.get(name)
        kind = entry.kind if entry else name
        addresses = KINDS.get(kind)
        base = _base(url, entry, kind)
        return None if addresses is None or base is None else base + spell(addresses)


def _base(url: str, forge: Forge | None, kind: str) -> str | None:
    """Return the repository's address in a browser; over ssh only its forge knows it."""
    try:
        remote = parse_remote(url)
    except ValueError:
        return None
    is_web = remote.scheme in {"http", "https"}
    home = forge.url.rstrip("/") if forge and forge.url.startswith(("http://", "https://")) else ""
    if not is_web and (remote.scheme != "ssh" or not home):
        return None
    path = remote.path.removesuffix(".git")
    if kind == "bitbucket-server":
        return _of_bitbucket_server(remote.url.removesuffix(".git") if is_web else f"{home}/{path}")
    if is_web:
        # Azure DevOps takes .git for a part of the name.
        return remote.url if kind == "azure" else remote.url.removesuffix(".git")
    if kind == "azure":
        path = _AZURE_SSH.sub(r"\1/\2/_git/\3", remote.path)
        # A forge's address may name the organisation already.
        parts = urlsplit(home)
        is_named = parts.path or (parts.hostname or "").endswith(".visualstudio.com")
        path = path.partition("/")[2] if is_named else path
    return f"{home}/{quote(path, safe='/%')}"


def _of_bitbucket_server(url: str) -> str | None:
    """Return the page of a repository that git finds at ``scm/PROJECT/name``, or without scm."""
    found = _BITBUCKET_SERVER.fullmatch(url)
    if found is None:
        return None
    home, project, name = found.groups()
    owner = f"users/{project[1:]}" if project.startswith("~") else f"projects/{project}"
    return f"{home}/{owner}/repos/{name}"
