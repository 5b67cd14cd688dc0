"""Puts a forge's ways of reading together, in the order they are tried."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.errors import ForgeAnswerInvalid
from app.forges.client import GitClient
from app.forges.exchange import origin
from app.forges.fallback import Fallback, Way
from app.forges.git_http import WAY as LS_REFS, GitHttp, SignIn
from app.forges.ls_remote import WAY as LS_REMOTE, LsRemote
from app.forges.rest import WAY as REST
from app.settings.types import Forge
from app.transport import Transport


@dataclass(frozen=True, slots=True)
class Tools:
    """What every forge's client is made with."""

    transport: Transport
    now: Callable[[], datetime]


def plain_git(forge: Forge, tools: Tools) -> GitClient:
    """Read by our own protocol, and by the git command where a server's answer is too odd."""
    ways = [git_way(forge, tools, username="git")]
    command = LsRemote(sign_in=_sign_in(forge, "git"), ca_file=forge.ca_file)
    if command.is_available:
        ways.append(Way(LS_REMOTE, command, after=(ForgeAnswerInvalid,)))
    return Fallback(ways, now=tools.now)


def git_way(forge: Forge, tools: Tools, *, username: str) -> Way:
    """Return the way by git's protocol; ``username`` is what goes with a token there."""
    sign_in = _sign_in(forge, username)
    return Way(LS_REFS, GitHttp(tools.transport, now=tools.now, sign_in=sign_in))


def rest_way(client: GitClient, *, lag: timedelta = timedelta(0)) -> Way:
    """Return the way by a forge's API; that a repository is empty must be borne out by git."""
    return Way(REST, client, is_doubted=True, lag=lag)


def _sign_in(forge: Forge, username: str) -> SignIn | None:
    """Let git use the forge's first token."""
    if not forge.tokens or not forge.tokens[0]:
        return None
    return SignIn(origin(forge.url), username, forge.tokens[0])
