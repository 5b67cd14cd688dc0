"""One question tells which of many repositories at GitHub have moved, and never too few."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import (
    ForgeAnswerInvalid,
    ForgeBusy,
    ForgeDenied,
    ForgeRateLimited,
    ForgeUnavailable,
)
from app.domain.plan import Probing
from app.domain.refs import RefFilter
from app.domain.repository import Repository
from app.forges import CLIENTS, PROBES, Forges, github_probes
from app.forges.client import HERE, GitClient
from app.forges.probe import Facts, Probe, Seen
from app.forges.rest import Api, Call
from app.forges.ways import Tools
from app.services.branch_monitor import BranchMonitor
from app.transport import Transport
from tests.fakes.forge import Forge
from tests.fakes.git_repository import GitRepository
from tests.fakes.store import FENCE, FakeStore

RECORDED = Path(__file__).parent / "recorded"
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
BRANCHES = RefFilter(branches=("*",), tags=())


class Scene:
    """A GitHub where the organisation acme has repositories, and what probes it."""

    def __init__(self, forge: Forge, transport: Transport, root: Path) -> None:
        self.forge = forge
        self.root = root
        self.now = NOON
        # Lists tell nothing of refs, so one does for all.
        self.any = GitRepository.create(root / "any.git")
        self.settings = forge.settings()
        self.tools = Tools(transport, lambda: self.now)
        self.client: GitClient = CLIENTS["github"](self.settings, self.tools)
        forge.organisations.add("acme")

    def probe(self, probing: Probing, key: str) -> Probe:
        made = PROBES["github"](self.settings, self.tools, probing, key)
        assert made is not None
        return made

    def watch(self, *names: str) -> list[Repository]:
        for name in names:
            self.forge.repositories.setdefault(name, self.any)
        return [
            Repository(name, f"{self.forge.address}/{name}", forge="github", refs=BRANCHES)
            for name in names
        ]

    def watch_real(self, *names: str) -> list[Repository]:
        for name in names:
            made = GitRepository.create(self.root / f"{name}.git")
            made.commit()
            self.forge.repositories[name] = made
        return self.watch(*names)

    def push(self, name: str, at: datetime) -> None:
        self.forge.pushed_at[name] = f"{at:%Y-%m-%dT%H:%M:%SZ}"

    def paths_since(self, number: int) -> list[str]:
        return self.forge.paths[number:]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    transport = Transport()
    with Forge("github", token="t0ken") as forge:  # noqa: S106 - a fake forge's
        yield Scene(forge, transport, tmp_path)
    transport.close()


def ask(probe: Probe, repositories: Sequence[Repository]) -> Seen:
    return probe.ask(repositories, timeout_s=10)


def urls(*repositories: Repository) -> set[str]:
    return {one.url for one in repositories}


# --- lists of owners


def test_at_first_all_have_moved(scene: Scene) -> None:
    watched = scene.watch("acme/site", "acme/api")

    seen = ask(scene.probe(Probing.LISTING, "acme"), watched)

    assert seen.moved == seen.covered == urls(*watched)
    assert (seen.requests, seen.points) == (1, 1)
    assert set(seen.facts.values()) == {Facts(HERE, is_archived=False, is_disabled=False)}


def test_an_unchanged_list_is_free_and_covers_as_before(scene: Scene) -> None:
    watched = scene.watch("acme/site", "acme/api")
    probe = scene.probe(Probing.LISTING, "acme")
    ask(probe, watched)
    ask(probe, watched)

    seen = ask(probe, watched)

    assert scene.forge.statuses == [200, 200, 304]
    assert seen.moved == set()
    assert seen.covered == urls(*watched)
    assert (seen.requests, seen.points) == (1, 0)
    assert not any("if-modified-since" in headers for headers in scene.forge.asked)


def test_a_push_moves_its_repository_alone(scene: Scene) -> None:
    site, api = scene.watch("acme/site", "acme/api")
    probe = scene.probe(Probing.LISTING, "acme")
    ask(probe, [site, api])
    scene.push("acme/api", NOON)

    assert ask(probe, [site, api]).moved == {api.url}
    assert ask(probe, [site, api]).moved == set()


def test_names_are_found_however_they_are_spelled(scene: Scene) -> None:
    (site,) = scene.watch("acme/Site")
    site = replace(site, url=f"{scene.forge.address}/Acme/site.git")

    assert ask(scene.probe(Probing.LISTING, "Acme"), [site]).covered == set()
    scene.forge.organisations.add("Acme")
    seen = ask(scene.probe(Probing.LISTING, "acme"), [site])

    assert seen.covered == {site.url}
    assert seen.facts[site.url].moved_to == HERE


def test_the_list_is_walked_through_once_and_then_looked_at_from_above(scene: Scene) -> None:
    watched = scene.watch(*(f"acme/r{number:03}" for number in range(250)))
    probe = scene.probe(Probing.LISTING, "acme")

    first = ask(probe, watched)
    second = ask(probe, watched)

    assert first.covered == second.covered == urls(*watched)
    assert (first.requests, second.requests) == (3, 1)
    assert "per_page=30" in scene.forge.paths[-1]


def test_no_further_page_is_read_than_those_that_are_watched_need(scene: Scene) -> None:
    scene.watch(*(f"acme/r{number:03}" for number in range(250)))
    scene.push("acme/r249", NOON)
    (watched,) = scene.watch("acme/r249")

    assert ask(scene.probe(Probing.LISTING, "acme"), [watched]).requests == 1


def test_pages_are_read_until_nothing_on_them_is_new(scene: Scene) -> None:
    watched = scene.watch(*(f"acme/r{number:03}" for number in range(100)))
    probe = scene.probe(Probing.LISTING, "acme")
    scene.push("acme/r000", NOON)
    ask(probe, watched)
    for number in range(30, 70):
        scene.push(f"acme/r{number:03}", NOON + timedelta(seconds=number))

    seen = ask(probe, watched)

    assert seen.moved == urls(*watched[30:70])
    assert seen.requests == 2


def test_a_list_that_could_not_be_read_to_its_end_is_read_again(scene: Scene) -> None:
    watched = scene.watch(*(f"acme/r{number:03}" for number in range(100)))
    probe = scene.probe(Probing.LISTING, "acme")
    scene.push("acme/r000", NOON)
    ask(probe, watched)
    ask(probe, watched)
    for number in range(30, 70):
        scene.push(f"acme/r{number:03}", NOON + timedelta(seconds=number))

    def fail_on_the_second(path: str) -> None:
        if "page=2" in path:
            scene.forge.says = (500, [], b"{}")

    scene.forge.on_request = fail_on_the_second
    with pytest.raises(ForgeUnavailable):
        ask(probe, watched)
    scene.forge.on_request, scene.forge.says = (lambda _: None), None

    assert ask(probe, watched).moved == urls(*watched[30:70])


def test_a_push_within_the_second_in_which_the_list_was_read_is_not_overlooked(
    scene: Scene,
) -> None:
    site, api = scene.watch("acme/site", "acme/api")
    probe = scene.probe(Probing.LISTING, "acme")
    ask(probe, [site, api])
    scene.forge.date = NOON
    scene.push("acme/site", NOON)
    assert ask(probe, [site, api]).moved == {site.url}

    # A second push would change nothing on the list, which tells seconds.
    scene.forge.date = NOON + timedelta(seconds=15)
    seen = ask(probe, [site, api])

    assert scene.forge.statuses[-1] == 304
    assert seen.moved == {site.url}
    assert ask(probe, [site, api]).moved == set()


def test_a_renamed_repository_has_moved_and_says_where_to(scene: Scene) -> None:
    site, api = scene.watch("acme/site", "acme/api")
    probe = scene.probe(Probing.LISTING, "acme")
    ask(probe, [site, api])
    scene.forge.repositories["acme/web"] = scene.forge.repositories.pop("acme/site")
    scene.forge.numbers["acme/web"] = scene.forge.numbers.pop("acme/site")

    seen = ask(probe, [site, api])

    assert seen.moved == {site.url}
    assert seen.covered == urls(site, api)
    assert seen.facts[site.url].moved_to == f"{scene.forge.address}/acme/web"


def test_a_name_without_end_is_not_kept(scene: Scene) -> None:
    site, api = scene.watch("acme/site", "acme/api")
    probe = scene.probe(Probing.LISTING, "acme")
    ask(probe, [site, api])
    endless = "acme/" + "x" * 600
    scene.forge.repositories[endless] = scene.forge.repositories.pop("acme/site")
    scene.forge.numbers[endless] = scene.forge.numbers.pop("acme/site")

    seen = ask(probe, [site, api])

    assert seen.moved == {site.url}
    assert seen.facts[site.url].moved_to is None


def test_another_repository_under_an_old_name_is_what_is_watched(scene: Scene) -> None:
    (site,) = scene.watch("acme/site")
    probe = scene.probe(Probing.LISTING, "acme")
    ask(probe, [site])
    scene.forge.numbers["acme/old"] = scene.forge.numbers.pop("acme/site")
    scene.forge.numbers["acme/site"] = 77
    scene.forge.repositories["acme/old"] = scene.any

    seen = ask(probe, [site])

    assert seen.moved == {site.url}
    assert seen.facts[site.url].moved_to == HERE


def test_a_repository_that_vanishes_has_moved_and_is_covered_no_longer(scene: Scene) -> None:
    site, api = scene.watch("acme/site", "acme/api")
    probe = scene.probe(Probing.LISTING, "acme")
    ask(probe, [site, api])
    del scene.forge.repositories["acme/site"]

    seen = ask(probe, [site, api])

    assert seen.moved == {site.url}
    assert seen.covered == {api.url}
    assert ask(probe, [site, api]).moved == set()


def test_what_would_stand_on_a_page_that_is_not_read_has_not_vanished(scene: Scene) -> None:
    watched = scene.watch(*(f"acme/r{number:03}" for number in range(60)))
    probe = scene.probe(Probing.LISTING, "acme")
    for number in range(60):
        scene.push(f"acme/r{number:03}", NOON - timedelta(minutes=number))
    ask(probe, watched)
    del scene.forge.repositories["acme/r059"]  # far below the top
    del scene.forge.repositories["acme/r001"]  # at the top

    seen = ask(probe, watched)

    assert seen.moved == {watched[1].url}
    assert watched[59].url in seen.covered


def test_what_the_list_lacks_is_looked_for_twice_and_then_hourly(scene: Scene) -> None:
    (site,) = scene.watch("acme/site")
    (hidden,) = scene.watch("acme/hidden")
    del scene.forge.repositories["acme/hidden"]
    probe = scene.probe(Probing.LISTING, "acme")

    pages = []
    for _ in range(4):
        assert ask(probe, [site, hidden]).covered == {site.url}
        pages.append("per_page=100" in scene.forge.paths[-1])
    scene.now += github_probes.ABSENT_FOR
    scene.watch("acme/hidden")
    seen = ask(probe, [site, hidden])

    assert pages == [True, True, False, False]
    assert seen.moved == {hidden.url}
    assert seen.covered == urls(site, hidden)


def test_others_repositories_and_pull_requests_are_not_covered(scene: Scene) -> None:
    site, other = scene.watch("acme/site", "globex/site")
    (pulls,) = scene.watch("acme/pulls")
    pulls = replace(pulls, refs=RefFilter(wants_pulls=True))

    seen = ask(scene.probe(Probing.LISTING, "acme"), [site, other, pulls])

    assert seen.covered == {site.url}
    assert ask(scene.probe(Probing.LISTING, "acme"), [other]).requests == 0


def test_an_archived_repository_says_so(scene: Scene) -> None:
    site, api = scene.watch("acme/site", "acme/api")
    probe = scene.probe(Probing.LISTING, "acme")
    ask(probe, [site, api])
    scene.forge.archived.add("acme/api")

    seen = ask(probe, [site, api])

    assert seen.facts.keys() == seen.moved == {api.url}
    assert seen.facts[api.url].is_archived


def test_an_owner_that_is_no_organisation_is_a_user(scene: Scene) -> None:
    (site,) = scene.watch("ada/site")
    probe = scene.probe(Probing.LISTING, "ada")

    first = ask(probe, [site])
    second = ask(probe, [site])

    assert first.covered == second.covered == {site.url}
    assert (first.requests, second.requests) == (2, 1)
    assert [path.partition("?")[0] for path in scene.forge.paths] == [
        "/orgs/ada/repos",
        "/users/ada/repos",
        "/users/ada/repos",
    ]


def test_ones_own_private_repositories_are_found(scene: Scene) -> None:
    public, private = scene.watch("ada/site", "ada/diary")
    scene.forge.private.add("ada/diary")
    scene.forge.login = "ada"
    probe = scene.probe(Probing.LISTING, "ada")

    first = ask(probe, [public, private])
    ask(probe, [public, private])

    assert first.covered == urls(public, private)
    assert scene.forge.paths[-1].startswith("/user/repos?affiliation=owner&sort=pushed")


def test_another_users_private_repositories_are_not(scene: Scene) -> None:
    public, private = scene.watch("ada/site", "ada/diary")
    scene.forge.private.add("ada/diary")
    scene.forge.login = "bob"
    probe = scene.probe(Probing.LISTING, "ada")

    for _ in range(3):
        assert ask(probe, [public, private]).covered == {public.url}


def test_an_owner_who_is_not_there_is_denied(scene: Scene) -> None:
    scene.watch("acme/site")
    scene.forge.says = (404, [], b'{"message":"Not Found"}')

    with pytest.raises(ForgeDenied):
        ask(scene.probe(Probing.LISTING, "acme"), scene.watch("acme/site"))

    scene.forge.says = None
    assert ask(scene.probe(Probing.LISTING, "acme"), scene.watch("acme/site")).covered


@pytest.mark.parametrize(
    ("name", "owner", "count"),
    [("repositories of a user", "dstufft", 6), ("of an organisation", "github3py", 8)],
)
def test_lists_are_read_as_github_told_them(
    scene: Scene, name: str, owner: str, count: int
) -> None:
    answer: dict[str, Any] = json.loads((RECORDED / "github_lists.json").read_text())[name]
    listed = json.loads(answer["body"])
    watched = [
        Repository(one["full_name"], f"{scene.forge.address}/{one['full_name']}") for one in listed
    ]
    scene.forge.says = (200, [], answer["body"].encode())

    seen = ask(scene.probe(Probing.LISTING, owner), watched)

    assert len(seen.covered) == len(listed) == count


# --- batches


def test_one_query_tells_of_many_and_the_first_time_all_have_moved(scene: Scene) -> None:
    watched = scene.watch(*(f"acme/r{number}" for number in range(20)))
    probe = scene.probe(Probing.BATCH, "1")

    first, second = ask(probe, watched), ask(probe, watched)

    assert first.moved == first.covered == second.covered == urls(*watched)
    assert second.moved == set()
    assert (first.requests, first.points) == (1, 1)
    assert scene.forge.queries == [20, 20]


def test_whatever_differs_from_the_answer_before_has_moved(scene: Scene) -> None:
    site, api, web = scene.watch_real("acme/site", "acme/api", "acme/web")
    probe = scene.probe(Probing.BATCH, "1")
    ask(probe, [site, api, web])
    scene.forge.repositories["acme/site"].branch("next")
    scene.push("acme/api", NOON)

    assert ask(probe, [site, api, web]).moved == {site.url, api.url}
    scene.forge.repositories["acme/site"].delete("next")
    assert ask(probe, [site, api, web]).moved == {site.url}


def test_a_branch_that_goes_back_has_moved_however_the_batch_was_cut(scene: Scene) -> None:
    watched = [*scene.watch_real("acme/site"), *scene.watch(*(f"acme/r{n}" for n in range(11)))]
    remote = scene.forge.repositories["acme/site"]
    probe = scene.probe(Probing.BATCH, "1")
    ask(probe, watched)
    remote.branch("next")
    scene.forge.most_asked = 6
    assert ask(probe, watched).moved == {watched[0].url}
    remote.delete("next")
    scene.forge.most_asked = 100
    scene.now += github_probes.SMALL_FOR

    for expected in ({watched[0].url}, set(), set()):
        assert ask(probe, watched).moved == expected
    assert set(scene.forge.queries) == {12, 6, 9, 3}


def test_the_poll_that_a_batch_wakes_asks_nobody(scene: Scene) -> None:
    (site,) = scene.watch_real("acme/site")
    site = replace(site, refs=RefFilter(branches=("*",), tags=("*",)))
    probe = scene.probe(Probing.BATCH, "1")
    ask(probe, [site])
    remote = scene.forge.repositories["acme/site"]
    remote.commit()
    remote.tag("v1", annotated=True)
    ask(probe, [site])
    asked = len(scene.forge.asked)

    reply = scene.client.list_refs(site, validator={"x": "y"}, timeout_s=5)

    assert reply.refs == remote.refs()
    assert (reply.read_by, reply.requests, reply.validator) == ("graphql", 0, {})
    assert reply.default_branch == "refs/heads/main"
    assert timedelta(0) < reply.lag < github_probes.WARM_FOR * 5
    assert len(scene.forge.asked) == asked


def test_what_a_batch_was_told_takes_nothing_back_that_was_read_since(scene: Scene) -> None:
    (site,) = scene.watch_real("acme/site")
    remote = scene.forge.repositories["acme/site"]
    probe = scene.probe(Probing.BATCH, "1")
    store = FakeStore()
    (known,) = store.sync_repositories([site], now=NOON, fence=FENCE)
    monitor = BranchMonitor(
        store=store,
        client_for=lambda _: scene.client,
        receivers={},
        now=lambda: scene.now,
        fence=FENCE,
        timeout=timedelta(seconds=5),
    )
    known = monitor.poll(site, known).watched
    ask(probe, [site])
    told = remote.commit()
    ask(probe, [site])
    read = remote.commit()
    # A poll that was under way when the batch was told of the first push finds the second.
    aside = scene.tools.just_told.take(site)
    assert aside is not None
    known = monitor.poll(site, known).watched
    scene.tools.just_told.keep(
        site.url,
        site.refs,
        {"refs/heads/main": told},
        at=time.monotonic() - aside.lag.total_seconds(),
        read_by="graphql",
    )

    finding = monitor.poll(site, known, woken=True)

    assert not finding.changed
    assert [event.after for event in store.events] == [read]
    assert monitor.poll(site, finding.watched).watched.read_by == "rest"


def test_a_branch_that_was_told_of_by_a_batch_is_noticed_when_it_goes_back(scene: Scene) -> None:
    (site,) = scene.watch_real("acme/site")
    remote = scene.forge.repositories["acme/site"]
    before = remote.refs()["refs/heads/main"]
    probe = scene.probe(Probing.BATCH, "1")
    store = FakeStore()
    (known,) = store.sync_repositories([site], now=NOON, fence=FENCE)
    monitor = BranchMonitor(
        store=store,
        client_for=lambda _: scene.client,
        receivers={},
        now=lambda: scene.now,
        fence=FENCE,
        timeout=timedelta(seconds=5),
    )
    known = monitor.poll(site, known).watched
    ask(probe, [site])
    scene.now += timedelta(seconds=15)
    pushed = remote.commit()
    ask(probe, [site])
    by_batch = monitor.poll(site, known, woken=True)
    scene.now += timedelta(seconds=15)
    remote.move({"refs/heads/main": before})

    # With the first poll's ETag GitHub would say that nothing has changed.
    monitor.poll(site, by_batch.watched)

    assert by_batch.watched.read_by == "graphql"
    assert [(event.before, event.after) for event in store.events] == [
        (before, pushed),
        (pushed, before),
    ]


def test_one_that_is_read_over_ssh_is_told_by_a_batch_too(scene: Scene) -> None:
    (site,) = scene.watch_real("acme/site")
    site = replace(site, url="ssh://git@127.0.0.1:1/acme/site.git")
    forges = Forges({"github": scene.settings}, now=lambda: NOON, connections=4)
    probe = forges.probe_for("github", Probing.BATCH, "1")
    assert probe is not None
    ask(probe, [site])
    pushed = scene.forge.repositories["acme/site"].commit()
    ask(probe, [site])

    reply = forges.client_for(site).list_refs(site, validator={}, timeout_s=5)

    assert (reply.read_by, reply.refs) == ("graphql", {"refs/heads/main": pushed})
    forges.close()


def test_the_poll_after_it_looks_for_itself(scene: Scene) -> None:
    (site,) = scene.watch_real("acme/site")
    probe = scene.probe(Probing.BATCH, "1")
    ask(probe, [site])
    scene.forge.repositories["acme/site"].commit()
    ask(probe, [site])
    scene.client.list_refs(site, validator={}, timeout_s=5)

    assert scene.client.list_refs(site, validator={}, timeout_s=5).read_by == "rest"


def test_who_waits_is_not_told_what_was_a_moment_ago(scene: Scene) -> None:
    (site,) = scene.watch_real("acme/site")
    probe = scene.probe(Probing.BATCH, "1")
    ask(probe, [site])
    scene.forge.repositories["acme/site"].commit()
    ask(probe, [site])
    scene.forge.repositories["acme/site"].commit()

    reply = scene.client.list_refs(site, validator={}, timeout_s=5, urgent=True)

    assert reply.read_by == "rest"
    assert reply.refs == scene.forge.repositories["acme/site"].refs()


def test_what_does_not_fit_on_a_page_is_noticed_and_read_by_the_poll(scene: Scene) -> None:
    (site,) = scene.watch_real("acme/site")
    remote = scene.forge.repositories["acme/site"]
    remote.branch(*(f"a/{number:03}" for number in range(120)))
    probe = scene.probe(Probing.BATCH, "1")
    ask(probe, [site])
    remote.branch("zzz")

    seen = ask(probe, [site])

    assert seen.moved == seen.covered == {site.url}
    reply = scene.client.list_refs(site, validator={}, timeout_s=10)
    assert reply.read_by == "rest"
    assert reply.refs == remote.refs()


def test_beyond_a_page_a_push_within_the_second_of_the_answer_is_not_overlooked(
    scene: Scene,
) -> None:
    (site,) = scene.watch_real("acme/site")
    scene.forge.repositories["acme/site"].branch(*(f"a/{number:03}" for number in range(120)))
    probe = scene.probe(Probing.BATCH, "1")
    scene.push("acme/site", NOON)
    scene.forge.date = NOON
    ask(probe, [site])

    scene.forge.date = NOON + timedelta(seconds=15)

    assert ask(probe, [site]).moved == {site.url}
    assert ask(probe, [site]).moved == set()


@pytest.mark.parametrize("error", ["NOT_FOUND", "FORBIDDEN", "SERVICE_UNAVAILABLE"])
def test_an_error_is_its_repositorys_alone_and_no_branch_is_deleted(
    scene: Scene, error: str
) -> None:
    site, api = scene.watch_real("acme/site", "acme/api")
    probe = scene.probe(Probing.BATCH, "1")
    ask(probe, [site, api])
    scene.forge.ailing["acme/site"] = error

    seen = ask(probe, [site, api])

    assert not seen.moved
    assert seen.covered == {api.url}
    assert scene.client.list_refs(site, validator={}, timeout_s=5).read_by == "rest"
    del scene.forge.ailing["acme/site"]
    assert ask(probe, [site, api]).moved == {site.url}


def test_a_renamed_repository_is_followed_and_says_where_to(scene: Scene) -> None:
    (site,) = scene.watch_real("acme/site")
    scene.forge.renamed["acme/site"] = "acme/web"
    scene.forge.repositories["acme/web"] = scene.forge.repositories.pop("acme/site")

    seen = ask(scene.probe(Probing.BATCH, "1"), [site])

    assert seen.covered == {site.url}
    assert seen.facts[site.url].moved_to == f"{scene.forge.address}/acme/web"


def test_a_batch_grows_while_it_is_answered(scene: Scene) -> None:
    watched = scene.watch(*(f"acme/r{number:03}" for number in range(100)))
    probe = scene.probe(Probing.BATCH, "1")

    for _ in range(3):
        assert ask(probe, watched).covered == urls(*watched)

    assert scene.forge.queries == [30, 45, 25, 67, 33, 100]


def test_a_batch_that_github_gives_up_is_asked_in_halves_and_stays_small(scene: Scene) -> None:
    watched = scene.watch(*(f"acme/r{number:03}" for number in range(20)))
    scene.forge.most_asked = 8
    probe = scene.probe(Probing.BATCH, "1")

    seen = ask(probe, watched)
    ask(probe, watched)
    scene.now += github_probes.SMALL_FOR
    ask(probe, watched)

    assert seen.covered == urls(*watched)
    assert (seen.requests, seen.points) == (6, 6)
    assert scene.forge.queries[:6] == [20, 10, 5, 5, 5, 5]
    assert scene.forge.queries[6:10] == [5, 5, 5, 5]
    assert scene.forge.queries[10:] == [5, 7, 8]


def test_a_github_that_always_gives_up_is_unavailable(scene: Scene) -> None:
    watched = scene.watch(*(f"acme/r{number:03}" for number in range(20)))
    scene.forge.most_asked = 0

    with pytest.raises(ForgeUnavailable):
        ask(scene.probe(Probing.BATCH, "1"), watched)

    assert len(scene.forge.queries) == 1 + github_probes.MOST_FAILURES


def test_a_github_that_always_tells_of_its_limits_is_unavailable(scene: Scene) -> None:
    watched = scene.watch(*(f"acme/r{number:03}" for number in range(20)))
    body = {"data": {"r0": None}, "errors": [{"type": "RESOURCE_LIMITS_EXCEEDED", "message": ""}]}
    scene.forge.says = (200, [], json.dumps(body).encode())

    with pytest.raises(ForgeUnavailable):
        ask(scene.probe(Probing.BATCH, "1"), watched)


def test_what_a_failure_cut_off_is_covered_no_longer_and_what_was_seen_is_told(
    scene: Scene,
) -> None:
    watched = scene.watch(*(f"acme/r{number:03}" for number in range(50)))
    probe = scene.probe(Probing.BATCH, "1")
    count = iter(range(10))

    def fail_on_the_second(_: str) -> None:
        if next(count) == 1:
            scene.forge.says = (500, [], b"{}")

    scene.forge.on_request = fail_on_the_second

    seen = ask(probe, watched)

    assert seen.moved == seen.covered == urls(*watched[:30])
    scene.forge.on_request, scene.forge.says = (lambda _: None), None
    assert ask(probe, watched).moved == urls(*watched[30:])


def test_what_our_own_pace_put_off_is_asked_first_the_next_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the same ones would be put off each time, and seem to be covered."""
    watched = scene.watch(*(f"acme/r{number:03}" for number in range(40)))
    probe = scene.probe(Probing.BATCH, "1")
    ask(probe, watched)
    begin = Api.call
    count = iter(range(10))

    def busy_every_second_time(self: Api, *args: Any, **more: Any) -> Call:
        if next(count) % 2:
            raise ForgeBusy("in a moment", at=NOON)
        return begin(self, *args, **more)

    monkeypatch.setattr(Api, "call", busy_every_second_time)
    monkeypatch.setattr(probe, "_size", 20)
    for one in watched:
        scene.push(one.name, NOON + timedelta(minutes=1))

    first, second = ask(probe, watched), ask(probe, watched)

    assert first.moved == urls(*watched[:20])
    assert second.moved == urls(*watched[20:])


