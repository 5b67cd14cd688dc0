"""The recipes in docs/ are held to the program: what they tell people to write is accepted."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from app.cli import COMMANDS, commands
from app.settings import load
from tests.docs.tables import ROOT

PAGES = sorted((ROOT / "docs").glob("*.md"))

BLOCK = re.compile(r"^( *)```(\w+)(?: (\w+))?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
COMMAND = re.compile(r"\breposentry ([a-z]+)(?: ([a-z][a-z-]+))?")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def blocks(page: Path, language: str, mark: str = "") -> Iterator[str]:
    """List the code of a page in one language, as it would be copied from there."""
    for indent, found, marked, code in BLOCK.findall(page.read_text("utf-8")):
        if (found, marked) == (language, mark):
            yield "".join(line.removeprefix(indent) for line in code.splitlines(keepends=True))


def anchor(heading: str) -> str:
    """Return what a heading is linked by, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


CONFIGURATIONS = [
    pytest.param(code, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, code in enumerate(blocks(page, "yaml", "reposentry"), start=1)
]


def test_the_pages_show_configurations() -> None:
    assert len(CONFIGURATIONS) > 10


@pytest.mark.parametrize("code", CONFIGURATIONS)
def test_every_configuration_that_is_shown_is_accepted(code: str, tmp_path: Path) -> None:
    file = tmp_path / "reposentry.yaml"
    file.write_text(code, "utf-8")
    wanted = dict.fromkeys(re.findall(r"\$\{(\w+)\}", code), "/s3cret")

    settings = load(file, wanted)

    assert settings.receivers
    assert all(receiver.secret or receiver.headers for receiver in settings.receivers.values())


@every_page
def test_whatever_else_is_shown_can_be_read(page: Path) -> None:
    for code in blocks(page, "yaml"):
        assert {"apiVersion", "kind"} <= yaml.safe_load(code).keys()
    for code in blocks(page, "json"):
        json.loads(code)
    for code in blocks(page, "python"):
        compile(code, page.name, "exec")


@every_page
def test_every_command_that_is_named_exists(page: Path) -> None:
    context = click.Context(commands)

    for name, below in COMMAND.findall(page.read_text("utf-8")):
        assert name in COMMANDS
        command = commands.get_command(context, name)
        if isinstance(command, click.Group):
            assert below in command.list_commands(context)


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for path, fragment in LINK.findall(page.read_text("utf-8")):
        if "://" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        if fragment:
            headings = HEADING.findall(target.read_text("utf-8"))
            assert fragment in {anchor(heading) for heading in headings}


@every_page
def test_every_folder_that_is_applied_is_one_that_kustomize_builds(page: Path) -> None:
    for folder in re.findall(r"kubectl apply -k (\S+)", page.read_text("utf-8")):
        assert (ROOT / folder / "kustomization.yaml").is_file()


def test_every_recipe_stands_in_the_table() -> None:
    text = (ROOT / "docs" / "receivers.md").read_text("utf-8")

    linked = {fragment for path, fragment in LINK.findall(text) if not path}
    recipes = {anchor(heading) for heading in re.findall(r"^## (.+)$", text, re.MULTILINE)}

    assert linked == recipes - {"gitlab-speaking-receivers"}
