"""Gitea and Forgejo, codeberg.org among them."""

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from app.domain.details import Details, Push
from app.domain.errors import ForgeDenied
from app.domain.event import Event
from app.domain.refs import BRANCH_PREFIX
from app.domain.repository import Repository
from app.forges import commits
from app.forges.client import GitClient, RefsReply
from app.forges.credentials import Accounts
from app.forges.fallback import Fallback
from app.forges.github import commit, files, tags
from app.forges.rest import Api, Listing, Pairs, project_path
from app.forges.ways import Tools, git_way, rest_way
from app.settings.types import Forge
from app.transport import Transport

PAGE_SIZE = 50  # the most that Gitea gives unless its owner says otherwise
USERNAME = "x-access-token"  # any name will do: git takes a token for a password
NO_TAGS = frozenset({404})  # answered for a list that would be empty


def client(forge: Forge, tools: Tools) -> GitClient:
    """Git first: Gitea's API has no ETag, and costs it ten times as much."""
    git = git_way(forge, tools, username=USERNAME)
    if forge.api_url is None:
        return Fallback([git], now=tools.now)
    rest = rest_way(Gitea(tools.transport, forge, now=tools.now, accounts=tools.accounts_of(forge)))
    return Fallback([git, rest], now=tools.now)


class Gitea:
    """Reads refs over Gitea's REST API, which knows neither ETags nor limits."""

    def __init__(
        self,
        transport: Transport,
        forge: Forge,
        *,
        now: Callable[[], datetime],
        accounts: Accounts | None = None,
    ) -> None:
        self._forge = forge
        self._api = Api(
            transport,
            forge,
            headers={"Accept": "application/json"},
            authorize=lambda token: {"Authorization": f"token {token.reveal()}"},
            now=now,
            accounts=accounts,
        )

    def list_refs(
        self,
        repository: Repository,
        *,
        validator: Mapping[str, str],
        timeout_s: float,
        urgent: bool = False,
    ) -> RefsReply:
        """List branches (always: a 404 there is the repository's), and tags where wanted."""
        root = self._root(repository)
        listings = [Listing("branches", f"{root}/branches?limit={PAGE_SIZE}", branches, PAGE_SIZE)]
        if repository.refs.tags:
            url = f"{root}/git/refs/tags"
            listings.append(Listing("tags", url, tags, empty_statuses=NO_TAGS))
        return self._api.list_refs(
            repository, listings, validator=validator, timeout_s=timeout_s, urgent=urgent
        )

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        """Compare the two commits; before 1.21 Gitea cannot, and then tells the newest alone."""
        return commits.told(lambda: self._describe(repository, change, timeout_s))

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        """Return None: nothing is asked yet."""
        return None

    def _describe(self, repository: Repository, change: Event, timeout_s: float) -> Details:
        call = self._api.call(repository, timeout_s, limit_bytes=commits.LIMIT_BYTES)
        root = self._root(repository)
        found: Mapping[str, Any] = {}
        if commits.has_base(change):
            url = f"{root}/compare/{change.before}...{change.after}?verification=false"
            with contextlib.suppress(ForgeDenied):
                found = call.get_object(url)
        if found.get("commits"):
            return compared(found, change)
        less = "stat=false&verification=false&files=false"
        # A tag object's id leads to its commit here.
        newest = call.get_object(f"{root}/git/commits/{change.after}?{less}")
        if found:
            return Details((commit(newest),), total=0, forced=True)
        is_next = commits.has_base(change) and change.before in parents(newest)
        return Details((commit(newest),), forced=False if is_next else None)

    def _root(self, repository: Repository) -> str:
        owner, _, name = project_path(self._forge, repository).partition("/")
        if not owner or not name or "/" in name:
            raise ForgeDenied(f"{repository.url} is no repository of Gitea's: not owner/name")
        return f"{self._api.base}/repos/{quote(owner, safe='')}/{quote(name, safe='')}"


def compared(found: Mapping[str, Any], change: Event) -> Details:
    """Take ``/compare`` apart: commits newest first, each with its own files."""
    listed = found["commits"]
    forced = commits.is_forced(change, map(parents, listed))
    told = [commits.with_files(commit(item), _files(item)) for item in listed]
    total = int(found["total_commits"])
    return Details(commits.whole(commits.newest(told, change), total), total, forced)


def parents(item: Mapping[str, Any]) -> list[str]:
    """Return the ids of a commit's parents."""
    return [parent["sha"] for parent in item["parents"] or []]


def _files(item: Mapping[str, Any]) -> list[commits.File] | None:
    listed = item.get("files")
    return None if listed is None else files(listed)


def branches(items: list[Any]) -> Pairs:
    """Take a page of ``/branches`` apart; the commit's id is called ``id`` here."""
    return [(BRANCH_PREFIX + item["name"], item["commit"]["id"]) for item in items]
