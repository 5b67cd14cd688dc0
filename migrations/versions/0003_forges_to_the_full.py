"""What forges to the full need: facts that a forge tells, and what its own webhooks said."""

import sqlalchemy as sa

from app.storage.types import Json, UtcDateTime
from migrations.resumable import add_column, create_index, create_table, drop_column, drop_table

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# MariaDB's default collation takes «Main» and «main» for the same.
BINARY = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "mysql_engine": "InnoDB"}
Position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add a column that may be empty, and a table that the version before does not look at."""
    add_column("repositories", sa.Column("facts", Json()))
    create_table(
        "hooks",
        sa.Column("position", Position, nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("forge", sa.String(length=100), nullable=False),
        sa.Column("delivery", sa.String(length=100)),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("repository_id", Position),
        sa.Column("ref", sa.String(length=700)),
        sa.Column("before", sa.String(length=64)),
        sa.Column("after", sa.String(length=64)),
        sa.Column("push", Json()),
        sa.Column("verdict", sa.String(length=15), nullable=False),
        sa.Column("reason", sa.String(length=200)),
        sa.Column("event_id", sa.String(length=36)),
        sa.Column("lag_ms", sa.Integer()),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name="fk_hooks_repository_id_repositories",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("position", name="pk_hooks"),
        sa.UniqueConstraint("forge", "delivery", "part", name="uq_hooks_forge_delivery_part"),
        **BINARY,
        sqlite_autoincrement=True,
    )
    create_index("ix_hooks_received_at", "hooks", ["received_at"])
    create_index("ix_hooks_verdict_position", "hooks", ["verdict", "position"])
    create_index("ix_hooks_repository_id_position", "hooks", ["repository_id", "position"])
    create_index("ix_hooks_forge_verdict_position", "hooks", ["forge", "verdict", "position"])
    create_index("ix_hooks_event_id", "hooks", ["event_id"])


def downgrade() -> None:
    """Take them away again."""
    drop_table("hooks")
    drop_column("repositories", "facts")
