"""What a right configuration means, in all the ways it may be written."""

import time
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from app.domain.errors import ConfigurationInvalid
from app.domain.paths import PathFilter
from app.domain.refs import RefFilter
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.settings import Objective, Settings, from_mapping, load
from app.settings.show import masked
from tests.unit.settings.conftest import Load, Write

RECEIVERS = "receivers: {ci: {url: 'https://ci.example.com/'}, chat: {url: 'https://chat.io/'}}\n"


def test_nothing_written_means_the_defaults() -> None:
    settings = load(None, {})

    assert settings.polling == Settings().polling
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert list(settings.forges) == ["github", "gitlab", "bitbucket", "azure", "git"]
    assert settings.warnings == ()


def test_values_are_read_with_their_units(loaded: Load) -> None:
    settings = loaded(
        "server: {listen: '[::1]:0', threads: 4}\n"
        "storage: {retention: 7d}\n"
        "polling: {policy: fixed, interval: 500ms, max_interval: 1h30m, objective: 10s for 99.5%}\n"
        "forges: {github: {share: 55%}}\n"
        "receivers: {ci: {url: 'https://ci.example.com', rate: 30/m, expect: 202, changes: []}}\n"
    )

    assert (settings.server.host, settings.server.port, settings.server.threads) == ("::1", 0, 4)
    assert settings.storage.retention == timedelta(days=7)
    assert settings.polling.interval == timedelta(milliseconds=500)
    assert settings.polling.max_interval == timedelta(minutes=90)
    assert settings.polling.objective == Objective(timedelta(seconds=10), 0.995)
    assert settings.forges["github"].share == 0.55
    assert (settings.receivers["ci"].rate, settings.receivers["ci"].expect) == (0.5, "202")


def test_words_that_yaml_would_take_for_numbers_stay_words(loaded: Load) -> None:
    settings = loaded(
        "repositories:\n"
        "  - {url: 'https://x.io/a', branches: [1.10, on, 0x1f], labels: {since: 2026-01-02}}\n"
        "alerts: {channels: [{url: 'json://x', on: [dead]}]}\n"
    )

    (repository,) = settings.repositories
    assert repository.refs.branches == ("1.10", "on", "0x1f")
    assert repository.labels == {"since": "2026-01-02"}
    assert settings.alerts.channels[0].on == ("dead",)


def test_the_environment_fills_in_any_value(loaded: Load) -> None:
    settings = loaded(
        "server: {threads: '${THREADS}'}\n"
        "polling: {interval: '${PACE:-20s}'}\n"
        "logging: {file: '${LOG:-}'}\n"
        "repositories: [{url: 'https://${HOST}/a', labels: {price: '5 $$ ${HOST}'}}]\n",
        {"THREADS": "3", "HOST": "git.example.com"},
    )

    assert settings.server.threads == 3
    assert settings.polling.interval == timedelta(seconds=20)
    assert settings.logging.file is None
    assert settings.repositories[0].url == "https://git.example.com/a"
    assert settings.repositories[0].labels == {"price": "5 $ git.example.com"}


def test_a_variable_that_is_empty_is_no_secret(write: Write) -> None:
    file = write("receivers: {ci: {url: 'https://x.io/', secret: '${KEY}'}}\n")

    with pytest.raises(ConfigurationInvalid, match="KEY is empty"):
        load(file, {"KEY": ""})


def test_a_secret_may_lie_in_a_file_beside_the_configuration(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("ghp_abc\r\n", encoding="utf-8")
    (tmp_path / "db").write_text("postgresql+psycopg://u:p@db/x\n", encoding="utf-8")

    settings = loaded("forges: {github: {token_file: token}}\nstorage: {url_file: db}\n")

    assert settings.forges["github"].tokens == (Secret("ghp_abc"),)
    assert settings.storage.url.reveal() == "postgresql+psycopg://u:p@db/x"


def test_the_command_line_is_over_the_file(write: Write) -> None:
    file = write("server: {listen: 'nonsense', threads: 3}\nstorage: {url: 'sqlite:///a.db'}\n")

    settings = load(file, {}, listen="localhost:9", database="sqlite:///$b.db")

    assert (settings.server.host, settings.server.port, settings.server.threads) == (
        "localhost",
        9,
        3,
    )
    assert settings.storage.url.reveal() == "sqlite:///$b.db"


def test_a_mistake_on_the_command_line_is_told_of_it(write: Write) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        load(write("polling: {workers: 8}\n"), {}, listen="here")

    assert str(caught.value).startswith("command line: server.listen: «here» is not HOST:PORT")


def test_a_missing_file_does_not_hide_a_wrong_command_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        load(tmp_path / "nowhere.yaml", {}, database="oracle://x")

    assert [m.message[:23] for m in caught.value.mistakes] == [
        "there is no such file",
        "the value begins with n",
    ]


def test_a_folder_or_a_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"server:\n  public_url: caf\xe9\n")

    with pytest.raises(ConfigurationInvalid, match=r"latin.yaml:2:18: is not UTF-8 text"):
        load(latin, {})
    with pytest.raises(ConfigurationInvalid, match=r"is a folder|cannot be read"):
        load(tmp_path, {})


