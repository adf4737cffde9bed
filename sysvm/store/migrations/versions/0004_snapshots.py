"""Snapshots of volumes, policies that make them, and what a volume was made from.

Revision: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two tables, and columns that the release before does not know."""
    _snapshot_policy()
    _snapshot()
    op.add_column("volume", sa.Column("display", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("volume", sa.Column("snapshot_id", sa.BigInteger(), nullable=True))
    op.add_column("volume", sa.Column("revert_id", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Snapshots are forgotten; their bytes stay on the image stores."""
    for name in ("revert_id", "snapshot_id", "display"):
        op.drop_column("volume", name)
    op.drop_table("snapshot")
    op.drop_table("snapshot_policy")


def _snapshot_policy() -> None:
    op.create_table(
        "snapshot_policy",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("volume_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("interval", sa.BigInteger(), nullable=False),
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("most", sa.BigInteger(), nullable=False),
        sa.Column("display", sa.Boolean(), nullable=False),
        sa.Column("next", sa.Double(), nullable=True),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_snapshot_policy_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_snapshot_policy_domain_id")),
        sa.ForeignKeyConstraint(["volume_id"], ["volume.id"], name=op.f("fk_snapshot_policy_volume_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshot_policy")),
        sa.UniqueConstraint("uuid", name=op.f("uq_snapshot_policy_uuid")),
    )
    op.create_index(op.f("ix_snapshot_policy_account_id"), "snapshot_policy", ["account_id"], unique=False)
    op.create_index(op.f("ix_snapshot_policy_domain_id"), "snapshot_policy", ["domain_id"], unique=False)
    op.create_index(op.f("ix_snapshot_policy_domain_path"), "snapshot_policy", ["domain_path"], unique=False)
    op.create_index(op.f("ix_snapshot_policy_volume_id"), "snapshot_policy", ["volume_id"], unique=False)


def _snapshot() -> None:
    op.create_table(
        "snapshot",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("zone_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("volume_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("policy_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("source_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("template_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("parent_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("host_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("pool_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("store_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("quiesce", sa.Boolean(), nullable=False),
        sa.Column("staged", sa.Boolean(), nullable=False),
        sa.Column("stored", sa.Boolean(), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("virtual_bytes", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("taken", sa.Double(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_snapshot_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_snapshot_domain_id")),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_snapshot_host_id")),
        sa.ForeignKeyConstraint(["parent_id"], ["snapshot.id"], name=op.f("fk_snapshot_parent_id")),
        sa.ForeignKeyConstraint(["policy_id"], ["snapshot_policy.id"], name=op.f("fk_snapshot_policy_id")),
        sa.ForeignKeyConstraint(["pool_id"], ["storage_pool.id"], name=op.f("fk_snapshot_pool_id")),
        sa.ForeignKeyConstraint(["source_id"], ["snapshot.id"], name=op.f("fk_snapshot_source_id")),
        sa.ForeignKeyConstraint(["store_id"], ["image_store.id"], name=op.f("fk_snapshot_store_id")),
        sa.ForeignKeyConstraint(["template_id"], ["template.id"], name=op.f("fk_snapshot_template_id")),
        sa.ForeignKeyConstraint(["volume_id"], ["volume.id"], name=op.f("fk_snapshot_volume_id")),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f("fk_snapshot_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshot")),
        sa.UniqueConstraint("uuid", name=op.f("uq_snapshot_uuid")),
    )
    op.create_index(op.f("ix_snapshot_account_id"), "snapshot", ["account_id"], unique=False)
    op.create_index(op.f("ix_snapshot_domain_id"), "snapshot", ["domain_id"], unique=False)
    op.create_index(op.f("ix_snapshot_domain_path"), "snapshot", ["domain_path"], unique=False)
    op.create_index(op.f("ix_snapshot_host_id"), "snapshot", ["host_id"], unique=False)
    op.create_index("ix_snapshot_of", "snapshot", ["volume_id", "removed"], unique=False)
    op.create_index(op.f("ix_snapshot_parent_id"), "snapshot", ["parent_id"], unique=False)
    op.create_index(op.f("ix_snapshot_policy_id"), "snapshot", ["policy_id"], unique=False)
    op.create_index(op.f("ix_snapshot_pool_id"), "snapshot", ["pool_id"], unique=False)
    op.create_index(op.f("ix_snapshot_source_id"), "snapshot", ["source_id"], unique=False)
    op.create_index(op.f("ix_snapshot_store_id"), "snapshot", ["store_id"], unique=False)
    op.create_index(op.f("ix_snapshot_template_id"), "snapshot", ["template_id"], unique=False)
    op.create_index(op.f("ix_snapshot_volume_id"), "snapshot", ["volume_id"], unique=False)
    op.create_index(op.f("ix_snapshot_zone_id"), "snapshot", ["zone_id"], unique=False)
