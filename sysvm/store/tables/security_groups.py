"""Security groups: what may reach the guests of a group, and what they may reach. Hosts enforce it."""

import sqlalchemy as sa

from sysvm.store.tables.base import key, life, metadata, number, owner, ref, text, uuid

security_group = sa.Table(
    "security_group",
    metadata,
    key(),
    uuid(),
    text("name", length=255),
    text("description"),
    *owner(),
    *life(),
)
LIVING = security_group.c.removed.is_(None)
sa.Index("uq_security_group_name", security_group.c.account_id, security_group.c.name, unique=True,
         sqlite_where=LIVING, postgresql_where=LIVING)  # fmt: skip

security_group_rule = sa.Table(
    "security_group_rule",
    metadata,
    key(),
    uuid(),
    ref("group_id", "security_group"),
    text("direction", length=8),  # ingress | egress
    text("protocol"),  # tcp | udp | icmp | icmpv6 | all | a number
    number("first_port", null=True, default=None),
    number("last_port", null=True, default=None),
    number("icmp_type", null=True, default=None),
    number("icmp_code", null=True, default=None),
    text("cidr"),  # the other end; empty when it is a group
    ref("other_group_id", "security_group", null=True),
    *life(),
)

security_group_member = sa.Table(
    "security_group_member",
    metadata,
    key(),
    ref("group_id", "security_group"),
    ref("machine_id", "machine"),
    sa.UniqueConstraint("group_id", "machine_id"),
    comment="guests and their groups; a row goes with its guest",
)
