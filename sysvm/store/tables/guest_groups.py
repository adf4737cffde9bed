"""Groups of guests: affinity groups, which say which guests share a host or must not; instance groups, which only name them.

A guest's instance group is the one of its account that has the name on its row (`machine.group_name`).
"""

import sqlalchemy as sa

from sysvm.store.tables.base import key, life, metadata, owner, ref, text, uuid

affinity_group = sa.Table(
    "affinity_group",
    metadata,
    key(),
    uuid(),
    text("name", length=255),
    text("type", length=40),  # host affinity | host anti-affinity | non-strict host affinity | ...
    text("description"),
    *owner(),
    *life(),
)
LIVING = affinity_group.c.removed.is_(None)
sa.Index("uq_affinity_group_name", affinity_group.c.account_id, affinity_group.c.name, unique=True,
         sqlite_where=LIVING, postgresql_where=LIVING)  # fmt: skip

affinity_group_member = sa.Table(
    "affinity_group_member",
    metadata,
    key(),
    ref("group_id", "affinity_group"),
    ref("machine_id", "machine"),
    sa.UniqueConstraint("group_id", "machine_id"),
    comment="guests and their affinity groups; a row goes with its guest or its group",
)

instance_group = sa.Table("instance_group", metadata, key(), uuid(), text("name", length=255), *owner(), *life())
NAMED = instance_group.c.removed.is_(None)
sa.Index("uq_instance_group_name", instance_group.c.account_id, instance_group.c.name, unique=True,
         sqlite_where=NAMED, postgresql_where=NAMED)  # fmt: skip
