"""Every way of reading refs answers the same questions alike, whoever is asked."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from app.domain.details import Details
from app.domain.errors import (
    ForgeAnswerInvalid,
    ForgeDenied,
    ForgeError,
    ForgeRateLimited,
    ForgeUnavailable,
)
from app.domain.event import record
from app.domain.snapshot import Change
from tests.contract.git_clients import NOON, WAYS, Watch, Way
from tests.fakes.ssh_server import find_sshd

FORMATS = [
    pytest.param(
        (way, form),
        id=f"{way.name}-{form}",
        marks=[pytest.mark.sshd] if way.name == "ls-remote-ssh" else [],
    )
    for way in WAYS
    for form in way.object_formats
]
SERVED = [way for way in WAYS if way.name not in {"ls-remote-path", "ls-remote-ssh"}]


MAIN = "refs/heads/main"


def ids(told: Details) -> list[str]:
    """Return the commits' ids."""
    return [commit.id for commit in told.commits]


def together(lists: Iterable[tuple[str, ...] | None]) -> set[str]:
    """Return what all lists name that were told."""
    return {path for one in lists for path in one or ()}


def needs_sshd(monkeypatch: pytest.MonkeyPatch) -> None:
    program = find_sshd()
    if program is None:
        if os.environ.get("REPOSENTRY_TEST_SERVICES") == "required":
            pytest.fail("OpenSSH's server is required and not installed")
        pytest.skip("OpenSSH's server is not installed")
    monkeypatch.setenv("SSHD", program)


@pytest.fixture(params=FORMATS)
def way(request: pytest.FixtureRequest) -> Way:
    chosen: Way = request.param[0]
    return chosen


@pytest.fixture
def watch(
    request: pytest.FixtureRequest, way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Watch]:
    if way.name == "ls-remote-ssh":
        needs_sshd(monkeypatch)
    form = request.node.callspec.params["way"][1]
    with way.open(tmp_path, form) as opened:
        yield opened


@pytest.fixture(params=SERVED, ids=str)
def served_way(request: pytest.FixtureRequest) -> Way:
    chosen: Way = request.param
    return chosen


@pytest.fixture
def served(served_way: Way, tmp_path: Path) -> Iterator[Watch]:
    with served_way.open(tmp_path, "sha1") as opened:
        yield opened


def test_branches_and_tags_are_told_by_their_own_ids(watch: Watch) -> None:
    commit = watch.remote.commit()
    watch.remote.branch("feature/x")
    watch.remote.tag("light")
    tag_object = watch.remote.tag("annotated", annotated=True)

    reply = watch.poll()

    assert reply.refs == watch.refs()
    assert watch.remote.refs() == {
        "refs/heads/main": commit,
        "refs/heads/feature/x": commit,
        "refs/tags/light": commit,
        "refs/tags/annotated": tag_object,
    }
    assert tag_object != commit
    assert reply.requests >= 1


def test_other_refs_than_branches_and_tags_are_left_out(watch: Watch) -> None:
    commit = watch.remote.commit()
    watch.remote.move({"refs/pull/7/head": commit, "refs/notes/commits": commit})

    assert watch.poll().refs == {"refs/heads/main": commit}


def test_the_default_branch_is_told_where_it_can_be(watch: Watch, way: Way) -> None:
    watch.remote.commit()

    reply = watch.poll()

    assert reply.default_branch == ("refs/heads/main" if way.tells_default_branch else None)


def test_three_hundred_branches_are_all_told(watch: Watch) -> None:
    watch.remote.commit()
    watch.remote.branch(*(f"team/{number:03}" for number in range(299)))

    reply = watch.poll()

    assert reply.refs == watch.refs()
    assert len(reply.refs or {}) == 300


def test_a_repository_without_refs_is_empty_and_no_error(watch: Watch, way: Way) -> None:
    if way.name == "ls-remote-http":
        # Git cannot tell an empty repository from a failing server there.
        with pytest.raises(ForgeAnswerInvalid):
            watch.poll()
        return

    assert watch.poll().refs == {}


def test_what_is_unchanged_is_said_to_be(watch: Watch, way: Way) -> None:
    watch.remote.commit()
    watch.remote.tag("v1")
    first = watch.poll()

    second = watch.poll(first.validator)
    third = watch.poll(second.validator)

    assert (second.refs is None, third.refs is None) == (way.has_validator, way.has_validator)
    if not way.has_validator:
        assert second.refs == third.refs == first.refs


def test_every_sort_of_change_is_told_in_spite_of_the_validator(watch: Watch) -> None:
    watch.remote.commit()
    watch.remote.branch("old")
    watch.remote.tag("v1", annotated=True)
    reply = watch.poll()
    changes: dict[str, Callable[[], object]] = {
        "updated": watch.remote.commit,
        "created": lambda: watch.remote.branch("new"),
        "deleted": lambda: watch.remote.delete("old"),
        "forced": watch.remote.force,
        "tagged": lambda: watch.remote.tag("v2"),
        "retagged": lambda: watch.remote.tag("v1", annotated=True, message="Again"),
    }

    for what, change in changes.items():
        change()
        reply = watch.poll(reply.validator)

        assert reply.refs == watch.refs(), what


