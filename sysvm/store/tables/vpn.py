"""Remote access VPNs of networks and VPCs, and the users of accounts who may log in; site-to-site VPNs of VPCs.

The ports that a network's VPN has taken are rows of `firewall_rule` (purpose Vpn), so that everything that wants ports of an
address meets them; a VPC's has none, for an address of a VPC and its rules are one tier's. A site-to-site connection is between
a VPC's gateway (its source NAT address) and a customer gateway, which is the account's word for the other side.
"""

import sqlalchemy as sa

from sysvm.store.tables.base import address, data, flag, key, life, metadata, number, owner, ref, text, uuid

remote_access_vpn = sa.Table(
    "remote_access_vpn",
    metadata,
    key(),
    uuid(),
    ref("network_id", "network", null=True),  # NULL: it is a VPC's
    number("vpc_id", null=True, default=None),
    ref("public_ip_id", "public_ip"),
    address("first"),  # of clients
    address("last"),
    text("preshared_key"),  # sealed
    text("state", "Added"),  # Added | Running
    flag("for_display", True),
    *owner(),
    *life(),
)

vpn_user = sa.Table(
    "vpn_user",
    metadata,
    key(),
    uuid(),
    text("name", length=64),
    text("password"),  # sealed
    text("state", "Add"),  # Add | Active
    *owner(),
    *life(),
)
# An address has one at most.
sa.Index(
    "uq_remote_access_vpn_living",
    remote_access_vpn.c.public_ip_id,
    unique=True,
    sqlite_where=remote_access_vpn.c.removed.is_(None),
    postgresql_where=remote_access_vpn.c.removed.is_(None),
)

vpn_gateway = sa.Table(
    "vpn_gateway",
    metadata,
    key(),
    uuid(),
    ref("vpc_id", "vpc"),
    ref("public_ip_id", "public_ip"),
    flag("for_display", True),
    *owner(),
    *life(),
)
# A VPC has one at most.
sa.Index(
    "uq_vpn_gateway_living",
    vpn_gateway.c.vpc_id,
    unique=True,
    sqlite_where=vpn_gateway.c.removed.is_(None),
    postgresql_where=vpn_gateway.c.removed.is_(None),
)

vpn_customer_gateway = sa.Table(
    "vpn_customer_gateway",
    metadata,
    key(),
    uuid(),
    text("name"),
    text("gateway"),  # address or name
    data("cidrs"),  # of the networks behind it
    text("preshared_key"),  # sealed
    text("ike_policy"),
    text("esp_policy"),
    number("ike_lifetime", 86400),
    number("esp_lifetime", 3600),
    flag("dpd"),
    flag("force_encap"),
    flag("split"),
    text("ike_version", "ike"),  # ike | ikev1 | ikev2
    *owner(),
    *life(),
)

vpn_connection = sa.Table(
    "vpn_connection",
    metadata,
    key(),
    uuid(),
    ref("gateway_id", "vpn_gateway"),
    ref("customer_id", "vpn_customer_gateway"),
    flag("passive"),
    number("resets"),  # its router begins it anew when this is another number
    text("state", "Pending"),  # Pending | Connecting | Connected | Disconnected | Error, as the router says
    text("note"),  # why it is not connected
    flag("for_display", True),
    *owner(),
    *life(),
)
# Two gateways have one at most.
sa.Index(
    "uq_vpn_connection_living",
    vpn_connection.c.gateway_id,
    vpn_connection.c.customer_id,
    unique=True,
    sqlite_where=vpn_connection.c.removed.is_(None),
    postgresql_where=vpn_connection.c.removed.is_(None),
)
