"""What one may choose, as frozen values; ``config/default.yaml`` gives each one's reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from app.domain.delivery import RetryPolicy
from app.domain.errors import Mistake
from app.domain.refs import RefFilter
from app.domain.repository import Repository
from app.domain.secret import Secret


@dataclass(frozen=True, slots=True)
class Server:
    """Where pages and API are served. ``host`` has no brackets for IPv6."""

    host: str = "127.0.0.1"
    port: int = 8080
    threads: int = 8
    public_url: str | None = None
    trusted_proxy: str | None = None


@dataclass(frozen=True, slots=True)
class Storage:
    """Which database, and how long events are kept. The URL may hold a password: a secret."""

    url: Secret = field(default_factory=lambda: Secret("sqlite:///reposentry.db"))
    retention: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Objective:
    """The promised detection latency: ``share`` (0-1) of the changes within ``within``."""

    within: timedelta = timedelta(seconds=30)
    share: float = 0.95


@dataclass(frozen=True, slots=True)
class Polling:
    """How often and how widely to poll."""

    policy: str = "adaptive"
    interval: timedelta = timedelta(seconds=15)
    max_interval: timedelta = timedelta(minutes=15)
    workers: int = 64
    objective: Objective = field(default_factory=Objective)
    timeout: timedelta = timedelta(seconds=10)
    baseline: str = "silent"
    storm_limit: int = 1000


@dataclass(frozen=True, slots=True)
class ForgeApp:
    """A GitHub App installation."""

    id: int
    installation: int
    key: Secret


@dataclass(frozen=True, slots=True)
class Forge:
    """One forge: a hosting service or server, and how to sign in there.

    ``kind`` is one of ``schema.KINDS``. ``url`` is what repository URLs begin with; ``api_url`` is
    already derived, and None for ``git``. ``username`` goes with the token where a forge needs one.
    ``hook_secret`` is what its own webhooks are signed with; without one, none is taken.
    """

    name: str
    kind: str
    url: str
    api_url: str | None
    tokens: tuple[Secret, ...] = ()
    app: ForgeApp | None = None
    share: float = 0.8
    ca_file: Path | None = None
    hook_secret: Secret | None = None
    username: str | None = None

    @property
    def signs_in(self) -> bool:
        """Whether there is a credential for its API."""
        return any(self.tokens) or self.app is not None


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where events go, in which words, and what its answers mean.

    ``template`` is the text that ``template_file`` holds. ``expect`` is ``2xx`` or one status as
    text. ``rate`` is deliveries a second, or None. ``changes`` holds some of created, updated,
    deleted. ``refs`` are the branches and tags it wants of those that are watched.
    """

    name: str
    url: str
    payload: str = "github"
    template: str | None = None
    template_file: Path | None = None
    expect: str = "2xx"
    confirm: str | None = None
    rate: float | None = None
    secret: Secret | None = None
    previous_secret: Secret | None = None
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: timedelta = timedelta(seconds=10)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    order: str = "repository"
    concurrency: int = 8
    changes: tuple[str, ...] = ("created", "updated", "deleted")
    refs: RefFilter = field(default_factory=lambda: RefFilter(("*",), ("*",)))


@dataclass(frozen=True, slots=True)
class Defaults:
    """For every repository that does not say otherwise; no receivers means all."""

    branches: tuple[str, ...] = ("*",)
    tags: tuple[str, ...] = ()
    receivers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Discovery:
    """A whole organisation, group or user whose repositories are watched."""

    forge: str
    owner: str
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    every: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Security:
    """Who may come in, and where we may go."""

    tokens: str = "auto"
    require_https: bool = True
    allow_http: tuple[str, ...] = ("*.svc", "*.svc.cluster.local")
    allow_private_networks: bool = True
    encryption_keys: tuple[Secret, ...] = ()
    metrics_token: Secret | None = None


@dataclass(frozen=True, slots=True)
class Logging:
    """What is logged, how it is written, and where to (None: standard error)."""

    level: str = "info"
    format: str = "text"
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class AlertChannel:
    """An Apprise URL (a secret), and the alerts it wants; empty means all."""

    url: Secret
    on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Alerts:
    """Who is told when something needs a person."""

    channels: tuple[AlertChannel, ...] = ()
    heartbeat_url: Secret | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration, checked and resolved.

    ``repositories`` carry their defaults and receivers already. ``files`` are what was read, in
    order. ``warnings`` say what is accepted but has no effect.
    """

    server: Server = field(default_factory=Server)
    storage: Storage = field(default_factory=Storage)
    polling: Polling = field(default_factory=Polling)
    forges: Mapping[str, Forge] = field(default_factory=dict)
    receivers: Mapping[str, Receiver] = field(default_factory=dict)
    defaults: Defaults = field(default_factory=Defaults)
    repositories: tuple[Repository, ...] = ()
    discover: tuple[Discovery, ...] = ()
    security: Security = field(default_factory=Security)
    logging: Logging = field(default_factory=Logging)
    alerts: Alerts = field(default_factory=Alerts)
    files: tuple[Path, ...] = ()
    warnings: tuple[Mistake, ...] = ()
