"""A program that watches many repositories of one quick git server."""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.canned_git import CannedGit
from tests.fakes.process import RunningSentry, eventually

# The first poll of every repository, however the start-up is paced.
BASELINE_DEADLINE_S = 180.0


def name_of(number: int) -> str:
    """Return the name of one repository of the fleet."""
    return f"fleet/r{number:05}"


def configure(
    folder: Path,
    git: CannedGit,
    *,
    count: int,
    interval: str,
    receiver: str | None = None,
    receivers: Mapping[str, Mapping[str, Any]] | None = None,
    baseline: str = "silent",
) -> Path:
    """Write the configuration of a fleet and return the file."""
    return write_configuration(
        folder,
        {name_of(number): git.url(name_of(number)) for number in range(count)},
        polling={"policy": "fixed", "interval": interval, "baseline": baseline},
        receivers=receivers or {"ci": {"url": receiver or "http://127.0.0.1:9/"}},
    )


def write_configuration(
    folder: Path, repositories: Mapping[str, str], **sections: Mapping[str, Any]
) -> Path:
    """Write a configuration for repositories (URLs by name), and return the file."""
    settings = {
        "storage": {"url": "sqlite:///fleet.db"},
        "receivers": {"ci": {"url": "http://127.0.0.1:9/"}},
        "repositories": [{"url": url, "name": name} for name, url in repositories.items()],
        **sections,
    }
    file = folder / "reposentry.yaml"
    file.write_text(json.dumps(settings), encoding="utf-8")
    return file


def wait_all_polled(
    sentry: RunningSentry, count: int, *, deadline_s: float = BASELINE_DEADLINE_S
) -> None:
    """Wait until the baseline of every repository has been taken."""

    def look() -> bool:
        time.sleep(0.5)  # each look costs what is being measured
        return len(sentry.repositories("&state=ok")) == count

    eventually(look, deadline_s=deadline_s, what=f"{count} repositories are polled")


@contextmanager
def a_watched_fleet(
    *, count: int, interval: str, **settings: Any
) -> Iterator[tuple[RunningSentry, CannedGit]]:
    """Yield a running program that has polled each of ``count`` repositories once.

    ``settings`` go to ``configure``.
    """
    with tempfile.TemporaryDirectory() as name, CannedGit() as git:
        folder = Path(name)
        file = configure(folder, git, count=count, interval=interval, **settings)
        with RunningSentry("run", "-c", str(file), folder=folder) as sentry:
            sentry.wait_ready()
            wait_all_polled(sentry, count)
            yield sentry, git
