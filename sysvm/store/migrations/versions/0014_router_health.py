"""What routers have told of their checks.

Revision: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A table."""
    op.create_table(
        "router_health",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("machine_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("checks", sa.JSON(), nullable=True),
        sa.Column("told", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"], name=op.f("fk_router_health_machine_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_router_health")),
        sa.UniqueConstraint("machine_id", name=op.f("uq_router_health_machine_id")),
        comment="a row for each router that has told",
    )
    op.create_index(op.f("ix_router_health_machine_id"), "router_health", ["machine_id"], unique=False)


def downgrade() -> None:
    """Without it."""
    op.drop_index(op.f("ix_router_health_machine_id"), "router_health")
    op.drop_table("router_health")