def test_many_branches_are_unchanged_or_changed_as_few_are(watch: Watch, way: Way) -> None:
    watch.remote.commit()
    watch.remote.branch(*(f"team/{number:03}" for number in range(220)))
    first = watch.poll()

    second = watch.poll(first.validator)
    watch.remote.commit("team/219")
    third = watch.poll(first.validator)

    assert (second.refs is None) == way.has_validator
    assert third.refs == watch.refs()


def test_names_outside_ascii_are_told_as_they_are(watch: Watch) -> None:
    watch.remote.commit()
    watch.remote.branch("fönix/日本", "a%2Fb", "c+d&e=f", "🚀")
    watch.remote.tag("v1-ß")

    assert watch.poll().refs == watch.refs()


def test_what_a_push_brought_is_told_newest_last(watch: Watch, way: Way) -> None:
    first = watch.remote.commit(files={"a": "1", "b": "1", "gone": "1"})
    second = watch.remote.commit(message="Two\n\nWith a body", files={"a": "2", "b": "1", "c": "1"})
    third = watch.remote.commit(message="Drei ß 🚀", files={"a": "2", "b": "1", "c": "1", "ü": "1"})

    told = watch.describe(MAIN, first, third)

    if not way.tells_details:
        assert told is None
        return
    assert told is not None
    if not way.tells_history:
        assert (ids(told), told.total, told.forced) == ([third], None, None)
        return
    assert [commit.id for commit in told.commits] == [second, third]
    assert [commit.message for commit in told.commits] == ["Two\n\nWith a body", "Drei ß 🚀"]
    assert (told.total, told.forced) == (2, False)
    assert (told.commits[0].author.name, told.commits[0].committer.email) == (
        "Ada",
        "ada@example.com",
    )
    assert told.commits[0].committed_at < told.commits[1].committed_at
    if not way.tells_files:
        assert all(commit.added is None for commit in told.commits)
        return
    files = [together(commit.added for commit in told.commits)]
    files += [together(commit.modified for commit in told.commits)]
    files += [together(commit.removed for commit in told.commits)]
    assert files == [{"c", "ü"}, {"a"}, {"gone"}]


def test_of_many_commits_the_newest_are_told_and_all_are_counted(watch: Watch, way: Way) -> None:
    made = [watch.remote.commit() for _ in range(24)]

    told = watch.describe(MAIN, made[0], made[-1])

    assert (told is not None) == way.tells_details
    if told is not None and way.tells_history:
        assert [commit.id for commit in told.commits] == made[-20:]
        assert told.total == 23


def test_of_many_commits_the_files_of_all_are_told_or_of_none(watch: Watch, way: Way) -> None:
    names = [f"f{number:02}" for number in range(24)]
    made = [
        watch.remote.commit(files=dict.fromkeys(names[: number + 1], "1")) for number in range(24)
    ]

    told = watch.describe(MAIN, made[0], made[-1])

    if told is not None:
        assert together(commit.added for commit in told.commits) in (set(names[1:]), set())


def test_a_move_that_lost_commits_is_told_to_be_forced(watch: Watch, way: Way) -> None:
    first = watch.remote.commit()
    lost = watch.remote.commit()
    watch.remote.branch("kept")
    back = watch.describe(MAIN, lost, first)
    watch.remote.move({MAIN: first})
    other = watch.remote.commit(files={"x": "1"})

    aside = watch.describe(MAIN, lost, other)

    if not way.tells_details:
        assert (back, aside) == (None, None)
        return
    assert back is not None
    assert aside is not None
    if not way.tells_history:
        assert (back.forced, aside.forced) == (None, None)
        return
    assert (back.forced, back.total, ids(back)) == (True, 0, [first])
    assert (aside.forced, aside.total, ids(aside)) == (True, 1, [other])


def test_of_unrelated_or_unknown_histories_nothing_wrong_is_told(watch: Watch) -> None:
    first = watch.remote.commit()
    watch.remote.branch("kept")
    other = watch.remote.force()

    unrelated = watch.describe(MAIN, first, other)
    unknown = watch.describe(MAIN, "1" * len(first), other)

    # GitHub and Gitea know no merge base of unrelated histories, and say 404.
    assert unrelated is None or unrelated.forced in {True, None}
    assert unknown is None or (unknown.forced is None and ids(unknown) == [other])
    assert watch.describe(MAIN, None, "1" * len(first)) is None


def test_of_a_new_branch_or_tag_the_commit_it_points_at_is_told(watch: Watch, way: Way) -> None:
    watch.remote.commit()
    tip = watch.remote.commit(message="Tip")
    light = watch.remote.tag("v1/ä")
    annotated = watch.remote.tag("v2", annotated=True)
    made = {"refs/heads/new": tip, "refs/tags/v1/ä": light, "refs/tags/v2": annotated}

    told = [watch.describe(ref, None, at) for ref, at in made.items()]

    if not way.tells_details:
        assert told == [None] * 3
        return
    assert [ids(one) for one in told if one] == [[tip]] * 3
    assert all(one and one.commits[0].message == "Tip" for one in told)
    assert all(one and one.commits[0].added is None for one in told)
    assert all(one and (one.total, one.forced) == (None, None) for one in told)


