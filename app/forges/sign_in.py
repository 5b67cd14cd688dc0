"""What a forge says of a credential of ours: whether it takes it, what for, and until when.

Asked once, by ``reposentry doctor``; polling learns the same as it goes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from http import HTTPStatus
from typing import Any

from app.domain.allowance import Limits
from app.domain.secret import Secret
from app.forges import github
from app.forges.allowance import FOR_URGENT
from app.forges.credentials import Accounts
from app.forges.rest import Api, decode
from app.forges.ways import Tools
from app.settings.types import Forge
from app.transport import Reply, Transport

# How GitHub's tokens begin ("Token formats" of its documentation).
GITHUB_SORTS = {
    "github_pat_": "a fine-grained token",
    "ghp_": "a classic token",
    "gho_": "an OAuth token",
    "ghu_": "a user's token for an App",
    "ghs_": "an App installation's token",
}
GRAPHQL_A_MINUTE = 2000  # points, where GitHub counts at all
SCOPES = "X-OAuth-Scopes"
EXPIRES = "github-authentication-token-expiration"
PRIVATE, PUBLIC = "repo", "public_repo"
GITHUB_NEEDED = frozenset({PRIVATE, PUBLIC})
# What each of GitLab's scopes gives of what is needed here.
GITLAB_GIVES = {
    "api": {"read_api", "read_repository"},
    "read_api": {"read_api"},
    "read_repository": {"read_repository"},
    "write_repository": {"read_repository"},
}
GITLAB_NEEDED = ("read_api", "read_repository")
GITLAB_HARMLESS = frozenset({*GITLAB_NEEDED, "read_user"})
NOT_HERE = frozenset({HTTPStatus.NOT_FOUND})
NOT_TOLD = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN})


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a forge says of a credential that it takes.

    ``sort`` is what people call such a credential. ``scopes`` is None where it does not tell them,
    ``missing`` are those that reading needs, ``surplus`` those that it does not. ``limits`` is what
    polling may spend with it.
    """

    sort: str
    scopes: tuple[str, ...] | None = None
    missing: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()
    expires_at: datetime | None = None
    limits: Limits = Limits()  # noqa: RUF009 - frozen


def alone(forge: Forge) -> list[tuple[str, Forge]]:
    """List a forge's credentials by name, each as the same forge with that one only."""
    tokens = [token for token in forge.tokens if token]
    found = [
        ("token" if len(tokens) == 1 else f"token {n}", replace(forge, tokens=(token,), app=None))
        for n, token in enumerate(tokens, 1)
    ]
    if forge.app is not None:
        found.append((f"app {forge.app.id}", replace(forge, tokens=())))
    return found


def ask(
    forge: Forge, transport: Transport, *, now: Callable[[], datetime], timeout_s: float
) -> SignedIn | None:
    """Ask a forge with one credential what it thinks of it; None where it cannot be asked.

    Raises:
        ForgeSignInRefused: It does not take it.
        ForgeError: It does not answer, or asks to wait.
    """
    look = LOOKS.get(forge.kind)
    if look is None or forge.api_url is None:
        return None
    accounts = Tools(transport, now).accounts_of(forge)
    found = look(forge, transport, accounts, now, timeout_s)
    return replace(found, limits=_counted(accounts.limits(), found.limits, forge.share))


def _counted(granted: Limits, told: Limits, share: float) -> Limits:
    """Count what the forge tells and no answer of its has shown yet."""
    if granted.graphql_per_hour is not None or told.graphql_per_hour is None:
        return granted
    part = share * (1 - FOR_URGENT)
    return replace(
        granted,
        graphql_per_hour=told.graphql_per_hour * part,
        graphql_per_minute=GRAPHQL_A_MINUTE * part,
    )


def _github(
    forge: Forge,
    transport: Transport,
    accounts: Accounts,
    now: Callable[[], datetime],
    timeout_s: float,
) -> SignedIn:
    api = github.api(transport, forge, now=now, accounts=accounts)
    call = api.call(None, timeout_s, urgent=True)
    # Asking this costs nothing; a server without limits has none of it (404).
    reply = call.get(f"{api.base}/rate_limit", also=NOT_HERE)
    found = read_github(reply.headers, forge.tokens[0] if forge.tokens else None)
    return replace(found, limits=_told(reply)) if reply.status == HTTPStatus.OK else found


