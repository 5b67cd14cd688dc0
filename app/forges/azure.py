"""Azure DevOps: dev.azure.com, ORGANISATION.visualstudio.com, and Azure DevOps Server.

As documented in Microsoft's "Azure DevOps Services REST API Reference" (Git: Refs, Commits, Diffs,
Pushes), "Use personal access tokens" and "Rate and usage limits":

- Reading: git first. The API tells the tag objects' own ids (``objectId``, as long as nobody asks
  to peel them), so it can stand in for git altogether.
- Signing in: a personal access token, as the password of Basic without a user name.
- Pages: ``continuationToken``, told by the header ``x-ms-continuationtoken``; at most 1,000 refs.
- Limits: 200 throughput units (TSTU) in a sliding 5 minutes for each user, git among them. Answers
  tell of them (``X-RateLimit-*``) only when they come near, and then ask to slow down
  (``Retry-After``) though they succeed: that is followed, while units, which are no requests, are
  not counted here.
- The log of pushes is ``pushes``.
- Addresses: ``URL/{organisation}/{project}/_git/{repository}``; a project's repository of the same
  name may be called ``URL/{organisation}/_git/{repository}``. On a server of one's own the
  collection stands for the organisation. A forge's ``url`` may name it already (always so with
  visualstudio.com); then it is left out. The API is on the same host.
- Where nobody is signed in, a page to do so comes as a 203; ``X-TFS-FedAuthRedirect`` asks for a
  refusal in place of a redirect to that page.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from app.domain.allowance import Purpose
from app.domain.details import Commit, Details, Push
from app.domain.errors import ForgeDenied
from app.domain.event import Event
from app.domain.refs import is_tag
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.forges import commits
from app.forges.client import GitClient, RefsReply
from app.forges.credentials import Accounts
from app.forges.fallback import Fallback
from app.forges.rest import Api, Call, Listing, Opened, Pairs, decode, project_path
from app.forges.ways import Tools, git_way, rest_way
from app.settings.types import Forge
from app.transport import Reply, Transport

API_VERSION = "api-version=7.0"  # Azure DevOps Server 2022 has it too
HEADERS = {"Accept": "application/json", "X-TFS-FedAuthRedirect": "Suppress"}
USERNAME = ""  # a token is a password without a name
PAGE_SIZE = 1000  # the most refs that one answer holds
MOST_PUSHES = 100  # a choice: a page of the log of pushes
MOST_LISTED = 100  # a choice: commits of one change that are asked for
OBJECT_ID = 64  # hex digits of a SHA-256 id; SHA-1 has 40
SSH_MARK = "v3"  # begins the path of git@ssh.dev.azure.com:v3/organisation/project/name
GIT_MARK = "_git"
OLD_HOST = ".visualstudio.com"  # after the organisation's name
VARIANTS = frozenset({"_full", "_optimized"})  # of a clone, told in its address

# Azure's word for a changed file, and the one used here. Others stand beside them, as in
# "edit, rename".
SORTS = {"add": "added", "delete": "removed", "rename": "renamed", "edit": "modified"}


def client(forge: Forge, tools: Tools) -> GitClient:
    """Git first: it tells all refs and the default branch in one request."""
    git = git_way(forge, tools, username=USERNAME)
    if forge.api_url is None:
        return Fallback([git], now=tools.now)
    accounts = tools.accounts_of(forge)
    rest = rest_way(Azure(tools.transport, forge, now=tools.now, accounts=accounts))
    return Fallback([git, rest], now=tools.now)


class Azure:
    """Reads refs over Azure DevOps' REST API, which has no ETags for lists."""

    def __init__(
        self,
        transport: Transport,
        forge: Forge,
        *,
        now: Callable[[], datetime],
        accounts: Accounts | None = None,
    ) -> None:
        self._forge = forge
        there = urlsplit(forge.url)
        self._has_owner = not there.path.strip("/") and not (there.hostname or "").endswith(
            OLD_HOST
        )
        self._api = Api(
            transport, forge, headers=HEADERS, authorize=authorize, now=now, accounts=accounts
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
        wanted = {"heads": repository.refs.branches, "tags": repository.refs.tags}
        listings = [
            Listing(
                name,
                f"{root}/refs?filter={name}/&$top={PAGE_SIZE}&{API_VERSION}",
                refs,
                PAGE_SIZE,
                opened=opened,
            )
            for name, patterns in wanted.items()
            if patterns
        ]
        return self._api.list_refs(
            repository, listings, validator=validator, timeout_s=timeout_s, urgent=urgent
        )

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        """Compare the two commits, then ask for those that were gained: two requests."""
        return commits.told(lambda: self._describe(repository, change, timeout_s))

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        """Return the newest pushes since then."""
        return commits.told(lambda: self._pushes(repository, since, timeout_s))

    def _describe(self, repository: Repository, change: Event, timeout_s: float) -> Details | None:
        call = self._api.call(repository, timeout_s, limit_bytes=commits.LIMIT_BYTES)
        root = self._root(repository)
        if is_tag(change.ref):
            target = _peeled(call, root, change)
            return Details((_newest(call, root, target),)) if target else None
        if not commits.has_base(change):
            return Details((_newest(call, root, change.after),))
        ends = f"baseVersion={change.before}&baseVersionType=commit"
        ends += f"&targetVersion={change.after}&targetVersionType=commit"
        found = call.get_object(
            f"{root}/diffs/commits?{ends}&$top={commits.MOST_FILES}&{API_VERSION}"
        )
        ahead, behind = int(found["aheadCount"]), int(found["behindCount"])
        told = self._gained(call, root, change, ahead)
        if not behind and found.get("allChangesIncluded"):
            told = (*told[:-1], commits.with_files(told[-1], files(found["changes"])))
        return Details(told, total=ahead, forced=behind > 0)

    def _gained(self, call: Call, root: str, change: Event, ahead: int) -> tuple[Commit, ...]:
        """Return the commits on the way to a change's end, or the one at its end alone."""
        if ahead > 1:
            ends = f"searchCriteria.itemVersion.version={change.before}"
            ends += "&searchCriteria.itemVersion.versionType=commit"
            ends += f"&searchCriteria.compareVersion.version={change.after}"
            ends += "&searchCriteria.compareVersion.versionType=commit"
            top = min(ahead, MOST_LISTED)
            found = call.get_object(
                f"{root}/commits?{ends}&searchCriteria.$top={top}&{API_VERSION}"
            )
            listed = [commit(item) for item in found["value"]]
            if len(listed) == top and change.after in {listed[0].id, listed[-1].id}:
                return commits.newest(listed, change)
        return (_newest(call, root, change.after),)

    def _pushes(
        self, repository: Repository, since: datetime, timeout_s: float
    ) -> tuple[Push, ...]:
        call = self._api.call(repository, timeout_s, purpose=Purpose.ACTIVITY)
        wish = f"$top={MOST_PUSHES}&searchCriteria.includeRefUpdates=true"
        wish += f"&searchCriteria.fromDate={since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        found = call.get_object(f"{self._root(repository)}/pushes?{wish}&{API_VERSION}")
        read = [push for item in found["value"] for push in pushes_of(item)]
        return tuple(sorted((one for one in read if one.at >= since), key=lambda one: one.at))

    def _root(self, repository: Repository) -> str:
        path = project_path(self._forge, repository)
        before, project, name = located(path, has_owner=self._has_owner)
        parts = [quote(part, safe="") for part in (*before, project, "_apis", "git")]
        return f"{self._api.base}/{'/'.join(parts)}/repositories/{quote(name, safe='')}"


def authorize(token: Secret) -> Mapping[str, str]:
    """Spell a token as a header."""
    pair = base64.b64encode(f"{USERNAME}:{token.reveal()}".encode()).decode("ascii")
    return {"Authorization": f"Basic {pair}"}


def located(path: str, *, has_owner: bool) -> tuple[Sequence[str], str, str]:
    """Take a repository's path apart: what comes before its project, the project, its name.

    ``has_owner`` says whether the path names the organisation, or the collection, too.

    >>> located("acme/web/_git/site", has_owner=True), located("web/_git/site", has_owner=False)
    ((['acme'], 'web', 'site'), ([], 'web', 'site'))
    >>> located("acme/_git/site", has_owner=True), located("v3/acme/my%20web/site", has_owner=True)
    ((['acme'], 'site', 'site'), (['acme'], 'my web', 'site'))

    Raises:
        ForgeDenied: It is no repository's.
    """
    parts = [unquote(part) for part in path.split("/") if part not in VARIANTS]
    if parts[0] == SSH_MARK and len(parts) == 4:  # noqa: PLR2004 - organisation, project, name
        return parts[1:2] if has_owner else [], parts[2], parts[3]
    if parts[-2:-1] != [GIT_MARK] or not parts[-1]:
        raise ForgeDenied(f"{path} is no repository of Azure DevOps: not project/_git/name")
    before, name = parts[:-2], parts[-1]
    # Where the project goes without saying, it has the repository's name.
    if len(before) <= int(has_owner):
        return before, name, name
    return before[:-1], before[-1], name


def opened(reply: Reply, url: str) -> Opened:
    """Take a page apart: ``value``, and the address that the continuation token makes."""
    items = decode(reply)["value"]
    token = reply.headers.get("x-ms-continuationtoken", "")
    if not token:
        return items, None
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query)) | {"continuationToken": token}
    return items, parts._replace(query=urlencode(query, safe="/$")).geturl()


