"""GitHub: github.com, and GitHub Enterprise on a server of one's own."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from app.domain.errors import ForgeDenied, ForgeError
from app.domain.refs import BRANCH_PREFIX
from app.domain.repository import Repository
from app.forges.client import GitClient, RefsReply
from app.forges.fallback import Fallback
from app.forges.rest import Api, Listing, Pairs, project_path
from app.forges.ways import Tools, git_way, rest_way
from app.settings.types import Forge
from app.transport import Transport

HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
EMPTY_REPOSITORY = frozenset({409})
USERNAME = "x-access-token"  # with which git takes a token for a password


def client(forge: Forge, tools: Tools) -> GitClient:
    """REST first where its 304s are free and enough: with a token, and for branches alone."""
    git = git_way(forge, tools, username=USERNAME)
    if forge.api_url is None:
        return Fallback([git], now=tools.now)
    rest = rest_way(GitHub(tools.transport, forge, now=tools.now))
    git_first = Fallback([git, rest], now=tools.now)
    if not forge.tokens:
        return git_first
    return _ByTags(without=Fallback([rest, git], now=tools.now), wanted=git_first)


class GitHub:
    """Reads refs over GitHub's REST API; an unchanged list (304) costs nothing of its limit."""

    def __init__(self, transport: Transport, forge: Forge, *, now: Callable[[], datetime]) -> None:
        self._forge = forge
        self._api = Api(
            transport,
            forge,
            headers=HEADERS,
            authorize=lambda token: {"Authorization": f"Bearer {token.reveal()}"},
            now=now,
        )

    def list_refs(
        self, repository: Repository, *, validator: Mapping[str, str], timeout_s: float
    ) -> RefsReply:
        """List branches, and tags where patterns want any."""
        root = self._root(repository)
        listings = []
        if repository.refs.branches:
            # Not git/matching-refs: GitHub wants 300 s between two questions there.
            url = f"{root}/branches?per_page=100"
            listings.append(Listing("branches", url, branches, empty_statuses=EMPTY_REPOSITORY))
        if repository.refs.tags:
            url = f"{root}/git/matching-refs/tags?per_page=100"
            listings.append(Listing("tags", url, tags, empty_statuses=EMPTY_REPOSITORY))
        return self._api.list_refs(repository, listings, validator=validator, timeout_s=timeout_s)

    def is_forced(
        self, repository: Repository, *, before: str, after: str, timeout_s: float
    ) -> bool | None:
        """Compare the two commits: one request."""
        try:
            call = self._api.call(repository, timeout_s)
            url = f"{self._root(repository)}/compare/{before}...{after}?per_page=1"
            status = call.get_object(url).get("status")
        except ForgeError:
            return None
        return {"ahead": False, "identical": False, "behind": True, "diverged": True}.get(
            str(status)
        )

    def _root(self, repository: Repository) -> str:
        owner, _, name = project_path(self._forge, repository).partition("/")
        if not owner or not name or "/" in name:
            raise ForgeDenied(f"{repository.url} is no repository of GitHub's: not owner/name")
        return f"{self._api.base}/repos/{quote(owner, safe='')}/{quote(name, safe='')}"


def branches(items: list[Any]) -> Pairs:
    """Take a page of ``/branches`` apart."""
    return [(BRANCH_PREFIX + item["name"], item["commit"]["sha"]) for item in items]


def tags(items: list[Any]) -> Pairs:
    """Take ``/git/matching-refs/tags`` apart: the id is the tag object's own."""
    return [(item["ref"], item["object"]["sha"]) for item in items]


class _ByTags:
    """Chooses between two clients by whether a repository's tags are watched."""

    def __init__(self, *, without: GitClient, wanted: GitClient) -> None:
        self._without = without
        self._wanted = wanted

    def list_refs(
        self, repository: Repository, *, validator: Mapping[str, str], timeout_s: float
    ) -> RefsReply:
        """Ask the one for this repository."""
        return self._for(repository).list_refs(repository, validator=validator, timeout_s=timeout_s)

    def is_forced(
        self, repository: Repository, *, before: str, after: str, timeout_s: float
    ) -> bool | None:
        """Ask the one for this repository."""
        return self._for(repository).is_forced(
            repository, before=before, after=after, timeout_s=timeout_s
        )

    def _for(self, repository: Repository) -> GitClient:
        return self._wanted if repository.refs.tags else self._without
