"""Since when an agent has been there or away, and how the dead and the silent are counted quickly.

Revision: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column, two partial indexes."""
    op.add_column("placement", sa.Column("agent_since", sa.Double(), nullable=True))
    for name, column, only in (
        ("ix_placement_died", "since", sa.text("failures > 0")),
        ("ix_placement_silent", "agent_since", sa.text("document_live = '' and agent_boot <> ''")),
    ):
        op.create_index(name, "placement", [column], sqlite_where=only, postgresql_where=only)
