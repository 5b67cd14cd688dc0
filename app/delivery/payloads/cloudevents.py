"""CloudEvents 1.0, in structured mode and in binary mode.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md

The data keeps the paths that bindings made for the Go RepoSentry read (``repository.url``,
``branch.name``, ``commit.sha``), and so do the headers: its EventListeners look for
``X-GitHub-Event``. In binary mode ``Content-Type`` is the data's own; a ``ce-datacontenttype``
beside it makes strict SDKs answer 500.
"""

from typing import Any
from urllib.parse import quote

from app.delivery.payloads import told
from app.delivery.payloads.addresses import Addresses, addresses
from app.delivery.payloads.spelling import (
    SHORT_SHA,
    Rendered,
    branch,
    extras,
    headers,
    listed,
    second,
    short_sha,
    to_json,
    uri,
)
from app.domain.delivery import Parcel
from app.domain.details import person_to_json
from app.domain.event import EventKind
from app.domain.moments import instant
from app.domain.refs import short_name

TYPE_PREFIX = "io.reposentry."
JSON = "application/json"
STRUCTURED_JSON = "application/cloudevents+json"

# All that a header carries as it is, by the HTTP protocol binding, 3.1.3.2.
_HEADER = "!#$&'()*+,/:;<=>?@[\\]^`{|}~"


def render_structured(parcel: Parcel) -> Rendered:
    """Spell an event as one JSON document, attributes and data together."""
    where = addresses(parcel.repository_url, forge=parcel.repository_forge)
    body = {
        **_attributes(parcel, where),
        "datacontenttype": JSON,
        "data": _data(parcel, where),
    }
    return Rendered(to_json(body), {**_headers(parcel), "Content-Type": STRUCTURED_JSON})


def render_binary(parcel: Parcel) -> Rendered:
    """Spell an event with its attributes in headers, so that the body is the data alone."""
    where = addresses(parcel.repository_url, forge=parcel.repository_forge)
    attributes = _attributes(parcel, where)
    spelled = {f"ce-{name}": quote(value, safe=_HEADER) for name, value in attributes.items()}
    return Rendered(to_json(_data(parcel, where)), {**_headers(parcel), **spelled})


def event_type(kind: EventKind) -> str:
    """Return the ``type`` of an event; a branch that moved is what everyone calls a push.

    >>> event_type(EventKind.BRANCH_UPDATED), event_type(EventKind.TAG_CREATED)
    ('io.reposentry.push', 'io.reposentry.tag.created')
    """
    if kind is EventKind.BRANCH_UPDATED:
        return f"{TYPE_PREFIX}push"
    return TYPE_PREFIX + kind.value.replace("_", ".")


def _headers(parcel: Parcel) -> dict[str, str]:
    return {**headers(parcel, user_agent="RepoSentry"), "X-GitHub-Event": "push"}


def _attributes(parcel: Parcel, where: Addresses) -> dict[str, str]:
    """Return the attributes; source and id together are one delivery's, over all its attempts."""
    return {
        "specversion": "1.0",
        "id": parcel.delivery_id,
        "source": uri(where.url),
        "type": event_type(parcel.event.kind),
        "subject": parcel.event.ref,
        "time": instant(parcel.event.detected_at),
    }


def _data(parcel: Parcel, where: Addresses) -> dict[str, Any]:
    event = parcel.event
    pusher = told.pusher(parcel)
    pushed_at = told.pushed_at(parcel)
    return {
        "repository": _repository(parcel, where),
        "commit": _commit(parcel, where),
        "previous_commit": {"sha": event.before, "short_sha": event.before[:SHORT_SHA]},
        "event": {
            "type": event.kind.value,
            "trigger_source": "reposentry",
            "trigger_id": event.id,
            "detection_time": instant(event.detected_at),
        },
        "ref": event.ref,
        "before": event.before,
        "after": event.after,
        "created": event.kind.change == "created",
        "deleted": event.kind.change == "deleted",
        "forced": told.is_forced(parcel),
        "commits": listed(parcel),
        "commits_count": told.commits_count(parcel),
        "pusher": person_to_json(pusher) if pusher else None,
        "pushed_at": instant(pushed_at) if pushed_at else None,
        **extras(parcel),
        "branch": {**branch(parcel), "ref": event.ref},
    }


def _repository(parcel: Parcel, where: Addresses) -> dict[str, Any]:
    known = parcel.default_branch
    return {
        "provider": parcel.repository_forge,
        "organization": where.owner,
        "name": where.name,
        "full_name": where.full_name,
        "url": where.url,
        "id": parcel.repository_name,
        "html_url": where.html,
        "clone_url": where.clone,
        "ssh_url": where.ssh,
        "default_branch": short_name(known) if known else None,
    }


def _commit(parcel: Parcel, where: Addresses) -> dict[str, Any]:
    """Tell of the commit that matters: where the ref is now, or was before it was deleted."""
    head = told.head(parcel)
    sha = told.target(parcel)
    return {
        "sha": sha,
        "short_sha": short_sha(parcel),
        "message": head.message,
        "url": head.url or where.commit(sha),
        "timestamp": second(head.committed_at),
        "author": person_to_json(head.author),
    }