def test_settings_can_be_made_without_a_file() -> None:
    settings = from_mapping(
        {
            "repositories": [{"url": "https://x.io/a", "branches": ["main"], "enabled": True}],
            "polling": {"interval": "1s", "workers": 2},
            "receivers": {"to": {"url": "http://127.0.0.1:9/", "secret": None}},
        },
        {},
    )

    assert settings.repositories[0].receivers == ("to",)
    assert settings.polling.workers == 2
    assert settings.files == ()
    with pytest.raises(ConfigurationInvalid, match=r"^command line: polling.workers: «0»"):
        from_mapping({"polling": {"workers": 0}}, {})


def test_shared_values_are_written_once_with_an_anchor(loaded: Load) -> None:
    settings = loaded(
        "x-usual: &usual {branches: [main], labels: {team: web}}\n"
        "repositories:\n"
        "  - {<<: *usual, url: 'https://x.io/a'}\n"
        "  - {<<: *usual, url: 'https://x.io/b', branches: [dev]}\n"
    )

    assert [r.refs.branches for r in settings.repositories] == [("main",), ("dev",)]
    assert [r.labels for r in settings.repositories] == [{"team": "web"}] * 2


@pytest.mark.parametrize(
    "text",
    [
        "x-a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"x-{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in pairwise("abcdef")),
        "server: " + "[" * 100_000,
        "x-a: &a [*a]\n",
    ],
    ids=["a bomb of aliases", "a hundred thousand brackets", "an alias of itself"],
)
def test_a_hostile_file_is_refused_at_once(text: str, write: Write) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"too large|too deeply|nothing above"):
        load(write(text), {})


def test_what_is_left_empty_is_the_default(loaded: Load) -> None:
    settings = loaded("server:\nforges:\nreceivers:\nrepositories:\ndefaults: {tags: }\ninclude:\n")

    assert settings.server == Settings().server
    assert settings.defaults == Settings().defaults


def test_a_repository_takes_what_it_does_not_say_from_the_defaults(loaded: Load) -> None:
    settings = loaded(
        RECEIVERS + "polling: {interval: 20s}\n"
        "defaults: {branches: [main], tags: ['v*'], receivers: [chat]}\n"
        "repositories:\n"
        "  - url: https://git.example.com/a/b.git\n"
        "  - {url: 'https://git.example.com/c', branches: [], receivers: [ci], interval: 1m}\n"
    )

    one, two = settings.repositories
    assert (one.name, one.refs.branches, one.refs.tags) == ("a/b", ("main",), ("v*",))
    assert (one.receivers, one.interval) == (("chat",), timedelta(seconds=20))
    assert (two.name, two.refs.branches, two.refs.tags) == ("c", (), ("v*",))
    assert (two.receivers, two.interval) == (("ci",), timedelta(minutes=1))


def test_a_receiver_that_is_named_twice_is_owed_each_event_once(loaded: Load) -> None:
    settings = loaded(
        RECEIVERS + "repositories: [{url: 'https://github.com/a/b', receivers: [ci, chat, ci]}]\n"
    )

    assert settings.repositories[0].receivers == ("ci", "chat")


def test_a_template_is_read_from_its_file(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / "ci.json.j2").write_text("{}\n", encoding="utf-8")

    settings = loaded(
        "receivers: {ci: {url: 'https://x.io/', payload: template, template: ci.json.j2,"
        " headers: {Content-Type: text/plain}}}\n"
    )

    receiver = settings.receivers["ci"]
    assert (receiver.template, receiver.template_file) == ("{}\n", tmp_path / "ci.json.j2")
    assert masked(settings)["receivers"]["ci"]["template"] == str(tmp_path / "ci.json.j2")


