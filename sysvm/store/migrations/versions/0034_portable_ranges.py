"""Ranges of public addresses that are of no zone.

Revision: 0034
"""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None
TABLES = ("ip_range", "public_ip")
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """All that are there are of one."""
    for name in TABLES:
        with op.batch_alter_table(name) as table:
            table.alter_column("zone_id", existing_type=ID, nullable=True)


def downgrade() -> None:
    """Portable ones are no more."""
    op.execute(sa.text("delete from public_ip where ip_range_id in (select id from ip_range where zone_id is null)"))
    op.execute(sa.text("delete from ip_range where zone_id is null"))
    for name in TABLES:
        with op.batch_alter_table(name) as table:
            table.alter_column("zone_id", existing_type=ID, nullable=False)
