"""GitHub on 127.0.0.1, held in memory, with its limits enforced: REST, GraphQL and git.

It behaves as GitHub documents it, and as recorded answers show: weak ETags whose 304 lacks the W/,
an hour's allowance that a signed-in 304 does not touch, a minute's that everything does, and little
patience with who goes on asking. Several hundred requests a second cost it part of a core.

As a process: ``python -m tests.fakes.github [--port N] [--organisations N --repositories N]``
prints its address. ``GET /__control`` tells what was counted; ``POST /__control/NAME`` with a JSON
object calls one of ``CONTROLS``, all of which can also be called in the same process.
"""

import argparse
import base64
import contextlib
import hashlib
import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any
from urllib.parse import quote, urlencode

from tests.fakes import git_answers, github_shapes as shapes, graphql
from tests.fakes.hosting import HEADS, MAIN, TAGS, Hosted, Hosting, Showing, Standing
from tests.fakes.limits import Failures, Ledger, ShutOut, Sliding, Window
from tests.fakes.quick_http import Answer, QuickServer, Request

TOKEN = "ghp_of-a-fake"  # noqa: S105 - opens nothing but this
CORE, GRAPHQL = "core", "graphql"
REST_A_MINUTE, GRAPHQL_A_MINUTE = 900, 2000
AT_ONCE = 100
POLL_INTERVAL = ("X-Poll-Interval", "300")
CACHE = ("Cache-Control", "private, max-age=60, s-maxage=60")
VARY = ("Vary", "Accept, Authorization, Cookie, X-GitHub-OTP,Accept-Encoding, Accept")
VERSIONS = frozenset({"2022-11-28", "2026-03-10"})
HTML = b"<!DOCTYPE html><title>Unicorn!</title><p>No server is currently available.</p>"
SECONDARY = (
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. "
    "If you reach out to GitHub Support for help, please include the request ID."
)
DOCUMENTATION = "https://docs.github.com/rest"
MOST_NODES = 500_000
# GitHub deducts more points for a question that took too long; how many is not documented.
TOO_LONG_COSTS = 5


@dataclass(slots=True)
class Account:
    """Who asks: a token's owner, or an address without one."""

    name: str
    is_signed_in: bool = True
    is_revoked: bool = False
    core: Window = field(default_factory=lambda: Window(5000))
    graphql: Window = field(default_factory=lambda: Window(5000))
    rest_minute: Sliding = field(default_factory=lambda: Sliding(REST_A_MINUTE))
    graphql_minute: Sliding = field(default_factory=lambda: Sliding(GRAPHQL_A_MINUTE))
    shut_out: ShutOut = field(default_factory=ShutOut)
    ledger: Ledger = field(default_factory=Ledger)
    hidden: frozenset[str] = frozenset()  # owners that it may not read any more; lower case
    is_hidden_by: int = 404  # or 403, which tells that there is something
    expires_s: float | None = None

    def window(self, resource: str) -> Window:
        """Return what is counted over an hour."""
        return self.graphql if resource == GRAPHQL else self.core

    def told(self) -> dict[str, object]:
        """Return what was counted, as JSON spells it."""
        return {
            **self.ledger.told(),
            "core": self.core.told(),
            "graphql": self.graphql.told(),
            "rest_minute": {"limit": REST_A_MINUTE, "most": self.rest_minute.most},
            "graphql_minute": {"limit": GRAPHQL_A_MINUTE, "most": self.graphql_minute.most},
            "shut_out": {"times": self.shut_out.times, "asked": self.shut_out.asked},
        }


@dataclass(slots=True)
class Found:
    """An answer before its ETag and its limits; ``stamp`` is equal as long as the body is."""

    status: int
    purpose: str
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()
    sort: str = "application/json; charset=utf-8"
    etag: str | None = None
    is_free: bool = False


