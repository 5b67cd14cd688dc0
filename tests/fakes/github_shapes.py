"""How GitHub's REST API spells things: every field that its own description calls required."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tests.fakes.hosting import EMPTY_TREE, HEADS, Commit, Hosted, Pushed, Standing

USER_URLS = {
    "followers_url": "followers",
    "following_url": "following{/other_user}",
    "gists_url": "gists{/gist_id}",
    "starred_url": "starred{/owner}{/repo}",
    "subscriptions_url": "subscriptions",
    "organizations_url": "orgs",
    "repos_url": "repos",
    "events_url": "events{/privacy}",
    "received_events_url": "received_events",
}
REPOSITORY_URLS = {
    "archive_url": "{archive_format}{/ref}",
    "assignees_url": "assignees{/user}",
    "blobs_url": "git/blobs{/sha}",
    "branches_url": "branches{/branch}",
    "collaborators_url": "collaborators{/collaborator}",
    "comments_url": "comments{/number}",
    "commits_url": "commits{/sha}",
    "compare_url": "compare/{base}...{head}",
    "contents_url": "contents/{+path}",
    "contributors_url": "contributors",
    "deployments_url": "deployments",
    "downloads_url": "downloads",
    "events_url": "events",
    "forks_url": "forks",
    "git_commits_url": "git/commits{/sha}",
    "git_refs_url": "git/refs{/sha}",
    "git_tags_url": "git/tags{/sha}",
    "hooks_url": "hooks",
    "issue_comment_url": "issues/comments{/number}",
    "issue_events_url": "issues/events{/number}",
    "issues_url": "issues{/number}",
    "keys_url": "keys{/key_id}",
    "labels_url": "labels{/name}",
    "languages_url": "languages",
    "merges_url": "merges",
    "milestones_url": "milestones{/number}",
    "notifications_url": "notifications{?since,all,participating}",
    "pulls_url": "pulls{/number}",
    "releases_url": "releases{/id}",
    "stargazers_url": "stargazers",
    "statuses_url": "statuses/{sha}",
    "subscribers_url": "subscribers",
    "subscription_url": "subscription",
    "tags_url": "tags",
    "teams_url": "teams",
    "trees_url": "git/trees{/sha}",
}
COUNTS = (
    "forks",
    "forks_count",
    "open_issues",
    "open_issues_count",
    "stargazers_count",
    "watchers",
    "watchers_count",
    "size",
)
FLAGS = ("has_issues", "has_projects", "has_wiki", "has_pages", "has_discussions", "has_downloads")


def moment(at_s: float) -> str:
    """Spell a moment as GitHub does, to the second.

    >>> moment(0.9)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(int(at_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def node_id(kind: str, number: int | str) -> str:
    """Return an id as GraphQL knows it; nobody may read anything into it."""
    return base64.b64encode(f"{kind}{number}".encode()).decode()


def account(login: str, api: str, html: str, *, kind: str = "User") -> dict[str, Any]:
    """Spell a user, or an organisation."""
    number = sum(login.encode())  # any number will do
    url = f"{api}/users/{login}"
    return {
        "login": login,
        "id": number,
        "node_id": node_id(kind, number),
        "avatar_url": f"{html}/{login}.png",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{html}/{login}",
        **{name: f"{url}/{path}" for name, path in USER_URLS.items()},
        "type": kind,
        "site_admin": False,
    }


def repository(
    hosted: Hosted, standing: Standing, api: str, html: str, *, kind: str = "Organization"
) -> dict[str, Any]:
    """Spell a repository as in a list."""
    url = f"{api}/repos/{hosted.full_name}"
    page = f"{html}/{hosted.full_name}"
    return {
        "id": hosted.id,
        "node_id": node_id("Repository", hosted.id),
        "name": hosted.name,
        "full_name": hosted.full_name,
        "private": hosted.is_private,
        "owner": account(hosted.owner, api, html, kind=kind),
        "html_url": page,
        "description": None,
        "fork": False,
        "url": url,
        **{name: f"{url}/{path}" for name, path in REPOSITORY_URLS.items()},
        "clone_url": f"{page}.git",
        "git_url": f"git://{page.partition('://')[2]}.git",
        "ssh_url": f"git@example.com:{hosted.full_name}.git",
        "svn_url": page,
        "mirror_url": None,
        "homepage": None,
        "language": None,
        "license": None,
        **dict.fromkeys(COUNTS, 0),
        **dict.fromkeys(FLAGS, True),
        "archived": hosted.is_archived,
        "disabled": hosted.is_disabled,
        "visibility": "private" if hosted.is_private else "public",
        "default_branch": hosted.default_branch,
        "pushed_at": moment(standing.pushed_s),
        "created_at": moment(hosted.created_s),
        "updated_at": moment(hosted.created_s),
    }


def branches(hosted: Hosted, standing: Standing, api: str) -> list[dict[str, Any]]:
    """Spell the list of branches, by name."""
    url = f"{api}/repos/{hosted.full_name}"
    return [
        {
            "name": ref.removeprefix(HEADS),
            "commit": {"sha": target, "url": f"{url}/commits/{target}"},
            "protected": False,
        }
        for ref, target in sorted(standing.refs.items())
        if ref.startswith(HEADS)
    ]


def git_refs(hosted: Hosted, standing: Standing, api: str, beginning: str) -> list[dict[str, Any]]:
    """Spell the refs that begin so, by name."""
    url = f"{api}/repos/{hosted.full_name}/git"
    return [
        {
            "ref": ref,
            "node_id": node_id("Ref", f"{hosted.id}:{ref}"),
            "url": f"{url}/{ref}",
            "object": {"sha": target, "type": "commit", "url": f"{url}/commits/{target}"},
        }
        for ref, target in sorted(standing.refs.items())
        if ref.startswith(beginning)
    ]


def commit(of: str, made: Commit, hosted: Hosted, api: str, html: str) -> dict[str, Any]:
    """Spell a commit, without its files."""
    url, page = f"{api}/repos/{hosted.full_name}", f"{html}/{hosted.full_name}"
    person = {"name": made.author, "email": made.email, "date": moment(made.at_s)}
    tree = {"sha": EMPTY_TREE, "url": f"{url}/git/trees/{EMPTY_TREE}"}
    unsigned = {"verified": False, "reason": "unsigned", "signature": None, "payload": None}
    who = account(made.author.lower(), api, html)
    parents = [made.parent] if made.parent else []
    return {
        "sha": of,
        "node_id": node_id("Commit", of),
        "commit": {
            "author": person,
            "committer": person,
            "message": made.message,
            "tree": tree,
            "url": f"{url}/git/commits/{of}",
            "comment_count": 0,
            "verification": {**unsigned, "verified_at": None},
        },
        "url": f"{url}/commits/{of}",
        "html_url": f"{page}/commit/{of}",
        "comments_url": f"{url}/commits/{of}/comments",
        "author": who,
        "committer": who,
        "parents": [
            {"sha": one, "url": f"{url}/commits/{one}", "html_url": f"{page}/commit/{one}"}
            for one in parents
        ],
    }


def comparison(
    base: str,
    head: str,
    shared: str,
    ahead: Sequence[str],
    behind: int,
    *,
    hosted: Hosted,
    api: str,
    html: str,
) -> dict[str, Any]:
    """Spell how two commits compare; ``ahead`` are the head's own commits, oldest first."""

    def spelled(of: str) -> dict[str, Any]:
        return commit(of, hosted.commits[of], hosted, api, html)

    statuses = {(True, True): "diverged", (True, False): "ahead", (False, True): "behind"}
    page = f"{html}/{hosted.full_name}/compare/{base}...{head}"
    return {
        "url": f"{api}/repos/{hosted.full_name}/compare/{base}...{head}",
        "html_url": page,
        "permalink_url": page,
        "diff_url": f"{page}.diff",
        "patch_url": f"{page}.patch",
        "base_commit": spelled(base),
        "merge_base_commit": spelled(shared),
        "status": statuses.get((bool(ahead), bool(behind)), "identical"),
        "ahead_by": len(ahead),
        "behind_by": behind,
        "total_commits": len(ahead),
        "commits": [spelled(of) for of in ahead[-250:]],
        "files": [],
    }


def activity(push: Pushed, api: str, html: str) -> dict[str, Any]:
    """Spell one push of the log."""
    return {
        "id": push.number,
        "node_id": node_id("PUSH", push.number),
        "before": push.before,
        "after": push.after,
        "ref": push.ref,
        "timestamp": moment(push.at_s),
        "activity_type": push.sort,
        "actor": account(push.pusher, api, html),
    }
