"""Gitea and Forgejo, codeberg.org among them.

As documented in "Gitea API" (swagger), and as version 1.17 answered when it was run to be asked:

- Reading: git first, at a tenth of the API's cost. The API tells the tag objects' own ids, so it
  can stand in for git altogether; of an empty repository it lists no branches, and answers 404 for
  its tags. An archived repository is read like any other; a private one is 404 without a token.
- Signing in: an access token, which git takes for a password with any name.
- A renamed repository is led on to by 302, over the API as over git.
- Pages: the ``Link`` header; at most 50 items. There are no ETags and no limits.
- A commit's files are what ``git log -c`` names: of a merge only those that differ from both its
  parents. So the files of a push with a merge in it cannot be told.
- The log of pushes are the feeds of ``activities`` (since 1.20): an entry's ``content`` is JSON of
  its own, of which ``CompareURL`` names both ends of a push. Of new branches, tags and deletions
  the ids are not all told there, and so they are left out.
"""

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from app.domain.allowance import Purpose
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
from app.forges.rest import Api, Listing, Pairs, decode, project_path
from app.forges.ways import Tools, git_way, rest_way
from app.settings.types import Forge
from app.transport import Transport

PAGE_SIZE = 50  # the most that Gitea gives unless its owner says otherwise
USERNAME = "x-access-token"  # any name will do: git takes a token for a password
NO_TAGS = frozenset({404})  # answered for a list that would be empty
PUSHES = frozenset({"commit_repo", "mirror_sync_push"})  # what the log calls them
ENDS = re.compile(r"/compare/([0-9a-f]{40,64})\.\.\.([0-9a-f]{40,64})$")


def client(forge: Forge, tools: Tools) -> GitClient:
    """Git first: Gitea's API has no ETag, and costs it ten times as much."""
    git = git_way(forge, tools, username=forge.username or USERNAME)
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
        """Return the newest pushes since then; None before version 1.20, which has no log."""
        return commits.told(
            lambda: self._pushes(repository, since, timeout_s), "log of pushes not read"
        )

    def _pushes(
        self, repository: Repository, since: datetime, timeout_s: float
    ) -> tuple[Push, ...]:
        call = self._api.call(
            repository,
            timeout_s,
            limit_bytes=commits.LIMIT_BYTES,
            purpose=Purpose.ACTIVITY,
        )
        reply = call.get(f"{self._root(repository)}/activities/feeds?limit={PAGE_SIZE}")
        # Whoever watches a repository may have an entry of their own for the same push.
        read = {one: None for item in decode(reply) for one in pushes(item) if one.at >= since}
        return tuple(sorted(read, key=lambda one: one.at))

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
    """Take ``/compare`` apart: commits newest first, each with its own files.

    With those of none where one is a merge, of which not all files are told.
    """
    listed = found["commits"]
    forced = commits.is_forced(change, map(parents, listed))
    told = [commits.with_files(commit(item), _files(item)) for item in listed]
    total = int(found["total_commits"])
    return Details(commits.whole(commits.newest(told, change), total), total, forced)


def pushes(item: Mapping[str, Any]) -> list[Push]:
    """Read one entry of the log, if it is of a push that moved a branch."""
    ends = None
    if item["op_type"] in PUSHES and item["content"]:
        ends = ENDS.search(json.loads(item["content"]).get("CompareURL") or "")
    if ends is None:
        return []
    who = item.get("act_user") or {}
    login = who.get("login") or ""
    name = who.get("full_name") or login
    pusher = commits.person(name, who.get("email"), login) if login else None
    return [Push(item["ref_name"], ends[1], ends[2], commits.moment(item["created"]), pusher)]


def parents(item: Mapping[str, Any]) -> list[str]:
    """Return the ids of a commit's parents."""
    return [parent["sha"] for parent in item["parents"] or []]


def _files(item: Mapping[str, Any]) -> list[commits.File] | None:
    listed = None if len(parents(item)) > 1 else item.get("files")
    return None if listed is None else files(listed)


def branches(items: list[Any]) -> Pairs:
    """Take a page of ``/branches`` apart; the commit's id is called ``id`` here."""
    return [(BRANCH_PREFIX + item["name"], item["commit"]["id"]) for item in items]
