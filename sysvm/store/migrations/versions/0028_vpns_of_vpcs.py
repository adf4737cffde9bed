"""Remote access VPNs of VPCs.

Revision: 0028
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None
TABLE = "remote_access_vpn"
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """A VPN is a network's or a VPC's."""
    with op.batch_alter_table(TABLE) as table:
        table.alter_column("network_id", existing_type=ID, nullable=True)
        table.add_column(sa.Column("vpc_id", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Those of VPCs are no more."""
    op.execute(sa.text("delete from remote_access_vpn where network_id is null"))
    with op.batch_alter_table(TABLE) as table:
        table.drop_column("vpc_id")
        table.alter_column("network_id", existing_type=ID, nullable=False)
