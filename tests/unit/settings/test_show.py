"""Settings are shown as a file would say them, and no secret is shown."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from app.settings import from_mapping
from app.settings.json_schema import json_schema
from app.settings.show import masked, secrets_of
from tests.unit.settings.conftest import Load

EVERYTHING = """
server: {listen: '[::1]:8080', public_url: https://status.example.com/, trusted_proxy: 127.0.0.1}
storage: {url: 'postgresql+psycopg://sentry:hunter2@db/sentry', retention: 1d12h}
polling: {policy: fixed, interval: 1500ms, max_interval: 1h, objective: 10s for 99.5%}
forges:
  github: {token: hunter2, share: 50%}
  work: {kind: gitlab, url: https://git.example.com, tokens: [hunter2, hunter22]}
receivers:
  ci:
    url: https://ci.example.com/hook?token=hunter2&x=1
    secret: hunter2
    previous_secret: hunter22
    headers: {Authorization: Bearer hunter2}
    rate: 30/m
    retry: {first: 1s, give_up: 1d}
    changes: [created]
defaults: {tags: ['v*'], receivers: [ci]}
repositories:
  - {url: 'https://bob:hunter2@git.example.com/a', branches: [main], labels: {team: web}}
  - {url: ./local, name: here, enabled: false, interval: 1m, priority: 2.5}
discover: [{forge: work, owner: acme, exclude: [old]}]
security: {encryption_key: 'hunter2,hunter22', metrics_token: hunter2}
alerts: {channels: [{url: 'mailto://hunter2@x', 'on': [dead]}], heartbeat_url: https://x/hunter2}
"""


def test_what_is_shown_can_be_loaded_again_and_means_the_same(loaded: Load) -> None:
    settings = loaded(EVERYTHING)

    shown = masked(settings)
    again = from_mapping(json.loads(json.dumps(shown)), {})

    assert masked(again) == shown
    assert again.polling == settings.polling
    assert [dataclasses.replace(r, credentials=None) for r in again.repositories] == [
        dataclasses.replace(r, credentials=None) for r in settings.repositories
    ]
    assert again.receivers["ci"].retry == settings.receivers["ci"].retry


def test_no_secret_is_shown(loaded: Load) -> None:
    shown = yaml.safe_dump(masked(loaded(EVERYTHING)), allow_unicode=True)

    assert "hunter2" not in shown
    assert "postgresql+psycopg://sentry:••••••@db/sentry" in shown
    assert "https://ci.example.com/hook?token=••••••&x=••••••" in shown
    assert "https://••••••@git.example.com/a" in shown


def test_every_secret_is_listed_for_the_logs_to_mask(loaded: Load) -> None:
    listed = {secret.reveal() for secret in secrets_of(loaded(EVERYTHING))}

    assert listed == {
        "hunter2",
        "hunter22",
        "postgresql+psycopg://sentry:hunter2@db/sentry",
        "mailto://hunter2@x",
        "https://x/hunter2",
    }


def test_the_json_schema_is_one_and_knows_a_right_file_from_a_wrong_one() -> None:
    schema = json_schema()
    validator = jsonschema.Draft202012Validator(schema)

    jsonschema.Draft202012Validator.check_schema(schema)

    assert list(validator.iter_errors(yaml.safe_load(EVERYTHING))) == []
    wrongs: list[dict[str, Any]] = [
        {"servr": {}},
        {"polling": {"interval": 15}},
        {"polling": {"workers": 0}},
        {"polling": {"policy": "fast"}},
        {"repositories": [{"name": "x"}]},
        {"receivers": {"ci": {"url": "ftp://x"}}},
        {"storage": {"url": "oracle://x"}},
        {"defaults": {"branches": "main"}},
    ]
    for wrong in wrongs:
        assert list(validator.iter_errors(wrong)) != [], wrong


def test_the_json_schema_tells_defaults_and_lets_the_environment_in() -> None:
    polling = json_schema()["properties"]["polling"]["properties"]
    validator = jsonschema.Draft202012Validator(json_schema())

    assert (polling["interval"]["default"], polling["workers"]["default"]) == ("15s", 64)
    assert polling["interval"]["description"] != ""
    assert list(validator.iter_errors({"polling": {"workers": "${WORKERS:-8}"}})) == []


@pytest.mark.parametrize("name", ["default.yaml", "example.yaml"])
def test_the_files_that_come_with_the_program_fit_the_json_schema(name: str) -> None:
    text = (Path(__file__).parents[3] / "config" / name).read_text("utf-8")

    assert (
        list(jsonschema.Draft202012Validator(json_schema()).iter_errors(yaml.safe_load(text))) == []
    )
