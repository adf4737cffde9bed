"""Machines of all kinds, where they are, their NICs and volumes."""

import sqlalchemy as sa

from sysvm.store.tables.base import Id, data, flag, instant, key, life, metadata, number, owner, ref, text, uuid

machine = sa.Table(
    "machine",
    metadata,
    key(),
    uuid(),
    text("name", length=255),  # r-4-VM, i-2-7-VM; the API's instancename
    text("display_name"),
    text("hostname"),
    text("kind", length=16),  # wire.machines.Kind
    text("hypervisor"),
    text("runtime"),  # container | vm | simulated
    text("runtime_why"),
    ref("zone_id", "zone"),
    ref("host_id", "host", null=True),  # where its current incarnation is
    ref("last_host_id", "host", null=True),
    ref("wanted_host_id", "host", null=True),
    number("wanted_cluster_id", null=True, default=None),  # guests: where this start may place it, when no host is wanted
    number("wanted_pod_id", null=True, default=None),
    number("migrate_host_id", null=True, default=None),  # host that it moves to while it runs
    text("migration"),  # UUID of that attempt
    ref("service_offering_id", "service_offering"),
    ref("template_id", "template", null=True),
    text("template_version"),  # of the system VM template
    text("wanted", "running", length=16),  # running | stopped | gone
    number("wish", 1),
    number("incarnation", 1),  # the wanted one; a higher number replaces
    number("fence"),  # highest that a host may have seen of it
    flag("forced"),  # no make-before-break, no grace
    number("reboots"),
    text("power", "absent"),  # last recorded facts about the current incarnation
    flag("agent_up"),
    text("document_wanted"),
    text("document_live"),
    data("faults"),  # services that could not be made true
    data("service_notes"),  # what services say of themselves: "ESP by the kernel"
    text("note"),  # why it is not what it should be
    text("error"),  # set: given up; cleared by the next wish
    instant("deadline"),
    ref("network_id", "network", null=True),  # routers: the network they serve
    number("vpc_id", null=True, default=None),
    text("role"),  # routers: VIRTUAL_ROUTER; secondary storage: templateProcessor | commandExecutor
    flag("redundant"),
    text("redundant_state", "UNKNOWN"),
    flag("draining"),
    instant("drain_until"),
    instant("idle_since"),
    number("sessions"),  # console proxy: as last reported
    instant("reported"),
    text("version"),
    text("state_key", None, null=True),  # encrypted; seals the state disk
    text("userdata"),  # base64
    ref("user_data_id", "user_data", null=True),
    text("password", None, null=True),  # encrypted; until the guest has fetched it
    data("key_pairs"),
    number("console_proxy_id", null=True, default=None),
    instant("console_assigned"),
    flag("ha_enabled"),
    flag("display_vm", True),
    flag("delete_protection"),
    number("iso_id", null=True, default=None),
    text("group_name"),
    number("cpus", null=True, default=None),  # custom offerings
    number("cpu_mhz", null=True, default=None),
    number("memory_mb", null=True, default=None),
    instant("destroyed"),  # guests: destroyed but recoverable until expunged
    data("details"),
    *owner(),
    *life(),
)
sa.Index("ix_machine_kind", machine.c.kind, machine.c.removed)

placement = sa.Table(
    "placement",
    metadata,
    key(),
    sa.Column("machine_id", Id, sa.ForeignKey("machine.id"), nullable=False),
    number("incarnation"),
    ref("host_id", "host"),
    text("wanted", "running", length=16),  # running | stopped | gone | incoming | away
    text("power", "absent"),
    text("moving", length=16),  # wire.machines.Moving, as last seen
    data("landing"),  # incoming: wire.machines.LandingPlace
    flag("agent_up"),
    text("agent_boot"),
    instant("agent_since"),  # of agent_up being what it is
    text("spec_wanted"),
    text("spec_seen"),
    text("document_wanted"),
    text("document_live"),
    data("faults"),
    data("service_notes"),
    text("note"),
    number("told"),  # the machine's wish that this placement was last asked to serve
    number("settled"),  # the wish that it is known to serve
    number("failures"),
    instant("since"),  # of the present power
    *life(),
    sa.UniqueConstraint("machine_id", "incarnation", "host_id"),
    comment="what a host is asked to have",
)
FAILED, SILENT = sa.text("failures > 0"), sa.text("document_live = '' and agent_boot <> ''")
sa.Index("ix_placement_died", placement.c.since, sqlite_where=FAILED, postgresql_where=FAILED)
sa.Index("ix_placement_silent", placement.c.agent_since, sqlite_where=SILENT, postgresql_where=SILENT)

nic = sa.Table(
    "nic",
    metadata,
    key(),
    uuid(),
    ref("machine_id", "machine"),
    ref("network_id", "network", null=True),  # guest NICs
    text("traffic", length=16),  # control | management | public | guest | private | storage
    number("device"),
    text("mac", length=17),
    text("gateway"),
    text("gateway6"),
    text("netmask"),
    flag("is_default"),
    number("public_range_id", null=True, default=None),
    number("private_gateway_id", null=True, default=None),
    number("mtu", 1500),
    number("rate_mbit"),
    *life(),
)
OF_GATEWAY = nic.c.private_gateway_id.is_not(None)
sa.Index("ix_nic_private_gateway_id", nic.c.private_gateway_id, sqlite_where=OF_GATEWAY, postgresql_where=OF_GATEWAY)
sa.Index("uq_nic_mac", nic.c.mac, unique=True, sqlite_where=nic.c.removed.is_(None),
         postgresql_where=nic.c.removed.is_(None))  # fmt: skip

nic_address = sa.Table(
    "nic_address",
    metadata,
    key(),
    uuid(),
    ref("nic_id", "nic"),
    ref("network_id", "network", null=True),
    sa.Column("address", sa.LargeBinary(16), nullable=False),
    number("prefix", 24),
    flag("is_primary", True),
    *life(),
    comment="addresses of NICs, both families; secondary ones too",
)
sa.Index("uq_nic_address", nic_address.c.network_id, nic_address.c.address, unique=True,
         sqlite_where=sa.and_(nic_address.c.removed.is_(None), nic_address.c.network_id.is_not(None)),
         postgresql_where=sa.and_(nic_address.c.removed.is_(None), nic_address.c.network_id.is_not(None)))  # fmt: skip

volume = sa.Table(
    "volume",
    metadata,
    key(),
    uuid(),
    text("name"),
    text("type", "ROOT"),  # ROOT | DATADISK
    ref("zone_id", "zone"),
    ref("pool_id", "storage_pool", null=True),
    ref("host_id", "host", null=True),
    ref("machine_id", "machine", null=True),
    number("device", null=True, default=0),
    ref("template_id", "template", null=True),
    ref("disk_offering_id", "disk_offering", null=True),
    number("size_bytes"),
    text("format", "qcow2"),
    text("state", "Allocated"),  # Allocated | Creating | Ready | Migrating | Destroy | Expunged | UploadOp...
    text("note"),
    flag("display", True),
    number("snapshot_id", null=True, default=None),  # what it was made from
    number("revert_id", null=True, default=None),  # the snapshot that it shall hold again
    number("image_id", null=True, default=None),  # uploaded: the template of kind VOLUME that has its bytes until a host has
    number("move_host_id", null=True, default=None),  # Migrating: where it goes; else: where bytes of it are yet to be removed
    number("move_pool_id", null=True, default=None),
    instant("attached"),
    *owner(),
    *life(),
)
