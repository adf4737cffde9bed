"""What routers' counters said last, and the periods of usage by what they are about.

Revision: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A table and two indexes."""
    op.create_table(
        "traffic_counter",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("network_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("public_ip_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("life", sa.Text(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name=op.f("fk_traffic_counter_network_id")),
        sa.ForeignKeyConstraint(["public_ip_id"], ["public_ip.id"], name=op.f("fk_traffic_counter_public_ip_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_traffic_counter")),
        sa.UniqueConstraint("network_id", "public_ip_id", name=op.f("uq_traffic_counter_network_id_public_ip_id")),
        comment="what routers' counters said last; the growth since then goes into usage_interval",
    )
    op.create_index(op.f("ix_traffic_counter_network_id"), "traffic_counter", ["network_id"], unique=False)
    op.create_index(op.f("ix_traffic_counter_public_ip_id"), "traffic_counter", ["public_ip_id"], unique=False)
    op.create_index("ix_usage_interval_resource_uuid_began", "usage_interval", ["resource_uuid", "usage_type", "began"])
    op.create_index("ix_usage_interval_began", "usage_interval", ["began"])


def downgrade() -> None:
    """Without them."""
    op.drop_index("ix_usage_interval_began", "usage_interval")
    op.drop_index("ix_usage_interval_resource_uuid_began", "usage_interval")
    op.drop_table("traffic_counter")
