"""How fast disks of an offering may be.

Revision: 0027
"""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None
TABLES = ("service_offering", "disk_offering")


def upgrade() -> None:
    """One column in each; offerings that there are limit nothing."""
    for table in TABLES:
        op.add_column(table, sa.Column("disk_limits", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Without them."""
    for table in TABLES:
        op.drop_column(table, "disk_limits")