class FakeGitHub(QuickServer):
    """The server, in a thread of its own.

    ``hosting`` holds the repositories; change them by the methods here, which are safe from any
    thread. ``now`` is the clock. ``retry_form`` is how it says how long to wait: seconds, date, or
    none. Without ``limits`` nobody counts, as on a server of one's own. ``most_in_batch`` is how
    many repositories a GraphQL query may name before it takes too long, which is answered by
    ``too_many`` (502, 504, or ``partial``).
    """

    def __init__(
        self,
        *,
        port: int = 0,
        tls: bool = False,
        latency_s: float = 0.0,
        tokens: Sequence[str] = (TOKEN,),
        limits: bool = True,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(port=port, tls=tls, latency_s=latency_s)
        self.now = now
        self.limits = limits
        self.hosting = Hosting(now)
        self.accounts = {token: Account(f"token {n}") for n, token in enumerate(tokens, 1)}
        self.strangers: dict[str, Account] = {}
        self.failures: dict[str, Failures] = {}
        self.sign_ins_failed = 0
        self.git_asked = 0
        self.retry_form = "seconds"
        self.most_in_batch: int | None = None
        self.too_many = "502"
        self.says: tuple[int, bytes] | None = None
        self.lock = threading.RLock()
        self._pages: dict[tuple[str, str, str], tuple[object, Found]] = {}
        self._items: dict[int, tuple[object, bytes]] = {}
        self._parts: graphql.Known = {}
        self._minted = 0
        self._types = self._graphql_types()

    # What a test or a benchmark does to it

    def push(self, repository: str, ref: str = MAIN, commits: int = 1, force: bool = False) -> str:
        """Push to a repository, and return the commit that the ref is at."""
        with self.lock:
            return self.hosting.push(repository, ref, commits=commits, force=force)

    def move(self, repository: str, refs: Mapping[str, str | None]) -> None:
        """Point refs elsewhere by one push; None deletes one."""
        with self.lock:
            self.hosting.move(repository, refs)

    def fill(self, repository: str, branches: int, tags: int = 0) -> None:
        """Make so many more branches and tags, by one push."""
        with self.lock:
            tip = self.hosting.get(repository).now.refs[MAIN]
            refs: dict[str, str | None] = {f"{HEADS}many-{n:05}": tip for n in range(branches)}
            self.hosting.move(repository, refs | {f"{TAGS}v{n:05}": tip for n in range(tags)})

    def create(self, repository: str, branches: int = 1) -> None:
        """Make a repository."""
        with self.lock:
            self.hosting.create(repository, branches=branches)

    def delete(self, repository: str) -> None:
        """Take a repository away."""
        with self.lock:
            self.hosting.delete(repository)

    def rename(self, repository: str, to: str) -> None:
        """Give a repository another name."""
        with self.lock:
            self.hosting.rename(repository, to)

    def change(self, repository: str, **facts: object) -> None:
        """Set ``is_archived``, ``is_private``, or ``state`` (ok, blocked)."""
        with self.lock:
            self.hosting.change(repository, **facts)

    def show(
        self,
        surface: str,
        owner: str = "*",
        *,
        lag_s: float = 0.0,
        lies: bool = False,
        fails: bool = False,
    ) -> None:
        """Let a surface (listing, graphql, rest, git, activity) lag, lie from now on, or fail."""
        with self.lock:
            since = self.now() if lies else None
            self.hosting.show(surface, owner, Showing(lag_s, since, fails))

    def revoke(self, token: str = TOKEN) -> None:
        """Take a token back; nobody is told."""
        with self.lock:
            self.accounts[token].is_revoked = True

    def restore(self, token: str = TOKEN) -> None:
        """Let a token be good for everything again, its allowance new and no ban on it."""
        with self.lock:
            before = self.accounts[token]
            self.accounts[token] = Account(before.name, ledger=before.ledger)
            self.failures.pop(token, None)

    def downgrade(self, owners: Sequence[str], token: str = TOKEN, status: int = 404) -> None:
        """Let a token read what these owners have no more: they look absent, or are forbidden."""
        with self.lock:
            account = self.accounts[token]
            account.hidden = frozenset(owner.lower() for owner in owners)
            account.is_hidden_by = status

    def exhaust(
        self, token: str = TOKEN, resource: str = CORE, for_s: float = 3600.0, left: int = 0
    ) -> None:
        """Let somebody else have used up a token's allowance, which is new after a while."""
        with self.lock:
            window = self.accounts[token].window(resource)
            window.ends_s = self.now() + for_s
            window.used = window.limit - left

    def ban(self, token: str = TOKEN, for_s: float = 60.0) -> None:
        """Refuse a token everything for a while, as after too many requests."""
        with self.lock:
            shut = self.accounts[token].shut_out
            shut.times += 1
            shut.asked = 0
            shut.until_s = self.now() + for_s

    def say(self, status: int | None = 503) -> None:
        """Answer everything with an HTML page; None ends it."""
        with self.lock:
            self.says = None if status is None else (status, HTML)

    def slow(self, latency_s: float) -> None:
        """Answer so much later."""
        self.latency_s = latency_s

    def behave(self, **settings: object) -> None:
        """Set ``retry_form``, ``most_in_batch`` or ``too_many``."""
        with self.lock:
            for name, value in settings.items():
                assert name in {"retry_form", "most_in_batch", "too_many"}, name
                setattr(self, name, value)

    def forget(self) -> None:
        """Begin to count anew; allowances stay as they are."""
        with self.lock:
            for account in (*self.accounts.values(), *self.strangers.values()):
                account.ledger = Ledger()
                account.core.total = account.graphql.total = 0
                account.rest_minute.most = account.graphql_minute.most = 0
            self.sign_ins_failed = self.git_asked = 0

    def report(self) -> dict[str, Any]:
        """Return what was counted, by token (its name) and for those without one."""
        with self.lock:
            accounts = (*self.accounts.values(), *self.strangers.values())
            return {
                "accounts": {account.name: account.told() for account in accounts},
                "sign_ins_failed": self.sign_ins_failed,
                "git": self.git_asked,
            }

    # What it answers

    def respond(self, request: Request) -> Answer:
        """Answer one request."""
        with self.lock:
            if request.path.startswith("/__control"):
                return self._control(request)
            if self.says is not None:
                return Answer(self.says[0], self.says[1], sort="text/html")
            if request.path.endswith(("/info/refs", "/git-upload-pack")):
                return self._git(request)
            return self._api(request)

    def _control(self, request: Request) -> Answer:
        name = request.path.removeprefix("/__control").strip("/")
        if not name:
            return Answer(200, json.dumps(self.report()).encode())
        if name not in CONTROLS:
            return Answer(404, b"{}")
        told = getattr(self, name)(**json.loads(request.body or b"{}"))
        return Answer(200, json.dumps(told).encode())

    def _api(self, request: Request) -> Answer:
        account = self._sign_in(request)
        if isinstance(account, Found):
            return self._answer(request, None, account, CORE)
        parts = request.segments
        while parts[:1] in (["api"], ["v3"]):
            parts = parts[1:]
        is_graphql = parts == [GRAPHQL]
        resource = GRAPHQL if is_graphql else CORE
        account.ledger.enter()
        found = self._refuse(request, account, resource)
        if found is None:
            if is_graphql:
                found = self._graphql(request, account)
            else:
                found = self._rest(request, parts, account)
                self._charge(request, found, account)
        account.ledger.note(found.purpose, found.status, self._cost(found, account))
        return self._answer(request, account, found, resource)

    def _sign_in(self, request: Request) -> Account | Found:
        """Find out who asks."""
        given = request.headers.get("authorization", "")
        if not given:
            return self._stranger(request.client)
        secret = _secret(given)
        if secret.count(".") == 2 and request.path.endswith("/access_tokens"):
            return self._stranger(request.client)
        failures = self.failures.setdefault(secret, Failures())
        if failures.bans(self.now()):
            message = "Maximum number of login attempts exceeded. Please try again later."
            return _said(403, message, "sign-in")
        account = self.accounts.get(secret)
        is_over = account is not None and self.now() >= (account.expires_s or self.now() + 1)
        if account is None or account.is_revoked or is_over:
            self.sign_ins_failed += 1
            failures.note(self.now())
            return _said(401, "Bad credentials", "sign-in")
        return account

    def _stranger(self, client: str) -> Account:
        made = Account(f"without a token from {client}", is_signed_in=False, core=Window(60))
        return self.strangers.setdefault(client, made)

    def _refuse(self, request: Request, account: Account, resource: str) -> Found | None:
        """Return why a request is not answered, if it is not."""
        if "user-agent" not in request.headers:
            message = "Request forbidden by administrative rules. Please make sure your request has"
            return _said(403, f"{message} a User-Agent header", "refused")
        if request.headers.get("x-github-api-version", "2022-11-28") not in VERSIONS:
            return _said(400, "The version of the API is not supported", "refused")
        if not self.limits:
            return None
        now_s = self.now()
        points = 1 if request.method in {"GET", "HEAD"} or resource == GRAPHQL else 5
        minute = account.graphql_minute if resource == GRAPHQL else account.rest_minute
        is_within = minute.spend(now_s, points) and account.ledger.at_once <= AT_ONCE
        if account.shut_out.refuses(now_s):
            account.ledger.refused["shut out"] += 1
            return self._secondary(account)
        if not is_within:
            account.shut_out.begin(now_s)
            account.ledger.refused["secondary limit"] += 1
            return self._secondary(account)
        window = account.window(resource)
        window.look(now_s)
        if window.remaining or request.path.endswith("/rate_limit"):
            return None
        account.ledger.refused["primary limit"] += 1
        if resource == GRAPHQL:
            message = f"API rate limit exceeded for user ID {sum(account.name.encode())}."
            errors = [{"type": "RATE_LIMITED", "message": message}]
            return Found(200, "refused", json.dumps({"errors": errors}).encode(), is_free=True)
        who = "user ID 1" if account.is_signed_in else "127.0.0.1"
        return _said(403, f"API rate limit exceeded for {who}.", "refused")

    def _secondary(self, account: Account) -> Found:
        left = max(1, math.ceil(account.shut_out.until_s - self.now()))
        headers: list[tuple[str, str]] = []
        if self.retry_form == "seconds":
            headers = [("Retry-After", str(left))]
        elif self.retry_form == "date":
            headers = [("Retry-After", formatdate(self.now() + left, usegmt=True))]
        found = _said(403, SECONDARY, "refused")
        return replace(found, headers=headers, is_free=True)

    def _charge(self, request: Request, found: Found, account: Account) -> None:
        """Compare the ETag; an unchanged answer is a 304, and free to who is signed in."""
        if found.status == 200 and request.method == "GET":
            tag = found.etag or _etag(found.body, account.name)
            asked = request.headers.get("if-none-match", "")
            known = {one.strip().removeprefix("W/") for one in asked.split(",")}
            is_known = tag in known if asked else "if-modified-since" in request.headers
            if is_known:
                found.status = 304
            is_weak = found.status == 200 and found.etag is None
            found.headers = [*found.headers, ("ETag", f"{'W/' if is_weak else ''}{tag}")]
        cost = self._cost(found, account)
        if cost:
            account.core.spend(cost)

    @staticmethod
    def _cost(found: Found, account: Account) -> int:
        if found.purpose in {GRAPHQL, "refused"}:
            return 0
        is_free = found.is_free or (found.status == 304 and account.is_signed_in)
        return 0 if is_free else 1

    def _answer(
        self, request: Request, account: Account | None, found: Found, resource: str
    ) -> Answer:
        headers = [*found.headers, CACHE, VARY]
        if account is None:
            return Answer(found.status, found.body, headers, found.sort)
        if not self.limits:
            over = account.ledger.leave
            return Answer(found.status, found.body, headers, found.sort, over=over)
        window = account.window(resource)
        headers += [
            ("X-RateLimit-Limit", str(window.limit)),
            ("X-RateLimit-Remaining", str(window.remaining)),
            ("X-RateLimit-Used", str(window.used)),
            ("X-RateLimit-Reset", str(int(window.ends_s + 1))),
            ("X-RateLimit-Resource", resource),
        ]
        over = account.ledger.leave
        return Answer(found.status, found.body, headers, found.sort, over=over)

    # REST

    def _rest(self, request: Request, parts: list[str], account: Account) -> Found:
        match parts:
            case ["rate_limit"]:
                return self._rate_limit(account)
            case ["app", "installations", number, "access_tokens"] if request.method == "POST":
                return self._mint(number)
            case ["user"] if account.is_signed_in:
                return _json(shapes.account("ada", self._root, self.address), "account")
            case ["user", "repos"] if account.is_signed_in:
                return self._listing(request, account, "ada")
            case ["orgs" | "users" as sort, owner, *rest] if self._is_there(sort, owner):
                return self._of_owner(request, account, owner, rest)
            case ["repos", owner, name, *rest]:
                return self._of_repository(request, account, f"{owner}/{name}", rest)
            case ["repositories", number, *rest] if number.isdigit():
                hosted = self.hosting.by_id.get(int(number))
                if hosted is not None:
                    return self._of_repository(request, account, hosted.full_name, rest)
        return _said(404, "Not Found", "other")

    def _is_there(self, sort: str, owner: str) -> bool:
        """Tell whether there is such an owner; an organisation is a user too."""
        is_user = owner.lower() in self.hosting.users
        return owner.lower() in self.hosting.by_owner and (sort == "users" or not is_user)

    def _of_owner(self, request: Request, account: Account, owner: str, rest: list[str]) -> Found:
        if rest == ["repos"]:
            return self._listing(request, account, owner)
        if rest:
            return _said(404, "Not Found", "other")
        kind = "User" if owner.lower() in self.hosting.users else "Organization"
        return _json(shapes.account(owner, self._root, self.address, kind=kind), "account")

    @property
    def _root(self) -> str:
        return f"{self.address}/api/v3"

    def _rate_limit(self, account: Account) -> Found:
        resources = {}
        for name in (CORE, GRAPHQL, "search"):
            window = account.window(name)
            window.look(self.now())
            resources[name] = {
                "limit": window.limit,
                "used": min(window.used, window.limit),
                "remaining": window.remaining,
                "reset": int(window.ends_s + 1),
            }
        told = {"resources": resources, "rate": resources[CORE]}
        return replace(_json(told, "rate-limit"), is_free=True)

    def _mint(self, installation: str) -> Found:
        """Give an installation a token for an hour; all of its tokens share one allowance."""
        self._minted += 1
        secret = f"ghs_{installation}_{self._minted}"
        name = f"installation {installation}"
        before = next((one for one in self.accounts.values() if one.name == name), Account(name))
        expires_s = self.now() + 3600
        self.accounts[secret] = replace(before, is_revoked=False, expires_s=expires_s)
        told = {"token": secret, "expires_at": shapes.moment(expires_s), "permissions": {}}
        return replace(_json(told, "app"), status=201)

    def _listing(self, request: Request, account: Account, owner: str) -> Found:
        showing = self.hosting.how("listing", owner)
        if showing.fails:
            return Found(502, "listing", HTML, sort="text/html")
        query = request.query
        now_s = self.now()
        is_hidden = owner.lower() in account.hidden

        def make() -> Found:
            listed = [
                (hosted.shown(showing, now_s), hosted)
                for hosted in self.hosting.by_owner.get(owner.lower(), ())
                if not hosted.is_private or (account.is_signed_in and not is_hidden)
            ]
            if query.get("sort") == "pushed":
                listed.sort(key=lambda pair: (pair[0].pushed_s, pair[1].id))
            else:
                listed.sort(key=lambda pair: pair[1].full_name, reverse=True)
            if query.get("direction", "desc") == "desc" or query.get("sort") != "pushed":
                listed.reverse()
            page, link = self._page(request, listed)
            body = b"[" + b",".join(self._item(*pair) for pair in page) + b"]"
            return Found(200, "listing", body, link)

        is_honest = not showing.lag_s and showing.lies_since_s is None
        stamp = (self.hosting.versions.get(owner.lower(), 0), is_hidden) if is_honest else None
        return self._kept(request, account, stamp, make)

    def _item(self, standing: Standing, hosted: Hosted) -> bytes:
        facts = (hosted.full_name, hosted.is_archived, hosted.is_disabled, hosted.is_private)
        stamp = (standing, facts)
        known = self._items.get(hosted.id)
        if known is None or known[0] != stamp:
            is_user = hosted.owner.lower() in self.hosting.users
            kind = "User" if is_user else "Organization"
            told = shapes.repository(hosted, standing, self._root, self.address, kind=kind)
            known = self._items[hosted.id] = (stamp, json.dumps(told).encode())
        return known[1]

    def _of_repository(
        self, request: Request, account: Account, full_name: str, rest: list[str]
    ) -> Found:
        hosted = self.hosting.find(full_name)
        purpose = PURPOSES.get(rest[0], "other") if rest else "repository"
        if hosted is None:
            moved = self.hosting.moved(full_name)
            return self._moved(request, moved, rest) if moved else _said(404, "Not Found", purpose)
        if refused := self._denied(hosted, account, purpose):
            return refused
        surface = "activity" if purpose == "activity" else "rest"
        showing = self.hosting.how(surface, hosted.owner)
        if showing.fails:
            return Found(502, purpose, HTML, sort="text/html")
        standing = hosted.shown(showing, self.now())
        make = self._maker(request, hosted, standing, rest)
        if make is None:
            return _said(404, "Not Found", purpose)
        return self._kept(request, account, (standing, hosted.full_name), make)

    def _moved(self, request: Request, hosted: Hosted, rest: list[str]) -> Found:
        query = request.target.partition("?")[2]
        path = "/".join([str(hosted.id), *(quote(part, safe="") for part in rest)])
        url = f"{self._root}/repositories/{path}{'?' if query else ''}{query}"
        body = {"message": "Moved Permanently", "url": url, "documentation_url": DOCUMENTATION}
        return replace(_json(body, "moved"), status=301, headers=[("Location", url)])

    @staticmethod
    def _denied(hosted: Hosted, account: Account, purpose: str) -> Found | None:
        if hosted.state == "blocked":
            block = {"reason": "dmca", "created_at": shapes.moment(0), "html_url": DOCUMENTATION}
            body = {"message": "Repository access blocked", "block": block}
            return replace(_json(body, purpose), status=451)
        is_hidden = hosted.owner.lower() in account.hidden
        if is_hidden and account.is_hidden_by == 403:
            found = _said(403, "Resource not accessible by personal access token", purpose)
            return replace(found, headers=[("X-Accepted-GitHub-Permissions", "contents=read")])
        if hosted.is_private and (is_hidden or not account.is_signed_in):
            return _said(404, "Not Found", purpose)
        return None

    def _maker(
        self, request: Request, hosted: Hosted, standing: Standing, rest: list[str]
    ) -> Callable[[], Found] | None:
        """Return what makes the answer about a repository, if there is such an address."""
        match rest:
            case []:
                return lambda: self._whole(hosted, standing)
            case ["branches"]:
                return lambda: self._branches(request, hosted, standing)
            case ["branches", *name]:
                return lambda: self._branch(hosted, standing, "/".join(name))
            case ["git", "matching-refs", *name]:
                return lambda: self._matching(hosted, standing, "/".join(name))
            case ["commits", *name] if name:
                return lambda: self._commit(request, hosted, standing, "/".join(name))
            case ["compare", both] if "..." in both:
                return lambda: self._compare(hosted, *both.split("...", 1))
            case ["activity"]:
                return lambda: self._activity(request, hosted)
        return None

    def _whole(self, hosted: Hosted, standing: Standing) -> Found:
        told = json.loads(self._item(standing, hosted))
        return _json(told | {"network_count": 0, "subscribers_count": 0}, "repository")

    def _branches(self, request: Request, hosted: Hosted, standing: Standing) -> Found:
        number = request.query.get("per_page", "30")
        if not number.isdigit():
            return _said(422, "Invalid request: per_page is no number", "rest")
        every = shapes.branches(hosted, standing, self._root)
        page, link = self._page(request, every, hosted)
        return replace(_json(page, "rest"), headers=link)

    def _branch(self, hosted: Hosted, standing: Standing, name: str) -> Found:
        found = next(
            (one for one in shapes.branches(hosted, standing, self._root) if one["name"] == name),
            None,
        )
        if found is None:
            return _said(404, "Branch not found", "rest")
        made = hosted.commits[found["commit"]["sha"]]
        whole = shapes.commit(made.id, made, hosted, self._root, self.address)
        return _json(found | {"commit": whole}, "rest")

    def _matching(self, hosted: Hosted, standing: Standing, name: str) -> Found:
        if not standing.refs:
            found = _said(409, "Git Repository is empty.", "rest")
            return replace(found, headers=[POLL_INTERVAL])
        # Never paged, whatever is asked for.
        told = shapes.git_refs(hosted, standing, self._root, f"refs/{name}")
        return replace(_json(told, "rest"), headers=[POLL_INTERVAL])

    def _commit(self, request: Request, hosted: Hosted, standing: Standing, name: str) -> Found:
        if not standing.refs:
            return _said(409, "Git Repository is empty.", "commit")
        spellings = (f"refs/{name}", HEADS + name, TAGS + name)
        of = next((standing.refs[ref] for ref in spellings if ref in standing.refs), name)
        made = hosted.commits.get(of)
        is_bare = "vnd.github.sha" in request.headers.get("accept", "")
        purpose = "one-branch" if is_bare else "commit"
        if made is None:
            return _said(422, f"No commit found for SHA: {name}", purpose)
        if is_bare:
            sort = "application/vnd.github.sha; charset=utf-8"
            return Found(200, purpose, of.encode(), sort=sort, etag=f'"{of}"')
        told = shapes.commit(of, made, hosted, self._root, self.address)
        stats = {"total": 0, "additions": 0, "deletions": 0}
        return _json(told | {"stats": stats, "files": []}, purpose)

    def _compare(self, hosted: Hosted, base: str, head: str) -> Found:
        old, new = list(hosted.ancestry(base)), list(hosted.ancestry(head))
        shared = next((commit for commit in new if commit in set(old)), None)
        if shared is None:
            known = base in hosted.commits and head in hosted.commits
            message = f"No common ancestor between {base} and {head}." if known else "Not Found"
            return _said(404, message, "compare")
        told = shapes.comparison(
            base,
            head,
            shared,
            list(reversed(new[: new.index(shared)])),
            old.index(shared),
            hosted=hosted,
            api=self._root,
            html=self.address,
        )
        return _json(told, "compare")

    def _activity(self, request: Request, hosted: Hosted) -> Found:
        query = request.query
        showing = self.hosting.how("activity", hosted.owner)
        until_s = showing.moment(self.now())
        wanted = [
            push
            for push in reversed(hosted.log)
            if query.get("ref") in {None, push.ref, push.ref.removeprefix(HEADS)}
            and push.number < int(query.get("after", len(hosted.log) + 1))
            and push.at_s <= until_s
        ]
        size = min(100, int(query.get("per_page", 30)))
        told = [shapes.activity(push, self._root, self.address) for push in wanted[:size]]
        link = []
        if wanted[size:]:
            following = urlencode({**query, "after": wanted[size - 1].number})
            url = f"{self._root}/repositories/{hosted.id}/activity?{following}"
            link = [("Link", f'<{url}>; rel="next"')]
        return replace(_json(told, "activity"), headers=link)

    def _kept(
        self, request: Request, account: Account, stamp: object, make: Callable[[], Found]
    ) -> Found:
        """Answer from what was made the last time, if nothing has changed since."""
        key = (account.name, request.target, request.headers.get("accept", ""))
        known = self._pages.get(key) if stamp is not None else None
        if known is None or known[0] != stamp:
            known = (stamp, make())
            self._pages[key] = known
        return replace(known[1])

    def _page(
        self, request: Request, items: Sequence[Any], hosted: Hosted | None = None
    ) -> tuple[Sequence[Any], list[tuple[str, str]]]:
        """Cut a page out, and tell where others are, by the repository's number."""
        query = request.query
        size = max(1, min(100, int(query.get("per_page", 30))))
        page = max(1, int(query.get("page", 1)))
        place = f"{self.address}{request.path}"
        if hosted is not None:
            place = f"{self._root}/repositories/{hosted.id}/branches"
        last = -(-len(items) // size)
        others = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
        links = [
            f'<{place}?{urlencode({**query, "page": number})}>; rel="{name}"'
            for name, number in others.items()
            if 1 <= number <= last and number != page
        ]
        shown = items[(page - 1) * size : page * size]
        return shown, [("Link", ", ".join(links))] if links else []

    # GraphQL

    def _graphql(self, request: Request, account: Account) -> Found:
        if request.method != "POST" or not account.is_signed_in:
            message = "This endpoint requires you to be authenticated."
            return replace(_said(401, message, GRAPHQL), is_free=True)
        if self.hosting.how("graphql", "*").fails:
            return Found(502, GRAPHQL, HTML, sort="text/html")
        try:
            asked = json.loads(request.body)
            query = graphql.read(asked["query"])
        except (ValueError, KeyError, TypeError):
            return _said(400, "Problems parsing JSON", GRAPHQL)
        except graphql.Refused as error:
            return _json({"errors": [{"message": str(error)}]}, GRAPHQL)
        named = sum(selection.name == "repository" for selection in query.selections)
        is_too_much = self.most_in_batch is not None and named > self.most_in_batch
        if is_too_much and self.too_many != "partial":
            account.graphql.spend(TOO_LONG_COSTS)
            account.ledger.points[GRAPHQL] += TOO_LONG_COSTS
            message = "Something went wrong while executing your query."
            return _json_at(int(self.too_many), {"message": message}, GRAPHQL)
        return self._carry_out(query, asked.get("variables") or {}, account, is_too_much)

    def _carry_out(
        self, query: graphql.Query, variables: Mapping[str, Any], account: Account, is_cut: bool
    ) -> Found:
        execution = graphql.Execution(query, variables, self._types, self._parts)
        limit: dict[str, Any] = {}
        try:
            data = execution.run(graphql.Node("Query", (account, limit)))
        except graphql.Refused as error:
            found = [{"message": str(error), "extensions": {"code": "undefinedField"}}]
            return _json({"errors": found}, GRAPHQL)
        if execution.nodes > MOST_NODES:
            found = [{"type": "MAX_NODE_LIMIT_EXCEEDED", "message": "This query is too large"}]
            return _json({"data": None, "errors": found}, GRAPHQL)
        cost = max(1, round(execution.connections / 100))
        account.graphql.spend(cost)
        account.ledger.points[GRAPHQL] += cost
        limit |= {
            "cost": cost,
            "nodeCount": execution.nodes,
            "remaining": account.graphql.remaining,
            "used": account.graphql.used,
        }
        self._tell_limit(query, data, limit)
        errors = execution.errors
        if is_cut:
            names = [s.alias for s in query.selections if s.name == "repository"]
            for name in names[self.most_in_batch :]:
                data[name] = None
                message = "Resource limits for this query exceeded."
                more = {"type": "RESOURCE_LIMITS_EXCEEDED", "path": [name], "message": message}
                errors.append(more)
        return _json({"data": data} | ({"errors": errors} if errors else {}), GRAPHQL)

    @staticmethod
    def _tell_limit(query: graphql.Query, data: dict[str, Any], limit: Mapping[str, Any]) -> None:
        """Put in what is only known when all else is: what the query costs."""
        for selection in query.selections:
            if selection.name == "rateLimit":
                for inner in selection.inner:
                    if inner.name in limit:
                        data[selection.alias][inner.alias] = limit[inner.name]

    def _graphql_types(self) -> Mapping[str, Mapping[str, graphql.Resolve]]:
        node = graphql.Node

        def connection(of: tuple[Hosted, Standing], asked: Mapping[str, Any]) -> graphql.Node:
            prefix = asked["refPrefix"]
            names = sorted(name for name in of[1].refs if name.startswith(prefix))
            after = base64.b64decode(asked.get("after") or "").decode()
            left = [name for name in names if name > after]
            return node("RefConnection", (of, prefix, names, left, min(100, asked["first"])))

        def default_branch(of: tuple[Hosted, Standing], _: Any) -> graphql.Node | None:
            name = HEADS + of[0].default_branch
            return node("Ref", (of, HEADS, name)) if name in of[1].refs else None

        def cursor(value: Any, _: Any) -> graphql.Node:
            _, _, _, left, first = value
            end = base64.b64encode(left[:first][-1].encode()).decode() if left else None
            return node("PageInfo", {"hasNextPage": len(left) > first, "endCursor": end})

        def owner(of: tuple[Hosted, Standing], _: Any) -> graphql.Node:
            return node("RepositoryOwner", {"login": of[0].owner})

        def plain(*names: str) -> dict[str, graphql.Resolve]:
            return {name: lambda value, _, name=name: value.get(name) for name in names}  # type: ignore[misc]

        def fact(read: Callable[[Hosted], Any]) -> graphql.Resolve:
            return lambda of, _: read(of[0])

        return {
            "Query": {
                "repository": self._graphql_repository,
                "rateLimit": lambda value, _: node("RateLimit", self._limit_of(value[0])),
                "viewer": lambda value, _: node("RepositoryOwner", {"login": "ada"}),
            },
            "RateLimit": plain("limit", "cost", "remaining", "resetAt", "nodeCount", "used"),
            "RepositoryOwner": plain("login"),
            "PageInfo": plain("hasNextPage", "endCursor"),
            "Repository": {
                "id": fact(lambda hosted: shapes.node_id("Repository", hosted.id)),
                "databaseId": fact(lambda hosted: hosted.id),
                "name": fact(lambda hosted: hosted.name),
                "nameWithOwner": fact(lambda hosted: hosted.full_name),
                "url": fact(lambda hosted: f"{self.address}/{hosted.full_name}"),
                "pushedAt": lambda of, _: shapes.moment(of[1].pushed_s) if of[1].refs else None,
                "isArchived": fact(lambda hosted: hosted.is_archived),
                "isDisabled": fact(lambda hosted: hosted.is_disabled),
                "isPrivate": fact(lambda hosted: hosted.is_private),
                "isEmpty": lambda of, _: not of[1].refs,
                "owner": owner,
                "defaultBranchRef": default_branch,
                "refs": connection,
            },
            "RefConnection": {
                "totalCount": lambda value, _: len(value[2]),
                "pageInfo": cursor,
                "nodes": lambda value, _: [
                    node("Ref", (value[0], value[1], name)) for name in value[3][: value[4]]
                ],
            },
            "Ref": {
                "name": lambda value, _: value[2].removeprefix(value[1]),
                "prefix": lambda value, _: value[1],
                "target": lambda value, _: node("Commit", value[0][1].refs[value[2]]),
            },
            "Commit": {"oid": lambda of, _: of},
        }

    def _graphql_repository(self, value: tuple[Account, Any], asked: Mapping[str, Any]) -> Any:
        account, full_name = value[0], f"{asked['owner']}/{asked['name']}"
        hosted = self.hosting.find(full_name)
        if hosted is None and asked.get("followRenames", True):
            hosted = self.hosting.moved(full_name)
        if hosted is None or self._denied(hosted, account, GRAPHQL) is not None:
            is_told = hosted is not None and account.is_hidden_by == 403
            message = f"Could not resolve to a Repository with the name '{full_name}'."
            if is_told:
                message = "Resource not accessible by personal access token"
            return {"type": "FORBIDDEN" if is_told else "NOT_FOUND", "message": message}
        standing = hosted.shown(self.hosting.how(GRAPHQL, hosted.owner), self.now())
        facts = (hosted.full_name, hosted.is_archived, hosted.is_disabled, hosted.is_private)
        key = (hosted.id, standing.version, standing.at_s, facts)
        return graphql.Node("Repository", (hosted, standing), key)

    def _limit_of(self, account: Account) -> dict[str, Any]:
        """Return a token's points; what the query costs is put in at its end."""
        window = account.graphql
        ends = shapes.moment(window.ends_s + 1)
        return {"limit": window.limit, "resetAt": ends, "cost": 1, "nodeCount": 0}

    # Git

    def _git(self, request: Request) -> Answer:
        self.git_asked += 1
        given = request.headers.get("authorization", "")
        account = self._sign_in(request)
        if isinstance(account, Found):
            return _sign_in_please(account.status)
        path, _, _ = request.path.partition(
            "/info/refs" if request.path.endswith("/info/refs") else "/git-upload-pack"
        )
        name = "/".join(request.segments[: path.count("/")]).removesuffix(".git")
        purpose = "advertisement" if request.method == "GET" else "ls-refs"
        hosted = self.hosting.find(name)
        if hosted is None and (moved := self.hosting.moved(name)) is not None:
            rest = request.target.removeprefix(path)
            return Answer(301, headers=[("Location", f"{self.address}/{moved.full_name}{rest}")])
        if hosted is None or self._denied(hosted, account, purpose) is not None:
            account.ledger.note(purpose, 404 if given else 401, 0)
            return Answer(404, b"Not Found", sort="text/plain") if given else _sign_in_please(401)
        showing = self.hosting.how("git", hosted.owner)
        if showing.fails:
            return Answer(503, HTML, sort="text/html")
        if purpose == "ls-refs" and b"command=fetch" in request.body:
            purpose = "fetch"
        account.ledger.note(purpose, 200, 0)
        if purpose == "advertisement":
            sort = "application/x-git-upload-pack-advertisement"
            return Answer(200, git_answers.advertisement(), sort=sort)
        standing = hosted.shown(showing, self.now())
        body = git_answers.answer(hosted, standing, request.body)
        return Answer(200, body, sort="application/x-git-upload-pack-result")


PURPOSES = {
    "branches": "rest",
    "git": "rest",
    "commits": "commit",
    "compare": "compare",
    "activity": "activity",
}
CONTROLS = frozenset(
    {
        "push",
        "move",
        "fill",
        "create",
        "delete",
        "rename",
        "change",
        "show",
        "revoke",
        "restore",
        "downgrade",
        "exhaust",
        "ban",
        "say",
        "slow",
        "behave",
        "forget",
        "report",
    }
)


def _secret(authorization: str) -> str:
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "basic":
        with contextlib.suppress(ValueError):
            user, _, password = base64.b64decode(given).decode().partition(":")
            return user if password in {"", "x-oauth-basic"} else password
    return given


def _etag(body: bytes, credential: str) -> str:
    """Return the strong part of a page's ETag, which is good for one credential only."""
    return f'"{hashlib.sha256(credential.encode() + body).hexdigest()}"'


def _json(told: object, purpose: str) -> Found:
    return Found(200, purpose, json.dumps(told).encode())


def _json_at(status: int, told: object, purpose: str) -> Found:
    return Found(status, purpose, json.dumps(told).encode())


def _said(status: int, message: str, purpose: str) -> Found:
    told = {"message": message, "documentation_url": DOCUMENTATION, "status": str(status)}
    return _json_at(status, told, purpose)


def _sign_in_please(status: int) -> Answer:
    realm = ("WWW-Authenticate", 'Basic realm="GitHub"')
    message = b"Invalid username or token." if status == 401 else b"Too many attempts."
    return Answer(status, message, [realm] if status == 401 else [], "text/plain")


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--organisations", type=int, default=100)
    parser.add_argument("--repositories", type=int, default=0)
    parser.add_argument("--branches", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--unlimited", action="store_true", help="nobody counts")
    chosen = parser.parse_args()
    server = FakeGitHub(
        port=chosen.port,
        tls=chosen.tls,
        latency_s=chosen.latency / 1000,
        limits=not chosen.unlimited,
    )
    server.hosting.populate(
        organisations=chosen.organisations,
        repositories=chosen.repositories,
        branches=chosen.branches,
    )
    server.serve()


if __name__ == "__main__":
    main()
