"""Templates and ISOs, and where copies of them are."""

import sqlalchemy as sa

from sysvm.store.tables.base import data, flag, instant, key, life, metadata, number, owner, ref, text, uuid

guest_os = sa.Table("guest_os", metadata, key(), uuid(), text("name"), text("category"), text("category_uuid"), *life())

template = sa.Table(
    "template",
    metadata,
    key(),
    uuid(),
    text("unique_name"),
    text("name"),
    text("display_text"),
    text("kind", "USER"),  # SYSTEM | ROUTING | USER | BUILTIN
    text("format"),  # QCOW2 | RAW | TAR | ISO | ...
    text("hypervisor"),
    text("url"),
    text("checksum"),
    number("size_bytes"),  # in the store
    number("virtual_bytes"),
    text("sha256"),
    ref("guest_os_id", "guest_os", null=True),
    number("bits", 64),
    flag("is_iso"),
    flag("is_public"),
    flag("is_featured"),
    flag("is_extractable"),
    flag("is_bootable", True),
    flag("is_dynamically_scalable"),
    flag("cross_zones"),
    flag("password_enabled"),
    flag("ssh_key_enabled"),
    flag("requires_hvm", True),
    flag("deploy_as_is"),
    flag("direct_download"),
    text("version"),  # SYSTEM templates: which system VM template this is
    text("tag"),
    data("details"),
    data("permissions"),  # account ids
    number("sort_key"),
    *owner(),
    *life(),
)

template_copy = sa.Table(
    "template_copy",
    metadata,
    key(),
    ref("template_id", "template"),
    ref("zone_id", "zone"),
    ref("store_id", "image_store", null=True),
    ref("machine_id", "machine", null=True),  # the secondary storage VM that works on it
    instant("begun"),  # since when it does
    text("state", "NOT_DOWNLOADED"),
    sa.Column("progress", sa.Double, nullable=False, default=0.0),
    text("error"),
    text("task"),  # name of the work in the agent's ledger
    number("tries"),
    number("size_bytes"),
    text("sha256"),
    flag("wanted", True),
    ref("wanted_store_id", "image_store", null=True),  # where it shall move
    ref("left_store_id", "image_store", null=True),  # from where it has moved, and where it is yet to be deleted
    *life(),
    comment="a template or ISO on an image store of a zone",
)

pool_image = sa.Table(
    "pool_image",
    metadata,
    key(),
    ref("template_id", "template"),
    ref("pool_id", "storage_pool"),
    ref("host_id", "host"),
    text("sha256", length=64),
    text("state", "wanted"),  # wanted | fetched (a system VM template that is yet to be installed) | ready | unwanted
    text("note"),
    sa.Column("progress", sa.Double, nullable=False, default=0.0),
    instant("created", null=False),
    sa.UniqueConstraint("host_id", "pool_id", "sha256"),
    comment="a template's bytes on a host's primary storage",
)
