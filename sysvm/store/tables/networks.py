"""Networks, public addresses and the rules on them. A network is not its router: it may have none, one or two."""

import sqlalchemy as sa

from sysvm.store.tables.base import address, data, flag, instant, key, life, metadata, number, owner, ref, text, uuid

network = sa.Table(
    "network",
    metadata,
    key(),
    uuid(),
    text("name"),
    text("display_text"),
    ref("zone_id", "zone"),
    ref("physical_network_id", "physical_network", null=True),
    ref("offering_id", "network_offering"),
    number("vpc_id", null=True, default=None),  # it is a tier of this VPC
    number("acl_list_id", null=True, default=None),  # tiers: what may pass
    text("guest_type", "Isolated"),
    text("traffic_type", "Guest"),
    text("acl_type", "Account"),
    text("state", "Allocated"),  # Allocated | Setup | Implementing | Implemented | Shutdown | Destroy
    text("cidr"),
    text("gateway"),
    text("ip6_cidr"),
    text("ip6_gateway"),
    text("reserved_range"),
    address("first", null=True),  # guests get addresses from first to last
    address("last", null=True),
    text("domain_name"),
    text("dns1"),
    text("dns2"),
    text("isolation", "none"),  # none | vlan | vxlan
    sa.Column("tag", sa.BigInteger, nullable=True),
    number("mtu", 1500),
    flag("restart_required"),
    flag("redundant"),
    flag("egress_default_allow"),
    instant("unused_since"),  # no running guest since; collected after network.gc.wait
    text("note"),
    *owner(),
    *life(),
)

# A tag is free again only after its network has been removed.
sa.Index(
    "uq_network_tag",
    network.c.isolation,
    network.c.tag,
    unique=True,
    sqlite_where=sa.and_(network.c.tag.is_not(None), network.c.removed.is_(None)),
    postgresql_where=sa.and_(network.c.tag.is_not(None), network.c.removed.is_(None)),
)

public_ip = sa.Table(
    "public_ip",
    metadata,
    key(),
    uuid(),
    ref("zone_id", "zone", null=True),  # portable ones: that of the network they serve; none while they are free
    ref("ip_range_id", "ip_range"),
    sa.Column("address", sa.LargeBinary(16), nullable=False),
    text("state", "Free"),  # Free | Allocating | Allocated | Releasing | Reserved
    ref("network_id", "network", null=True),
    number("vpc_id", null=True, default=None),
    number("machine_id", null=True, default=None),  # static NAT target, or the system VM that holds it
    address("guest_address", null=True),  # static NAT
    flag("source_nat"),
    flag("static_nat"),
    flag("system"),
    flag("for_display", True),
    number("account_id", null=True, default=None),
    number("domain_id", null=True, default=None),
    sa.Column("domain_path", sa.String(255), nullable=True, index=True),
    instant("allocated"),
    instant("created", null=False),
    sa.UniqueConstraint("ip_range_id", "address"),
    sa.Index("ix_public_ip_free", "ip_range_id", "state", "address"),  # the lowest free one, however many are taken
    comment="every address of every public range has a row; taking one is an UPDATE",
)

private_ip = sa.Table(
    "private_ip",
    metadata,
    key(),
    ref("ip_range_id", "ip_range"),
    sa.Column("address", sa.LargeBinary(16), nullable=False),
    ref("nic_id", "nic", null=True),
    sa.UniqueConstraint("ip_range_id", "address"),
    comment="taken addresses of management, storage and shared ranges",
)

control_ip = sa.Table(
    "control_ip",
    metadata,
    key(),
    ref("host_id", "host"),
    sa.Column("address", sa.LargeBinary(16), nullable=False),
    number("machine_id"),
    sa.UniqueConstraint("host_id", "address"),
    comment="link-local addresses taken on a host",
)

firewall_rule = sa.Table(
    "firewall_rule",
    metadata,
    key(),
    uuid(),
    text("purpose", length=32),  # Firewall | Firewall6 | Egress | PortForwarding | StaticNat | LoadBalancing | Vpn | WireGuard
    ref("public_ip_id", "public_ip", null=True),
    ref("network_id", "network"),
    text("protocol"),
    number("first_port", null=True, default=None),
    number("last_port", null=True, default=None),
    number("icmp_type", null=True, default=None),
    number("icmp_code", null=True, default=None),
    data("sources"),  # CIDRs
    data("destinations"),
    number("machine_id", null=True, default=None),  # port forwarding
    address("guest_address", null=True),
    number("private_first_port", null=True, default=None),
    number("private_last_port", null=True, default=None),
    number("related_id", null=True, default=None),  # the firewall rule that openfirewall made for it
    text("traffic_type", "Ingress"),
    text("state", "Add"),  # Staged | Add | Active | Revoke | Deleting
    flag("for_display", True),
    *owner(),
    *life(),
)

traffic_counter = sa.Table(
    "traffic_counter",
    metadata,
    key(),
    ref("network_id", "network"),
    ref("public_ip_id", "public_ip"),
    text("life"),  # of the router's network stack: while it is the same, counters only grow
    number("sent"),
    number("received"),
    instant("updated", null=False),
    sa.UniqueConstraint("network_id", "public_ip_id"),
    comment="what routers' counters said last; the growth since then goes into usage_interval",
)
