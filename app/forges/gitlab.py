"""GitLab: gitlab.com, and GitLab on a server of one's own."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from app.domain.errors import ForgeError
from app.domain.refs import BRANCH_PREFIX, TAG_PREFIX
from app.domain.repository import Repository
from app.forges.client import GitClient, RefsReply
from app.forges.fallback import Fallback
from app.forges.rest import Api, Listing, Pairs, project_path
from app.forges.ways import Tools, git_way, rest_way
from app.settings.types import Forge
from app.transport import Transport

# GitLab keeps its list of branches for 30 s and 5 more (cache_action_if in lib/api/branches.rb).
LAG = timedelta(seconds=35)
USERNAME = "oauth2"  # with which git takes a token for a password


def client(forge: Forge, tools: Tools) -> GitClient:
    """Git first: GitLab's API keeps its list of branches for 30 s."""
    git = git_way(forge, tools, username=USERNAME)
    if forge.api_url is None:
        return Fallback([git], now=tools.now)
    rest = rest_way(GitLab(tools.transport, forge, now=tools.now), lag=LAG)
    return Fallback([git, rest], now=tools.now)


class GitLab:
    """Reads refs over GitLab's REST API.

    GitLab keeps its list of branches for 30 s, so this is never as quick as asking its git.
    """

    def __init__(self, transport: Transport, forge: Forge, *, now: Callable[[], datetime]) -> None:
        self._forge = forge
        self._api = Api(
            transport,
            forge,
            headers={"Accept": "application/json"},
            authorize=lambda token: {"PRIVATE-TOKEN": token.reveal()},
            now=now,
        )

    def list_refs(
        self, repository: Repository, *, validator: Mapping[str, str], timeout_s: float
    ) -> RefsReply:
        """List branches, and tags where patterns want any."""
        root = self._root(repository)
        listings = []
        if repository.refs.branches:
            url = f"{root}/branches?per_page=100&pagination=keyset"
            listings.append(Listing("branches", url, branches, default_branch=default_branch))
        if repository.refs.tags:
            url = f"{root}/tags?per_page=100&order_by=name&sort=asc"
            listings.append(Listing("tags", url, tags))
        return self._api.list_refs(repository, listings, validator=validator, timeout_s=timeout_s)

    def is_forced(
        self, repository: Repository, *, before: str, after: str, timeout_s: float
    ) -> bool | None:
        """Ask for the two commits' merge base: one request."""
        try:
            call = self._api.call(repository, timeout_s)
            url = f"{self._root(repository)}/merge_base?refs%5B%5D={before}&refs%5B%5D={after}"
            base = call.get_object(url).get("id")
        except ForgeError:
            return None
        return base != before if isinstance(base, str) else None

    def _root(self, repository: Repository) -> str:
        path = quote(project_path(self._forge, repository), safe="")
        return f"{self._api.base}/projects/{path}/repository"


def branches(items: list[Any]) -> Pairs:
    """Take a page of ``/repository/branches`` apart."""
    return [(BRANCH_PREFIX + item["name"], item["commit"]["id"]) for item in items]


def tags(items: list[Any]) -> Pairs:
    """Take a page of ``/repository/tags`` apart: ``target`` is the tag object's own id."""
    return [(TAG_PREFIX + item["name"], item["target"]) for item in items]


def default_branch(items: list[Any]) -> str | None:
    """Return the default branch's full name, if it stands on this page."""
    return next((BRANCH_PREFIX + item["name"] for item in items if item.get("default")), None)
