"""What may stand in a configuration file: every setting, its kind, and what it is for.

The defaults are those of ``types``. A file's sections are loaded into plain dicts of finished
values, so that one wrong value does not hide what is wrong with its neighbours.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, validates_schema

from app.domain.delivery import RetryPolicy
from app.domain.repository import Repository
from app.settings import types
from app.settings.addresses import (
    DatabaseUrl,
    HeaderName,
    HeaderValue,
    Listen,
    ProxyAddress,
    RemoteUrl,
    WebUrl,
)
from app.settings.fields import (
    Choice,
    Duration,
    Expected,
    Flag,
    Inner,
    Keyed,
    LatencyObjective,
    Line,
    Many,
    Name,
    PathPattern,
    Paths,
    Rate,
    RefPattern,
    Share,
    Weight,
    Whole,
)
from app.settings.files import (
    ExistingFile,
    KeyFile,
    KeyText,
    OwnFile,
    SecretFile,
    SecretText,
    TemplateFile,
)

# As long as the database's columns.
LONGEST_NAME = 100
LONGEST_REPOSITORY = 255

CHANGES = ("created", "updated", "deleted")
KINDS = ("github", "gitlab", "gitea", "gogs", "bitbucket", "bitbucket-server", "azure", "git")


class Section(Schema):
    """Settings that stand together; ``standard`` holds what they are when nothing is written."""

    standard: ClassVar[object] = None


class SecretSection(Section):
    """Settings with secrets, each of which may lie in a file instead."""

    @validates_schema(skip_on_field_errors=False)
    def _one_of_both(self, data: Mapping[str, Any], **_: object) -> None:
        wrong = {
            name: [f"{field.of} and {name} are both given; keep one"]
            for name, field in self.fields.items()
            if isinstance(field, SecretFile) and data.get(name) and data.get(field.of)
        }
        if wrong:
            raise ValidationError(wrong)


class ServerSection(Section):
    """Where pages and API are served."""

    standard = types.Server()

    listen = Listen("The address and port of pages and API; port 0 takes a free one.")
    threads = Whole("Threads that answer requests.", 1, 256)
    public_url = WebUrl(
        "How people reach the pages, for links in payloads and alerts.", nullable=True, is_base=True
    )
    trusted_proxy = ProxyAddress("Whose X-Forwarded-* headers count.", nullable=True)


class StorageSection(SecretSection):
    """Which database, and how long history is kept."""

    standard = types.Storage()

    url = DatabaseUrl("The database: SQLite, PostgreSQL, MySQL or MariaDB.")
    url_file = SecretFile("url")
    retention = Duration("How long finished events and deliveries are kept.", "1h")


class PollingSection(Section):
    """How often and how widely to poll."""

    standard = types.Polling()

    policy = Choice(
        "Poll by what was learned of each repository, or always at interval.", "adaptive", "fixed"
    )
    interval = Duration("The shortest time between two polls of a repository.")
    max_interval = Duration("The longest time between two polls of a repository.")
    workers = Whole("The most threads that poll at once.", 1, 1000)
    objective = LatencyObjective("The detection latency to be held, and for how many changes.")
    timeout = Duration("The longest that one poll may take, all its requests together.")
    baseline = Choice("Whether the first look at a repository makes events.", "silent", "trigger")
    storm_limit = Whole("The most changes of one poll that go out unasked; 0: any.", 0, 10**9)


class AppSection(SecretSection):
    """A GitHub App to sign in as."""

    id = Whole("The App's number.", 1, 10**15, required=True)
    installation = Whole("The installation's number.", 1, 10**15, required=True)
    key = KeyText("The App's private key, as PEM.", nullable=True)
    key_file = KeyFile("key")

    @validates_schema
    def _has_key(self, data: Mapping[str, Any], **_: object) -> None:
        """Look for a key only where none was written, not where one is broken."""
        if not (data.get("key") or data.get("key_file")):
            raise ValidationError({"key_file": ["is missing"]})


class ForgeSection(SecretSection):
    """One forge, and how to sign in there."""

    standard = types.Forge("", "", "", None)

    kind = Choice("What is spoken there; by default what the forge's name says.", *KINDS)
    url = WebUrl("What the URLs of its repositories begin with.", is_base=True)
    api_url = WebUrl(
        "Where its API is, if not where such a forge has it.", nullable=True, is_base=True
    )
    token = SecretText("An access token that may read the repositories.", nullable=True)
    token_file = SecretFile("token")
    tokens = Many("Several access tokens.", SecretText("A token."))
    username = Line("The user name that goes with the token, where one is needed.", nullable=True)
    app = Inner("A GitHub App to sign in as.", AppSection)
    hook_secret = SecretText("What its own webhooks to us are signed with.", nullable=True)
    hook_secret_file = SecretFile("hook_secret")
    share = Share("How much of the rate limit polling may use.")
    ca_file = ExistingFile("An own certificate authority, as PEM.", nullable=True)


class RetrySection(Section):
    """How long a delivery is tried, and how often."""

    standard = RetryPolicy()

    first = Duration("The wait after the first failure; it doubles each time.")
    longest = Duration("The longest wait.")
    give_up = Duration("How long a delivery is tried before it is dead.")


class ReceiverSection(SecretSection):
    """Where events go, and in which words."""

    standard = types.Receiver("", "")

    url = WebUrl("Where deliveries are posted.", required=True)
    payload = Choice(
        "How an event is spelled.",
        *("github", "standard", "gitlab", "cloudevents", "cloudevents-binary", "template"),
    )
    template = TemplateFile("The template's file, for payload: template.", nullable=True)
    expect = Expected("The answers that mean: taken. 202 for Pipelines-as-Code.")
    confirm = Choice("Who confirms that a delivery had its effect.", "tekton", nullable=True)
    rate = Rate("The most deliveries in a time.", nullable=True)
    secret = SecretText("Signs each delivery as the payload's own world does.", nullable=True)
    secret_file = SecretFile("secret")
    previous_secret = SecretText("The secret before, while both are in use.", nullable=True)
    previous_secret_file = SecretFile("previous_secret")
    ca_file = ExistingFile("An own certificate authority, as PEM.", nullable=True)
    client_cert_file = ExistingFile("The certificate to present, as PEM.", nullable=True)
    client_key_file = ExistingFile("The key of that certificate, as PEM.", nullable=True)
    headers = Keyed(
        "Headers to add to each delivery.", HeaderName("A name."), HeaderValue("A value.")
    )
    timeout = Duration("The longest to wait for an answer.")
    retry = Inner("How long a delivery is tried.", RetrySection)
    order = Choice("Whether the events of a repository wait for each other.", "repository", "none")
    concurrency = Whole("The most deliveries to it at once.", 1, 1000)
    changes = Many("Which kinds of changes it wants.", Choice("A kind of change.", *CHANGES))
    branches = Many(
        "Which of the watched branches it wants.", RefPattern("A pattern."), source="refs.branches"
    )
    tags = Many("Which of the watched tags it wants.", RefPattern("A pattern."), source="refs.tags")


class DefaultsSection(Section):
    """For every repository that does not say otherwise."""

    standard = types.Defaults()

    branches = Many("Which branches are watched.", RefPattern("A pattern."))
    tags = Many("Which tags are watched.", RefPattern("A pattern."))
    receivers = Many("Who gets the events; empty: all.", Line("A receiver's name."))


class RepositorySection(Section):
    """One repository to watch."""

    standard = Repository("", "")

    url = RemoteUrl("Where it is: any URL or path that git understands.", required=True)
    name = Name(
        "What it is called here; by default owner/name.",
        longest=LONGEST_REPOSITORY,
        has_owner=True,
    )
    branches = Many("Which branches are watched.", RefPattern("A pattern."), source="refs.branches")
    tags = Many("Which tags are watched.", RefPattern("A pattern."), source="refs.tags")
    receivers = Many("Who gets its events; empty: as in defaults.", Line("A receiver's name."))
    interval = Duration("Its own shortest time between two polls.")
    priority = Weight("Its weight where polls must be shared out.")
    paths = Paths(
        "Only changes that touch these paths.", PathPattern("A pattern."), source="paths.patterns"
    )
    pull_requests = Flag("Whether pull requests make events.", source="refs.wants_pulls")
    labels = Keyed(
        "Words that travel in payloads and filter lists.", Line("A name."), Line("A value.")
    )
    enabled = Flag("Whether it is watched at all.")


class DiscoverySection(Section):
    """A whole organisation, group or user to watch."""

    standard = types.Discovery("", "")

    forge = Line("The forge's name.", required=True)
    owner = Line("The organisation, group or user.", required=True)
    include = Many("Which of its repositories.", RefPattern("A pattern."))
    # marshmallow takes the fields off the class before it sets its own ``exclude``.
    exclude = Many("Which of them not.", RefPattern("A pattern."))  # type: ignore[assignment]
    every = Duration("How often the list is read again.", "10s")


class SecuritySection(SecretSection):
    """Who may come in, and where deliveries and polls may go."""

    standard = types.Security()

    tokens = Choice(
        "Whether pages and API ask for a token; auto: unless only loopback listens.",
        *("auto", "required", "off"),
    )
    require_https = Flag("Whether forges and receivers must be asked over TLS.")
    allow_http = Many("Hosts that are exempt from that.", Line("A host name or glob."))
    allow_private_networks = Flag("Whether receivers may be in private networks.")
    encryption_key = SecretText("Encrypts the secrets kept in the database.", nullable=True)
    encryption_key_file = SecretFile("encryption_key")
    metrics_token = SecretText("What /metrics asks for; empty: it is open.", nullable=True)
    metrics_token_file = SecretFile("metrics_token")


class LoggingSection(Section):
    """What is logged, and how."""

    standard = types.Logging()

    level = Choice("The least that is worth a line.", "debug", "info", "warning", "error")
    format = Choice("Lines for people, or JSON for machines.", "text", "json")
    file = OwnFile("Where to; empty: standard error.", nullable=True)


class ChannelSection(SecretSection):
    """One way to reach people."""

    url = SecretText("An Apprise URL.")
    url_file = SecretFile("url")
    on = Many("The alerts it wants; empty: all.", Line("An alert."))


class AlertsSection(SecretSection):
    """Who is told when something needs a person."""

    standard = types.Alerts()

    channels = Many("Where alerts go.", Inner("A channel.", ChannelSection, is_entry=True))
    heartbeat_url = SecretText("Asked every minute while all is well.", nullable=True)
    heartbeat_url_file = SecretFile("heartbeat_url")


class Configuration(Section):
    """A configuration file of RepoSentry."""

    standard = types.Settings()

    include = Many("More files with forges, receivers and repositories.", Line("A path or glob."))
    server = Inner("Where pages and API are served.", ServerSection)
    storage = Inner("Which database, and how long history is kept.", StorageSection)
    polling = Inner("How often and how widely to poll.", PollingSection)
    forges = Keyed(
        "Forges and how to sign in; the public ones are known without an entry.",
        Name("A name of your choice.", longest=LONGEST_NAME),
        Inner("A forge.", ForgeSection, is_entry=True),
    )
    receivers = Keyed(
        "Where events go.",
        Name("A name of your choice.", longest=LONGEST_NAME),
        Inner("A receiver.", ReceiverSection, is_entry=True),
    )
    defaults = Inner("For every repository that does not say otherwise.", DefaultsSection)
    repositories = Many(
        "What is watched.", Inner("A repository.", RepositorySection, is_entry=True)
    )
    discover = Many(
        "Organisations, groups and users to watch whole.",
        Inner("One of them.", DiscoverySection, is_entry=True),
    )
    security = Inner("Who may come in, and where we may go.", SecuritySection)
    logging = Inner("What is logged, and how.", LoggingSection)
    alerts = Inner("Who is told when something needs a person.", AlertsSection)
