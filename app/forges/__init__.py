"""The ways to the forges: how a repository's refs are read, and when to ask which.

To add a forge: one module here, with a class that obeys ``client.GitClient`` and a function
``client(forge, tools)`` that makes it for a configured forge; one line in ``CLIENTS`` below; one
row in ``tests/contract/test_git_clients.py``, with answers that the real forge gave.

Imports nothing of its siblings ``delivery``, ``alerts`` and ``storage``.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from app.domain.allowance import Credential, Limits, Spent
from app.domain.details import Details, Push
from app.domain.event import Event
from app.domain.plan import Probing
from app.domain.repository import Repository
from app.forges import (
    azure,
    bitbucket,
    bitbucket_server,
    gitea,
    github,
    github_probes,
    gitlab,
    gogs,
)
from app.forges.client import GitClient, RefsReply
from app.forges.credentials import Accounts
from app.forges.ls_remote import WAY as LS_REMOTE, LsRemote
from app.forges.netrc import Netrc
from app.forges.probe import JustTold, Probe
from app.forges.ways import Tools, plain_git
from app.settings.types import Forge
from app.transport import Transport

__all__ = ["CLIENTS", "Forges", "GitClient", "RefsReply"]

# A forge's kind, and what makes the git client for one such forge.
CLIENTS: Mapping[str, Callable[[Forge, Tools], GitClient]] = {
    "github": github.client,
    "gitlab": gitlab.client,
    "gitea": gitea.client,
    "gogs": gogs.client,
    "bitbucket": bitbucket.client,
    "bitbucket-server": bitbucket_server.client,
    "azure": azure.client,
    "git": plain_git,
}

# A forge's kind, and what makes its probes; None for a sort that it does not have.
PROBES: Mapping[str, Callable[[Forge, Tools, Probing, str], Probe | None]] = {
    "github": github_probes.probe,
}

PLAIN_GIT = Forge(name="git", kind="git", url="", api_url=None)


@runtime_checkable
class _HasWays(Protocol):
    def way_of(self, repository: Repository) -> str:
        """Return the way that would be asked now."""
        ...


class _ReadByCommand:
    """Reads refs over ssh by the git command, and asks the forge's API what a push brought."""

    def __init__(self, command: GitClient, api: GitClient, just_told: JustTold) -> None:
        self._command = command
        self._api = api
        self._just_told = just_told

    def list_refs(
        self,
        repository: Repository,
        *,
        validator: Mapping[str, str],
        timeout_s: float,
        urgent: bool = False,
    ) -> RefsReply:
        """Ask the git command, unless a probe has just been told."""
        told = self._just_told.take(repository)
        if told is not None and not urgent:
            return told
        return self._command.list_refs(
            repository, validator=validator, timeout_s=timeout_s, urgent=urgent
        )

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        """Ask the forge."""
        return self._api.describe(repository, change=change, timeout_s=timeout_s)

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        """Ask the forge."""
        return self._api.pushes(repository, since=since, timeout_s=timeout_s)


class Forges:
    """Finds the git client for a repository; safe for many threads.

    A forge's token goes to the hosts of its ``url`` and ``api_url``, and to no other.

    Args:
        forges: The configured forges by name. A repository whose forge is not among them is read
            as from a plain git server.
        now: The clock.
        connections: How many idle connections to keep for each host.
        proxies: As ``Transport`` takes them; the git command reads its own from the environment.
    """

    def __init__(
        self,
        forges: Mapping[str, Forge],
        *,
        now: Callable[[], datetime],
        connections: int,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        self._transports: dict[Path | None, Transport] = {}
        self._clients: dict[str, GitClient] = {}
        self._forges = {"git": PLAIN_GIT, **forges}
        self._tools: dict[str, Tools] = {}
        netrc = Netrc.of_user()
        for name, forge in self._forges.items():
            transport = self._transports.get(forge.ca_file)
            if transport is None:
                transport = Transport(
                    ca_file=forge.ca_file, connections=connections, proxies=proxies
                )
                self._transports[forge.ca_file] = transport
            tools = self._tools[name] = Tools(transport, now, netrc)
            self._clients[name] = CLIENTS[forge.kind](forge, tools)
        self._by_command = LsRemote()
        self._by_ssh = {
            name: _ReadByCommand(self._by_command, self._clients[name], self._tools[name].just_told)
            for name, forge in forges.items()
            if forge.api_url is not None
        }

    def client_for(self, repository: Repository) -> GitClient:
        """Return the client that reads this repository; always the same one for the same forge."""
        scheme = repository.remote.scheme
        if scheme in {"http", "https"}:
            return self._clients.get(repository.forge) or self._clients["git"]
        known = self._by_ssh.get(repository.forge) if scheme == "ssh" else None
        return known or self._by_command

    def way_of(self, repository: Repository) -> str:
        """Return the way by which a poll would read now: rest, ls-refs or ls-remote."""
        client = self.client_for(repository)
        if isinstance(client, _HasWays):
            return client.way_of(repository)
        return LS_REMOTE

    def credentials(self, forge_name: str) -> tuple[Credential, ...]:
        """Return a forge's credentials and how they stand, without their secrets."""
        return self._accounts(forge_name).credentials()

    def limits(self, forge_name: str) -> Limits:
        """Return what polling may spend there: of each usable credential our share, less a tenth.

        The tenth is kept for people and webhooks. None where nobody counts.
        """
        return self._accounts(forge_name).limits()

    def spent(self, forge_name: str) -> Mapping[str, Spent]:
        """Return what was asked of a forge since the start, by purpose."""
        return self._accounts(forge_name).spent()

    def probe_for(self, forge_name: str, probing: Probing, key: str) -> Probe | None:
        """Make a probe for a group of repositories; None where the forge has none of that sort.

        ``key`` is the group's: an owner for a listing, a number for a batch.
        """
        forge = self._forges[self._known(forge_name)]
        make = PROBES.get(forge.kind)
        return make(forge, self._tools[forge.name], probing, key) if make else None

    def spare(self, forge_name: str, urls: frozenset[str]) -> None:
        """Read these by git from now on, where that can be, and the others as is best for each."""
        self._tools[self._known(forge_name)].spared.urls = urls

    def _accounts(self, forge_name: str) -> Accounts:
        name = self._known(forge_name)
        return self._tools[name].accounts_of(self._forges[name])

    def _known(self, forge_name: str) -> str:
        return forge_name if forge_name in self._forges else "git"

    def close(self) -> None:
        """Close the idle connections."""
        for transport in self._transports.values():
            transport.close()
