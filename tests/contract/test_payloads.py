"""Every payload format spells every event, and what receivers read is where they read it.

The golden files under ``payloads/`` are what people read to see what a receiver gets; write them
anew with ``python -m tests.contract.test_payloads`` and look at the difference.
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
from hypothesis import given, strategies as st

from app.delivery.payloads import PAYLOADS, render
from app.domain.delivery import Parcel
from app.domain.errors import PayloadUnrenderable
from app.domain.snapshot import Change
from tests.contract.parcels import CASES, NEW, OLD, UPDATE, a_parcel, spelled_as

HERE = Path(__file__).parent
GOLDEN = HERE / "payloads"
OURS = ("branch", "short_sha", "delivery", "reposentry")

every_format = pytest.mark.parametrize("payload", PAYLOADS)
every_case = pytest.mark.parametrize("case", CASES)


def body_of(parcel: Parcel) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(render(parcel).body)
    return body


def readable(parcel: Parcel) -> str:
    """Write a rendered payload for people: headers and body, indented."""
    rendered = render(parcel)
    shown = {"headers": dict(rendered.headers), "body": json.loads(rendered.body)}
    return json.dumps(shown, indent=2, ensure_ascii=False) + "\n"


@every_format
@every_case
def test_a_payload_is_what_its_golden_file_shows(payload: str, case: str) -> None:
    golden = (GOLDEN / payload / f"{case}.json").read_text(encoding="utf-8")

    assert readable(spelled_as(payload, CASES[case])) == golden


def test_every_golden_file_belongs_to_a_format_and_a_case() -> None:
    found = {path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*") if path.is_file()}

    assert found == {f"{payload}/{case}.json" for payload in PAYLOADS for case in CASES}


@every_format
@every_case
def test_the_bytes_are_compact_ascii_and_always_the_same(payload: str, case: str) -> None:
    parcel = spelled_as(payload, CASES[case])

    first, second = render(parcel), render(parcel)

    assert first == second
    assert first.body.isascii()
    assert first.body == json.dumps(json.loads(first.body), separators=(",", ":")).encode()


@every_format
def test_every_format_says_which_event_and_which_delivery_it_is(payload: str) -> None:
    parcel = spelled_as(payload, CASES["branch-updated"])

    headers = render(parcel).headers

    assert headers["X-RepoSentry-Delivery"] == parcel.delivery_id
    assert headers["X-RepoSentry-Event"] == parcel.event.id
    assert body_of(parcel)["delivery"] == parcel.delivery_id
    assert not any("signature" in name.lower() for name in headers)


@every_format
def test_every_format_carries_what_templates_cannot_compute(payload: str) -> None:
    body = body_of(spelled_as(payload, CASES["branch-created"]))

    slug = "feature-login-df7c7aeb"
    assert body["branch"] == {"name": "feature/login", "slug": slug, "is_default": False}
    assert body["short_sha"] == NEW[:7]


@every_format
def test_whether_a_branch_is_the_default_one_may_be_unknown(payload: str) -> None:
    parcel = spelled_as(payload, a_parcel(UPDATE))

    known, unknown = body_of(parcel), body_of(replace(parcel, default_branch=None))

    assert known["branch"]["is_default"] is True
    assert unknown["branch"]["is_default"] is None


@every_format
def test_the_short_sha_of_a_deleted_branch_is_where_it_was(payload: str) -> None:
    assert body_of(spelled_as(payload, CASES["branch-deleted"]))["short_sha"] == OLD[:7]


# Git itself refuses only control characters, space and a few signs; the rest may come.
letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0\n")
ref_names = st.text(letters, min_size=1, max_size=80)


@every_format
@given(name=ref_names)
def test_every_name_of_a_branch_can_be_spelled_and_has_a_label(payload: str, name: str) -> None:
    parcel = spelled_as(payload, a_parcel(Change(f"refs/heads/{name}", None, NEW)))

    body = body_of(parcel)

    assert body["ref"] == f"refs/heads/{name}"
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", body["branch"]["slug"])


@given(one=ref_names, other=ref_names)
def test_names_that_had_to_be_changed_stay_apart(one: str, other: str) -> None:
    first, second = (
        body_of(a_parcel(Change(f"refs/heads/{name}/", None, NEW)))["branch"]["slug"]
        for name in (one, other)
    )

    assert (first == second) == (one == other)


@pytest.mark.parametrize(
    "parcel",
    [
        replace(a_parcel(UPDATE), payload="pigeon"),
        replace(a_parcel(UPDATE), repository_url="gopher://example.com/x"),
    ],
    ids=["no such format", "no such address"],
)
def test_what_cannot_be_spelled_is_said_in_one_way(parcel: Parcel) -> None:
    with pytest.raises(PayloadUnrenderable):
        render(parcel)


# ---- github -------------------------------------------------------------------------------------


@every_case
def test_a_github_payload_is_valid_by_the_schema_of_a_push(case: str) -> None:
    schema = json.loads((HERE / "schemas" / "github-push.json").read_text(encoding="utf-8"))
    body = body_of(CASES[case])
    theirs = {name: value for name, value in body.items() if name not in OURS}

    validator = jsonschema.Draft7Validator(schema)

    assert [error.message for error in validator.iter_errors(theirs)] == []


@every_case
def test_every_link_in_a_github_payload_is_a_url(case: str) -> None:
    repository = body_of(CASES[case])["repository"]
    links = [value for name, value in repository.items() if name.endswith("_url") and value]

    assert len(links) > 40
    for link in links:
        scheme, rest = urlsplit(link).scheme, link.partition(":")[2]
        assert scheme in {"https", "http", "ssh", "git", "file"} or link.startswith("git@")
        assert rest.isascii()
        assert " " not in rest


# What bindings and CEL filters of Tekton's own repositories, tutorials and CI read.
READ_BY_TEKTON = [
    "ref",
    "before",
    "after",
    "created",
    "deleted",
    "forced",
    "compare",
    "base_ref",
    "head_commit.id",
    "head_commit.message",
    "head_commit.timestamp",
    "head_commit.url",
    "head_commit.author.name",
    "head_commit.author.email",
    "head_commit.author.username",
    "head_commit.committer.name",
    "repository.id",
    "repository.name",
    "repository.full_name",
    "repository.url",
    "repository.html_url",
    "repository.clone_url",
    "repository.ssh_url",
    "repository.git_url",
    "repository.default_branch",
    "repository.owner.login",
    "repository.owner.name",
    "repository.private",
    "pusher.name",
    "pusher.email",
    "sender.login",
    "sender.id",
    "sender.avatar_url",
    "branch.name",
    "branch.slug",
    "short_sha",
    "delivery",
    "reposentry.event",
    "reposentry.kind",
    "reposentry.sequence",
    "reposentry.detected_at",
    "reposentry.labels.team",
]


@pytest.mark.parametrize("path", READ_BY_TEKTON)
@pytest.mark.parametrize("case", [case for case in CASES if case != "branch-deleted"])
def test_what_tekton_bindings_read_is_there(case: str, path: str) -> None:
    value: Any = body_of(CASES[case])

    for key in path.split("."):
        assert key in value
        value = value[key]


@every_case
def test_head_commit_is_null_for_a_deletion_alone(case: str) -> None:
    body = body_of(CASES[case])

    commits = [] if body["head_commit"] is None else [body["head_commit"]]

    assert body["commits"] == commits
    assert (body["head_commit"] is None) == body["deleted"]


def test_buildbot_finds_what_it_needs_in_each_commit() -> None:
    (commit,) = body_of(CASES["branch-updated"])["commits"]

    assert commit["message"] == ""  # it answers 500 to null
    assert commit["timestamp"] == "2026-03-01T11:59:00Z"
    for person in ("author", "committer"):
        assert commit[person]["name"]
        assert "@" in commit[person]["email"]


def test_argo_cd_finds_no_partial_list_of_files_to_be_misled_by() -> None:
    (commit,) = body_of(CASES["branch-updated"])["commits"]

    assert (commit["added"], commit["removed"], commit["modified"]) == ([], [], [])


def test_github_knows_no_unknown_so_the_honest_answer_stands_beside_it() -> None:
    body = body_of(a_parcel(UPDATE, forced=None))

    assert body["forced"] is False
    assert body["reposentry"]["forced"] is None


def test_a_created_ref_comes_from_zeros_and_a_deleted_one_goes_there() -> None:
    created, deleted = body_of(CASES["branch-created"]), body_of(CASES["branch-deleted"])

    assert (created["before"], created["created"], created["deleted"]) == ("0" * 40, True, False)
    assert (deleted["after"], deleted["created"], deleted["deleted"]) == ("0" * 40, False, True)


def test_github_headers_are_those_of_a_github_hook() -> None:
    parcel = CASES["branch-updated"]

    headers = dict(render(parcel).headers)

    assert headers["Content-Type"] == "application/json"  # Buildbot refuses a charset
    assert headers["X-GitHub-Event"] == "push"
    assert headers["X-GitHub-Delivery"] == parcel.delivery_id
    assert headers["User-Agent"] == "GitHub-Hookshot/reposentry"
    assert headers["X-GitHub-Hook-ID"].isdigit()
    assert headers["X-GitHub-Hook-Installation-Target-ID"].isdigit()
    assert headers["X-GitHub-Hook-Installation-Target-Type"] == "repository"


def test_a_push_is_told_as_gitea_told_the_same_push_itself() -> None:
    recorded = HERE / "recorded" / "gitea-1.17-push.json"
    theirs = json.loads(recorded.read_text(encoding="utf-8"))
    change = Change("refs/heads/feature/x", None, theirs["after"])
    url = "http://127.0.0.1:13000/acme/app"

    ours = body_of(a_parcel(change, url=url, name="acme/app", forge="gitea"))

    for key in ("ref", "before", "after"):
        assert ours[key] == theirs[key]
    for key in ("id", "url"):
        assert ours["head_commit"][key] == theirs["head_commit"][key]
    for key in ("name", "full_name", "html_url", "clone_url", "default_branch"):
        assert ours["repository"][key] == theirs["repository"][key]
    assert ours["repository"]["owner"]["login"] == theirs["repository"]["owner"]["login"]


def write_golden_files() -> None:
    """Write every golden file anew."""
    for payload in PAYLOADS:
        for case, parcel in CASES.items():
            file = GOLDEN / payload / f"{case}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(readable(spelled_as(payload, parcel)), "utf-8", newline="\n")


if __name__ == "__main__":
    write_golden_files()
