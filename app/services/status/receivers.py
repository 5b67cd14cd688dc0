"""How the receivers fare: what people and answers decided, circuits, and what is owed."""

from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import urlsplit, urlunsplit

from app.services.status.answers import OpenCircuit, ReceiverStatus
from app.services.status.explanation import says_answer
from app.settings.types import Receiver
from app.storage.entries import ReceiverEntry
from app.storage.queries import Queries


class ReceiverReader:
    """Reads it anew each time."""

    def __init__(
        self,
        queries: Queries,
        receivers: Mapping[str, Receiver],
        circuits: Callable[[], Mapping[str, OpenCircuit] | None],
    ) -> None:
        self._queries = queries
        self._receivers = receivers
        self._circuits = circuits

    def read(self) -> tuple[ReceiverStatus, ...]:
        """Tell how the configured receivers fare, by name."""
        configured = dict(self._receivers)
        stored = {one.name: one for one in self._queries.list_receivers()}
        owed = self._queries.count_owed(list(configured))
        live = self._circuits()
        found = []
        for name, receiver in sorted(configured.items()):
            state, reason, since = "ok", None, None
            decided = stored.get(name)
            circuit = _stored_circuit(decided) if live is None else live.get(name)
            if decided and decided.disabled_at:
                state, reason, since = "disabled", decided.disabled_reason, decided.disabled_at
            elif decided and decided.paused_at:
                state, reason, since = "paused", "a person paused it", decided.paused_at
            elif circuit:
                state, reason, since = "open", circuit.reason, circuit.opened_at
            elif owed[name]:
                reason, since = self._read_failure(name)
                state = "failing" if reason else "ok"
            url = shown_url(receiver.url)
            found.append(
                ReceiverStatus(
                    name, url, receiver.payload, state, owed[name], reason, since, circuit
                )
            )
        return tuple(found)

    def read_former(self) -> tuple[tuple[str, int], ...]:
        """Name those that are not configured any more and still owed something, with how much."""
        former = sorted(set(self._queries.list_owed_receivers()) - set(self._receivers))
        return tuple(self._queries.count_owed(former).items())

    def _read_failure(self, receiver: str) -> tuple[str | None, datetime | None]:
        """Tell what the receiver last answered to the oldest of its tried deliveries."""
        tried = [
            one
            for one in self._queries.list_next_owed(receiver, limit=20)
            if one.last_error or one.last_status
        ]
        if not tried:
            return None, None
        oldest = min(tried, key=lambda one: one.created_at)
        return says_answer(oldest), oldest.created_at


def shown_url(url: str) -> str:
    """Return a receiver's address without what may be secret in it.

    >>> shown_url("https://bob:s3cret@ci.example.com/hook?token=abc")
    'https://ci.example.com/hook?…'
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", ""))


def _stored_circuit(entry: ReceiverEntry | None) -> OpenCircuit | None:
    if entry is None or entry.opened_at is None:
        return None
    return OpenCircuit(entry.opened_at, entry.opened_reason)
