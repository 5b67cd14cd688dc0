"""What is peculiar to the forges' REST APIs: pages, ETags, limits, renames, and real answers."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

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
from app.forges import commits, gitea, github
from app.forges.client import GitClient, RefsReply
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

    reply = scene.poll()

    assert reply.refs == scene.remote.refs()
    assert reply.requests == 2


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
