"""The fake GitHub must count, refuse and answer as GitHub says it does."""

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fakes.github import AT_ONCE, TOKEN, FakeGitHub
from tests.fakes.hosting import HEADS, MAIN

SITE = "/repos/acme/site"


class Asker:
    """Asks over one kept connection; its time stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0
        self.forge = FakeGitHub(now=lambda: self.now_s)
        self.forge.create("acme/site")

    def ask(
        self, target: str, *, token: str | None = TOKEN, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        own = {"User-Agent": "a test"} | {k.replace("_", "-"): v for k, v in headers.items()}
        if token:
            own["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection(urlsplit(self.forge.address).netloc, timeout=10)
        sent = json.dumps(body) if body is not None else None
        connection.request("POST" if body is not None else "GET", target, sent, own)
        reply = connection.getresponse()
        answer = (reply.status, dict(reply.getheaders()), reply.read())
        connection.close()
        return answer

    def query(self, text: str) -> tuple[int, Any]:
        status, _, body = self.ask("/graphql", body={"query": text})
        return status, json.loads(body)


@pytest.fixture
def asker() -> Iterator[Asker]:
    made = Asker()
    with made.forge:
        yield made


def test_an_unchanged_answer_is_free_and_tells_its_tag_without_the_mark_of_weakness(
    asker: Asker,
) -> None:
    status, first, _ = asker.ask(f"{SITE}/branches")
    again, headers, body = asker.ask(f"{SITE}/branches", If_None_Match=first["ETag"])
    assert (status, again, body) == (200, 304, b"")
    assert first["ETag"] == f"W/{headers['ETag']}"
    assert first["X-RateLimit-Remaining"] == headers["X-RateLimit-Remaining"] == "4999"


def test_an_unchanged_answer_costs_who_is_not_signed_in(asker: Asker) -> None:
    _, first, _ = asker.ask(f"{SITE}/branches", token=None)
    status, headers, _ = asker.ask(f"{SITE}/branches", token=None, If_None_Match=first["ETag"])
    assert (status, headers["X-RateLimit-Remaining"]) == (304, "58")


def test_a_push_changes_the_tag(asker: Asker) -> None:
    _, first, _ = asker.ask(f"{SITE}/branches")
    after = asker.forge.push("acme/site")
    status, _, body = asker.ask(f"{SITE}/branches", If_None_Match=first["ETag"])
    assert (status, json.loads(body)[0]["commit"]["sha"]) == (200, after)


def test_the_form_of_one_branch_has_its_commit_for_a_tag(asker: Asker) -> None:
    sort = "application/vnd.github.sha"
    _, headers, body = asker.ask(f"{SITE}/commits/heads%2Fmain", Accept=sort)
    assert headers["ETag"] == f'"{body.decode()}"'
    tag = headers["ETag"]
    assert asker.ask(f"{SITE}/commits/heads%2Fmain", Accept=sort, If_None_Match=tag)[0] == 304


def test_pages_are_told_by_the_repository_s_number(asker: Asker) -> None:
    refs: dict[str, str | None] = {
        f"{HEADS}b{n:03}": asker.forge.hosting.get("acme/site").now.refs[MAIN] for n in range(150)
    }
    asker.forge.move("acme/site", refs)
    _, headers, body = asker.ask(f"{SITE}/branches?per_page=200")
    assert len(json.loads(body)) == 100
    assert '/repositories/1/branches?per_page=200&page=2>; rel="next"' in headers["Link"]


def test_matching_refs_are_told_all_at_once_and_ask_for_long_pauses(asker: Asker) -> None:
    _, headers, body = asker.ask(f"{SITE}/git/matching-refs/heads?per_page=1")
    assert headers["X-Poll-Interval"] == "300"
    assert len(json.loads(body)) == 1
    assert "X-Poll-Interval" not in asker.ask(f"{SITE}/branches")[1]


def test_a_spent_allowance_is_refused_until_it_is_new(asker: Asker) -> None:
    asker.forge.exhaust(for_s=100)
    status, headers, _ = asker.ask(f"{SITE}/branches")
    assert (status, headers["X-RateLimit-Remaining"]) == (403, "0")
    assert "Retry-After" not in headers
    asker.now_s += 101
    assert asker.ask(f"{SITE}/branches")[0] == 200


def test_more_than_the_minute_allows_is_refused_and_asking_on_makes_it_worse(
    asker: Asker,
) -> None:
    minute = asker.forge.accounts[TOKEN].rest_minute
    assert minute.limit == 900
    minute.limit = 50
    _, first, _ = asker.ask(f"{SITE}/branches")
    tag = first["ETag"]
    statuses = [asker.ask(f"{SITE}/branches", If_None_Match=tag)[0] for _ in range(49)]
    assert set(statuses) == {304}
    status, headers, body = asker.ask(f"{SITE}/branches", If_None_Match=tag)
    assert (status, int(headers["Retry-After"])) == (403, 60)
    assert b"secondary rate limit" in body
    asker.now_s += 59
    waits = [int(asker.ask(f"{SITE}/branches")[1]["Retry-After"]) for _ in range(30)]
    assert waits[0] == 1
    assert waits[-1] > 60
    counted = asker.forge.report()["accounts"]["token 1"]
    assert counted["refused"] == {"secondary limit": 1, "shut out": 30}
    assert counted["core"]["used"] == 1


def test_how_long_to_wait_can_be_told_as_a_date(asker: Asker) -> None:
    asker.forge.behave(retry_form="date")
    asker.forge.ban(for_s=60)
    assert asker.ask(f"{SITE}/branches")[1]["Retry-After"].endswith("GMT")


def test_too_many_at_once_are_refused(asker: Asker) -> None:
    asker.forge.accounts[TOKEN].ledger.at_once = AT_ONCE
    assert asker.ask(f"{SITE}/branches")[0] == 403


def test_a_wrong_token_is_refused_and_counted(asker: Asker) -> None:
    asker.forge.revoke()
    assert asker.ask(f"{SITE}/branches")[0] == 401
    assert asker.forge.report()["sign_ins_failed"] == 1
    for _ in range(29):
        asker.ask(f"{SITE}/branches")
    assert asker.ask(f"{SITE}/branches")[0] == 403


def test_a_renamed_repository_is_told_by_its_number(asker: Asker) -> None:
    asker.forge.rename("acme/site", "acme/home")
    status, headers, _ = asker.ask(f"{SITE}/branches?per_page=100")
    assert status == 301
    assert headers["Location"].endswith("/repositories/1/branches?per_page=100")
    assert asker.ask(urlsplit(headers["Location"]).path)[0] == 200


def test_absent_blocked_and_empty_repositories_are_told_apart(asker: Asker) -> None:
    asker.forge.create("acme/empty", branches=0)
    asker.forge.create("acme/blocked")
    asker.forge.change("acme/blocked", state="blocked")
    assert asker.ask("/repos/acme/none/branches")[0] == 404
    assert asker.ask("/repos/acme/blocked/branches")[0] == 451
    assert asker.ask("/repos/acme/empty/branches")[2] == b"[]"
    assert asker.ask("/repos/acme/empty/git/matching-refs/heads")[0] == 409


def test_what_a_token_may_not_read_looks_absent_and_its_allowance_is_left(asker: Asker) -> None:
    asker.forge.change("acme/site", is_private=True)
    asker.forge.downgrade(["acme"])
    assert asker.ask(f"{SITE}/branches")[0] == 404
    asker.forge.downgrade(["acme"], status=403)
    status, headers, _ = asker.ask(f"{SITE}/branches")
    assert (status, headers["X-RateLimit-Remaining"]) == (403, "4998")


def test_an_owner_s_list_shows_the_newest_push_first(asker: Asker) -> None:
    asker.forge.create("acme/other")
    asker.now_s += 1
    asker.forge.push("acme/site")
    url = "/orgs/acme/repos?sort=pushed&direction=desc&per_page=100"
    _, headers, body = asker.ask(url)
    assert [one["name"] for one in json.loads(body)] == ["site", "other"]
    assert asker.ask(url, If_None_Match=headers["ETag"])[0] == 304
    assert asker.ask("/orgs/nobody/repos")[0] == 404


def test_a_list_that_lies_or_lags_shows_what_was(asker: Asker) -> None:
    url = "/orgs/acme/repos?sort=pushed"
    tag = asker.ask(url)[1]["ETag"]
    asker.forge.show("listing", lag_s=5)
    asker.now_s += 1
    asker.forge.push("acme/site")
    assert asker.ask(url, If_None_Match=tag)[0] == 304
    asker.now_s += 5
    assert asker.ask(url, If_None_Match=tag)[0] == 200
    asker.forge.show("listing", lies=True)
    tag = asker.ask(url)[1]["ETag"]
    asker.now_s += 100
    asker.forge.push("acme/site")
    assert asker.ask(url, If_None_Match=tag)[0] == 304
    asker.forge.show("listing", fails=True)
    assert asker.ask(url)[0] == 502


QUERY = """query { rateLimit { cost remaining }
  r0: repository(owner: "acme", name: "site", followRenames: true) { ...R }
  r1: repository(owner: "acme", name: "none", followRenames: true) { ...R } }
