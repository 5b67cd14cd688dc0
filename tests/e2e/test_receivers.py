"""Every sort of receiver is treated as README says that its answer means.

One push goes to all of them at once; each test looks at what became of one receiver's delivery.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.scene import (
    SECRET,
    PushedRepository,
    entries,
    wait_watched,
    write_configuration,
)
from tests.fakes.git_server import GitServer
from tests.fakes.peers import HOSTILE, buildbot, pipelines_as_code, webhook
from tests.fakes.process import RunningSentry, eventually, run_to_end
from tests.fakes.receiver import Answering, Record, RecordingReceiver
from tests.fakes.tekton import EventListener

pytestmark = pytest.mark.slow

DEADLINE_S = 30.0
WRONG = {"secret": "not what the receiver knows"}
FINISHED = ("delivered", "dead")


@dataclass(frozen=True, slots=True)
class Case:
    """A receiver, what its settings say beside the address, and what its delivery comes to."""

    receiver: RecordingReceiver
    state: str
    status: int | None
    error: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""


def answering(answer: Answering) -> RecordingReceiver:
    return RecordingReceiver(SECRET, answer=answer)


def tekton(**options: Any) -> EventListener:
    return EventListener(SECRET, **options)


def a_deleted_listener() -> EventListener:
    listener = tekton()
    listener.is_deleted = True
    return listener


def a_forgetful_listener() -> EventListener:
    listener = tekton()
    listener.losing = 1
    return listener


def skipping(request: Record) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, b'{"status":200,"message":"skipped: event is not supported"}'


def cases() -> dict[str, Case]:
    """Make every receiver; none listens yet."""
    taken = {"expect": "202"}
    confirming = {"confirm": "tekton"}
    return {
        "tekton": Case(tekton(), "delivered", 202),
        "tekton-gitlab": Case(
            tekton(interceptor="gitlab", needs=("checkout_sha",)),
            "delivered",
            202,
            settings={"payload": "gitlab"},
        ),
        "tekton-cloudevents": Case(
            tekton(needs=("commit", "sha")),
            "delivered",
            202,
            settings={"payload": "cloudevents-binary"},
        ),
        "tekton-badly-signed": Case(tekton(), "delivered", 202, settings=WRONG),
        "tekton-losing-an-answer": Case(a_forgetful_listener(), "delivered", 202),
        "confirming": Case(tekton(), "delivered", 202, settings=confirming),
        "confirming-early": Case(tekton(is_early=True), "delivered", 202, settings=confirming),
        "confirming-nothing": Case(
            tekton(needs=("no", "such", "path")), "delivered", 202, settings=confirming
        ),
        "tekton-deleted": Case(a_deleted_listener(), "waiting", 500),
        "tekton-slow": Case(tekton(takes_s=1, handler_timeout_s=0.02), "waiting", 503),
        "tekton-double-slash": Case(tekton(), "dead", 307, "redirects", path="/hooks"),
        "pac": Case(answering(pipelines_as_code), "delivered", 202, settings=taken),
        "pac-skipping": Case(answering(skipping), "dead", 200, settings=taken),
        "skipping-and-nobody-minds": Case(answering(skipping), "delivered", 200),
        "buildbot": Case(answering(buildbot(SECRET)), "delivered", 200),
        "buildbot-badly-signed": Case(answering(buildbot(SECRET)), "dead", 400, settings=WRONG),
        "webhook": Case(answering(webhook(SECRET)), "delivered", 200),
        "webhook-badly-signed": Case(answering(webhook(SECRET)), "waiting", 500, settings=WRONG),
        "gone": Case(answering(410), "dead", 410),
        "moved-away": Case(answering(404), "waiting", 404),
        "slowing": Case(answering(429), "waiting", 429),
        "refusing": Case(answering(422), "dead", 422),
        "stalling": Case(answering("stall"), "waiting", None, "timed out"),
        "trickling": Case(answering("trickle"), "waiting", None, "timed out"),
        "hanging": Case(answering("hang"), "waiting", None, "timed out"),
        "resetting": Case(answering("reset"), "waiting", None, "connection closed"),
    }


# What is made of each answer that nobody should send: the state, and the status that was read.
MADE_OF_HOSTILE: Mapping[str, tuple[str, int | None]] = {
    "header of a megabyte": ("waiting", None),
    "a thousand headers": ("waiting", None),
    "header without a colon": ("delivered", 202),
    "bytes that are no text": ("delivered", 202),
    "retry after for ever": ("dead", 503),  # later than is to be given up
    "retry after the past": ("waiting", 503),
    "retry after nonsense": ("waiting", 429),
    "gzip that swells": ("delivered", 202),
    "gzip that is none": ("waiting", None),
    "length that is none": ("delivered", 202),
    "body longer than it says": ("delivered", 202),
    "redirect to itself": ("dead", 302),
    "redirect to elsewhere": ("dead", 307),
    "status that is none": ("waiting", None),
    "no HTTP at all": ("waiting", None),
    "nothing but a status": ("delivered", 202),
    "words of a script": ("dead", 400),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one push at every receiver, after at least one attempt at each."""

    cases: Mapping[str, Case]
    deliveries: Mapping[str, Mapping[str, Any]]
    receivers: Mapping[str, Mapping[str, Any]]
    confirm_urls: Mapping[str, str]
    sentry: RunningSentry


