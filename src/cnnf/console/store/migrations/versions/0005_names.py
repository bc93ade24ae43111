"""What addresses were called: names of DNS beside an edge's peers.

Nobody told of names before, so what is stored has none.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("edge_peers", sa.Column("names", sa.JSON(), nullable=False, server_default="[]"))
