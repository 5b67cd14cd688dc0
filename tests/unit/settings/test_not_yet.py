"""What has no effect yet is said, once for each place where a file asks for it."""

import pytest

from app.settings import not_yet
from app.settings.not_yet import NOT_YET
from tests.unit.settings.conftest import Load, Wrong


def test_settings_without_effect_are_accepted_and_warned_of(loaded: Load) -> None:
    settings = loaded(
        "polling: {policy: adaptive, objective: 20s for 90%}\n"
        "repositories:\n"
        "  - {url: 'https://x.io/a', paths: ['src/**'], pull_requests: true, priority: 2}\n"
        "discover: [{forge: github, owner: acme}]\n"
        "security: {encryption_key: abc, metrics_token: abc}\n"
        "alerts: {channels: [{url: 'json://x'}], heartbeat_url: 'https://x.io/'}\n"
    )

    assert [(w.line, w.path, w.message) for w in settings.warnings] == [
        (line, path, not_yet.NO_EFFECT)
        for line, path in [
            (1, "polling.policy"),
            (1, "polling.objective"),
            (4, "discover"),
            (5, "security.encryption_key"),
            (5, "security.metrics_token"),
            (6, "alerts.channels"),
            (6, "alerts.heartbeat_url"),
        ]
    ]


def test_a_default_that_is_written_down_is_not_warned_of(loaded: Load) -> None:
    settings = loaded(
        "polling: {policy: fixed, objective: 30s for 95%}\n"
        "repositories: [{url: 'https://x.io/a', paths: [], pull_requests: no, priority: 1}]\n"
        "discover: []\n"
        "security: {tokens: auto, allow_private_networks: true, metrics_token: null}\n"
    )

    assert settings.warnings == ()


def test_a_key_without_a_value_is_not_warned_of(loaded: Load) -> None:
    settings = loaded("discover:\nalerts:\n  channels:\n  heartbeat_url:\n")

    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("security: {allow_private_networks: false}", "security.allow_private_networks"),
    ],
)
def test_what_cannot_be_ignored_without_harm_is_refused(
    text: str, path: str, mistakes: Wrong
) -> None:
    (mistake,) = mistakes(text)

    assert mistake.path == path
    assert "not available in this version" in mistake.message


@pytest.mark.parametrize("rule", NOT_YET, ids=lambda rule: rule.path)
def test_each_rule_names_a_setting_that_exists(rule: not_yet.NotYet) -> None:
    # Raises where a step of the path is no setting.
    not_yet._default(rule.path.split("."))  # noqa: SLF001 - the walk along a path is not public
