"""WireGuard of networks: servers and their peers.

Revision: 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LIVING = sa.text("removed IS NULL")
SERVER, PEER = "wireguard_server", "wireguard_peer"


def upgrade() -> None:
    """Two tables."""
    _server()
    _peer()


def downgrade() -> None:
    """Without them."""
    op.drop_table(PEER)
    op.drop_table(SERVER)


def _references(table: str, **columns: str) -> list[sa.ForeignKeyConstraint]:
    return [
        sa.ForeignKeyConstraint([column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}"))
        for column, target in columns.items()
    ]


def _indexes(table: str, *columns: str) -> None:
    for column in columns:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column], unique=False)


def _living(name: str, table: str, *columns: str) -> None:
    op.create_index(name, table, [*columns], unique=True, sqlite_where=LIVING, postgresql_where=LIVING)


def _server() -> None:
    op.create_table(
        SERVER,
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("network_id", ID, nullable=False),
        sa.Column("public_ip_id", ID, nullable=False),
        sa.Column("port", sa.BigInteger(), nullable=False),
        sa.Column("cidr", sa.Text(), nullable=False),
        sa.Column("private_key", sa.Text(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        *_references(SERVER, network_id="network", public_ip_id="public_ip"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wireguard_server")),
    )
    _indexes(SERVER, "network_id", "public_ip_id")
    _living("uq_wireguard_server_living", SERVER, "network_id")


def _peer() -> None:
    op.create_table(
        PEER,
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("server_id", ID, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("public_key", sa.String(length=44), nullable=False),
        sa.Column("address", sa.LargeBinary(length=16), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("domain_id", ID, nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        *_references(PEER, server_id=SERVER, account_id="account", domain_id="domain"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wireguard_peer")),
        sa.UniqueConstraint("uuid", name=op.f("uq_wireguard_peer_uuid")),
    )
    _indexes(PEER, "server_id", "account_id", "domain_id", "domain_path")
    _living("uq_wireguard_peer_key", PEER, "server_id", "public_key")
    _living("uq_wireguard_peer_address", PEER, "server_id", "address")
