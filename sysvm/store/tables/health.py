"""What routers have told of their checks."""

import sqlalchemy as sa

from sysvm.store.tables.base import data, instant, key, metadata, number, ref

router_health = sa.Table(
    "router_health",
    metadata,
    key(),
    ref("machine_id", "machine"),
    number("failed"),  # how many checks have failed
    data("checks"),  # newest results, by name
    instant("told", null=False),
    sa.UniqueConstraint("machine_id"),
    comment="a row for each router that has told",
)
