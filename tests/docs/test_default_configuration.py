"""The reference configuration is the truth: nothing in the code is missing there, or different."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields

from app.settings import Settings, load
from app.settings.schema import Configuration
from app.settings.show import masked
from app.settings.types import Receiver

CONFIG = Path(__file__).parents[2] / "config"
REFERENCE = CONFIG / "default.yaml"

# A setting that is commented out: # and no space.
COMMENTED = re.compile(r"^(\s*)#(?=[^\s#])", re.MULTILINE)


@pytest.fixture
def uncommented(tmp_path: Path) -> Settings:
    """Load the reference with every example and every optional setting in force."""
    text = COMMENTED.sub(r"\1", REFERENCE.read_text("utf-8"))
    file = tmp_path / "all.yaml"
    file.write_text(text.replace("- repositories.d/*.yaml", "- repositories.d/*.yml"), "utf-8")
    return load(file, {})


def settings_of(section: Schema, path: str = "") -> Iterator[tuple[str, str]]:
    """List every setting of the schema with the path of its section."""
    for name, field in section.fields.items():
        yield path, name
        inner: Any = field
        if isinstance(inner, fields.List):
            inner = inner.inner
        if isinstance(inner, fields.Dict):
            inner = inner.value_field
        if isinstance(inner, fields.Nested):
            yield from settings_of(inner.schema, f"{path}.{name}".removeprefix("."))


def test_loading_the_reference_means_the_defaults() -> None:
    written = dataclasses.replace(load(REFERENCE, {}), files=(), warnings=())

    assert written == load(None, {})


def test_the_reference_asks_for_nothing_that_has_no_effect_except_the_policy() -> None:
    warned = [warning.path for warning in load(REFERENCE, {}).warnings]

    assert warned == ["polling.policy"]


def test_what_is_commented_out_there_is_the_default_too(uncommented: Settings) -> None:
    shown = masked(uncommented)

    usual = Receiver("pipeline", "https://ci.example.com/hooks")
    assert uncommented.receivers == {"pipeline": usual}
    assert uncommented.forges == load(None, {}).forges
    assert shown["repositories"] == [
        {
            "url": "https://github.com/tektoncd/pipeline",
            "name": "tektoncd/pipeline",
            "branches": ["*"],
            "tags": [],
            "receivers": ["pipeline"],
            "interval": "15s",
            "priority": 1.0,
            "paths": [],
            "pull_requests": False,
            "labels": {},
            "enabled": True,
        }
    ]
    assert shown["discover"] == [
        {"forge": "github", "owner": "acme", "include": ["*"], "exclude": [], "every": "10m"}
    ]


@pytest.mark.parametrize(
    ("section", "name"),
    [pytest.param(s, n, id=f"{s}.{n}") for s, n in settings_of(Configuration())],
)
def test_every_setting_stands_in_the_reference(section: str, name: str) -> None:
    text = REFERENCE.read_text("utf-8")
    begins = section.partition(".")[0]

    part = re.search(rf"^{begins}:.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    within = part[0] if part and begins else text

    # A secret's file is named in passing, and so is what an App has.
    is_aside = name.endswith("_file") or section == "forges.app"
    place = text if is_aside and name.endswith("_file") else within
    pattern = rf"\b{name}\b" if is_aside else rf"^\s*#?{name}:"
    assert re.search(pattern, place, re.MULTILINE), f"{section}.{name} is missing in {REFERENCE}"


def test_the_example_loads_and_warns_of_nothing() -> None:
    settings = load(CONFIG / "example.yaml", {"WEBHOOK_SECRET": "s3cret"})

    assert [repository.name for repository in settings.repositories] == ["tektoncd/pipeline"]
    assert settings.warnings == ()
