"""The policy: every version that there was, since when its rules are in force, and their hits.

Before, each Defender had its policy from a file of its host, of which the Console knew nothing;
what it enforces is told with its next batch.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("defenders", sa.Column("policy", sa.JSON(), nullable=True))
    op.create_table(
        "policies",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("base", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("rules", sa.Integer(), nullable=False),
        sa.Column("objects", sa.Integer(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    op.create_table(
        "rules_in_force",
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("since", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("rule"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rule_hits",
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("told", sa.Integer(), nullable=False),
        sa.Column("claimed", sa.Integer(), nullable=False),
        sa.Column("last_hit", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("rule", "day"),
        sqlite_with_rowid=False,
    )
    op.create_index("rule_hits_day", "rule_hits", ["day"], unique=False)
