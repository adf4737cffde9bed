"""Snapshots that move to another image store.

Revision: 0030
"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
COLUMNS = ("wanted_store_id", "left_store_id")


def upgrade() -> None:
    """Where a snapshot shall be, and where it was and has not been deleted yet."""
    with op.batch_alter_table("snapshot") as table:
        for name in COLUMNS:
            table.add_column(sa.Column(name, ID, nullable=True))
            table.create_foreign_key(op.f(f"fk_snapshot_{name}"), "image_store", [name], ["id"])
            table.create_index(op.f(f"ix_snapshot_{name}"), [name])


def downgrade() -> None:
    """They stay where they are."""
    with op.batch_alter_table("snapshot") as table:
        for name in COLUMNS:
            table.drop_index(op.f(f"ix_snapshot_{name}"))
            table.drop_constraint(op.f(f"fk_snapshot_{name}"), type_="foreignkey")
            table.drop_column(name)