def test_a_receiver_wants_all_that_is_watched_unless_it_says_otherwise(loaded: Load) -> None:
    settings = loaded(
        "receivers:\n"
        "  all: {url: 'https://x.io/all'}\n"
        "  releases: {url: 'https://x.io/some', branches: ['release-*'], tags: []}\n"
    )

    everything, some = settings.receivers["all"].refs, settings.receivers["releases"].refs
    assert everything == RefFilter(branches=("*",), tags=("*",))
    assert some == RefFilter(branches=("release-*",), tags=())
    assert masked(settings)["receivers"]["releases"]["branches"] == ["release-*"]


def test_no_receivers_named_means_all(loaded: Load) -> None:
    settings = loaded(RECEIVERS + "repositories: [{url: 'https://x.io/a', receivers: []}]\n")

    assert settings.repositories[0].receivers == ("ci", "chat")


def test_credentials_leave_the_url(loaded: Load) -> None:
    settings = loaded(
        "repositories:\n"
        "  - url: https://bob:s3cret@git.example.com/a\n"
        "  - url: https://t0ken@git.example.com/b\n"
        "  - url: ssh://git@git.example.com/c\n"
    )

    assert [(r.url, r.credentials) for r in settings.repositories] == [
        ("https://git.example.com/a", ("bob", Secret("s3cret"))),
        ("https://git.example.com/b", ("t0ken", Secret(""))),
        ("ssh://git@git.example.com/c", None),
    ]


def test_a_local_path_starts_at_the_folder_of_its_file(loaded: Load, tmp_path: Path) -> None:
    settings = loaded("repositories: [{url: ./repositories/My site.git}]\n")

    (repository,) = settings.repositories
    assert repository.url == str(tmp_path / "repositories" / "My site.git")
    assert (repository.name, repository.forge) == ("My-site", "git")


FORGES = """
forges:
  github: {token: abc}
  work: {kind: gitlab, url: https://git.example.com}
  deep: {kind: gitea, url: https://git.example.com/gitea/}
  ghe: {kind: github, url: 'https://GHE.example.com:443', api_url: https://api.ghe.example.com/v3}
  stash: {kind: bitbucket-server, url: https://stash.example.com/bitbucket, token: abc}
  gogs: {url: https://gogs.example.com}
  azure: {token: abc}
  old: {kind: azure, url: https://fabrikam.visualstudio.com, token: abc}
"""


@pytest.mark.parametrize(
    ("url", "forge"),
    [
        ("https://github.com/a/b", "github"),
        ("git@github.com:a/b.git", "github"),
        ("https://gitlab.com/a/b", "gitlab"),
        ("git@gitlab.com:a/b.git", "git"),  # without a token the API would not know us
        ("https://git.example.com/a/b", "work"),
        ("https://git.example.com/gitea/a/b", "deep"),
        ("https://git.example.com/gitea2/b", "work"),
        ("https://git.example.com:8443/a/b", "git"),
        ("https://github.com.evil.example/a/b", "git"),
        ("https://ghe.example.com/a/b", "ghe"),
        ("git://git.example.com/a", "git"),
        ("ssh://git@ssh.github.com:443/a/b.git", "github"),
        ("https://bitbucket.org/a/b", "bitbucket"),
        ("https://stash.example.com/bitbucket/scm/a/b.git", "stash"),
        ("ssh://git@stash.example.com:7999/a/b.git", "stash"),
        ("https://gogs.example.com/a/b", "gogs"),
        ("https://acme@dev.azure.com/acme/web/_git/site", "azure"),
        ("git@ssh.dev.azure.com:v3/acme/web/site", "azure"),
        ("https://fabrikam.visualstudio.com/web/_git/site", "old"),
        ("fabrikam@vs-ssh.visualstudio.com:v3/Fabrikam/web/site", "old"),
        ("other@vs-ssh.visualstudio.com:v3/other/web/site", "git"),
    ],
)
def test_the_longest_url_says_which_forge_serves_a_repository(
    url: str, forge: str, loaded: Load
) -> None:
    settings = loaded(
        FORGES + f"repositories: [{{url: '{url}'}}]\nsecurity: {{require_https: false}}\n"
    )

    assert settings.repositories[0].forge == forge
    assert forge in settings.forges


def test_a_forge_has_its_api_where_its_kind_has_it(loaded: Load) -> None:
    forges = loaded(FORGES).forges

    assert {name: forge.api_url for name, forge in forges.items()} == {
        "github": "https://api.github.com",
        "gitlab": "https://gitlab.com/api/v4",
        "work": "https://git.example.com/api/v4",
        "deep": "https://git.example.com/gitea/api/v1",
        "ghe": "https://api.ghe.example.com/v3",
        "stash": "https://stash.example.com/bitbucket/rest/api/1.0",
        "gogs": "https://gogs.example.com/api/v1",
        "azure": "https://dev.azure.com",
        "old": "https://fabrikam.visualstudio.com",
        "bitbucket": "https://api.bitbucket.org/2.0",
        "git": None,
    }


