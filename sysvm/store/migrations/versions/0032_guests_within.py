"""Guests that are to start in a cluster or in a pod.

Revision: 0032
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nobody has asked for it yet."""
    with op.batch_alter_table("machine") as table:
        table.add_column(sa.Column("wanted_cluster_id", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("wanted_pod_id", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """They start anywhere."""
    with op.batch_alter_table("machine") as table:
        table.drop_column("wanted_pod_id")
        table.drop_column("wanted_cluster_id")
