"""Since when a secondary storage VM has worked on a copy.

Revision: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column."""
    op.add_column("template_copy", sa.Column("begun", sa.Double(), nullable=True))


def downgrade() -> None:
    """Without it."""
    op.drop_column("template_copy", "begun")
