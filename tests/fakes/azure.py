"""Azure DevOps' REST API on 127.0.0.1.

Shapes and pages are those of Microsoft's reference; the refs are those of real bare repositories.
"""

import json
from datetime import datetime
from typing import Any

from tests.fakes import forge_history as history
from tests.fakes.bitbucket import ZEROS, basic
from tests.fakes.forge import Answer, list_refs
from tests.fakes.forge_history import FoundCommit
from tests.fakes.git_repository import GitRepository
from tests.fakes.rest_forge import Query, RestForge, spell

PROJECT = "web"
SORTS = {"added": "add", "modified": "edit", "removed": "delete", "renamed": "rename"}


class AzureDevOps(RestForge):
    """Azure DevOps: a continuation token leads on; ``pushed`` is its log of pushes.

    The repository acme/site is the one of that name in the project «web» of the organisation acme.
    """

    kind = "azure"

    def __init__(self, *, token: str | None = None, username: str | None = None) -> None:
        super().__init__(token=token, username=username)
        self.pushed: list[dict[str, Any]] = []

    def git_path(self, name: str) -> str:
        owner, _, short = name.partition("/")
        return f"{owner}/{PROJECT}/_git/{short}"

    def authorization(self) -> str:
        return basic("", self.token or "")

    def root(self, name: str) -> str:
        owner, _, short = name.partition("/")
        return f"/{owner}/{PROJECT}/_apis/git/repositories/{short}"

    def refuse(self, status: int, message: str) -> Answer:
        body = {"$id": "1", "innerException": None, "message": message, "errorCode": 0}
        return status, [], json.dumps(body).encode()

    def answer(self, repository: GitRepository, rest: str, query: Query, path: str) -> Any:
        assert query["api-version"] == "7.0"
        if rest == "/refs":
            return self._refs(repository, query)
        if rest == "/pushes":
            return _told(self.pushed[: int(query["$top"])])
        if rest == "/diffs/commits":
            return self._compare(repository, query)
        if rest == "/commits":
            # From compareVersion down to itemVersion, as the reference has it.
            ends = [query[f"searchCriteria.{end}Version.version"] for end in ("item", "compare")]
            gained = [azure_commit(one) for one in history.gained(repository, *ends)]
            return _told(list(reversed(gained))[: int(query["searchCriteria.$top"])])
        if rest.startswith("/commits/"):
            commit = history.find_commit(repository, rest.removeprefix("/commits/"))
            if commit is not None:
                return azure_commit(commit) | {"treeId": commit.tree}
        return self.refuse(404, "TF401175: The version descriptor could not be resolved")

    def _refs(self, repository: GitRepository, query: Query) -> Any:
        peeled = query.get("peelTags") == "true"
        found: list[dict[str, Any]] = [
            {"name": ref.name, "objectId": ref.target, "creator": {"displayName": "Ada"}}
            | ({"peeledObjectId": ref.commit} if peeled and ref.sort == "tag" else {})
            for ref in list_refs(repository, "refs/")
            if ref.name.startswith(f"refs/{query['filter']}")
        ]
        after = query.get("continuationToken", "")
        found = [one for one in found if one["name"] > after]
        size = min(int(query.get("$top", 100)), self.page_limit)
        shown = found[:size]
        more = [("x-ms-continuationtoken", shown[-1]["name"])] if found[size:] else []
        return spell(_told(shown), *more)

    def _compare(self, repository: GitRepository, query: Query) -> Any:
        before, after = query["baseVersion"], query["targetVersion"]
        if not all(history.find_commit(repository, one) for one in (before, after)):
            return self.refuse(404, "TF401175: The version descriptor could not be resolved")
        changed = history.changed_files(repository, before, after)
        top = int(query["$top"])
        folder = {"item": {"gitObjectType": "tree", "path": "/", "isFolder": True}}
        return {
            "allChangesIncluded": len(changed) <= top,
            "changeCounts": {},
            "changes": [{**folder, "changeType": "edit"}] + [_file(*one) for one in changed[:top]],
            "commonCommit": history.merge_base(repository, before, after),
            "aheadCount": len(history.gained(repository, before, after)),
            "behindCount": len(history.gained(repository, after, before)),
        }


def azure_commit(commit: FoundCommit) -> dict[str, Any]:
    """Spell a commit."""

    def person(who: tuple[str, str, str]) -> dict[str, str]:
        return dict(zip(("name", "email", "date"), who, strict=True))

    return {
        "commitId": commit.sha,
        "author": person(commit.author),
        "committer": person(commit.committer),
        "comment": commit.message,
        "changeCounts": {"Add": 1, "Edit": 0, "Delete": 0},
        "url": "",
        "remoteUrl": f"https://dev.azure.com/acme/web/_git/site/commit/{commit.sha}",
    }


def push(at: str, *updates: tuple[str, str | None, str | None], user: str = "ada") -> Any:
    """Spell one push as the log has it."""
    datetime.fromisoformat(at)
    return {
        "pushId": 7,
        "date": at,
        "pushedBy": {"displayName": user.title(), "uniqueName": f"{user}@example.com", "id": "8"},
        "refUpdates": [
            {"name": ref, "oldObjectId": before or ZEROS, "newObjectId": after or ZEROS}
            for ref, before, after in updates
        ],
    }


def _told(items: list[Any]) -> dict[str, Any]:
    return {"count": len(items), "value": items}


def _file(word: str, path: str, *former: str) -> dict[str, Any]:
    told = {"item": {"gitObjectType": "blob", "path": f"/{path}"}, "changeType": SORTS[word]}
    return told | ({"sourceServerItem": f"/{former[0]}"} if former else {})
