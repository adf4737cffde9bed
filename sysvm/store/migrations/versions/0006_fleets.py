"""System VMs that are being emptied, or have had nothing to do for some time.

Revision: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Empty: neither."""
    op.add_column("machine", sa.Column("drain_until", sa.Double(), nullable=True))
    op.add_column("machine", sa.Column("idle_since", sa.Double(), nullable=True))


def downgrade() -> None:
    """Without them."""
    op.drop_column("machine", "idle_since")
    op.drop_column("machine", "drain_until")