def hostile_name(number: int) -> str:
    return f"hostile-{number}"


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """Push once, and wait until every delivery has been tried and those that can be are taken."""
    folder: Path = tmp_path_factory.mktemp("receivers")
    (folder / "git").mkdir()
    made = cases()
    for number, (name, answer) in enumerate(HOSTILE.items()):
        state, status = MADE_OF_HOSTILE[name]
        receiver = answering(lambda _, answer=answer: answer)  # type: ignore[misc]
        made[hostile_name(number)] = Case(receiver, state, status)
    with ExitStack() as stack:
        repository = PushedRepository(stack.enter_context(GitServer(folder / "git")), "pushed")
        for case in made.values():
            stack.enter_context(case.receiver)
        sentry = RunningSentry("run", "-c", "reposentry.yaml", folder=folder)
        write_configuration(
            folder,
            database="sqlite:///receivers.db",
            server={"public_url": f"http://127.0.0.1:{sentry.port}"},
            repositories=entries([repository]),
            receivers={
                name: {"url": f"{case.receiver.url}{case.path}", **case.settings}
                for name, case in made.items()
            },
        )
        confirm_urls = {
            name: learn_confirm_url(case.receiver, name, folder)
            for name, case in made.items()
            if "confirm" in case.settings
        }
        stack.enter_context(sentry)
        wait_watched(sentry.wait_ready(), [repository.name])
        repository.commit()
        by_receiver = eventually(
            partial(find_all, sentry, made), deadline_s=DEADLINE_S, what="all has been tried"
        )
        listed = sentry.get("/api/v1/receivers").json()["items"]
        yield Outcome(
            made, by_receiver, {each["name"]: each for each in listed}, confirm_urls, sentry
        )


def learn_confirm_url(listener: RecordingReceiver, name: str, folder: Path) -> str:
    """Let an EventListener know where to confirm, as a person does."""
    told = run_to_end(["config", "confirm-url", name], folder=folder)
    assert told.returncode == 0, told.stderr
    assert isinstance(listener, EventListener)
    listener.cloud_event_uri = told.stdout.strip()
    return listener.cloud_event_uri


def find_all(
    sentry: RunningSentry, made: Mapping[str, Case]
) -> Mapping[str, Mapping[str, Any]] | None:
    """Return the deliveries once nothing more will happen but further tries in vain."""
    deliveries = {each["receiver"]: each for each in sentry.deliveries()}
    is_over = len(deliveries) == len(made) and all(
        each["state"] in FINISHED
        if made[name].state in FINISHED
        else each["attempts_made"] and each["state"] != "sending"
        for name, each in deliveries.items()
    )
    return deliveries if is_over else None


@pytest.mark.parametrize("name", cases())
def test_a_delivery_comes_to_what_its_receivers_answer_means(outcome: Outcome, name: str) -> None:
    case, delivery = outcome.cases[name], outcome.deliveries[name]

    assert (delivery["state"], delivery["last_status"]) == (case.state, case.status)
    assert case.error in (delivery["last_error"] or "")


@pytest.mark.parametrize("name", HOSTILE)
def test_an_answer_that_nobody_should_send_breaks_nothing(outcome: Outcome, name: str) -> None:
    delivery = outcome.deliveries[hostile_name(list(HOSTILE).index(name))]

    assert (delivery["state"], delivery["last_status"]) == MADE_OF_HOSTILE[name]
    assert "s3cret" not in (delivery["last_error"] or "")


@pytest.mark.parametrize("name", ["tekton", "tekton-gitlab", "tekton-cloudevents"])
def test_an_event_listener_makes_one_run_named_after_the_delivery(
    outcome: Outcome, name: str
) -> None:
    listener = outcome.cases[name].receiver
    assert isinstance(listener, EventListener)

    assert listener.runs == [f"rs-{outcome.deliveries[name]['id']}"]


def test_a_lost_answer_is_asked_for_again_and_makes_no_second_run(outcome: Outcome) -> None:
    listener = outcome.cases["tekton-losing-an-answer"].receiver
    assert isinstance(listener, EventListener)

    first, second = listener.records
    assert (first.delivery, first.body) == (second.delivery, second.body)
    assert listener.runs == [f"rs-{first.delivery}"]


def test_an_event_listener_takes_what_is_badly_signed_and_makes_nothing(outcome: Outcome) -> None:
    listener = outcome.cases["tekton-badly-signed"].receiver
    assert isinstance(listener, EventListener)

    assert listener.runs == []


@pytest.mark.parametrize(
    ("name", "confirmation"),
    [("confirming", "confirmed"), ("confirming-early", "confirmed")],
)
def test_a_run_that_was_made_confirms_its_delivery_before_the_answer_or_after(
    outcome: Outcome, name: str, confirmation: str
) -> None:
    delivery = outcome.deliveries[name]["id"]

    eventually(
        lambda: confirmation_of(outcome.sentry, delivery) == confirmation,
        deadline_s=DEADLINE_S,
        what=f"{name}: {confirmation}",
    )


def test_what_is_taken_and_comes_to_nothing_is_not_confirmed(outcome: Outcome) -> None:
    delivery = outcome.deliveries["confirming-nothing"]["id"]

    assert confirmation_of(outcome.sentry, delivery) == "awaited"


def confirmation_of(sentry: RunningSentry, delivery: str) -> str | None:
    found: str | None = sentry.get(f"/api/v1/deliveries/{delivery}").json()["confirmation"]
    return found


def test_the_key_of_a_confirmation_is_shown_nowhere(outcome: Outcome) -> None:
    keys = [url.rpartition("/")[2] for url in outcome.confirm_urls.values()]
    shown = outcome.sentry.output + "".join(
        outcome.sentry.get(path).body.decode()
        for path in ("/", "/receivers", "/deliveries", "/api/v1/receivers", "/api/v1/status")
    )

    assert all(len(key) == 32 for key in keys)
    assert not any(key in shown for key in keys)


def test_a_receiver_that_is_gone_is_sent_nothing_more(outcome: Outcome) -> None:
    assert outcome.receivers["gone"]["state"] == "disabled"
    assert len(outcome.cases["gone"].receiver.records) == 1
