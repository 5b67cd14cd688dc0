"""Webhooks as the forges really send them: GitHub's own examples, and one that Gitea sent."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.domain.hook import HookMessage
from app.domain.secret import Secret
from app.forges.hooks import is_signed, read
from tests.fakes.clock import NOON
from tests.receivers.programs import find_node_modules

SECRET = Secret("sesame, open")
RECORDED = Path(__file__).parent / "recorded"
NONE = "0" * 40


def read_signed(event: str, told: Any) -> HookMessage:
    body = json.dumps(told).encode()
    headers = {
        "content-type": "application/json",
        "x-github-event": event,
        "x-github-delivery": "1",
        "x-hub-signature-256": "sha256="
        + hmac.new(SECRET.reveal().encode(), body, hashlib.sha256).hexdigest(),
    }
    assert is_signed("github", SECRET, headers, body, now=NOON)
    return read(headers, body)


@pytest.fixture(scope="module")
def examples() -> list[tuple[str, dict[str, Any]]]:
    """Every example of every event, of github.com and of Enterprise Server."""
    package = "@octokit/webhooks-examples"
    return list(_examples(find_node_modules(package) / package))


def _examples(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(folder.glob("*/index.json")):
        for event in json.loads(file.read_text("utf-8")):
            for example in event["examples"]:
                yield event["name"], example


def test_every_example_of_githubs_is_read(examples: list[tuple[str, dict[str, Any]]]) -> None:
    for event, example in examples:
        told = read_signed(event, example)

        assert told.event == event
        assert told.is_ping == (event == "ping")
        is_about_refs = event in {"push", "create", "delete"}
        is_pull = event == "pull_request" and example["action"] in {"opened", "synchronize"}
        assert len(told.changes) == (is_about_refs or is_pull), (event, example)
    assert {"push", "create", "delete", "ping", "issues"} <= {event for event, _ in examples}


def test_githubs_pushes_are_read_whole(examples: list[tuple[str, dict[str, Any]]]) -> None:
    for event, example in examples:
        if event != "push":
            continue
        told = read_signed(event, example)

        (change,) = told.changes
        assert (change.ref, change.before, change.after) == tuple(
            example[name] for name in ("ref", "before", "after")
        )
        assert change.forced is example["forced"]
        assert change.pusher is not None
        assert change.pusher.username == example["sender"]["login"]
        assert change.pusher.email == example["pusher"]["email"]
        assert change.pushed_at is not None
        assert change.pushed_at.timestamp() == example["repository"]["pushed_at"]
        assert example["repository"]["clone_url"] in told.urls
        assert example["repository"]["ssh_url"] in told.urls


def test_what_gitea_sent_is_read_whole() -> None:
    example = json.loads((RECORDED / "gitea-1.17-push.json").read_text("utf-8"))

    told = read_signed("push", example)

    (change,) = told.changes
    assert (change.ref, change.before, change.after) == (
        "refs/heads/feature/x",
        NONE,
        example["after"],
    )
    assert change.pusher is not None
    assert change.pusher.username == example["pusher"]["login"]
    assert set(told.urls) == {
        "http://127.0.0.1:13000/acme/app.git",
        "gitsvc@localhost:acme/app.git",
        "http://127.0.0.1:13000/acme/app",
    }