def refs(items: list[Any]) -> Pairs:
    """Take a page of ``/refs`` apart: ``objectId`` is what the ref itself holds."""
    return [(item["name"], item["objectId"]) for item in items]


def commit(item: Mapping[str, Any]) -> Commit:
    """Read one commit; Azure tells nobody's account."""
    by, put, link = item["author"], item["committer"], item.get("remoteUrl")
    return Commit(
        id=commits.text(item["commitId"], OBJECT_ID),
        message=commits.text(item["comment"], commits.LONGEST_MESSAGE),
        author=commits.person(by["name"], by["email"]),
        committer=commits.person(put["name"], put["email"]),
        committed_at=commits.moment(put["date"]),
        tree_id=item.get("treeId"),
        url=commits.text(link, commits.LONGEST_WORD) if link else None,
    )


def files(items: Sequence[Mapping[str, Any]]) -> list[commits.File]:
    """Read a list of changes, whose paths begin with a slash; folders are left out."""
    return [
        commits.File(
            _sort(item["changeType"]),
            item["item"]["path"].removeprefix("/"),
            (item.get("sourceServerItem") or "").removeprefix("/") or None,
        )
        for item in items
        if not item["item"].get("isFolder")
    ]


def pushes_of(item: Mapping[str, Any]) -> list[Push]:
    """Read one push, which may have moved several refs."""
    by = item["pushedBy"]
    name = by.get("uniqueName") or ""
    pusher = commits.person(by.get("displayName"), name if "@" in name else "", name)
    at = commits.moment(item["date"])
    return [
        Push(update["name"], update["oldObjectId"], update["newObjectId"], at, pusher)
        for update in item.get("refUpdates") or ()
    ]


def _sort(words: str) -> str:
    told = {word.strip().lower() for word in words.split(",")}
    return next((sort for word, sort in SORTS.items() if word in told), "modified")


def _newest(call: Call, root: str, commit_id: str) -> Commit:
    return commit(call.get_object(f"{root}/commits/{commit_id}?{API_VERSION}"))


def _peeled(call: Call, root: str, change: Event) -> str | None:
    """Return the commit that a tag leads to, if the tag is still what the change made of it."""
    wish = f"filter=tags/{quote(change.name)}&peelTags=true&{API_VERSION}"
    for item in call.get_object(f"{root}/refs?{wish}")["value"]:
        if item["name"] == change.ref and item["objectId"] == change.after:
            target: str = item.get("peeledObjectId") or item["objectId"]
            return target
    return None
