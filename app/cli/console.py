"""What a terminal shows while the program runs: each change and each attempt as a line."""

import threading
from collections.abc import Callable
from datetime import datetime

import click

from app.domain.delivery import DeliveryState, Parcel
from app.domain.event import Event
from app.domain.repository import Repository
from app.storage.records import AttemptResult

SHORT = 8  # digits of a commit id that people compare


class Console:
    """Prints a line for each change found and each delivery attempted; safe from many threads."""

    def __init__(self, write: Callable[[str], None] = click.echo) -> None:
        self._write = write
        self._lock = threading.Lock()

    def found(self, repository: Repository, event: Event) -> None:
        """Print a change."""
        moved = f"{event.before[:SHORT]} → {event.after[:SHORT]}"
        if event.kind.change == "created":
            moved = event.after[:SHORT]
        elif event.kind.change == "deleted":
            moved = f"was {event.before[:SHORT]}"
        kind = event.kind.value.replace("_", " ")
        text = f"{repository.name}  {kind:<14}  {event.name}  {moved}"
        self._line(event.detected_at, text)

    def attempted(self, parcel: Parcel, result: AttemptResult) -> None:
        """Print what became of a delivery."""
        told = f"status {result.answer.status}" if result.answer.status else result.answer.error
        sign = "✓" if result.state is DeliveryState.DELIVERED else "✗"
        forced = "  (forced)" if parcel.event.forced else ""
        more = ""
        if result.state is DeliveryState.WAITING and result.retry_at:
            more = f", again at {result.retry_at.astimezone():%H:%M:%S}"
        elif result.state is DeliveryState.DEAD:
            more = ", given up"
        self._line(
            result.started_at,
            f"{parcel.repository_name}  {sign} {result.state.value:<12}  {parcel.event.name}"
            f"{forced}  to {parcel.receiver}: {told} in {result.duration_ms} ms{more}",
        )

    def _line(self, at: datetime, text: str) -> None:
        with self._lock:
            self._write(f"{at.astimezone():%H:%M:%S}  {text}")
