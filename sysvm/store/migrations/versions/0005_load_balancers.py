"""Load balancers: their names and algorithms, members, stickiness, health checks, and certificates of users.

Revision: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """All five tables, in the order of their references."""
    for make in TABLES:
        make()


def downgrade() -> None:
    """None, in the opposite order."""
    for make in reversed(TABLES):
        op.drop_table(make.__name__.removeprefix("_"))


def _ssl_certificate() -> None:
    op.create_table(
        "ssl_certificate",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("private_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_ssl_certificate_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_ssl_certificate_domain_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ssl_certificate")),
        sa.UniqueConstraint("uuid", name=op.f("uq_ssl_certificate_uuid")),
    )
    op.create_index(op.f("ix_ssl_certificate_account_id"), "ssl_certificate", ["account_id"], unique=False)
    op.create_index(op.f("ix_ssl_certificate_domain_id"), "ssl_certificate", ["domain_id"], unique=False)
    op.create_index(op.f("ix_ssl_certificate_domain_path"), "ssl_certificate", ["domain_path"], unique=False)


def _load_balancer() -> None:
    op.create_table(
        "load_balancer",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("rule_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("certificate_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.ForeignKeyConstraint(["certificate_id"], ["ssl_certificate.id"], name=op.f("fk_load_balancer_certificate_id")),
        sa.ForeignKeyConstraint(["rule_id"], ["firewall_rule.id"], name=op.f("fk_load_balancer_rule_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_load_balancer")),
        sa.UniqueConstraint("rule_id", name=op.f("uq_load_balancer_rule_id")),
    )
    op.create_index(op.f("ix_load_balancer_certificate_id"), "load_balancer", ["certificate_id"], unique=False)


def _load_balancer_member() -> None:
    op.create_table(
        "load_balancer_member",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("rule_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("machine_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("address", sa.LargeBinary(length=16), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("up", sa.Boolean(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["machine_id"], ["machine.id"], name=op.f("fk_load_balancer_member_machine_id")),
        sa.ForeignKeyConstraint(["rule_id"], ["firewall_rule.id"], name=op.f("fk_load_balancer_member_rule_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_load_balancer_member")),
    )
    op.create_index(op.f("ix_load_balancer_member_machine_id"), "load_balancer_member", ["machine_id"], unique=False)
    op.create_index(op.f("ix_load_balancer_member_rule_id"), "load_balancer_member", ["rule_id"], unique=False)


def _lb_stickiness() -> None:
    op.create_table(
        "lb_stickiness",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("rule_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("for_display", sa.Boolean(), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_lb_stickiness_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_lb_stickiness_domain_id")),
        sa.ForeignKeyConstraint(["rule_id"], ["firewall_rule.id"], name=op.f("fk_lb_stickiness_rule_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lb_stickiness")),
        sa.UniqueConstraint("uuid", name=op.f("uq_lb_stickiness_uuid")),
    )
    op.create_index(op.f("ix_lb_stickiness_account_id"), "lb_stickiness", ["account_id"], unique=False)
    op.create_index(op.f("ix_lb_stickiness_domain_id"), "lb_stickiness", ["domain_id"], unique=False)
    op.create_index(op.f("ix_lb_stickiness_domain_path"), "lb_stickiness", ["domain_path"], unique=False)
    op.create_index(op.f("ix_lb_stickiness_rule_id"), "lb_stickiness", ["rule_id"], unique=False)


def _lb_health_check() -> None:
    op.create_table(
        "lb_health_check",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("rule_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("ping_path", sa.Text(), nullable=False),
        sa.Column("response_s", sa.BigInteger(), nullable=False),
        sa.Column("interval_s", sa.BigInteger(), nullable=False),
        sa.Column("healthy", sa.BigInteger(), nullable=False),
        sa.Column("unhealthy", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("for_display", sa.Boolean(), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("domain_path", sa.String(length=255), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("removed", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_lb_health_check_account_id")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_lb_health_check_domain_id")),
        sa.ForeignKeyConstraint(["rule_id"], ["firewall_rule.id"], name=op.f("fk_lb_health_check_rule_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lb_health_check")),
        sa.UniqueConstraint("uuid", name=op.f("uq_lb_health_check_uuid")),
    )
    op.create_index(op.f("ix_lb_health_check_account_id"), "lb_health_check", ["account_id"], unique=False)
    op.create_index(op.f("ix_lb_health_check_domain_id"), "lb_health_check", ["domain_id"], unique=False)
    op.create_index(op.f("ix_lb_health_check_domain_path"), "lb_health_check", ["domain_path"], unique=False)
    op.create_index(op.f("ix_lb_health_check_rule_id"), "lb_health_check", ["rule_id"], unique=False)


TABLES = (_ssl_certificate, _load_balancer, _load_balancer_member, _lb_stickiness, _lb_health_check)
