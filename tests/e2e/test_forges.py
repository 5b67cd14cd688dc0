"""A forge that refuses, bans, forgets or lies: what it serves slows down, all else goes on.

Two fake GitHubs, each with repositories of its own: one is troubled, and the other must not feel
it. Nothing that was pushed to either may be lost.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.scene import wait_polled, write_configuration
from tests.fakes.github import TOKEN, FakeGitHub
from tests.fakes.gitlab import FakeGitLab
from tests.fakes.hosting import HEADS
from tests.fakes.process import RunningSentry, eventually
from tests.fakes.receiver import RecordingReceiver

pytestmark = pytest.mark.slow

OWNERS, EACH = 3, 5
MANY = 20  # too many to ask for one by one
INTERVAL_S, MAX_INTERVAL_S = 1.0, 6.0
LOOK_S = 0.1
# Pushes are told to the second, so for some seconds after one a list is not trusted.
QUIET_S = 4.0
# What a shared machine may add to a promise that is kept.
GRACE_S = 10.0
DEADLINE_S = 45.0
# Requests that may be under way, or begun by another thread, when the first of them is refused.
UNDER_WAY = 12


class Fleet:
    """The repositories of one forge, and when each was pushed to what."""

    def __init__(self, forge: FakeGitHub, name: str, *, owners: int, each: int) -> None:
        self.forge = forge
        self.name = name
        self.repositories = forge.hosting.populate(organisations=owners, repositories=owners * each)
        self.pushed: dict[str, float] = {}  # by commit: when

    def entries(self) -> list[dict[str, Any]]:
        address = self.forge.address
        return [
            {"url": f"{address}/{one}", "name": f"{self.name}/{one}"} for one in self.repositories
        ]

    def settings(self) -> dict[str, Any]:
        return {"kind": "github", "url": self.forge.address, "token": TOKEN}

    def push(self, *repositories: str, ref: str = HEADS + "main") -> list[str]:
        """Push to these repositories, or to each, and return the commits."""
        made = []
        for one in repositories or self.repositories:
            at_s = time.time()
            made.append(self.forge.push(one, ref))
            self.pushed[made[-1]] = at_s
        return made

    def counted(self) -> dict[str, Any]:
        """Return what the forge counted of the token."""
        told: dict[str, Any] = self.forge.report()["accounts"]["token 1"]
        return told


class Scene:
    """The program, with a forge that is troubled and one that is well."""

    def __init__(self, sentry: RunningSentry, troubled: Fleet, well: Fleet) -> None:
        self.sentry = sentry
        self.troubled = troubled
        self.well = well

    def wait_found(self, commits: list[str], deadline_s: float = DEADLINE_S) -> list[float]:
        """Wait until each is an event, and return how long after its push it was found."""
        wanted = set(commits)
        found = eventually(
            lambda: found if wanted <= (found := self.found()).keys() else None,
            deadline_s=deadline_s,
            what=f"{len(wanted)} pushes are found",
        )
        pushed = self.troubled.pushed | self.well.pushed
        return [found[commit] - pushed[commit] for commit in commits]

    def wait_quiet(self) -> None:
        """Wait until the last pushes are so long ago that no list is looked at twice for them."""
        last_s = max((self.troubled.pushed | self.well.pushed).values())
        eventually(
            lambda: time.time() > last_s + QUIET_S, deadline_s=DEADLINE_S, what="it is quiet"
        )

    def found(self) -> dict[str, float]:
        """Return when each commit was found."""
        time.sleep(LOOK_S)  # each look takes from the program what it needs for its work
        return {event["after"]: _seconds(event["detected_at"]) for event in self.sentry.events()}

    def states(self, fleet: Fleet) -> dict[str, str]:
        """Return the states of a forge's repositories, by name without the forge's."""
        listed = self.sentry.repositories()
        mark = f"{fleet.name}/"
        return {
            one["name"].removeprefix(mark): one["state"]
            for one in listed
            if one["name"].startswith(mark)
        }

    def assert_the_other_is_at_full_pace(self) -> None:
        """Push to the forge that is well: half is found within the usual interval."""
        lags_s = self.wait_found(self.well.push())
        assert statistics.median(lags_s) < INTERVAL_S + GRACE_S / 2
        refused = {"403", "429"} & self.well.counted()["statuses"].keys()
        assert not refused


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@contextmanager
def a_scene(folder: Path, *, owners: int = OWNERS, each: int = EACH) -> Iterator[Scene]:
    """Run the program until it knows every repository, ``each`` so many of each owner's."""
    with FakeGitHub() as troubled, FakeGitHub() as well, RecordingReceiver() as receiver:
        fleets = (
            Fleet(troubled, "troubled", owners=owners, each=each),
            Fleet(well, "well", owners=OWNERS, each=EACH),
        )
        file = write_configuration(
            folder,
            database="sqlite:///forges.db",
            repositories=[entry for fleet in fleets for entry in fleet.entries()],
            receivers={"ci": {"url": receiver.url, "secret": None}},
            forges={fleet.name: fleet.settings() for fleet in fleets},
            defaults={"branches": ["*"]},
            polling={
                "interval": f"{INTERVAL_S:g}s",
                "max_interval": f"{MAX_INTERVAL_S:g}s",
                "timeout": "5s",
            },
        )
        with RunningSentry("run", "-c", str(file), folder=folder) as sentry:
            scene = Scene(sentry.wait_ready(), *fleets)
            eventually(
                lambda: {one["state"] for one in sentry.repositories()} == {"ok"},
                deadline_s=DEADLINE_S,
                what="every repository is known",
            )
            scene.wait_found([commit for fleet in fleets for commit in fleet.push()])
            yield scene


