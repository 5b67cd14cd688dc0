"""The fakes of other receivers answer what the real ones were seen to answer."""

import hashlib
import hmac
import json
from typing import Any

import pytest

from tests.fakes.peers import buildbot, pipelines_as_code, webhook
from tests.fakes.receiver import Record

SECRET, OTHER = "s3cret", "another"
COMMIT = {"id": "c0ffee", "message": "A change", "author": {"name": "Ada"}}
PUSH: dict[str, Any] = {
    "ref": "refs/heads/main",
    "after": "c0ffee",
    "head_commit": COMMIT,
    "commits": [COMMIT],
    "sender": {"login": "ada"},
    "repository": {"html_url": "https://git.example.com/acme/site"},
}


def a_request(said: object = PUSH, *, secret: str = SECRET, **headers: str) -> Record:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    signatures = {
        name: hmac.new(secret.encode(), body, algorithm).hexdigest()
        for name, algorithm in (("sha256", hashlib.sha256), ("sha1", hashlib.sha1))
    }
    usual = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-Hub-Signature-256": f"sha256={signatures['sha256']}",
        "X-Hub-Signature": f"sha1={signatures['sha1']}",
    }
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Record(0.0, "POST", "/", usual | named, body, None, None)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (a_request(), 202),
        (a_request(secret=OTHER), 202),
        (a_request(PUSH | {"head_commit": None}), 202),
        (a_request(X_GitHub_Event="watch"), 200),
        (a_request(b"not JSON"), 400),
        (a_request({"ref": "refs/heads/main"}), 400),
    ],
)
def test_pipelines_as_code_says_202_for_what_it_takes(request_: Record, status: int) -> None:
    assert pipelines_as_code(request_)[0] == status


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        (a_request(), 200, b"1 change found"),
        (a_request(PUSH | {"commits": [COMMIT, COMMIT]}), 200, b"2 change found"),
        (a_request(PUSH | {"deleted": True, "head_commit": None}), 200, b"no change found"),
        (a_request(PUSH | {"head_commit": None}), 500, b"Error processing changes."),
        (a_request(secret=OTHER), 400, b"Hash mismatch"),
        (a_request(X_Hub_Signature=""), 400, b"Request has no required signature"),
        (a_request(Content_Type="application/json; charset=utf-8"), 400, b"Unknown content type"),
        (a_request(X_GitHub_Event="star"), 400, b"Unknown event"),
    ],
)
def test_buildbot_wants_sha1_and_one_exact_type(request_: Record, status: int, said: bytes) -> None:
    assert buildbot(SECRET)(request_)[::2] == (status, said)


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        (a_request(), 200, b""),
        (a_request(PUSH | {"ref": "refs/heads/x"}), 200, b"Hook rules were not satisfied."),
        (a_request(secret=OTHER), 500, b"Error occurred while evaluating hook rules."),
    ],
)
def test_webhook_says_500_to_a_wrong_signature(request_: Record, status: int, said: bytes) -> None:
    assert webhook(SECRET, ref="refs/heads/main")(request_)[::2] == (status, said)
