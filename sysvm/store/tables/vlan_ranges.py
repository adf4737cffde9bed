"""Guest VLANs (or VNIs) of physical networks that one account has for its own networks."""

import sqlalchemy as sa

from sysvm.store.tables.base import key, life, metadata, number, owner, ref, uuid

guest_vlan_range = sa.Table(
    "guest_vlan_range",
    metadata,
    key(),
    uuid(),
    ref("physical_network_id", "physical_network"),
    number("first"),
    number("last"),
    *owner(),
    *life(),
)
