"""Remote access VPNs of networks, and the users of accounts who may log in.

The ports that a VPN has taken are rows of `firewall_rule` (purpose Vpn), so that everything that wants ports of an address
meets them.
"""

import sqlalchemy as sa

from sysvm.store.tables.base import address, flag, key, life, metadata, owner, ref, text, uuid

remote_access_vpn = sa.Table(
    "remote_access_vpn",
    metadata,
    key(),
    uuid(),
    ref("network_id", "network"),
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
