"""A write whose answer was lost, and what the polls after it make of it, on every database."""

from datetime import timedelta

import pytest

from app.domain.errors import StorageUnavailable
from app.domain.repository import Repository
from app.services.branch_monitor import BranchMonitor
from app.settings.types import Receiver
from app.storage.database import Database
from app.storage.outbox import Outbox
from app.storage.records import Advance
from app.storage.store import Store
from tests.fakes.git_client import FakeGitClient
from tests.fakes.store import some_refs
from tests.integration.storage.scene import NOON, lead, watch

SITE = Repository("acme/site", "https://git.example.com/acme/site", receivers=("ci",))
CI = Receiver("ci", "https://ci.example.com/")


class ForgetfulStore(Store):
    """Tells that a step failed although it is durable, while ``forgets``."""

    forgets = False

    def advance(self, step: Advance, *, fence: int) -> bool:
        is_taken = super().advance(step, fence=fence)
        if self.forgets:
            raise StorageUnavailable("the connection broke in the commit")
        return is_taken


@pytest.mark.parametrize("comes_then", ["a1", "b2", "c3"], ids=["back", "no further", "on"])
def test_a_change_whose_commit_was_in_doubt_is_owed_once_and_followed_without_a_gap(
    database: Database, comes_then: str
) -> None:
    store, fence = ForgetfulStore(database), lead(database)
    client = FakeGitClient(some_refs(main="a1"))
    monitor = BranchMonitor(
        store=store,
        client_for=lambda _: client,
        receivers={"ci": CI},
        now=lambda: NOON,
        fence=fence,
        timeout=timedelta(seconds=10),
    )
    known = monitor.poll(SITE, watch(store, fence, SITE)[0]).watched
    store.forgets = True
    client.refs, client.etag = dict(some_refs(main="b2")), "b2"
    with pytest.raises(StorageUnavailable):
        monitor.poll(SITE, known)
    store.forgets = False

    # As GitHub's, the ETag of what was there before is the one it had before.
    client.refs = dict(some_refs(main=comes_then))
    client.etag = "1" if comes_then == "a1" else comes_then
    for _ in range(2):
        known = monitor.poll(SITE, known).watched

    owed = Outbox(database).parcels("ci", known.id, limit=10, fence=fence)
    told = [(parcel.event.before[:2], parcel.event.after[:2]) for parcel in owed]
    assert told == [("a1", "b2"), ("b2", comes_then)][: 1 if comes_then == "b2" else 2]
    assert [parcel.event.sequence for parcel in owed] == list(range(1, len(owed) + 1))
    assert store.snapshot(known.id) == some_refs(main=comes_then)
