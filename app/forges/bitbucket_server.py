"""Bitbucket Server and Data Center, on a server of one's own.

As documented in "The Bitbucket Data Center REST API" (groups Repository and Projects), "Using HTTP
access tokens" and "Improving instance stability with rate limiting":

- Reading: git first, which counts against no limit; the API tells the tag objects' own ids
  (``hash``, null for a tag that is none), so it can stand in for git altogether.
- Signing in: an HTTP access token alone (Bearer; to git it goes with the name ``x-token-auth``),
  or with ``username`` a password or token, as Basic.
- Pages: ``isLastPage`` and ``nextPageStart`` in each page; at most 1,000 items.
- Limits: a bucket of requests for each user, off unless the administrator sets one up; whoever has
  emptied it is answered 429 with ``Retry-After`` or not.
- The log of pushes is ``ref-change-activities``, where the token may read it.
- Addresses: ``URL/scm/PROJECT/name.git`` for git over HTTP, ``~user`` for a person's own project.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from app.domain.allowance import Purpose
from app.domain.details import MOST_COMMITS, Commit, Details, Push
from app.domain.errors import ForgeDenied
from app.domain.event import Event
from app.domain.refs import BRANCH_PREFIX, is_tag
from app.domain.repository import Repository
from app.forges import bitbucket, commits
from app.forges.client import GitClient, RefsReply
from app.forges.credentials import Accounts
from app.forges.fallback import Fallback
from app.forges.rest import Api, Call, Listing, Opened, Pairs, decode, project_path
from app.forges.ways import Tools, git_way, rest_way
from app.settings.types import Forge
from app.transport import Reply, Transport

PAGE_SIZE = 1000  # the most that Bitbucket gives unless its administrator says otherwise
MOST_PUSHES = 100  # a choice: a page of the log of pushes
MOST_LISTED = 100  # a choice: commits of one change that are looked at
OBJECT_ID = 64  # hex digits of a SHA-256 id; SHA-1 has 40

# Bitbucket's word for a changed file, and the one used here.
SORTS = {
    "ADD": "added",
    "COPY": "copied",
    "DELETE": "removed",
    "MODIFY": "modified",
    "MOVE": "renamed",
}


def client(forge: Forge, tools: Tools) -> GitClient:
    """Git first: it counts against no limit."""
    git = git_way(forge, tools, username=forge.username or bitbucket.ACCESS_TOKEN)
    if forge.api_url is None:
        return Fallback([git], now=tools.now)
    accounts = tools.accounts_of(forge)
    rest = rest_way(BitbucketServer(tools.transport, forge, now=tools.now, accounts=accounts))
    return Fallback([git, rest], now=tools.now)


class BitbucketServer:
    """Reads refs over the REST API of Bitbucket Server, which has no ETags for lists."""

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
            authorize=bitbucket.authorization(forge),
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
        """List branches, and tags where patterns want any."""
        root = self._root(repository)
        listings = []
        if repository.refs.branches:
            url = f"{root}/branches?limit={PAGE_SIZE}&orderBy=ALPHABETICAL"
            listings.append(
                Listing(
                    "branches",
                    url,
                    branches,
                    PAGE_SIZE,
                    default_branch=default_branch,
                    opened=opened,
                )
            )
        if repository.refs.tags:
            url = f"{root}/tags?limit={PAGE_SIZE}&orderBy=ALPHABETICAL"
            listings.append(Listing("tags", url, tags, PAGE_SIZE, opened=opened))
        return self._api.list_refs(
            repository, listings, validator=validator, timeout_s=timeout_s, urgent=urgent
        )

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        """Compare the two commits, and their files: two requests."""
        return commits.told(lambda: self._describe(repository, change, timeout_s))

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        """Return the newest changes of refs since then; None where the token may not read them."""
        return commits.told(lambda: self._pushes(repository, since, timeout_s))

    def _describe(self, repository: Repository, change: Event, timeout_s: float) -> Details:
        call = self._api.call(repository, timeout_s, limit_bytes=commits.LIMIT_BYTES)
        root = self._root(repository)
        if is_tag(change.ref):
            tag = call.get_object(f"{root}/tags/{quote(change.name)}")
            return Details((_newest(call, root, tag["latestCommit"]),))
        if not commits.has_base(change):
            return Details((_newest(call, root, change.after),))
        ends = f"from={change.after}&to={change.before}"
        gained = call.get_object(f"{root}/compare/commits?{ends}&limit={MOST_LISTED}")
        listed = gained["values"]
        if not listed:
            return Details((_newest(call, root, change.after),), total=0, forced=True)
        told = commits.newest([commit(item) for item in listed], change)
        total = len(listed) if gained["isLastPage"] else None
        if commits.is_forced(change, map(parents, listed)):
            return Details(told, total, True if total is not None else None)
        changed = call.get_object(f"{root}/compare/changes?{ends}&limit={commits.MOST_FILES}")
        if changed["isLastPage"]:
            told = (*told[:-1], commits.with_files(told[-1], files(changed["values"])))
        return Details(told[-MOST_COMMITS:], total, forced=False)

    def _pushes(
        self, repository: Repository, since: datetime, timeout_s: float
    ) -> tuple[Push, ...]:
        call = self._api.call(repository, timeout_s, purpose=Purpose.ACTIVITY)
        url = f"{self._root(repository)}/ref-change-activities?limit={MOST_PUSHES}"
        read = [push(item) for item in call.get_object(url)["values"]]
        return tuple(sorted((one for one in read if one.at >= since), key=lambda one: one.at))

    def _root(self, repository: Repository) -> str:
        parts = [unquote(part) for part in project_path(self._forge, repository).split("/")]
        if parts[:1] == ["scm"] and repository.remote.scheme != "ssh":
            parts = parts[1:]
        if len(parts) != 2 or not all(parts):  # noqa: PLR2004 - a project and a name
            raise ForgeDenied(
                f"{repository.url} is no repository of Bitbucket's: not scm/PROJECT/name"
            )
        project, name = (quote(part, safe="~") for part in parts)
        return f"{self._api.base}/projects/{project}/repos/{name}"


def opened(reply: Reply, url: str) -> Opened:
    """Take a page apart: ``values``, and where the next page begins, if there is one."""
    found = decode(reply)
    if found["isLastPage"]:
        return found["values"], None
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query)) | {"start": str(int(found["nextPageStart"]))}
    return found["values"], parts._replace(query=urlencode(query)).geturl()


def branches(items: list[Any]) -> Pairs:
    """Take a page of ``/branches`` apart."""
    return [(item["id"], item["latestCommit"]) for item in items]


def tags(items: list[Any]) -> Pairs:
    """Take a page of ``/tags`` apart: ``hash`` is the tag object's own id, where there is one."""
    return [(item["id"], item.get("hash") or item["latestCommit"]) for item in items]


