"""GitLab: gitlab.com, and GitLab on a server of one's own.

No probe covers its projects: what a group's list tells of them (``last_activity_at``) moves once an
hour at most, and not for every push; and git's own question, which each is asked, is not limited.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from app.domain.allowance import Purpose
from app.domain.details import Commit, Details, Push
from app.domain.event import Event
from app.domain.refs import BRANCH_PREFIX, LONGEST_REF, TAG_PREFIX, is_tag, zeros
from app.domain.repository import Repository
from app.forges import commits
from app.forges.client import GitClient, RefsReply
from app.forges.credentials import Accounts
from app.forges.fallback import Fallback
from app.forges.listing import keep
from app.forges.one_branch import KEY as ONE_BRANCH, literal_branches
from app.forges.rest import (
    WAY,
    Api,
    Listing,
    Pairs,
    decode,
    next_link,
    project_path,
    taken_apart,
)
from app.forges.ways import Tools, git_way, rest_way
from app.settings.types import Forge
from app.transport import Reply, Transport

# GitLab keeps its list of branches for 30 s and 5 more (cache_action_if in lib/api/branches.rb).
LAG = timedelta(seconds=35)
USERNAME = "oauth2"  # with which git takes a token for a password
OBJECT_ID = 64  # hex digits of a SHA-256 id; SHA-1 has 40
# A choice: up to so many branches are asked for one by one rather than listed.
MOST_ALONE = 5
NO_BRANCH = frozenset({404})  # also where there is no such project
BRANCHES = "branches "  # how the list's validators begin in a reply's
MOST_LOG_PAGES = 2  # a choice: 200 pushes


def client(forge: Forge, tools: Tools) -> GitClient:
    """Git first: GitLab's API keeps its list of branches for 30 s."""
    git = git_way(forge, tools, username=USERNAME)
    if forge.api_url is None:
        return Fallback([git], now=tools.now)
    rest = rest_way(
        GitLab(tools.transport, forge, now=tools.now, accounts=tools.accounts_of(forge))
    )
    return Fallback([git, rest], now=tools.now)


class GitLab:
    """Reads refs over GitLab's REST API.

    GitLab keeps its list of branches for 30 s, so this is never as quick as asking its git. Single
    branches it does not keep: where few are watched by their names, they are asked for alone.
    """

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
            authorize=lambda token: {"PRIVATE-TOKEN": token.reveal()},
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
        """Ask for the few branches that are wanted, or list branches, and tags if any are."""
        deadline = time.monotonic() + timeout_s
        names = literal_branches(repository.refs, most=MOST_ALONE)
        # A list's validator says that one of them was not there the last time.
        has_list = any(name.startswith(BRANCHES) for name in validator)
        asked = 0
        if names and not has_list:
            reply, asked = self._alone(repository, names, validator, timeout_s, urgent=urgent)
            if reply is not None:
                return reply
        left = max(0.01, deadline - time.monotonic())
        reply = self._list(repository, validator, left, urgent=urgent)
        refs = reply.refs or {}
        is_all_there = bool(names) and all(BRANCH_PREFIX + name in refs for name in names)
        known = {} if is_all_there else reply.validator
        return replace(reply, validator=known, requests=reply.requests + asked, lag=LAG)

    def _alone(
        self,
        repository: Repository,
        names: Sequence[str],
        validator: Mapping[str, str],
        timeout_s: float,
        *,
        urgent: bool,
    ) -> tuple[RefsReply | None, int]:
        """Ask for each branch by its name; count what it took.

        The reply is None where one is not there: only the list tells why.
        """
        call = self._api.call(repository, timeout_s, urgent=urgent, purpose=Purpose.ONE_BRANCH)
        root = self._root(repository)
        urls = {name: f"{root}/branches/{quote(name, safe='')}" for name in names}
        known = {name: validator.get(ONE_BRANCH + name, "") for name in names}
        replies: dict[str, Reply] = {}
        if all(known.values()):
            for name, url in urls.items():
                reply = call.get(url, etag=known[name], also=NO_BRANCH)
                if reply.status != HTTPStatus.NOT_MODIFIED:
                    replies[name] = reply
                    break
            else:
                moved_to = self._api.moved_to(repository, call)
                told = RefsReply(None, WAY, dict(validator), None, call.requests, moved_to=moved_to)
                return told, call.requests
        items = []
        etags = {}
        for name, url in urls.items():
            reply = replies.get(name) or call.get(url, also=NO_BRANCH)
            if reply.status != HTTPStatus.OK:
                return None, call.requests
            items.append(decode(reply))
            etags[ONE_BRANCH + name] = reply.headers.get("ETag", "")
        told = RefsReply(
            keep(taken_apart(branches, items), repository),
            WAY,
            etags if all(etags.values()) else {},
            default_branch(items),
            call.requests,
            moved_to=self._api.moved_to(repository, call),
        )
        return told, call.requests

    def _list(
        self,
        repository: Repository,
        validator: Mapping[str, str],
        timeout_s: float,
        *,
        urgent: bool,
    ) -> RefsReply:
        root = self._root(repository)
        listings = []
        if repository.refs.branches:
            url = f"{root}/branches?per_page=100&pagination=keyset"
            listings.append(Listing("branches", url, branches, default_branch=default_branch))
        if repository.refs.tags:
            url = f"{root}/tags?per_page=100&order_by=name&sort=asc"
            listings.append(Listing("tags", url, tags))
        return self._api.list_refs(
            repository, listings, validator=validator, timeout_s=timeout_s, urgent=urgent
        )

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        """Compare the two commits, or ask for the newest alone: one request, rarely two."""
        return commits.told(lambda: self._describe(repository, change, timeout_s))

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        """Read the project's events that are pushes: one request, rarely two."""
        return commits.told(
            lambda: self._pushes(repository, since, timeout_s), "log of pushes not read"
        )

    def _pushes(
        self, repository: Repository, since: datetime, timeout_s: float
    ) -> tuple[Push, ...]:
        call = self._api.call(
            repository, timeout_s, limit_bytes=commits.LIMIT_BYTES, purpose=Purpose.ACTIVITY
        )
        project = self._root(repository).removesuffix("/repository")
        # GitLab takes a day here, and tells what came after it; whose midnight it means is open.
        day = (since - timedelta(days=2)).date().isoformat()
        url = f"{project}/events?action=pushed&after={day}&sort=desc&per_page=100"
        found: dict[int, Push] = {}
        for _ in range(MOST_LOG_PAGES):
            reply = call.get(url)
            items = decode(reply)
            moments = [commits.moment(item["created_at"]) for item in items]
            for item, at in zip(items, moments, strict=True):
                one = push(item, at) if at >= since else None
                if one is not None:
                    found[item["id"]] = one
            following = next_link(reply.headers)
            if not following or not moments or moments[-1] < since:
                break
            url = call.next_url(url, following)
        oldest_first = list(found.values())[::-1]  # so they stay where their moments are equal
        return tuple(sorted(oldest_first, key=lambda one: one.at))

    def _describe(self, repository: Repository, change: Event, timeout_s: float) -> Details | None:
        call = self._api.call(repository, timeout_s, limit_bytes=commits.LIMIT_BYTES)
        root = self._root(repository)
        if is_tag(change.ref):
            found = call.get_object(f"{root}/tags/{quote(change.name, safe='')}")
            is_it = found["target"] == change.after
            return Details((commit(found["commit"]),)) if is_it else None
        newest = f"{root}/commits/{change.after}?stats=false"
        if not commits.has_base(change):
            return Details((commit(call.get_object(newest)),))
        # Straight: between the two commits themselves, as the push moved the branch.
        url = f"{root}/compare?from={change.before}&to={change.after}&straight=true"
        found = call.get_object(url)
        if found["commits"]:
            return compared(found, change)
        if found["compare_same_ref"] is not False:  # null where one of the two is not known
            return None
        return Details((commit(call.get_object(newest)),), total=0, forced=True)

    def _root(self, repository: Repository) -> str:
        path = quote(project_path(self._forge, repository), safe="")
        return f"{self._api.base}/projects/{path}/repository"


