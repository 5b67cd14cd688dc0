"""What a forge still lets us ask, as pages and API show it and as the planner counts with it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Resource(StrEnum):
    """What a forge counts apart."""

    REST = "rest"  # requests of the REST API, over the longer period (GitHub: an hour)
    REST_MINUTE = "rest-minute"  # the same within a minute (GitHub's secondary limit)
    GRAPHQL = "graphql"  # points of the GraphQL API, over the longer period
    GRAPHQL_MINUTE = "graphql-minute"
    GIT = "git"  # requests of git itself


class CredentialState(StrEnum):
    """Whether a credential may ask now."""

    OK = "ok"
    PAUSED = "paused"  # the forge asked to wait
    SPENT = "spent"  # our share is used up until it is new
    REFUSED = "refused"  # sign-in failed; a person must mend the credential


@dataclass(frozen=True, slots=True)
class Limits:
    """What one credential may spend on polling, in each resource; None: nobody counts.

    The figures are the forge's own limits, before our share is taken of them.
    """

    rest_per_hour: float | None = None
    rest_per_minute: float | None = None
    graphql_per_hour: float | None = None
    graphql_per_minute: float | None = None
    git_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """One resource of one credential: ``remaining`` of ``limit`` until ``reset_at``.

    ``used`` is what this process spent of it since the period began. ``reset_at`` is None where
    the period slides (a minute's limit).
    """

    resource: Resource
    limit: int
    remaining: int
    used: int
    period: timedelta
    reset_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """One way to sign in, and how it stands.

    ``name`` tells people which («token 1», «app 12345», «without a token»); never the secret.
    ``reason`` and ``until`` say why it may not ask, and how long. ``requests`` counts what was
    asked since the start; ``unchanged`` the 304s among them, ``errors`` what failed.
    """

    name: str
    state: CredentialState
    budgets: tuple[Budget, ...] = ()
    reason: str | None = None
    until: datetime | None = None
    requests: int = 0
    unchanged: int = 0
    errors: int = 0


class Purpose(StrEnum):
    """What a request to a forge was for; requests are counted by it."""

    REST = "rest"  # a repository's refs by the REST API
    ONE_BRANCH = "one-branch"  # one branch's commit by the REST API
    GRAPHQL = "graphql"
    LISTING = "listing"  # an owner's list of repositories
    LS_REFS = "ls-refs"
    LS_REMOTE = "ls-remote"
    COMPARE = "compare"  # what a change brought
    ACTIVITY = "activity"  # the forge's own log of pushes


@dataclass(frozen=True, slots=True)
class Spent:
    """What one purpose took since the start.

    ``unchanged`` are the requests answered by «not modified»; ``points`` is what all of them cost
    of the forge's longer allowance, where those may be free.
    """

    requests: int = 0
    unchanged: int = 0
    points: int = 0
