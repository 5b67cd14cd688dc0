"""What is asked of the forges' own webhooks: which came, and how they compare with polling."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, select

from app.domain.hook import Verdict
from app.storage.entries import HookEntry, HookSums, Page
from app.storage.queries.asking import Asking
from app.storage.queries.paging import decode_cursor, page
from app.storage.queries.rows import rows
from app.storage.tables import hooks, repositories

# A choice: of how many of the newest a summary is made.
SUMMED = 10_000
_SETTLED = (Verdict.DELIVERED.value, Verdict.LATE.value)

_COLUMNS = (
    hooks.c.position,
    hooks.c.received_at,
    hooks.c.forge,
    hooks.c.delivery,
    hooks.c.repository_id,
    hooks.c.ref,
    hooks.c.before,
    hooks.c.after,
    hooks.c.push,
    hooks.c.verdict,
    hooks.c.reason,
    hooks.c.event_id,
    hooks.c.lag_ms,
)


class HookQueries(Asking):
    """Questions about webhooks."""

    def list_hooks(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        forge: str | None = None,
        repository_id: int | None = None,
        verdict: str | None = None,
    ) -> Page[HookEntry]:
        """List webhooks and what was missed, newest first; None means any.

        Raises:
            InputInvalid: The cursor is not one of this list's.
        """
        conditions: list[ColumnElement[bool]] = []
        if cursor is not None:
            conditions.append(hooks.c.position < decode_cursor(cursor, "hooks", int)[0])
        if forge is not None:
            conditions.append(hooks.c.forge == forge)
        if repository_id is not None:
            conditions.append(hooks.c.repository_id == repository_id)
        if verdict is not None:
            conditions.append(hooks.c.verdict == verdict)
        chosen = (
            select(*_COLUMNS)
            .where(*conditions)
            .order_by(hooks.c.position.desc())
            .limit(limit + 1)
            .subquery("chosen")
        )
        statement = (
            select(*chosen.c, repositories.c.name.label("repository_name"))
            .join_from(
                chosen, repositories, repositories.c.id == chosen.c.repository_id, isouter=True
            )
            .order_by(chosen.c.position.desc())
            .limit(limit + 1)
        )
        with self._database.read() as connection:
            found = [HookEntry(*row) for row in rows(connection, statement)]
        return page(found, limit, "hooks", lambda last: (last.position,))

    def sum_hooks(
        self, *, since: datetime, repository_id: int | None = None
    ) -> dict[str, HookSums]:
        """Sum up the newest 10,000 since then, by forge; of one repository, if one is named."""
        conditions = [hooks.c.received_at >= since]
        if repository_id is not None:
            conditions.append(hooks.c.repository_id == repository_id)
        statement = (
            select(hooks.c.forge, hooks.c.verdict, hooks.c.lag_ms, hooks.c.received_at)
            .where(*conditions)
            .order_by(hooks.c.position.desc())
            .limit(SUMMED)
        )
        with self._database.read() as connection:
            found = rows(connection, statement)
        by_forge: dict[str, list[Sequence[Any]]] = {}
        for row in found:
            by_forge.setdefault(str(row[0]), []).append(row)
        return {forge: _sum_up(by_forge[forge]) for forge in sorted(by_forge)}


def _sum_up(found: Sequence[Sequence[Any]]) -> HookSums:
    counts = {verdict.value: 0 for verdict in Verdict}
    lags: list[int] = []
    received: list[datetime] = []
    for _, verdict, lag_ms, received_at in found:
        counts[verdict] = counts.get(verdict, 0) + 1
        if lag_ms is not None and verdict in _SETTLED:
            lags.append(lag_ms)
        if verdict not in {Verdict.MISSED.value, Verdict.FORGED.value}:
            received.append(received_at)
    lags.sort()
    return HookSums(
        delivered=counts[Verdict.DELIVERED.value],
        late=counts[Verdict.LATE.value],
        missed=counts[Verdict.MISSED.value],
        forged=counts[Verdict.FORGED.value],
        contradicted=counts[Verdict.CONTRADICTED.value],
        ignored=counts[Verdict.IGNORED.value],
        pending=counts[Verdict.PENDING.value] + counts[Verdict.RECEIVED.value],
        median_lag_ms=lags[(len(lags) - 1) // 2] if lags else None,
        last_received_at=max(received, default=None),
    )
