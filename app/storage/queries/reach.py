"""How far back a question looks where no index leads to its answer."""

from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, func, select

from app.domain.delivery import OPEN_STATES
from app.domain.event import EventState

# Positions that one page looks at when no index answers its question; the next page goes on from
# there. Measured in November 2026 with a million events on SQLite: 10 to 40 ms.
STRETCH = 50_000
# Positions follow the commits, moments the polls: a moment this far from another is surely on the
# same side of it by position.
DISORDER = timedelta(hours=1)
# Few by their nature, so that the index on the state alone finds them quickly.
RARE_STATES = frozenset({EventState.OPEN, EventState.FAILED, EventState.HELD, "dead", *OPEN_STATES})


def last_position(connection: Connection, position: ColumnElement[int]) -> int:
    """Return the newest position, 0 when there is none."""
    return connection.execute(select(func.max(position))).scalar() or 0
