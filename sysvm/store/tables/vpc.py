"""VPCs, the lists of numbered rules (ACLs) that hold between their tiers, their static routes and private gateways.

A tier is a row of `network` with `vpc_id` and `acl_list_id`. The two lists that every cloud has (`default_allow`,
`default_deny`) have no VPC and belong to the system's account; whoever owns a VPC may use them.
"""

import sqlalchemy as sa

from sysvm.store.tables.base import address, data, flag, key, life, metadata, number, owner, ref, text, uuid

vpc = sa.Table(
    "vpc",
    metadata,
    key(),
    uuid(),
    text("name"),
    text("display_text"),
    ref("zone_id", "zone"),
    ref("offering_id", "vpc_offering"),
    text("cidr"),
    text("network_domain"),
    text("dns1"),
    text("dns2"),
    text("state", "Enabled"),  # Enabled | Inactive: it is being removed
    text("source_nat_ip"),  # that was asked for, until its router has it
    number("public_mtu", 1500),
    flag("redundant"),
    flag("restart_required"),
    flag("wanted", True),  # False: its router is made with its first tier
    flag("for_display", True),
    text("note"),
    *owner(),
    *life(),
)

network_acl_list = sa.Table(
    "network_acl_list",
    metadata,
    key(),
    uuid(),
    text("name"),
    text("description"),
    ref("vpc_id", "vpc", null=True),  # NULL: one that every cloud has
    flag("for_display", True),
    *owner(),
    *life(),
)

network_acl = sa.Table(
    "network_acl",
    metadata,
    key(),
    uuid(),
    ref("acl_list_id", "network_acl_list"),
    number("number"),  # lower ones are asked first; its list has it once
    text("action", "Allow"),  # Allow | Deny
    text("traffic_type", "Ingress"),  # Ingress | Egress
    text("protocol", "all"),  # tcp | udp | icmp | all, or a protocol's number
    number("first_port", null=True, default=None),
    number("last_port", null=True, default=None),
    number("icmp_type", null=True, default=None),
    number("icmp_code", null=True, default=None),
    data("sources"),  # CIDRs: of senders for Ingress, of receivers for Egress
    text("reason"),
    text("state", "Add"),  # Add | Active
    flag("for_display", True),
    *owner(),
    *life(),
)
# Two who add a rule at the same time cannot both have the number.
sa.Index("uq_network_acl_number", network_acl.c.acl_list_id, network_acl.c.number, unique=True,
         sqlite_where=network_acl.c.removed.is_(None), postgresql_where=network_acl.c.removed.is_(None))  # fmt: skip

static_route = sa.Table(
    "static_route",
    metadata,
    key(),
    uuid(),
    ref("vpc_id", "vpc"),
    text("cidr"),
    address("next_hop"),
    number("private_gateway_id", null=True, default=None),  # by way of whose network
    text("state", "Add"),  # Add | Active
    *owner(),
    *life(),
)

private_gateway = sa.Table(
    "private_gateway",
    metadata,
    key(),
    uuid(),
    ref("vpc_id", "vpc"),
    ref("physical_network_id", "physical_network", null=True),
    ref("network_id", "network", null=True),  # the guest network that it is on; NULL: a network of the operator
    text("wire"),  # key of its segment: gateways of several VPCs may be on one
    text("isolation", "none"),  # none | vlan | vxlan
    sa.Column("tag", sa.BigInteger, nullable=True),
    text("cidr"),
    text("gateway"),  # the machine there that routes of the VPC lead to
    address("address"),  # of the VPC's router
    flag("source_nat"),
    ref("acl_list_id", "network_acl_list"),
    text("state", "Creating"),  # Creating | Ready | Deleting
    text("note"),
    *owner(),
    *life(),
)
# Two routers on one wire never have one address.
sa.Index("uq_private_gateway_address", private_gateway.c.wire, private_gateway.c.address, unique=True,
         sqlite_where=private_gateway.c.removed.is_(None), postgresql_where=private_gateway.c.removed.is_(None))  # fmt: skip