def test_a_spent_allowance_is_asked_no_more_and_git_takes_over(tmp_path: Path) -> None:
    with a_scene(tmp_path) as scene:
        scene.troubled.forge.exhaust()
        scene.troubled.forge.exhaust(resource="graphql")
        commits = scene.troubled.push()
        scene.assert_the_other_is_at_full_pace()
        scene.wait_found(commits)
        scene.wait_found(scene.troubled.push())
        refused = scene.troubled.counted()["refused"]
        git = scene.troubled.counted()["asked"]["ls-refs"]
    assert refused.get("primary limit", 0) <= UNDER_WAY
    assert refused.keys() <= {"primary limit"}
    assert git > 0


def test_a_revoked_token_is_shown_twice_at_most_and_public_repositories_are_read_without(
    tmp_path: Path,
) -> None:
    with a_scene(tmp_path) as scene:
        scene.troubled.forge.revoke()
        commits = scene.troubled.push()
        scene.assert_the_other_is_at_full_pace()
        scene.wait_found(commits)
        scene.wait_found(scene.troubled.push())
        failed = scene.troubled.forge.report()["sign_ins_failed"]
    assert 1 <= failed <= 2  # by the API, and by git: it may be good for one of them


@pytest.mark.parametrize("form", ["date", "none"])
def test_a_ban_is_waited_out_and_git_takes_over(tmp_path: Path, form: str) -> None:
    with a_scene(tmp_path) as scene:
        scene.troubled.forge.behave(retry_form=form)
        scene.troubled.forge.ban(for_s=3600)
        commits = scene.troubled.push()
        scene.assert_the_other_is_at_full_pace()
        scene.wait_found(commits)
        told = scene.troubled.counted()["shut_out"]
    assert told["times"] == 1
    assert told["asked"] <= UNDER_WAY


@pytest.mark.parametrize("status", [404, 403])
def test_what_a_token_may_read_no_more_fails_alone_and_is_found_when_it_may_again(
    tmp_path: Path, status: int
) -> None:
    with a_scene(tmp_path) as scene:
        forge = scene.troubled.forge
        hidden = [one for one in scene.troubled.repositories if one.startswith("org-000/")]
        others = [one for one in scene.troubled.repositories if one not in hidden]
        for one in hidden:
            forge.change(one, is_private=True)
        forge.downgrade(["org-000"], status=status)
        eventually(
            lambda: (
                {one for one, state in scene.states(scene.troubled).items() if state != "ok"}
                == set(hidden)
            ),
            deadline_s=DEADLINE_S,
            what="those that are hidden fail, and no others",
        )
        meanwhile = scene.troubled.push(*hidden)
        lags_s = scene.wait_found(scene.troubled.push(*others))
        scene.assert_the_other_is_at_full_pace()
        forge.downgrade([])
        scene.wait_found(meanwhile)
        refused = scene.troubled.counted()["refused"]
    assert statistics.median(lags_s) < INTERVAL_S + GRACE_S / 2
    assert refused == {}


