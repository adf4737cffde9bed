"""VPCs, network ACLs and static routes; the two lists that every cloud has.

Revision: 0016
"""

import uuid
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
LIVING = sa.text("removed IS NULL")
SYSTEM = {"account_id": 1, "domain_id": 1, "domain_path": "/1/"}


def upgrade() -> None:
    """Four tables, a column of networks, and what clouds that are older lack."""
    _vpc()
    _acl_lists()
    _acls()
    _static_routes()
    with op.batch_alter_table("network") as network:
        network.add_column(sa.Column("acl_list_id", sa.BigInteger(), nullable=True))
    _sow()


def downgrade() -> None:
    """Without them."""
    with op.batch_alter_table("network") as network:
        network.drop_column("acl_list_id")
    for table in ("static_route", "network_acl", "network_acl_list", "vpc"):
        op.drop_table(table)


def _id(name: str, null: bool = False, **more: bool) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=null, **more)  # type: ignore[arg-type]


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _flags(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Boolean(), nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.BigInteger(), nullable=True) for name in names]


def _number(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


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


def _vpc() -> None:
    _table(
        "vpc",
        {"zone_id": "zone", "offering_id": "vpc_offering"},
        *_texts("name", "display_text"),
        _id("zone_id"),
        _id("offering_id"),
        *_texts("cidr", "network_domain", "dns1", "dns2", "state", "source_nat_ip"),
        _number("public_mtu"),
        *_flags("redundant", "restart_required", "wanted", "for_display"),
        *_texts("note"),
    )


def _acl_lists() -> None:
    _table(
        "network_acl_list",
        {"vpc_id": "vpc"},
        *_texts("name", "description"),
        _id("vpc_id", null=True),
        *_flags("for_display"),
    )


def _acls() -> None:
    _table(
        "network_acl",
        {"acl_list_id": "network_acl_list"},
        _id("acl_list_id"),
        _number("number"),
        *_texts("action", "traffic_type", "protocol"),
        *_numbers("first_port", "last_port", "icmp_type", "icmp_code"),
        sa.Column("sources", sa.JSON(), nullable=True),
        *_texts("reason", "state"),
        *_flags("for_display"),
    )
    op.create_index(
        "uq_network_acl_number", "network_acl", ["acl_list_id", "number"], unique=True,
        sqlite_where=LIVING, postgresql_where=LIVING,
    )  # fmt: skip


def _static_routes() -> None:
    _table(
        "static_route",
        {"vpc_id": "vpc"},
        _id("vpc_id"),
        *_texts("cidr"),
        sa.Column("next_hop", sa.LargeBinary(length=16), nullable=False),
        *_texts("state"),
    )


def _sow() -> None:
    """A cloud that begins with these tables gets its lists from its seeds."""
    connection = op.get_bind()
    born = connection.execute(sa.text("select created from cloud")).scalar()
    if born is None:
        return
    look = sa.MetaData()
    lists = sa.Table("network_acl_list", look, autoload_with=connection)
    rules = sa.Table("network_acl", look, autoload_with=connection)
    for action in ("Deny", "Allow"):
        name = f"default_{action.lower()}"
        values = {"uuid": str(uuid.uuid4()), "name": name, "description": f"Default Network ACL {action} All"}
        added = connection.execute(sa.insert(lists).values(**values, for_display=True, created=born, **SYSTEM))
        assert added.inserted_primary_key is not None
        for number, way in ((1, "Ingress"), (2, "Egress")):
            connection.execute(
                sa.insert(rules).values(
                    uuid=str(uuid.uuid4()), acl_list_id=added.inserted_primary_key[0], number=number, action=action,
                    traffic_type=way, protocol="all", sources=["0.0.0.0/0"], reason="", state="Active",
                    for_display=True, created=born, **SYSTEM,
                )
            )  # fmt: skip
