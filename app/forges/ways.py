"""Puts a forge's ways of reading together, in the order they are tried."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http import HTTPStatus

from app.domain.allowance import Purpose, Resource
from app.domain.details import Details, Push
from app.domain.errors import ForgeAnswerInvalid, ForgeError, ForgeSignInRefused
from app.domain.event import Event
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.forges.allowance import Allowance
from app.forges.client import GitClient, RefsReply
from app.forges.credentials import MOST_SIGN_INS, Account, Accounts, Token, sources_of
from app.forges.exchange import origin
from app.forges.fallback import Fallback, Way
from app.forges.git_http import WAY as LS_REFS, GitHttp
from app.forges.ls_remote import WAY as LS_REMOTE, LsRemote
from app.forges.netrc import Netrc
from app.forges.probe import JustTold
from app.forges.rest import WAY as REST
from app.settings.types import Forge
from app.transport import Transport

Origin = tuple[str, str, int | None]


class Spared:
    """Whose refs had better be read by git, so that the API's allowance suffices for the rest."""

    def __init__(self) -> None:
        self.urls: frozenset[str] = frozenset()  # only ever replaced whole


@dataclass(frozen=True, slots=True)
class Tools:
    """What every forge's client and probes are made with."""

    transport: Transport
    now: Callable[[], datetime]
    netrc: Netrc = field(default_factory=Netrc, repr=False)
    just_told: JustTold = field(default_factory=JustTold, repr=False, compare=False)
    spared: Spared = field(default_factory=Spared, repr=False, compare=False)
    _accounts: dict[str, Accounts] = field(default_factory=dict, repr=False, compare=False)

    def accounts_of(self, forge: Forge) -> Accounts:
        """Return a forge's credentials: the same ones for all that asks there."""
        known = self._accounts.get(forge.name)
        if known is None:
            sources = sources_of(forge, transport=self.transport, now=self.now)
            known = self._accounts[forge.name] = Accounts(forge, sources, now=self.now)
        return known


def plain_git(forge: Forge, tools: Tools) -> Fallback:
    """Read by our own protocol, and by the git command where a server's answer is too odd."""
    username = forge.username or "git"
    ways = [git_way(forge, tools, username=username)]
    command = LsRemote(ca_file=forge.ca_file)
    if command.is_available:
        accounts = tools.accounts_of(forge)
        signed = SignedGit(
            command,
            forge,
            accounts,
            username=username,
            purpose=Purpose.LS_REMOTE,
            netrc=tools.netrc,
            now=tools.now,
        )
        ways.append(Way(LS_REMOTE, signed, after=(ForgeAnswerInvalid,)))
    return Fallback(ways, now=tools.now)


def git_way(forge: Forge, tools: Tools, *, username: str) -> Way:
    """Return the way by git's protocol; ``username`` is what goes with a token there."""
    git = GitHttp(tools.transport, now=tools.now)
    accounts = tools.accounts_of(forge)
    signed = SignedGit(
        git,
        forge,
        accounts,
        username=username,
        purpose=Purpose.LS_REFS,
        netrc=tools.netrc,
        now=tools.now,
    )
    return Way(LS_REFS, signed, tells_files=False)


def rest_way(client: GitClient, *, lag: timedelta = timedelta(0)) -> Way:
    """Return the way by a forge's API; that a repository is empty must be borne out by git.

    Pull requests are read by git alone: an API tells them one page after the other.
    """
    return Way(REST, client, is_doubted=True, lag=lag, reads_pulls=False)