def test_a_forge_that_shows_only_a_page_loses_nothing(tmp_path: Path) -> None:
    with a_scene(tmp_path) as scene:
        scene.troubled.forge.say(503)
        commits = scene.troubled.push()
        scene.assert_the_other_is_at_full_pace()
        scene.troubled.forge.say(None)
        scene.wait_found(commits)


@pytest.mark.parametrize("how", [{"fails": True}, {"lies": True}, {"lag_s": 3.0}])
def test_whatever_ails_the_probes_a_push_is_found_by_the_longest_interval(
    tmp_path: Path, how: dict[str, Any], tell: Callable[[str], None]
) -> None:
    with a_scene(tmp_path, each=MANY) as scene:
        scene.wait_quiet()
        eventually(
            lambda: scene.troubled.counted()["unchanged"].get("listing", 0) > OWNERS,
            deadline_s=DEADLINE_S,
            what="owners' lists are asked for",
        )
        for surface in ("listing", "graphql"):
            scene.troubled.forge.show(surface, **how)
        commits = scene.troubled.push()
        scene.assert_the_other_is_at_full_pace()
        lags_s = scene.wait_found(commits)
        refused = scene.troubled.counted()["refused"]
    tell(f"probes ailing by {how}: found after {max(lags_s):.1f} s at the latest")
    assert max(lags_s) < MAX_INTERVAL_S + GRACE_S
    assert refused == {}


def test_queries_that_are_too_large_become_smaller_and_miss_nothing(tmp_path: Path) -> None:
    # So many owners that each list would be one repository's.
    with a_scene(tmp_path, owners=OWNERS * MANY, each=1) as scene:
        forge = scene.troubled.forge
        forge.behave(most_in_batch=10)
        eventually(
            lambda: scene.troubled.counted()["asked"].get("graphql", 0) > OWNERS,
            deadline_s=DEADLINE_S,
            what="many are asked about at once",
        )
        scene.wait_found(scene.troubled.push())
        scene.wait_found(scene.troubled.push())
        scene.assert_the_other_is_at_full_pace()
        told = scene.troubled.counted()
    assert told["refused"] == {}
    # Few questions were asked in vain, each of which costs more points than it should.
    assert told["statuses"].get("502", 0) <= UNDER_WAY


def test_a_repository_that_is_renamed_or_new_or_deleted_disturbs_no_other(tmp_path: Path) -> None:
    with a_scene(tmp_path) as scene:
        forge, (first, second, *others) = scene.troubled.forge, scene.troubled.repositories
        forge.rename(first, "org-000/renamed")
        forge.delete(second)
        commits = scene.troubled.push(*others)
        commits += scene.troubled.push("org-000/renamed")
        scene.wait_found(commits)
        scene.wait_found(scene.troubled.push(*others, ref=HEADS + "topic-9"))
        scene.assert_the_other_is_at_full_pace()
        assert scene.states(scene.troubled)[first] == "ok"


def test_a_wrong_token_never_gets_an_address_shut_out_of_gitlab(tmp_path: Path) -> None:
    with FakeGitLab() as forge, RecordingReceiver() as receiver:
        names = [f"acme/private-{number:02}" for number in range(40)]
        for name in names:
            forge.create(name).is_private = True
        file = write_configuration(
            tmp_path,
            database="sqlite:///wrong.db",
            repositories=[{"url": f"{forge.address}/{name}.git", "name": name} for name in names],
            receivers={"ci": {"url": receiver.url, "secret": None}},
            forges={"work": {"kind": "gitlab", "url": forge.address, "token": "glpat-wrong"}},
        )
        with RunningSentry("run", "-c", str(file), folder=tmp_path) as sentry:
            sentry.wait_ready()
            eventually(
                lambda: all(one["last_outcome"] == "failed" for one in sentry.repositories()),
                deadline_s=DEADLINE_S,
                what="every repository has failed",
            )
            wait_polled(sentry)
        failures = list(forge.failures.values())
        refused = forge.ledger.statuses[401]
    assert sum(one.total for one in failures) <= 2
    # Without a token git asks who we are, which counts as no attempt to sign in.
    assert refused > 0
    assert not any(one.banned_until_s for one in failures)
