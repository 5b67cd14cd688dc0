"""README says what the program does, and a forgotten line fails here."""

import configparser
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import COMMANDS, commands
from app.delivery.payloads import PAYLOADS, TEMPLATE, Payloads
from app.settings import Receiver, load
from tests.docs.tables import README, ROOT, code, error_codes, rows, settings as known_settings


def test_every_setting_stands_in_the_table_with_its_default() -> None:
    shown = [tuple(row[:2]) for row in rows("Settings")]

    assert shown == [(name, default) for name, default, _ in known_settings()]


def test_every_error_code_stands_in_the_table() -> None:
    shown = {code(row[0]) for row in rows("Error codes")}

    assert shown == {known for known, _ in error_codes()}


def test_every_dependency_stands_in_the_table_with_its_reason() -> None:
    parsed = configparser.RawConfigParser()
    parsed.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = parsed["options.extras_require"]
    wanted = "\n".join(
        [parsed["options"]["install_requires"], extras["postgresql"], extras["mysql"]]
    )
    names = {re.split(r"[\[<>=]", line)[0] for line in wanted.split()}

    shown = rows("Dependencies")

    assert {row[0] for row in shown} == names
    assert all(all(row) for row in shown)


def test_every_payload_stands_in_the_table() -> None:
    section = README.split("\n### Payloads\n", 1)[1].split("\n### ", 1)[0]

    shown = re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)

    assert shown == ["payload", *PAYLOADS, TEMPLATE]


def test_the_example_of_a_template_is_a_good_one() -> None:
    example = re.search(r"```jinja\n(.*?)```", README, re.DOTALL)
    assert example is not None

    receiver = Receiver("ci", "https://ci.example.com/", template=example[1])

    Payloads({"ci": receiver})  # tries it on every sort of event


def test_every_command_stands_in_the_table() -> None:
    assert [code(row[0]) for row in rows("Operate")] == [f"reposentry {name}" for name in COMMANDS]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    told = CliRunner().invoke(commands, [name, "--help"])

    assert told.exit_code == 0
    assert "Example: reposentry" in " ".join(told.output.split())


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_example_of_a_configuration_is_a_good_one(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert example is not None
    file = tmp_path / "reposentry.yaml"
    file.write_text(example[1], encoding="utf-8")

    settings = load(file, {"WEBHOOK_SECRET": "s"})

    assert settings.repositories[0].refs.tags == ("v*",)
    assert settings.warnings == ()
