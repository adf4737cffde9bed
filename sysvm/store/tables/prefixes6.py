"""Prefixes of IPv6 for isolated networks: what a zone has, and which /64 of it is whose."""

import sqlalchemy as sa

from sysvm.store.tables.base import address, key, life, metadata, ref, text, uuid

guest_prefix6 = sa.Table(
    "guest_prefix6",
    metadata,
    key(),
    uuid(),
    ref("zone_id", "zone"),
    text("cidr"),
    *life(),
    comment="the operator routes each of its networks to the address that the network's router has outside",
)

guest_subnet6 = sa.Table(
    "guest_subnet6",
    metadata,
    key(),
    ref("prefix_id", "guest_prefix6"),
    ref("network_id", "network", index=False),
    address("subnet"),  # its lowest address; the next 64 bits are the guests'
    ref("ip_range_id", "ip_range", null=True, index=False),
    address("router", null=True),  # of that range; NULL until the network has its first router
    sa.UniqueConstraint("network_id"),
    sa.UniqueConstraint("subnet"),
    sa.UniqueConstraint("ip_range_id", "router"),
    comment="a row exists while its network does: a router that is made anew has the same address outside",
)
