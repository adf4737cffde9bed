"""Load balancers inside VPCs.

Revision: 0033
"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The address of a tier that a rule is served at; NULL: a public one, which the rule names."""
    with op.batch_alter_table("load_balancer") as table:
        table.add_column(sa.Column("source_address", sa.LargeBinary(16), nullable=True))


def downgrade() -> None:
    """Public ones only."""
    with op.batch_alter_table("load_balancer") as table:
        table.drop_column("source_address")