fragment R on Repository { nameWithOwner defaultBranchRef { name }
  refs(refPrefix: "refs/heads/", first: 100) {
    totalCount pageInfo { hasNextPage endCursor } nodes { name target { oid } } } }"""


def test_a_query_costs_a_point_and_fails_for_single_repositories_alone(asker: Asker) -> None:
    status, told = asker.query(QUERY)
    main = asker.forge.hosting.get("acme/site").now.refs[MAIN]
    assert status == 200
    assert told["data"]["rateLimit"] == {"cost": 1, "remaining": 4999}
    assert told["data"]["r0"]["refs"]["nodes"] == [{"name": "main", "target": {"oid": main}}]
    assert told["data"]["r1"] is None
    assert [(one["path"], one["type"]) for one in told["errors"]] == [(["r1"], "NOT_FOUND")]


def test_spent_points_are_told_in_an_answer_that_looks_well(asker: Asker) -> None:
    asker.forge.exhaust(resource="graphql")
    status, told = asker.query(QUERY)
    assert (status, told["errors"][0]["type"]) == (200, "RATE_LIMITED")
    assert asker.ask(f"{SITE}/branches")[0] == 200


def test_a_query_that_is_too_large_is_given_up_and_costs_more(asker: Asker) -> None:
    asker.forge.behave(most_in_batch=1)
    assert asker.query(QUERY)[0] == 502
    assert asker.forge.report()["accounts"]["token 1"]["graphql"]["used"] == 5
    asker.forge.behave(too_many="partial")
    told = asker.query(QUERY)[1]
    assert told["data"]["r0"]["nameWithOwner"] == "acme/site"
    assert told["errors"][-1]["type"] == "RESOURCE_LIMITS_EXCEEDED"


def test_the_log_tells_every_push_newest_first(asker: Asker) -> None:
    first = asker.forge.push("acme/site")
    asker.forge.push("acme/site", force=True)
    told = json.loads(asker.ask(f"{SITE}/activity")[2])
    assert [one["activity_type"] for one in told] == ["force_push", "push"]
    assert told[0]["before"] == first == told[1]["after"]


def test_an_installation_gets_tokens_for_an_hour(asker: Asker) -> None:
    status, _, body = asker.ask("/app/installations/7/access_tokens", token="a.b.c", body={})  # noqa: S106 - a test's own
    token = json.loads(body)["token"]
    assert (status, asker.ask(f"{SITE}/branches", token=token)[0]) == (201, 200)
    asker.now_s += 3601
    assert asker.ask(f"{SITE}/branches", token=token)[0] == 401


def test_it_can_be_told_what_to_do_from_outside(asker: Asker) -> None:
    asker.ask("/__control/push", body={"repository": "acme/site"})
    asker.ask("/__control/say", body={"status": 503})
    assert asker.ask(f"{SITE}/branches")[0] == 503
    asker.ask("/__control/say", body={"status": None})
    told = json.loads(asker.ask("/__control")[2])
    assert told["accounts"]["token 1"]["asked"] == {}
    assert len(asker.forge.hosting.get("acme/site").log) == 1
