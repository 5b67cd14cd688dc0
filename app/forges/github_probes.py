"""What tells which of many repositories at GitHub have moved: lists of owners, and batches.

A list costs one request, and nothing where it is unchanged; a batch costs a point of GraphQL's
allowance, and its answer holds the refs besides.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from app.domain.allowance import Resource
from app.domain.errors import (
    ForgeAnswerInvalid,
    ForgeBusy,
    ForgeDenied,
    ForgeError,
    ForgeSignInRefused,
    ForgeUnavailable,
)
from app.domain.plan import Probing
from app.domain.repository import LONGEST_URL, Repository
from app.forges import github, graphql
from app.forges.client import HERE
from app.forges.probe import Facts, JustTold, Probe, Seen, url_of
from app.forges.rest import Api, Call, decode, next_link, project_path
from app.forges.ways import Tools
from app.settings.types import Forge
from app.transport import Reply

# A choice: 10,000 repositories of one owner; who has more polls the rest.
MOST_PAGES = 100
# A choice: what was pushed to lately stands on top, and a short page changes more seldom.
WHOLE_PAGE, TOP_PAGE = 100, 30
# A choice: how long a repository that its owner's list lacks is not looked for again.
ABSENT_FOR = timedelta(hours=1)
# GitHub tells pushes to the second, so a second push within it looks like the first.
WARM_FOR = timedelta(seconds=2)

# GitHub's own patience with one query; those that take longer are answered 502 or 504, and cost
# more points than they should. Reports tell of 50 heavy repositories that did, and of 30 that did
# not, so a batch begins there.
GITHUBS_PATIENCE_S = 9.0
PATIENCE_S = 15.0
GAVE_UP = frozenset({502, 504})
FIRST_BATCH, MOST_IN_BATCH = 30, 100
LEAST_BATCH = 5  # a choice: fewer at once would cost more than reading each by itself
MOST_FAILURES = 2  # a choice: how often GitHub may give up on what one question asks
SMALL_FOR = timedelta(minutes=10)  # a choice: how long a batch that was too large does not grow
PUSHED_AT = "%Y-%m-%dT%H:%M:%SZ"  # how GitHub spells it, always in UTC, so that it sorts as text


def probe(forge: Forge, tools: Tools, probing: Probing, key: str) -> Probe | None:
    """Make a probe for an owner (``key``), or for a batch; None where there is no such sort."""
    if forge.api_url is None:
        return None
    way = github.api(tools.transport, forge, now=tools.now, accounts=tools.accounts_of(forge))
    if probing is Probing.LISTING:
        return OwnerListing(way, forge, key, now=tools.now)
    if probing is Probing.BATCH and forge.signs_in:  # GraphQL answers nobody it does not know
        return Batch(way, forge, key, just_told=tools.just_told, now=tools.now)
    return None


@dataclass(frozen=True, slots=True)
class _Listed:
    """A repository as its owner's list showed it last."""

    id: int
    full_name: str
    pushed_at: str
    is_archived: bool
    is_disabled: bool


@dataclass(slots=True)
class _Walk:
    """What one reading of the list has shown, newest push first."""

    listed: list[_Listed] = field(default_factory=list)
    is_whole: bool = False
    is_unchanged: bool = False
    told_at: datetime | None = None
    etag: dict[tuple[str, str], str] = field(default_factory=dict)
    points: int = 0
    requests: int = 0


