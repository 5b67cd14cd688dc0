"""What deliveries need to the full: storms that are held, circuits that open, confirmations."""

import sqlalchemy as sa

from app.storage.types import Json, UtcDateTime
from migrations.resumable import add_column, create_index, drop_column, drop_index

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns that may be empty, and the indexes that find them."""
    add_column("events", sa.Column("commits_count", sa.Integer()))
    add_column("events", sa.Column("pusher", Json()))
    add_column("events", sa.Column("hold_id", sa.String(length=36)))
    create_index("ix_events_hold_id_ref", "events", ["hold_id", "ref"])
    create_index("ix_deliveries_confirmation_position", "deliveries", ["confirmation", "position"])
    create_index(
        "ix_deliveries_due",
        "deliveries",
        ["finished_at", "receiver", "repository_id", "next_attempt_at", "position"],
    )
    add_column("deliveries", sa.Column("asked_until", UtcDateTime()))
    add_column("receivers", sa.Column("opened_at", UtcDateTime()))
    add_column("receivers", sa.Column("opened_reason", sa.Text()))


def downgrade() -> None:
    """Take them away again."""
    drop_column("receivers", "opened_reason")
    drop_column("receivers", "opened_at")
    drop_column("deliveries", "asked_until")
    drop_index("ix_deliveries_due", "deliveries")
    drop_index("ix_deliveries_confirmation_position", "deliveries")
    drop_index("ix_events_hold_id_ref", "events")
    drop_column("events", "hold_id")
    drop_column("events", "pusher")
    drop_column("events", "commits_count")
