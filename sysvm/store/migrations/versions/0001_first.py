"""The first release: every table as declared.

Until the first release is published this migration follows the declarations; after that it is frozen.

Revision: 0001
"""

from alembic import op

from sysvm.store.tables import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """All tables."""
    metadata.create_all(op.get_bind())


def downgrade() -> None:
    """None."""
    metadata.drop_all(op.get_bind())
