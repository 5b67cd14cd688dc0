"""What is peculiar to the forges' REST APIs: pages, ETags, limits, renames, and real answers."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.details import Person, Push
from app.domain.errors import (
    ForgeAnswerInvalid,
    ForgeDenied,
    ForgeError,
    ForgeRateLimited,
    ForgeSignInRefused,
    ForgeUnavailable,
)
from app.domain.event import Event, record
from app.domain.refs import RefFilter
from app.domain.repository import Repository
from app.domain.snapshot import Change
from app.forges import commits, gitea, github, gitlab
from app.forges.client import HERE, GitClient, RefsReply
from app.forges.gitea import Gitea
from app.forges.github import GitHub
from app.forges.gitlab import GitLab
from app.transport import Transport
from tests.contract.git_clients import NAME, NOON, noon
from tests.fakes.forge import Forge
from tests.fakes.git_repository import GitRepository

RECORDED = Path(__file__).parent / "recorded"
BRANCHES = RefFilter(branches=("*",), tags=())


def recorded(name: str) -> dict[str, Any]:
    answers: dict[str, dict[str, Any]] = json.loads((RECORDED / "github.json").read_text())
    return answers[name]


class Scene:
    """A forge of one kind with one repository, and the client that reads it."""

    def __init__(self, forge: Forge, transport: Transport, root: Path) -> None:
        made: dict[str, type[GitHub | GitLab | Gitea]]
        made = {"github": GitHub, "gitlab": GitLab, "gitea": Gitea}
        self.forge = forge
        self.transport = transport
        self.remote = GitRepository.create(root / "site.git")
        self.remote.commit()
        self.now = NOON
        forge.repositories[NAME] = self.remote
        settings = forge.settings()
        self.client: GitClient = made[forge.kind](transport, settings, now=lambda: self.now)
        self.repository = Repository(
            NAME, f"{forge.address}/{NAME}", forge=forge.kind, refs=BRANCHES
        )

    def poll(self, last: RefsReply | None = None) -> RefsReply:
        validator = last.validator if last else {}
        return self.client.list_refs(self.repository, validator=validator, timeout_s=10)

    def change(self, before: str | None, after: str | None) -> Event:
        return record(
            Change("refs/heads/main", before, after),
            key=self.repository.url,
            sequence=1,
            detected_at=NOON,
        )

    def say(self, answer: dict[str, Any]) -> None:
        headers = [(name, str(text)) for name, text in answer["headers"].items()]
        self.forge.says = (answer["status"], headers, answer["body"].encode())


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = Transport()
    yield made
    made.close()


@pytest.fixture
def scene(request: pytest.FixtureRequest, transport: Transport, tmp_path: Path) -> Iterator[Scene]:
    kind = getattr(request, "param", "github")
    with Forge(kind, token="t0ken") as forge:  # noqa: S106 - a fake forge's
        yield Scene(forge, transport, tmp_path)


every_kind = pytest.mark.parametrize("scene", ["github", "gitlab", "gitea"], indirect=True)
with_etags = pytest.mark.parametrize("scene", ["github", "gitlab"], indirect=True)


def test_branches_are_read_as_github_told_them(scene: Scene) -> None:
    scene.say(recorded("branches"))

    reply = scene.poll()

    assert reply.refs is not None
    assert len(reply.refs) == 10
    assert reply.refs["refs/heads/archive-repository"] == "d248317bbf042942b8b953f6ff4c2141dcf0a20e"
    assert list(reply.validator.values()) == ['W/"0a2e99410e6fac80b87770dd0fd3a184"']


def test_refs_are_read_as_github_told_them() -> None:
    pairs = dict(github.tags(json.loads(recorded("matching refs")["body"])))

    assert pairs["refs/heads/changes"] == "1393706f1364742defbc28ba459082630ca979af"
    assert len(pairs) == 10


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("gitea-1.17-branches.json", ["refs/heads/feature/x", "refs/heads/main"]),
        ("gogs-0.11.95-branches.json", ["refs/heads/master"]),
    ],
)
def test_branches_are_read_as_gitea_and_gogs_told_them(file: str, names: list[str]) -> None:
    pairs = gitea.branches(json.loads((RECORDED / file).read_text()))

    assert [name for name, _ in pairs] == names
    assert all(len(target) == 40 for _, target in pairs)


def test_refs_are_read_as_gitea_told_them() -> None:
    items = json.loads((RECORDED / "gitea-1.17-git-refs-heads.json").read_text())

    assert dict(github.tags(items)) == dict(
        gitea.branches(json.loads((RECORDED / "gitea-1.17-branches.json").read_text()))
    )


@pytest.mark.parametrize(
    ("name", "wait"),
    [
        ("limit spent", timedelta(hours=1)),
        ("secondary limit with Retry-After", timedelta(seconds=30)),
        ("secondary limit as 429", timedelta(seconds=8)),
        ("secondary limit by its words alone", timedelta(minutes=1)),
    ],
)
def test_a_limit_says_when_to_come_back_and_is_kept_to(
    scene: Scene, name: str, wait: timedelta
) -> None:
    scene.say(recorded(name))

    with pytest.raises(ForgeRateLimited) as first:
        scene.poll()
    with pytest.raises(ForgeRateLimited) as second:
        scene.poll()

    assert first.value.reset_at == second.value.reset_at == NOON + wait
    assert len(scene.forge.asked) == 1
    scene.forge.says = None
    scene.now = NOON + wait
    assert scene.poll().refs == scene.remote.refs()


def test_a_retry_after_may_be_a_date(scene: Scene) -> None:
    answer = recorded("secondary limit as 429")
    answer["headers"]["retry-after"] = "Sun, 01 Nov 2026 12:02:00 GMT"
    scene.say(answer)

    with pytest.raises(ForgeRateLimited) as caught:
        scene.poll()

    assert caught.value.reset_at == NOON + timedelta(minutes=2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("forbidden", "Resource not accessible by integration"),
        ("not found", "no such repository"),
    ],
)
def test_a_refusal_is_this_repositorys_alone_and_stops_no_other(
    scene: Scene, name: str, words: str
) -> None:
    scene.say(recorded(name))

    with pytest.raises(ForgeDenied, match=words) as caught:
        scene.poll()

    assert "t0ken" not in str(caught.value)
    scene.forge.says = None
    assert scene.poll().refs == scene.remote.refs()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            451,
            '{"message":"Repository access blocked","block":{"reason":"dmca","html_url":"x"}}',
            r"blocked for legal reasons \(451\): Repository access blocked \(dmca\)",
        ),
        (
            403,
            '{"message":"Repository access blocked","block":{"reason":"tos"}}',
            r"access is denied \(403\): Repository access blocked \(tos\)",
        ),
        (403, '{"message":"blocked","block":7}', "access is denied"),
        (410, '{"message":"Gone"}', r"the repository is gone \(410\)"),
    ],
)
def test_a_repository_that_is_shut_says_why(
    scene: Scene, status: int, body: str, words: str
) -> None:
    scene.forge.says = (status, [], body.encode())

    with pytest.raises(ForgeDenied, match=words):
        scene.poll()


def test_a_refused_sign_in_is_tried_once_and_once_more_a_quarter_of_an_hour_later(
    scene: Scene,
) -> None:
    scene.say(recorded("bad credentials"))

    for _ in range(3):
        with pytest.raises(ForgeSignInRefused, match="Bad credentials") as caught:
            scene.poll()

    assert len(scene.forge.asked) == 1
    assert "t0ken" not in str(caught.value)
    scene.forge.says = None
    scene.now = NOON + timedelta(minutes=15)
    assert scene.poll().refs == scene.remote.refs()


@every_kind
def test_a_renamed_repository_is_followed_with_the_token(scene: Scene) -> None:
    scene.forge.renamed[NAME] = "acme/new-site"
    scene.forge.repositories["acme/new-site"] = scene.forge.repositories.pop(NAME)

    first = scene.poll()
    second = scene.poll()

    assert first.refs == second.refs == scene.remote.refs()
    assert first.moved_to == second.moved_to == f"{scene.forge.address}/acme/new-site"
    # Where the forge tells a number only, its name is asked for once.
    assert first.requests == (2 if scene.forge.kind == "gitea" else 3)
    assert second.requests == 2


@every_kind
def test_one_that_is_read_by_its_own_name_is_told_to_be_there(scene: Scene) -> None:
    first = scene.poll()

    assert first.moved_to == scene.poll(first).moved_to == HERE


def test_a_rename_to_another_host_is_not_followed(scene: Scene) -> None:
    scene.say(recorded("renamed"))

    with pytest.raises(ForgeAnswerInvalid, match=r"another host, api\.github\.com"):
        scene.poll()


def test_the_next_page_is_not_read_from_another_host(scene: Scene) -> None:
    answer = recorded("branches")
    answer["headers"]["link"] = '<https://evil.example.com/?page=2>; rel="next"'
    scene.say(answer)

    with pytest.raises(ForgeAnswerInvalid, match=r"another host, evil\.example\.com"):
        scene.poll()


@pytest.mark.parametrize("there", ["https://[::1", "https://[x]/", "//"])
def test_a_next_page_at_what_is_no_address_is_an_odd_answer(scene: Scene, there: str) -> None:
    answer = recorded("branches")
    answer["headers"]["link"] = f'<{there}>; rel="next"'
    scene.say(answer)

    with pytest.raises(ForgeAnswerInvalid):
        scene.poll()


def test_a_name_that_is_no_text_is_kept_apart_from_others(scene: Scene) -> None:
    body = json.dumps(
        [{"name": name, "commit": {"sha": "1" * 40}} for name in ("\ud800", "\udc00", "main")]
    )
    scene.say({"status": 200, "headers": {}, "body": body})

    refs = scene.poll().refs

    assert refs is not None
    assert len(refs) == 3
    assert all(name.encode() for name in refs)


def test_pages_that_go_in_a_circle_are_given_up(scene: Scene) -> None:
    answer = recorded("branches")
    answer["headers"]["link"] = f'<{scene.forge.address}/repos/{NAME}/x>; rel="next"'
    scene.say(answer)

    with pytest.raises(ForgeAnswerInvalid, match="no end"):
        scene.poll()


ODD_ANSWERS = {
    "object": "{}",
    "no id": '[{"name": "main"}]',
    "id that is none": '[{"name": "main", "commit": {"sha": "no id"}}]',
    "numbers": "[7]",
    "lists": "[[]]",
    "name that is none": '[{"name": 7, "commit": {"sha": 8}}]',
    "page": "<html>",
    "nested too deep": "[" * 100_000,
}


@pytest.mark.parametrize("body", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
def test_json_of_another_shape_is_no_list_of_refs(scene: Scene, body: str) -> None:
    scene.say({"status": 200, "headers": {}, "body": body})

    with pytest.raises(ForgeAnswerInvalid):
        scene.poll()


@with_etags
def test_an_unchanged_list_is_asked_for_by_its_etag_and_never_by_its_date(scene: Scene) -> None:
    first = scene.poll()

    second = scene.poll(first)

    assert second.refs is None
    assert scene.forge.statuses == [200, 304]
    assert scene.forge.asked[1]["if-none-match"] in first.validator.values()
    assert scene.forge.asked[1]["if-none-match"].startswith("W/")
    assert not any("if-modified-since" in headers for headers in scene.forge.asked)


def test_an_unchanged_list_costs_nothing_of_githubs_allowance(scene: Scene) -> None:
    first = scene.poll()
    before = scene.forge.remaining

    for _ in range(3):
        scene.poll(first)

    assert scene.forge.remaining == before


@with_etags
def test_a_branch_beyond_a_full_page_is_found(scene: Scene) -> None:
    scene.remote.branch(*(f"a/{number:02}" for number in range(99)))
    first = scene.poll()

    # It sorts last, so it changes nothing on the page that is there.
    scene.remote.branch("zzz")
    second = scene.poll(first)

    assert len(first.refs or {}) == 100
    assert second.refs == scene.remote.refs()


@every_kind
def test_a_branch_deleted_between_two_pages_makes_no_other_look_deleted(scene: Scene) -> None:
    scene.remote.branch(*(f"a/{number:03}" for number in range(250)))

    def delete_once(path: str) -> None:
        if "page=2" in path or "page_token" in path:
            scene.forge.on_request = lambda _: None
            scene.remote.delete("a/000")

    scene.forge.on_request = delete_once

    reply = scene.poll()

    missing = scene.remote.refs().keys() - (reply.refs or {}).keys()
    assert missing == set()
    assert "refs/heads/a/000" not in scene.remote.refs()


def test_a_list_that_never_stands_still_is_an_error_and_no_deletion(scene: Scene) -> None:
    scene.remote.branch(*(f"a/{number:03}" for number in range(150)))
    numbers = iter(range(100))
    scene.forge.on_request = lambda path: (
        scene.remote.delete(f"a/{next(numbers):03}") if "page=2" in path else None
    )

    with pytest.raises(ForgeUnavailable, match="changed each time"):
        scene.poll()


@every_kind
def test_only_what_the_patterns_want_is_asked_for(scene: Scene) -> None:
    scene.poll()

    assert not any("tags" in path for path in scene.forge.paths)


@with_etags
def test_other_patterns_are_a_new_question(scene: Scene) -> None:
    first = scene.poll()
    scene.repository = replace(scene.repository, refs=RefFilter(branches=("main",), tags=()))

    assert scene.poll(first).refs == scene.remote.refs()


@with_etags
def test_a_new_tag_is_told_with_the_branches_that_did_not_change(scene: Scene) -> None:
    scene.repository = replace(scene.repository, refs=RefFilter(branches=("*",), tags=("*",)))
    first = scene.poll()
    scene.remote.tag("v1", annotated=True)

    scene.now += github.TAGS_EVERY
    second = scene.poll(first)
    scene.now += github.TAGS_EVERY
    third = scene.poll(second)

    assert second.refs == scene.remote.refs()
    assert third.refs is None


@with_etags
def test_our_share_of_the_allowance_is_kept_to_before_asking(scene: Scene) -> None:
    scene.forge.remaining, scene.forge.reset_s = 1001, int((NOON + timedelta(hours=1)).timestamp())
    scene.poll()

    with pytest.raises(ForgeRateLimited, match="1000 of 5000 remain") as caught:
        scene.poll()

    assert caught.value.reset_at == datetime(2026, 11, 1, 13, tzinfo=UTC)
    assert len(scene.forge.asked) == 1
    scene.now = NOON + timedelta(hours=1)
    assert scene.poll().refs is not None


@every_kind
def test_each_forge_gets_its_token_in_its_own_way(scene: Scene) -> None:
    scene.poll()

    spelled = {
        "github": ("authorization", "Bearer t0ken"),
        "gitlab": ("private-token", "t0ken"),
        "gitea": ("authorization", "token t0ken"),
    }
    name, text = spelled[scene.forge.kind]
    assert scene.forge.asked[0][name] == text


@pytest.mark.parametrize("path", ["acme", "acme/site/tree"])
def test_what_is_no_repository_of_the_forge_is_denied_unasked(scene: Scene, path: str) -> None:
    scene.repository = replace(scene.repository, url=f"{scene.forge.address}/{path}")

    with pytest.raises(ForgeDenied, match="owner/name"):
        scene.poll()

    assert scene.forge.asked == []


@pytest.mark.parametrize("scene", ["gitlab"], indirect=True)
def test_groups_within_groups_are_one_encoded_part_of_the_path(scene: Scene) -> None:
    scene.forge.repositories["acme/web/site"] = scene.forge.repositories.pop(NAME)
    scene.repository = replace(scene.repository, url=f"{scene.forge.address}/acme/web/site.git")

    assert scene.poll().refs == scene.remote.refs()
    assert scene.forge.paths[0].startswith("/api/v4/projects/acme%2Fweb%2Fsite/repository/branches")


def test_a_comparison_is_read_as_github_told_it(scene: Scene) -> None:
    answer = recorded("compare")
    before, after = answer["request"].rpartition("/")[2].split("...")
    scene.say(answer)

    told = scene.client.describe(scene.repository, change=scene.change(before, after), timeout_s=5)

    assert told is not None
    assert (told.total, told.forced) == (1, False)
    (commit,) = told.commits
    assert (commit.id, commit.message, commit.author.username) == (
        "76dcc6cb4b9860034be81b7e58adc286a115aa97",
        "Fix docs",
        "sigmavirus24",
    )
    assert commit.committed_at == datetime(2012, 12, 3, 1, 14, 19, tzinfo=UTC)
    assert (commit.added, commit.modified) == ((), ("docs/api.rst", "github3/api.py"))


@every_kind
def test_a_change_is_described_in_one_request_without_a_page(scene: Scene) -> None:
    before, after = scene.remote.commit(), scene.remote.commit()
    change = scene.change(before, after)

    told = scene.client.describe(scene.repository, change=change, timeout_s=5)

    assert told is not None
    assert len(scene.forge.paths) == 1
    assert "/compare" in scene.forge.paths[0]
    # GitHub's last commit is the newest one only where no page is asked for.
    assert "page" not in scene.forge.paths[0]


def test_accounts_are_told_where_github_knows_them(scene: Scene) -> None:
    before, after = scene.remote.commit(), scene.remote.commit()
    told = scene.client.describe(scene.repository, change=scene.change(before, after), timeout_s=5)
    assert told is not None
    commit = told.commits[0]

    assert (commit.author.username, commit.url) == ("ada", f"{scene.forge.address}/commit/{after}")
    assert commit.tree_id == scene.remote.git("rev-parse", f"{after}^{{tree}}")


def test_a_renamed_file_is_removed_and_added(scene: Scene) -> None:
    before = scene.remote.commit(files={"old": "the same content, long enough\n"})
    after = scene.remote.commit(files={"new": "the same content, long enough\n"})

    told = scene.client.describe(scene.repository, change=scene.change(before, after), timeout_s=5)

    assert told is not None
    assert (told.commits[-1].added, told.commits[-1].removed) == (("new",), ("old",))


@pytest.mark.parametrize("scene", ["github", "gitlab"], indirect=True)
def test_a_list_of_files_that_may_be_cut_is_not_told(scene: Scene) -> None:
    before = scene.remote.commit()
    # One blob for all, and quickly.
    blob = scene.remote.git("hash-object", "-w", "--stdin", stdin="x")
    entries = "".join(f"100644 blob {blob}\tf{number:03}\n" for number in range(320))
    tree = scene.remote.git("mktree", stdin=entries)
    after = scene.remote.git("commit-tree", "-p", before, tree, stdin="Many")
    scene.remote.move({"refs/heads/main": after})

    told = scene.client.describe(scene.repository, change=scene.change(before, after), timeout_s=5)

    assert told is not None
    assert told.commits[-1].added is None


@pytest.mark.parametrize("scene", ["github", "gitlab"], indirect=True)
def test_a_spent_allowance_describes_nothing_and_asks_nothing(scene: Scene) -> None:
    before, after = scene.remote.commit(), scene.remote.commit()
    scene.forge.remaining, scene.forge.reset_s = 1001, int((NOON + timedelta(hours=1)).timestamp())
    scene.poll()
    asked = len(scene.forge.asked)

    told = scene.client.describe(scene.repository, change=scene.change(before, after), timeout_s=5)

    assert told is None
    assert len(scene.forge.asked) == asked


@pytest.mark.parametrize("scene", ["gitea"], indirect=True)
def test_a_gitea_that_cannot_compare_tells_the_newest_commit(scene: Scene) -> None:
    before, between, after = (scene.remote.commit() for _ in range(3))
    scene.forge.compares = False

    far = scene.client.describe(scene.repository, change=scene.change(before, after), timeout_s=5)
    near = scene.client.describe(scene.repository, change=scene.change(between, after), timeout_s=5)

    assert far is not None
    assert near is not None
    assert [one.id for one in (*far.commits, *near.commits)] == [after, after]
    assert (far.forced, near.forced, far.total) == (None, False, None)


@every_kind
@pytest.mark.parametrize("body", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
def test_an_odd_answer_describes_nothing(scene: Scene, body: str) -> None:
    scene.say({"status": 200, "headers": {}, "body": body})

    told = [
        scene.client.describe(scene.repository, change=change, timeout_s=5)
        for change in (scene.change("a" * 40, "b" * 40), scene.change(None, "b" * 40))
    ]

    assert told == [None, None]


@every_kind
def test_a_description_of_megabytes_is_dropped(scene: Scene) -> None:
    body = json.dumps({"files": [{"patch": "x" * commits.LIMIT_BYTES}]})
    scene.say({"status": 200, "headers": {}, "body": body})

    change = scene.change("a" * 40, "b" * 40)

    assert scene.client.describe(scene.repository, change=change, timeout_s=5) is None


@every_kind
def test_texts_that_no_database_takes_are_told_without_what_is_odd_in_them(scene: Scene) -> None:
    after = scene.remote.commit()
    change = scene.change(None, after)
    whole = scene.client.describe(scene.repository, change=change, timeout_s=5)
    assert whole is not None
    scene.forge.token = None
    _, _, body = scene.forge.respond(scene.forge.paths[-1], {})
    odd = body.replace(b'"A change"', b'"A\\u0000 \\ud800 change"')
    assert odd != body
    scene.say({"status": 200, "headers": {}, "body": odd.decode()})

    told = scene.client.describe(scene.repository, change=change, timeout_s=5)

    assert told is not None
    assert told.commits[0].message == "A ? change"


def test_a_second_token_takes_over_when_the_first_is_spent(
    scene: Scene, transport: Transport
) -> None:
    settings = scene.forge.settings()
    settings = replace(settings, tokens=(*settings.tokens, *settings.tokens))
    client = GitHub(transport, settings, now=noon)
    scene.say(recorded("limit spent"))

    for _ in range(2):
        with pytest.raises(ForgeError):
            client.list_refs(scene.repository, validator={}, timeout_s=5)
    with pytest.raises(ForgeRateLimited):
        client.list_refs(scene.repository, validator={}, timeout_s=5)

    assert len(scene.forge.asked) == 2  # one with each token, then none


# --- one branch alone


alone = pytest.mark.parametrize("scene", ["github", "gitlab"], indirect=True)


def watch_one(scene: Scene, *names: str) -> None:
    scene.repository = replace(scene.repository, refs=RefFilter(branches=names, tags=()))


@alone
def test_one_branch_is_asked_for_alone_and_unchanged_by_its_own_tag(scene: Scene) -> None:
    watch_one(scene, "main")
    scene.remote.branch("next")

    first = scene.poll()
    second = scene.poll(first)

    assert first.refs == {"refs/heads/main": scene.remote.refs()["refs/heads/main"]}
    assert second.refs is None
    assert scene.forge.statuses == [200, 304]
    assert (first.requests, second.requests, second.read_by) == (1, 1, "rest")
    assert second.validator == first.validator


def test_githubs_one_branch_is_told_by_nothing_but_its_commit(scene: Scene) -> None:
    watch_one(scene, "main")

    reply = scene.poll(scene.poll())

    sha = scene.remote.refs()["refs/heads/main"]
    assert scene.forge.paths[0] == f"/repos/{NAME}/commits/heads/main"
    assert scene.forge.asked[0]["accept"] == "application/vnd.github.sha"
    assert scene.forge.asked[1]["if-none-match"] == f'"{sha}"'
    assert reply.refs is None


@alone
def test_a_push_to_the_one_branch_is_told(scene: Scene) -> None:
    watch_one(scene, "main")
    first = scene.poll()
    pushed = scene.remote.commit()

    assert scene.poll(first).refs == {"refs/heads/main": pushed}


@alone
def test_the_one_branch_that_is_deleted_is_told_by_the_list(scene: Scene) -> None:
    watch_one(scene, "release/1#2")
    scene.remote.branch("release/1#2")
    first = scene.poll()
    scene.remote.delete("release/1#2")

    deleted = scene.poll(first)
    still = scene.poll(deleted)
    scene.remote.branch("release/1#2")
    again = scene.poll(still)

    assert "refs/heads/release/1#2" in (first.refs or {})
    assert deleted.refs == {"refs/heads/main": scene.remote.refs()["refs/heads/main"]}
    assert (deleted.requests, still.requests) == (2, 1)  # the list's own tag tells the rest
    assert still.refs is None
    assert again.refs == scene.remote.refs()
    assert scene.poll(again).requests == 1


@alone
def test_an_empty_repository_has_no_branch_and_a_vanished_one_is_denied(scene: Scene) -> None:
    watch_one(scene, "main")
    scene.remote.delete("main")

    assert scene.poll().refs == {}
    del scene.forge.repositories[NAME]
    with pytest.raises(ForgeDenied, match="no such repository"):
        scene.poll()


@alone
@pytest.mark.parametrize("names", [("ma*",), ("main", "!x"), ("/main/",)])
def test_patterns_are_asked_of_the_list(scene: Scene, names: tuple[str, ...]) -> None:
    watch_one(scene, *names)
    scene.poll()

    assert "/branches?" in scene.forge.paths[0]


@pytest.mark.parametrize("scene", ["gitlab"], indirect=True)
def test_a_few_branches_of_gitlab_are_read_one_by_one_since_they_are_not_kept(
    scene: Scene,
) -> None:
    watch_one(scene, "main", "next")
    scene.remote.branch("next", "other")
    first = scene.poll()
    unchanged = scene.poll(first)
    pushed = scene.remote.commit("next")

    second = scene.poll(first)

    main = scene.remote.refs()["refs/heads/main"]
    assert first.refs == {"refs/heads/main": main, "refs/heads/next": main}
    assert unchanged.refs is None
    assert second.refs == {"refs/heads/main": main, "refs/heads/next": pushed}
    assert first.lag == second.lag == timedelta(0)
    assert second.default_branch == "refs/heads/main"


@pytest.mark.parametrize("scene", ["gitlab"], indirect=True)
def test_gitlabs_list_may_be_as_old_as_it_keeps_it(scene: Scene) -> None:
    assert scene.poll().lag == gitlab.LAG


def test_one_branch_is_read_as_github_told_it(scene: Scene) -> None:
    watch_one(scene, "develop")
    answers = json.loads((RECORDED / "github_lists.json").read_text())
    scene.say(answers["one branch"])

    first = scene.poll()
    scene.say(answers["one branch, unchanged"])

    assert first.refs == {"refs/heads/develop": "977560f205a84449522988b52e196f4bf502f79a"}
    assert scene.poll(first).refs is None


@pytest.mark.parametrize("body", ["", "x" * 40, "a" * 39, "a" * 65, "a" * 100_000, "\xff" * 40])
def test_one_branch_that_points_at_no_id_is_an_odd_answer(scene: Scene, body: str) -> None:
    watch_one(scene, "main")
    scene.forge.says = (200, [], body.encode("latin-1"))

    with pytest.raises(ForgeAnswerInvalid):
        scene.poll()


# --- tags, which GitHub wants to be asked for seldom


def test_tags_are_not_asked_for_again_within_githubs_interval(scene: Scene) -> None:
    scene.repository = replace(scene.repository, refs=RefFilter(branches=("*",), tags=("*",)))
    scene.remote.tag("v1")
    first = scene.poll()
    former = scene.remote.refs()
    scene.remote.tag("v2")
    scene.now += timedelta(seconds=60)

    still = scene.poll(first)
    pushed = scene.remote.commit()
    second = scene.poll(still)

    assert still.refs is None
    assert second.refs == former | {"refs/heads/main": pushed}
    # Whoever read the tags since then knows better.
    assert still.lag == second.lag == timedelta(seconds=60)
    assert sum("matching-refs" in path for path in scene.forge.paths) == 1
    scene.now += github.TAGS_EVERY
    assert scene.poll(second).refs == scene.remote.refs()


def test_tags_that_nobody_remembers_are_asked_for(scene: Scene) -> None:
    scene.repository = replace(scene.repository, refs=RefFilter(branches=("*",), tags=("*",)))
    scene.remote.tag("v1")
    first = scene.poll()
    scene.client = GitHub(scene.transport, scene.forge.settings(), now=lambda: scene.now)

    unchanged = scene.poll(first)
    scene.remote.commit()

    assert unchanged.refs is None
    assert scene.poll(unchanged).refs == scene.remote.refs()


def test_tags_that_were_told_and_not_written_down_are_asked_for(scene: Scene) -> None:
    """The ETag that is still kept would say that nothing changed, were such a tag to go again."""
    scene.repository = replace(scene.repository, refs=RefFilter(branches=("*",), tags=("*",)))
    scene.remote.tag("v1")
    first = scene.poll()
    scene.remote.tag("v2")
    scene.now += github.TAGS_EVERY
    scene.poll(first)  # and the database does not answer

    scene.now += timedelta(seconds=30)
    scene.remote.commit()
    written = scene.poll(first)
    scene.remote.delete("refs/tags/v2")
    scene.now += github.TAGS_EVERY

    assert "refs/tags/v2" in (written.refs or {})
    assert scene.poll(written).refs == scene.remote.refs()


def test_a_tag_that_came_and_went_unwritten_is_not_told_of(scene: Scene) -> None:
    scene.repository = replace(scene.repository, refs=RefFilter(branches=("*",), tags=("*",)))
    scene.remote.tag("v1")
    first = scene.poll()
    scene.remote.tag("v2")
    scene.now += github.TAGS_EVERY
    scene.poll(first)  # and the database does not answer
    scene.remote.delete("refs/tags/v2")
    scene.now += github.TAGS_EVERY
    unchanged = scene.poll(first)

    scene.remote.commit()

    assert unchanged.refs is None
    assert scene.poll(unchanged).refs == scene.remote.refs()


# --- logs of pushes


def pushes(scene: Scene, since: datetime) -> tuple[Push, ...] | None:
    return scene.client.pushes(scene.repository, since=since, timeout_s=5)


def github_push(number: int, at: datetime, sort: str = "push", **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "ref": "refs/heads/main",
        "before": f"{number - 1:040x}",
        "after": f"{number:040x}",
        "timestamp": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "activity_type": sort,
        "actor": {"login": "ada", "id": 7},
    } | more


def test_githubs_log_tells_each_push_since_then_the_oldest_first(scene: Scene) -> None:
    scene.forge.logs[NAME] = [
        github_push(4, NOON, "force_push"),
        github_push(3, NOON - timedelta(seconds=5), "pr_merge", actor=None),
        github_push(2, NOON - timedelta(seconds=10)),
        github_push(1, NOON - timedelta(seconds=20)),
    ]

    told = pushes(scene, NOON - timedelta(seconds=9.5))

    assert told is not None
    assert [one.after[-1] for one in told] == ["2", "3", "4"]
    assert [one.forced for one in told] == [False, False, True]
    assert [one.pusher and one.pusher.username for one in told] == ["ada", None, "ada"]
    assert told[0].at == NOON - timedelta(seconds=10)
    assert scene.forge.paths == [f"/repos/{NAME}/activity?per_page=100&time_period=day"]


def test_githubs_log_is_read_two_pages_far(scene: Scene) -> None:
    scene.forge.logs[NAME] = [
        github_push(n, NOON - timedelta(seconds=1000 - n)) for n in range(500, 0, -1)
    ]

    told = pushes(scene, NOON - timedelta(days=3))

    assert told is not None
    assert len(told) == 200
    assert [int(one.after, 16) for one in told] == list(range(301, 501))
    assert [path.partition("period=")[2][:4] for path in scene.forge.paths] == ["week", "week"]


def test_a_log_that_is_not_there_is_not_asked_for_again_soon(scene: Scene) -> None:
    scene.forge.says = (404, [], b'{"message":"Not Found"}')

    assert [pushes(scene, NOON), pushes(scene, NOON)] == [None, None]
    assert len(scene.forge.asked) == 1
    scene.now += github.NO_LOG_FOR
    scene.forge.says = None
    assert pushes(scene, NOON) == ()


def event(number: int, at: datetime, action: str = "pushed", **more: Any) -> dict[str, Any]:
    data = {
        "action": action,
        "ref_type": "branch",
        "ref": "main",
        "ref_count": None,
        "commit_from": None if action == "created" else f"{number - 1:040x}",
        "commit_to": None if action == "removed" else f"{number:040x}",
    }
    return {
        "id": number,
        "created_at": f"{at:%Y-%m-%dT%H:%M:%S}.123Z",
        "author": {"name": "Ada Lovelace", "username": "ada"},
        "author_username": "ada",
        "push_data": data | more,
    }


@pytest.mark.parametrize("scene", ["gitlab"], indirect=True)
def test_gitlabs_events_tell_each_push_since_then_the_oldest_first(scene: Scene) -> None:
    scene.forge.logs[NAME] = [
        event(6, NOON, ref=None, ref_count=9, commit_from=None, commit_to=None),
        event(5, NOON, "removed"),
        event(4, NOON - timedelta(seconds=1), "created", ref_type="tag", ref="v1"),
        event(3, NOON - timedelta(seconds=2)),
        event(3, NOON - timedelta(seconds=2)),
        event(2, NOON - timedelta(hours=2)),
    ]

    told = pushes(scene, NOON - timedelta(minutes=1))

    assert told is not None
    assert [(one.ref, int(one.before, 16), int(one.after, 16)) for one in told] == [
        ("refs/heads/main", 2, 3),
        ("refs/tags/v1", 0, 4),
        ("refs/heads/main", 4, 0),
    ]
    assert all(len(one.before) == len(one.after) == 40 for one in told)
    assert {(one.forced, one.pusher) for one in told} == {(None, Person("Ada Lovelace", "", "ada"))}
    (path,) = scene.forge.paths
    assert path.startswith("/api/v4/projects/acme%2Fsite/events?action=pushed&after=2026-10-30")


@alone
@pytest.mark.parametrize("body", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
def test_an_odd_log_tells_nothing(scene: Scene, body: str) -> None:
    scene.say({"status": 200, "headers": {}, "body": body})

    assert not pushes(scene, NOON)
