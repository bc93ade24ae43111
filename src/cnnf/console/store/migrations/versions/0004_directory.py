"""Who is where, across hosts, and the ledger in which both ends' reports meet.

What was stored before was seen from one host each; nothing of it is counted anew. Networks and
published ports are not known until Defenders tell them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ZERO = sa.text("0")


def upgrade() -> None:
    op.add_column("hosts", sa.Column("networks", sa.JSON(), nullable=False, server_default="[]"))
    for name in ("delivered_at", "returned_at"):
        op.add_column("hosts", sa.Column(name, sa.Integer(), nullable=False, server_default=_ZERO))
    op.add_column(
        "instances", sa.Column("published", sa.JSON(), nullable=False, server_default="[]")
    )
    op.add_column(
        "instances", sa.Column("host_network", sa.Boolean(), nullable=False, server_default=_ZERO)
    )
    for name in ("workload", "pod", "state", "health"):
        op.add_column("instances", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    op.add_column(
        "instances", sa.Column("restarts", sa.Integer(), nullable=False, server_default=_ZERO)
    )
    op.create_table(
        "ledger",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("account", sa.LargeBinary(), nullable=False),
        sa.Column("due_at", sa.Integer(), nullable=False),
        sa.Column("ready_at", sa.Integer(), nullable=False),
        sa.Column("unsure_at", sa.Integer(), nullable=False),
        sa.Column("touched_at", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("source", "destination", "port", "protocol"),
        sqlite_with_rowid=False,
    )
    op.create_index("ledger_due", "ledger", ["due_at"], unique=False)
    op.create_index("ledger_ready", "ledger", ["source", "ready_at"], unique=False)
    op.create_index("ledger_unsure", "ledger", ["destination", "unsure_at"], unique=False)
    op.create_index("ledger_touched", "ledger", ["touched_at"], unique=False)
    op.create_table(
        "directory",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("starts", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1"),
        sa.PrimaryKeyConstraint("id"),
    )
