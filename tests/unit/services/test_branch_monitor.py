"""What one poll makes of one answer."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from unittest import mock

import pytest

from app.domain.details import Commit, Details, Person, Push
from app.domain.errors import (
    ForgeAnswerInvalid,
    ForgeUnavailable,
    LeaseLost,
    StorageUnavailable,
)
from app.domain.event import EventKind, hold_id
from app.domain.paths import PathFilter, Touched, Verdict
from app.domain.refs import RefFilter
from app.domain.repository import Repository
from app.forges.client import HERE, RefsReply
from app.services.branch_monitor import SNAPSHOT, BranchMonitor, Finding
from app.settings.types import Receiver
from app.storage.records import Watched
from tests.fakes.clock import FakeClock
from tests.fakes.git_client import FakeGitClient
from tests.fakes.store import FENCE, FakeStore, some_refs

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
WEBSITE = Repository("acme/website", "https://git.example.com/acme/website", receivers=("ci",))
UNSEEN = Watched(1, WEBSITE.url, WEBSITE.name, WEBSITE.url, WEBSITE.forge)
CI = Receiver("ci", "https://ci.example.com/")


class Scene:
    """A monitor with its surroundings, and what is known after each poll."""

    def __init__(
        self,
        refs: Mapping[str, str],
        *,
        repository: Repository = WEBSITE,
        trigger: bool = False,
        storm_limit: int = 0,
    ) -> None:
        self.store = FakeStore(known={1: UNSEEN})
        self.client = FakeGitClient(refs)
        self.clock = FakeClock()
        self.repository = repository
        self.known = UNSEEN
        self.receivers = {"ci": CI}
        self.trigger = trigger
        self.storm_limit = storm_limit
        self.fence = FENCE
        self.monitor = self._monitor()

    def restart(self) -> None:
        self.monitor = self._monitor()

    def _monitor(self) -> BranchMonitor:
        return BranchMonitor(
            store=self.store,
            client_for=lambda repository: self.client,
            receivers=self.receivers,
            now=self.clock,
            fence=self.fence,
            timeout=timedelta(seconds=10),
            trigger_on_baseline=self.trigger,
            storm_limit=self.storm_limit,
        )

    def poll(self, **refs: str) -> Finding:
        if refs:
            self.client.refs = dict(some_refs(**refs))
            self.client.etag += "x"
        finding = self.monitor.poll(self.repository, self.known)
        self.known = finding.watched
        return finding


def told(finding: Finding) -> list[tuple[str, str]]:
    return [(event.kind.value, event.name) for event in finding.events]


def test_the_first_snapshot_is_taken_in_silence() -> None:
    scene = Scene(some_refs(main="a1"))

    finding = scene.poll()

    assert finding.events == ()
    assert scene.store.refs[1] == some_refs(main="a1")
    assert scene.known.default_branch == "refs/heads/main"


def test_the_first_snapshot_makes_events_where_that_is_wanted() -> None:
    scene = Scene(some_refs(dev="b1", main="a1"), trigger=True)

    finding = scene.poll()

    assert told(finding) == [("branch_created", "dev"), ("branch_created", "main")]


def test_created_updated_and_deleted_refs_are_owed_in_order_without_a_gap() -> None:
    scene = Scene(some_refs(main="a1", old="a1"))
    scene.poll()

    finding = scene.poll(main="b2", new="b2")

    assert told(finding) == [
        ("branch_updated", "main"),
        ("branch_created", "new"),
        ("branch_deleted", "old"),
    ]
    assert [event.sequence for event in finding.events] == [1, 2, 3]
    assert [owed.event_id for owed in scene.store.owed] == [e.id for e in finding.events]
    assert scene.known.sequence == 3


def test_an_unchanged_repository_writes_nothing() -> None:
    scene = Scene(some_refs(main="a1"))
    scene.poll()
    scene.store.is_down = True

    finding = scene.poll()

    assert not finding.changed
    assert scene.client.validators[-1] == {"etag": "1"}


def test_the_same_refs_under_another_validator_are_no_change() -> None:
    scene = Scene(some_refs(main="a1"))
    scene.poll()
    scene.client.etag = "another"

    finding = scene.poll()

    assert not finding.changed
    assert scene.known.validator["etag"] == "another"


def test_what_another_way_knows_of_the_same_snapshot_is_kept_until_it_changes() -> None:
    scene = Scene(some_refs(main="a1"))
    scene.poll()
    digest = scene.known.digest
    ways = {"ls-refs:body": "seen", "rest:list": "old", SNAPSHOT: str(digest)}
    scene.known = replace(scene.known, validator=ways)

    scene.poll()
    same = dict(scene.known.validator)
    scene.poll(main="b2")

    assert same == {"ls-refs:body": "seen", "etag": "1", SNAPSHOT: digest}
    assert "ls-refs:body" not in scene.known.validator


def test_another_snapshots_validator_is_never_sent() -> None:
    """A repository that moved and moved back would seem not to have moved."""
    scene = Scene(some_refs(main="a1"))
    scene.poll()
    stale = scene.known.validator
    scene.poll(main="b2")
    scene.known = type(scene.known)(
        **{
            name: getattr(scene.known, name)
            for name in scene.known.__slots__
            if name != "validator"
        },
        validator=stale,
    )
    scene.client.etag = "1"

    finding = scene.poll()
    scene.client.refs = dict(some_refs(main="a1"))
    scene.client.etag = "1"

    assert scene.client.validators[-1] == {}
    assert not finding.changed


@pytest.mark.parametrize("is_changed", [False, True])
def test_where_a_repository_has_moved_to_is_kept(
    is_changed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(some_refs(main="a1"))
    scene.poll()
    scene.known = replace(scene.known, facts={"is_archived": False})
    ask, new_url = scene.client.list_refs, "https://git.example.com/acme/site"
    monkeypatch.setattr(
        scene.client,
        "list_refs",
        lambda *told, **named: replace(ask(*told, **named), moved_to=new_url),
    )

    moved = scene.poll(**({"main": "b2"} if is_changed else {}))
    monkeypatch.setattr(scene.client, "list_refs", ask)
    later = scene.poll()
    monkeypatch.setattr(
        scene.client,
        "list_refs",
        lambda *told, **named: replace(ask(*told, **named), moved_to=HERE),
    )
    back = scene.poll(**({"main": "c3"} if is_changed else {}))

    assert moved.changed is is_changed
    assert moved.watched.facts == {"is_archived": False, "moved_to": new_url}
    assert later.watched.facts == moved.watched.facts
    assert not back.watched.facts["moved_to"]


def test_refs_that_no_pattern_chooses_are_not_seen() -> None:
    chosen = Repository(
        WEBSITE.name, WEBSITE.url, refs=RefFilter(("*", "!wip/*")), receivers=("ci",)
    )
    scene = Scene({**some_refs(main="a1"), "refs/pull/7/head": "c" * 40}, repository=chosen)
    scene.poll()
    scene.client.refs |= {"refs/heads/wip/x": "d" * 40, "refs/pull/8/head": "e" * 40}
    scene.client.etag = "2"

    assert told(scene.poll()) == []


def test_a_changed_pattern_is_not_mistaken_for_a_changed_repository() -> None:
    scene = Scene({**some_refs(main="a1", dev="a1"), "refs/tags/v1": "a" * 40})
    scene.poll()
    scene.repository = Repository(
        WEBSITE.name, WEBSITE.url, refs=RefFilter(("main",), ("v*",)), receivers=("ci",)
    )

    adopted = scene.poll()
    scene.client.refs["refs/tags/v2"] = "b" * 40
    scene.client.etag = "2"
    later = scene.poll()

    assert told(adopted) == []
    assert set(scene.store.refs[1]) == {"refs/heads/main", "refs/tags/v1", "refs/tags/v2"}
    assert told(later) == [("tag_created", "v2")]


def test_a_changed_pattern_hides_no_change_of_what_both_patterns_choose() -> None:
    scene = Scene(some_refs(main="a1", dev="a1"))
    scene.poll()
    scene.repository = Repository(
        WEBSITE.name, WEBSITE.url, refs=RefFilter(("main",)), receivers=("ci",)
    )

    assert told(scene.poll(main="b2", dev="b2")) == [("branch_updated", "main")]


def test_an_answer_without_any_ref_is_believed_only_when_it_comes_twice() -> None:
    scene = Scene(some_refs(main="a1"))
    scene.poll()
    scene.client.refs, scene.client.etag = {}, "2"

    with pytest.raises(ForgeAnswerInvalid, match="asked again"):
        scene.poll()
    believed = scene.poll()

    assert told(believed) == [("branch_deleted", "main")]


def test_a_server_that_lied_once_and_recovered_invents_nothing() -> None:
    scene = Scene(some_refs(main="a1"))
    scene.poll()
    scene.client.refs, scene.client.etag = {}, "2"
    with pytest.raises(ForgeAnswerInvalid):
        scene.poll()

    recovered = scene.poll(main="a1")
    scene.client.refs, scene.client.etag = {}, "3"

    assert told(recovered) == []
    with pytest.raises(ForgeAnswerInvalid):
        scene.poll()


def test_an_answer_that_may_be_older_than_ours_takes_nothing_back() -> None:
    """GitLab's API may tell what git has told otherwise half a minute before."""
    scene = Scene(some_refs(main="a1"))
    scene.poll()
    scene.poll(main="b2")
    scene.client.read_by, scene.client.lag = "api", timedelta(seconds=35)
    scene.clock.go(seconds=15)

    kept = [told(scene.poll(main="a1"))]
    scene.clock.go(seconds=15)
    kept.append(told(scene.poll()))
    scene.clock.go(seconds=15)
    believed = scene.poll(main="c3")

    assert kept == [[], []]
    assert [(e.before[:2], e.after[:2]) for e in believed.events] == [("b2", "c3")]


