"""Every payload format spells every event, and what receivers read is where they read it.

The golden files under ``payloads/`` are what people read to see what a receiver gets; write them
anew with ``python -m tests.contract.test_payloads`` and look at the difference.
"""

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema
import pytest
from hypothesis import given, strategies as st

from app.delivery.payloads import PAYLOADS, TEMPLATE, Payloads
from app.domain.delivery import Parcel
from app.domain.details import Details, Person
from app.domain.errors import PayloadUnrenderable
from app.domain.snapshot import Change
from app.settings.types import Receiver
from tests.contract.parcels import (
    ADA,
    BETWEEN,
    CASES,
    NEW,
    OLD,
    PUSH,
    UPDATE,
    a_commit,
    a_parcel,
    spelled_as,
)

HERE = Path(__file__).parent
GOLDEN = HERE / "payloads"
OURS = ("branch", "short_sha", "delivery", "reposentry")

TEMPLATE_FILE = HERE / "template.json.j2"
RECEIVER = Receiver(
    "tekton",
    "https://ci.example.com/",
    payload=TEMPLATE,
    template=TEMPLATE_FILE.read_text("utf-8"),
    template_file=TEMPLATE_FILE,
)

FORMATS = (*PAYLOADS, TEMPLATE)
CLOUDEVENTS = ("cloudevents", "cloudevents-binary")

every_format = pytest.mark.parametrize("payload", FORMATS)
every_case = pytest.mark.parametrize("case", CASES)
every_cloudevent = pytest.mark.parametrize("payload", CLOUDEVENTS)
every_pushed_case = pytest.mark.parametrize(
    "case", [case for case in CASES if not case.endswith("deleted")]
)

render = Payloads({"tekton": RECEIVER}).render


def body_of(parcel: Parcel) -> dict[str, Any]:
    """Return what a payload says, without the envelope of structured CloudEvents."""
    body: dict[str, Any] = json.loads(render(parcel).body)
    found: dict[str, Any] = body["data"] if parcel.payload == "cloudevents" else body
    return found


def at(value: Any, path: str) -> Any:
    """Return what stands at a path, which must exist."""
    for key in path.split("."):
        assert key in value
        value = value[key]
    return value


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

    assert found == {f"{payload}/{case}.json" for payload in FORMATS for case in CASES}


@pytest.mark.parametrize("payload", PAYLOADS)
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
    ref = {"ref": "refs/heads/feature/login"} if payload in (*CLOUDEVENTS, TEMPLATE) else {}
    assert body["branch"] == {"name": "feature/login", "slug": slug, "is_default": False, **ref}
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
words = st.text(max_size=30)
ref_names = st.text(letters, min_size=1, max_size=80)


@every_format
@given(name=ref_names)
def test_every_name_of_a_branch_can_be_spelled_and_has_a_label(payload: str, name: str) -> None:
    parcel = spelled_as(payload, a_parcel(Change(f"refs/heads/{name}", None, NEW)))

    body = body_of(parcel)

    assert body["ref"] == f"refs/heads/{name}"
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", body["branch"]["slug"])


@every_format
@given(message=words, path=words, name=words)
def test_whatever_people_write_into_commits_can_be_spelled(
    payload: str, message: str, path: str, name: str
) -> None:
    commit = replace(a_commit(message=message), author=Person(name, ""), added=(path,))
    parcel = a_parcel(UPDATE, payload=payload, details=replace(PUSH, commits=(commit,)))

    body = body_of(parcel)

    if payload != TEMPLATE:
        (told,) = body["commits"]
        assert (told["message"], told["author"]["name"]) == (message, name)
        assert told["added"] == [path]


@every_format
@given(name=ref_names)
def test_headers_are_ascii_wherever_a_repository_is(payload: str, name: str) -> None:
    change = Change(f"refs/heads/{name}", OLD, NEW)
    parcel = a_parcel(change, url="https://bücher.例え.jp/größe", payload=payload)

    headers = render(parcel).headers

    assert all(re.fullmatch(r"[ -~]+", value) for value in headers.values())


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


@pytest.mark.parametrize("payload", ["github", "cloudevents", "cloudevents-binary"])
def test_what_a_forge_told_that_cannot_be_spelled_is_left_out(payload: str) -> None:
    too_late = datetime.max.replace(tzinfo=timezone(-timedelta(hours=5)))
    odd = replace(a_commit(), committed_at=too_late)
    parcel = replace(a_parcel(UPDATE), payload=payload)

    told = replace(parcel, details=Details((odd,), total=1))

    assert render(told) == render(replace(parcel, details=None))


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
@every_pushed_case
def test_what_tekton_bindings_read_is_there(case: str, path: str) -> None:
    at(body_of(CASES[case]), path)


