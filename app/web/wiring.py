"""How pages and API reach the running program, and what they may ask of it."""

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from flask import Flask, current_app

from app.domain.health import HealthReport
from app.services.hook_intake import Reception
from app.services.status import Status
from app.storage.filters import DeliveryFilter
from app.storage.records import PollRecord

EXTENSION = "reposentry"


class Services(Protocol):
    """What the running program can tell and do; every method may be called from many threads.

    All of them may raise StorageUnavailable.
    """

    @property
    def status(self) -> Status:
        """How everything fares."""
        ...

    @property
    def version(self) -> str:
        """This program's version."""
        ...

    def health(self) -> HealthReport:
        """Tell how well each part is; quick, and never raises."""
        ...

    def ready(self) -> tuple[bool, str]:
        """Tell whether requests can be served, and if not why not; quick, and never raises."""
        ...

    def wake(self, name: str) -> None:
        """Bring a repository's next poll forward to now.

        Raises:
            NotFound: There is no such repository.
            Conflict: It is paused or retired.
        """
        ...

    def poll_and_wait(self, name: str, wait_s: float) -> PollRecord | None:
        """Wake a repository and return the poll's outcome, or None if it does not end in time.

        Raises:
            NotFound: There is no such repository.
            Conflict: It is paused or retired.
        """
        ...

    def redeliver(self, event_id: str, receivers: Sequence[str] | None) -> list[str]:
        """Owe an event again, to these receivers or to all it was owed to; return the new ids.

        Raises:
            NotFound: There is no such event.
            InputInvalid: There is no such receiver.
        """
        ...

    def redeliver_many(self, wanted: DeliveryFilter, receivers: Sequence[str] | None = None) -> int:
        """Owe again what matches and is finished, to the same or to these; return how many.

        Raises:
            InputInvalid: There is no such receiver.
        """
        ...

    def cancel_many(self, wanted: DeliveryFilter) -> int:
        """Finish what matches and is neither finished nor being sent; return how many."""
        ...

    def release_storm(self, hold_id: str) -> None:
        """Send what was held back of a storm.

        Raises:
            NotFound: There is no such storm.
            Conflict: It is released or dismissed already.
        """
        ...

    def dismiss_storm(self, hold_id: str) -> None:
        """Cancel what was held back of a storm; its events stay in the history.

        Raises:
            NotFound: There is no such storm.
            Conflict: It is released or dismissed already.
        """
        ...

    def may_confirm(self, receiver: str, key: str) -> bool:
        """Tell whether this key opens that receiver's confirmation address; quick, never raises."""
        ...

    def confirm_delivery(self, receiver: str, delivery_id: str) -> bool:
        """Note that a delivery had its effect; False if it is none of that receiver's."""
        ...

    def takes_hooks(self, forge: str) -> bool:
        """Tell whether this forge's own webhooks are listened to; quick, and never raises."""
        ...

    def receive_hook(self, forge: str, headers: Mapping[str, str], body: bytes) -> Reception:
        """Take a webhook of a forge that is listened to; quick, and never raises.

        ``headers`` have their names in lower case.
        """
        ...

    def retry_delivery(self, delivery_id: str) -> None:
        """Try a waiting delivery now.

        Raises:
            NotFound: There is no such delivery.
            Conflict: It is finished.
        """
        ...

    def cancel_delivery(self, delivery_id: str) -> None:
        """Finish a delivery without trying it again.

        Raises:
            NotFound: There is no such delivery.
            Conflict: It is finished, or being sent at this moment.
        """
        ...

    def pause_repository(self, name: str) -> None:
        """Stop polling a repository until it is resumed; pausing twice is no error.

        Raises:
            NotFound: There is no such repository.
        """
        ...

    def resume_repository(self, name: str) -> None:
        """Poll a paused repository again; resuming twice is no error.

        Raises:
            NotFound: There is no such repository.
        """
        ...

    def pause_receiver(self, name: str) -> None:
        """Begin no further attempt to a receiver until it is resumed; pausing twice is no error.

        Raises:
            NotFound: There is no such receiver.
        """
        ...

    def resume_receiver(self, name: str) -> None:
        """Send again to a receiver that was paused or said 410; resuming twice is no error.

        Raises:
            NotFound: There is no such receiver.
        """
        ...


def attach(app: Flask, services: Services) -> None:
    """Give an application its services."""
    app.extensions[EXTENSION] = services


def services() -> Services:
    """Return the services of the application that answers this request."""
    return cast("Services", current_app.extensions[EXTENSION])
