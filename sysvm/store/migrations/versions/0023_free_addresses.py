"""The lowest free public address is found without looking at those that are taken.

Revision: 0023
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """An index by state."""
    op.create_index("ix_public_ip_free", "public_ip", ["ip_range_id", "state", "address"])


def downgrade() -> None:
    """Without."""
    op.drop_index("ix_public_ip_free", table_name="public_ip")
