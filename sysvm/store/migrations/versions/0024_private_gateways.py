"""Private gateways of VPCs, the NICs in them, and the static routes that go by way of them.

Revision: 0024
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LIVING, OF_GATEWAY = sa.text("removed IS NULL"), sa.text("private_gateway_id IS NOT NULL")
TABLE = "private_gateway"
REFERENCES = {
    "vpc_id": "vpc", "physical_network_id": "physical_network", "network_id": "network",
    "acl_list_id": "network_acl_list", "account_id": "account", "domain_id": "domain",
}  # fmt: skip
TEXTS = ("wire", "isolation", "cidr", "gateway", "state", "note")
MAYBE = ("physical_network_id", "network_id")


def upgrade() -> None:
    """A table, and two columns that lead to it."""
    op.create_table(
        TABLE,
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        *(sa.Column(name, ID, nullable=name in MAYBE) for name in REFERENCES),
        *(sa.Column(name, sa.Text(), nullable=False) for name in TEXTS),
        sa.Column("tag", sa.BigInteger(), nullable=True),
        sa.Column("address", sa.LargeBinary(length=16), nullable=False),
        sa.Column("source_nat", sa.Boolean(), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        *(
            sa.ForeignKeyConstraint([column], [f"{target}.id"], name=op.f(f"fk_{TABLE}_{column}"))
            for column, target in REFERENCES.items()
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{TABLE}")),
        sa.UniqueConstraint("uuid", name=op.f(f"uq_{TABLE}_uuid")),
    )
    for column in (*REFERENCES, "domain_path"):
        op.create_index(op.f(f"ix_{TABLE}_{column}"), TABLE, [column], unique=False)
    op.create_index(
        "uq_private_gateway_address", TABLE, ["wire", "address"], unique=True,
        sqlite_where=LIVING, postgresql_where=LIVING,
    )  # fmt: skip
    for table in ("nic", "static_route"):
        op.add_column(table, sa.Column("private_gateway_id", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_nic_private_gateway_id", "nic", ["private_gateway_id"],
        sqlite_where=OF_GATEWAY, postgresql_where=OF_GATEWAY,
    )  # fmt: skip


def downgrade() -> None:
    """Without them."""
    op.drop_index("ix_nic_private_gateway_id", table_name="nic")
    for table in ("static_route", "nic"):
        op.drop_column(table, "private_gateway_id")
    op.drop_table(TABLE)
