"""Our own JSON: the event as the API lists it, and what templates need beside it.

Its signature follows the Standard Webhooks specification (``app.delivery.signing``).
"""

from app.delivery.payloads import told
from app.delivery.payloads.spelling import (
    Rendered,
    branch,
    headers,
    listed,
    short_sha,
    to_json,
)
from app.domain import paths
from app.domain.delivery import Parcel
from app.domain.details import person_to_json
from app.domain.event import EventState
from app.domain.moments import instant


def render(parcel: Parcel) -> Rendered:
    """Spell the event as the API does; it is open by definition while this is being sent."""
    event = parcel.event
    pushed_at, pusher = told.pushed_at(parcel), told.pusher(parcel)
    body = {
        "id": event.id,
        "sequence": event.sequence,
        "kind": event.kind.value,
        "repository": {
            "name": parcel.repository_name,
            "url": parcel.repository_url,
            "forge": parcel.repository_forge,
        },
        "ref": event.ref,
        "before": event.before,
        "after": event.after,
        "forced": told.is_forced(parcel),
        "commits": listed(parcel),
        "commits_count": told.commits_count(parcel),
        "pusher": person_to_json(pusher) if pusher else None,
        **paths.listed(event.paths),
        "pushed_at": instant(pushed_at) if pushed_at else None,
        "detected_at": instant(event.detected_at),
        "catch_up": event.catch_up,
        "state": EventState.OPEN.value,
        "branch": branch(parcel),
        "short_sha": short_sha(parcel),
        "delivery": parcel.delivery_id,
        "labels": dict(parcel.labels),
    }
    return Rendered(to_json(body), headers(parcel, user_agent="RepoSentry"))
