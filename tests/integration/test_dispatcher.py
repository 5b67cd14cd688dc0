"""A receiver that is down for a while, as the dispatcher, its database and its sender see it."""

import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from app.delivery.payloads import Payloads
from app.delivery.send import Senders
from app.domain.delivery import DeliveryState, Parcel, RetryPolicy
from app.domain.repository import Repository
from app.runtime import utc_now
from app.services.dispatcher import Dispatcher
from app.settings.types import Receiver
from app.storage.database import Database
from app.storage.outbox import Outbox
from app.storage.records import AttemptResult
from app.storage.store import Store
from tests.fakes.receiver import RecordingReceiver
from tests.fakes.waiting import wait_until
from tests.integration.storage.scene import FIRST, SECOND, THIRD, lead, push, watch

REPOSITORIES = 20
CHANGES = (FIRST, SECOND, THIRD)
QUICK = RetryPolicy(first=timedelta(milliseconds=100), longest=timedelta(milliseconds=400))


class Counted:
    """Hears of every attempt."""

    def __init__(self) -> None:
        self.of_repository: dict[str, list[AttemptResult]] = defaultdict(list)
        self.count = 0

    def attempted(self, parcel: Parcel, result: AttemptResult) -> None:
        self.of_repository[parcel.repository_name].append(result)
        self.count += 1


class Scene:
    """Twenty repositories with three changes each, owed to one receiver on a port."""

    def __init__(self, database: Database, port: int) -> None:
        self.fence = lead(database)
        self.outbox = Outbox(database)
        self.store = Store(database)
        self.receivers = {
            "ci": Receiver(
                "ci", f"http://127.0.0.1:{port}/", retry=QUICK, timeout=timedelta(seconds=10)
            )
        }
        self.counted = Counted()
        self.names = [f"acme/r{number}" for number in range(REPOSITORIES)]
        wanted = [Repository(name, f"https://git.example.com/{name}") for name in self.names]
        for known in watch(self.store, self.fence, *wanted):
            moved = known
            for to in CHANGES:
                moved, _ = push(self.store, moved, self.fence, to=to)

    @contextmanager
    def sending(self) -> Iterator[Dispatcher]:
        """Deliver, as one process does until it ends."""
        senders = Senders(self.receivers, now=utc_now)
        dispatcher = Dispatcher(
            outbox=self.outbox,
            receivers=self.receivers,
            sender_for=senders.for_receiver,
            render=Payloads(self.receivers).render,
            observers=[self.counted],
            fence=self.fence,
            may_send=lambda: True,
            lease_lost=lambda: None,
            now=utc_now,
            chance=random.random,
        )
        dispatcher.start()
        try:
            yield dispatcher
        finally:
            stopped = dispatcher.stop(10)
            senders.close()
        assert stopped


def free_port() -> int:
    with RecordingReceiver() as receiver:
        return receiver.port


def test_a_receiver_that_was_down_is_sent_everything_in_order_once_it_is_back(
    database: Database,
) -> None:
    scene = Scene(database, free_port())
    with scene.sending():
        wait_until(lambda: "ci" in scene.outbox.receiver_states(), deadline_s=60)
        wait_until(lambda: scene.counted.count >= 16, deadline_s=60)
        open_since = scene.outbox.receiver_states()["ci"].opened_at
        down_s = (utc_now() - (open_since or utc_now())).total_seconds()
        while_down = scene.counted.count
    # The process is replaced while the circuit is open, and the next one knows.
    with scene.sending() as dispatcher:
        wait_until(lambda: scene.counted.count > while_down, deadline_s=60)
        is_still_open = dispatcher.circuits()["ci"].opened_at
        with RecordingReceiver(port=int(scene.receivers["ci"].url.rsplit(":", 1)[1][:-1])) as back:
            back.wait_for(REPOSITORIES * len(CHANGES), 30)
            wait_until(lambda: not scene.outbox.lanes(fence=scene.fence), deadline_s=10)
            wait_until(lambda: "ci" not in scene.outbox.receiver_states(), deadline_s=10)
            records = back.records

    assert open_since is not None
    assert is_still_open == open_since
    # Five, those that were under way with them, and a probe after each wait.
    assert while_down <= 5 + 8 + 4 + down_s / (QUICK.longest.total_seconds() / 2)
    after: dict[str, list[str]] = defaultdict(list)
    for record in records:
        after[record.json["repository"]["full_name"]].append(record.json["after"])
    assert after == {name: list(CHANGES) for name in scene.names}
    results = [result for results in scene.counted.of_repository.values() for result in results]
    assert sum(r.state is DeliveryState.DELIVERED for r in results) == REPOSITORIES * len(CHANGES)
