"""Snapshots of volumes and the policies that make them; snapshots of whole guests.

A capture of a volume that becomes a template is a row here as well (kind TEMPLATE): it is taken and sent in the same way.
"""

import sqlalchemy as sa

from sysvm.store.tables.base import data, flag, instant, key, life, metadata, number, owner, ref, text, uuid

snapshot_policy = sa.Table(
    "snapshot_policy",
    metadata,
    key(),
    uuid(),
    ref("volume_id", "volume"),
    number("interval"),  # systemvms.schedules.Interval
    text("schedule"),  # MM, MM:HH, MM:HH:D
    text("timezone"),
    number("most"),  # snapshots that are kept
    flag("display", True),
    instant("next"),  # when it is due
    *owner(),
    *life(),
)

snapshot = sa.Table(
    "snapshot",
    metadata,
    key(),
    uuid(),
    text("name"),
    text("kind", "MANUAL", length=16),  # MANUAL | HOURLY | DAILY | WEEKLY | MONTHLY | TEMPLATE
    ref("zone_id", "zone"),
    ref("volume_id", "volume"),
    ref("policy_id", "snapshot_policy", null=True),
    ref("source_id", "snapshot", null=True),  # TEMPLATE: made of this snapshot and not of the volume
    ref("template_id", "template", null=True),  # TEMPLATE: what it becomes
    ref("parent_id", "snapshot", null=True),  # it holds what has changed since then; null: everything
    text("state", "Allocated", length=16),  # Allocated | Creating | BackingUp | BackedUp | Error
    ref("host_id", "host", null=True),  # where it is taken, and kept until it is on the store
    ref("pool_id", "storage_pool", null=True),
    ref("store_id", "image_store", null=True),
    ref("wanted_store_id", "image_store", null=True),  # it moves to there
    ref("left_store_id", "image_store", null=True),  # it has moved, and is still there, too
    flag("live"),  # taken from the running guest, or of a disk that nobody writes
    flag("quiesce"),
    flag("staged"),  # the host may still have bytes of it
    flag("stored"),  # the image store has, or may have
    sa.Column("progress", sa.Double, nullable=False, default=0.0),
    number("tries"),
    number("virtual_bytes"),
    number("size_bytes"),
    text("sha256", length=64),
    instant("taken"),
    text("note"),  # why it is not done yet
    text("error"),  # set: given up
    *owner(),
    *life(),
    sa.Index("ix_snapshot_of", "volume_id", "removed"),
)

snapshot_copy = sa.Table(
    "snapshot_copy",
    metadata,
    key(),
    ref("snapshot_id", "snapshot"),
    ref("zone_id", "zone"),
    *life(),
    comment="a snapshot that is wanted in another zone, too; its bytes there are template_copy rows of its chain",
)

vm_snapshot = sa.Table(
    "vm_snapshot",
    metadata,
    key(),
    uuid(),
    text("name"),
    text("display_name"),
    text("description"),
    text("kind", "Disk", length=16),  # Disk | DiskAndMemory
    ref("zone_id", "zone"),
    ref("machine_id", "machine"),
    ref("parent_id", "vm_snapshot", null=True),  # what the guest was last, when it was taken
    flag("current"),  # what the guest was last
    text("state", "Allocated", length=16),  # Allocated | Creating | Ready | Reverting | Error
    flag("live"),  # taken while the guest runs
    flag("quiesce"),
    data("volumes"),  # ids, the root first
    number("tries"),
    text("note"),  # why it is not done yet
    text("error"),  # set: given up
    *owner(),
    *life(),
    sa.Index("ix_vm_snapshot_of", "machine_id", "removed"),
    comment="a guest's volumes at one instant, inside of them; with its memory where it ran and that was wanted",
)
