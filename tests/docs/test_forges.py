"""What docs/forges.md says of plans, settings and commands is what the program does."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from app.cli import commands
from app.domain.allowance import Resource
from app.domain.hook import Verdict
from app.domain.plan import Member, Probing
from app.domain.secret import Secret
from app.forges import CLIENTS, Forges
from app.runtime import utc_now
from app.services.planner import plan_for
from app.settings import load
from app.settings.types import Forge
from tests.docs.tables import ROOT
from tests.docs.test_recipes import blocks
from tests.fakes.github import FakeGitHub
from tests.fakes.quick_http import TLS

PAGE = ROOT / "docs" / "forges.md"
TEXT = PAGE.read_text("utf-8")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An App's private key."""
    file = tmp_path_factory.mktemp("app") / "key.pem"
    pem = serialization.Encoding.PEM
    form, locked = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file.write_bytes(rsa.generate_private_key(65537, 2048).private_bytes(pem, form, locked))
    return file


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without its head."""
    section = TEXT.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("code", list(blocks(PAGE, "yaml", "forges")))
def test_every_configuration_that_is_shown_is_accepted(
    code: str, key: Path, tmp_path: Path
) -> None:
    file = tmp_path / "reposentry.yaml"
    file.write_text(code, "utf-8")
    names = dict.fromkeys(re.findall(r"\$\{(\w+)\}", code))
    wanted = {name: f"a-secret-of-24-letters-{n}" for n, name in enumerate(names)}
    files = {name: str(key) for name in wanted if name.endswith("_FILE")}
    files |= {name: str(TLS / "authority.pem") for name in wanted if name.endswith("_CA")}

    settings = load(file, wanted | files)

    assert settings.repositories
    assert settings.warnings == ()


def test_every_kind_is_there_with_what_it_needs() -> None:
    shown = [re.sub(r"\[?`([a-z-]+)`.*", r"\1", row[0]) for row in table("What each kind needs")]

    assert set(shown) == CLIENTS.keys()


@pytest.mark.parametrize("row", table("The plan"), ids=lambda row: "-".join(row[:4]))
def test_every_plan_is_as_the_program_makes_it(row: list[str]) -> None:
    count, owners, seconds, tokens = (int(re.sub(r"\D", "", cell)) for cell in row[:4])

    assert row == [*row[:4], *cells(count, owners, seconds, tokens)]


def cells(count: int, owners: int, seconds: int, tokens: int) -> list[str]:
    """Make a plan for github.com, and return what the table says of it."""
    api = "https://api.github.com"
    forge = Forge("github", "github", "https://github.com", api, tokens=(Secret("x"),) * tokens)
    forges = Forges({"github": forge}, now=utc_now, connections=1)
    limits = forges.limits("github")
    forges.close()
    seen = frozenset({Probing.LISTING, Probing.BATCH})
    interval = timedelta(seconds=seconds)
    members = [
        Member(number, f"owner-{number % owners}", interval, "rest", seen)
        for number in range(count)
    ]
    plan = plan_for(forge, "github", members, limits, ceiling=timedelta(minutes=15))
    spends = {one.resource: one.planned for one in plan.spends}
    said = " ".join(plan.sentences)
    instead = re.search(r"each is looked at every ([\d.]+ \w+)", said)
    kept = "yes" if plan.is_kept else f"every {instead[1]}" if instead else "no"
    minutely = spends.get(Resource.REST_MINUTE, 0) / 60
    return [kept, f"{minutely:,.0f}", f"{spends.get(Resource.GRAPHQL, 0):,.0f}"]


def test_every_verdict_on_a_webhook_is_there() -> None:
    shown = {row[0] for row in table("Webhooks as hints, and what they are worth") if len(row) == 3}
    passing = {Verdict.RECEIVED, Verdict.PENDING, Verdict.IGNORED}

    assert {verdict.value for verdict in Verdict} - {one.value for one in passing} <= shown


def test_the_commands_that_are_shown_do_what_they_say(tmp_path: Path) -> None:
    lines = [line for code in blocks(PAGE, "sh") for line in code.splitlines()]
    with FakeGitHub() as forge:
        forge.hosting.create("acme/site")
        file = tmp_path / "reposentry.yaml"
        file.write_text(
            f'storage: {{url: "sqlite:///{(tmp_path / "r.db").as_posix()}"}}\n'
            f'forges: {{github: {{url: "{forge.address}", api_url: "{forge.address}/api/v3"}}}}\n'
            f'repositories: [{{url: "{forge.address}/acme/site"}}]\n',
            "utf-8",
        )
        told = [
            CliRunner().invoke(commands, [*line.split()[1:], "-c", str(file)]) for line in lines
        ]

    assert len(lines) > 1
    assert [one.exit_code for one in told] == [0] * len(lines), [one.output for one in told]