def _told(reply: Reply) -> Limits:
    """Read the hour's points of GraphQL, which the headers do not tell here."""
    told: Any = decode(reply)
    for key in ("resources", "graphql", "limit"):
        told = told.get(key) if isinstance(told, dict) else None
    return Limits(graphql_per_hour=float(told) if isinstance(told, int) else None)


def read_github(headers: Mapping[str, str], token: Secret | None) -> SignedIn:
    """Read what GitHub's headers tell; without a token, an App signed in.

    >>> told = read_github({"X-OAuth-Scopes": "repo, admin:org"}, Secret("ghp_x"))
    >>> told.sort, told.missing, told.surplus
    ('a classic token', (), ('admin:org',))
    >>> read_github({EXPIRES: "2026-12-01 12:00:00 UTC"}, Secret("github_pat_x")).expires_at
    datetime.datetime(2026, 12, 1, 12, 0, tzinfo=datetime.timezone.utc)
    """
    if token is None:
        return SignedIn("an App's installation")
    given = token.reveal()
    sorts = (name for begin, name in GITHUB_SORTS.items() if given.startswith(begin))
    sort = next(sorts, "a token")
    expires_at = _moment(headers.get(EXPIRES, ""))
    told = headers.get(SCOPES)
    if told is None or sort != GITHUB_SORTS["ghp_"]:
        return SignedIn(sort, expires_at=expires_at)
    scopes = tuple(filter(None, (word.strip() for word in told.split(","))))
    surplus = tuple(one for one in scopes if one not in GITHUB_NEEDED)
    missing = () if GITHUB_NEEDED.intersection(scopes) else (PRIVATE,)
    return SignedIn(sort, scopes, missing, surplus, expires_at)


def _moment(text: str) -> datetime | None:
    """Read «2026-12-01 12:00:00 UTC», also with an offset."""
    try:
        told = datetime.fromisoformat(text.strip().replace(" UTC", "+00:00").replace(" -", "-"))
    except ValueError:
        return None
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def _gitlab(
    forge: Forge,
    transport: Transport,
    accounts: Accounts,
    now: Callable[[], datetime],
    timeout_s: float,
) -> SignedIn:
    api = Api(
        transport,
        forge,
        headers={"Accept": "application/json"},
        authorize=lambda token: {"PRIVATE-TOKEN": token.reveal()},
        now=now,
        accounts=accounts,
    )
    call = api.call(None, timeout_s, urgent=True)
    return read_gitlab(call.get(f"{api.base}/personal_access_tokens/self", also=NOT_TOLD))


def read_gitlab(reply: Reply) -> SignedIn:
    """Read what GitLab tells of a token; one that may not ask (403) lacks the API's scope.

    >>> told = read_gitlab(Reply(200, {}, b'{"scopes":["read_api"],"expires_at":"2026-12-01"}'))
    >>> told.missing, told.expires_at.isoformat()
    (('read_repository',), '2026-12-01T00:00:00+00:00')
    """
    if reply.status == HTTPStatus.FORBIDDEN:
        return SignedIn("a token", missing=("read_api",))
    told = decode(reply) if reply.status == HTTPStatus.OK else None
    if not isinstance(told, dict):
        return SignedIn("a token")
    scopes = _words(told.get("scopes"))
    given = {gives for scope in scopes for gives in GITLAB_GIVES.get(scope, ())}
    expires = told.get("expires_at")
    return SignedIn(
        "a token",
        scopes,
        tuple(need for need in GITLAB_NEEDED if need not in given),
        tuple(scope for scope in scopes if scope not in GITLAB_HARMLESS),
        _midnight(expires) if isinstance(expires, str) else None,
    )


def _words(told: Any) -> tuple[str, ...]:
    return tuple(one for one in told if isinstance(one, str)) if isinstance(told, list) else ()


def _midnight(day: str) -> datetime | None:
    try:
        return datetime.combine(datetime.fromisoformat(day).date(), time(), UTC)
    except ValueError:
        return None


def _gitea(
    forge: Forge,
    transport: Transport,
    accounts: Accounts,
    now: Callable[[], datetime],
    timeout_s: float,
) -> SignedIn:
    api = Api(
        transport,
        forge,
        headers={"Accept": "application/json"},
        authorize=lambda token: {"Authorization": f"token {token.reveal()}"},
        now=now,
        accounts=accounts,
    )
    # A token that may read repositories alone is told so (403), and is good enough.
    api.call(None, timeout_s, urgent=True).get(f"{api.base}/user", also=NOT_TOLD)
    return SignedIn("a token")


LOOKS = {"github": _github, "gitlab": _gitlab, "gitea": _gitea, "gogs": _gitea}
