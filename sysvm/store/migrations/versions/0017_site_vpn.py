"""Site-to-site VPNs: gateways of VPCs, customer gateways, connections between them.

Revision: 0017
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
LIVING = sa.text("removed IS NULL")


def upgrade() -> None:
    """Three tables."""
    _gateways()
    _customer_gateways()
    _connections()


def downgrade() -> None:
    """Without them."""
    for table in ("vpn_connection", "vpn_customer_gateway", "vpn_gateway"):
        op.drop_table(table)


def _id(name: str, **more: bool) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, **more)  # type: ignore[arg-type]


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _flags(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Boolean(), nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]


def _table(table: str, references: dict[str, str], *columns: sa.Column[Any]) -> None:
    """`references` are column -> table, besides the owner's."""
    everything = {**references, "account_id": "account", "domain_id": "domain"}
    op.create_table(
        table,
        _id("id", autoincrement=True),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        *columns,
        _id("account_id"),
        _id("domain_id"),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        *(
            sa.ForeignKeyConstraint([column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}"))
            for column, target in everything.items()
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("uuid", name=op.f(f"uq_{table}_uuid")),
    )
    for column in (*everything, "domain_path"):
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column], unique=False)


def _once(table: str, *columns: str) -> None:
    name = f"uq_{table}_living"
    op.create_index(name, table, columns, unique=True, sqlite_where=LIVING, postgresql_where=LIVING)


def _gateways() -> None:
    references = {"vpc_id": "vpc", "public_ip_id": "public_ip"}
    _table("vpn_gateway", references, _id("vpc_id"), _id("public_ip_id"), *_flags("for_display"))
    _once("vpn_gateway", "vpc_id")


def _customer_gateways() -> None:
    _table(
        "vpn_customer_gateway",
        {},
        *_texts("name", "gateway", "preshared_key", "ike_policy", "esp_policy", "ike_version"),
        sa.Column("cidrs", sa.JSON(), nullable=True),
        *_numbers("ike_lifetime", "esp_lifetime"),
        *_flags("dpd", "force_encap", "split"),
    )


def _connections() -> None:
    _table(
        "vpn_connection",
        {"gateway_id": "vpn_gateway", "customer_id": "vpn_customer_gateway"},
        _id("gateway_id"),
        _id("customer_id"),
        *_flags("passive", "for_display"),
        *_texts("state", "note"),
        *_numbers("resets"),
    )
    _once("vpn_connection", "gateway_id", "customer_id")
