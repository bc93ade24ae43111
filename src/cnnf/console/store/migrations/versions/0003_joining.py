"""When each Defender's certificate ends and which one may follow it; where it is, what it keeps.

Of Defenders that have joined before, nothing of this is known until they tell, or renew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("defenders", sa.Column("fingerprint_next", sa.LargeBinary(), nullable=True))
    for name in ("expires_at", "expires_next"):
        op.add_column(
            "defenders", sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text("0"))
        )
    op.add_column(
        "defenders", sa.Column("addresses", sa.JSON(), nullable=False, server_default="[]")
    )
    op.add_column("defenders", sa.Column("spool", sa.JSON(), nullable=True))
