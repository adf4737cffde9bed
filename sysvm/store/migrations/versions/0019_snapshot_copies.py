"""Snapshots in other zones than their volume's.

Revision: 0019
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A table."""
    id_ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "snapshot_copy",
        sa.Column("id", id_, autoincrement=True, nullable=False),
        sa.Column("snapshot_id", id_, nullable=False),
        sa.Column("zone_id", id_, nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshot.id"], name=op.f("fk_snapshot_copy_snapshot_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_snapshot_copy_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshot_copy")),
    )
    for name in ("snapshot_id", "zone_id"):
        op.create_index(op.f(f"ix_snapshot_copy_{name}"), "snapshot_copy", [name], unique=False)


def downgrade() -> None:
    """Without it."""
    op.drop_table("snapshot_copy")
