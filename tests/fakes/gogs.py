"""The REST API of Gogs on 127.0.0.1.

The list of branches has the shape that 0.11.95 was recorded with, commits have that of its source.
"""

from typing import Any

from tests.fakes import forge_history as history
from tests.fakes.forge import Answer, list_refs
from tests.fakes.git_repository import GitRepository
from tests.fakes.rest_forge import Query, RestForge


class Gogs(RestForge):
    """Gogs: every branch in one answer, no comparison, and only the first line of messages."""

    kind = "gogs"
    api_path = "/api/v1"

    def authorization(self) -> str:
        return f"token {self.token}"

    def root(self, name: str) -> str:
        return f"/repos/{name}"

    def answer(self, repository: GitRepository, rest: str, query: Query, path: str) -> Any:
        if rest == "/branches":
            return [
                {"name": ref.name[11:], "commit": {"id": ref.commit, "message": "", "url": ""}}
                for ref in list_refs(repository, "refs/heads/")
            ]
        if not rest.startswith("/commits/"):
            return self.refuse(404, "Not Found")
        name = rest.removeprefix("/commits/")
        is_ref = name.startswith("refs/")
        commit = history.find_commit(repository, name)
        wants_id = self.asked[-1].get("accept") == "application/vnd.gogs.sha"
        if commit is None or is_ref != wants_id:
            return self.refuse(404, "Not Found")
        if wants_id:
            told: Answer = (200, [("Content-Type", "text/plain")], commit.sha.encode())
            return told
        spelled = history.github_commit(commit, html=self.address)
        spelled["commit"]["message"] = commit.message.partition("\n")[0]
        spelled["commit"]["tree"]["sha"] = commit.sha
        return spelled
