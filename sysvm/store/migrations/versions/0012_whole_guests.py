"""Volumes that move to another host, and snapshots of whole guests.

Revision: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REFS = {
    "account_id": "account",
    "domain_id": "domain",
    "machine_id": "machine",
    "parent_id": "vm_snapshot",
    "zone_id": "zone",
}


def upgrade() -> None:
    """Two columns and a table."""
    op.add_column("volume", sa.Column("move_host_id", sa.BigInteger(), nullable=True))
    op.add_column("volume", sa.Column("move_pool_id", sa.BigInteger(), nullable=True))
    op.create_table(
        "vm_snapshot",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("zone_id", ID, nullable=False),
        sa.Column("machine_id", ID, nullable=False),
        sa.Column("parent_id", ID, nullable=True),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("quiesce", sa.Boolean(), nullable=False),
        sa.Column("volumes", sa.JSON(), nullable=True),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("domain_id", ID, nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        *(
            sa.ForeignKeyConstraint([column], [f"{table}.id"], name=op.f(f"fk_vm_snapshot_{column}"))
            for column, table in REFS.items()
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vm_snapshot")),
        sa.UniqueConstraint("uuid", name=op.f("uq_vm_snapshot_uuid")),
        comment="a guest's volumes at one instant, inside of them; with its memory where it ran and that was wanted",
    )
    for column in (*REFS, "domain_path"):
        op.create_index(op.f(f"ix_vm_snapshot_{column}"), "vm_snapshot", [column], unique=False)
    op.create_index("ix_vm_snapshot_of", "vm_snapshot", ["machine_id", "removed"], unique=False)


def downgrade() -> None:
    """Snapshots of guests are forgotten; they stay in their volumes."""
    op.drop_table("vm_snapshot")
    for name in ("move_pool_id", "move_host_id"):
        op.drop_column("volume", name)
