"""What no rule of a role names.

Revision: 0031
"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Roles that are there go on as they were: by their type."""
    with op.batch_alter_table("role") as table:
        table.add_column(sa.Column("by_type", sa.Boolean(), nullable=False, server_default=sa.true()))
    with op.batch_alter_table("role") as table:
        table.alter_column("by_type", server_default=None)


def downgrade() -> None:
    """The type decides for all of them."""
    with op.batch_alter_table("role") as table:
        table.drop_column("by_type")
