"""How each forge's API spells commits and comparisons, of what a real repository holds."""

import subprocess
from dataclasses import dataclass
from typing import Any

from tests.fakes.git_repository import GitRepository

HEADERS = ("%H", "%T", "%P", "%an", "%ae", "%aI", "%cn", "%ce", "%cI")
MOST_COMMITS = 250  # as GitHub gives of a comparison that is not asked for in pages
MOST_FILES = 300
WORDS = {"A": "added", "M": "modified", "D": "removed", "R": "renamed", "T": "changed"}


@dataclass(frozen=True, slots=True)
class FoundCommit:
    """One commit as git shows it."""

    sha: str
    tree: str
    parents: list[str]
    author: tuple[str, str, str]
    committer: tuple[str, str, str]
    message: str


def find_commit(repository: GitRepository, name: str) -> FoundCommit | None:
    """Find what a name leads to, through tag objects as well."""
    form = "--format=" + "%n".join((*HEADERS, "%B"))
    try:
        shown = repository.git("show", "--no-patch", form, f"{name}^{{commit}}")
    except subprocess.CalledProcessError:
        return None
    lines = shown.split("\n")
    sha, tree, parents, *people = lines[: len(HEADERS)]
    author, committer = tuple(people[:3]), tuple(people[3:])
    message = "\n".join(lines[len(HEADERS) :])
    return FoundCommit(sha, tree, parents.split(), author, committer, message)  # type: ignore[arg-type] # three each


def sort_of(repository: GitRepository, name: str) -> str | None:
    """Tell a commit from a tag object."""
    try:
        return repository.git("cat-file", "-t", name)
    except subprocess.CalledProcessError:
        return None


def merge_base(repository: GitRepository, one: str, other: str) -> str | None:
    """Find where two histories part."""
    try:
        return repository.git("merge-base", one, other) or None
    except subprocess.CalledProcessError:
        return None


def gained(repository: GitRepository, before: str, after: str) -> list[FoundCommit]:
    """List the commits in ``after`` and not in ``before``, the oldest first."""
    listed = repository.git("rev-list", "--reverse", "--topo-order", f"{before}..{after}").split()
    return [found for sha in listed if (found := find_commit(repository, sha))]


def changed_files(
    repository: GitRepository, before: str, after: str, *, renames: str = "--find-renames"
) -> list[tuple[str, ...]]:
    """List files as ``(word, path)``, a renamed one with its former path last."""
    plain = ("-c", "core.quotePath=false")
    listed = repository.git(*plain, "diff", "--name-status", renames, before, after).splitlines()
    files = []
    for line in listed:
        letter, *paths = line.split("\t")
        files.append((WORDS[letter[0]], *reversed(paths)))
    return files


def own_files(repository: GitRepository, commit: FoundCommit) -> list[tuple[str, ...]]:
    """List the files that one commit changed, none as renamed."""
    before = commit.parents[0] if commit.parents else repository.git("mktree")
    return changed_files(repository, before, commit.sha, renames="--no-renames")


def github_commit(commit: FoundCommit, *, html: str) -> dict[str, Any]:
    """Spell a commit as GitHub's REST API does, and Gitea's; nobody has an account but Ada."""

    def account(who: tuple[str, str, str]) -> dict[str, Any] | None:
        return {"login": who[0].lower(), "id": 1} if who[0] == "Ada" else None

    def person(who: tuple[str, str, str]) -> dict[str, str]:
        return dict(zip(("name", "email", "date"), who, strict=True))

    return {
        "sha": commit.sha,
        "html_url": f"{html}/commit/{commit.sha}",
        "commit": {
            "author": person(commit.author),
            "committer": person(commit.committer),
            "message": commit.message,
            "tree": {"sha": commit.tree, "url": ""},
            "verification": {"verified": False, "reason": "unsigned"},
        },
        "author": account(commit.author),
        "committer": account(commit.committer),
        "parents": [{"sha": parent, "url": ""} for parent in commit.parents],
    }


def github_files(files: list[tuple[str, ...]]) -> list[dict[str, Any]]:
    """Spell changed files as GitHub does, with their patches."""
    return [
        {"filename": path, "status": word, "patch": "@@ -0,0 +1 @@\n+x"}
        | ({"previous_filename": former[0]} if former else {})
        for word, path, *former in files[:MOST_FILES]
    ]


def github_comparison(
    repository: GitRepository, before: str, after: str, *, per_page: int | None, html: str
) -> dict[str, Any] | None:
    """Spell a comparison; None where the histories have nothing in common."""
    base = merge_base(repository, before, after)
    if base is None:
        return None
    status = "diverged"
    if base in {before, after}:
        status = "ahead" if base == before else "behind"
    commits = [github_commit(one, html=html) for one in gained(repository, before, after)]
    shown = commits[-MOST_COMMITS:] if per_page is None else commits[:per_page]
    spelled = {name: find_commit(repository, name) for name in (before, base)}
    return {
        "status": status,
        "base_commit": github_commit(spelled[before], html=html),  # type: ignore[arg-type] # it is there
        "merge_base_commit": github_commit(spelled[base], html=html),  # type: ignore[arg-type] # the same
        "ahead_by": len(commits),
        "behind_by": len(gained(repository, after, before)),
        "total_commits": len(commits),
        "commits": shown,
        "files": github_files(changed_files(repository, base, after)),
    }


def gitlab_commit(commit: FoundCommit, *, html: str) -> dict[str, Any]:
    """Spell a commit as GitLab's API does."""
    return {
        "id": commit.sha,
        "short_id": commit.sha[:8],
        "created_at": commit.committer[2],
        "parent_ids": commit.parents,
        "title": commit.message.split("\n")[0],
        "message": commit.message,
        "author_name": commit.author[0],
        "author_email": commit.author[1],
        "authored_date": commit.author[2],
        "committer_name": commit.committer[0],
        "committer_email": commit.committer[1],
        "committed_date": commit.committer[2],
        "web_url": f"{html}/-/commit/{commit.sha}",
    }


def gitlab_comparison(
    repository: GitRepository, before: str, after: str, *, html: str
) -> dict[str, Any]:
    """Spell a straight comparison; of what is not there GitLab tells nothing, and no error."""
    is_known = find_commit(repository, before) and find_commit(repository, after)
    commits = gained(repository, before, after) if is_known else []
    files = changed_files(repository, before, after) if is_known else []
    spelled = [gitlab_commit(one, html=html) for one in commits]
    return {
        "commit": spelled[-1] if spelled else None,
        "commits": spelled,
        "diffs": [
            {
                "old_path": (former or [path])[0],
                "new_path": path,
                "new_file": word == "added",
                "renamed_file": word == "renamed",
                "deleted_file": word == "removed",
                "diff": "@@ -0,0 +1 @@\n+x",
            }
            for word, path, *former in files
        ],
        "compare_timeout": False,
        "compare_same_ref": before == after if is_known else None,
    }


def gitea_comparison(
    repository: GitRepository, before: str, after: str, *, html: str
) -> dict[str, Any] | None:
    """Spell a comparison as Gitea does since 1.21: newest first, each with its files."""
    base = merge_base(repository, before, after)
    if base is None:
        return None
    commits = list(reversed(gained(repository, base, after)))
    return {
        "total_commits": len(commits),
        "commits": [
            github_commit(one, html=html)
            | {
                "created": one.committer[2],
                "files": [
                    {"filename": path, "status": word}
                    for word, path, *_ in own_files(repository, one)
                ],
            }
            for one in commits
        ],
    }