def test_a_probe_asked_in_the_course_of_a_slower_reading_takes_nothing_back() -> None:
    """It may have been told less than the reading was, though that began before it."""
    scene = Scene(some_refs(main="a1"))
    scene.poll()
    answer = scene.client.list_refs

    def slowly(*args: Any, **more: Any) -> RefsReply:
        scene.clock.go(seconds=3)
        return answer(*args, **more)

    with mock.patch.object(scene.client, "list_refs", slowly):
        scene.poll(main="c3")
    scene.clock.go(seconds=1)
    scene.client.read_by, scene.client.lag = "graphql", timedelta(seconds=3)
    older = scene.poll(main="b2")
    scene.client.lag = timedelta(milliseconds=900)
    newer = scene.poll(main="d4")

    assert told(older) == []
    assert [(e.before[:2], e.after[:2]) for e in newer.events] == [("c3", "d4")]


def test_after_a_restart_an_answer_may_be_older_than_ours_as_well() -> None:
    scene = Scene(some_refs(main="b2"))
    scene.poll()
    scene.known = replace(scene.known, last_poll_at=scene.clock())
    scene.restart()
    scene.client.read_by, scene.client.lag = "api", timedelta(seconds=35)

    scene.clock.go(seconds=5)
    kept = scene.poll(main="a1")
    scene.clock.go(days=-1)
    believed = scene.poll()

    assert told(kept) == []
    assert told(believed) == [("branch_updated", "main")]