def branches(items: list[Any]) -> Pairs:
    """Take a page of ``/repository/branches`` apart."""
    return [(BRANCH_PREFIX + item["name"], item["commit"]["id"]) for item in items]


def tags(items: list[Any]) -> Pairs:
    """Take a page of ``/repository/tags`` apart: ``target`` is the tag object's own id."""
    return [(TAG_PREFIX + item["name"], item["target"]) for item in items]


def push(item: Mapping[str, Any], at: datetime) -> Push | None:
    """Read one event; None where it tells of many refs at once, which GitLab does not name."""
    data = item["push_data"]
    before, after, name = data["commit_from"], data["commit_to"], data["ref"]
    if not name or not (before or after):
        return None
    author = item.get("author") or {}
    who = author.get("username") or item.get("author_username")
    prefix = TAG_PREFIX if data["ref_type"] == "tag" else BRANCH_PREFIX
    return Push(
        ref=commits.text(prefix + name, LONGEST_REF),
        before=commits.text(before or zeros(after), OBJECT_ID),
        after=commits.text(after or zeros(before), OBJECT_ID),
        at=at,
        # GitLab tells nobody's address here, nor whether a push was forced.
        pusher=commits.person(author.get("name") or who, "", who) if who else None,
    )


def compared(found: Mapping[str, Any], change: Event) -> Details:
    """Take ``/compare`` apart: commits oldest first, files of all of them together."""
    listed = found["commits"]
    forced = commits.is_forced(change, (item["parent_ids"] for item in listed))
    told = commits.newest([commit(item) for item in listed], change)
    if not forced and not found["compare_timeout"]:
        told = (*told[:-1], commits.with_files(told[-1], files(found["diffs"])))
    return Details(told, total=len(listed), forced=forced)


def commit(item: Mapping[str, Any]) -> Commit:
    """Read one commit; GitLab tells neither its tree nor anybody's account."""
    return Commit(
        id=commits.text(item["id"], OBJECT_ID),
        message=commits.text(item["message"], commits.LONGEST_MESSAGE),
        author=commits.person(item["author_name"], item["author_email"]),
        committer=commits.person(item["committer_name"], item["committer_email"]),
        committed_at=commits.moment(item["committed_date"]),
        url=commits.text(item["web_url"], commits.LONGEST_WORD) if item.get("web_url") else None,
    )


def files(items: Sequence[Mapping[str, Any]]) -> list[commits.File]:
    """Read a list of changed files, whose sort is told by flags."""
    flags = {"new_file": "added", "deleted_file": "removed", "renamed_file": "renamed"}
    return [
        commits.File(
            next((sort for flag, sort in flags.items() if item[flag]), "modified"),
            item["new_path"],
            item["old_path"],
        )
        for item in items
    ]


def default_branch(items: list[Any]) -> str | None:
    """Return the default branch's full name, if it stands on this page."""
    return next((BRANCH_PREFIX + item["name"] for item in items if item.get("default")), None)
