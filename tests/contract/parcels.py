"""The deliveries that every payload format must be able to spell, each for its own reason.

A case whose name ends in «told» is a change of which the forge told all that it knew.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from app.domain.delivery import Parcel
from app.domain.details import Commit, Details, Person
from app.domain.event import delivery_id, record
from app.domain.snapshot import Change

NOON = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
A_MINUTE_BEFORE = datetime(2026, 3, 1, 11, 59, 0, tzinfo=UTC)
OLD = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
NEW = "e5bd3914e2e596debea16f433f57875b5b90bcd6"
BETWEEN = "bcd7a1d3b9e4c1fd6f0b8f4e7c3f6f4ad2b0a111"

ADA = Person("Ada Lovelace", "ada@example.com", "ada")
STRANGER = Person("Größe, Jörg", "joerg@example.com")


def a_parcel(
    change: Change,
    *,
    url: str = "https://github.com/tektoncd/pipeline",
    name: str = "tektoncd/pipeline",
    forge: str = "github",
    payload: str = "github",
    forced: bool | None = None,
    default_branch: str | None = "refs/heads/main",
    pushed_at: datetime | None = A_MINUTE_BEFORE,
    details: Details | None = None,
) -> Parcel:
    """Make a delivery that has not been tried yet."""
    event = record(
        change, key=url, sequence=7, detected_at=NOON, forced=forced, pushed_at=pushed_at
    )
    return Parcel(
        position=1,
        delivery_id=delivery_id(event=event.id, receiver="tekton"),
        receiver="tekton",
        payload=payload,
        redelivery=0,
        attempts_made=0,
        due_at=NOON,
        first_attempt_at=None,
        body=None,
        headers=None,
        event=event,
        repository_id=1,
        repository_name=name,
        repository_url=url,
        repository_forge=forge,
        default_branch=default_branch,
        labels={"team": "platform"},
        details=details,
    )


def a_commit(commit_id: str = NEW, *, message: str = "Close the gap\n\nFor good.") -> Commit:
    """Make a commit of which the forge told everything."""
    return Commit(
        id=commit_id,
        message=message,
        author=STRANGER,
        committer=ADA,
        committed_at=datetime(2026, 3, 1, 12, 30, tzinfo=timezone(timedelta(hours=1))),
        tree_id="4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        url=f"https://github.com/tektoncd/pipeline/commit/{commit_id}",
        added=("docs/größe.md",),
        modified=("pkg/main.go", "README.md"),
        removed=(),
    )


def without_files(commit: Commit) -> Commit:
    """Return the same commit, of whose files the forge told nothing."""
    return replace(commit, added=None, modified=None, removed=None)


# GitHub tells the files of a whole push at once; they stand on its newest commit.
PUSH = Details(
    commits=(without_files(a_commit(BETWEEN, message="Begin")), a_commit()),
    total=2,
    forced=False,
    pusher=ADA,
    pushed_at=A_MINUTE_BEFORE,
)

UPDATE = Change("refs/heads/main", OLD, NEW)

CASES: Mapping[str, Parcel] = {
    "branch-created": a_parcel(Change("refs/heads/feature/login", None, NEW)),
    "branch-updated": a_parcel(UPDATE, forced=False),
    "branch-forced": a_parcel(UPDATE, forced=True),
    "branch-deleted": a_parcel(Change("refs/heads/feature/login", OLD, None)),
    "tag-created": a_parcel(Change("refs/tags/v1.2.0", None, NEW)),
    "tag-updated": a_parcel(Change("refs/tags/nightly", OLD, NEW)),
    "tag-deleted": a_parcel(Change("refs/tags/v1.2.0", OLD, None)),
    "branch-updated-told": a_parcel(UPDATE, pushed_at=None, details=PUSH),
    "branch-forced-told": a_parcel(
        UPDATE, details=replace(PUSH, commits=(a_commit(),), total=1, forced=True)
    ),
    "branch-created-told": a_parcel(
        Change("refs/heads/feature/login", None, NEW), details=Details((a_commit(),), pusher=ADA)
    ),
    # An annotated tag has an id of its own; the forge told to which commit it leads.
    "tag-created-told": a_parcel(
        Change("refs/tags/v1.2.0", None, OLD), details=Details((without_files(a_commit()),))
    ),
    "sha256": a_parcel(
        Change("refs/heads/main", OLD + "0" * 23 + "1", NEW + "0" * 23 + "2"),
        url="https://gitlab.example.com/platform/build/images",
        name="images",
        forge="work",
    ),
    "non-ascii-branch": a_parcel(Change("refs/heads/größe/日本", OLD, NEW), default_branch=None),
    "ssh-repository": a_parcel(
        UPDATE, url="ssh://git@git.example.com/infra.git", name="infra", forge="git", pushed_at=None
    ),
    "local-path": a_parcel(
        UPDATE, url="/srv/git/site.git", name="site", forge="git", pushed_at=None
    ),
}


def spelled_as(payload: str, parcel: Parcel) -> Parcel:
    """Return the same delivery for a receiver that wants another payload format."""
    return replace(parcel, payload=payload)