def test_a_forge_that_does_not_answer_leaves_everything_as_it_was() -> None:
    scene = Scene(some_refs(main="a1"))
    scene.poll()
    scene.client.error = ForgeUnavailable("timed out after 10 s")

    with pytest.raises(ForgeUnavailable):
        scene.poll()

    assert scene.store.refs[1] == some_refs(main="a1")
    assert scene.store.events == []


def test_a_process_that_lost_the_lease_writes_nothing() -> None:
    scene = Scene(some_refs(main="a1"))
    scene.poll()
    scene.store.fence += 1

    with pytest.raises(LeaseLost):
        scene.poll(main="b2")

    assert scene.store.events == []


def test_a_snapshot_that_moved_meanwhile_is_read_again() -> None:
    scene = Scene(some_refs(main="a1"))
    scene.poll()
    scene.store.has_moved = True

    finding = scene.poll(main="b2")

    assert finding.events == ()
    assert finding.watched.sequence == scene.store.known[1].sequence
    assert finding.watched.digest == scene.store.known[1].digest


def test_a_change_whose_commit_was_in_doubt_is_not_overlooked_when_it_is_taken_back() -> None:
    """What is known here and what is written may differ then: a look there tells."""
    scene = Scene(some_refs(main="a1"))
    scene.poll()
    scene.store.loses_answers = True
    with pytest.raises(StorageUnavailable):
        scene.poll(main="b2")
    scene.store.loses_answers = False

    scene.poll(main="a1")

    moves = [(event.sequence, event.before[:2], event.after[:2]) for event in scene.store.events]
    assert moves == [(1, "a1", "b2"), (2, "b2", "a1")]


