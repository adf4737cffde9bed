"""Guest VLANs that one account has for its own networks.

Revision: 0026
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLE = "guest_vlan_range"
REFERENCES = {"physical_network_id": "physical_network", "account_id": "account", "domain_id": "domain"}


def upgrade() -> None:
    """A table."""
    op.create_table(
        TABLE,
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("physical_network_id", ID, nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("domain_id", ID, nullable=False),
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


def downgrade() -> None:
    """Without it."""
    op.drop_table(TABLE)
