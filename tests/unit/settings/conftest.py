"""A folder with a configuration file, and what comes of loading it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from app.domain.errors import ConfigurationInvalid, Mistake
from app.settings import Settings, load

Write = Callable[[str], Path]
Load = Callable[..., Settings]
Wrong = Callable[..., list[Mistake]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the configuration file."""

    def write(text: str) -> Path:
        file = tmp_path / "reposentry.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


@pytest.fixture
def loaded(write: Write) -> Load:
    """Load this text."""

    def loaded(text: str, environ: Mapping[str, str] | None = None) -> Settings:
        return load(write(text), environ or {})

    return loaded


@pytest.fixture
def mistakes(write: Write) -> Wrong:
    """Load this text, which must be wrong, and return what is."""

    def mistakes(text: str, environ: Mapping[str, str] | None = None) -> list[Mistake]:
        with pytest.raises(ConfigurationInvalid) as caught:
            load(write(text), environ or {})
        return list(caught.value.mistakes)

    return mistakes