def default_branch(items: list[Any]) -> str | None:
    """Return the default branch's full name, if it stands on this page."""
    found = (item["id"] for item in items if item.get("isDefault"))
    return next((ref for ref in found if ref.startswith(BRANCH_PREFIX)), None)


def parents(item: Mapping[str, Any]) -> list[str]:
    """Return the ids of a commit's parents."""
    return [parent["id"] for parent in item["parents"]]


def commit(item: Mapping[str, Any]) -> Commit:
    """Read one commit; its dates are milliseconds since 1970."""
    author = item["author"]
    committer = item.get("committer") or author
    at = item.get("committerTimestamp") or item["authorTimestamp"]
    return Commit(
        id=commits.text(item["id"], OBJECT_ID),
        message=commits.text(item["message"], commits.LONGEST_MESSAGE),
        author=commits.person(author["name"], author.get("emailAddress"), author.get("slug")),
        committer=commits.person(
            committer["name"], committer.get("emailAddress"), committer.get("slug")
        ),
        committed_at=moment(at),
    )


def files(items: list[Mapping[str, Any]]) -> list[commits.File]:
    """Read a list of changed files."""
    return [
        commits.File(
            SORTS.get(item["type"], "modified"),
            item["path"]["toString"],
            (item.get("srcPath") or {}).get("toString"),
        )
        for item in items
    ]


def push(item: Mapping[str, Any]) -> Push:
    """Read one change of a ref; a deletion has zeros for ``toHash``."""
    change, user = item["refChange"], item["user"]
    return Push(
        ref=change.get("refId") or change["ref"]["id"],
        before=change["fromHash"],
        after=change["toHash"],
        at=moment(item["createdDate"]),
        pusher=commits.person(
            user.get("displayName") or user["name"], user.get("emailAddress"), user["name"]
        ),
    )


def moment(milliseconds: float) -> datetime:
    """Read a date."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _newest(call: Call, root: str, commit_id: str) -> Commit:
    return commit(call.get_object(f"{root}/commits/{commit_id}"))
