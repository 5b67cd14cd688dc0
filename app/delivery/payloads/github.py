"""A GitHub ``push`` event, such as Tekton, Pipelines-as-Code, Buildbot, Argo CD and Flux expect.

Every key that GitHub's own schema requires is there, because a Tekton binding to a missing one
creates nothing and says nothing. What nobody told is filled in so that it does no harm: empty
lists of files make Argo CD look at everything, and an unknown visibility is private.
"""

import base64
from typing import Any
from urllib.parse import quote

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
)
from app.domain.delivery import Parcel
from app.domain.details import Commit, Person
from app.domain.event import Event
from app.domain.refs import zeros

NOWHERE = "https://reposentry.invalid"

# The links of a repository in GitHub's API, after its own URL there.
API_LINKS = {
    "forks_url": "/forks",
    "keys_url": "/keys{/key_id}",
    "collaborators_url": "/collaborators{/collaborator}",
    "teams_url": "/teams",
    "hooks_url": "/hooks",
    "issue_events_url": "/issues/events{/number}",
    "events_url": "/events",
    "assignees_url": "/assignees{/user}",
    "branches_url": "/branches{/branch}",
    "tags_url": "/tags",
    "blobs_url": "/git/blobs{/sha}",
    "git_tags_url": "/git/tags{/sha}",
    "git_refs_url": "/git/refs{/sha}",
    "trees_url": "/git/trees{/sha}",
    "statuses_url": "/statuses/{sha}",
    "languages_url": "/languages",
    "stargazers_url": "/stargazers",
    "contributors_url": "/contributors",
    "subscribers_url": "/subscribers",
    "subscription_url": "/subscription",
    "commits_url": "/commits{/sha}",
    "git_commits_url": "/git/commits{/sha}",
    "comments_url": "/comments{/number}",
    "issue_comment_url": "/issues/comments{/number}",
    "contents_url": "/contents/{+path}",
    "compare_url": "/compare/{base}...{head}",
    "merges_url": "/merges",
    "archive_url": "/{archive_format}{/ref}",
    "downloads_url": "/downloads",
    "issues_url": "/issues{/number}",
    "pulls_url": "/pulls{/number}",
    "milestones_url": "/milestones{/number}",
    "notifications_url": "/notifications{?since,all,participating}",
    "labels_url": "/labels{/name}",
    "releases_url": "/releases{/id}",
    "deployments_url": "/deployments",
}
USER_LINKS = {
    "followers_url": "/followers",
    "following_url": "/following{/other_user}",
    "gists_url": "/gists{/gist_id}",
    "starred_url": "/starred{/owner}{/repo}",
    "subscriptions_url": "/subscriptions",
    "organizations_url": "/orgs",
    "repos_url": "/repos",
    "events_url": "/events{/privacy}",
    "received_events_url": "/received_events",
}


def render(parcel: Parcel) -> Rendered:
    """Spell a branch's or tag's event as the push that made it."""
    event = parcel.event
    where = addresses(parcel.repository_url, forge=parcel.repository_forge)
    commits = [_commit(commit, where) for commit in told.commits(parcel)]
    pusher = told.pusher(parcel)
    body = {
        "ref": event.ref,
        "before": event.before,
        "after": event.after,
        "created": event.kind.change == "created",
        "deleted": event.kind.change == "deleted",
        # GitHub knows no «unknown»; the honest answer stands in ``reposentry.forced``.
        "forced": told.is_forced(parcel) or False,
        "base_ref": None,
        "compare": _compare(event, where),
        "commits": commits,
        "head_commit": commits[-1] if commits else None,
        "repository": _repository(parcel, where),
        "pusher": _pusher(pusher),
        "sender": _sender(pusher, where),
        **extras(parcel),
    }
    return Rendered(to_json(body), _headers(parcel))


def _headers(parcel: Parcel) -> dict[str, str]:
    return {
        **headers(parcel, user_agent="GitHub-Hookshot/reposentry"),
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": parcel.delivery_id,
        "X-GitHub-Hook-ID": str(number(parcel.receiver)),
        "X-GitHub-Hook-Installation-Target-ID": str(number(parcel.repository_url)),
        "X-GitHub-Hook-Installation-Target-Type": "repository",
    }


