"""``doctor`` asks forges, receivers and the database, and says what to do about what it finds."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import commands, main
from app.runtime import utc_now
from app.services.checkup import Checkup, Finding, Level
from app.settings import load
from app.storage import migrate
from app.storage.database import Database
from tests.fakes.github import FakeGitHub
from tests.fakes.quick_http import TLS, Answer, QuickServer, Request

SECRET = "ghp_the-token-nobody-may-see"  # noqa: S105 - opens nothing but the fake
OTHER = "ghp_another-of-these"
UNUSED_PORT = 1  # nobody listens there
NOON = datetime(2026, 11, 5, 12, tzinfo=UTC)


@dataclass
class GitLab:
    """What a GitLab says of a token, and nothing else."""

    token: dict[str, Any] = field(default_factory=dict)
    status: int = 200


class FakeGitLab(QuickServer):
    """Answers about one token; ``read_api`` opens nothing here but that."""

    def __init__(self, says: GitLab) -> None:
        super().__init__()
        self.says = says
        self.signed: list[str] = []

    def respond(self, request: Request) -> Answer:
        """Answer about the token; the root is a page as any."""
        if request.path.endswith("/personal_access_tokens/self"):
            self.signed.append(request.headers.get("private-token", ""))
            return Answer(self.says.status, json.dumps(self.says.token).encode())
        return Answer(404, b"{}")


class DatedGitHub(FakeGitHub):
    """Tells with each answer what its token is good for, and until when."""

    told: tuple[tuple[str, str], ...] = ()

    def respond(self, request: Request) -> Answer:
        """Answer as a GitHub does."""
        answer = super().respond(request)
        answer.headers = [*answer.headers, *self.told]
        return answer


@pytest.fixture
def github() -> Iterator[DatedGitHub]:
    with DatedGitHub(tokens=(SECRET, OTHER)) as forge:
        forge.hosting.create("acme/site", branches=2)
        yield forge


@pytest.fixture
def gitlab() -> Iterator[FakeGitLab]:
    with FakeGitLab(GitLab()) as forge:
        yield forge


@pytest.fixture
def config(tmp_path: Path, github: DatedGitHub) -> Path:
    return write(tmp_path, github=github.address)


def write(
    folder: Path,
    *,
    github: str,
    tokens: tuple[str, ...] = (SECRET,),
    more: str = "",
    receiver: str = "",
    interval: str = "15s",
    database: str = "r.db",
    share: str = "80%",
) -> Path:
    file = folder / "reposentry.yaml"
    receivers = (
        f'receivers: {{ci: {{url: "{receiver}", secret: sign-with-this}}}}' if receiver else ""
    )
    file.write_text(
        f"""
storage: {{url: "sqlite:///{(folder / database).as_posix()}"}}
polling: {{interval: {interval}}}
{receivers}
forges:
  github:
    kind: github
    url: "{github}"
    api_url: "{github}/api/v3"
    tokens: [{", ".join(tokens)}]
    share: {share}
{more}
repositories:
  - {{url: "{github}/acme/site"}}
