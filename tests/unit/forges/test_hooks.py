"""A forge's webhook is taken for what its signature says, and read with suspicion."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings, strategies as st

from app.domain.details import Person
from app.domain.hook import HookChange
from app.domain.refs import LONGEST_REF
from app.domain.secret import Secret
from app.forges.hooks import MOST_CHANGES, NotReadable, has_signature, is_signed, read
from tests.fakes.clock import NOON

SECRET = Secret("It's a Secret to Everybody")
HELLO = b"Hello, World!"
# The signature that GitHub's documentation gives for the two above.
SIGNATURE = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
OLD, NEW, NONE = "a" * 40, "b" * 40, "0" * 40
MAIN = "refs/heads/main"
ADA = Person("Ada", "ada@example.com", "ada")

GITHUB = {
    "ref": MAIN,
    "before": OLD,
    "after": NEW,
    "forced": True,
    "pusher": {"name": "Ada", "email": "ada@example.com"},
    "sender": {"login": "ada"},
    "repository": {
        "clone_url": "https://github.com/acme/website.git",
        "ssh_url": "git@github.com:acme/website.git",
        "html_url": "https://github.com/acme/website",
        "pushed_at": 1764979200,
    },
}


def signed(headers: dict[str, str], *, kind: str = "github", secret: Secret = SECRET) -> bool:
    return is_signed(kind, secret, headers, HELLO, now=NOON)


def read_json(told: Any, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read({"content-type": "application/json", **named}, json.dumps(told).encode())


def test_what_is_signed_as_githubs_documentation_shows_is_taken() -> None:
    assert signed({"x-hub-signature-256": f"sha256={SIGNATURE}"})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-hub-signature-256": ""},
        {"x-hub-signature-256": "sha256="},
        {"x-hub-signature-256": f"sha256={SIGNATURE[:-1]}8"},
        {"x-hub-signature-256": f"sha1={SIGNATURE}"},
        {"x-hub-signature-256": "sha256=é\x80"},
        {"x-gitlab-token": SECRET.reveal()},
        {"x-gitea-signature": ""},
    ],
)
def test_what_is_not_signed_rightly_is_refused(headers: dict[str, str]) -> None:
    assert not signed(headers)
    assert not signed(headers, kind="gitea")


@pytest.mark.parametrize(
    ("kind", "header", "prefix"),
    [
        ("gitea", "x-gitea-signature", ""),
        ("gitea", "x-forgejo-signature", ""),
        ("gitea", "x-hub-signature-256", "sha256="),
        ("gogs", "x-gogs-signature", ""),
        ("bitbucket", "x-hub-signature", "sha256="),
        ("bitbucket_server", "x-hub-signature", "sha256="),
        ("git", "x-gitea-signature", ""),
    ],
)
def test_each_forge_signs_in_its_own_header(kind: str, header: str, prefix: str) -> None:
    assert signed({header: prefix + SIGNATURE}, kind=kind)
    assert has_signature(kind, {header: "any"})
    assert not signed({header: prefix + SIGNATURE[::-1]}, kind=kind)


def test_gitlab_sends_its_token_itself() -> None:
    token = Secret("glhook-ÿ-1")

    # As a server hands it over: the bytes of UTF-8, taken for Latin-1.
    as_sent = token.reveal().encode().decode("latin-1")

    assert signed({"x-gitlab-token": as_sent}, kind="gitlab", secret=token)
    assert not signed({"x-gitlab-token": as_sent + "x"}, kind="gitlab", secret=token)
    assert not signed({"x-gitlab-token": ""}, kind="gitlab", secret=Secret(""))
    assert not signed({"x-hub-signature-256": f"sha256={SIGNATURE}"}, kind="gitlab", secret=token)


def by_standard(key: bytes, *, at: datetime) -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    mac = hmac.new(key, f"msg_1.{stamp}.".encode() + HELLO, hashlib.sha256).digest()
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,wrong v1,{base64.b64encode(mac).decode()}",
    }


def test_gitlabs_signing_token_is_that_of_standard_webhooks() -> None:
    key = b"k" * 32
    token = Secret("whsec_" + base64.b64encode(key).decode())

    assert signed(by_standard(key, at=NOON), kind="gitlab", secret=token)
    assert not signed(by_standard(b"other", at=NOON), kind="gitlab", secret=token)
    assert not signed({"x-gitlab-token": token.reveal()}, kind="gitlab", secret=token)


@pytest.mark.parametrize("by", [timedelta(minutes=6), -timedelta(minutes=6)])
def test_an_old_signature_with_a_time_in_it_is_refused(by: timedelta) -> None:
    key = b"k" * 32
    token = Secret("whsec_" + base64.b64encode(key).decode())

    assert not signed(by_standard(key, at=NOON + by), kind="gitlab", secret=token)


@pytest.mark.parametrize("stamp", ["", "soon", "9" * 40, "-1", "nan"])
def test_a_time_that_is_none_is_refused(stamp: str) -> None:
    token = Secret("whsec_" + base64.b64encode(b"k").decode())
    headers = {"webhook-timestamp": stamp, "webhook-signature": "v1,x", "webhook-id": "1"}

    assert not signed(headers, kind="gitlab", secret=token)
    assert not signed(headers, kind="gitlab", secret=Secret("whsec_%%%"))


def test_a_signing_token_that_holds_nothing_takes_no_webhook() -> None:
    assert not signed(by_standard(b"", at=NOON), kind="gitlab", secret=Secret("whsec_"))


def test_githubs_push_tells_who_when_and_how() -> None:
    told = read_json(GITHUB, x_github_event="push", x_github_delivery="72d3162e")

    assert told.event == "push"
    assert told.delivery == "72d3162e"
    assert told.urls == (
        "https://github.com/acme/website.git",
        "git@github.com:acme/website.git",
        "https://github.com/acme/website",
    )
    at = datetime.fromtimestamp(1764979200, UTC)
    assert told.changes == (HookChange(MAIN, OLD, NEW, ADA, at, forced=True),)


def test_a_form_says_the_same() -> None:
    body = urlencode({"payload": json.dumps(GITHUB)}).encode()
    form = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}

    told = read({**form, "x-github-event": "push"}, body)

    assert told.changes == read_json(GITHUB, x_github_event="push").changes


def test_gitlabs_push_tells_who() -> None:
    body = {
        "object_kind": "push",
        "ref": MAIN,
        "before": OLD,
        "after": NEW,
        "user_name": "Ada",
        "user_username": "ada",
        "user_email": "ada@example.com",
        "project": {
            "git_http_url": "https://gitlab.com/acme/website.git",
            "git_ssh_url": "git@gitlab.com:acme/website.git",
        },
    }

    told = read_json(body, x_gitlab_event="Push Hook", idempotency_key="1-2-3")

    assert told.changes == (HookChange(MAIN, OLD, NEW, ADA),)
    assert told.delivery == "1-2-3"
    assert "git@gitlab.com:acme/website.git" in told.urls


def test_a_system_hook_of_gitlab_is_a_push_when_it_says_so() -> None:
    body = {"ref": MAIN, "before": OLD, "after": NEW}

    pushed = read_json({**body, "event_name": "push"}, x_gitlab_event="System Hook")
    other = read_json({**body, "event_name": "key_create"}, x_gitlab_event="System Hook")

    assert len(pushed.changes) == 1
    assert other.changes == ()


def test_what_was_created_or_deleted_is_told_as_far_as_it_goes() -> None:
    created = read_json(
        {"ref": "v1", "ref_type": "tag", "sender": {"login": "ada"}}, x_github_event="create"
    )
    by_gitea = read_json({"ref": "x", "ref_type": "branch", "sha": NEW}, x_gitea_event="create")
    deleted = read_json({"ref": "x", "ref_type": "branch"}, x_github_event="delete")

    who = Person("ada", "", "ada")
    assert created.changes == (HookChange("refs/tags/v1", NONE, None, who),)
    assert by_gitea.changes == (HookChange("refs/heads/x", NONE, NEW),)
    assert deleted.changes == (HookChange("refs/heads/x", None, NONE),)


def test_new_commits_of_a_pull_request_are_told_and_nothing_else_of_it() -> None:
    request = {"number": 7, "pull_request": {"head": {"sha": NEW}}, "sender": {"login": "ada"}}
    opened = read_json({**request, "action": "opened"}, x_github_event="pull_request")
    pushed = read_json(
        {**request, "action": "synchronize", "before": OLD}, x_github_event="pull_request"
    )
    others = [
        read_json({**request, "action": action}, x_github_event="pull_request")
        for action in ("closed", "labeled", None)
    ]

    who = Person("ada", "", "ada")
    assert opened.changes == (HookChange("refs/pull/7/head", NONE, NEW, who),)
    assert pushed.changes == (HookChange("refs/pull/7/head", OLD, NEW, who),)
    assert {other.changes for other in others} == {()}


def test_new_commits_of_a_merge_request_are_told_and_nothing_else_of_it() -> None:
    request = {"iid": 7, "last_commit": {"id": NEW}}
    opened, pushed, other = (
        read_json(
            {"object_attributes": {**request, **more}, "user": {"name": "Ada", "username": "ada"}},
            x_gitlab_event="Merge Request Hook",
        ).changes
        for more in ({"action": "open"}, {"action": "update", "oldrev": OLD}, {"action": "update"})
    )

    who = Person("Ada", "", "ada")
    assert opened == (HookChange("refs/merge-requests/7/head", NONE, NEW, who),)
    assert pushed == (HookChange("refs/merge-requests/7/head", OLD, NEW, who),)
    assert other == ()


def test_bitbucket_tells_several_changes_at_once() -> None:
    cloud = {
        "actor": {"display_name": "Ada", "nickname": "ada"},
        "repository": {"links": {"html": {"href": "https://bitbucket.org/acme/website"}}},
        "push": {
            "changes": [
                {
                    "old": {"type": "branch", "name": "main", "target": {"hash": OLD}},
                    "new": {"type": "branch", "name": "main", "target": {"hash": NEW}},
                    "forced": False,
                },
                {"old": {"type": "tag", "name": "v1", "target": {"hash": OLD}}, "new": None},
            ]
        },
    }
    server = {
        "date": "2017-09-19T09:45:32+1000",
        "actor": {"name": "ada", "displayName": "Ada", "emailAddress": "ada@example.com"},
        "repository": {"links": {"clone": [{"href": "https://git.example.com/scm/acme/site.git"}]}},
        "changes": [{"ref": {"id": MAIN}, "fromHash": OLD, "toHash": NEW}],
    }

    of_cloud = read_json(cloud, x_event_key="repo:push", x_request_uuid="u")
    of_server = read_json(server, x_event_key="repo:refs_changed", x_request_id="i")

    who = Person("Ada", "", "ada")
    assert of_cloud.changes == (
        HookChange(MAIN, OLD, NEW, who, forced=False),
        HookChange("refs/tags/v1", OLD, NONE, who),
    )
    assert of_cloud.urls == ("https://bitbucket.org/acme/website",)
    at = datetime(2017, 9, 18, 23, 45, 32, tzinfo=UTC)
    assert of_server.changes == (HookChange(MAIN, OLD, NEW, ADA, at),)
    assert of_server.urls == ("https://git.example.com/scm/acme/site.git",)


def test_a_ping_is_a_ping() -> None:
    assert read_json({"zen": "Keep it logically awesome."}, x_github_event="ping").is_ping
    assert read_json({"test": True}, x_event_key="diagnostics:ping").is_ping


def test_gitlabs_webhooks_that_follow_from_one_another_are_told_apart() -> None:
    """Before 17.4 it names nothing but the event that all of them come from."""
    push = {"object_kind": "push"}
    first, again, other = (
        read_json(told, x_gitlab_event="Push Hook", x_gitlab_event_uuid="13792a34-cac6")
        for told in (push, push, {"object_kind": "push", "ref": "refs/heads/bot"})
    )

    assert first.delivery == again.delivery != other.delivery
    assert first.delivery.startswith("13792a34-cac6 ")


def test_who_names_no_delivery_is_known_by_the_body() -> None:
    one, again = (read_json(GITHUB, x_github_event="push") for _ in range(2))
    other = read_json({**GITHUB, "after": OLD}, x_github_event="push")

    assert one.delivery == again.delivery != other.delivery


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"1", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000),
        b'{"x": ' + b"9" * 5_000 + b"}",
    ],
)
def test_what_is_no_json_object_cannot_be_read(body: bytes) -> None:
    with pytest.raises(NotReadable):
        read({"content-type": "application/json"}, body)


def test_a_form_with_too_many_fields_cannot_be_read() -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}

    with pytest.raises(NotReadable):
        read(form, b"a=1&" * 1_000)
    with pytest.raises(NotReadable):
        read(form, b"other=1")


def test_of_a_huge_push_only_so_much_is_kept() -> None:
    changes = [
        {"ref": {"id": f"refs/heads/{number}"}, "fromHash": OLD, "toHash": NEW}
        for number in range(MOST_CHANGES + 1)
    ]

    told = read_json({"changes": changes}, x_event_key="repo:refs_changed")

    assert len(told.changes) == MOST_CHANGES


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([OLD, NONE, MAIN, "branch", "tag", "\0", "\ud800", "https://[", 10**20]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "ref",
                        "before",
                        "after",
                        "forced",
                        "pusher",
                        "sender",
                        "repository",
                        "project",
                    ),
                    *(
                        "name",
                        "email",
                        "login",
                        "push",
                        "changes",
                        "old",
                        "new",
                        "target",
                        "hash",
                        "date",
                    ),
                    *(
                        "type",
                        "links",
                        "clone",
                        "href",
                        "html",
                        "ref_type",
                        "sha",
                        "actor",
                        "id",
                        "user_name",
                    ),
                    *("fromHash", "toHash", "pushed_at", "clone_url", "event_name", "eventType"),
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)
EVENTS = st.sampled_from(
    [
        *(
            "push",
            "create",
            "delete",
            "ping",
            "pull_request",
            "Merge Request Hook",
            "Push Hook",
            "Tag Push Hook",
            "System Hook",
        ),
        *("repo:push", "repo:refs_changed", "issues", "", "\0"),
    ]
)


@settings(max_examples=400, deadline=None)
@given(
    body=st.dictionaries(st.sampled_from([*GITHUB, "push", "changes", "actor"]), ODD), event=EVENTS
)
def test_whatever_is_signed_is_read_or_left_out(body: dict[str, Any], event: str) -> None:
    told = read(
        {"content-type": "application/json", "x-github-event": event}, json.dumps(body).encode()
    )

    for change in told.changes:
        assert change.ref.startswith("refs/")
        assert len(change.ref) <= LONGEST_REF
        for commit in (change.before, change.after):
            assert commit is None or len(commit) in {40, 64}
    for text in (told.event, *told.urls, *(c.pusher.name for c in told.changes if c.pusher)):
        assert "\0" not in text or text in told.urls
