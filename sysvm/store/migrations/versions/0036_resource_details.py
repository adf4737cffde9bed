"""What administrators note on things.

Revision: 0036
"""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Nothing is noted yet."""
    op.create_table(
        "resource_detail",
        sa.Column("id", ID, nullable=False),
        sa.Column("resource_type", sa.String(64), nullable=False),
        sa.Column("resource_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("for_display", sa.Boolean(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resource_detail")),
        sa.UniqueConstraint("resource_type", "resource_id", "key", name=op.f("uq_resource_detail_resource_type_resource_id_key")),
        comment="what administrators note on things; those that have a column details keep theirs there",
    )


def downgrade() -> None:
    """What was noted is lost."""
    op.drop_table("resource_detail")
