"""Builders for what stands in the database, and a small fleet with one of everything."""

import itertools
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, insert

from app.storage.database import Database
from app.storage.tables import (
    attempts,
    deliveries,
    events,
    holds,
    hooks,
    poll_hours,
    polls,
    receivers,
    refs,
    repositories,
)

NOON = datetime(2026, 11, 5, 12, 0, 0, 123456, tzinfo=UTC)
ZEROS = "0" * 40
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
BODY = b'{"ref": "refs/heads/main", "text": "</pre><script>alert(1)</script>"}'


def sha(number: int) -> str:
    """Return a commit id that is easily told from others."""
    return f"{number:x}".rjust(4, "a").ljust(40, "c")


def _add(connection: Connection, table: Table, **values: Any) -> int:
    result = connection.execute(insert(table).values(**values))
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])


@dataclass
class Story:
    """Writes straight into the tables, so that any state can be told without living through it."""

    database: Database
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _sequences: dict[int, int] = field(default_factory=dict)

    def repository(self, name: str, **values: Any) -> int:
        """Add a repository that is well, unless told otherwise; return its id."""
        url = values.pop("url", f"https://github.com/{name}")
        row: dict[str, Any] = {
            "key": f"{url}#{name}",
            "name": name,
            "url": url,
            "forge": "github",
            "labels": {},
            "managed_by": "file",
            "enabled": True,
            "created_at": NOON - 100 * HOUR,
            "sequence": 0,
            "digest": "d" * 32,
            "watched": {"branches": ["*", "!wip/*"], "tags": ["v*"]},
            "refs_count": 2,
            "default_branch": "refs/heads/main",
            "last_change_at": NOON - HOUR,
            "read_by": "rest",
            "last_poll_at": NOON - 3 * SECOND,
            "last_outcome": "unchanged",
            "next_poll_at": NOON + 12 * SECOND,
            "next_poll_reason": "it was pushed to lately",
            "interval_s": 15.0,
            "failures": 0,
        }
        row.update(values)
        return self.database.write(lambda c: _add(c, repositories, **row))

    def ref(self, repository_id: int, name: str, commit_id: str = sha(2)) -> None:
        """Add a ref to a snapshot."""
        row = {
            "repository_id": repository_id,
            "name": name,
            "commit_id": commit_id,
            "changed_at": NOON - HOUR,
        }
        self.database.write(lambda c: c.execute(insert(refs).values(**row)))

    def event(self, repository_id: int, **values: Any) -> str:
        """Add the repository's next event; return its id."""
        number = next(self._numbers)
        sequence = self._sequences.get(repository_id, 0) + 1
        self._sequences[repository_id] = sequence
        detected_at = values.pop("detected_at", NOON - MINUTE)
        row: dict[str, Any] = {
            "id": str(uuid.UUID(int=number)),
            "repository_id": repository_id,
            "sequence": sequence,
            "kind": "branch_updated",
            "ref": "refs/heads/main",
            "before": sha(number),
            "after": sha(number + 1),
            "forced": False,
            "pushed_at": None,
            "detected_at": detected_at,
            "catch_up": False,
            "state": "delivered",
        }
        row.update(values)

        def write(connection: Connection) -> None:
            _add(connection, events, **row)
            connection.execute(
                repositories.update()
                .where(repositories.c.id == repository_id)
                .values(sequence=sequence, last_change_at=detected_at)
            )

        self.database.write(write)
        return str(row["id"])

    def delivery(self, event_id: str, **values: Any) -> str:
        """Add a delivery of an event, taken at the first try unless told otherwise."""
        row: dict[str, Any] = {
            "id": str(uuid.UUID(int=1_000_000 + next(self._numbers))),
            "receiver": "tekton",
            "redelivery": 0,
            "payload": "github",
            "body": BODY,
            "headers": {"X-GitHub-Event": "push", "X-Gitlab-Token": "s3cret"},
            "state": "delivered",
            "attempts_made": 1,
            "first_attempt_at": NOON - MINUTE,
            "created_at": NOON - MINUTE,
            "finished_at": NOON - MINUTE,
            "last_status": 202,
        }
        row.update(values)

        def write(connection: Connection) -> None:
            found = connection.execute(
                events.select()
                .where(events.c.id == event_id)
                .with_only_columns(events.c.position, events.c.repository_id)
            ).one()
            row.update(event_position=found.position, repository_id=found.repository_id)
            position = _add(connection, deliveries, **row)
            for number in range(1, row["attempts_made"] + 1):
                connection.execute(insert(attempts).values(**_attempt(row, position, number)))

        self.database.write(write)
        return str(row["id"])

    def poll(self, repository_id: int, **values: Any) -> None:
        """Add a poll that found one change."""
        row: dict[str, Any] = {
            "repository_id": repository_id,
            "started_at": NOON - MINUTE,
            "duration_ms": 210,
            "reason": "schedule",
            "outcome": "changed",
            "read_by": "rest",
            "changes": 1,
        }
        row.update(values)
        self.database.write(lambda c: _add(c, polls, **row))

    def poll_hour(self, repository_id: int, hour: datetime, **values: Any) -> None:
        """Add an hour of polling."""
        row = {"changed": 0, "unchanged": 240, "failed": 0, "took_ms": 50_000, **values}
        row |= {"repository_id": repository_id, "hour": hour}
        self.database.write(lambda c: c.execute(insert(poll_hours).values(**row)))

    def receiver(self, name: str, **values: Any) -> None:
        """Add what was decided about a receiver."""
        self.database.write(lambda c: c.execute(insert(receivers).values(name=name, **values)))

    def hook(self, forge: str = "github", **values: Any) -> None:
        """Add a webhook that came before its change was found, unless told otherwise."""
        row: dict[str, Any] = {
            "received_at": NOON - MINUTE,
            "forge": forge,
            "delivery": str(uuid.UUID(int=3_000_000 + next(self._numbers))),
            "part": 0,
            "ref": "refs/heads/main",
            "verdict": "delivered",
            "lag_ms": -700,
        }
        row.update(values)
        self.database.write(lambda c: _add(c, hooks, **row))

    def storm(self, repository_id: int, **values: Any) -> str:
        """Add a storm that is held, with nothing in it; return its id."""
        row: dict[str, Any] = {
            "id": str(uuid.UUID(int=2_000_000 + next(self._numbers))),
            "repository_id": repository_id,
            "created_at": NOON - 10 * MINUTE,
            "changes": 1_200,
            "first_sequence": 1,
            "last_sequence": 1_200,
            "state": "held",
        }
        row.update(values)
        self.database.write(lambda c: c.execute(insert(holds).values(**row)))
        return str(row["id"])


