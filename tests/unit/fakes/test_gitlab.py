"""The fake GitLab must count, keep and shut out as GitLab does; the fake Gitea must do neither."""

import base64
import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.fakes.gitlab import TOKEN, FakeGitea, FakeGitLab, MemoryForge
from tests.fakes.hosting import HEADS

BRANCHES = "/api/v4/projects/acme%2Fsite/repository/branches"


class Clock:
    """Stands still until it is moved."""

    now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gitlab(clock: Clock) -> Iterator[FakeGitLab]:
    with FakeGitLab(now=clock, limit=20) as forge:
        forge.create("acme/site", branches=3)
        yield forge


def ask(forge: MemoryForge, target: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(forge.address).netloc, timeout=10)
    own = {"PRIVATE-TOKEN": TOKEN} | {
        name.replace("_", "-"): text for name, text in headers.items()
    }
    connection.request("GET", target, headers={k: v for k, v in own.items() if v})
    reply = connection.getresponse()
    answer = (reply.status, dict(reply.getheaders()), reply.read())
    connection.close()
    return answer


def test_a_list_of_branches_is_kept_for_half_a_minute_and_one_branch_is_not(
    gitlab: FakeGitLab, clock: Clock
) -> None:
    before = ask(gitlab, BRANCHES)[2]
    pushed = gitlab.push("acme/site")
    assert ask(gitlab, BRANCHES)[2] == before
    assert json.loads(ask(gitlab, f"{BRANCHES}/main")[2])["commit"]["id"] == pushed
    clock.now_s += 30
    assert json.loads(ask(gitlab, BRANCHES)[2])[0]["commit"]["id"] == pushed


def test_an_unchanged_answer_is_counted_too_and_too_many_are_refused_in_plain_text(
    gitlab: FakeGitLab, clock: Clock
) -> None:
    tag = ask(gitlab, BRANCHES)[1]["ETag"]
    told = [ask(gitlab, BRANCHES, If_None_Match=tag) for _ in range(20)]
    assert [status for status, _, _ in told] == [304] * 19 + [429]
    assert told[18][1]["RateLimit-Remaining"] == "0"
    assert (told[19][2], int(told[19][1]["Retry-After"])) == (b"Retry later\n", 60)
    clock.now_s += 60
    assert ask(gitlab, BRANCHES)[0] == 200


def test_pages_go_on_at_a_name(gitlab: FakeGitLab) -> None:
    _, headers, body = ask(gitlab, f"{BRANCHES}?per_page=2&pagination=keyset")
    assert [one["name"] for one in json.loads(body)] == ["main", "topic-0"]
    assert "page_token=topic-0" in headers["Link"]


def test_git_sign_ins_that_fail_too_often_shut_an_address_out(
    gitlab: FakeGitLab, clock: Clock
) -> None:
    wrong = "Basic " + base64.b64encode(b"oauth2:wrong").decode()
    path = "/acme/site.git/info/refs?service=git-upload-pack"
    statuses = [ask(gitlab, path, Authorization=wrong)[0] for _ in range(31)]
    assert statuses == [401] * 30 + [403]
    right = "Basic " + base64.b64encode(f"oauth2:{TOKEN}".encode()).decode()
    assert ask(gitlab, path, Authorization=right)[0] == 403
    clock.now_s += 3601
    assert ask(gitlab, path, Authorization=right)[0] == 200


def test_a_project_that_moved_is_told_by_its_number(gitlab: FakeGitLab) -> None:
    gitlab.hosting.rename("acme/site", "acme/home")
    status, headers, _ = ask(gitlab, f"{BRANCHES}?per_page=100")
    assert (status, urlsplit(headers["Location"]).path) == (
        301,
        "/api/v4/projects/1/repository/branches",
    )


def test_the_log_of_pushes_tells_who_and_from_where_to_where(gitlab: FakeGitLab) -> None:
    after = gitlab.push("acme/site", HEADS + "topic-0")
    told = json.loads(ask(gitlab, "/api/v4/projects/1/events?action=pushed")[2])
    assert told[0]["push_data"]["commit_to"] == after
    assert told[0]["author"]["username"] == "ada"


def test_gitea_has_pages_of_fifty_and_neither_tags_nor_limits() -> None:
    with FakeGitea() as forge:
        forge.create("acme/site", branches=60)
        own = {"PRIVATE_TOKEN": "", "Authorization": f"token {TOKEN}"}
        _, headers, body = ask(forge, "/api/v1/repos/acme/site/branches?limit=100", **own)
        assert (len(json.loads(body)), headers["X-Total-Count"]) == (50, "60")
        assert "page=2" in headers["Link"]
        assert not {name.lower() for name in headers} & {"etag", "ratelimit-limit"}
        refs = ask(forge, "/api/v1/repos/acme/site/git/refs/heads?limit=1", **own)[2]
        assert len(json.loads(refs)) == 60
        forge.hosting.rename("acme/site", "acme/home")
        assert ask(forge, "/api/v1/repos/acme/site/branches", **own)[0] == 302
