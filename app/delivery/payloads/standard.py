"""Our own JSON: the event as the API lists it, and what templates need beside it.

Its signature follows the Standard Webhooks specification (``app.delivery.signing``).
"""

from app.delivery.payloads.spelling import Rendered, branch, headers, instant, short_sha, to_json
from app.domain.delivery import Parcel
from app.domain.event import EventState


def render(parcel: Parcel) -> Rendered:
    """Spell the event as the API does; it is open by definition while this is being sent."""
    event = parcel.event
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
        "forced": event.forced,
        "commits": None,  # polling sees where a ref points, not what lies between
        "pushed_at": instant(event.pushed_at) if event.pushed_at else None,
        "detected_at": instant(event.detected_at),
        "catch_up": event.catch_up,
        "state": EventState.OPEN.value,
        "branch": branch(parcel),
        "short_sha": short_sha(parcel),
        "delivery": parcel.delivery_id,
        "labels": dict(parcel.labels),
    }
    return Rendered(to_json(body), headers(parcel, user_agent="RepoSentry"))
