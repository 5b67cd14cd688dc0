"""GitHub: github.com, and GitHub Enterprise on a server of one's own."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from app.domain.allowance import Purpose
from app.domain.details import MOST_COMMITS, Commit, Details, Push
from app.domain.errors import ForgeAnswerInvalid, ForgeDenied
from app.domain.event import Event
from app.domain.refs import BRANCH_PREFIX, LONGEST_REF, is_tag
from app.domain.repository import Repository
from app.forges import commits
from app.forges.client import GitClient, RefsReply
from app.forges.credentials import Accounts
from app.forges.fallback import Fallback
from app.forges.listing import keep
from app.forges.one_branch import KEY as ONE_BRANCH, literal_branches
from app.forges.probe import JustTold
from app.forges.rest import WAY, Api, Listing, Pairs, decode, next_link, project_path
from app.forges.ways import Spared, Tools, git_way, rest_way
from app.settings.types import Forge
from app.transport import Transport

HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
EMPTY_REPOSITORY = frozenset({409})
USERNAME = "x-access-token"  # with which git takes a token for a password
OBJECT_ID = 64  # hex digits of a SHA-256 id; SHA-1 has 40
SHA_ALONE = "application/vnd.github.sha"  # the form of a commit that is nothing but its id
# What is answered for a branch that is not there, an empty repository, or one that is gone.
NO_BRANCH = frozenset({404, 409, 422})
# How a list's validators begin in a reply's, by the list's name.
BRANCHES, TAGS = "branches ", "tags "
# X-Poll-Interval of git/matching-refs, in every recorded answer.
TAGS_EVERY = timedelta(seconds=300)
# What the log of pushes can be asked for, the shortest first.
PERIODS = (
    ("day", timedelta(days=1)),
    ("week", timedelta(days=7)),
    ("month", timedelta(days=28)),
    ("quarter", timedelta(days=90)),
    ("year", timedelta(days=365)),
)
MOST_LOG_PAGES = 2  # a choice: 200 pushes
NO_LOG_FOR = timedelta(hours=1)  # a choice: how long a log that was refused is not asked for


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
    rest_first = Fallback([rest, git], now=tools.now)
    by_tags = _ByTags(without=rest_first, wanted=git_first, spared=tools.spared)
    return _AfterProbes(by_tags, tools.just_told)


def api(
    transport: Transport,
    forge: Forge,
    *,
    now: Callable[[], datetime],
    accounts: Accounts | None = None,
) -> Api:
    """Return the way to a GitHub's API, as this client and its probes take it."""
    return Api(
        transport,
        forge,
        headers=HEADERS,
        authorize=lambda token: {"Authorization": f"Bearer {token.reveal()}"},
        now=now,
        accounts=accounts,
    )


