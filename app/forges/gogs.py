"""Gogs.

As its own documentation of the API has it (gogs/docs-api: Branches, Commits), and as version
0.11.95 answered when it was run to be asked:

- Reading: git first, of which it speaks the old protocol, version 0, alone. The API lists branches
  whole, without pages, and tells what a tag leads to and not its own id, so where tags are watched
  it does not read refs.
- Signing in: an access token. Git takes it for a password since 0.13; before that it needs the
  account's own password, with ``username``, or in the repository's URL.
- There are no limits, no comparison of commits, and no log of pushes: of a change the newest commit
  is told, with the first line of its message.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

from app.domain.details import Details, Push
from app.domain.errors import ForgeDenied
from app.domain.event import Event
from app.domain.refs import is_tag
from app.domain.repository import Repository
from app.forges import commits
from app.forges.client import GitClient, RefsReply
from app.forges.credentials import Accounts
from app.forges.fallback import Fallback
from app.forges.gitea import branches, parents
from app.forges.github import commit
from app.forges.rest import Api, Listing, project_path
from app.forges.tags_by_git import TagsByGit, refuse_tags
from app.forges.ways import Tools, git_way, rest_way
from app.settings.types import Forge
from app.transport import Transport

USERNAME = "x-access-token"  # any name will do: git takes a token for a password
MEDIA_SHA = "application/vnd.gogs.sha"  # asks for the id of a ref's commit alone


def client(forge: Forge, tools: Tools) -> GitClient:
    """Git first: the API has no ETag."""
    git = git_way(forge, tools, username=forge.username or USERNAME)
    if forge.api_url is None:
        return Fallback([git], now=tools.now)
    accounts = tools.accounts_of(forge)
    rest = rest_way(Gogs(tools.transport, forge, now=tools.now, accounts=accounts))
    return TagsByGit(git, rest, now=tools.now)


class Gogs:
    """Reads branches over Gogs' REST API, which knows neither pages nor ETags nor limits."""

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
            authorize=lambda token: {"Authorization": f"token {token.reveal()}"},
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
        """List branches; tags are refused, since their own ids are not told."""
        refuse_tags(repository, "Gogs")
        listing = Listing("branches", f"{self._root(repository)}/branches", branches)
        return self._api.list_refs(
            repository, [listing], validator=validator, timeout_s=timeout_s, urgent=urgent
        )

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        """Tell the newest commit: one request, two for a tag."""
        return commits.told(lambda: self._describe(repository, change, timeout_s))

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        """Return None: Gogs has no log of pushes that could be asked for."""
        return None

    def _describe(self, repository: Repository, change: Event, timeout_s: float) -> Details:
        call = self._api.call(repository, timeout_s, limit_bytes=commits.LIMIT_BYTES)
        root = self._root(repository)
        target = change.after
        if is_tag(change.ref):
            reply = call.get(f"{root}/commits/{quote(change.ref)}", accept=MEDIA_SHA)
            target = reply.body.decode("ascii", "replace").strip()
        found: Mapping[str, Any] = call.get_object(f"{root}/commits/{quote(target or '')}")
        # It tells the commit's own id for its tree's.
        told = replace(commit(found), tree_id=None)
        is_next = commits.has_base(change) and change.before in parents(found)
        return Details((told,), forced=False if is_next else None)

    def _root(self, repository: Repository) -> str:
        owner, _, name = project_path(self._forge, repository).partition("/")
        if not owner or not name or "/" in name:
            raise ForgeDenied(f"{repository.url} is no repository of Gogs': not owner/name")
        return f"{self._api.base}/repos/{quote(owner, safe='')}/{quote(name, safe='')}"
