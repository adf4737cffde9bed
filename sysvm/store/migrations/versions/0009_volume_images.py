"""Volumes that were uploaded have an image of their own until a host has made them.

Revision: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column."""
    op.add_column("volume", sa.Column("image_id", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Without it."""
    op.drop_column("volume", "image_id")
