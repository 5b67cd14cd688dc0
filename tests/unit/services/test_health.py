"""What is unwell outside of the program is told in one sentence, with its beginning."""

from dataclasses import replace
from datetime import timedelta

from app.domain.health import Status
from app.domain.repository import Repository
from app.services.catalog import Entry
from app.services.health import forges_health, receivers_health
from app.services.status.answers import ReceiverStatus
from app.storage.records import Watched
from tests.fakes.clock import NOON

HOUR = timedelta(hours=1)
WELL = ReceiverStatus("ci", "https://ci.example.com/", "github", "ok", 0, None, None)


def an_entry(
    number: int, *, host: str = "github.com", error: str | None = None, ago: timedelta = HOUR
) -> Entry:
    url = f"https://{host}/acme/r{number}"
    since = NOON - ago if error else None
    watched = Watched(
        number, url, f"acme/r{number}", url, "github", error_code=error, error_since=since
    )
    return Entry(Repository(watched.name, url), watched)


def test_forges_are_well_while_every_repository_is_read() -> None:
    found = forges_health([an_entry(1), an_entry(2)])

    assert (found.status, found.reason, found.since) == (Status.OK, None, None)


def test_forges_are_degraded_since_the_first_of_their_repositories_failed() -> None:
    failing = [an_entry(n, error="forge_unavailable", ago=n * HOUR) for n in (1, 2, 3)]

    found = forges_health([*failing, *(an_entry(n) for n in range(4, 13))])

    assert found.status is Status.DEGRADED
    assert found.reason == "3 of 12 repositories fail: github.com does not answer"
    assert found.since == NOON - 3 * HOUR


def test_each_cause_is_told_once_but_not_very_many() -> None:
    failing = [
        an_entry(1, error="forge_rate_limited"),
        an_entry(2, error="forge_rate_limited"),
        an_entry(3, error="forge_denied", host="git.example.com"),
        an_entry(4, error="forge_answer_invalid", host="git.example.com"),
        an_entry(5, error="internal", host="git.example.com"),
    ]

    assert forges_health(failing).reason == (
        "5 of 5 repositories fail: the allowance at github.com is spent; "
        "git.example.com refuses access; git.example.com answers what cannot be understood"
    )


def test_a_credential_that_is_refused_degrades_them_while_git_reads_in_its_stead() -> None:
    found = forges_health([an_entry(1)], ["the token of github"])

    assert (found.status, found.reason) == (Status.DEGRADED, "the token of github is refused")


def test_a_repository_that_is_not_polled_does_not_count() -> None:
    paused = an_entry(1, error="forge_denied")
    paused = replace(paused, watched=replace(paused.watched, paused_at=NOON))
    off = an_entry(2, error="forge_denied")
    off = replace(off, repository=replace(off.repository, enabled=False))

    assert forges_health([paused, off]).status is Status.OK


def test_receivers_are_degraded_while_one_fails_or_is_gone() -> None:
    failing = replace(WELL, name="a", state="failing", reason="it answered 503", since=NOON)
    gone = replace(WELL, name="b", state="disabled", reason="it answered 410", since=NOON - HOUR)

    found = receivers_health([failing, gone, WELL])

    assert found.status is Status.DEGRADED
    assert found.reason == "2 of 3 receivers are unwell: a: it answered 503; b: it answered 410"
    assert found.since == NOON - HOUR


def test_a_receiver_that_a_person_paused_is_not_unwell() -> None:
    assert receivers_health([replace(WELL, state="paused")]).status is Status.OK
