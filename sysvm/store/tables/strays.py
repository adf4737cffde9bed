"""What hosts have that is in no record, and which hosts a recovered database has made its own again."""

import sqlalchemy as sa

from sysvm.store.tables.base import Id, flag, instant, key, metadata, number, ref, text, uuid

stray = sa.Table(
    "stray",
    metadata,
    key(),
    uuid(),
    ref("host_id", "host"),
    text("machine", length=36),  # UUID
    number("incarnation"),
    text("power"),
    flag("kept"),  # found by an adoption, or by an operator's word: listed, and left alone until an operator decides
    flag("doomed"),  # an operator does not want to wait for the grace
    instant("found", null=False),
    instant("removed"),
    comment="machines on hosts that no placement knows: stopped, kept for sweep.grace, then removed",
)

adoption = sa.Table(
    "adoption",
    metadata,
    sa.Column("host_id", Id, sa.ForeignKey("host.id"), primary_key=True),
    number("epoch"),
    comment="the epoch in which what runs on a host was last taken into the records",
)
