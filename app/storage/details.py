"""What was told of a change after it was recorded."""

from typing import Any

from sqlalchemy import Connection, bindparam, func, update

from app.domain.details import Details, commit_to_json, person_to_json
from app.storage.tables import events

# It may be told piece by piece: what is known stays where nothing more is told, and whether it was
# forced and when it was pushed stay as they are where they are known.
_KEEP = (
    update(events)
    .where(events.c.id == bindparam("of_id"))
    .values(
        commits=func.coalesce(
            bindparam("told_commits", type_=events.c.commits.type), events.c.commits
        ),
        commits_count=func.coalesce(
            bindparam("told_count", type_=events.c.commits_count.type), events.c.commits_count
        ),
        pusher=func.coalesce(bindparam("told_pusher", type_=events.c.pusher.type), events.c.pusher),
        forced=func.coalesce(events.c.forced, bindparam("told_forced", type_=events.c.forced.type)),
        pushed_at=func.coalesce(
            events.c.pushed_at, bindparam("told_pushed_at", type_=events.c.pushed_at.type)
        ),
    )
)


def known(details: Details | None) -> dict[str, Any]:
    """Return the columns of what is known of an event when it is recorded."""
    if details is None:
        return {"commits": None, "commits_count": None, "pusher": None}
    return {
        "commits": [commit_to_json(commit) for commit in details.commits] or None,
        "commits_count": details.total,
        "pusher": person_to_json(details.pusher) if details.pusher else None,
    }


def keep(connection: Connection, event_id: str, details: Details) -> None:
    """Write down what was told of an event; no event, no effect."""
    told = known(details)
    connection.execute(
        _KEEP,
        {
            "of_id": event_id,
            "told_commits": told["commits"],
            "told_count": told["commits_count"],
            "told_pusher": told["pusher"],
            "told_forced": details.forced,
            "told_pushed_at": details.pushed_at,
        },
    )