def test_of_a_moved_tag_the_commit_it_points_at_is_told(watch: Watch, way: Way) -> None:
    watch.remote.commit()
    before = watch.remote.tag("v1", annotated=True)
    watch.remote.commit()
    tip = watch.remote.commit()
    after = watch.remote.tag("v1", annotated=True)

    told = watch.describe("refs/tags/v1", before, after)

    assert (ids(told) if told else None) == ([tip] if way.tells_details else None)
    assert told is None or (told.total, told.forced) == (None, None)


def test_a_merge_tells_what_it_brought(watch: Watch, way: Way) -> None:
    base = watch.remote.commit(files={"a": "1"})
    watch.remote.branch("topic", at=base)
    side = watch.remote.commit("topic", files={"a": "1", "b": "1"})
    merge = watch.remote.make_commit(base, side, message="Merge", files={"a": "1", "b": "1"})
    watch.remote.move({MAIN: merge})

    told = watch.describe(MAIN, base, merge)

    assert (told is not None) == way.tells_details
    if told is not None and not way.tells_history:
        assert (ids(told), told.forced) == ([merge], False)
    elif told is not None:
        assert (ids(told), told.forced) == ([side, merge], False)
        assert together(commit.added for commit in told.commits) == (
            {"b"} if way.tells_files and way.tells_files_of_merges else set()
        )


def test_a_description_has_a_deadline_and_no_failure(served: Watch, served_way: Way) -> None:
    first, second = served.remote.commit(), served.remote.commit()
    served.service.fault = "hang"  # type: ignore[union-attr] # it is served
    change = record(
        Change(MAIN, first, second), key=served.repository.url, sequence=1, detected_at=NOON
    )
    began = time.monotonic()

    told = served.client.describe(served.repository, change=change, timeout_s=0.2)

    assert told is None
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("fault", ["500", "403", "404", "429", "garbage", "half", "empty", "reset"])
def test_a_forge_that_fails_describes_nothing(served: Watch, fault: str) -> None:
    first, second = served.remote.commit(), served.remote.commit()
    served.service.fault = fault  # type: ignore[union-attr] # it is served

    assert served.describe(MAIN, first, second) is None


def test_a_repository_that_is_not_there_is_denied(watch: Watch) -> None:
    watch.remote.path.rename(watch.remote.path.with_name("elsewhere"))
    if watch.service is not None and hasattr(watch.service, "repositories"):
        watch.service.repositories.clear()

    with pytest.raises(ForgeDenied):
        watch.poll()


def test_wrong_or_no_credentials_are_denied(served: Watch) -> None:
    served.remote.commit()
    stranger = served.stranger
    if stranger is None:
        served.service.token = "another"  # type: ignore[union-attr] # noqa: S105 - a fake forge
        stranger = served.repository

    with pytest.raises(ForgeDenied) as caught:
        served.client.list_refs(stranger, validator={}, timeout_s=10)

    assert "wrong\n" not in f"{caught.value}\n"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("half", ForgeAnswerInvalid),
        ("garbage", ForgeAnswerInvalid),
        ("empty", ForgeAnswerInvalid),
        ("500", ForgeUnavailable),
        ("503", ForgeUnavailable),
        ("reset", ForgeUnavailable),
        ("403", ForgeDenied),
        ("404", ForgeDenied),
        ("429", ForgeRateLimited),
    ],
)
def test_a_failing_server_is_an_error_of_its_sort_and_changes_nothing(
    served: Watch, served_way: Way, fault: str, error: type[ForgeError]
) -> None:
    if served_way.name == "ls-remote-http" and fault in {"half", "429"}:
        error = ForgeUnavailable  # git's words do not tell these apart
    served.remote.commit()
    served.remote.tag("v1")
    before = served.poll()
    served.remote.commit()
    assert served.service is not None
    served.service.fault = fault

    with pytest.raises(error):
        served.poll(before.validator)
    with pytest.raises(ForgeError):
        served.poll()

    served.service.fault = None
    if fault != "429":  # that one asks us to stay away for a while
        assert served.poll(before.validator).refs == served.refs()


def test_a_server_that_never_answers_costs_no_more_than_the_deadline(served: Watch) -> None:
    served.remote.commit()
    assert served.service is not None
    served.service.fault = "hang"
    began = time.monotonic()

    with pytest.raises(ForgeUnavailable, match=r"timed out after 0\.3 s"):
        served.poll(timeout_s=0.3)

    assert time.monotonic() - began < 2.0


def test_a_server_that_is_gone_is_unavailable(served_way: Way, tmp_path: Path) -> None:
    with served_way.open(tmp_path, "sha1") as gone:
        gone.remote.commit()
        assert gone.service is not None
        gone.service.__exit__(None, None, None)

        with pytest.raises(ForgeUnavailable):
            gone.poll()
