"""Prefixes of IPv6 for isolated networks.

Revision: 0035
"""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PREFIX, SUBNET = "guest_prefix6", "guest_subnet6"
REFERENCES = {"prefix_id": PREFIX, "network_id": "network", "ip_range_id": "ip_range"}


def upgrade() -> None:
    """What zones have, and which networks have of it."""
    op.create_table(
        PREFIX,
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("zone_id", ID, nullable=False),
        sa.Column("cidr", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["zone_id"], ["zone.id"], name=op.f(f"fk_{PREFIX}_zone_id")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{PREFIX}")),
        sa.UniqueConstraint("uuid", name=op.f(f"uq_{PREFIX}_uuid")),
    )
    op.create_index(op.f(f"ix_{PREFIX}_zone_id"), PREFIX, ["zone_id"], unique=False)
    op.create_table(
        SUBNET,
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("prefix_id", ID, nullable=False),
        sa.Column("network_id", ID, nullable=False),
        sa.Column("subnet", sa.LargeBinary(16), nullable=False),
        sa.Column("ip_range_id", ID, nullable=True),
        sa.Column("router", sa.LargeBinary(16), nullable=True),
        *(
            sa.ForeignKeyConstraint([column], [f"{target}.id"], name=op.f(f"fk_{SUBNET}_{column}"))
            for column, target in REFERENCES.items()
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{SUBNET}")),
        sa.UniqueConstraint("network_id", name=op.f(f"uq_{SUBNET}_network_id")),
        sa.UniqueConstraint("subnet", name=op.f(f"uq_{SUBNET}_subnet")),
        sa.UniqueConstraint("ip_range_id", "router", name=op.f(f"uq_{SUBNET}_ip_range_id_router")),
    )
    op.create_index(op.f(f"ix_{SUBNET}_prefix_id"), SUBNET, ["prefix_id"], unique=False)


def downgrade() -> None:
    """Without them."""
    op.drop_table(SUBNET)
    op.drop_table(PREFIX)