def test_a_change_whose_commit_was_in_doubt_is_recorded_once() -> None:
    scene = Scene(some_refs(main="a1"))
    scene.poll()
    scene.store.loses_answers = True
    with pytest.raises(StorageUnavailable):
        scene.poll(main="b2")
    scene.store.loses_answers = False

    again = scene.poll()
    later = scene.poll(main="c3")

    assert again.events == ()
    assert [event.sequence for event in later.events] == [2]
    assert len(scene.store.events) == 2


def test_a_commit_in_doubt_is_remembered_until_a_poll_succeeds() -> None:
    """Who polls keeps the old standing after a failure, and would call the next change none."""
    scene = Scene(some_refs(main="a1"))
    scene.poll()
    scene.store.loses_answers = True
    with pytest.raises(StorageUnavailable):
        scene.poll(main="b2")
    scene.store.loses_answers = False
    scene.client.error = ForgeUnavailable("no answer")
    with pytest.raises(ForgeUnavailable):
        scene.poll()
    scene.client.error = None

    found = scene.poll(main="c3")

    assert [event.sequence for event in found.events] == [2]


def test_a_change_is_recorded_before_anything_more_is_asked() -> None:
    scene = Scene(some_refs(main="a1"))
    scene.poll()

    finding = scene.poll(main="b2")

    assert finding.events[0].forced is None
    assert finding.events[0].kind is EventKind.BRANCH_UPDATED
    assert scene.client.described == []


def test_a_default_branch_whose_name_cannot_be_kept_hides_no_change() -> None:
    scene = Scene(some_refs(main="a1"))
    scene.poll()
    scene.client.default_branch = "refs/heads/" + "x" * 700

    finding = scene.poll(main="b2")

    assert told(finding) == [("branch_updated", "main")]
    assert scene.known.default_branch == "refs/heads/main"


def test_a_receiver_is_owed_only_the_changes_that_it_wants() -> None:
    scene = Scene(some_refs(main="a1", old="a1"))
    scene.receivers["ci"] = Receiver("ci", CI.url, changes=("updated",))
    scene.poll()

    finding = scene.poll(main="b2", new="b2")

    assert len(finding.events) == 3
    assert [owed.event_id for owed in scene.store.owed] == [finding.events[0].id]
    assert finding.owed == finding.events[:1]


def test_the_same_change_found_again_after_a_crash_has_the_same_id() -> None:
    first, second = Scene(some_refs(main="a1")), Scene(some_refs(main="a1"))
    first.poll()
    second.poll()

    ids = {scene.poll(main="b2").events[0].id for scene in (first, second)}

    assert len(ids) == 1


