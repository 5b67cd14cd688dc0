"""What a push brought is told with its delivery, if it is told in time; nothing depends on it."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.domain.delivery import Parcel
from app.domain.details import Commit, Details, Person, Push
from app.domain.errors import StorageUnavailable
from app.domain.event import Event, record
from app.domain.hook import HookChange
from app.domain.repository import Repository
from app.domain.snapshot import Change
from app.services import enricher as enriching
from app.services.enricher import CATCH_UP_S, MOST_ASKED, PAUSE_S, QUESTION_S, Enricher
from tests.fakes.clock import NOON
from tests.fakes.git_client import FakeGitClient
from tests.fakes.outbox import a_parcel
from tests.fakes.waiting import wait_until

WEBSITE = Repository("acme/website", "https://git.example.com/acme/website", receivers=("ci",))
ADA = Person("Ada", "ada@example.com", "ada")
TOLD = Details((Commit("b" * 40, "Fix it", ADA, ADA, NOON),), total=1, forced=True)
# Ten batches or more that each wait for the deadline take longer than a busy machine does.
DEADLINE_S = 0.4
SLACK_S = 2.5


class AtOnce(Executor):
    """Does what it is given in the thread that gives it."""

    def submit(self, fn: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*arguments, **named))
        return future


class LoggingForge(FakeGitClient):
    """A forge with a log of pushes, as ``read_log`` tells it."""

    def __init__(self) -> None:
        super().__init__({})
        self.read_log: Callable[[], tuple[Push, ...] | None] = lambda: None
        self.log_asked: list[datetime] = []

    def pushes(
        self, repository: Repository, *, since: datetime, timeout_s: float
    ) -> tuple[Push, ...] | None:
        self.log_asked.append(since)
        return self.read_log()


class Scene:
    """An enricher with its surroundings, and what it had written down."""

    def __init__(self, *, pool: Executor | None = None) -> None:
        self.client = LoggingForge()
        self.hooks: tuple[HookChange, ...] = ()
        self.client.details = TOLD
        self.seconds = 100.0
        self.others: dict[str, Repository] = {}
        self.kept: dict[str, Details] = {}
        self.kept_in_order: list[Details] = []
        self.refuses: Exception | None = None
        self.clock = (lambda: self.seconds) if pool else time.monotonic
        self.enricher = self.make(pool)

    def make(self, pool: Executor | None = None) -> Enricher:
        return Enricher(
            client_for=lambda _: self.client,
            find=self._find,
            keep=self._keep,
            monotonic=self.clock,
            told=lambda _: self.hooks,
            pool=pool,
        )

    def _find(self, name: str) -> Repository | None:
        return WEBSITE if name == WEBSITE.name else self.others.get(name)

    def hang(self) -> threading.Event:
        """Let no question be answered before what is returned is set."""
        may_answer = threading.Event()

        def wait(_: Event) -> None:
            may_answer.wait(10)

        self.client.on_describe = wait
        return may_answer

    def _keep(self, event_id: str, details: Details) -> "Future[None]":
        written: Future[None] = Future()
        if isinstance(self.refuses, StorageUnavailable):
            raise self.refuses
        if self.refuses is not None:
            written.set_exception(self.refuses)
        else:
            self.kept[event_id] = details
            self.kept_in_order.append(details)
            written.set_result(None)
        return written


@pytest.fixture
def scene() -> Scene:
    return Scene(pool=AtOnce())


@pytest.fixture
def threaded() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.enricher.close()


def an_update(number: int = 1) -> Event:
    return record(
        Change(f"refs/heads/b{number}", "a" * 40, "b" * 40),
        key=WEBSITE.url,
        sequence=number,
        detected_at=NOON,
    )


def a_deletion() -> Event:
    change = Change("refs/heads/old", "a" * 40, None)
    return record(change, key=WEBSITE.url, sequence=1, detected_at=NOON)


def owed(*events: Event) -> list[Parcel]:
    return [replace(a_parcel(event.sequence), event=event) for event in events]


def test_what_was_told_goes_with_the_delivery_and_is_written_down(scene: Scene) -> None:
    event = an_update()
    scene.enricher.begin(WEBSITE, [event])

    (parcel,) = scene.enricher.complete(owed(event))

    assert parcel.details == TOLD
    assert parcel.event.forced is True
    assert scene.kept == {event.id: TOLD}
    assert scene.client.described == [event.ref]


def test_two_receivers_of_one_event_cost_one_question(scene: Scene) -> None:
    event = an_update()

    for _ in range(2):
        (parcel,) = scene.enricher.complete(owed(event))
        assert parcel.details == TOLD

    assert len(scene.client.described) == 1


def test_a_deletion_has_nothing_to_tell(scene: Scene) -> None:
    event = a_deletion()
    scene.enricher.begin(WEBSITE, [event])

    (parcel,) = scene.enricher.complete(owed(event))

    assert parcel.details is None
    assert scene.client.described == []


def test_bytes_that_were_made_and_details_that_are_known_stay_as_they_are(scene: Scene) -> None:
    (bare,) = owed(an_update())
    rendered = replace(bare, body=b"{}", headers={})
    known = replace(bare, details=Details(total=7))

    assert scene.enricher.complete([rendered, known]) == [rendered, known]
    assert scene.client.described == []


def test_what_the_event_knows_already_is_not_overruled(scene: Scene) -> None:
    event = replace(an_update(), forced=False, pushed_at=NOON)

    (parcel,) = scene.enricher.complete(owed(event))

    assert parcel.event == event


def test_after_a_restart_it_is_asked_once_more(scene: Scene) -> None:
    event = an_update()
    scene.enricher.begin(WEBSITE, [event])
    scene.enricher = scene.make(AtOnce())

    (parcel,) = scene.enricher.complete(owed(event))

    assert parcel.details == TOLD
    assert len(scene.client.described) == 2


def test_a_repository_that_is_watched_no_more_is_not_asked_about(scene: Scene) -> None:
    (parcel,) = owed(an_update())
    stranger = replace(parcel, repository_name="acme/gone")

    assert scene.enricher.complete([stranger]) == [stranger]


def test_of_a_storm_a_few_are_asked_about_and_the_rest_goes_out_as_it_is(scene: Scene) -> None:
    events = [an_update(number) for number in range(1, 301)]
    scene.enricher.begin(WEBSITE, events)

    parcels = []
    for start in range(0, 300, 32):
        parcels += scene.enricher.complete(owed(*events[start : start + 32]))

    assert len(scene.client.described) == MOST_ASKED
    assert sum(parcel.details is not None for parcel in parcels) == MOST_ASKED


def test_what_a_crash_left_is_asked_about_a_few_at_a_time(scene: Scene) -> None:
    events = [an_update(number) for number in range(1, 61)]

    for start in range(0, 60, 30):
        scene.enricher.complete(owed(*events[start : start + 30]))
    asked = len(scene.client.described)
    scene.seconds += CATCH_UP_S
    scene.enricher.complete(owed(*events[30:]))

    assert (asked, len(scene.client.described)) == (MOST_ASKED, 2 * MOST_ASKED)


def test_the_oldest_answers_are_forgotten(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enriching, "MOST_KEPT", 2)
    events = [an_update(number) for number in (1, 2, 3)]
    scene.enricher.begin(WEBSITE, events)

    told = scene.enricher.complete(owed(*events))

    assert [parcel.details is not None for parcel in told] == [False, True, True]


def test_a_server_that_let_a_question_run_out_of_time_is_left_alone(scene: Scene) -> None:
    def go(_: Event) -> None:
        scene.seconds += QUESTION_S

    scene.client.details, scene.client.on_describe = None, go
    scene.enricher.begin(WEBSITE, [an_update(1), an_update(2)])
    asked = len(scene.client.described)
    scene.seconds += PAUSE_S
    scene.enricher.begin(WEBSITE, [an_update(3)])

    assert (asked, len(scene.client.described)) == (1, 2)


@pytest.mark.parametrize(
    "refusal", [StorageUnavailable("the database is closed"), RuntimeError("a full disk")]
)
def test_what_cannot_be_written_down_is_told_all_the_same(
    scene: Scene, refusal: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    scene.refuses = refusal

    with caplog.at_level(logging.DEBUG):
        (parcel,) = scene.enricher.complete(owed(an_update()))

    assert parcel.details == TOLD
    assert [entry.levelname for entry in caplog.records] == ["DEBUG"]


def test_a_defect_costs_the_details_alone(scene: Scene) -> None:
    def fall(_: Event) -> None:
        raise RuntimeError("a defect")

    scene.client.on_describe = fall
    parcels = owed(an_update())

    assert scene.enricher.complete(parcels) == parcels


def test_a_delivery_waits_for_the_answer(threaded: Scene) -> None:
    is_asked, may_answer = threading.Event(), threading.Event()

    def hesitate(_: Event) -> None:
        is_asked.set()
        assert may_answer.wait(5)

    threaded.client.on_describe = hesitate
    event = an_update()
    threaded.enricher.begin(WEBSITE, [event])
    assert is_asked.wait(5)
    threading.Timer(0.05, may_answer.set).start()

    (parcel,) = threaded.enricher.complete(owed(event))

    assert parcel.details == TOLD


def test_what_comes_too_late_is_left_out_and_kept_all_the_same(
    threaded: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enriching, "DEADLINE_S", 0.1)
    may_answer = threaded.hang()
    event = an_update()
    threaded.enricher.begin(WEBSITE, [event])

    (parcel,) = threaded.enricher.complete(owed(event))
    may_answer.set()

    assert parcel.details is None
    wait_until(lambda: threaded.kept == {event.id: TOLD})


def test_a_hanging_forge_delays_a_whole_storm_by_the_deadline_and_no_more(
    threaded: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enriching, "DEADLINE_S", DEADLINE_S)
    may_answer = threaded.hang()
    events = [an_update(number) for number in range(1, 301)]
    began = time.monotonic()
    threaded.enricher.begin(WEBSITE, events)

    parcels = []
    for start in range(0, 300, 32):
        parcels += threaded.enricher.complete(owed(*events[start : start + 32]))
    took = time.monotonic() - began
    may_answer.set()

    assert len(parcels) == 300
    assert DEADLINE_S <= took < DEADLINE_S + SLACK_S


def test_a_hanging_forge_delays_what_a_crash_left_by_the_deadline_and_no_more(
    threaded: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enriching, "DEADLINE_S", DEADLINE_S)
    may_answer = threaded.hang()
    events = [an_update(number) for number in range(1, 301)]
    began = time.monotonic()

    for start in range(0, 300, 32):
        threaded.enricher.complete(owed(*events[start : start + 32]))
    took = time.monotonic() - began
    may_answer.set()

    assert took < DEADLINE_S + SLACK_S


def test_a_slow_forge_delays_what_a_crash_left_of_many_repositories_once(
    threaded: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enriching, "DEADLINE_S", DEADLINE_S)
    threaded.others = {f"acme/{n}": replace(WEBSITE, name=f"acme/{n}") for n in range(50)}
    may_answer = threaded.hang()
    (parcel,) = owed(an_update())
    began = time.monotonic()

    for number, name in enumerate(threaded.others):
        event = an_update(number + 1)
        threaded.enricher.complete([replace(parcel, event=event, repository_name=name)])
    took = time.monotonic() - began
    may_answer.set()

    assert took < DEADLINE_S + SLACK_S


def test_after_the_end_nothing_is_asked_and_nothing_breaks(threaded: Scene) -> None:
    threaded.enricher.close()
    event = an_update()
    parcels = owed(event)

    threaded.enricher.begin(WEBSITE, [event])

    assert threaded.enricher.complete(parcels) == parcels
    assert threaded.client.described == []


def test_what_still_waits_for_its_turn_at_the_end_is_not_asked(threaded: Scene) -> None:
    are_asking, may_answer = threading.Semaphore(0), threading.Event()

    def hesitate(_: Event) -> None:
        are_asking.release()
        assert may_answer.wait(5)

    threaded.client.on_describe = hesitate
    events = [an_update(number) for number in range(1, 11)]
    threaded.enricher.begin(WEBSITE, events)
    for _ in range(enriching.WORKERS):
        assert are_asking.acquire(timeout=5)

    threaded.enricher.close()
    told = threaded.enricher.complete(owed(*events[enriching.WORKERS :]))
    may_answer.set()

    assert [parcel.details for parcel in told] == [None] * 6
    assert len(threaded.client.described) == enriching.WORKERS


# Who pushed.

GRACE = Person("Grace", "grace@example.com", "grace")
PLAIN = Details((Commit("b" * 40, "Fix it", ADA, ADA, NOON),), total=1)
A_MINUTE_AGO = NOON - timedelta(minutes=1)


def a_push(event: Event, *, forced: bool | None = True) -> Push:
    return Push(event.ref, event.before, event.after, A_MINUTE_AGO, GRACE, forced)


def test_who_pushed_is_asked_once_for_all_that_a_poll_found(scene: Scene) -> None:
    events = [an_update(number) for number in range(1, 4)]
    scene.client.details = PLAIN
    scene.client.read_log = lambda: tuple(map(a_push, events))
    scene.enricher.begin(WEBSITE, events)

    parcels = scene.enricher.complete(owed(*events))

    assert len(scene.client.log_asked) == 1
    assert scene.client.log_asked[0] < A_MINUTE_AGO
    for parcel in parcels:
        assert parcel.details is not None
        assert parcel.details.pusher == GRACE
        assert parcel.details.commits == PLAIN.commits
        assert (parcel.event.pushed_at, parcel.event.forced) == (A_MINUTE_AGO, True)
    who = Details(forced=True, pusher=GRACE, pushed_at=A_MINUTE_AGO)
    assert scene.kept_in_order.count(who) == 3


def test_who_deleted_a_branch_is_told_too(scene: Scene) -> None:
    event = a_deletion()
    scene.client.read_log = lambda: (a_push(event),)
    scene.enricher.begin(WEBSITE, [event])

    (parcel,) = scene.enricher.complete(owed(event))

    assert parcel.details == Details(forced=True, pusher=GRACE, pushed_at=A_MINUTE_AGO)
    assert scene.client.described == []


def test_what_it_brought_is_asked_before_who_pushed_it(scene: Scene) -> None:
    asked: list[str] = []
    scene.client.on_describe = lambda event: asked.append(event.ref)
    scene.client.read_log = lambda: asked.append("log")

    scene.enricher.begin(WEBSITE, [an_update(1)])

    assert asked == ["refs/heads/b1", "log"]


def test_after_the_end_no_log_is_asked_for(threaded: Scene) -> None:
    may_answer = threaded.hang()
    threaded.enricher.begin(WEBSITE, [an_update()])
    wait_until(lambda: threaded.client.described != [])
    threaded.enricher.close()

    may_answer.set()
    (parcel,) = threaded.enricher.complete(owed(an_update()))

    assert parcel.details == TOLD
    assert threaded.client.log_asked == []


def test_what_the_log_does_not_have_nobody_pushed(scene: Scene) -> None:
    event = an_update()
    scene.client.details = PLAIN
    scene.client.read_log = lambda: (a_push(an_update(2)), replace(a_push(event), after="c" * 40))
    scene.enricher.begin(WEBSITE, [event])

    (parcel,) = scene.enricher.complete(owed(event))

    assert parcel.details == PLAIN


def test_what_a_webhook_told_need_not_be_asked(scene: Scene) -> None:
    event = an_update()
    scene.client.details = PLAIN
    scene.hooks = (HookChange.of(a_push(event)),)
    scene.enricher.begin(WEBSITE, [event])

    (parcel,) = scene.enricher.complete(owed(event))

    assert parcel.details == replace(PLAIN, forced=True, pusher=GRACE, pushed_at=A_MINUTE_AGO)
    assert scene.client.log_asked == []
    assert scene.kept_in_order[-1].pusher == GRACE


def test_what_a_webhook_left_out_is_asked(scene: Scene) -> None:
    event = an_update()
    scene.hooks = (HookChange(event.ref, event.before, event.after, pusher=ADA),)
    scene.client.read_log = lambda: (a_push(event),)
    scene.enricher.begin(WEBSITE, [event])

    (parcel,) = scene.enricher.complete(owed(event))

    assert parcel.details == replace(TOLD, pusher=ADA, pushed_at=A_MINUTE_AGO)


def test_a_log_that_breaks_costs_who_pushed_alone(scene: Scene) -> None:
    def fall() -> None:
        raise RuntimeError("a defect")

    event = an_update()
    scene.client.read_log = fall
    scene.enricher.begin(WEBSITE, [event])

    (parcel,) = scene.enricher.complete(owed(event))

    assert parcel.details == TOLD


def test_a_log_that_hangs_takes_nothing_of_what_was_told_in_time(
    threaded: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enriching, "DEADLINE_S", DEADLINE_S)
    may_answer = threading.Event()
    event = an_update()

    def hang() -> tuple[Push, ...]:
        may_answer.wait(10)
        return (a_push(event),)

    threaded.client.details = PLAIN
    threaded.client.read_log = hang
    began = time.monotonic()
    threaded.enricher.begin(WEBSITE, [event])

    (parcel,) = threaded.enricher.complete(owed(event))
    took = time.monotonic() - began
    may_answer.set()

    assert parcel.details == PLAIN
    assert took < DEADLINE_S + SLACK_S
    wait_until(lambda: threaded.kept[event.id].pusher == GRACE)


def test_a_server_whose_log_ran_out_of_time_is_not_asked_for_it_for_a_while(scene: Scene) -> None:
    def run_out() -> None:
        scene.seconds += QUESTION_S

    scene.client.read_log = run_out
    scene.enricher.begin(WEBSITE, [an_update(1)])
    scene.enricher.begin(WEBSITE, [an_update(2)])
    scene.seconds += PAUSE_S + 1
    scene.enricher.begin(WEBSITE, [an_update(3)])

    assert len(scene.client.log_asked) == 2
    assert len(scene.client.described) == 3
