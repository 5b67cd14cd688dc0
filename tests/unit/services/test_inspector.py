"""Changes are looked into before they are owed, and none is lost for want of an answer."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.details import Commit, Details, Person
from app.domain.event import Event, record
from app.domain.paths import PathFilter, Touched, Verdict
from app.domain.repository import Repository
from app.domain.snapshot import Change
from app.services.inspector import DEADLINE_S, MOST_ASKED, inspect
from tests.fakes.git_client import FakeGitClient

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
A, B = "a" * 40, "b" * 40
SITE = Repository("site", "https://x.io/site", paths=PathFilter(("src/**", "!**/*.md")))
ADA = Person("Ada", "ada@example.com")


def details(*modified: str, forced: bool | None = False, **more: Any) -> Details:
    commit = Commit(B, "x", ADA, ADA, NOON, added=(), modified=modified, removed=(), **more)
    return Details((commit,), total=1, forced=forced, pushed_at=NOON)


def change(ref: str = "refs/heads/main", before: str | None = A, after: str | None = B) -> Event:
    return record(Change(ref, before, after), key="x", sequence=1, detected_at=NOON)


class Client(FakeGitClient):
    def __init__(self, answer: Details | None = None) -> None:
        super().__init__({})
        self.details = answer


def verdicts(client: FakeGitClient, events: Sequence[Event]) -> list[Verdict | None]:
    seen = inspect(client, SITE, events)
    return [one.event.paths.verdict if one.event.paths else None for one in seen]


def test_the_files_of_a_change_decide() -> None:
    assert verdicts(Client(details("src/a.py", "x")), [change()]) == [Verdict.MATCHED]
    assert verdicts(Client(details("src/a.md", "x")), [change()]) == [Verdict.MISSED]


def test_what_was_told_on_the_way_is_kept() -> None:
    told = details("src/a.py")

    [seen] = inspect(Client(told), SITE, [change()])

    assert seen.details == told
    assert (seen.event.forced, seen.event.pushed_at) == (False, NOON)
    assert seen.event.paths == Touched(Verdict.MATCHED, ("src/a.py",), 1)


def test_of_commits_with_files_of_their_own_all_count() -> None:
    first = Commit(A, "x", ADA, ADA, NOON, added=("src/a.py",), modified=(), removed=())
    second = Commit(B, "x", ADA, ADA, NOON, added=(), modified=("x",), removed=("src/a.py",))

    [seen] = inspect(Client(Details((first, second), 2, forced=False)), SITE, [change()])

    assert seen.event.paths == Touched(Verdict.MATCHED, ("src/a.py", "x"), 2)


@pytest.mark.parametrize(
    "told",
    [None, details("x", forced=True), details("x", forced=None), Details(forced=False)],
    ids=["no answer", "what it lost is not told", "perhaps it lost some", "no commit"],
)
def test_what_cannot_be_told_is_sent_and_says_so(told: Details | None) -> None:
    assert verdicts(Client(told), [change()]) == [Verdict.UNKNOWN]


def test_nothing_is_asked_of_new_refs_and_tags_and_deleted_ones_always_pass() -> None:
    client = Client(details("x"))
    tag = "refs/tags/v1"
    events = [change(before=None), change(tag), change(after=None), change(tag, after=None)]

    assert verdicts(client, events) == [Verdict.UNKNOWN, Verdict.UNKNOWN, None, None]
    assert client.described == []


def test_so_many_changes_are_asked_about_and_no_more() -> None:
    client = Client(details("x"))
    events = [change(f"refs/heads/{number}") for number in range(MOST_ASKED + 5)]

    assert verdicts(client, events) == [Verdict.MISSED] * MOST_ASKED + [Verdict.UNKNOWN] * 5
    assert len(client.described) == MOST_ASKED


def test_all_changes_of_a_poll_have_one_deadline() -> None:
    client, now = Client(details("x")), [100.0]

    def slow(_: Event) -> None:
        now[0] += DEADLINE_S / 2

    client.on_describe = slow
    seen = inspect(client, SITE, [change()] * 5, monotonic=lambda: now[0])

    assert len(client.described) == 2
    assert [one.is_missed for one in seen] == [True, True, False, False, False]


def test_a_defect_loses_no_change(caplog: pytest.LogCaptureFixture) -> None:
    client = Client(details("x"))

    def broken(_: Event) -> None:
        raise ZeroDivisionError

    client.on_describe = broken
    with caplog.at_level(logging.ERROR):
        assert verdicts(client, [change()]) == [Verdict.UNKNOWN]

    assert [entry.message for entry in caplog.records] == ["describing broke"]
