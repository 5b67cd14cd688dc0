"""The web application over a seeded SQLite database, with services that only note what is asked."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.domain.allowance import Credential, Spent
from app.domain.errors import Conflict, InputInvalid
from app.domain.health import Component, HealthReport, Status as Health
from app.domain.plan import ForgePlan, ProbeHealth
from app.domain.repository import Repository
from app.services.hook_intake import Outcome, Reception
from app.services.status import Status
from app.services.status.answers import RepositoryProbe
from app.settings.types import Forge, Receiver, Settings
from app.storage import migrate
from app.storage.database import Database
from app.storage.filters import DeliveryFilter
from app.storage.holds import Holds
from app.storage.queries import Queries
from app.storage.records import PollRecord, PollState
from tests.integration.web.story import NOON, Fleet, Story, tell

RECEIVERS = {
    "tekton": Receiver("tekton", "http://el-reposentry.ci.svc:8080"),
    "audit": Receiver("audit", "https://bob:s3cret@audit.example.com/in?token=s3cret"),
}
KEY = "0123456789abcdef0123456789abcdef"
CONFIRMED = "0e8dd6ff-7e57-5d0e-9a53-7c1f5f0f7a11"
HOOK_FORGE = "github"
RECEPTION = Reception(Outcome.WOKEN, "polled at once", ("acme/website",))
FORGES = {
    "github": Forge("github", "github", "https://github.com", "https://api.github.com"),
    "work": Forge("work", "gitlab", "https://gitlab.example.com", None),
    "git": Forge("git", "git", "", None),
}


@dataclass
class Clock:
    """Stands still until it is moved."""

    at: datetime = NOON

    def __call__(self) -> datetime:
        return self.at


@dataclass
class FakeServices:
    """Obeys ``app.web.wiring.Services``: tells what the database holds, notes what is done."""

    status: Status
    version: str = "1.2.3"
    report: HealthReport = field(
        default_factory=lambda: HealthReport(
            Health.OK, "active", [Component("database", Health.OK)]
        )
    )
    readiness: tuple[bool, str] = (True, "")
    outcome: PollRecord | None = None
    failure: Exception | None = None
    counted: int = 3
    reception: Reception = RECEPTION
    done: list[tuple[Any, ...]] = field(default_factory=list)

    def health(self) -> HealthReport:
        return self.report

    def ready(self) -> tuple[bool, str]:
        return self.readiness

    def wake(self, name: str) -> None:
        self._do("wake", name)

    def poll_and_wait(self, name: str, wait_s: float) -> PollRecord | None:
        self._do("poll", name, wait_s)
        return self.outcome

    def redeliver(self, event_id: str, receivers: Sequence[str] | None) -> list[str]:
        if receivers and not set(receivers) <= RECEIVERS.keys():
            raise InputInvalid("no such receiver", mistakes={"receivers": "no such receiver"})
        self.status.event(event_id)
        self.done.append(("redeliver", event_id, receivers))
        return ["new-delivery"]

    def redeliver_many(self, wanted: DeliveryFilter, receivers: Sequence[str] | None = None) -> int:
        if receivers and not set(receivers) <= RECEIVERS.keys():
            raise InputInvalid("no such receiver", mistakes={"receivers": "no such receiver"})
        self.done.append(("redeliver many", wanted, receivers))
        return self.counted

    def cancel_many(self, wanted: DeliveryFilter) -> int:
        self.done.append(("cancel many", wanted))
        return self.counted

    def release_storm(self, hold_id: str) -> None:
        self._do_held("release", hold_id)

    def dismiss_storm(self, hold_id: str) -> None:
        self._do_held("dismiss", hold_id)

    def may_confirm(self, receiver: str, key: str) -> bool:
        return (receiver, key) == ("tekton", KEY)

    def confirm_delivery(self, receiver: str, delivery_id: str) -> bool:
        if self.failure:
            raise self.failure
        self.done.append(("confirm", receiver, delivery_id))
        return delivery_id == CONFIRMED

    def takes_hooks(self, forge: str) -> bool:
        return forge == HOOK_FORGE

    def receive_hook(self, forge: str, headers: Mapping[str, str], body: bytes) -> Reception:
        self.done.append(("hook", forge, headers.get("x-github-event"), len(body)))
        return self.reception

    def retry_delivery(self, delivery_id: str) -> None:
        self._do_open("retry", delivery_id)

    def cancel_delivery(self, delivery_id: str) -> None:
        self._do_open("cancel", delivery_id)

    def pause_repository(self, name: str) -> None:
        self._do("pause", name)

    def resume_repository(self, name: str) -> None:
        self._do("resume", name)

    def pause_receiver(self, name: str) -> None:
        self.status.receiver(name)
        self.done.append(("pause", name))

    def resume_receiver(self, name: str) -> None:
        self.status.receiver(name)
        self.done.append(("resume", name))

    def _do(self, what: str, name: str, *more: Any) -> None:
        if self.failure:
            raise self.failure
        self.status.repository(name)
        self.done.append((what, name, *more))

    def _do_held(self, what: str, hold_id: str) -> None:
        if self.status.storm(hold_id).state != "held":
            raise Conflict("the storm is released already")
        self.done.append((what, hold_id))

    def _do_open(self, what: str, delivery_id: str) -> None:
        if self.status.delivery(delivery_id).delivery.finished_at:
            raise Conflict("the delivery is finished; redeliver its event instead")
        self.done.append((what, delivery_id))


@dataclass
class FakeWatch:
    """Obeys ``app.services.status.forges.Watch``: what the process that polls would tell."""

    standing: dict[str, tuple[Credential, ...]] = field(default_factory=dict)
    asked: dict[str, Mapping[str, Spent]] = field(default_factory=dict)
    plans: dict[str, ForgePlan] = field(default_factory=dict)
    healths: tuple[ProbeHealth, ...] = ()
    probe: RepositoryProbe | None = None

    def credentials(self, forge: str) -> tuple[Credential, ...]:
        return self.standing.get(forge, ())

    def spent(self, forge: str) -> Mapping[str, Spent]:
        return self.asked.get(forge, {})

    def plan(self, forge: str) -> ForgePlan | None:
        return self.plans.get(forge)

    def probes(self, forge: str) -> tuple[ProbeHealth, ...]:
        return tuple(one for one in self.healths if one.forge == forge)

    def probe_of(self, repository_id: int) -> RepositoryProbe | None:
        return self.probe

    def way_of(self, repository: Repository) -> str:
        return "rest"


def services_over(
    database: Database,
    live: Callable[[int], PollState | None],
    clock: Clock,
    receivers: Mapping[str, Receiver] = RECEIVERS,
    *,
    watch: FakeWatch | None = None,
    configured: Callable[[str], Repository | None] = lambda name: None,
    forges: Mapping[str, Forge] = FORGES,
) -> FakeServices:
    """Make services that tell what a database holds."""
    status = Status(
        Queries(database),
        live=live,
        receivers=receivers,
        now=clock,
        holds=Holds(database),
        configured=configured,
        forges=forges,
        watch=lambda: watch,
    )
    return FakeServices(status)


@contextmanager
def _database(folder: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{(folder / 'web.db').as_posix()}", now=lambda: NOON)
    migrate.ensure_current(database)
    yield database
    database.close()


@dataclass
class LiveStates:
    """Poll states that are not written yet."""

    states: dict[int, PollState] = field(default_factory=dict)

    def __call__(self, repository_id: int) -> PollState | None:
        return self.states.get(repository_id)


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Fleet]]:
    """A database in which everything occurs once; not to be written to."""
    with _database(tmp_path_factory.mktemp("told")) as database:
        yield database, tell(Story(database))


@pytest.fixture
def fleet(told: tuple[Database, Fleet]) -> Fleet:
    return told[1]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def live() -> LiveStates:
    return LiveStates()


@pytest.fixture
def services(told: tuple[Database, Fleet], live: LiveStates, clock: Clock) -> FakeServices:
    return services_over(told[0], live, clock)


@pytest.fixture
def app(services: FakeServices) -> Flask:
    return create_app(Settings(receivers=RECEIVERS, forges=FORGES), services)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Story]:
    """A database in which nothing has happened, to tell a story of one's own."""
    with _database(tmp_path) as database:
        yield Story(database)


ClientOver = Callable[[Story], FlaskClient]


@pytest.fixture
def client_over(live: LiveStates, clock: Clock) -> ClientOver:
    """Return what makes a client over a story of one's own."""

    def make(story: Story) -> FlaskClient:
        settings = Settings(receivers=RECEIVERS, forges=FORGES)
        return create_app(settings, services_over(story.database, live, clock)).test_client()

    return make