def test_a_public_forge_is_known_under_the_name_its_entry_gives_it(loaded: Load) -> None:
    settings = loaded(
        "forges: {mine: {kind: github}, gitlab: {url: 'https://gitlab.example.com'}}\n"
    )

    assert {name: forge.url for name, forge in settings.forges.items()} == {
        "mine": "https://github.com",
        "gitlab": "https://gitlab.example.com",
        "gitlab.com": "https://gitlab.com",
        "bitbucket": "https://bitbucket.org",
        "azure": "https://dev.azure.com",
        "git": "",
    }


@pytest.mark.parametrize(
    ("url", "credentials"),
    [
        ("https://acme@dev.azure.com/acme/web/_git/site", None),
        ("https://acme:pat@dev.azure.com/acme/web/_git/site", ("acme", Secret("pat"))),
        ("https://ada@bitbucket.org/acme/site.git", None),
        ("https://t0ken@github.com/acme/site.git", ("t0ken", Secret(""))),
        ("https://t0ken@git.example.com/acme/site.git", ("t0ken", Secret(""))),
    ],
)
def test_a_name_in_a_url_is_a_credential_where_it_may_be_a_token(
    url: str, credentials: object, loaded: Load
) -> None:
    settings = loaded(f"repositories: [{{url: '{url}'}}]\n")

    assert settings.repositories[0].credentials == credentials


def test_a_repository_is_called_by_its_project_without_marks_of_the_forge(loaded: Load) -> None:
    settings = loaded(
        "repositories:\n"
        "  - url: https://acme@dev.azure.com/acme/my%20web/_git/site\n"
        "  - url: https://stash.example.com/scm/ACME/site.git\n"
    )

    assert [one.name for one in settings.repositories] == ["acme/my-web/site", "ACME/site"]


def test_a_forge_may_want_a_user_name_with_its_token(loaded: Load) -> None:
    settings = loaded("forges: {bitbucket: {username: ada@example.com, token: abc}}\n")

    assert settings.forges["bitbucket"].username == "ada@example.com"


def test_loopback_and_exempt_hosts_may_do_without_tls(loaded: Load) -> None:
    settings = loaded(
        "receivers:\n"
        "  el: {url: http://el-x.ci.svc:8080}\n"
        "  here: {url: 'http://[::1]:9/'}\n"
        "  lab: {url: http://lab.example.com/}\n"
        "security: {allow_http: ['*.SVC', lab.example.com]}\n"
    )

    assert list(settings.receivers) == ["el", "here", "lab"]


def test_opening_to_others_is_possible_knowingly(loaded: Load) -> None:
    settings = loaded("server: {listen: '0.0.0.0:80'}\nsecurity: {tokens: off}\n")

    assert (settings.server.host, settings.security.tokens) == ("0.0.0.0", "off")  # noqa: S104 - the point


@pytest.mark.slow
def test_a_thousand_repositories_load_fast(write: Write) -> None:
    file = write(
        "repositories:\n"
        + "".join(
            f"  - url: https://github.com/acme/service-{number}\n"
            "    branches: [main, 'release-*']\n"
            "    labels: {team: platform}\n"
            for number in range(1000)
        )
    )
    load(None, {})  # the schema is made once

    took_s = []
    for _ in range(3):
        begun = time.process_time()
        settings = load(file, {})
        took_s.append(time.process_time() - begun)

    assert isinstance(settings.repositories[-1], Repository)
    assert len(settings.repositories) == 1000
    # CPU time of the best of three, and room for a machine half as fast as the one of the budget.
    assert min(took_s) < 2 * 0.15


def test_a_repository_may_choose_paths_and_pull_requests(loaded: Load) -> None:
    settings = loaded(
        "repositories:\n"
        "  - {url: 'https://x.io/a', paths: ['src/**', '!**/*.md'], pull_requests: yes}\n"
        "  - {url: 'https://x.io/b', paths: [], pull_requests: no}\n"
    )
    chosen, all_of_it = settings.repositories

    assert chosen.paths == PathFilter(("src/**", "!**/*.md"))
    assert chosen.refs.wants_pulls
    assert not all_of_it.paths
    assert not all_of_it.refs.wants_pulls
    assert settings.warnings == ()
