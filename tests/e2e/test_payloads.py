"""One push is told in every payload, signed, with what the forge told of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.delivery.payloads import PAYLOADS, TEMPLATE
from tests.e2e.scene import MAIN, SECRET, wait_watched, write_configuration
from tests.fakes.git_repository import GitRepository
from tests.fakes.process import RunningSentry
from tests.fakes.receiver import Record, RecordingReceiver

pytestmark = pytest.mark.slow

DEADLINE_S = 30.0
FORMATS = (*PAYLOADS, TEMPLATE)


def settings_of(receiver: RecordingReceiver) -> dict[str, Mapping[str, Any]]:
    """Return a receiver for each payload, and one that wants releases alone."""
    settings: dict[str, dict[str, Any]] = {
        payload: {"url": f"{receiver.url}{payload}", "payload": payload} for payload in FORMATS
    }
    settings[TEMPLATE]["template"] = "said.json.j2"
    settings["releases"] = {"url": f"{receiver.url}releases", "branches": ["release-*"], "tags": []}
    return {**settings}


def by_path(records: list[Record]) -> dict[str, Record]:
    return {record.path.strip("/"): record for record in records}


def data_of(record: Record) -> Any:
    """Return what a delivery says, without the envelope of structured CloudEvents."""
    return record.json["data"] if record.path == "/cloudevents" else record.json


def test_one_push_is_told_in_every_payload_to_whom_it_concerns(tmp_path: Path) -> None:
    repository = GitRepository.create(tmp_path / "site.git")
    repository.commit()
    (tmp_path / "said.json.j2").write_text(
        '{"ref": {{ event.ref | tojson }}, "commits": {{ commits | tojson }}}', encoding="utf-8"
    )
    with RecordingReceiver(SECRET) as receiver:
        file = write_configuration(
            tmp_path,
            database="sqlite:///reposentry.db",
            repositories=[{"url": str(repository.path), "name": "site"}],
            receivers=settings_of(receiver),
        )
        with RunningSentry("run", "-c", str(file), folder=tmp_path) as sentry:
            sentry.wait_ready()
            wait_watched(sentry, ["site"])
            made = repository.commit(message='Say "größe"')
            told = by_path(receiver.wait_for(len(FORMATS), DEADLINE_S))
            repository.branch("release-1")
            later = receiver.wait_for(2 * len(FORMATS) + 1, DEADLINE_S)

    assert set(told) == set(FORMATS)
    for payload, record in told.items():
        data = data_of(record)
        assert data["ref"] == MAIN
        newest = data["commits"][-1]
        assert (newest["id"], newest["message"].strip()) == (made, 'Say "größe"')
        if payload == "gitlab":
            assert record.header("X-Gitlab-Token") == SECRET
        else:
            assert record.valid
    (release,) = [record for record in later if record.path == "/releases"]
    assert json.loads(release.body)["ref"] == "refs/heads/release-1"