class GitHub:
    """Reads refs over GitHub's REST API; an unchanged list (304) costs nothing of its limit.

    ``tags_every`` is how long tags that were told are not asked for again.
    """

    def __init__(
        self,
        transport: Transport,
        forge: Forge,
        *,
        now: Callable[[], datetime],
        accounts: Accounts | None = None,
        tags_every: timedelta = TAGS_EVERY,
    ) -> None:
        self._forge = forge
        self._now = now
        self._tags_every = tags_every
        self._api = api(transport, forge, now=now, accounts=accounts)
        # By repository URL; only ever replaced whole, so no lock is needed.
        self._tags: dict[str, _Tags] = {}
        self._no_log: dict[str, datetime] = {}

    def list_refs(
        self,
        repository: Repository,
        *,
        validator: Mapping[str, str],
        timeout_s: float,
        urgent: bool = False,
    ) -> RefsReply:
        """Ask for the one branch that is wanted, or list branches, and tags if any are."""
        deadline = time.monotonic() + timeout_s
        (branch,) = literal_branches(repository.refs) or ("",)
        # A list's validator says that the branch was not there the last time.
        has_list = any(name.startswith(BRANCHES) for name in validator)
        asked = 0
        if branch and not has_list:
            reply, asked = self._one_branch(repository, branch, validator, timeout_s, urgent=urgent)
            if reply is not None:
                return reply
        left = max(0.01, deadline - time.monotonic())
        reply = self._list(repository, validator, left, urgent=urgent)
        target = reply.refs.get(BRANCH_PREFIX + branch) if branch and reply.refs else None
        known = {ONE_BRANCH + branch: target} if target else reply.validator
        return replace(reply, validator=known, requests=reply.requests + asked)

    def _one_branch(
        self,
        repository: Repository,
        branch: str,
        validator: Mapping[str, str],
        timeout_s: float,
        *,
        urgent: bool,
    ) -> tuple[RefsReply | None, int]:
        """Ask for one branch, whose ETag is its commit's id; count what it took.

        The reply is None where the branch is not there: only the list tells why.
        """
        call = self._api.call(repository, timeout_s, urgent=urgent, purpose=Purpose.ONE_BRANCH)
        known = validator.get(ONE_BRANCH + branch, "")
        url = f"{self._root(repository)}/commits/heads/{quote(branch)}"
        etag = f'"{known}"' if known else ""
        reply = call.get(url, etag=etag, accept=SHA_ALONE, also=NO_BRANCH)
        if reply.status == HTTPStatus.NOT_MODIFIED:
            moved_to = self._api.moved_to(repository, call)
            told = RefsReply(None, WAY, dict(validator), None, call.requests, moved_to=moved_to)
            return told, call.requests
        if reply.status != HTTPStatus.OK:
            return None, call.requests
        if len(reply.body) > OBJECT_ID:
            raise ForgeAnswerInvalid("GitHub answered more than the commit's id it was asked for")
        target = reply.body.decode("ascii", "replace")
        refs = keep([(BRANCH_PREFIX + branch, target)], repository)
        moved_to = self._api.moved_to(repository, call)
        own = {ONE_BRANCH + branch: target}
        told = RefsReply(refs, WAY, own, None, call.requests, moved_to=moved_to)
        return told, call.requests

    def _list(
        self,
        repository: Repository,
        validator: Mapping[str, str],
        timeout_s: float,
        *,
        urgent: bool,
    ) -> RefsReply:
        deadline = time.monotonic() + timeout_s
        root = self._root(repository)
        listings = []
        if repository.refs.branches:
            # Not git/matching-refs: GitHub wants 300 s between two questions there.
            url = f"{root}/branches?per_page=100"
            listings.append(Listing("branches", url, branches, empty_statuses=EMPTY_REPOSITORY))
        if not repository.refs.tags:
            return self._api.list_refs(
                repository, listings, validator=validator, timeout_s=timeout_s, urgent=urgent
            )
        kept = self._tags.get(repository.url)
        if kept is not None and kept.asked_at <= self._now() < kept.asked_at + self._tags_every:
            reply = self._with_kept(repository, listings, kept, validator, timeout_s, urgent=urgent)
            if reply is not None:
                return reply
            timeout_s = max(0.01, deadline - time.monotonic())
        asked_at = self._now()
        url = f"{root}/git/matching-refs/tags?per_page=100"
        listings.append(Listing("tags", url, tags, empty_statuses=EMPTY_REPOSITORY))
        reply = self._api.list_refs(
            repository, listings, validator=validator, timeout_s=timeout_s, urgent=urgent
        )
        made_for = _of_tags(reply.validator)
        refs = None
        if reply.refs is not None:
            refs = [pair for pair in reply.refs.items() if is_tag(pair[0])]
        elif kept is not None and kept.validator == made_for:
            refs = kept.refs
        self._tags[repository.url] = _Tags(asked_at, made_for, refs)
        return reply

    def _with_kept(
        self,
        repository: Repository,
        listings: Sequence[Listing],
        kept: "_Tags",
        validator: Mapping[str, str],
        timeout_s: float,
        *,
        urgent: bool,
    ) -> RefsReply | None:
        """Ask for branches alone, and tell the tags as they were; None where nobody knows them."""
        of_tags = _of_tags(validator)
        if of_tags and of_tags != kept.validator:
            # What was told last has not become the snapshot: an ETag from before it would not
            # notice were the tags to go back to what they were then.
            return None
        reply = RefsReply(None if of_tags else {}, WAY, dict(validator), requests=0)
        if listings:
            reply = self._api.list_refs(
                repository, listings, validator=validator, timeout_s=timeout_s, urgent=urgent
            )
        age = self._now() - kept.asked_at
        if reply.refs is None:
            return replace(reply, lag=age)
        if kept.refs is None:
            return None
        refs = {**reply.refs, **keep(kept.refs, repository)}
        known = {**reply.validator, **of_tags} if reply.validator and of_tags else {}
        return replace(reply, refs=refs, validator=known, lag=age)

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        """Compare the two commits, or ask for the newest alone: one request."""
        return commits.told(lambda: self._describe(repository, change, timeout_s))

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        """Read GitHub's own log: one request, rarely two."""
        denied_at = self._no_log.get(repository.url)
        if denied_at is not None and denied_at <= self._now() < denied_at + NO_LOG_FOR:
            return None
        return commits.told(
            lambda: self._pushes(repository, since, timeout_s), "log of pushes not read"
        )

    def _pushes(
        self, repository: Repository, since: datetime, timeout_s: float
    ) -> tuple[Push, ...]:
        call = self._api.call(
            repository, timeout_s, limit_bytes=commits.LIMIT_BYTES, purpose=Purpose.ACTIVITY
        )
        # The moments of the log are whole seconds.
        since = since.replace(microsecond=0)
        ago = self._now() - since
        period = next((f"&time_period={name}" for name, length in PERIODS if ago < length), "")
        url = f"{self._root(repository)}/activity?per_page=100{period}"
        found: dict[int, Push] = {}
        for _ in range(MOST_LOG_PAGES):
            try:
                reply = call.get(url)
            except ForgeDenied:
                self._no_log[repository.url] = self._now()
                raise
            page = [(item["id"], push(item)) for item in decode(reply)]
            found |= {id_: one for id_, one in page if one.at >= since}
            following = next_link(reply.headers)
            if not following or not page or page[-1][1].at < since:
                break
            url = call.next_url(url, following)
        oldest_first = list(found.values())[::-1]  # so they stay where their moments are equal
        return tuple(sorted(oldest_first, key=lambda one: one.at))

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


