"""A forge's REST API on 127.0.0.1: GitHub, GitLab or Gitea, as far as reading refs goes.

Shapes, pages, ETags, limits and refusals are those that the real ones were recorded with or
document; the refs are those of real bare repositories.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from app.domain.secret import Secret
from app.settings.types import Forge as ForgeSettings
from tests.fakes import forge_history, graphql
from tests.fakes.git_repository import GitRepository
from tests.fakes.git_server import FaultyHandler, LoopbackService

Answer = tuple[int, list[tuple[str, str]], bytes]

ROOTS = {"github": "", "gitlab": "/api/v4", "gitea": "/api/v1"}
COMPARE = re.compile(r"/compare/(\w+)\.\.\.(\w+)")
OWNED = re.compile(r"/(?:(orgs|users)/([^/]+)|(user))/repos")
LONG_AGO = "2026-01-01T00:00:00Z"  # when a repository was pushed to, unless a test says otherwise
FAR_FUTURE_S = 4_000_000_000  # when the allowance is new again, unless a test says otherwise


@dataclass(frozen=True, slots=True)
class Ref:
    """One ref: ``target`` is what it holds, ``commit`` what that leads to."""

    name: str
    sort: str
    target: str
    commit: str


def list_refs(repository: GitRepository, prefix: str) -> list[Ref]:
    """List a repository's refs below a prefix, by name, as a forge's database would."""
    form = "%(objectname) %(objecttype) %(*objectname) %(refname)"
    listing = repository.git("for-each-ref", "--sort=refname", f"--format={form}", prefix)
    found = []
    for line in listing.splitlines():
        target, sort, commit, name = line.split(" ", 3)
        found.append(Ref(name, sort, target, commit or target))
    return found


class Handler(FaultyHandler):
    """Answers as the forge's kind does."""

    def answer(self, body: bytes) -> Answer:
        forge: Forge = self.service
        forge.on_request(self.path)
        forge.asked.append({name.lower(): text for name, text in self.headers.items()})
        if forge.says is not None:
            return forge.says
        if self.command == "POST":
            return forge.respond_to_query(self.headers, body)
        return forge.respond(self.path, self.headers)


