"""Remote access VPNs and their users; what services of system VMs say of themselves.

Revision: 0013
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
LIVING = sa.text("removed IS NULL")


def upgrade() -> None:
    """Two tables, a column of two others."""
    for table in ("machine", "placement"):
        op.add_column(table, sa.Column("service_notes", sa.JSON(), nullable=True))
    _remote_access_vpn()
    _vpn_user()


def downgrade() -> None:
    """Without them."""
    op.drop_table("vpn_user")
    op.drop_table("remote_access_vpn")
    for table in ("machine", "placement"):
        op.drop_column(table, "service_notes")


def _id(name: str, **more: bool) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, **more)  # type: ignore[arg-type]


def _owner_and_life() -> list[sa.Column[Any]]:
    return [
        _id("account_id"),
        _id("domain_id"),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
    ]


def _references(table: str, *targets: str) -> list[sa.ForeignKeyConstraint]:
    return [
        sa.ForeignKeyConstraint([f"{target}_id"], [f"{target}.id"], name=op.f(f"fk_{table}_{target}_id")) for target in targets
    ]


def _indexes(table: str, *columns: str) -> None:
    for column in columns:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column], unique=False)


def _remote_access_vpn() -> None:
    table = "remote_access_vpn"
    op.create_table(
        table,
        _id("id", autoincrement=True),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        _id("network_id"),
        _id("public_ip_id"),
        sa.Column("first", sa.LargeBinary(length=16), nullable=False),
        sa.Column("last", sa.LargeBinary(length=16), nullable=False),
        sa.Column("preshared_key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("for_display", sa.Boolean(), nullable=False),
        *_owner_and_life(),
        *_references(table, "network", "public_ip", "account", "domain"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_remote_access_vpn")),
        sa.UniqueConstraint("uuid", name=op.f("uq_remote_access_vpn_uuid")),
    )
    _indexes(table, "network_id", "public_ip_id", "account_id", "domain_id", "domain_path")
    op.create_index(
        "uq_remote_access_vpn_living", table, ["public_ip_id"], unique=True, sqlite_where=LIVING, postgresql_where=LIVING
    )


def _vpn_user() -> None:
    table = "vpn_user"
    op.create_table(
        table,
        _id("id", autoincrement=True),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        *_owner_and_life(),
        *_references(table, "account", "domain"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vpn_user")),
        sa.UniqueConstraint("uuid", name=op.f("uq_vpn_user_uuid")),
    )
    _indexes(table, "account_id", "domain_id", "domain_path")