@every_case
def test_head_commit_is_null_for_a_deletion_alone(case: str) -> None:
    body = body_of(CASES[case])

    newest = body["commits"][-1] if body["commits"] else None

    assert body["head_commit"] == newest
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


def paths_of(body: dict[str, Any]) -> list[str]:
    """List the files that a push changed, as Argo CD and Tekton's ``changed_files`` do."""
    kinds = ("added", "modified", "removed")
    return [path for commit in body["commits"] for kind in kinds for path in commit[kind]]


@pytest.mark.parametrize("payload", ["github", "gitlab"])
def test_the_files_of_a_push_are_listed_where_the_forge_told_all_of_them(payload: str) -> None:
    body = body_of(spelled_as(payload, CASES["branch-updated-told"]))

    assert paths_of(body) == ["docs/größe.md", "pkg/main.go", "README.md"]


@pytest.mark.parametrize("payload", ["github", "gitlab"])
@pytest.mark.parametrize(
    "parcel",
    [
        a_parcel(UPDATE, details=replace(PUSH, commits=PUSH.commits[::-1])),
        a_parcel(UPDATE, details=replace(PUSH, forced=None)),
        a_parcel(UPDATE, forced=True, details=PUSH),
        a_parcel(UPDATE, details=replace(PUSH, forced=True)),
        a_parcel(Change("refs/heads/new", None, NEW), details=PUSH),
    ],
    ids=["of an older commit", "perhaps forced", "forced", "found to be forced", "a new branch"],
)
def test_no_file_is_listed_where_others_may_have_changed(payload: str, parcel: Parcel) -> None:
    assert paths_of(body_of(spelled_as(payload, parcel))) == []


def test_a_github_payload_has_every_key_of_githubs_own_examples() -> None:
    published = json.loads((HERE / "schemas" / "github-push-keys.json").read_text("utf-8"))["keys"]
    # Of Apps and organisations alone.
    foreign = re.compile(r"installation\b|organization\b|repository\.organization")

    missing = set(published) - keys_of(body_of(CASES["branch-updated-told"]))

    assert [key for key in sorted(missing) if not foreign.match(key)] == []


def keys_of(value: Any, path: str = "") -> set[str]:
    """List the paths of all keys, those of a list's items with []."""
    if isinstance(value, list):
        return set().union(*(keys_of(item, f"{path}[]") for item in value))
    if not isinstance(value, dict):
        return set()
    found = set()
    for key, inner in value.items():
        here = f"{path}.{key}".removeprefix(".")
        found |= {here} | keys_of(inner, here)
    return found


def test_what_the_forge_told_of_a_push_is_in_it() -> None:
    body = body_of(CASES["branch-updated-told"])

    head = body["head_commit"]
    assert [commit["id"] for commit in body["commits"]] == [BETWEEN, NEW]
    assert (head["message"], head["timestamp"]) == (
        "Close the gap\n\nFor good.",
        "2026-03-01T11:30:00Z",
    )
    assert head["author"] == {
        "name": "Größe, Jörg",
        "email": "joerg@example.com",
        "username": "",
    }
    assert head["committer"]["username"] == "ada"
    assert body["pusher"] == {"name": "ada", "email": "ada@example.com"}
    assert (body["sender"]["login"], body["sender"]["type"]) == ("ada", "User")
    assert body["repository"]["pushed_at"] == 1772366340
    assert body["reposentry"]["forced"] is False


def test_a_rewound_branch_is_forced_whoever_found_it_out() -> None:
    found_later = a_parcel(UPDATE, forced=None, details=replace(PUSH, forced=True))

    assert body_of(found_later)["forced"] is True
    assert body_of(found_later)["reposentry"]["forced"] is True


def test_a_commit_of_an_annotated_tag_is_the_one_it_leads_to() -> None:
    body = body_of(CASES["tag-created-told"])

    assert (body["after"], body["head_commit"]["id"]) == (OLD, NEW)


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


# ---- gitlab -------------------------------------------------------------------------------------


