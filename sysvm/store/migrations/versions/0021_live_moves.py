"""Guests that move to another host while they run.

Revision: 0021
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Where a guest goes, and how far its placements are."""
    op.add_column("machine", sa.Column("migrate_host_id", sa.BigInteger(), nullable=True))
    op.add_column("machine", sa.Column("migration", sa.Text(), server_default="", nullable=False))
    op.add_column("placement", sa.Column("moving", sa.String(length=16), server_default="", nullable=False))
    op.add_column("placement", sa.Column("landing", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Without."""
    op.drop_column("placement", "landing")
    op.drop_column("placement", "moving")
    op.drop_column("machine", "migration")
    op.drop_column("machine", "migrate_host_id")
