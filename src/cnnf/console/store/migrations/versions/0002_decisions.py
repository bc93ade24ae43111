"""Outcomes and decisions beside the counts, events, and how Defenders refuse.

Nothing was judged before, so what is stored has no outcome and no decision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("minutes", "hours", "days"):
        for name in ("answered", "refused", "verdict"):
            op.add_column(
                table, sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text("0"))
            )
        op.add_column(table, sa.Column("cause", sa.Text(), nullable=False, server_default=""))
    for name, default in (("udp", "0"), ("cut", "1")):
        op.add_column(
            "settings",
            sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.text(default)),
        )
    op.add_column(
        "settings", sa.Column("refuse_with", sa.Text(), nullable=False, server_default="reset")
    )
    op.create_table(
        "events",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("pair", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("source", sa.JSON(), nullable=False),
        sa.Column("destination", sa.JSON(), nullable=False),
        sa.Column("names", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("first_seen", sa.Integer(), nullable=False),
        sa.Column("last_seen", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("cut", sa.Integer(), nullable=False),
        sa.Column("defender", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sqlite_autoincrement=True,
    )
    op.create_index("events_key", "events", ["key", "last_seen"], unique=False)
    op.create_index("events_pair", "events", ["pair", "last_seen"], unique=False)
    op.create_index("events_version", "events", ["version"], unique=False)
    op.create_index("events_last_seen", "events", ["last_seen", "number"], unique=False)