class SignedGit:
    """Reads by git, signed in with a forge's own credential where a repository brings none.

    Where the forge has none either, netrc may have one. A credential goes to the forge's own server
    only. One that was refused, by the API or by git, is not tried again: a public repository is
    read without, and others fail.
    """

    def __init__(
        self,
        client: GitClient,
        forge: Forge,
        accounts: Accounts,
        *,
        username: str,
        purpose: Purpose,
        netrc: Netrc,
        now: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._accounts = accounts
        self._origin = origin(forge.url) if forge.url and accounts.signs_in else None
        self._username = username
        self._purpose = purpose
        self._netrc = netrc
        self._now = now
        self._owned: dict[tuple[Origin, tuple[str, Secret]], Account] = {}

    def list_refs(
        self,
        repository: Repository,
        *,
        validator: Mapping[str, str],
        timeout_s: float,
        urgent: bool = False,
    ) -> RefsReply:
        """Ask once, with the credential whose turn it is."""
        signed, account, refused = self._sign(repository, timeout_s, urgent=urgent)
        if account is None:
            return self._asked(signed, validator, timeout_s, urgent, refused)
        status: int | None = None
        account.allowance.enter()
        try:
            reply = self._asked(signed, validator, timeout_s, urgent, None)
            status = HTTPStatus.OK
        except ForgeSignInRefused as error:
            status = HTTPStatus.UNAUTHORIZED
            if signed.credentials is not None and account.source.renew(signed.credentials[1]):
                raise  # the next poll has another
            refusal = account.allowance.refuse("git", str(error))
            raise account.stopped(refusal, refusal.until) from error
        finally:
            account.allowance.leave(status, by="git")
        return reply

    def _asked(
        self,
        repository: Repository,
        validator: Mapping[str, str],
        timeout_s: float,
        urgent: bool,
        refused: ForgeSignInRefused | None,
    ) -> RefsReply:
        requests = 1
        unchanged = 0
        try:
            reply = self._client.list_refs(
                repository, validator=validator, timeout_s=timeout_s, urgent=urgent
            )
            requests, unchanged = reply.requests, int(reply.refs is None)
        except ForgeSignInRefused:
            if refused is not None:
                raise refused from None
            raise
        finally:
            self._accounts.note(self._purpose, requests=requests, unchanged=unchanged)
        return reply

    def describe(
        self, repository: Repository, *, change: Event, timeout_s: float
    ) -> Details | None:
        """Ask with the credential whose turn it is."""
        with self._quietly(repository, timeout_s) as signed:
            return self._client.describe(signed, change=change, timeout_s=timeout_s)

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        """Ask with the credential whose turn it is."""
        with self._quietly(repository, timeout_s) as signed:
            return self._client.pushes(signed, since=since, timeout_s=timeout_s)

    @contextmanager
    def _quietly(self, repository: Repository, timeout_s: float) -> Iterator[Repository]:
        account = None
        try:
            signed, account, _ = self._sign(repository, timeout_s, urgent=False)
        except ForgeError:
            signed = repository
        try:
            yield signed
        finally:
            if account is not None:
                account.allowance.give_up("git")  # nothing is learned of it here

    def _sign(
        self, repository: Repository, timeout_s: float, *, urgent: bool
    ) -> tuple[Repository, Account | None, ForgeSignInRefused | None]:
        """Return a repository with what signs in to it, and whose that is; if refused, why."""
        url = repository.url
        is_ours = self._origin is not None and origin(url) == self._origin
        try:
            if repository.credentials is None and is_ours:
                git = Resource.GIT
                account = self._accounts.admit(url, resource=git, urgent=urgent, by="git")
                secret = account.secret(timeout_s=timeout_s)
                known = None if secret is None else (self._username, secret)
                return replace(repository, credentials=known), account, None
            signed = self._signed_by_netrc(repository)
            if signed.credentials is None:
                return signed, None, None
            account = self._own(signed.credentials, origin(url))
            account.allowance.admit(Resource.GIT, urgent=urgent, by="git")
        except ForgeSignInRefused as error:
            return replace(repository, credentials=None), None, error
        return signed, account, None

    def _own(self, credentials: tuple[str, Secret], place: Origin) -> Account:
        """Return the account for credentials that are not the forge's, one for all who bring them.

        A wrong password in a hundred addresses is refused once, and not a hundred times.
        """
        known = self._owned.get((place, credentials))
        if known is None:
            allowance = Allowance(
                share=1.0, now=self._now, signs_in=True, most_at_once=MOST_SIGN_INS
            )
            token = Token("what an address brings", credentials[1])  # its name may be a secret
            fresh = Account(token, allowance, 0, forge=place[1], now=self._now)
            known = self._owned.setdefault((place, credentials), fresh)
        return known

    def _signed_by_netrc(self, repository: Repository) -> Repository:
        name, password = repository.credentials or ("", None)
        known = None if password else self._netrc.signed(repository)
        is_theirs = known is not None and name in {"", known[0]}
        return replace(repository, credentials=known) if is_theirs else repository