def test_a_receiver_is_owed_only_the_refs_that_it_wants() -> None:
    scene = Scene(some_refs(main="a1"))
    scene.receivers["ci"] = Receiver("ci", CI.url, refs=RefFilter(("main", "release/*"), ()))
    scene.poll()

    finding = scene.poll(**{"main": "b2", "release/1": "b2", "topic": "b2"})

    assert [event.name for event in finding.events] == ["main", "release/1", "topic"]
    assert [event.name for event in finding.owed] == ["main", "release/1"]


def test_more_changes_than_may_go_out_unasked_are_a_storm(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(some_refs(main="a1"), storm_limit=2)
    scene.poll()

    calm = scene.poll(main="b2", one="b2")
    storm = scene.poll(main="c3", one="c3", two="c3")

    assert [len(calm.events), len(storm.events)] == [2, 3]
    assert [step.events for step in scene.store.storms] == [storm.events]
    (warning,) = caplog.records
    assert (warning.levelname, warning.message) == ("WARNING", "storm held")
    told_of = {name: getattr(warning, name) for name in ("repository", "changes", "hold")}
    assert told_of == {
        "repository": WEBSITE.name,
        "changes": 3,
        "hold": hold_id(event=storm.events[0].id),
    }


def test_only_changes_that_somebody_is_owed_make_a_storm() -> None:
    scene = Scene(some_refs(main="a1"), storm_limit=2)
    scene.receivers["ci"] = Receiver("ci", CI.url, refs=RefFilter(("main",), ()))
    scene.poll()

    finding = scene.poll(main="b2", one="b2", two="b2")

    assert len(finding.events) == 3
    assert scene.store.storms == []


def test_a_first_snapshot_that_is_told_as_changes_may_be_a_storm() -> None:
    scene = Scene(some_refs(one="a1", two="a1", three="a1"), trigger=True, storm_limit=2)

    finding = scene.poll()

    assert [step.events for step in scene.store.storms] == [finding.events]


def test_without_a_limit_nothing_is_a_storm() -> None:
    scene = Scene(some_refs(**{f"b{number}": "a1" for number in range(99)}), trigger=True)

    scene.poll()

    assert scene.store.storms == []


# ---- only changes that touch some files -------------------------------------------------------


SERVICES = replace(WEBSITE, paths=PathFilter(("services/**",)))


def touching(*files: str, forced: bool = False) -> Details:
    ada = Person("Ada", "ada@example.com")
    commit = Commit("b2", "x", ada, ada, NOON, added=(), modified=files, removed=())
    return Details((commit,), total=1, forced=forced, pusher=ada)


def test_a_change_that_touches_none_of_the_paths_is_recorded_and_owed_to_nobody() -> None:
    scene = Scene(some_refs(main="a1"), repository=SERVICES)
    scene.poll()
    scene.client.details = touching("docs/index.md")

    finding = scene.poll(main="b2")

    assert told(finding) == [("branch_updated", "main")]
    assert finding.owed == ()
    assert scene.store.owed == []
    assert finding.events[0].paths == Touched(Verdict.MISSED, ("docs/index.md",), 1)
    assert scene.poll().events == ()


def test_a_change_that_touches_the_paths_is_owed_with_what_was_told_of_it() -> None:
    scene = Scene(some_refs(main="a1"), repository=SERVICES)
    scene.poll()
    scene.client.details = touching("services/api.go")

    finding = scene.poll(main="b2")

    assert finding.owed == finding.events == tuple(scene.store.events)
    assert finding.undescribed == ()
    assert finding.events[0].forced is False
    assert scene.store.details == {finding.events[0].id: scene.client.details}


def test_a_change_whose_files_nobody_tells_is_owed_and_asked_about_later() -> None:
    scene = Scene(some_refs(main="a1", old="a1"), repository=SERVICES)
    scene.poll()

    finding = scene.poll(main="b2", new="c3")

    assert [event.name for event in finding.owed] == ["main", "new", "old"]
    assert finding.undescribed == finding.owed
    assert [event.paths and event.paths.verdict for event in finding.owed] == [
        *(Verdict.UNKNOWN, Verdict.UNKNOWN, None)
    ]
    assert scene.client.described == ["refs/heads/main"]


def test_of_changes_that_nobody_wants_no_file_is_asked() -> None:
    scene = Scene(some_refs(main="a1", dev="a1"), repository=SERVICES)
    scene.receivers["ci"] = Receiver("ci", CI.url, refs=RefFilter(("main",), ()))
    scene.poll()
    scene.client.details = touching("services/api.go")

    finding = scene.poll(main="b2", dev="b2")

    assert scene.client.described == ["refs/heads/main"]
    assert [event.name for event in finding.owed] == ["main"]


def test_changes_that_touch_nothing_make_no_storm() -> None:
    scene = Scene(some_refs(a="a1", b="a1", c="a1"), repository=SERVICES, storm_limit=1)
    scene.poll()
    scene.client.details = touching("docs/index.md")

    finding = scene.poll(a="b2", b="b2", c="b2")

    assert (len(finding.events), finding.owed, scene.store.storms) == (3, (), [])


# ---- pull requests ----------------------------------------------------------------------------


PULLS = replace(WEBSITE, refs=RefFilter(("main",), wants_pulls=True))
SEVEN, EIGHT = "refs/pull/7/head", "refs/pull/8/head"


def test_pull_requests_make_events_of_branches_where_they_are_wanted() -> None:
    scene = Scene({**some_refs(main="a1"), SEVEN: "c" * 40}, repository=PULLS)
    scene.poll()
    scene.client.refs = {**some_refs(main="a1"), SEVEN: "d" * 40, EIGHT: "e" * 40}
    scene.client.refs["refs/pull/8/merge"] = "f" * 40
    scene.client.etag = "2"

    finding = scene.poll()

    assert told(finding) == [("branch_updated", "pull/7/head"), ("branch_created", "pull/8/head")]
    assert finding.owed == finding.events


def test_pull_requests_that_were_there_before_they_were_wanted_make_no_events() -> None:
    scene = Scene(
        {**some_refs(main="a1"), SEVEN: "c" * 40},
        repository=replace(WEBSITE, refs=RefFilter(("main",))),
    )
    scene.poll()
    assert scene.known.watched == {"branches": ["main"], "tags": []}  # as older versions wrote it
    scene.repository = PULLS

    adopted = scene.poll()
    scene.client.refs[EIGHT] = "e" * 40
    scene.client.etag = "2"
    later = scene.poll()
    scene.repository = replace(WEBSITE, refs=RefFilter(("main",)))
    left = scene.poll()

    assert told(adopted) == []
    assert told(later) == [("branch_created", "pull/8/head")]
    assert told(left) == []
    assert scene.store.refs[1] == some_refs(main="a1")


def test_a_receiver_of_some_branches_takes_pull_requests_only_if_it_names_them() -> None:
    scene = Scene({**some_refs(main="a1"), SEVEN: "c" * 40}, repository=PULLS)
    scene.receivers["ci"] = Receiver("ci", CI.url, refs=RefFilter(("main",), ()))
    scene.poll()
    scene.client.refs[SEVEN], scene.client.etag = "d" * 40, "2"

    assert scene.poll().owed == ()
    scene.receivers["ci"] = Receiver("ci", CI.url, refs=RefFilter(("pull/*",), ()))
    scene.client.refs[SEVEN], scene.client.etag = "e" * 40, "3"
    assert [event.name for event in scene.poll().owed] == ["pull/7/head"]


# ---- there and back ---------------------------------------------------------------------------


def log_of(scene: Scene, *ids: str, ref: str = "refs/heads/main") -> tuple[Push, ...]:
    full = [one.ljust(40, "0") for one in ids]
    return tuple(
        Push(ref, before, after, scene.clock() + timedelta(seconds=number), forced=number > 0)
        for number, (before, after) in enumerate(pairwise(full))
    )


def polled(scene: Scene) -> None:
    """Note a poll as its caller does."""
    scene.poll()
    scene.known = replace(scene.known, last_poll_at=scene.clock())


@pytest.mark.parametrize("etag", ["1", "another"])
def test_a_woken_poll_finds_what_moved_and_came_back(etag: str) -> None:
    scene = Scene(some_refs(main="a1"))
    polled(scene)
    scene.clock.go(seconds=30)
    scene.client.etag, scene.client.log = etag, log_of(scene, "a1", "b2", "a1")

    finding = scene.monitor.poll(scene.repository, scene.known, woken=True)
    again = scene.monitor.poll(scene.repository, finding.watched, woken=True)

    moves = [(e.sequence, e.before[:2], e.after[:2], e.forced) for e in finding.events]
    assert moves == [(1, "a1", "b2", False), (2, "b2", "a1", True)]
    assert finding.owed == finding.events == tuple(scene.store.events)
    assert finding.events[0].pushed_at == scene.client.log[0].at
    assert finding.changed
    assert finding.watched.sequence == 2
    assert scene.store.refs[1] == some_refs(main="a1")
    assert again.events == ()


def test_a_branch_that_came_and_went_is_found_as_well() -> None:
    scene = Scene(some_refs(main="a1"))
    polled(scene)
    scene.client.log = log_of(scene, "0", "b2", "0", ref="refs/heads/brief")

    finding = scene.monitor.poll(scene.repository, scene.known, woken=True)

    assert told(finding) == [("branch_created", "brief"), ("branch_deleted", "brief")]
    assert scene.store.refs[1] == some_refs(main="a1")


def test_what_is_not_watched_is_not_found_in_the_log() -> None:
    scene = Scene(some_refs(main="a1"), repository=replace(WEBSITE, refs=RefFilter(("main",))))
    polled(scene)
    scene.client.log = log_of(scene, "0", "b2", "0", ref="refs/heads/brief")

    assert scene.monitor.poll(scene.repository, scene.known, woken=True).events == ()


def test_the_log_is_asked_only_where_somebody_said_there_was_something() -> None:
    scene = Scene(some_refs(main="a1"))
    polled(scene)
    scene.client.log = log_of(scene, "a1", "b2", "a1")

    scene.monitor.poll(scene.repository, scene.known)
    assert scene.client.log_asked_since == []
    scene.client.refs, scene.client.etag = dict(some_refs(main="c3")), "2"
    moved = scene.monitor.poll(scene.repository, scene.known, woken=True)

    assert told(moved) == [("branch_updated", "main")]
    assert scene.client.log_asked_since == []


@pytest.mark.parametrize("ahead_s", [-100, 0, 100])
@pytest.mark.parametrize("later_s", [10, 60, 125, 200, 260])
def test_what_was_found_once_is_not_found_again_however_the_forges_clock_goes(
    ahead_s: int, later_s: int
) -> None:
    scene = Scene(some_refs(main="a1"))
    polled(scene)
    scene.clock.go(seconds=30)
    noted = log_of(scene, "a1", "b2", "a1")
    scene.client.log = tuple(
        replace(push, at=push.at + timedelta(seconds=ahead_s)) for push in noted
    )
    found = scene.monitor.poll(scene.repository, scene.known, woken=True)
    scene.known = found.watched
    scene.clock.go(seconds=later_s)
    polled(scene)

    again = scene.monitor.poll(scene.repository, scene.known, woken=True)

    assert len(found.events) == 2
    assert again.events == ()


def test_a_forge_without_a_log_finds_nothing() -> None:
    scene = Scene(some_refs(main="a1"))
    polled(scene)

    assert scene.monitor.poll(scene.repository, scene.known, woken=True).events == ()
    assert scene.client.log_asked_since == [scene.clock() - timedelta(minutes=6)]
