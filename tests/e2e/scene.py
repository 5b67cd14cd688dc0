"""What an end-to-end test stands on: repositories that are pushed to, and a configuration."""

import contextlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.e2e.truth import Truth, Verdict, judge
from tests.fakes.git_repository import GitRepository
from tests.fakes.git_server import GitServer
from tests.fakes.process import RunningSentry, eventually
from tests.fakes.receiver import Record, RecordingReceiver

SECRET = "correct horse battery staple"  # noqa: S105 - made up, for signatures
MAIN = "refs/heads/main"
# How long a change may take to arrive on a machine that does many other things as well.
ARRIVAL_DEADLINE_S = 30.0


class PushedRepository:
    """A repository on a git server, and the truth about every push to it."""

    def __init__(self, server: GitServer, name: str, *, branches: int = 0) -> None:
        self.name = name
        self.server = server
        self.git = GitRepository.create(server.root / f"{name}.git")
        self.git.commit()
        self.git.branch(*(f"standing/{number:03}" for number in range(branches)))
        self.truth = Truth(name, self.git.refs())

    @property
    def url(self) -> str:
        """Where it is cloned from."""
        return self.server.url(f"{self.name}.git")

    def push(self, refs: Mapping[str, str | None], *, must: bool = True) -> None:
        """Move refs, all at once, as one push does; ``must`` says that a poll will see it."""
        at_s = time.time()
        self.git.move(refs)
        for ref, after in refs.items():
            self.truth.moved(ref, after, at_s=at_s, must=must)

    def commit(self, ref: str = MAIN, *, must: bool = True) -> str:
        """Push one commit on top of a ref, which may be new, and return it."""
        tip = self.truth.standing().get(ref)
        made = self.git.make_commit(*([tip] if tip else []))
        self.push({ref: made}, must=must)
        return made

    def force(self, ref: str = MAIN, *, must: bool = True) -> str:
        """Replace a ref by a history of its own and return the commit."""
        made = self.git.make_commit(message="Another history")
        self.push({ref: made}, must=must)
        return made

    def delete(self, ref: str, *, must: bool = True) -> None:
        """Delete a ref."""
        self.push({ref: None}, must=must)


def write_configuration(
    folder: Path,
    *,
    database: str,
    repositories: Iterable[Mapping[str, Any]],
    receivers: Mapping[str, str | Mapping[str, Any]],
    interval: str = "500ms",
    receiver_timeout: str = "1s",
    **sections: Mapping[str, Any],
) -> Path:
    """Write a configuration whose waits are short, and return the file.

    ``receivers`` maps names to URLs, or to settings of their own. YAML reads JSON, so JSON it is.
    """
    retry = {"first": "200ms", "longest": "1s", "give_up": "1h"}
    taking = {"secret": SECRET, "timeout": receiver_timeout, "retry": retry}
    settings = {
        "storage": {"url": database},
        "polling": {"interval": interval, "max_interval": "2s", "timeout": "1s"},
        "receivers": {
            name: {**taking, **({"url": own} if isinstance(own, str) else own)}
            for name, own in receivers.items()
        },
        "defaults": {"branches": ["*"], "tags": ["*"]},
        "repositories": list(repositories),
        **sections,
    }
    file = folder / "reposentry.yaml"
    file.write_text(json.dumps(settings, indent=2), encoding="utf-8")
    return file


def entries(repositories: Iterable[PushedRepository]) -> list[dict[str, Any]]:
    """Return what the configuration says of these repositories."""
    return [{"url": each.url, "name": each.name} for each in repositories]


def wait_watched(sentry: RunningSentry, names: Iterable[str]) -> None:
    """Wait until every repository's baseline has been taken."""
    wanted = set(names)
    eventually(
        lambda: wanted <= {each["name"] for each in sentry.repositories() if each["state"] == "ok"},
        deadline_s=ARRIVAL_DEADLINE_S,
        what=f"{sorted(wanted)} are watched",
    )


def wait_polled(sentry: RunningSentry, times: int = 2) -> None:
    """Wait until every repository has been polled that often from now on, well or in vain."""
    for _ in range(times):
        eventually(
            partial(is_polled_since, sentry, last_polls(sentry)),
            deadline_s=ARRIVAL_DEADLINE_S,
            what="every repository is polled",
        )


def is_polled_since(sentry: RunningSentry, before: set[tuple[str, str]]) -> bool:
    """Tell whether no repository's last poll is still the one that it was."""
    return not before & last_polls(sentry)


def last_polls(sentry: RunningSentry) -> set[tuple[str, str]]:
    """Return each repository's name and when it was last polled."""
    return {(each["name"], each["last_poll_at"]) for each in sentry.repositories()}


def wait_arrived(
    truths: Sequence[Truth],
    receivers: Sequence[RecordingReceiver],
    *,
    deadline_s: float = ARRIVAL_DEADLINE_S,
) -> Verdict:
    """Wait until all that must arrive has, and return how it compares with the truth.

    ``receivers`` are one receiver in all its lives, oldest first.
    """
    until = time.monotonic() + deadline_s
    *former, last = receivers
    while True:
        records = last.records
        verdict = judge(truths, [*gathered(former), *records])
        if not verdict.missing or time.monotonic() > until:
            return verdict
        with contextlib.suppress(AssertionError):
            # Judging takes time from the receiver, whose speed may be what is measured.
            last.wait_for(len(records) + verdict.missing, until - time.monotonic())


def gathered(receivers: Sequence[RecordingReceiver]) -> list[Record]:
    """Return what arrived at one receiver in all its lives."""
    return [record for each in receivers for record in each.records]
