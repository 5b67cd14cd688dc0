"""``reposentry watch``: what its options mean, and how its mistakes are told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app import cli
from app.cli.watch import RECEIVER, configuration
from app.settings import Settings, from_mapping

SITE = "https://git.example.com/web/site"
MIRROR = "https://mirror.example.com/web/site.git"

Refuse = Callable[..., str]


def settings_for(*urls: str, **options: Any) -> Settings:
    usual: dict[str, Any] = {
        "to": None,
        "payload": "github",
        "branches": (),
        "tags": (),
        "interval": "15s",
        "secret_file": None,
    }
    return from_mapping(configuration(urls, **(usual | options)), {})


@pytest.fixture
def refuse(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Refuse:
    """Run the command in an empty folder, expect usage's exit code, and return what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WEBHOOK_SECRET", raising=False)

    def refuse(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            cli.main(["watch", *arguments])
        assert ended.value.code == 2
        return capsys.readouterr().err

    return refuse


def test_every_branch_and_tag_is_watched_unless_something_is_chosen() -> None:
    [both] = settings_for(SITE).repositories
    [branches] = settings_for(SITE, branches=["main"]).repositories
    [tags] = settings_for(SITE, tags=["v*"]).repositories

    assert both.refs.watches("refs/heads/topic")
    assert both.refs.watches("refs/tags/nightly")
    assert branches.refs.watches("refs/heads/main")
    assert not branches.refs.watches("refs/tags/v1")
    assert tags.refs.watches("refs/tags/v1")
    assert not tags.refs.watches("refs/heads/main")


def test_repositories_of_one_name_are_told_apart_by_their_places() -> None:
    watched = settings_for(SITE, MIRROR, "https://git.example.com/web/shop").repositories

    assert [repository.name for repository in watched] == [
        "git.example.com/web/site",
        "mirror.example.com/web/site",
        "web/shop",
    ]


def test_what_was_typed_is_taken_as_it_stands() -> None:
    settings = settings_for(
        SITE, to="http://127.0.0.1:9000/${TEAM}", branches=["/^release-[0-9]+$/"]
    )

    assert settings.receivers[RECEIVER].url == "http://127.0.0.1:9000/${TEAM}"
    assert settings.repositories[0].refs.watches("refs/heads/release-7")
    assert not settings.repositories[0].refs.watches("refs/heads/release-7x")


def test_an_interval_may_be_longer_than_the_usual_longest() -> None:
    assert settings_for(SITE, interval="1h").polling.max_interval.total_seconds() == 3600


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([SITE, "--interval", "5"], "--interval: «5» has no unit"),
        ([SITE, "--to", "nowhere"], "--to: «nowhere» is not a URL"),
        ([SITE, "--listen", "here"], "--listen: «here» is not HOST:PORT"),
        ([SITE, "--database", "here"], "--database: "),
        ([SITE, MIRROR, "--branch", "/[/"], "--branch: «/[/» is not a valid regular expression"),
        (["ftp://example.com/a"], "URL: «ftp://example.com/a» "),
        ([SITE, SITE], f"URL: {SITE} is watched already"),
        ([SITE, "--to", "http://127.0.0.1:1/", "--secret-file", "gone"], "--secret-file: "),
    ],
)
def test_a_mistake_names_the_option_and_is_told_once(
    arguments: list[str], told: str, refuse: Refuse
) -> None:
    said = refuse(*arguments)

    assert said.startswith(f"command line: {told}")
    assert said.count("\n") == 1


def test_a_payload_that_is_not_there_is_refused_although_nothing_is_delivered(
    refuse: Refuse,
) -> None:
    assert "'github', 'gitlab', 'standard'" in refuse(SITE, "--payload", "nonsense")


def test_a_secret_that_would_sign_nothing_is_refused(refuse: Refuse) -> None:
    assert "give --to as well" in refuse(SITE, "--secret-file", "secret.txt")
