"""Lines for people, lines for machines, and no secret in either."""

import io
import json
import logging
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.domain.secret import Secret
from app.telemetry import logs

log = logging.getLogger("app.test")


@pytest.fixture(autouse=True)
def untouched_root() -> Iterator[None]:
    """Leave the process's logging as it was found."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def only_json(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_for_people_has_time_level_message_and_what_varies(stream: io.StringIO) -> None:
    logs.configure("info", "text", stream=stream)

    log.info("poll finished", extra={"repository": "a/b", "changes": 2, "error": "not so good"})

    time, rest = stream.getvalue().split(" ", 1)
    assert datetime.fromisoformat(time).tzinfo is not None
    assert rest == 'INFO    poll finished repository=a/b changes=2 error="not so good"\n'


def test_a_line_for_machines_is_one_object(stream: io.StringIO) -> None:
    logs.configure("debug", "json", stream=stream)

    log.debug(
        "poll finished",
        extra={
            "repository": "a/b",
            "changes": [1, 2],
            "at": datetime(2026, 3, 1, tzinfo=UTC),
            "level": "mine",
        },
    )

    line = only_json(stream)
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line == {
        "level": "debug",
        "logger": "app.test",
        "message": "poll finished",
        "repository": "a/b",
        "changes": [1, 2],
        "at": "2026-03-01T00:00:00+00:00",
    }


def test_a_line_cannot_be_forged_by_what_it_tells(stream: io.StringIO) -> None:
    logs.configure("info", "text", stream=stream)

    log.info("found %s", "a\n2026 ERROR b", extra={"ref": "x\r\n\x1b[31mred"})

    (line,) = stream.getvalue().splitlines()
    assert line.endswith(r'INFO    found a\n2026 ERROR b ref="x\r\n\u001b[31mred"')


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_stands_with_its_line(form: str, stream: io.StringIO) -> None:
    logs.configure("info", form, stream=stream)

    try:
        int("https://bob:hunter2@git.example.com/a")
    except ValueError:
        log.exception("poll failed")

    told = stream.getvalue()
    assert "Traceback (most recent call last)" in told
    assert "ValueError: invalid literal" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    "text",
    [
        "https://bob:hunter2@git.example.com/a.git",
        "https://hunter2@git.example.com/a.git",
        "https://bob:hunter2/x@git.example.com/a.git".replace("/x", "%2Fx"),
        "postgresql+psycopg://sentry:hunter2@db:5432/x",
        "ssh://git:hunter2@git.example.com/a",
        "Authorization: Bearer hunter2hunter2",
        "authorization: token hunter2",
        "{'Authorization': 'Basic hunter2', 'Accept': 'x'}",
        "{'PRIVATE-TOKEN': 'hunter2'}",
        '"X-Gitlab-Token": "hunter2"',
        "X-Hub-Signature-256: sha256=hunter2",
        "webhook-signature: v1,hunter2",
        "GET /hook?token=hunter2&x=1",
        "POST /oauth?client_secret=hunter2",
        "the token is ghp_hunter2hunter2hunter2",
        "the token is glpat-hunter2hunter2hunter2",
        "Set-Cookie: session=hunter2; Path=/",
    ],
)
def test_what_looks_like_a_credential_is_masked(text: str) -> None:
    assert "hunter2" not in logs.redact(text)
    assert "••••••" in logs.redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "ssh://git@git.example.com/a.git",
        "https://git.example.com/a@b",
        "poll finished tokens: off",
        "refs/heads/feature/authorization",
        "security.metrics_token: has no effect yet",
        "12:30:15 user@example.com",
    ],
)
def test_what_is_no_credential_is_left_alone(text: str) -> None:
    assert logs.redact(text) == text


@pytest.mark.parametrize("piece", ["a-", "token", "signature-", "://", "/confirmations/"])
def test_a_long_text_takes_no_long_time(piece: str) -> None:
    text = piece * (60_000 // len(piece))

    began = time.process_time()
    logs.redact(text)

    assert time.process_time() - began < 2  # to go through it once for each letter takes minutes


def test_a_registered_secret_is_masked_wherever_it_stands(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs._Known, "texts", ())  # noqa: SLF001 - what other tests registered
    logs.register_secret(Secret("correct horse/battery"), Secret("abc"), Secret(""))
    logs.configure("info", "json", stream=stream)

    log.info(
        "asked with %s",
        "correct horse/battery",
        extra={
            "url": "https://x/?k=correct%20horse%2Fbattery",
            "deep": {"er": ["correct horse/battery"]},
        },
    )

    line = only_json(stream)
    assert line["message"] == "asked with ••••••"
    assert line["url"] == "https://x/?k=••••••"
    assert line["deep"] == {"er": ["••••••"]}


def test_a_secret_never_shows_itself_as_an_extra(stream: io.StringIO) -> None:
    logs.configure("info", "text", stream=stream)

    log.info("signed in", extra={"by": Secret("hunter2"), "password": "hunter2", "token": "x y"})

    assert stream.getvalue().endswith("by=•••••• password=•••••• token=••••••\n")


def test_libraries_speak_only_of_what_is_wrong(stream: io.StringIO) -> None:
    logs.configure("info", "text", stream=stream)

    for name in ("apscheduler.scheduler", "werkzeug", "waitress", "alembic"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble")

    assert "chatter" not in stream.getvalue()
    assert stream.getvalue().count("trouble") == 4


def test_urls_that_a_library_warns_of_with_their_queries_are_not_told(stream: io.StringIO) -> None:
    logs.configure("debug", "text", stream=stream)

    logging.getLogger("urllib3.connection").warning("Failed to parse headers (url=%s)", "?key=x")

    assert stream.getvalue() == ""


def test_configuring_again_replaces_what_was(stream: io.StringIO) -> None:
    second = io.StringIO()
    logs.configure("debug", "text", stream=stream)

    logs.configure("warning", "text", stream=second)
    log.info("quiet")
    log.warning("loud")

    assert stream.getvalue() == ""
    assert second.getvalue().count("\n") == 1


def test_a_file_is_written_and_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_FILE_BYTES", 2000)
    file = tmp_path / "reposentry.log"
    logs.configure("info", "json", file)

    for number in range(40):
        log.info("poll finished", extra={"repository": f"größe/{number}"})

    assert json.loads(file.read_text("utf-8").splitlines()[-1])["repository"] == "größe/39"
    assert file.stat().st_size < 2000
    assert len(list(tmp_path.iterdir())) > 1


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"reposentry\.log"):
        logs.configure("info", "text", tmp_path / "nowhere" / "reposentry.log")


@pytest.mark.skipif(os.name == "nt", reason="older Windows consoles would print the codes")
def test_colours_are_for_terminals_alone(stream: io.StringIO) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    logs.configure("info", "text", stream=terminal)
    log.warning("look")
    logs.configure("info", "text", stream=stream)
    log.warning("look")

    assert "\x1b[33mWARNING\x1b[0m look" in terminal.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_a_console_that_lacks_a_character_gets_an_escape() -> None:
    raw = io.BytesIO()
    console = io.TextIOWrapper(raw, encoding="cp1252", errors="strict", write_through=True)
    logs.configure("info", "text", stream=console)

    log.info("found", extra={"ref": "日本"})

    assert rb"ref=\u65e5\u672c" in raw.getvalue()


def test_a_reader_that_has_gone_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    logs.configure("info", "text", stream=Gone())

    log.info("nobody listens")

    assert capsys.readouterr().err == ""


def test_a_mistake_in_a_log_call_is_not_hidden(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("info", "text", stream=stream)
    (handler,) = [h for h in logging.getLogger().handlers if isinstance(h, logs._Quiet)]  # noqa: SLF001 - ours among pytest's

    handler.handle(logging.makeLogRecord({"msg": "%d repositories", "args": ("many",)}))

    assert "--- Logging error ---" in capsys.readouterr().err
