"""A console session that comes back: the secret it comes with, when it last did, how far its page is.

Revision: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLE = "console_session"
INDEXES = {
    "ix_console_session_resume_hash": ["resume_hash"],
    "ix_console_session_resume_before": ["resume_before"],
    "ix_console_session_proxy_id_open": ["proxy_id", "ended"],
}


def upgrade() -> None:
    """Columns that may be empty: the release before does not know them."""
    op.add_column(TABLE, sa.Column("attached", sa.Double(), nullable=True))
    op.add_column(TABLE, sa.Column("resume_hash", sa.String(length=64), nullable=True))
    op.add_column(TABLE, sa.Column("resume_before", sa.String(length=64), nullable=True))
    op.add_column(TABLE, sa.Column("round_trip_us", sa.BigInteger(), nullable=True))
    for name, columns in INDEXES.items():
        op.create_index(name, TABLE, columns)


def downgrade() -> None:
    """Without them, no session comes back."""
    for name in INDEXES:
        op.drop_index(name, TABLE)
    for name in ("round_trip_us", "resume_before", "resume_hash", "attached"):
        op.drop_column(TABLE, name)
