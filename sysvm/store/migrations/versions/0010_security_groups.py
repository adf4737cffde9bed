"""Security groups, their rules and members.

Revision: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Three tables."""
    _groups()
    _rules()
    op.create_table(
        "security_group_member",
        sa.Column("id", _id(), autoincrement=True, nullable=False),
        sa.Column("group_id", _id(), nullable=False),
        sa.Column("machine_id", _id(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["security_group.id"], name=op.f("fk_security_group_member_group_id")),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"], name=op.f("fk_security_group_member_machine_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_security_group_member")),
        sa.UniqueConstraint("group_id", "machine_id", name=op.f("uq_security_group_member_group_id_machine_id")),
        comment="guests and their groups; a row goes with its guest",
    )
    for column in ("group_id", "machine_id"):
        op.create_index(op.f(f"ix_security_group_member_{column}"), "security_group_member", [column], unique=False)


def _groups() -> None:
    op.create_table(
        "security_group",
        sa.Column("id", _id(), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("account_id", _id(), nullable=False),
        sa.Column("domain_id", _id(), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_security_group_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_security_group_domain_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_security_group")),
        sa.UniqueConstraint("uuid", name=op.f("uq_security_group_uuid")),
    )
    for column in ("account_id", "domain_id", "domain_path"):
        op.create_index(op.f(f"ix_security_group_{column}"), "security_group", [column], unique=False)
    living = sa.text("removed IS NULL")
    names = ["account_id", "name"]
    op.create_index("uq_security_group_name", "security_group", names, unique=True, sqlite_where=living, postgresql_where=living)


def _rules() -> None:
    op.create_table(
        "security_group_rule",
        sa.Column("id", _id(), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("group_id", _id(), nullable=False),
        sa.Column("direction", sa.String(length=8), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("first_port", sa.BigInteger(), nullable=True),
        sa.Column("last_port", sa.BigInteger(), nullable=True),
        sa.Column("icmp_type", sa.BigInteger(), nullable=True),
        sa.Column("icmp_code", sa.BigInteger(), nullable=True),
        sa.Column("cidr", sa.Text(), nullable=False),
        sa.Column("other_group_id", _id(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["group_id"], ["security_group.id"], name=op.f("fk_security_group_rule_group_id")),
        sa.ForeignKeyConstraint(["other_group_id"], ["security_group.id"], name=op.f("fk_security_group_rule_other_group_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_security_group_rule")),
        sa.UniqueConstraint("uuid", name=op.f("uq_security_group_rule_uuid")),
    )
    for column in ("group_id", "other_group_id"):
        op.create_index(op.f(f"ix_security_group_rule_{column}"), "security_group_rule", [column], unique=False)


def downgrade() -> None:
    """Without them."""
    for table in ("security_group_member", "security_group_rule", "security_group"):
        op.drop_table(table)
