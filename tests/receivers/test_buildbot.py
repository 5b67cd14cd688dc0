"""A Buildbot master with its change hooks: a delivery starts a build."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from app.domain.delivery import Verdict, judge
from tests.contract.parcels import CASES
from tests.fakes.peers import buildbot
from tests.fakes.process import eventually, free_port
from tests.fakes.receiver import RecordingReceiver
from tests.receivers.programs import a_running, ask, find_program, run_through
from tests.receivers.sending import COMMIT, FORMER, SECRET, Tampering, deliver

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="its commands are for Unix"),
]

BUILD_DEADLINE_S = 60.0
MASTER = """
from buildbot.plugins import schedulers, steps, util, worker

BuildmasterConfig = {{
    "buildbotURL": "http://127.0.0.1:{port}/",
    "buildbotNetUsageData": None,
    "db": {{"db_url": "sqlite:///state.sqlite"}},
    "protocols": {{"null": {{}}}},
    "workers": [worker.LocalWorker("local")],
    "schedulers": [schedulers.AnyBranchScheduler(name="any", builderNames=["all"])],
    "builders": [
        util.BuilderConfig(
            name="all",
            workernames=["local"],
            factory=util.BuildFactory([steps.SetProperty(property="was", value="built")]),
        )
    ],
    "www": {{
        "port": "tcp:{port}:interface=127.0.0.1",
        "change_hook_dialects": {{
            "github": {{"secret": "{secret}", "strict": True}},
            "gitlab": {{"secret": "{secret}"}},
        }},
    }},
}}
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run a master with a worker in its own process, and yield its port."""
    buildbot = find_program("buildbot", variable="REPOSENTRY_BUILDBOT")
    folder = tmp_path_factory.mktemp("buildbot")
    run_through([buildbot, "create-master", "--relocatable", "."], folder=folder)
    port = free_port()
    master = MASTER.format(port=port, secret=SECRET)
    (folder / "master.cfg").write_text(master, encoding="utf-8")
    with a_running([buildbot, "start", "--nodaemon", "."], folder=folder, port=port):
        yield port


def asked(port: int, path: str) -> list[dict[str, Any]]:
    """Ask its REST API for a list of things."""
    status, body = ask(port, f"/api/v2/{path}")
    assert status == 200, body
    found: list[dict[str, Any]] = json.loads(body)[path.partition("?")[0].rpartition("/")[2]]
    return found


def builds_of(port: int, revision: str) -> list[dict[str, Any]]:
    """Return the builds that have ended well and were started by a change."""
    return [
        build
        for build in asked(port, "builds?complete=true&results=0")
        for change in asked(port, f"builds/{build['buildid']}/changes")
        if change["revision"] == revision
    ]


@pytest.mark.parametrize("payload", ["github", "gitlab"])
def test_a_delivery_starts_a_build(port: int, payload: str) -> None:
    before = len(builds_of(port, COMMIT))

    answer = deliver(f"http://127.0.0.1:{port}/change_hook/{payload}", payload=payload)

    assert (answer.status, answer.body) == (200, "1 change found")
    eventually(
        lambda: len(builds_of(port, COMMIT)) > before,
        deadline_s=BUILD_DEADLINE_S,
        what="a build has ended",
    )


@pytest.mark.parametrize("case", [case for case in CASES if case != "branch-updated"])
@pytest.mark.parametrize("payload", ["github", "gitlab"])
def test_every_event_is_understood_also_where_there_is_nothing_to_build(
    port: int, payload: str, case: str
) -> None:
    answer = deliver(f"http://127.0.0.1:{port}/change_hook/{payload}", payload=payload, case=case)

    assert answer.status == 200


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"secret": FORMER}, "Hash mismatch"),
        ({"secret": None}, "Request has no required signature"),
        ({"transport": Tampering}, "Hash mismatch"),
    ],
    ids=["another secret", "no secret", "changed on its way"],
)
def test_what_is_not_genuine_is_refused_for_good(
    port: int, options: dict[str, Any], said: str
) -> None:
    answer = deliver(f"http://127.0.0.1:{port}/change_hook/github", payload="github", **options)

    assert (answer.status, said in answer.body) == (400, True)
    assert judge(answer.status, expect="2xx", attempt=1) is Verdict.DEAD


def test_a_wrong_token_is_refused_for_good(port: int) -> None:
    url = f"http://127.0.0.1:{port}/change_hook/gitlab"

    answer = deliver(url, payload="gitlab", secret=FORMER)

    assert (answer.status, answer.body) == (400, "Invalid secret")


@pytest.mark.parametrize(
    "options",
    [
        *({"case": case} for case in CASES),
        {"secret": FORMER},
        {"secret": None},
        {"transport": Tampering},
        {"payload": "standard"},
    ],
    ids=str,
)
def test_the_fake_answers_as_the_real_one(port: int, options: dict[str, Any]) -> None:
    chosen = {"payload": "github", **options}

    real = deliver(f"http://127.0.0.1:{port}/change_hook/github", **chosen)
    with RecordingReceiver(answer=buildbot(SECRET)) as fake:
        faked = deliver(fake.url, **chosen)

    assert (faked.status, faked.body) == (real.status, real.body)
