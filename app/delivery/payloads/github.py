"""A GitHub ``push`` event, such as Tekton, Pipelines-as-Code, Buildbot, Argo CD and Flux expect.

Every key that GitHub's own schema requires is there, because a Tekton binding to a missing one
creates nothing and says nothing. What polling cannot know is filled in so that it does no harm:
empty lists of files make Argo CD look at everything, and an unknown visibility is private.
"""

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any

from app.delivery.payloads.addresses import Addresses, addresses
from app.delivery.payloads.spelling import Rendered, extras, headers, to_json
from app.domain.delivery import Parcel
from app.domain.event import Event
from app.domain.refs import short_name, zeros

# Polling sees where a ref points and not who pushed; RFC 2606 keeps .invalid from being anyone's.
NOBODY = {"name": "RepoSentry", "email": "reposentry@noreply.invalid"}
NOWHERE = "https://reposentry.invalid"
# What GitHub itself proposes; only for receivers that must have some name here.
USUAL_BRANCH = "main"

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
    commit = _head_commit(event, where)
    body = {
        "ref": event.ref,
        "before": event.before,
        "after": event.after,
        "created": event.kind.change == "created",
        "deleted": event.kind.change == "deleted",
        # GitHub knows no «unknown»; the honest answer stands in ``reposentry.forced``.
        "forced": event.forced or False,
        "base_ref": None,
        "compare": _compare(event, where),
        "commits": [commit] if commit else [],
        "head_commit": commit,
        "repository": _repository(parcel, where),
        "pusher": NOBODY,
        "sender": _user("reposentry", NOWHERE, kind="Bot"),
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


def _head_commit(event: Event, where: Addresses) -> dict[str, Any] | None:
    """Tell what is known of the commit that was pushed; None after a deletion, as GitHub has it."""
    if event.kind.change == "deleted":
        return None
    who = {**NOBODY, "username": "reposentry"}
    return {
        "id": event.after,
        "tree_id": zeros(event.after),
        "distinct": True,
        "message": "",
        "timestamp": _second(event.pushed_at or event.detected_at),
        "url": where.commit(event.after),
        "author": who,
        "committer": who,
        "added": [],
        "removed": [],
        "modified": [],
    }


def _repository(parcel: Parcel, where: Addresses) -> dict[str, Any]:
    identity = number(parcel.repository_url)
    default_branch = short_name(parcel.default_branch or USUAL_BRANCH)
    moment = parcel.event.pushed_at or parcel.event.detected_at
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
        "updated_at": _second(moment),
        "pushed_at": int(moment.timestamp()),
        "git_url": where.git,
        "ssh_url": where.ssh,
        "clone_url": where.clone,
        "svn_url": where.html,
        **_UNKNOWN,
        "default_branch": default_branch,
        "master_branch": default_branch,
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
    page = f"{origin}/{login}"
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


def number(text: str) -> int:
    """Return a whole number that is always the same for the same text.

    It has 48 bits, so that JavaScript and every database hold it exactly.

    >>> number("https://github.com/tektoncd/pipeline")
    239798744589387
    """
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])


def _node(kind: str, identity: int) -> str:
    """Write a GraphQL id as GitHub long did."""
    text = f"{len(kind):03}:{kind}{identity}"
    return base64.b64encode(text.encode()).decode()


def _second(moment: datetime) -> str:
    """Write a moment as GitHub does, without fractions."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