def _attempt(delivery: dict[str, Any], position: int, number: int) -> dict[str, Any]:
    return {
        "delivery_position": position,
        "number": number,
        "started_at": delivery["created_at"] + (number - 1) * 5 * SECOND,
        "duration_ms": 42,
        "status": delivery["last_status"],
        "error": delivery.get("last_error"),
        "answer": '{"eventListener":"reposentry","eventID":"14a657"}',
    }


@dataclass(frozen=True)
class Fleet:
    """The ids of what ``tell`` has told."""

    site: int
    infra: int
    taken: str
    waiting: str
    waiting_delivery: str
    dead: str
    dead_delivery: str


def tell(story: Story) -> Fleet:
    """Tell of a fleet in which everything occurs once."""
    site = story.repository("acme/site", labels={"team": "web", "tier": "1"})
    infra = story.repository(
        "acme/infra",
        url="ssh://git@git.example.com/infra",
        forge="git",
        error_code="forge_unavailable",
        error_message="no answer within 10 s",
        error_since=NOON - 2 * HOUR,
        failures=7,
        last_outcome="failed",
    )
    story.repository("acme/brand-new", digest=None, last_poll_at=None, last_change_at=None)
    story.repository("acme/quiet", paused_at=NOON - 3 * HOUR)
    story.repository("acme/former", retired_at=NOON - 24 * HOUR)
    story.ref(site, "refs/heads/main", sha(2))
    story.ref(site, "refs/heads/wip/<b>bold</b>", sha(9))
    story.ref(site, "refs/tags/v1.0", sha(3))
    dead = story.event(infra, state="failed", forced=True, detected_at=NOON - 5 * HOUR)
    dead_delivery = story.delivery(
        dead,
        receiver="audit",
        state="dead",
        attempts_made=2,
        last_status=None,
        last_error="connection refused",
        finished_at=NOON - 4 * HOUR,
    )
    taken = story.event(site, pushed_at=NOON - MINUTE - 4 * SECOND)
    story.delivery(taken)
    waiting = story.event(
        site, ref="refs/heads/next", kind="branch_created", before=ZEROS, state="open"
    )
    waiting_delivery = story.delivery(
        waiting,
        state="waiting",
        attempts_made=3,
        finished_at=None,
        next_attempt_at=NOON + 20 * SECOND,
        last_status=503,
    )
    story.poll(site)
    story.poll(
        infra,
        outcome="failed",
        changes=0,
        error_code="forge_unavailable",
        error_message="no answer within 10 s",
    )
    for ago in range(6):
        hour = NOON.replace(minute=0, second=0, microsecond=0) - ago * HOUR
        story.poll_hour(site, hour, changed=ago % 2, failed=1 if ago == 3 else 0)
    return Fleet(site, infra, taken, waiting, waiting_delivery, dead, dead_delivery)