@every_case
def test_a_gitlab_payload_has_all_that_gitlab_documents_and_no_more(case: str) -> None:
    schema = json.loads((HERE / "schemas" / "gitlab-push.json").read_text(encoding="utf-8"))
    body = body_of(spelled_as("gitlab", CASES[case]))
    theirs = {name: value for name, value in body.items() if name not in OURS}

    validator = jsonschema.Draft7Validator(schema)

    assert [error.message for error in validator.iter_errors(theirs)] == []


@pytest.mark.parametrize(
    ("case", "kind", "name"),
    [
        ("branch-created", "push", "Push Hook"),
        ("branch-updated", "push", "Push Hook"),
        ("branch-deleted", "push", "Push Hook"),
        ("tag-created", "tag_push", "Tag Push Hook"),
        ("tag-deleted", "tag_push", "Tag Push Hook"),
    ],
)
def test_gitlab_has_one_hook_for_branches_and_one_for_tags(case: str, kind: str, name: str) -> None:
    parcel = spelled_as("gitlab", CASES[case])

    body, headers = body_of(parcel), render(parcel).headers

    assert (body["object_kind"], body["event_name"]) == (kind, kind)
    assert headers["X-Gitlab-Event"] == name


def test_gitlab_headers_are_those_of_a_gitlab_hook() -> None:
    parcel = spelled_as("gitlab", CASES["branch-updated"])

    headers = render(parcel).headers

    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"].startswith("GitLab/")
    assert headers["X-Gitlab-Instance"] == "https://github.com"
    assert headers["X-Gitlab-Event-UUID"] == parcel.event.id
    assert headers["X-Gitlab-Webhook-UUID"] == parcel.delivery_id
    assert headers["Idempotency-Key"] == parcel.delivery_id


def test_gitlab_tells_what_to_check_out_and_nothing_of_a_deletion() -> None:
    pushed, deleted, tagged = (
        body_of(spelled_as("gitlab", CASES[case]))
        for case in ("branch-updated", "branch-deleted", "tag-created-told")
    )

    assert pushed["checkout_sha"] == NEW
    assert (deleted["checkout_sha"], deleted["commits"]) == (None, [])
    assert deleted["total_commits_count"] == 0
    assert (tagged["after"], tagged["checkout_sha"]) == (OLD, NEW)


def test_gitlab_counts_also_the_commits_that_it_does_not_list() -> None:
    parcel = a_parcel(UPDATE, payload="gitlab", details=replace(PUSH, total=31))

    body = body_of(parcel)

    assert (len(body["commits"]), body["total_commits_count"]) == (2, 31)


def test_gitlab_tells_who_pushed() -> None:
    body = body_of(spelled_as("gitlab", CASES["branch-updated-told"]))

    told = {name: body[name] for name in ("user_name", "user_username", "user_email")}
    assert told == {
        "user_name": "Ada Lovelace",
        "user_username": "ada",
        "user_email": "ada@example.com",
    }


@every_pushed_case
def test_buildbot_finds_what_it_needs_in_a_gitlab_push(case: str) -> None:
    body = body_of(spelled_as("gitlab", CASES[case]))

    assert body["user_name"]
    assert body["repository"]["name"]
    assert body["repository"]["url"]
    for commit in body["commits"]:
        assert commit["author"]["name"]
        assert isinstance(commit["message"], str)
        assert datetime.fromisoformat(commit["timestamp"]).tzinfo
        assert urlsplit(commit["url"]).scheme


# ---- cloudevents --------------------------------------------------------------------------------

# The paths that bindings made for the Go RepoSentry read.
READ_BY_OLD_BINDINGS = [
    "repository.url",
    "repository.full_name",
    "repository.name",
    "repository.organization",
    "repository.provider",
    "repository.id",
    "branch.name",
    "branch.ref",
    "commit.sha",
    "commit.short_sha",
    "commit.message",
    "event.type",
    "event.trigger_source",
    "event.trigger_id",
    "event.detection_time",
    "previous_commit.sha",
]


@every_cloudevent
@pytest.mark.parametrize("path", READ_BY_OLD_BINDINGS)
@every_case
def test_what_bindings_of_the_go_reposentry_read_is_a_text(
    payload: str, case: str, path: str
) -> None:
    assert isinstance(at(body_of(spelled_as(payload, CASES[case])), path), str)


def attributes_of(parcel: Parcel) -> dict[str, str]:
    """Return the attributes of a CloudEvent, whatever its mode."""
    rendered = render(parcel)
    if parcel.payload == "cloudevents":
        body = json.loads(rendered.body)
        return {name: body[name] for name in body if name not in ("data", "datacontenttype")}
    pairs = rendered.headers.items()
    return {n.removeprefix("ce-"): unquote(v) for n, v in pairs if n.startswith("ce-")}


