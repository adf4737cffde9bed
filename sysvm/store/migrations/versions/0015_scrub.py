"""When an image store was read through last.

Revision: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column."""
    op.add_column("image_store", sa.Column("scrubbed", sa.Double(), nullable=True))


def downgrade() -> None:
    """Without it."""
    op.drop_column("image_store", "scrubbed")