@dataclass(frozen=True, slots=True)
class _Tags:
    """A repository's tags as they were told, and the ETags that they were told with.

    ``refs`` is None where they had not changed, and nobody knows them.
    """

    asked_at: datetime
    validator: Mapping[str, str]
    refs: Pairs | None = None


def branches(items: list[Any]) -> Pairs:
    """Take a page of ``/branches`` apart."""
    return [(BRANCH_PREFIX + item["name"], item["commit"]["sha"]) for item in items]


def tags(items: list[Any]) -> Pairs:
    """Take ``/git/matching-refs/tags`` apart: the id is the tag object's own."""
    return [(item["ref"], item["object"]["sha"]) for item in items]


def _of_tags(validator: Mapping[str, str]) -> dict[str, str]:
    return {name: etag for name, etag in validator.items() if name.startswith(TAGS)}


def push(item: Mapping[str, Any]) -> Push:
    """Read one line of the log of pushes."""
    who = login(item.get("actor"))
    return Push(
        ref=commits.text(item["ref"], LONGEST_REF),
        before=commits.text(item["before"], OBJECT_ID),
        after=commits.text(item["after"], OBJECT_ID),
        at=commits.moment(item["timestamp"]),
        # GitHub tells nobody's address here.
        pusher=commits.person(who, "", who) if who else None,
        forced=item["activity_type"] == "force_push",
    )


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


class _AfterProbes:
    """Tells what a probe was told a moment ago, and asks a client for all else."""

    def __init__(self, client: "_ByTags", just_told: JustTold) -> None:
        self._client = client
        self._just_told = just_told

    def list_refs(
        self,
        repository: Repository,
        *,
        validator: Mapping[str, str],
        timeout_s: float,
        urgent: bool = False,
    ) -> RefsReply:
        """Ask nobody where a probe has just been told; who waits wants to know what is now."""
        told = self._just_told.take(repository)
        if told is not None and not urgent:
            return told
        return self._client.list_refs(
            repository, validator=validator, timeout_s=timeout_s, urgent=urgent
        )

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        """Ask the client."""
        return self._client.describe(repository, change=change, timeout_s=timeout_s)

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        """Ask the client."""
        return self._client.pushes(repository, since=since, timeout_s=timeout_s)

    def way_of(self, repository: Repository) -> str:
        """Return how the client would read."""
        return self._client.way_of(repository)


class _ByTags:
    """Chooses between two clients by whether a repository's tags are watched.

    One that is ``spared`` is read as those with tags are, by git first.
    """

    def __init__(self, *, without: Fallback, wanted: Fallback, spared: Spared) -> None:
        self._without = without
        self._wanted = wanted
        self._spared = spared

    def list_refs(
        self,
        repository: Repository,
        *,
        validator: Mapping[str, str],
        timeout_s: float,
        urgent: bool = False,
    ) -> RefsReply:
        """Ask the one for this repository."""
        is_spared = repository.url in self._spared.urls
        client = self._wanted if is_spared else self._for(repository)
        return client.list_refs(repository, validator=validator, timeout_s=timeout_s, urgent=urgent)

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
