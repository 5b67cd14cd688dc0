"""A repository of thousands of branches and tags, and one of more branches than a page holds."""

import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from app.domain.refs import RefFilter
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.domain.snapshot import diff
from app.forges import Forges
from app.settings.types import Forge
from benchmarks.fake_github import FakeGitHubProcess
from benchmarks.row import Row
from tests.fakes.github import TOKEN

BRANCHES, TAGS = 5_000, 20_000
OVER_A_PAGE = 300
ROUNDS = 9
TIMEOUT_S = 30.0
EVERYTHING = RefFilter(branches=("*",), tags=("*",))


def measure() -> Iterator[Row]:
    """Push to the large one, and find it among all its refs."""
    with FakeGitHubProcess("--unlimited") as github:
        github.control("create", repository="acme/large")
        github.control("fill", repository="acme/large", branches=BRANCHES - 1, tags=TAGS)
        github.control("create", repository="acme/wide")
        github.control("fill", repository="acme/wide", branches=OVER_A_PAGE - 1)
        forges = Forges(
            {
                "git": Forge(name="git", kind="git", url=github.address, api_url=None),
                "api": Forge(
                    name="api",
                    kind="github",
                    url=github.address,
                    api_url=f"{github.address}/api/v3",
                    tokens=(Secret(TOKEN),),
                ),
            },
            now=lambda: datetime.now(UTC),  # noqa: TID251 - as the runtime does
            connections=1,
        )
        try:
            yield _found(github, forges)
            yield _complete(github, forges)
        finally:
            forges.close()


def _found(github: FakeGitHubProcess, forges: Forges) -> Row:
    repository = Repository("large", github.url("acme/large"), refs=EVERYTHING)
    client = forges.client_for(repository)
    before = client.list_refs(repository, validator={}, timeout_s=TIMEOUT_S)
    refs = dict(before.refs or {})
    spent_ms = []
    for _ in range(ROUNDS):
        github.push("acme/large")
        began_s = time.thread_time()
        reply = client.list_refs(repository, validator=before.validator, timeout_s=TIMEOUT_S)
        watched = repository.refs.choose(reply.refs or {})
        moved = diff(refs, watched)
        spent_ms.append(1000 * (time.thread_time() - began_s))
        if len(moved) != 1 or len(watched) != BRANCHES + TAGS or reply.read_by != "ls-refs":
            raise RuntimeError(f"{len(moved)} of {len(watched)} moved, by {reply.read_by}")
        refs, before = watched, reply
    what = f"CPU to find a push among {BRANCHES:,} branches and {TAGS:,} tags by ls-refs"
    beside = f"worst {max(spent_ms):.0f} ms of {ROUNDS}; found, filtered and diffed"
    return Row(what, 100.0, "ms", statistics.median(spent_ms), beside)


def _complete(github: FakeGitHubProcess, forges: Forges) -> Row:
    repository = Repository("wide", github.url("acme/wide"), forge="api")
    client = forges.client_for(repository)
    reply = client.list_refs(repository, validator={}, timeout_s=TIMEOUT_S)
    missing = OVER_A_PAGE - len(reply.refs or {})
    beside = f"read by {reply.read_by} in {reply.requests} requests"
    return Row(f"branches missing of {OVER_A_PAGE} over REST", 0.0, "", float(missing), beside)
