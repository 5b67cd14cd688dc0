"""A GitLab ``Push Hook`` or ``Tag Push Hook``, with all that GitLab documents of it.

https://docs.gitlab.com/user/project/integrations/webhook_events/

What nobody told is filled in as in ``github``: there is always a commit, since Buildbot makes a
change of each, and an unknown visibility is private.
"""

from typing import Any

from app.delivery.payloads import told
from app.delivery.payloads.addresses import Addresses, addresses
from app.delivery.payloads.spelling import (
    Rendered,
    default_branch,
    extras,
    headers,
    number,
    second,
    to_json,
    uri,
)
from app.domain.delivery import Parcel
from app.domain.details import Commit
from app.domain.refs import is_tag

PRIVATE = 0
# The part of a project that GitLab repeats as ``repository``.
REPEATED = (
    "name",
    "url",
    "description",
    "homepage",
    "git_http_url",
    "git_ssh_url",
    "visibility_level",
)


def render(parcel: Parcel) -> Rendered:
    """Spell a branch's or tag's event as the push that made it."""
    event = parcel.event
    where = addresses(parcel.repository_url, forge=parcel.repository_forge)
    kind = "tag_push" if is_tag(event.ref) else "push"
    project = _project(parcel, where)
    commits = [_commit(commit, where) for commit in told.commits(parcel)]
    body = {
        "object_kind": kind,
        "event_name": kind,
        "before": event.before,
        "after": event.after,
        "ref": event.ref,
        "ref_protected": False,
        "checkout_sha": told.target(parcel) if commits else None,
        "message": None,
        **_user(parcel),
        "project_id": project["id"],
        "project": project,
        "commits": commits,
        "total_commits_count": max(told.commits_count(parcel) or 0, len(commits)),
        "push_options": {},
        "repository": {name: project[name] for name in REPEATED},
        **extras(parcel),
    }
    return Rendered(to_json(body), _headers(parcel, where))


def _headers(parcel: Parcel, where: Addresses) -> dict[str, str]:
    return {
        **headers(parcel, user_agent="GitLab/reposentry"),
        "X-Gitlab-Event": "Tag Push Hook" if is_tag(parcel.event.ref) else "Push Hook",
        "X-Gitlab-Event-UUID": parcel.event.id,
        "X-Gitlab-Webhook-UUID": parcel.delivery_id,
        "X-Gitlab-Instance": uri(where.origin),
        "Idempotency-Key": parcel.delivery_id,
    }


def _user(parcel: Parcel) -> dict[str, Any]:
    """Tell who pushed."""
    person = told.pusher(parcel) or told.NOBODY
    return {
        "user_id": number(person.username or person.email),
        "user_name": person.name,
        "user_username": person.username or "",
        "user_email": person.email,
        "user_avatar": None,
    }


def _project(parcel: Parcel, where: Addresses) -> dict[str, Any]:
    return {
        "id": number(parcel.repository_url),
        "name": where.name,
        "description": "",
        "web_url": where.html,
        "avatar_url": None,
        "git_ssh_url": where.ssh,
        "git_http_url": where.clone,
        "namespace": where.owner,
        "visibility_level": PRIVATE,
        "path_with_namespace": where.full_name,
        "default_branch": default_branch(parcel),
        "ci_config_path": None,
        "homepage": where.html,
        "url": where.ssh,
        "ssh_url": where.ssh,
        "http_url": where.clone,
    }


def _commit(commit: Commit, where: Addresses) -> dict[str, Any]:
    return {
        "id": commit.id,
        "message": commit.message,
        "title": commit.message.partition("\n")[0],
        "timestamp": second(commit.committed_at),
        "url": commit.url or where.commit(commit.id),
        "author": {"name": commit.author.name, "email": commit.author.email},
        "added": list(commit.added or ()),
        "modified": list(commit.modified or ()),
        "removed": list(commit.removed or ()),
    }
