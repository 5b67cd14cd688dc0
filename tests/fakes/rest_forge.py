"""What the fakes of Bitbucket, Azure DevOps and Gogs have in common: a REST API on 127.0.0.1."""

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from app.domain.secret import Secret
from app.settings.types import Forge as ForgeSettings
from tests.fakes.forge import Answer, Handler
from tests.fakes.git_repository import GitRepository
from tests.fakes.git_server import LoopbackService

Query = Mapping[str, str]


class RestForge(LoopbackService):
    """A forge with ``repositories`` by owner/name, whose shapes are those that it documents.

    ``token`` is wanted, if given, and ``username`` with it. ``page_limit`` caps what a page holds.
    ``says`` replaces every answer. ``on_request`` is told each path before it is answered.
    ``asked`` keeps the headers of every request, ``paths`` what was asked for.
    """

    handler = Handler
    kind: ClassVar[str]
    api_path: ClassVar[str] = ""

    def __init__(self, *, token: str | None = None, username: str | None = None) -> None:
        super().__init__()
        self.token = token
        self.username = username
        self.repositories: dict[str, GitRepository] = {}
        self.page_limit = 100
        self.says: Answer | None = None
        self.on_request: Callable[[str], None] = lambda _: None
        self.asked: list[dict[str, str]] = []
        self.paths: list[str] = []

    def settings(self, *, url: str | None = None) -> ForgeSettings:
        """Return this forge as the configuration names it; ``url`` is where its git is served."""
        return ForgeSettings(
            name=self.kind,
            kind=self.kind,
            url=url or self.address,
            api_url=self.address + self.api_path,
            tokens=(Secret(self.token),) if self.token else (),
            username=self.username,
        )

    def git_path(self, name: str) -> str:
        """Return the path below the forge at which git finds a repository."""
        return f"{name}.git"

    def respond(self, path: str, headers: Any) -> Answer:
        """Answer a request that nothing disturbs."""
        self.paths.append(path)
        if self.token is not None:
            given = headers.get("Authorization")
            if given is None:
                return self.refuse(404, "Not Found")
            if given != self.authorization():
                return self.refuse(401, "Unauthorized")
        parts = urlsplit(path.removeprefix(self.api_path))
        query = {key: texts[-1] for key, texts in parse_qs(parts.query).items()}
        for name, repository in self.repositories.items():
            root = self.root(name)
            if parts.path.startswith(root + "/"):
                rest = unquote(parts.path.removeprefix(root))
                answer = self.answer(repository, rest, query, path)
                return answer if isinstance(answer, tuple) else spell(answer)
        return self.refuse(404, "Not Found")

    def refuse(self, status: int, message: str) -> Answer:
        """Spell an error."""
        return status, [], json.dumps({"message": message}).encode()

    @abstractmethod
    def authorization(self) -> str:
        """Return the header that opens the door."""

    @abstractmethod
    def root(self, name: str) -> str:
        """Return the path below the API at which a repository stands."""

    @abstractmethod
    def answer(self, repository: GitRepository, rest: str, query: Query, path: str) -> Any:
        """Answer for what lies below a repository: what becomes JSON, or a whole answer."""


def spell(found: Any, *headers: tuple[str, str]) -> Answer:
    """Spell a success."""
    return 200, [("Content-Type", "application/json"), *headers], json.dumps(found).encode()