class OwnerListing:
    """The list of an owner's repositories by their last push; one thread at a time.

    Args:
        api: The way to the forge's API.
        forge: The forge.
        owner: An organisation or a user.
        now: The clock.
    """

    probing = Probing.LISTING

    def __init__(self, api: Api, forge: Forge, owner: str, *, now: Callable[[], datetime]) -> None:
        self.name = f"the repositories of {owner}"
        self._api = api
        self._forge = forge
        self._owner = owner
        self._now = now
        self._root: str | None = None  # the list's path, once it is known what the owner is
        self._etags: dict[tuple[str, str], str] = {}  # the top page's, by its URL and credential
        self._newest = ""  # when the list's first repository was pushed to
        self._asked: tuple[Repository, ...] = ()
        self._wanted: dict[str, str] = {}  # of those: names by URL
        self._known: dict[str, _Listed] = {}  # by the URL of a watched repository
        self._absent: dict[str, datetime] = {}  # by URL: when to look for it again
        self._warm: frozenset[str] = frozenset()  # URLs pushed to as they were looked at

    def ask(self, repositories: Sequence[Repository], *, timeout_s: float) -> Seen:
        """Look at the top of the list, or through all of it for those not seen yet."""
        wanted = self._names(repositories)
        self._forget_others(wanted)
        if not wanted:
            return Seen(frozenset(), frozenset(), requests=0, points=0)
        now = self._now()
        sought = {
            url for url in wanted.keys() - self._known.keys() if now >= self._absent.get(url, now)
        }
        call = self._api.call(None, timeout_s, key=f"{self._forge.name} {self.name}")
        walk = self._walk(call, wanted, sought)
        warm, self._warm = self._warm & self._known.keys(), frozenset()
        if walk.is_unchanged:
            return self._seen(warm, {}, walk)
        moved, facts = self._compare(walk, wanted, sought, now)
        # Only now: had it failed on its way, the next question would be answered «unchanged».
        self._etags = {} if sought else walk.etag
        self._newest = max([self._newest, *(one.pushed_at for one in walk.listed[:1])])
        self._warm = self._warm_now(walk)
        return self._seen(moved | warm, facts, walk)

    def _seen(self, moved: frozenset[str], facts: Mapping[str, Facts], walk: _Walk) -> Seen:
        covered = frozenset(self._known)
        return Seen(moved, covered, facts, requests=walk.requests, points=walk.points)

    def _names(self, repositories: Sequence[Repository]) -> dict[str, str]:
        """Return the names (owner/name, lower case) of those of our owner, by their URLs."""
        if self._asked == tuple(repositories):
            return self._wanted
        names = {
            one.url: project_path(self._forge, one).lower()
            for one in repositories
            if is_noticeable(one)
        }
        prefix = f"{self._owner.lower()}/"
        self._asked = tuple(repositories)
        self._wanted = {
            url: name
            for url, name in names.items()
            if name.startswith(prefix) and name.count("/") == 1
        }
        return self._wanted

    def _forget_others(self, wanted: Mapping[str, str]) -> None:
        for kept in (self._known, self._absent):
            for url in kept.keys() - wanted.keys():
                del kept[url]

    def _walk(self, call: Call, wanted: Mapping[str, str], sought: set[str]) -> _Walk:
        """Read the list from its top as far as needed, finding out first what the owner is."""
        roots = [self._root] if self._root else self._roots()
        for root in roots:
            try:
                walk = self._read(call, root, wanted, sought)
            except ForgeSignInRefused:
                raise
            except ForgeDenied:
                self._root = None  # an organisation may be renamed, or become a user
                if root == roots[-1]:
                    raise
            else:
                break
        self._root = root
        is_user = root.startswith("users/") and self._forge.signs_in
        if is_user and self._missing(walk, wanted, sought):
            walk = self._read_own(call, walk, wanted, sought)
        walk.requests, walk.points = call.requests, call.points
        return walk

    def _roots(self) -> list[str]:
        owner = quote(self._owner, safe="")
        return [f"orgs/{owner}/repos?type=all", f"users/{owner}/repos?type=owner"]

    def _read_own(
        self, call: Call, walk: _Walk, wanted: Mapping[str, str], sought: set[str]
    ) -> _Walk:
        """Look whether the owner is who we signed in as: only they see their private ones."""
        root = "user/repos?affiliation=owner"
        try:
            own = self._read(call, root, wanted, sought)
        except ForgeDenied:  # an App's installation is no user
            return walk
        if not any(one.full_name.lower() in wanted.values() for one in own.listed):
            return walk
        self._root = root
        return own

    def _missing(self, walk: _Walk, wanted: Mapping[str, str], sought: set[str]) -> bool:
        names = {one.full_name.lower() for one in walk.listed}
        return any(wanted[url] not in names for url in sought)

    def _read(self, call: Call, root: str, wanted: Mapping[str, str], sought: set[str]) -> _Walk:
        size = WHOLE_PAGE if sought else TOP_PAGE
        url = f"{self._api.base}/{root}&sort=pushed&direction=desc&per_page={size}"
        walk = _Walk()
        reply = self._get_top(call, url, walk, is_conditional=not sought)
        for _ in range(MOST_PAGES):
            if reply is None:
                break
            listed = _listed(decode(reply))
            walk.listed += listed
            following = next_link(reply.headers)
            walk.is_whole = not following
            is_all_news = bool(self._newest and listed) and listed[-1].pushed_at > self._newest
            if not following or not (is_all_news or self._missing(walk, wanted, sought)):
                break
            url = call.next_url(url, following)
            reply = call.get(url)
        return walk

    def _get_top(self, call: Call, url: str, walk: _Walk, *, is_conditional: bool) -> Reply | None:
        """Ask for the first page; None where it is the one that is known."""
        asked = (url, call.account)
        reply = call.get(url, etag=self._etags.get(asked, "") if is_conditional else "")
        walk.told_at = _date(reply.headers)
        if reply.status == HTTPStatus.NOT_MODIFIED:
            walk.is_unchanged = True
            return None
        walk.etag = {asked: reply.headers.get("ETag", "")}
        return reply

    def _compare(
        self, walk: _Walk, wanted: Mapping[str, str], sought: set[str], now: datetime
    ) -> tuple[frozenset[str], dict[str, Facts]]:
        """Take in what was listed; return the URLs that moved, and what was told of each."""
        by_name = {one.full_name.lower(): one for one in walk.listed}
        by_id = {one.id: one for one in walk.listed}
        oldest = walk.listed[-1].pushed_at if walk.listed else ""
        moved: set[str] = set()
        facts: dict[str, Facts] = {}
        for url, name in wanted.items():
            before = self._known.get(url)
            listed = by_name.get(name) or (by_id.get(before.id) if before else None)
            if listed is not None:
                self._absent.pop(url, None)
                if listed != before:
                    self._known[url] = listed
                    facts[url] = _facts(url, name, listed)
                    moved.add(url)
            elif url in sought:
                # A list shifts while it is walked through: what it lacks is looked for twice.
                self._absent[url] = now + ABSENT_FOR if url in self._absent else now
            elif before is not None and (walk.is_whole or before.pushed_at > oldest):
                # It should stand here: deleted, hidden from us, or given to somebody else.
                del self._known[url]
                self._absent[url] = now
                moved.add(url)
        return frozenset(moved), facts

    def _warm_now(self, walk: _Walk) -> frozenset[str]:
        known = self._known.items()
        return frozenset(url for url, one in known if _is_warm(one.pushed_at, walk.told_at))


