"""Affinity groups and their guests; instance groups, one for each name that guests have.

Revision: 0025
"""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LIVING = sa.text("removed IS NULL")
NAMED = """
select account_id, domain_id, domain_path, group_name, min(created) from machine
where group_name <> '' and removed is null and account_id is not null
group by account_id, domain_id, domain_path, group_name
"""


def upgrade() -> None:
    """Three tables, and the instance groups that there are."""
    _owned("affinity_group", sa.Column("type", sa.String(length=40), nullable=False),
           sa.Column("description", sa.Text(), nullable=False))  # fmt: skip
    _owned("instance_group")
    _members()
    _those_that_guests_name()


def _owned(table: str, *more: sa.Column[str]) -> None:
    op.create_table(
        table,
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        *more,
        sa.Column("account_id", ID, nullable=False),
        sa.Column("domain_id", ID, nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f(f"fk_{table}_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f(f"fk_{table}_domain_id")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("uuid", name=op.f(f"uq_{table}_uuid")),
    )
    for column in ("account_id", "domain_id", "domain_path"):
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column], unique=False)
    op.create_index(f"uq_{table}_name", table, ["account_id", "name"], unique=True, sqlite_where=LIVING, postgresql_where=LIVING)


def _members() -> None:
    table = "affinity_group_member"
    op.create_table(
        table,
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("group_id", ID, nullable=False),
        sa.Column("machine_id", ID, nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["affinity_group.id"], name=op.f(f"fk_{table}_group_id")),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"], name=op.f(f"fk_{table}_machine_id")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("group_id", "machine_id", name=op.f(f"uq_{table}_group_id_machine_id")),
        comment="guests and their affinity groups; a row goes with its guest or its group",
    )
    for column in ("group_id", "machine_id"):
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column], unique=False)


def _those_that_guests_name() -> None:
    rows = op.get_bind().execute(sa.text(NAMED)).fetchall()
    names = ("uuid", "account_id", "domain_id", "domain_path", "name", "created")
    table = sa.table("instance_group", *map(sa.column, names))
    found = [dict(zip(names, (str(uuid.uuid4()), *row), strict=True)) for row in rows]
    if found:
        op.bulk_insert(table, found)


def downgrade() -> None:
    """Without them."""
    for table in ("affinity_group_member", "affinity_group", "instance_group"):
        op.drop_table(table)
