"""The walk: repositories and their refs, events, deliveries, and who may write."""

import sqlalchemy as sa

from app.storage.types import Bytes, Json, UtcDateTime
from migrations.resumable import create_index, create_table, drop_table

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# MariaDB's default collation takes «Main» and «main» for the same.
BINARY = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "mysql_engine": "InnoDB"}
Position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make all tables."""
    create_table(
        "audit",
        sa.Column("position", Position, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("action", sa.String(length=100), nullable=False),
        sa.Column("subject", sa.String(length=500)),
        sa.Column("detail", Json()),
        sa.PrimaryKeyConstraint("position", name="pk_audit"),
        **BINARY,
        sqlite_autoincrement=True,
    )
    create_table(
        "leases",
        sa.Column("name", sa.String(length=50), nullable=False),
        sa.Column("holder", sa.String(length=200)),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("renewals", sa.BigInteger(), nullable=False),
        sa.Column("renewed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
        **BINARY,
    )
    create_table(
        "receivers",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("paused_at", UtcDateTime()),
        sa.Column("disabled_at", UtcDateTime()),
        sa.Column("disabled_reason", sa.Text()),
        sa.PrimaryKeyConstraint("name", name="pk_receivers"),
        **BINARY,
    )
    create_table(
        "repositories",
        sa.Column("id", Position, nullable=False),
        sa.Column("key", sa.String(length=500), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("url", sa.String(length=500), nullable=False),
        sa.Column("forge", sa.String(length=100), nullable=False),
        sa.Column("labels", Json(), nullable=False),
        sa.Column("managed_by", sa.String(length=10), nullable=False),
        sa.Column("entry", Json()),
        sa.Column("enabled", sa.Boolean(name="enabled"), nullable=False),
        sa.Column("paused_at", UtcDateTime()),
        sa.Column("retired_at", UtcDateTime()),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=32)),
        sa.Column("watched", Json()),
        sa.Column("refs_count", sa.Integer(), nullable=False),
        sa.Column("default_branch", sa.String(length=700)),
        sa.Column("last_change_at", UtcDateTime()),
        sa.Column("validator", Json()),
        sa.Column("read_by", sa.String(length=20)),
        sa.Column("last_poll_at", UtcDateTime()),
        sa.Column("last_outcome", sa.String(length=10)),
        sa.Column("next_poll_at", UtcDateTime()),
        sa.Column("next_poll_reason", sa.String(length=200)),
        sa.Column("interval_s", sa.Float()),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("error_code", sa.String(length=50)),
        sa.Column("error_message", sa.Text()),
        sa.Column("error_since", UtcDateTime()),
        sa.Column("cadence", Json()),
        sa.PrimaryKeyConstraint("id", name="pk_repositories"),
        sa.UniqueConstraint("key", name="uq_repositories_key"),
        **BINARY,
    )
    create_index("ix_repositories_name", "repositories", ["name"])
    create_table(
        "tokens",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("scope", sa.String(length=10), nullable=False),
        sa.Column("salt", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=128), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime()),
        sa.Column("last_used_at", UtcDateTime()),
        sa.Column("revoked_at", UtcDateTime()),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("name", name="uq_tokens_name"),
        **BINARY,
    )
    create_table(
        "events",
        sa.Column("position", Position, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("repository_id", Position, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("ref", sa.String(length=700), nullable=False),
        sa.Column("before", sa.String(length=64), nullable=False),
        sa.Column("after", sa.String(length=64), nullable=False),
        sa.Column("forced", sa.Boolean(name="forced")),
        sa.Column("commits", Json()),
        sa.Column("paths", Json()),
        sa.Column("pushed_at", UtcDateTime()),
        sa.Column("detected_at", UtcDateTime(), nullable=False),
        sa.Column("catch_up", sa.Boolean(name="catch_up"), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name="fk_events_repository_id_repositories",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("position", name="pk_events"),
        sa.UniqueConstraint("id", name="uq_events_id"),
        sa.UniqueConstraint("repository_id", "sequence", name="uq_events_repository_id_sequence"),
        **BINARY,
        sqlite_autoincrement=True,
    )
    create_index("ix_events_detected_at", "events", ["detected_at"])
    create_index("ix_events_kind_position", "events", ["kind", "position"])
    create_index("ix_events_repository_id_position", "events", ["repository_id", "position"])
    create_index("ix_events_state_position", "events", ["state", "position"])
    create_table(
        "holds",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("repository_id", Position, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("changes", sa.Integer(), nullable=False),
        sa.Column("first_sequence", sa.Integer(), nullable=False),
        sa.Column("last_sequence", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("finished_at", UtcDateTime()),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name="fk_holds_repository_id_repositories",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_holds"),
        **BINARY,
    )
    create_index("ix_holds_state_created_at", "holds", ["state", "created_at"])
    create_table(
        "poll_hours",
        sa.Column("repository_id", Position, nullable=False),
        sa.Column("hour", UtcDateTime(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("unchanged", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("took_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name="fk_poll_hours_repository_id_repositories",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", "hour", name="pk_poll_hours"),
        **BINARY,
    )
    create_index("ix_poll_hours_hour", "poll_hours", ["hour"])
    create_table(
        "polls",
        sa.Column("position", Position, nullable=False),
        sa.Column("repository_id", Position, nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=20), nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("read_by", sa.String(length=20)),
        sa.Column("changes", sa.Integer(), nullable=False),
        sa.Column("error_code", sa.String(length=50)),
        sa.Column("error_message", sa.Text()),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name="fk_polls_repository_id_repositories",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("position", name="pk_polls"),
        **BINARY,
    )
    create_index("ix_polls_repository_id_position", "polls", ["repository_id", "position"])
    create_index("ix_polls_started_at", "polls", ["started_at"])
    create_table(
        "refs",
        sa.Column("repository_id", Position, nullable=False),
        sa.Column("name", sa.String(length=700), nullable=False),
        sa.Column("commit_id", sa.String(length=64), nullable=False),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name="fk_refs_repository_id_repositories",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", "name", name="pk_refs"),
        **BINARY,
    )
    create_table(
        "deliveries",
        sa.Column("position", Position, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("event_position", Position, nullable=False),
        sa.Column("repository_id", Position, nullable=False),
        sa.Column("receiver", sa.String(length=100), nullable=False),
        sa.Column("redelivery", sa.Integer(), nullable=False),
        sa.Column("payload", sa.String(length=30), nullable=False),
        sa.Column("body", Bytes),
        sa.Column("headers", Json()),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("confirmation", sa.String(length=15)),
        sa.Column("attempts_made", sa.Integer(), nullable=False),
        sa.Column("first_attempt_at", UtcDateTime()),
        sa.Column("next_attempt_at", UtcDateTime()),
        sa.Column("claimed_until", UtcDateTime()),
        sa.Column("claim_fence", sa.Integer()),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime()),
        sa.Column("last_status", sa.Integer()),
        sa.Column("last_error", sa.Text()),
        sa.ForeignKeyConstraint(
            ["event_position"],
            ["events.position"],
            name="fk_deliveries_event_position_events",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("position", name="pk_deliveries"),
        sa.UniqueConstraint("id", name="uq_deliveries_id"),
        **BINARY,
        sqlite_autoincrement=True,
    )
    create_index("ix_deliveries_event_position", "deliveries", ["event_position"])
    create_index(
        "ix_deliveries_owed", "deliveries", ["finished_at", "receiver", "repository_id", "position"]
    )
    create_index("ix_deliveries_receiver_position", "deliveries", ["receiver", "position"])
    create_index("ix_deliveries_state_position", "deliveries", ["state", "position"])
    create_table(
        "attempts",
        sa.Column("position", Position, nullable=False),
        sa.Column("delivery_position", Position, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("duration_ms", sa.Integer()),
        sa.Column("status", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("answer", sa.Text()),
        sa.ForeignKeyConstraint(
            ["delivery_position"],
            ["deliveries.position"],
            name="fk_attempts_delivery_position_deliveries",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("position", name="pk_attempts"),
        sa.UniqueConstraint(
            "delivery_position", "number", name="uq_attempts_delivery_position_number"
        ),
        **BINARY,
    )


def downgrade() -> None:
    """Take all tables away."""
    # An index falls with its table; MariaDB does not even let go of one that a foreign key needs.
    drop_table("attempts")
    drop_table("deliveries")
    drop_table("refs")
    drop_table("polls")
    drop_table("poll_hours")
    drop_table("holds")
    drop_table("events")
    drop_table("tokens")
    drop_table("repositories")
    drop_table("receivers")
    drop_table("leases")
    drop_table("audit")