class Batch:
    """One GraphQL query for many repositories, or as few as GitHub's patience needs.

    What it is told of a repository that moved is left with ``just_told``, for the poll that it
    wakes.

    Args:
        api: The way to the forge's API.
        forge: The forge.
        key: What tells the batch from the forge's others.
        just_told: Where to leave refs.
        now: The clock.
    """

    probing = Probing.BATCH

    def __init__(
        self, api: Api, forge: Forge, key: str, *, just_told: JustTold, now: Callable[[], datetime]
    ) -> None:
        self.name = f"batch {key}"
        self._api = api
        self._forge = forge
        self._just_told = just_told
        self._now = now
        self._url = graphql.address(api.base)
        self._asked: tuple[Repository, ...] = ()
        self._wanted: list[tuple[Repository, graphql.Wish]] = []  # of those
        # By where a part begins and ends: its last answer's digest, and the marks it stands for.
        self._bodies: dict[tuple[str, int], tuple[bytes, tuple[bytes | None, ...]]] = {}
        self._marks: dict[str, bytes] = {}  # by URL; each stands for all that was told
        self._next = ""  # the URL at which to begin, where the last time was not for all
        self._size = FIRST_BATCH
        self._grows_from: datetime | None = None

    def ask(self, repositories: Sequence[Repository], *, timeout_s: float) -> Seen:
        """Ask for the refs of all; what cannot be told is covered by nobody."""
        deadline = time.monotonic() + timeout_s
        waiting = self._from_next(self._wishes(repositories))
        for url in self._marks.keys() - {one.url for one, _ in waiting}:
            del self._marks[url]
        seen = _Gathered()
        while waiting:
            part = waiting[: self._size]
            try:
                answer = self._put(part, deadline, seen)
            except ForgeError as error:
                if not seen.is_any:
                    raise
                # What has been seen is told. The rest is seen the next time, if there is one soon,
                # and before the others, for which alone there may be time again.
                if isinstance(error, ForgeBusy):
                    self._next = waiting[0][0].url
                else:
                    self._lose(waiting)
                break
            self._fit(len(part), answer)
            if answer is not None:
                self._take(part, answer, seen)
            elif len(part) == 1:
                self._lose(part)
            if answer is not None or len(part) == 1:
                waiting = waiting[len(part) :]
        return Seen(
            frozenset(seen.moved),
            frozenset(self._marks),
            seen.facts,
            requests=seen.requests,
            points=seen.points,
        )

    def _from_next(
        self, wishes: list[tuple[Repository, graphql.Wish]]
    ) -> list[tuple[Repository, graphql.Wish]]:
        begin = next((n for n, (one, _) in enumerate(wishes) if one.url == self._next), 0)
        return wishes[begin:] + wishes[:begin]

    def _lose(self, part: Sequence[tuple[Repository, graphql.Wish]]) -> None:
        for repository, _ in part:
            self._marks.pop(repository.url, None)

    def _wishes(self, repositories: Sequence[Repository]) -> list[tuple[Repository, graphql.Wish]]:
        """Return what to ask for, which is the same as the last time for the same repositories."""
        if self._asked != tuple(repositories):
            self._asked = tuple(repositories)
            self._bodies.clear()
            wishes = [(one, self._wish(one)) for one in repositories]
            self._wanted = [(one, wish) for one, wish in wishes if wish is not None]
        return self._wanted

    def _wish(self, repository: Repository) -> graphql.Wish | None:
        owner, _, name = project_path(self._forge, repository).partition("/")
        if not owner or not name or "/" in name or not is_noticeable(repository):
            return None
        return graphql.Wish(owner, name, tags=bool(repository.refs.tags))

    def _put(
        self,
        part: Sequence[tuple[Repository, graphql.Wish]],
        deadline: float,
        seen: "_Gathered",
    ) -> graphql.Answer | None:
        """Ask for a part; None where GitHub gave up, as it does over what takes it too long.

        Raises:
            ForgeError: It did not answer, or gave up too often to be asked again now.
        """
        asked_at = time.monotonic()
        left = deadline - asked_at
        if left <= 0:
            raise ForgeUnavailable("timed out before all parts of a batch were asked for")
        call = self._api.call(
            None, min(left, PATIENCE_S), key=self._forge.name + self.name, resource=Resource.GRAPHQL
        )
        wishes = [wish for _, wish in part]
        try:
            reply = call.post(self._url, graphql.question(wishes), also=GAVE_UP)
        except ForgeUnavailable:
            if time.monotonic() - asked_at < GITHUBS_PATIENCE_S:
                raise
            _be_patient(seen)
            return None
        finally:
            seen.requests += call.requests
        if reply.status in GAVE_UP:
            seen.points += 1
            _be_patient(seen)
            return None
        answer = self._read(reply, part, wishes)
        seen.points += answer.cost
        seen.asked_at, seen.told_at = asked_at, _date(reply.headers)
        if answer.is_too_much and not any(answer.told):
            _be_patient(seen)
            return None
        seen.is_any = True
        return answer

    def _read(
        self,
        reply: Reply,
        part: Sequence[tuple[Repository, graphql.Wish]],
        wishes: Sequence[graphql.Wish],
    ) -> graphql.Answer:
        """Take an answer apart, unless it is the very one of the last time."""
        before = tuple(self._marks.get(one.url) for one, _ in part)
        asked = part[0][0].url, len(part)
        digest = blake2b(reply.body, digest_size=16).digest()
        if self._bodies.get(asked) == (digest, before):
            return graphql.Answer(self._bodies[asked][1])
        answer = graphql.take_apart(decode(reply), wishes, before)
        marks = tuple(one.mark if isinstance(one, graphql.Told) else one for one in answer.told)
        self._bodies.pop(asked, None)
        # One that costs more than a point is taken apart each time, to be told what it costs.
        if answer.cost == 1 and None not in marks:
            self._bodies[asked] = (digest, marks)
        return answer

    def _take(
        self,
        part: Sequence[tuple[Repository, graphql.Wish]],
        answer: graphql.Answer,
        seen: "_Gathered",
    ) -> None:
        for (repository, wish), told in zip(part, answer.told, strict=True):
            url = repository.url
            if isinstance(told, bytes):
                continue  # as it was
            before = self._marks.pop(url, None)
            if told is None:
                continue
            # Of what does not fit on a page, a further push would look the same.
            is_warm = told.refs is None and _is_warm(told.pushed_at, seen.told_at)
            self._marks[url] = b"" if is_warm else told.mark
            facts = _facts(url, f"{wish.owner}/{wish.name}".lower(), told)
            seen.facts[url] = facts
            seen.moved.add(url)
            # The first time all have moved, and nobody knows how soon each is polled.
            if before is not None and told.refs:
                self._just_told.keep(
                    url,
                    repository.refs,
                    told.refs,
                    at=seen.asked_at,
                    read_by=graphql.WAY,
                    default_branch=told.default_branch,
                    moved_to=facts.moved_to,
                )

    def _fit(self, asked: int, answer: graphql.Answer | None) -> None:
        """Ask for fewer at once after what was too much, and for more while it goes well."""
        if answer is None or answer.is_too_much:
            self._size = max(LEAST_BATCH, asked // 2)
            self._grows_from = self._now() + SMALL_FOR
        elif asked == self._size and (self._grows_from is None or self._now() >= self._grows_from):
            self._size = min(MOST_IN_BATCH, self._size + max(1, self._size // 2))


@dataclass(slots=True)
class _Gathered:
    """What the parts of a batch have shown."""

    moved: set[str] = field(default_factory=set)
    facts: dict[str, Facts] = field(default_factory=dict)
    asked_at: float = 0.0
    told_at: datetime | None = None
    is_any: bool = False
    failures: int = 0
    requests: int = 0
    points: int = 0


def is_noticeable(repository: Repository) -> bool:
    """Tell whether all that is watched in a repository shows in lists and batches.

    Pull requests do not: those from forks move refs without anything being pushed.
    """
    return not repository.refs.wants_pulls


def _be_patient(seen: _Gathered) -> None:
    """Count that GitHub gave up.

    Raises:
        ForgeUnavailable: It did so too often to be asked again now.
    """
    seen.failures += 1
    if seen.failures > MOST_FAILURES:
        raise ForgeUnavailable("GitHub gave up on a query, and on smaller ones")


def _listed(items: Any) -> list[_Listed]:
    """Take a page apart.

    Raises:
        ForgeAnswerInvalid: It is no list of repositories.
    """
    try:
        return [
            _Listed(
                id=item["id"],
                full_name=(item["full_name"] + "")[:LONGEST_URL],
                pushed_at=(item["pushed_at"] or "") + "",
                is_archived=bool(item.get("archived")),
                is_disabled=bool(item.get("disabled")),
            )
            for item in items
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise ForgeAnswerInvalid("GitHub's list of repositories is none") from error


def _facts(url: str, name: str, told: "_Listed | graphql.Told") -> Facts:
    """Return what was told of a repository that is configured as ``name``, in lower case."""
    is_renamed = told.full_name.lower() != name
    moved_to = url_of(url, name, told.full_name) if is_renamed else HERE
    return Facts(
        moved_to,
        is_archived=told.is_archived,
        is_disabled=told.is_disabled,
        pushed_at=_moment(told.pushed_at),
    )


def _moment(pushed_at: str | None) -> datetime | None:
    try:
        return datetime.strptime(pushed_at or "", PUSHED_AT).replace(tzinfo=UTC)
    except ValueError:
        return None


def _is_warm(pushed_at: str | None, told_at: datetime | None) -> bool:
    """Tell whether a push was told of so soon that a further one would look the same."""
    if not pushed_at or told_at is None:
        return False
    return pushed_at >= f"{told_at - WARM_FOR:{PUSHED_AT}}"


def _date(headers: Mapping[str, str]) -> datetime | None:
    """Return when the server says that it answered."""
    try:
        return parsedate_to_datetime(headers.get("Date", "")).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
