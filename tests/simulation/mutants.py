# ruff: noqa: SLF001 - what is broken here is the inside
"""Mistakes that were made elsewhere, each made here on purpose: the simulator must find them."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from app.domain.delivery import Parcel
from app.domain.event import NAMESPACE, Event, record
from app.forges.allowance import Allowance
from app.services import branch_monitor
from app.storage import sending, store
from app.storage.lease import check_fence
from app.storage.outbox import Outbox
from app.storage.records import Advance

Patch = pytest.MonkeyPatch


def the_cursor_moves_before_the_outbox(patch: Patch) -> None:
    """As in the program that came before: what was seen, and what is owed, written apart."""

    def advance(self: store.Store, step: Advance, *, fence: int) -> bool:
        def move(connection: Any) -> bool:
            check_fence(connection, fence)
            if not store._move(connection, step):
                return False
            store._write_refs(connection, step)
            return True

        def owe(connection: Any) -> None:
            wanted = {owed.event_id for owed in step.owed}
            store._write_events(connection, step, wanted, {})
            if step.owed:
                store._owe(connection, step, {})

        moved = self._database.write(move)
        if moved and step.events:
            self._database.write(owe)
        return moved

    patch.setattr(store.Store, "advance", advance)


def a_claim_asks_no_condition(patch: Patch) -> None:
    claim, lock = sending.claim, sending.lock

    def lenient(connection: Any, positions: Any) -> dict[int, Any]:
        free = {"finished_at": None, "claimed_until": None, "state": "pending"}
        found = lock(connection, positions)
        return {at: SimpleNamespace(**{**row._mapping, **free}) for at, row in found.items()}

    def claim_anything(*arguments: Any, **named: Any) -> list[int]:
        with Patch.context() as inner:
            inner.setattr(sending, "lock", lenient)
            return claim(*arguments, **named)

    patch.setattr(sending, "claim", claim_anything)


def the_id_comes_from_the_time(patch: Patch) -> None:
    def dated(*arguments: Any, **named: Any) -> Event:
        made = record(*arguments, **named)
        return replace(made, id=str(uuid.uuid5(NAMESPACE, f"{made.id} {made.detected_at}")))

    patch.setattr(branch_monitor, "record", dated)


def the_order_is_forgotten(patch: Patch) -> None:
    """What waits for its next try lets its successors pass."""
    parcels = Outbox.parcels

    def whatever_is_due(self: Outbox, *arguments: Any, **named: Any) -> Sequence[Parcel]:
        return sorted(parcels(self, *arguments, **named), key=lambda parcel: parcel.due_at)

    patch.setattr(Outbox, "parcels", whatever_is_due)


def a_limit_is_run_into(patch: Patch) -> None:
    patch.setattr(Allowance, "admit", lambda *_, **__: None)


def an_interrupted_attempt_is_forgotten(patch: Patch) -> None:
    claim, conclude_rows = sending.claim, sending._record

    def keep_only_whole(connection: Any, rows: Sequence[Mapping[str, Any]], standing: Any) -> None:
        whole = [dict(row) for row in rows if row.get("duration_ms") is not None]
        conclude_rows(connection, whole, standing)

    def claim_without(*arguments: Any, **named: Any) -> list[int]:
        with Patch.context() as inner:
            inner.setattr(sending, "_record", keep_only_whole)
            return claim(*arguments, **named)

    patch.setattr(sending, "claim", claim_without)


# Each with the promises that it may break.
MUTANTS: Mapping[Callable[[Patch], None], set[int]] = {
    the_cursor_moves_before_the_outbox: {1},
    a_claim_asks_no_condition: {3, 5},
    the_id_comes_from_the_time: {2},
    the_order_is_forgotten: {3},
    a_limit_is_run_into: {4},
    an_interrupted_attempt_is_forgotten: {5},
}
