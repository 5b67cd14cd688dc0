"""GitLab: gitlab.com, and GitLab on a server of one's own."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from app.domain.details import Commit, Details, Push
from app.domain.event import Event
from app.domain.refs import BRANCH_PREFIX, TAG_PREFIX, is_tag
from app.domain.repository import Repository
from app.forges import commits
from app.forges.client import GitClient, RefsReply
from app.forges.credentials import Accounts
from app.forges.fallback import Fallback
from app.forges.rest import Api, Listing, Pairs, project_path
from app.forges.ways import Tools, git_way, rest_way
from app.settings.types import Forge
from app.transport import Transport

# GitLab keeps its list of branches for 30 s and 5 more (cache_action_if in lib/api/branches.rb).
LAG = timedelta(seconds=35)
USERNAME = "oauth2"  # with which git takes a token for a password
OBJECT_ID = 64  # hex digits of a SHA-256 id; SHA-1 has 40


def client(forge: Forge, tools: Tools) -> GitClient:
    """Git first: GitLab's API keeps its list of branches for 30 s."""
    git = git_way(forge, tools, username=USERNAME)
    if forge.api_url is None:
        return Fallback([git], now=tools.now)
    rest = rest_way(
        GitLab(tools.transport, forge, now=tools.now, accounts=tools.accounts_of(forge)), lag=LAG
    )
    return Fallback([git, rest], now=tools.now)


class GitLab:
    """Reads refs over GitLab's REST API.

    GitLab keeps its list of branches for 30 s, so this is never as quick as asking its git.
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
        """List branches, and tags where patterns want any."""
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
        """Return None: nothing is asked yet."""
        return None

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