@pytest.mark.parametrize("sort", ["RATE_LIMITED", "RATE_LIMIT"])
def test_a_spent_allowance_that_comes_as_a_success_is_kept_to(scene: Scene, sort: str) -> None:
    watched = scene.watch("acme/site")
    said = {"errors": [{"type": sort, "message": "API rate limit exceeded for user ID 7."}]}
    reset = int((NOON + timedelta(minutes=30)).timestamp())
    headers = {"Limit": 5000, "Remaining": 0, "Reset": reset, "Resource": "graphql"}
    told = [(f"X-RateLimit-{name}", str(text)) for name, text in headers.items()]
    scene.forge.says = (200, told, json.dumps(said).encode())
    probe = scene.probe(Probing.BATCH, "1")

    for _ in range(2):
        with pytest.raises(ForgeRateLimited):
            ask(probe, watched)

    assert len(scene.forge.asked) == 1
    # The REST API's allowance is another.
    scene.forge.says = None
    assert ask(scene.probe(Probing.LISTING, "acme"), watched).covered


def test_a_secondary_limit_that_comes_as_a_success_stops_all_that_asks(scene: Scene) -> None:
    watched = scene.watch("acme/site")
    words = "You have exceeded a secondary rate limit. Please wait a few minutes."
    body = json.dumps({"data": None, "errors": [{"message": words}]}).encode()
    scene.forge.says = (200, [("Retry-After", "90")], body)

    with pytest.raises(ForgeRateLimited) as caught:
        ask(scene.probe(Probing.BATCH, "1"), watched)
    with pytest.raises(ForgeRateLimited):
        ask(scene.probe(Probing.LISTING, "acme"), watched)

    assert caught.value.reset_at == NOON + timedelta(seconds=90)
    assert len(scene.forge.asked) == 1


ODD_ANSWERS = [
    "[]",
    "7",
    "{}",
    '{"data": null}',
    '{"data": 7, "errors": 8}',
    "<html>",
    "[" * 99_999,
]


@pytest.mark.parametrize("body", ODD_ANSWERS, ids=lambda body: body[:20])
def test_an_odd_answer_covers_nothing(scene: Scene, body: str) -> None:
    watched = scene.watch("acme/site")
    scene.forge.says = (200, [], body.encode())

    with pytest.raises(ForgeAnswerInvalid):
        ask(scene.probe(Probing.BATCH, "1"), watched)


def test_without_a_token_there_is_no_batch(scene: Scene) -> None:
    forge = replace(scene.settings, tokens=())

    assert PROBES["github"](forge, scene.tools, Probing.BATCH, "1") is None
    assert PROBES["github"](forge, scene.tools, Probing.NONE, "") is None
