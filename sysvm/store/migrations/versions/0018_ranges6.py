"""Ranges of shared networks may hold IPv6 addresses, beside those of IPv4 or without any.

Revision: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
PLACES = ("first", "last")


def upgrade() -> None:
    """Two columns, and two that may be empty now."""
    with op.batch_alter_table("ip_range") as table:
        for name in PLACES:
            table.alter_column(name, existing_type=sa.LargeBinary(16), nullable=True)
            table.add_column(sa.Column(f"{name}6", sa.LargeBinary(16), nullable=True))


def downgrade() -> None:
    """Without them; ranges of IPv6 alone are forgotten."""
    op.execute("delete from ip_range where first is null")
    with op.batch_alter_table("ip_range") as table:
        for name in PLACES:
            table.drop_column(f"{name}6")
            table.alter_column(name, existing_type=sa.LargeBinary(16), nullable=False)
