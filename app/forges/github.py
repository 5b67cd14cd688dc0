"""GitHub: github.com, and GitHub Enterprise on a server of one's own."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from app.domain.details import MOST_COMMITS, Commit, Details, Push
from app.domain.errors import ForgeDenied
from app.domain.event import Event
from app.domain.refs import BRANCH_PREFIX, is_tag
from app.domain.repository import Repository
from app.forges import commits
from app.forges.client import GitClient, RefsReply
from app.forges.credentials import Accounts
from app.forges.fallback import Fallback
from app.forges.rest import Api, Listing, Pairs, project_path
from app.forges.ways import Tools, git_way, rest_way
from app.settings.types import Forge
from app.transport import Transport

HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
EMPTY_REPOSITORY = frozenset({409})
USERNAME = "x-access-token"  # with which git takes a token for a password
OBJECT_ID = 64  # hex digits of a SHA-256 id; SHA-1 has 40


def client(forge: Forge, tools: Tools) -> GitClient:
    """REST first where its 304s are free and enough: with a token, and for branches alone."""
    git = git_way(forge, tools, username=USERNAME)
    if forge.api_url is None:
        return Fallback([git], now=tools.now)
    rest = rest_way(
        GitHub(tools.transport, forge, now=tools.now, accounts=tools.accounts_of(forge))
    )
    git_first = Fallback([git, rest], now=tools.now)
    if not forge.signs_in:
        return git_first
    return _ByTags(without=Fallback([rest, git], now=tools.now), wanted=git_first)


class GitHub:
    """Reads refs over GitHub's REST API; an unchanged list (304) costs nothing of its limit."""

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
            headers=HEADERS,
            authorize=lambda token: {"Authorization": f"Bearer {token.reveal()}"},
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
            # Not git/matching-refs: GitHub wants 300 s between two questions there.
            url = f"{root}/branches?per_page=100"
            listings.append(Listing("branches", url, branches, empty_statuses=EMPTY_REPOSITORY))
        if repository.refs.tags:
            url = f"{root}/git/matching-refs/tags?per_page=100"
            listings.append(Listing("tags", url, tags, empty_statuses=EMPTY_REPOSITORY))
        return self._api.list_refs(
            repository, listings, validator=validator, timeout_s=timeout_s, urgent=urgent
        )

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        """Compare the two commits, or ask for the newest alone: one request."""
        return commits.told(lambda: self._describe(repository, change, timeout_s))

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        """Return None: nothing is asked yet."""
        return None

    def _describe(self, repository: Repository, change: Event, timeout_s: float) -> Details:
        call = self._api.call(repository, timeout_s, limit_bytes=commits.LIMIT_BYTES)
        root = self._root(repository)
        if commits.has_base(change):
            # Without pages: only then the last commit that is listed is the newest of them.
            url = f"{root}/compare/{change.before}...{change.after}"
            return compared(call.get_object(url), change)
        # A tag by its name, since its id may be the tag object's; the page is one of files.
        ref = f"tags/{quote(change.name)}" if is_tag(change.ref) else change.after
        return Details((commit(call.get_object(f"{root}/commits/{ref}?per_page=1")),))

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


def compared(found: Mapping[str, Any], change: Event) -> Details:
    """Take ``/compare`` apart: commits oldest first, files of all of them together."""
    status = found["status"]
    forced = status in {"behind", "diverged"}
    # Of a branch that was taken back, the merge base is where it is now.
    listed = found["commits"][-MOST_COMMITS:] or [found["merge_base_commit"]]
    told = commits.newest([commit(item) for item in listed], change)
    if status == "ahead" and "files" in found:
        told = (*told[:-1], commits.with_files(told[-1], files(found["files"])))
    return Details(told, total=int(found["total_commits"]), forced=forced)


def commit(item: Mapping[str, Any]) -> Commit:
    """Read one commit as GitHub's and Gitea's APIs spell it; its accounts may be unknown."""
    inner = item["commit"]
    by, put = inner["author"], inner["committer"]
    return Commit(
        id=commits.text(item["sha"], OBJECT_ID),
        message=commits.text(inner["message"], commits.LONGEST_MESSAGE),
        author=commits.person(by["name"], by["email"], login(item.get("author"))),
        committer=commits.person(put["name"], put["email"], login(item.get("committer"))),
        committed_at=commits.moment(put["date"]),
        tree_id=commits.text(inner["tree"]["sha"], OBJECT_ID),
        url=commits.text(item["html_url"], commits.LONGEST_WORD),
    )


def login(account: Mapping[str, Any] | None) -> str | None:
    """Return an account's name, where there is one."""
    return account.get("login") if account else None


def files(items: Sequence[Mapping[str, Any]]) -> list[commits.File]:
    """Read a list of changed files."""
    return [
        commits.File(item["status"], item["filename"], item.get("previous_filename"))
        for item in items
    ]


class _ByTags:
    """Chooses between two clients by whether a repository's tags are watched."""

    def __init__(self, *, without: Fallback, wanted: Fallback) -> None:
        self._without = without
        self._wanted = wanted

    def list_refs(
        self,
        repository: Repository,
        *,
        validator: Mapping[str, str],
        timeout_s: float,
        urgent: bool = False,
    ) -> RefsReply:
        """Ask the one for this repository."""
        return self._for(repository).list_refs(
            repository, validator=validator, timeout_s=timeout_s, urgent=urgent
        )

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        """Ask the one for this repository."""
        return self._for(repository).describe(repository, change=change, timeout_s=timeout_s)

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        """Ask the one for this repository."""
        return self._for(repository).pushes(repository, since=since, timeout_s=timeout_s)

    def way_of(self, repository: Repository) -> str:
        """Return what the one for this repository would read by."""
        return self._for(repository).way_of(repository)

    def _for(self, repository: Repository) -> Fallback:
        return self._wanted if repository.refs.tags else self._without