""",
        encoding="utf-8",
    )
    return file


def doctor(config: Path, *words: str) -> Result:
    return CliRunner().invoke(commands, ["doctor", "--config", str(config), *words])


def findings(config: Path, subject: str, *, ahead: timedelta = timedelta(0)) -> list[Finding]:
    """Look at one thing only, by a clock that may be wrong."""
    checkup = Checkup(load(config, {}), now=lambda: utc_now() + ahead, timeout_s=5.0)
    try:
        return [one for name, look in checkup.tasks() if name == subject for one in look()]
    finally:
        checkup.close()


def test_what_is_all_right_is_said_in_a_line_each(config: Path) -> None:
    told = doctor(config)

    assert told.exit_code == 0, told.output
    assert "has no mistakes: 1 repository, 0 receivers" in told.output
    assert "ok       database: " in told.output
    assert "is not there yet; the first run makes it" in told.output
    assert "ok       github: token signs in: a classic token\n" in told.output
    assert "acme/site is read by rest: 2 of its refs are watched" in told.output
    assert "github: every interval is kept." in told.output
    assert told.output.endswith("All is well.\n")
    assert not (config.parent / "r.db").exists()


def test_json_has_the_same_and_no_secret(config: Path, github: DatedGitHub) -> None:
    github.revoke(SECRET)

    told = doctor(config, "--json")

    found = json.loads(told.output)
    assert told.exit_code == 1
    assert found["problems"] > 0
    assert found["checks"][0].keys() == {"subject", "level", "says", "remedy"}
    assert SECRET not in told.output


def test_a_token_that_is_refused_is_a_problem_and_the_others_go_on(
    tmp_path: Path, github: DatedGitHub
) -> None:
    github.revoke(SECRET)

    told = doctor(write(tmp_path, github=github.address, tokens=(SECRET, OTHER)))

    assert told.exit_code == 1
    assert "problem  github: token 1: sign-in was refused (401)" in told.output
    assert "Make a new one and put it into forges.github." in told.output
    assert "ok       github: token 2 signs in" in told.output
    assert SECRET not in told.output


def test_a_token_that_ends_soon_or_may_too_much_is_a_warning(
    config: Path, github: DatedGitHub
) -> None:
    soon = utc_now() + timedelta(days=5, minutes=1)
    github.told = (
        ("github-authentication-token-expiration", f"{soon:%Y-%m-%d %H:%M:%S} UTC"),
        ("X-OAuth-Scopes", "repo, admin:org"),
    )

    found = findings(config, "github")
    told = doctor(config)

    warnings = [one for one in found if one.level is Level.WARNING]
    assert [one.remedy is None for one in warnings] == [False, False]
    assert f"until {soon:%Y-%m-%d}, which is in 5 days" in warnings[0].says
    assert "may do more than is needed here: admin:org" in warnings[1].says
    assert told.exit_code == 0
    assert told.output.endswith("2 warnings.\n")


def test_a_clock_that_is_wrong_is_a_warning(config: Path) -> None:
    ahead = findings(config, "github", ahead=timedelta(seconds=90))
    right = findings(config, "github", ahead=timedelta(seconds=20))

    (warning,) = [one for one in ahead if "clock" in one.says]
    assert warning.level is Level.WARNING
    assert warning.says.endswith("ahead of the forge's")
    assert not [one for one in right if "clock" in one.says]


def test_a_forge_that_is_not_there_is_asked_no_more(tmp_path: Path) -> None:
    config = write(tmp_path, github=f"http://127.0.0.1:{UNUSED_PORT}")

    (found,) = findings(config, "github")

    assert found.level is Level.PROBLEM
    assert "connection refused" in found.says
    assert found.remedy == "See that it runs there, and that no firewall is between."


def test_promises_that_the_allowance_does_not_keep_are_a_warning(
    tmp_path: Path, github: DatedGitHub
) -> None:
    names = "".join(f'\n  - {{url: "{github.address}/o-{n}/r"}}' for n in range(600))
    config = write(tmp_path, github=github.address, interval="1s", share="5%")
    config.write_text(config.read_text("utf-8").rstrip() + names, "utf-8")

    found = findings(config, "github")

    assert found[-1].level is Level.WARNING
    assert found[-1].says.startswith("not every interval can be kept.")
    assert found[-1].remedy is not None


@pytest.mark.parametrize(
    ("token", "status", "said"),
    [
        (
            {"scopes": ["read_api", "read_repository"], "expires_at": "2099-01-01"},
            200,
            ["token signs in: a token, for read_api, read_repository, until 2099-01-01"],
        ),
        (
            {"scopes": ["api"], "expires_at": None},
            200,
            ["token signs in: a token, for api", "token may do more than is needed here: api"],
        ),
        (
            {"scopes": ["read_user"]},
            200,
            ["token signs in: a token, for read_user", "token lacks read_api and read_repository"],
        ),
        ({"error": "insufficient_scope"}, 403, ["token signs in: a token", "token lacks read_api"]),
        ({}, 404, ["token signs in: a token"]),
        ({"message": "401 Unauthorized"}, 401, ["token: sign-in was refused (401)"]),
    ],
)
def test_a_gitlab_says_what_a_token_may(
    tmp_path: Path,
    github: DatedGitHub,
    gitlab: FakeGitLab,
    token: dict[str, Any],
    status: int,
    said: list[str],
) -> None:
    gitlab.says = GitLab(token, status)
    more = f'  work: {{kind: gitlab, url: "{gitlab.address}", token: glpat-s3cret}}'
    config = write(tmp_path, github=github.address, more=more)

    reached, *found = findings(config, "work")

    assert reached.level is Level.OK
    assert len(found) == len(said)
    assert all(one.says.startswith(start) for one, start in zip(found, said, strict=True))
    assert gitlab.signed == ["glpat-s3cret"]


def test_a_receiver_is_connected_to_and_nothing_is_delivered(
    tmp_path: Path, github: DatedGitHub
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        config = write(
            tmp_path, github=github.address, receiver=f"http://127.0.0.1:{port}/in?key=s"
        )

        (found,) = findings(config, "ci")
        caller, _ = door.accept()
        with caller:
            sent = caller.recv(1)

    assert found.level is Level.OK
    assert found.says.startswith(f"http://127.0.0.1:{port} answers in ")
    assert sent == b""


def test_a_receiver_whose_certificate_nobody_vouches_for_is_a_problem(
    tmp_path: Path, github: DatedGitHub
) -> None:
    with FakeGitHub(tls=True) as receiver:
        config = write(tmp_path, github=github.address, receiver=receiver.address)
        (unknown,) = findings(config, "ci")
        text = config.read_text("utf-8").replace(
            "secret: sign", f'ca_file: "{(TLS / "authority.pem").as_posix()}", secret: sign'
        )
        config.write_text(text, "utf-8")
        (known,) = findings(config, "ci")

    assert unknown.level is Level.PROBLEM
    assert "not trusted" in unknown.says
    assert unknown.remedy is not None
    assert "ca_file" in unknown.remedy
    assert known.level is Level.OK
    assert known.says.endswith("by TLS with a trusted certificate")


def test_a_database_is_told_by_its_version_or_by_what_stops_it(
    tmp_path: Path, github: DatedGitHub
) -> None:
    config = write(tmp_path, github=github.address)
    nowhere = write(tmp_path, github=github.address, database="no/such/folder/r.db")
    (missing,) = findings(nowhere, "database")
    config = write(tmp_path, github=github.address)
    database = Database(f"sqlite:///{(tmp_path / 'r.db').as_posix()}", now=utc_now)
    migrate.ensure_current(database)
    database.close()
    (there,) = findings(config, "database")

    assert missing.level is Level.PROBLEM
    assert "cannot be made" in missing.says
    assert there.says.endswith(f"answers, at version {migrate.HEAD}")


def test_a_configuration_with_mistakes_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "reposentry.yaml"
    file.write_text("pollin: {}\n", "utf-8")

    with pytest.raises(SystemExit) as ended:
        main(["doctor", "-c", str(file)])

    assert ended.value.code == 2
    assert "polling" in capsys.readouterr().err
