"""Bitbucket Cloud: bitbucket.org.

As documented in "The Bitbucket Cloud REST API" (groups Refs and Commits), "API request limits" and
"Using API tokens" of Atlassian's support pages:

- Reading: git first, for which 60,000 operations an hour are granted, against 1,000 requests an
  hour of the API (60 without signing in). The API tells the commit that a tag leads to and not the
  tag's own id, so where tags are watched it does not read refs.
- Signing in: an access token of a repository, project or workspace alone (Bearer; to git it goes
  with the name ``x-token-auth``), or an API token or app password with ``username``: Basic with the
  account's mail address, or its user name for an app password. Git does not know the mail address;
  there an API token goes with ``x-bitbucket-api-token-auth``.
- Pages: ``next`` in each page; at most 100 items.
- There is no log of pushes.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parseaddr
from typing import Any
from urllib.parse import quote

from app.domain.details import Commit, Details, Person, Push
from app.domain.errors import ForgeDenied
from app.domain.event import Event
from app.domain.refs import BRANCH_PREFIX, is_tag
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.forges import commits
from app.forges.client import GitClient, RefsReply
from app.forges.credentials import Accounts
from app.forges.fallback import Fallback
from app.forges.git_http import basic
from app.forges.rest import Api, Listing, Opened, Pairs, decode, project_path
from app.forges.tags_by_git import TagsByGit, refuse_tags
from app.forges.ways import Tools, git_way, rest_way
from app.settings.types import Forge
from app.transport import Reply, Transport

PAGE_SIZE = 100  # the most that the API gives
ACCESS_TOKEN = "x-token-auth"  # noqa: S105 - the name that goes with one, for git
API_TOKEN = "x-bitbucket-api-token-auth"  # noqa: S105 - the same
OBJECT_ID = 64  # hex digits of a SHA-256 id; SHA-1 has 40


def client(forge: Forge, tools: Tools) -> GitClient:
    """Git first: it may be asked sixty times as often as the API."""
    git = git_way(forge, tools, username=git_username(forge))
    if forge.api_url is None:
        return Fallback([git], now=tools.now)
    accounts = tools.accounts_of(forge)
    rest = rest_way(Bitbucket(tools.transport, forge, now=tools.now, accounts=accounts))
    return TagsByGit(git, rest, now=tools.now)


def git_username(forge: Forge) -> str:
    """Return the name that goes with the forge's token where git asks for one.

    >>> git_username(Forge("bitbucket", "bitbucket", "", None, username="ada@example.com"))
    'x-bitbucket-api-token-auth'
    """
    if not forge.username:
        return ACCESS_TOKEN
    return API_TOKEN if "@" in forge.username else forge.username


def authorization(forge: Forge) -> Callable[[Secret], Mapping[str, str]]:
    """Return what spells a token as a header: Basic where there is a user name, else Bearer."""
    name = forge.username
    if name:
        return lambda token: basic(name, token)
    return lambda token: {"Authorization": f"Bearer {token.reveal()}"}


class Bitbucket:
    """Reads branches over Bitbucket Cloud's REST API, which has no ETags for lists."""

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
            authorize=authorization(forge),
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
        """List branches; tags are refused, since their own ids are not told."""
        refuse_tags(repository, "Bitbucket")
        query = f"pagelen={PAGE_SIZE}&fields=next,values.name,values.target.hash"
        url = f"{self._root(repository)}/refs/branches?{query}"
        listing = Listing("branches", url, branches, PAGE_SIZE, opened=opened)
        return self._api.list_refs(
            repository, [listing], validator=validator, timeout_s=timeout_s, urgent=urgent
        )

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        """Ask for the commits that were gained, and for their files: two requests."""
        return commits.told(lambda: self._describe(repository, change, timeout_s))

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        """Return None: Bitbucket Cloud keeps no log of pushes that could be asked for."""
        return None

    def _describe(self, repository: Repository, change: Event, timeout_s: float) -> Details:
        call = self._api.call(repository, timeout_s, limit_bytes=commits.LIMIT_BYTES)
        root = self._root(repository)
        if is_tag(change.ref):
            found = call.get_object(f"{root}/refs/tags/{quote(change.name, safe='')}")
            return Details((commit(found["target"]),))
        newest = f"{root}/commit/{change.after}"
        if not commits.has_base(change):
            return Details((commit(call.get_object(newest)),))
        gained = call.get_object(
            f"{root}/commits/{change.after}?exclude={change.before}&pagelen={PAGE_SIZE}"
        )
        listed = gained["values"]
        if not listed:
            return Details((commit(call.get_object(newest)),), total=0, forced=True)
        told = commits.newest([commit(item) for item in listed], change)
        is_whole = not gained.get("next")
        forced = commits.is_forced(change, map(parents, listed))
        if forced:
            return Details(told, len(listed) if is_whole else None, True if is_whole else None)
        # The later commit first. A list of files that has a second page is not read.
        spec = f"{change.after}..{change.before}"
        changed = call.get_object(f"{root}/diffstat/{spec}")
        if not changed.get("next"):
            told = (*told[:-1], commits.with_files(told[-1], files(changed["values"])))
        return Details(told, len(listed) if is_whole else None, forced=False)

    def _root(self, repository: Repository) -> str:
        workspace, _, slug = project_path(self._forge, repository).partition("/")
        if not workspace or not slug or "/" in slug:
            raise ForgeDenied(f"{repository.url} is no repository of Bitbucket's: not owner/name")
        return f"{self._api.base}/repositories/{quote(workspace, safe='')}/{quote(slug, safe='')}"


def opened(reply: Reply, url: str) -> Opened:
    """Take a page apart: ``values``, and the address of the next page, if there is one."""
    found = decode(reply)
    return found["values"], found.get("next")


def branches(items: list[Any]) -> Pairs:
    """Take a page of ``/refs/branches`` apart."""
    return [(BRANCH_PREFIX + item["name"], item["target"]["hash"]) for item in items]


def parents(item: Mapping[str, Any]) -> list[str]:
    """Return the ids of a commit's parents."""
    return [parent["hash"] for parent in item["parents"]]


def commit(item: Mapping[str, Any]) -> Commit:
    """Read one commit, whose people stand as ``Ada <ada@example.com>``.

    Its only date is the committer's or the author's; the committer is not always told.
    """
    author = person(item["author"])
    link = item.get("links", {}).get("html", {}).get("href")
    return Commit(
        id=commits.text(item["hash"], OBJECT_ID),
        message=commits.text(item["message"], commits.LONGEST_MESSAGE),
        author=author,
        committer=person(item["committer"]) if item.get("committer") else author,
        committed_at=commits.moment(item["date"]),
        url=commits.text(link, commits.LONGEST_WORD) if link else None,
    )


def person(told: Mapping[str, Any]) -> Person:
    """Read who is named, with their account where Bitbucket knows it."""
    name, email = parseaddr(told["raw"])
    account = (told.get("user") or {}).get("nickname")
    return commits.person(name or told["raw"], email, account)


def files(items: list[Mapping[str, Any]]) -> list[commits.File]:
    """Read a ``diffstat``."""
    return [
        commits.File(
            item["status"],
            (item.get("new") or item["old"])["path"],
            (item.get("old") or {}).get("path"),
        )
        for item in items
    ]
