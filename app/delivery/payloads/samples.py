"""Made-up deliveries of every sort, on which templates are tried before they are used."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from app.domain.delivery import Parcel
from app.domain.details import Commit, Details, Person
from app.domain.event import delivery_id, record
from app.domain.snapshot import Change

_URL: Final = "https://git.example.com/acme/website"
_NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
_OLD: Final = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
_NEW: Final = "e5bd3914e2e596debea16f433f57875b5b90bcd6"

_ADA: Final = Person("Ada «the first» O'Hara", "ada@example.com", "ada")
# What breaks JSON that was put together by hand.
_COMMIT: Final = Commit(
    id=_NEW,
    message='Say "größe"\n\nand \\ and \t and </script>',
    author=_ADA,
    committer=Person("No Account", "", None),
    committed_at=_NOON,
    url=f"{_URL}/commit/{_NEW}",
    added=('a "file"',),
    modified=(),
    removed=(),
)


def _parcel(change: Change, *, forced: bool | None = None) -> Parcel:
    event = record(change, key=_URL, sequence=1, detected_at=_NOON, forced=forced)
    return Parcel(
        position=1,
        delivery_id=delivery_id(event=event.id, receiver="sample"),
        receiver="sample",
        payload="template",
        redelivery=0,
        attempts_made=0,
        first_attempt_at=None,
        due_at=_NOON,
        body=None,
        headers=None,
        event=event,
        repository_id=1,
        repository_name="acme/website",
        repository_url=_URL,
        repository_forge="git",
        default_branch=None,
        labels={},
    )


_BARE: Final = _parcel(Change('refs/heads/feature/"x"', _OLD, _NEW))

SAMPLES: Final[Mapping[str, Parcel]] = {
    "a push of which the forge told all": replace(
        _BARE,
        details=Details((_COMMIT,), total=1, forced=False, pusher=_ADA, pushed_at=_NOON),
        default_branch="refs/heads/main",
        labels={"team": "platform"},
    ),
    "a push of which the forge told nothing": _BARE,
    "a new branch": _parcel(Change("refs/heads/main", None, _NEW)),
    "a deleted branch": _parcel(Change("refs/heads/main", _OLD, None)),
    "a new tag": _parcel(Change("refs/tags/v1", None, _NEW)),
    "a deleted tag": _parcel(Change("refs/tags/v1", _OLD, None)),
}
