"""Bitbucket's REST APIs on 127.0.0.1, those of the Cloud and of the Server.

Shapes and pages are those of Atlassian's references; the refs are those of real bare repositories.
"""

import base64
import json
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from tests.fakes import forge_history as history
from tests.fakes.forge import Answer, list_refs
from tests.fakes.forge_history import FoundCommit
from tests.fakes.git_repository import GitRepository
from tests.fakes.rest_forge import Query, RestForge

ZEROS = "0" * 40
SORTS = {"added": "ADD", "modified": "MODIFY", "removed": "DELETE", "renamed": "MOVE"}


def basic(username: str, password: str) -> str:
    """Spell a header."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


class BitbucketCloud(RestForge):
    """Bitbucket Cloud: ``next`` leads on, and a tag is told by its commit."""

    kind = "bitbucket"
    api_path = "/2.0"

    def authorization(self) -> str:
        return basic(self.username, self.token or "") if self.username else f"Bearer {self.token}"

    def root(self, name: str) -> str:
        return f"/repositories/{name}"

    def refuse(self, status: int, message: str) -> Answer:
        body = {"type": "error", "error": {"message": message}}
        return status, [], json.dumps(body).encode()

    def answer(self, repository: GitRepository, rest: str, query: Query, path: str) -> Any:
        _, sort, name = (*rest.split("/", 2), "", "")[:3]
        if rest == "/refs/branches":
            found = [
                {"name": ref.name[11:], "target": {"hash": ref.commit}}
                for ref in list_refs(repository, "refs/heads/")
            ]
            return self._page(found, query, path)
        if rest.startswith("/refs/tags/"):
            commit = history.find_commit(repository, rest.removeprefix("/"))
            if commit is None:
                return self.refuse(404, "No such tag")
            return {"name": name.removeprefix("tags/"), "target": cloud_commit(commit)}
        if sort == "commit":
            commit = history.find_commit(repository, name)
            return cloud_commit(commit) if commit else self.refuse(404, "Commit not found")
        if sort == "commits":
            if not all(history.find_commit(repository, one) for one in (name, query["exclude"])):
                return self.refuse(404, "Commit not found")
            gained = history.gained(repository, query["exclude"], name)
            return self._page([cloud_commit(one) for one in reversed(gained)], query, path)
        if sort == "diffstat":
            later, earlier = name.split("..")
            changed = history.changed_files(repository, earlier, later)
            return {"pagelen": 500, "values": [cloud_file(*one) for one in changed], "page": 1}
        return self.refuse(404, "Not Found")

    def _page(self, items: list[Any], query: Query, path: str) -> dict[str, Any]:
        size = min(int(query.get("pagelen", 10)), self.page_limit)
        page = int(query.get("page", 1))
        told: dict[str, Any] = {"values": items[(page - 1) * size : page * size]}
        if items[page * size :]:
            there = path.partition("?")[0]
            told["next"] = f"{self.address}{there}?" + urlencode({**query, "page": page + 1})
        return told


def cloud_commit(commit: FoundCommit) -> dict[str, Any]:
    """Spell a commit."""

    def person(who: tuple[str, str, str]) -> dict[str, Any]:
        user = {"user": {"display_name": who[0], "nickname": "ada"}} if who[0] == "Ada" else {}
        return {"type": "author", "raw": f"{who[0]} <{who[1]}>", **user}

    return {
        "type": "commit",
        "hash": commit.sha,
        "date": commit.committer[2],
        "message": commit.message,
        "author": person(commit.author),
        "committer": person(commit.committer),
        "parents": [{"hash": parent, "type": "commit"} for parent in commit.parents],
        "links": {"html": {"href": f"https://bitbucket.org/acme/site/commits/{commit.sha}"}},
    }


def cloud_file(word: str, path: str, *former: str) -> dict[str, Any]:
    """Spell a changed file."""
    new = None if word == "removed" else {"path": path}
    old = None if word == "added" else {"path": (former or (path,))[0]}
    return {"type": "diffstat", "status": word, "old": old, "new": new}


class BitbucketServer(RestForge):
    """Bitbucket Server: ``nextPageStart`` leads on; ``pushed`` is its log of changes of refs."""

    kind = "bitbucket-server"
    api_path = "/rest/api/1.0"

    def __init__(self, *, token: str | None = None, username: str | None = None) -> None:
        super().__init__(token=token, username=username)
        self.pushed: list[dict[str, Any]] | None = []

    def git_path(self, name: str) -> str:
        return f"scm/{name}.git"

    def authorization(self) -> str:
        return basic(self.username, self.token or "") if self.username else f"Bearer {self.token}"

    def root(self, name: str) -> str:
        project, _, short = name.partition("/")
        return f"/projects/{quote(project)}/repos/{quote(short)}"

    def refuse(self, status: int, message: str) -> Answer:
        body = {"errors": [{"context": None, "message": message, "exceptionName": None}]}
        return status, [], json.dumps(body).encode()

    def answer(self, repository: GitRepository, rest: str, query: Query, path: str) -> Any:
        if rest == "/branches":
            return self._page([_branch(ref) for ref in list_refs(repository, "refs/heads/")], query)
        if rest == "/tags":
            return self._page([_tag(ref) for ref in list_refs(repository, "refs/tags/")], query)
        if rest.startswith("/tags/"):
            wanted = f"refs{rest}"
            found = [ref for ref in list_refs(repository, "refs/tags/") if ref.name == wanted]
            return _tag(found[0]) if found else self.refuse(404, "No such tag")
        if rest == "/ref-change-activities":
            if self.pushed is None:
                return self.refuse(401, "You are not permitted to access this resource")
            return self._page(self.pushed, query)
        if rest.startswith("/commits/"):
            commit = history.find_commit(repository, rest.removeprefix("/commits/"))
            return server_commit(commit) if commit else self.refuse(404, "No such commit")
        if rest.startswith("/compare/"):
            return self._compare(repository, rest, query)
        return self.refuse(404, "Not Found")

    def _compare(self, repository: GitRepository, rest: str, query: Query) -> Any:
        later, earlier = query["from"], query["to"]
        if not all(history.find_commit(repository, one) for one in (later, earlier)):
            return self.refuse(404, "No such commit")
        if rest == "/compare/commits":
            gained = history.gained(repository, earlier, later)
            return self._page([server_commit(one) for one in reversed(gained)], query)
        base = history.merge_base(repository, earlier, later) or earlier
        changed = history.changed_files(repository, base, later)
        return self._page([_file(*one) for one in changed], query)

    def _page(self, items: list[Any], query: Query) -> dict[str, Any]:
        start, size = int(query.get("start", 0)), min(int(query.get("limit", 25)), self.page_limit)
        shown = items[start : start + size]
        is_last = len(items) <= start + size
        told = {"size": len(shown), "limit": size, "isLastPage": is_last, "start": start}
        return {**told, "values": shown, "nextPageStart": None if is_last else start + size}


def _branch(ref: Any) -> dict[str, Any]:
    return {
        "id": ref.name,
        "displayId": ref.name[11:],
        "type": "BRANCH",
        "latestCommit": ref.commit,
        "isDefault": ref.name == "refs/heads/main",
    }


def _tag(ref: Any) -> dict[str, Any]:
    """A tag that is no object of its own has no hash."""
    own = ref.target if ref.sort == "tag" else None
    told = {"id": ref.name, "displayId": ref.name[10:], "type": "TAG"}
    return {**told, "latestCommit": ref.commit, "hash": own}


def server_commit(commit: FoundCommit) -> dict[str, Any]:
    """Spell a commit."""

    def person(who: tuple[str, str, str]) -> dict[str, Any]:
        return {"name": who[0], "emailAddress": who[1]}

    def stamp(who: tuple[str, str, str]) -> int:
        return int(datetime.fromisoformat(who[2]).timestamp() * 1000)

    return {
        "id": commit.sha,
        "displayId": commit.sha[:11],
        "author": person(commit.author),
        "authorTimestamp": stamp(commit.author),
        "committer": person(commit.committer),
        "committerTimestamp": stamp(commit.committer),
        "message": commit.message,
        "parents": [{"id": parent, "displayId": parent[:11]} for parent in commit.parents],
    }


def _file(word: str, path: str, *former: str) -> dict[str, Any]:
    told = {"type": SORTS[word], "path": {"toString": path, "name": path.rpartition("/")[2]}}
    return told | ({"srcPath": {"toString": former[0]}} if former else {})


def activity(
    ref: str, before: str | None, after: str | None, at: datetime, *, user: str = "ada"
) -> dict[str, Any]:
    """Spell one change of a ref as the log has it."""
    sort = "ADD" if before is None else "DELETE" if after is None else "UPDATE"
    return {
        "id": 1,
        "createdDate": int(at.timestamp() * 1000),
        "user": {
            "name": user,
            "emailAddress": f"{user}@example.com",
            "displayName": user.title(),
            "slug": user,
        },
        "trigger": "push",
        "refChange": {
            "ref": {"id": ref, "displayId": ref.split("/", 2)[2], "type": "BRANCH"},
            "refId": ref,
            "fromHash": before or ZEROS,
            "toHash": after or ZEROS,
            "type": sort,
        },
    }