class Forge(LoopbackService):
    """A forge of a ``kind`` (github, gitlab, gitea) with ``repositories`` by owner/name.

    ``token`` is wanted, if given. ``renamed`` maps an old owner/name to the new one.
    ``page_limit`` caps what a page holds. ``remaining`` of ``limit`` requests are left; a 304 with
    a token costs GitHub's none. ``says`` replaces every answer. ``on_request`` is told each path
    before it is answered, so that a test can change something between two pages. ``asked`` keeps
    the headers of every request; ``paths`` and ``statuses`` those of what ``says`` did not replace.
    ``compares`` is false for a Gitea before 1.21.

    By owner/name: ``pushed_at`` is when a repository was pushed to, ``numbers`` what it is known by
    for good, ``private`` which only its owner ``login`` sees, ``archived`` what nobody can push to,
    ``logs`` its log of pushes, the newest first. ``organisations`` are the owners that
    are no users. ``date`` is what answers are dated. A query for more than ``most_asked``
    repositories is given up; ``queries`` keeps how many each asked for, ``ailing`` the errors that
    are told of some.
    """

    handler = Handler

    def __init__(self, kind: str, *, token: str | None = None) -> None:
        super().__init__()
        self.kind = kind
        self.token = token
        self.repositories: dict[str, GitRepository] = {}
        self.renamed: dict[str, str] = {}
        self.page_limit = 50 if kind == "gitea" else 100
        self.limit = self.remaining = 5000
        self.reset_s = FAR_FUTURE_S
        self.compares = True
        self.says: Answer | None = None
        self.on_request: Callable[[str], None] = lambda _: None
        self.pushed_at: dict[str, str] = {}
        self.numbers: dict[str, int] = {}
        self.private: set[str] = set()
        self.archived: set[str] = set()
        self.logs: dict[str, list[dict[str, Any]]] = {}
        self.organisations: set[str] = set()
        self.login: str | None = None
        self.date: datetime | None = None
        self.most_asked = 100
        self.queries: list[int] = []
        self.ailing: dict[str, str] = {}
        self.asked: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.statuses: list[int] = []

    def settings(self, *, url: str | None = None, share: float = 0.8) -> ForgeSettings:
        """Return this forge as the configuration names it; ``url`` is where its git is served."""
        return ForgeSettings(
            name=self.kind,
            kind=self.kind,
            url=url or self.address,
            api_url=self.address + ROOTS[self.kind],
            tokens=(Secret(self.token),) if self.token else (),
            share=share,
        )

    def respond(self, path: str, headers: Any) -> Answer:
        """Answer a request that nothing disturbs."""
        self.paths.append(path)
        status, more, body = self._answer(path, headers)
        more = [("Content-Type", "application/json; charset=utf-8"), *more]
        if self.kind != "gitea" and status == 200:
            # Of the form that is nothing but a commit's id, the tag is that very id.
            is_sha = headers.get("Accept", "").endswith(".sha")
            etag = body.decode() if is_sha else hashlib.sha256(body).hexdigest()
            known = headers.get("If-None-Match", "").removeprefix("W/")
            if known == f'"{etag}"':
                # As recorded: the 304 tells the tag without the W/ that the 200 had.
                status, body = 304, b""
            more.append(("ETag", f'{"" if status == 304 else "W/"}"{etag}"'))
        self.statuses.append(status)
        if self.date is not None:
            more.append(("Date", format_datetime(self.date, usegmt=True)))
        return status, more + self._limits(status), body

    def respond_to_query(self, headers: Any, body: bytes) -> Answer:
        """Carry out a GraphQL query."""
        if refused := self._refuse(headers):
            return refused
        found = json.loads(body)
        query = graphql.read(found["query"])
        asked = [one for one in query.selections if one.name == "repository"]
        self.queries.append(len(asked))
        if len(asked) > self.most_asked:
            return self._say(502, "Server Error")
        execution = graphql.Execution(query, found["variables"], self._types())
        data = execution.run(graphql.Node("Query", None))
        answer = {"data": data} | ({"errors": execution.errors} if execution.errors else {})
        dated = [("Date", format_datetime(self.date, usegmt=True))] if self.date else []
        return 200, dated, json.dumps(answer).encode()

    def _types(self) -> dict[str, dict[str, graphql.Resolve]]:
        limit = {"cost": 1, "limit": 5000, "remaining": 4999, "nodeCount": 1, "resetAt": LONG_AGO}
        return {
            "Query": {
                "rateLimit": lambda *_: graphql.Node("RateLimit", limit),
                "repository": lambda _, wanted: self._named(wanted),
            },
            "RateLimit": {name: lambda v, _, n=name: v[n] for name in limit},  # type: ignore[misc]
            "Repository": {
                "databaseId": lambda name, _: self._number(name),
                "nameWithOwner": lambda name, _: name,
                "pushedAt": lambda name, _: self.pushed_at.get(name, LONG_AGO),
                "isArchived": lambda name, _: name in self.archived,
                "isDisabled": lambda *_: False,
                "defaultBranchRef": lambda *_: graphql.Node("Ref", Ref("main", "", "", "")),
                "refs": self._connection,
            },
            "RefConnection": {
                "totalCount": lambda page, _: page[1],
                "pageInfo": lambda page, _: graphql.Node("PageInfo", page[1] > len(page[0])),
                "nodes": lambda page, _: [graphql.Node("Ref", ref) for ref in page[0]],
            },
            "PageInfo": {"hasNextPage": lambda is_more, _: is_more},
            "Ref": {
                "name": lambda ref, _: ref.name,
                "target": lambda ref, _: graphql.Node("GitObject", ref.target),
            },
            "GitObject": {"oid": lambda target, _: target},
        }

    def _named(self, wanted: Any) -> Any:
        name = f"{wanted['owner']}/{wanted['name']}"
        name = self.renamed.get(name, name)
        error = self.ailing.get(name, "" if name in self.repositories else "NOT_FOUND")
        if error:
            return {"type": error, "message": f"Could not resolve to {name}."}
        return graphql.Node("Repository", name)

    def _connection(self, name: str, wanted: Any) -> graphql.Node:
        refs = list_refs(self.repositories[name], wanted["refPrefix"])
        cut = len(wanted["refPrefix"])
        page = [Ref(ref.name[cut:], ref.sort, ref.target, ref.commit) for ref in refs]
        return graphql.Node("RefConnection", (page[: wanted["first"]], len(page)))

    def _number(self, name: str) -> int:
        return self.numbers.setdefault(name, len(self.numbers) + 1)

    def _owned(self, path: str, match: re.Match[str], query: dict[str, str]) -> Answer:
        """List an owner's repositories, the newest push first."""
        sort, owner, own = match.groups()
        owner = unquote(owner or self.login or "")
        if (sort == "orgs") != (owner in self.organisations) and not own:
            return self._say(404, "Not Found") if sort == "orgs" else (200, [], b"[]")
        names = [
            name
            for name in self.repositories
            if name.startswith(f"{owner}/") and (own or sort == "orgs" or name not in self.private)
        ]
        names.sort(key=lambda name: self.pushed_at.get(name, LONG_AGO), reverse=True)
        size, page = int(query.get("per_page", 30)), int(query.get("page", 1))
        items = [
            {
                "id": self._number(name),
                "full_name": name,
                "pushed_at": self.pushed_at.get(name, LONG_AGO),
                "archived": name in self.archived,
                "disabled": False,
            }
            for name in names[(page - 1) * size : page * size]
        ]
        following = {**query, "page": str(page + 1)}
        told = "&".join(f"{key}={text}" for key, text in following.items())
        is_more = len(names) > page * size
        link = [("Link", f'<{self.address}{path}?{told}>; rel="next"')] if is_more else []
        return 200, link, json.dumps(items).encode()

    def _limits(self, status: int) -> list[tuple[str, str]]:
        if self.kind == "gitea":
            return []
        if status != 304 or self.token is None or self.kind == "gitlab":
            self.remaining -= 1
        prefix = "X-RateLimit" if self.kind == "github" else "RateLimit"
        numbers = {"Limit": self.limit, "Remaining": self.remaining, "Reset": self.reset_s}
        return [(f"{prefix}-{name}", str(number)) for name, number in numbers.items()]

    def _answer(self, path: str, headers: Any) -> Answer:
        if refused := self._refuse(headers):
            return refused
        parts = urlsplit(path.removeprefix(ROOTS[self.kind]))
        if (told := self._at_large(parts.path, parts.query)) is not None:
            return told
        found = self._find(parts.path)
        if found is None:
            return self._say(404, "Not Found")
        name, rest = found
        if name in self.renamed:
            there = f"{self.address}{ROOTS[self.kind]}{self._root(self.renamed[name])}{rest}"
            location = there + (f"?{parts.query}" if parts.query else "")
            return 301, [("Location", location)], b'{"message":"Moved Permanently"}'
        repository = self.repositories.get(name)
        if repository is None:
            return self._say(404, "Not Found")
        query = {key: texts[-1] for key, texts in parse_qs(parts.query).items()}
        if rest == "/activity":
            return self._paged(self.logs.get(name, []), parts.path, query)
        if rest.startswith("/commits/") and headers.get("Accept", "").endswith(".sha"):
            return self._sha_alone(repository, unquote(rest.removeprefix("/commits/")))
        answer = getattr(self, f"_{self.kind}")(repository, rest, query, parse_qs(parts.query))
        if isinstance(answer, list):
            return self._paged(answer, parts.path, query)
        return answer if isinstance(answer, tuple) else (200, [], json.dumps(answer).encode())

    def _refuse(self, headers: Any) -> Answer | None:
        if self.remaining <= 0:
            return self._say(403 if self.kind == "github" else 429, "API rate limit exceeded")
        if self.token is None:
            return None
        spelled = {
            "github": ("Authorization", f"Bearer {self.token}"),
            "gitlab": ("PRIVATE-TOKEN", self.token),
            "gitea": ("Authorization", f"token {self.token}"),
        }
        name, wanted = spelled[self.kind]
        given = headers.get(name)
        if given is None:
            return self._say(404, "Not Found")
        return None if given == wanted else self._say(401, "Bad credentials")

    def _say(self, status: int, message: str) -> Answer:
        return status, [], json.dumps({"message": message}).encode()

    def _root(self, name: str) -> str:
        number = sorted({*self.repositories, *self.renamed}).index(name) + 1
        if self.kind == "gitlab":
            return f"/projects/{number}/repository"
        return f"/repositories/{number}" if self.kind == "github" else f"/repos/{name}"

    def _at_large(self, path: str, query: str) -> Answer | None:
        """Answer what is asked beside a repository's refs."""
        if self.kind == "github" and (match := OWNED.fullmatch(path)):
            pairs = parse_qs(query)
            return self._owned(path, match, {key: texts[-1] for key, texts in pairs.items()})
        if self.kind == "gitlab" and path.endswith("/events"):
            events = self.logs.get(unquote(path.split("/")[2]), [])
            return 200, [], json.dumps(events).encode()
        named = self._by_number(path)
        return (200, [], json.dumps(named).encode()) if named else None

    def _by_number(self, path: str) -> dict[str, Any] | None:
        """Tell a repository's name, where it is asked for by its number alone."""
        for name in self.repositories:
            root = self._root(name).removesuffix("/repository")
            if self.kind == "github" and path == root:
                return {"id": self._number(name), "full_name": name}
            if self.kind == "gitlab" and path == root:
                return {"id": self._number(name), "path_with_namespace": name}
        return None

    def _find(self, path: str) -> tuple[str, str] | None:
        """Tell which repository a path is about, and what of it."""
        for name in {*self.repositories, *self.renamed}:
            named = f"/projects/{quote(name, safe='')}/repository"
            if self.kind != "gitlab":
                owner, _, short = name.partition("/")
                named = f"/repos/{quote(owner, safe='')}/{quote(short, safe='')}"
            for root in (named, self._root(name)):
                if path.startswith(root + "/"):
                    return name, path.removeprefix(root)
        return None

    def _paged(self, items: list[Any], path: str, query: dict[str, str]) -> Answer:
        """Cut a page out, and tell where the next is, by the repository's number as GitHub does."""
        asked = int(query.get("limit" if self.kind == "gitea" else "per_page", 30))
        size = min(asked, self.page_limit)
        found = self._find(path)
        assert found is not None
        place = f"{self.address}{ROOTS[self.kind]}{self._root(found[0])}{found[1]}"
        if query.get("pagination") == "keyset":
            after = query.get("page_token", "")
            items = [item for item in items if item["name"] > after]
            following = {**query, "page_token": items[size - 1]["name"] if items[size:] else ""}
            is_more = bool(items[size:])
        else:
            page = int(query.get("page", 1))
            items = items[(page - 1) * size :]
            following = {**query, "page": str(page + 1)}
            is_more = bool(items[size:])
        told = "&".join(f"{key}={quote(text)}" for key, text in following.items())
        link = [("Link", f'<{place}?{told}>; rel="next"')] if is_more else []
        return 200, link, json.dumps(items[:size]).encode()

    def _github(self, repository: GitRepository, rest: str, query: dict[str, str], _: Any) -> Any:
        if rest == "/branches":
            return [
                {
                    "name": ref.name[11:],
                    "commit": {"sha": ref.commit, "url": ""},
                    "protected": False,
                }
                for ref in list_refs(repository, "refs/heads/")
            ]
        if rest == "/git/matching-refs/tags":
            if not repository.refs():
                return self._say(409, "Git Repository is empty.")
            return _whole(_git_refs(repository, "refs/tags/"), ("X-Poll-Interval", "300"))
        if match := COMPARE.fullmatch(rest):
            pages = int(query["per_page"]) if "per_page" in query else None
            told = forge_history.github_comparison(
                repository, *match.groups(), per_page=pages, html=self.address
            )
            return told or self._say(404, "No common ancestor")
        if rest.startswith("/commits/"):
            return self._github_commit(repository, unquote(rest.removeprefix("/commits/")))
        return self._say(404, "Not Found")

    def _github_commit(self, repository: GitRepository, name: str) -> Any:
        """Answer for a commit's id or a ref, but not for the id of a tag object."""
        is_ref = name.startswith(("heads/", "tags/"))
        full = f"refs/{name}" if is_ref else name
        commit = forge_history.find_commit(repository, full)
        if commit is None or (not is_ref and forge_history.sort_of(repository, name) != "commit"):
            return self._say(422, f"No commit found for SHA: {name}")
        files = forge_history.github_files(forge_history.own_files(repository, commit))
        return forge_history.github_commit(commit, html=self.address) | {"files": files}

    def _sha_alone(self, repository: GitRepository, name: str) -> Answer:
        if not repository.refs():
            return self._say(409, "Git Repository is empty.")
        commit = forge_history.find_commit(repository, f"refs/{name}")
        if commit is None:
            return self._say(422, f"No commit found for SHA: {name}")
        return 200, [], commit.sha.encode()

    def _gitlab(
        self,
        repository: GitRepository,
        rest: str,
        query: dict[str, str],
        _: Any,
    ) -> Any:
        if rest.startswith("/branches"):
            listed = [
                {
                    "name": ref.name[11:],
                    "commit": {"id": ref.commit, "short_id": ref.commit[:8]},
                    "merged": False,
                    "default": ref.name == "refs/heads/main",
                }
                for ref in list_refs(repository, "refs/heads/")
            ]
            if rest == "/branches":
                return listed
            name = unquote(rest.removeprefix("/branches/"))
            found = [one for one in listed if one["name"] == name]
            return found[0] if found else self._say(404, "404 Branch Not Found")
        if rest == "/tags":
            return [
                {"name": ref.name[10:], "target": ref.target, "commit": {"id": ref.commit}}
                for ref in list_refs(repository, "refs/tags/")
            ]
        if rest == "/compare":
            ends = (query["from"], query["to"])
            return forge_history.gitlab_comparison(repository, *ends, html=self.address)
        return self._gitlab_one(repository, rest)

    def _gitlab_one(self, repository: GitRepository, rest: str) -> Any:
        """Answer for one tag or one commit."""
        _, sort, name = rest.split("/", 2)
        full = f"refs/tags/{unquote(name)}" if sort == "tags" else unquote(name)
        commit = forge_history.find_commit(repository, full)
        if commit is None:
            return self._say(404, "404 Not Found")
        spelled = forge_history.gitlab_commit(commit, html=self.address)
        if sort == "commits":
            return spelled
        return {"name": unquote(name), "target": repository.refs()[full], "commit": spelled}

    def _gitea(self, repository: GitRepository, rest: str, query: dict[str, str], _: Any) -> Any:
        if rest == "/branches":
            return [
                {"name": ref.name[11:], "commit": {"id": ref.commit, "message": ""}}
                for ref in list_refs(repository, "refs/heads/")
            ]
        if rest == "/git/refs/tags":
            tags = _git_refs(repository, "refs/tags/")
            return _whole(tags) if tags else self._say(404, "Not Found")
        if self.compares and (match := COMPARE.fullmatch(rest)):
            told = forge_history.gitea_comparison(repository, *match.groups(), html=self.address)
            return told or self._say(404, "Not Found")
        if rest.startswith("/git/commits/"):
            commit = forge_history.find_commit(repository, rest.removeprefix("/git/commits/"))
            if commit is not None:
                spelled = forge_history.github_commit(commit, html=self.address)
                return spelled | {"created": commit.committer[2], "files": None}
        return self._say(404, "Not Found")


def _git_refs(repository: GitRepository, prefix: str) -> list[dict[str, Any]]:
    return [
        {"ref": ref.name, "object": {"type": ref.sort, "sha": ref.target}}
        for ref in list_refs(repository, prefix)
    ]


def _whole(items: list[dict[str, Any]], *headers: tuple[str, str]) -> Answer:
    """Answer a list that is not paged, however long."""
    return 200, list(headers), json.dumps(items).encode()
