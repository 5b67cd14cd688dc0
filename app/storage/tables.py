"""The tables, the one place that names them; ``migrations`` must agree (a test insists)."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from app.domain.refs import LONGEST_REF
from app.domain.repository import LONGEST_URL
from app.storage.types import Bytes, Json, UtcDateTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Git's names are case-sensitive; MariaDB's default collation is not.
BINARY: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}
# SQLite counts rows by itself only in a column typed exactly INTEGER.
Position = BigInteger().with_variant(Integer, "sqlite")
# SQLite would otherwise give the number of a deleted last row again, and whoever asked for «all
# after that position» would miss the new row.
NEVER_AGAIN: dict[str, Any] = {"sqlite_autoincrement": True}
OBJECT_ID = 64  # hex digits of a SHA-256 id; SHA-1 has 40
UUID = 36

repositories = Table(
    "repositories",
    metadata,
    Column("id", Position, primary_key=True, autoincrement=True),
    # The URL under which it was first seen: event ids are made of it, so it never changes.
    Column("key", String(LONGEST_URL), nullable=False),
    Column("name", String(255), nullable=False),
    Column("url", String(LONGEST_URL), nullable=False),
    Column("forge", String(100), nullable=False),
    Column("labels", Json, nullable=False),
    Column("managed_by", String(10), nullable=False),  # file | api
    Column("entry", Json),  # what the API was given, for those it manages
    Column("enabled", Boolean(name="enabled"), nullable=False),
    Column("paused_at", UtcDateTime),
    Column("retired_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    # The snapshot. `digest` is null until the baseline is taken; `watched` holds the patterns it
    # was taken with, so that a changed pattern is not mistaken for a changed repository.
    Column("sequence", Integer, nullable=False),
    Column("digest", String(32)),
    Column("watched", Json),
    Column("refs_count", Integer, nullable=False),
    Column("default_branch", String(LONGEST_REF)),
    Column("last_change_at", UtcDateTime),
    # How polling fares: written behind, every few seconds. A crash costs a poll.
    Column("validator", Json),
    Column("read_by", String(20)),
    Column("last_poll_at", UtcDateTime),
    Column("last_outcome", String(10)),
    Column("next_poll_at", UtcDateTime),
    Column("next_poll_reason", String(200)),
    Column("interval_s", Float),
    Column("failures", Integer, nullable=False),
    Column("error_code", String(50)),
    Column("error_message", Text),
    Column("error_since", UtcDateTime),
    Column("cadence", Json),
    # What the forge tells of it: moved_to, is_archived, is_disabled.
    Column("facts", Json),
    UniqueConstraint("key"),
    Index(None, "name"),
    **BINARY,
)

refs = Table(
    "refs",
    metadata,
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(LONGEST_REF), primary_key=True),
    Column("commit_id", String(OBJECT_ID), nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    **BINARY,
)

events = Table(
    "events",
    metadata,
    Column("position", Position, primary_key=True, autoincrement=True),
    Column("id", String(UUID), nullable=False),
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("ref", String(LONGEST_REF), nullable=False),
    Column("before", String(OBJECT_ID), nullable=False),
    Column("after", String(OBJECT_ID), nullable=False),
    Column("forced", Boolean(name="forced")),
    Column("commits", Json),
    Column("paths", Json),
    Column("pushed_at", UtcDateTime),
    Column("detected_at", UtcDateTime, nullable=False),
    Column("catch_up", Boolean(name="catch_up"), nullable=False),
    # Follows from its deliveries; kept here so that a list by state needs no join.
    Column("state", String(10), nullable=False),
    # How many commits it brought, of which `commits` are the newest; and who pushed.
    Column("commits_count", Integer),
    Column("pusher", Json),
    # The storm it was found in, while and after that was held.
    Column("hold_id", String(UUID)),
    UniqueConstraint("id"),
    UniqueConstraint("repository_id", "sequence"),
    Index(None, "repository_id", "position"),
    Index(None, "state", "position"),
    Index(None, "kind", "position"),
    Index(None, "detected_at"),
    Index(None, "hold_id", "ref"),
    **BINARY,
    **NEVER_AGAIN,
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("position", Position, primary_key=True, autoincrement=True),
    Column("id", String(UUID), nullable=False),
    Column("event_position", ForeignKey("events.position", ondelete="CASCADE"), nullable=False),
    Column("repository_id", Position, nullable=False),
    Column("receiver", String(100), nullable=False),
    Column("redelivery", Integer, nullable=False),
    Column("payload", String(30), nullable=False),
    # Made once, before the first attempt; every attempt sends these very bytes.
    Column("body", Bytes),
    Column("headers", Json),
    Column("state", String(10), nullable=False),
    Column("confirmation", String(15)),
    Column("attempts_made", Integer, nullable=False),
    Column("first_attempt_at", UtcDateTime),
    Column("next_attempt_at", UtcDateTime),
    # What the receiver's own Retry-After comes to: nothing but a person goes before that.
    Column("asked_until", UtcDateTime),
    # A claim runs out, so that a process that died while sending does not keep it.
    Column("claimed_until", UtcDateTime),
    Column("claim_fence", Integer),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("last_status", Integer),
    Column("last_error", Text),
    UniqueConstraint("id"),
    # «What is the first that this receiver is owed from this repository?» is the dispatcher's only
    # question; finished rows lie at the other end of this index, so it stays quick for good.
    Index("ix_deliveries_owed", "finished_at", "receiver", "repository_id", "position"),
    # The same where order does not matter, and only what is due shall be looked at.
    Index(
        "ix_deliveries_due",
        "finished_at",
        "receiver",
        "repository_id",
        "next_attempt_at",
        "position",
    ),
    Index(None, "event_position"),
    Index(None, "receiver", "position"),
    Index(None, "state", "position"),
    Index(None, "confirmation", "position"),
    **BINARY,
    **NEVER_AGAIN,
)

attempts = Table(
    "attempts",
    metadata,
    Column("position", Position, primary_key=True, autoincrement=True),
    Column(
        "delivery_position", ForeignKey("deliveries.position", ondelete="CASCADE"), nullable=False
    ),
    Column("number", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("duration_ms", Integer),
    Column("status", Integer),
    Column("error", Text),
    Column("answer", Text),
    UniqueConstraint("delivery_position", "number"),
    **BINARY,
)

receivers = Table(
    "receivers",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("paused_at", UtcDateTime),
    Column("disabled_at", UtcDateTime),
    Column("disabled_reason", Text),
    # Since when it has failed so often that one delivery at a time tries whether it answers again.
    Column("opened_at", UtcDateTime),
    Column("opened_reason", Text),
    **BINARY,
)

polls = Table(
    "polls",
    metadata,
    Column("position", Position, primary_key=True, autoincrement=True),
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("reason", String(20), nullable=False),
    Column("outcome", String(10), nullable=False),  # changed | unchanged | failed
    Column("read_by", String(20)),
    Column("changes", Integer, nullable=False),
    Column("error_code", String(50)),
    Column("error_message", Text),
    Index(None, "repository_id", "position"),
    Index(None, "started_at"),
    **BINARY,
)

poll_hours = Table(
    "poll_hours",
    metadata,
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("hour", UtcDateTime, primary_key=True),
    Column("changed", Integer, nullable=False),
    Column("unchanged", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("took_ms", BigInteger, nullable=False),
    Index(None, "hour"),
    **BINARY,
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(UUID), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("scope", String(10), nullable=False),
    Column("salt", String(64), nullable=False),
    Column("hash", String(128), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    UniqueConstraint("name"),
    **BINARY,
)

audit = Table(
    "audit",
    metadata,
    Column("position", Position, primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String(100), nullable=False),
    Column("action", String(100), nullable=False),
    Column("subject", String(500)),
    Column("detail", Json),
    **BINARY,
    **NEVER_AGAIN,
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(50), primary_key=True),
    Column("holder", String(200)),
    # Counts the holders; what an earlier holder still tries to write is refused by it.
    Column("fence", Integer, nullable=False),
    # Counts the renewals, so that a waiting process sees life without comparing clocks.
    Column("renewals", BigInteger, nullable=False),
    Column("renewed_at", UtcDateTime, nullable=False),
    **BINARY,
)

holds = Table(
    "holds",
    metadata,
    Column("id", String(UUID), primary_key=True),
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("changes", Integer, nullable=False),
    Column("first_sequence", Integer, nullable=False),
    Column("last_sequence", Integer, nullable=False),
    Column("state", String(10), nullable=False),  # held | released | dismissed
    Column("finished_at", UtcDateTime),
    Index(None, "state", "created_at"),
    **BINARY,
)

# What the forges' own webhooks said, one row for each change, beside what polling found.
hooks = Table(
    "hooks",
    metadata,
    Column("position", Position, primary_key=True, autoincrement=True),
    Column("received_at", UtcDateTime, nullable=False),
    Column("forge", String(100), nullable=False),
    # The forge's own id, and which change of it this is: a repetition is refused by them. Null
    # where nobody signed for it, and where no webhook came at all.
    Column("delivery", String(100)),
    Column("part", Integer, nullable=False),
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE")),
    Column("ref", String(LONGEST_REF)),
    Column("before", String(OBJECT_ID)),
    Column("after", String(OBJECT_ID)),
    Column("push", Json),  # who pushed, when, and whether by force, as far as it told
    Column("verdict", String(15), nullable=False),
    Column("reason", String(200)),
    Column("event_id", String(UUID)),
    # From when polling found the event to when the webhook came: negative if that was first.
    Column("lag_ms", Integer),
    UniqueConstraint("forge", "delivery", "part"),
    Index(None, "received_at"),
    Index(None, "verdict", "position"),
    Index(None, "repository_id", "position"),
    Index(None, "forge", "verdict", "position"),
    Index(None, "event_id"),
    **BINARY,
    **NEVER_AGAIN,
)