def _compare(event: Event, where: Addresses) -> str:
    if event.kind.change == "created":
        return where.compare_new(event.name)
    return where.compare(event.before, event.after)


def _commit(commit: Commit, where: Addresses) -> dict[str, Any]:
    return {
        "id": commit.id,
        "tree_id": commit.tree_id or zeros(commit.id),
        "distinct": True,
        "message": commit.message,
        "timestamp": second(commit.committed_at),
        "url": commit.url or where.commit(commit.id),
        "author": _person(commit.author),
        "committer": _person(commit.committer),
        "added": list(commit.added or ()),
        "removed": list(commit.removed or ()),
        "modified": list(commit.modified or ()),
    }


def _person(person: Person) -> dict[str, Any]:
    """Describe an author; without an account the key is there all the same, for bindings."""
    return {"name": person.name, "email": person.email, "username": person.username or ""}


def _pusher(person: Person | None) -> dict[str, Any]:
    """Describe who pushed; GitHub calls them by their account."""
    if person is None:
        return {"name": told.NOBODY.name, "email": told.NOBODY.email}
    return {"name": person.username or person.name, "email": person.email}


def _sender(person: Person | None, where: Addresses) -> dict[str, Any]:
    if person is None or not person.username:
        return _user("reposentry", NOWHERE, kind="Bot")
    return _user(person.username, where.origin, kind="User")


def _repository(parcel: Parcel, where: Addresses) -> dict[str, Any]:
    identity = number(parcel.repository_url)
    usual = default_branch(parcel)
    moment = told.pushed_at(parcel) or parcel.event.detected_at
    return {
        "id": identity,
        "node_id": _node("Repository", identity),
        "name": where.name,
        "full_name": where.full_name,
        "private": True,
        "owner": {
            **_user(where.owner, where.origin, kind="Organization"),
            "name": where.owner,
            "email": None,
        },
        "html_url": where.html,
        "description": None,
        "fork": False,
        "url": where.url,
        **{name: where.api + path for name, path in API_LINKS.items()},
        "created_at": int(moment.timestamp()),
        "updated_at": second(moment),
        "pushed_at": int(moment.timestamp()),
        "git_url": where.git,
        "ssh_url": where.ssh,
        "clone_url": where.clone,
        "svn_url": where.html,
        **_UNKNOWN,
        "default_branch": usual,
        "master_branch": usual,
    }


_UNKNOWN: dict[str, Any] = {
    "homepage": None,
    "size": 0,
    "stargazers_count": 0,
    "watchers_count": 0,
    "language": None,
    "has_issues": True,
    "has_projects": True,
    "has_downloads": True,
    "has_wiki": True,
    "has_pages": False,
    "has_discussions": False,
    "forks_count": 0,
    "mirror_url": None,
    "archived": False,
    "disabled": False,
    "open_issues_count": 0,
    "license": None,
    "allow_forking": True,
    "is_template": False,
    "web_commit_signoff_required": False,
    "topics": [],
    "visibility": "private",
    "forks": 0,
    "open_issues": 0,
    "watchers": 0,
    "stargazers": 0,
    "custom_properties": {},
}


def _user(login: str, origin: str, *, kind: str) -> dict[str, Any]:
    """Describe an account with all the keys that GitHub gives one."""
    page = f"{origin}/{quote(login, safe='/%~@:+')}"
    identity = number(page)
    return {
        "login": login,
        "id": identity,
        "node_id": _node("User", identity),
        "avatar_url": f"{page}.png",
        "gravatar_id": "",
        "url": page,
        "html_url": page,
        **{name: page + path for name, path in USER_LINKS.items()},
        "type": kind,
        "site_admin": False,
    }


def _node(kind: str, identity: int) -> str:
    """Write a GraphQL id as GitHub long did."""
    text = f"{len(kind):03}:{kind}{identity}"
    return base64.b64encode(text.encode()).decode()
