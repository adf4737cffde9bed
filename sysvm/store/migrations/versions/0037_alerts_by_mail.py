"""Alerts that are still to be mailed.

Revision: 0037
"""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Those that stand are not mailed any more."""
    op.add_column("alert", sa.Column("to_mail", sa.Boolean(), nullable=False, server_default=sa.false()))
    to_mail = sa.text("to_mail")
    op.create_index("ix_alert_to_mail", "alert", ["id"], sqlite_where=to_mail, postgresql_where=to_mail)


def downgrade() -> None:
    """What was not mailed yet never is."""
    op.drop_index("ix_alert_to_mail", "alert")
    op.drop_column("alert", "to_mail")
