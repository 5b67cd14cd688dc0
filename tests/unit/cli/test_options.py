"""What is said at the start goes where, and as, the configuration wants it."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.options import load_to_serve
from app.domain.errors import ConfigurationInvalid
from app.telemetry import logs


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    for handler in [each for each in root.handlers if each not in handlers]:
        root.removeHandler(handler)
        handler.close()


def test_the_warnings_of_a_configuration_are_lines_of_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "reposentry.yaml"
    file.write_text("polling: {policy: adaptive}\nlogging: {format: json}\n", encoding="utf-8")

    load_to_serve(file)

    [line] = map(json.loads, capsys.readouterr().err.splitlines())
    assert line["level"] == "warning"
    assert line["warning"] == f"{file}:1:19: polling.policy: has no effect yet in this version"


def test_a_log_file_that_may_not_be_written_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "reposentry.yaml"
    file.write_text("logging: {file: reposentry.log}\n", encoding="utf-8")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(logs, "configure", refuse)

    with pytest.raises(ConfigurationInvalid, match=r"^logging\.file: .*\.log» cannot be opened: P"):
        load_to_serve(file)