@every_cloudevent
@every_case
def test_a_cloudevent_has_the_attributes_that_the_specification_asks_for(
    payload: str, case: str
) -> None:
    parcel = spelled_as(payload, CASES[case])

    attributes = attributes_of(parcel)

    assert set(attributes) == {"specversion", "id", "source", "type", "subject", "time"}
    assert all(re.fullmatch("[a-z0-9]+", name) for name in attributes)
    assert attributes["specversion"] == "1.0"
    assert attributes["id"] == parcel.delivery_id
    assert urlsplit(attributes["source"]).scheme in {"https", "ssh", "file"}
    assert attributes["subject"] == parcel.event.ref
    assert attributes["time"] == "2026-03-01T12:00:00.250Z"


def test_both_modes_say_the_same() -> None:
    structured, binary = (spelled_as(p, CASES["branch-updated-told"]) for p in CLOUDEVENTS)

    assert attributes_of(structured) == attributes_of(binary)
    assert body_of(structured) == body_of(binary)


@pytest.mark.parametrize(
    ("case", "type_"),
    [
        ("branch-updated", "io.reposentry.push"),
        ("branch-created", "io.reposentry.branch.created"),
        ("branch-deleted", "io.reposentry.branch.deleted"),
        ("tag-created", "io.reposentry.tag.created"),
        ("tag-updated", "io.reposentry.tag.updated"),
        ("tag-deleted", "io.reposentry.tag.deleted"),
    ],
)
def test_the_type_of_a_cloudevent_says_what_happened(case: str, type_: str) -> None:
    assert attributes_of(spelled_as("cloudevents", CASES[case]))["type"] == type_


def test_each_mode_has_its_content_type() -> None:
    structured, binary = (
        render(spelled_as(payload, CASES["branch-updated"])).headers for payload in CLOUDEVENTS
    )

    assert structured["Content-Type"] == "application/cloudevents+json"
    assert binary["Content-Type"] == "application/json"
    # Strict SDKs answer 500 to it.
    assert "ce-datacontenttype" not in {name.lower() for name in binary}


@given(name=ref_names)
def test_every_ref_fits_into_a_header_and_comes_out_as_it_was(name: str) -> None:
    parcel = a_parcel(Change(f"refs/heads/{name}", None, NEW), payload="cloudevents-binary")

    carried = render(parcel).headers["ce-subject"]

    assert re.fullmatch(r"[!#-~]+", carried)  # no space, no quotation mark, no control character
    assert unquote(carried) == f"refs/heads/{name}"


@pytest.mark.parametrize("payload", FORMATS)
def test_a_pull_request_is_told_by_its_own_ref_and_a_short_name(payload: str) -> None:
    parcel = a_parcel(Change("refs/pull/7/head", OLD, NEW), payload=payload)

    rendered = render(parcel)

    body = json.loads(rendered.body)
    told = body.get("data", body)
    assert "refs/pull/7/head" in rendered.body.decode()
    assert told["branch"]["name"] == "pull/7/head"
    assert re.fullmatch(r"pull-7-head-[0-9a-f]{8}", told["branch"]["slug"])
    assert told["branch"]["is_default"] is False


# ---- standard -----------------------------------------------------------------------------------


def test_our_own_format_lists_commits_as_the_api_does_and_null_where_nobody_told() -> None:
    told, untold = (
        body_of(spelled_as("standard", CASES[case]))
        for case in ("branch-updated-told", "branch-updated")
    )

    assert [commit["id"] for commit in told["commits"]] == [BETWEEN, NEW]
    assert told["commits"][0]["added"] is None
    assert (told["commits_count"], told["forced"]) == (2, False)
    assert told["pusher"] == {"name": ADA.name, "email": ADA.email, "username": ADA.username}
    assert told["pushed_at"] == "2026-03-01T11:59:00.000Z"
    assert (untold["commits"], untold["commits_count"], untold["pusher"]) == (None, None, None)


def write_golden_files() -> None:
    """Write every golden file anew."""
    for payload in FORMATS:
        for case, parcel in CASES.items():
            file = GOLDEN / payload / f"{case}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(readable(spelled_as(payload, parcel)), "utf-8", newline="\n")


if __name__ == "__main__":
    write_golden_files()
