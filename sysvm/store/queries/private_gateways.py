"""Private gateways of VPCs: a NIC of the VPC's router on a network of the operator, or on a guest network.

A wire is what a gateway is plugged into: a VLAN or VXLAN of the zone, the untagged network of the hosts' uplinks, or a guest
network. Routers of several VPCs may be on one. What they are told is in `documents`; when a router has the NIC in the turns of
kind "private_gateway".
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import machines, owned, turns
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx
from sysvm.wire.machines import Isolation

KIND = "private_gateway"  # of turns
CREATING, READY, DELETING = "Creating", "Ready", "Deleting"
VXLAN_MTU, PLAIN_MTU = 1450, 1500


def statement() -> sa.Select[Any]:
    """Living private gateways with the names around them."""
    gateway, vpc, zone = tables.private_gateway, tables.vpc, tables.zone
    acl, physical, network = tables.network_acl_list, tables.physical_network, tables.network
    joined = (
        gateway.join(vpc, vpc.c.id == gateway.c.vpc_id)
        .join(zone, zone.c.id == vpc.c.zone_id)
        .join(acl, acl.c.id == gateway.c.acl_list_id)
        .outerjoin(physical, physical.c.id == gateway.c.physical_network_id)
        .outerjoin(network, network.c.id == gateway.c.network_id)
    )
    return (
        sa.select(
            gateway,
            vpc.c.uuid.label("vpc_uuid"),
            vpc.c.name.label("vpc_name"),
            zone.c.uuid.label("zone_uuid"),
            zone.c.name.label("zone_name"),
            acl.c.uuid.label("acl_list_uuid"),
            acl.c.name.label("acl_list_name"),
            physical.c.uuid.label("physical_network_uuid"),
            network.c.uuid.label("network_uuid"),
            network.c.name.label("network_name"),
            *owned.names(),
        )
        .select_from(owned.joined(joined, gateway))
        .where(gateway.c.removed.is_(None))
    )


def one(tx: Tx, gateway_id: int) -> Row | None:
    """A gateway with the names around it; None when it is no more."""
    return tx.one(statement().where(tables.private_gateway.c.id == gateway_id))


def of_vpc(tx: Tx, vpc_id: int) -> Sequence[Row]:
    """The living ones of a VPC."""
    return tx.rows(tables.private_gateway, "vpc_id = :vpc and removed is null order by id", vpc=vpc_id)


def of_network(tx: Tx, network_id: int) -> Sequence[Row]:
    """The living ones on a guest network."""
    return tx.rows(tables.private_gateway, "network_id = :network and removed is null order by id", network=network_id)


def of_zone(tx: Tx, zone_id: int) -> Sequence[Row]:
    """The living ones of a zone's VPCs, with the names around them."""
    return tx.all(statement().where(tables.vpc.c.zone_id == zone_id).order_by(tables.private_gateway.c.id))


def with_list(tx: Tx, list_id: int) -> Sequence[Row]:
    """The living ones that have this network ACL list."""
    return tx.rows(tables.private_gateway, "acl_list_id = :list and removed is null order by id", list=list_id)


def has(tx: Tx, wire: str, address: bytes) -> bool:
    """Whether a living one has the address on the wire."""
    here = "wire = :wire and address = :address and removed is null"
    return bool(tx.rows(tables.private_gateway, here, wire=wire, address=address))


def tag_in_use(tx: Tx, zone_id: int, isolation: str, tag: int) -> bool:
    """Whether a living one of the zone has the VLAN or VXLAN for itself, as no guest network's."""
    gateway, vpc = tables.private_gateway, tables.vpc
    found = (
        sa.select(gateway.c.id)
        .join(vpc, vpc.c.id == gateway.c.vpc_id)
        .where(gateway.c.isolation == isolation, gateway.c.tag == tag, gateway.c.removed.is_(None))
        .where(gateway.c.network_id.is_(None), vpc.c.zone_id == zone_id)
    )
    return bool(tx.all(found))


def routes_by(tx: Tx, gateway_id: int) -> Sequence[Row]:
    """The living static routes by way of it."""
    return tx.rows(tables.static_route, "private_gateway_id = :gateway and removed is null", gateway=gateway_id)


def mtu_of(tx: Tx, gateway: Row) -> int:
    """What fits into its wire."""
    network = tx.get(tables.network, gateway.network_id) if gateway.network_id is not None else None
    if network is not None:
        return int(network.mtu)
    return VXLAN_MTU if gateway.isolation == Isolation.VXLAN else PLAIN_MTU


# ---------------------------------------------------------------- wishes
def want(tx: Tx, gateway_id: int, outcome: str = "implemented") -> Part:
    """The VPC's router shall have it ("implemented"), or nobody ("gone"); what to wait for."""
    return Part(KIND, gateway_id, turns.wish(tx, KIND, gateway_id), outcome)


def doom(tx: Tx, gateway: Row) -> Part:
    """It shall be no more, nor the routes by way of it."""
    for route in routes_by(tx, gateway.id):
        tx.update(tables.static_route, route.id, removed=tx.now)
    tx.update(tables.private_gateway, gateway.id, state=DELETING)
    return want(tx, gateway.id, "gone")


# ---------------------------------------------------------------- other routers on the same wires
OTHERS = """
select distinct m.id from private_gateway g join private_gateway o on o.wire = g.wire and o.vpc_id <> g.vpc_id
join machine m on m.vpc_id = o.vpc_id
where g.vpc_id = :vpc and g.removed is null and o.removed is null and g.isolation = 'vxlan'
    and m.kind = 'router' and m.wanted = 'running' and m.removed is null order by m.id
"""


def tell_neighbours(tx: Tx, router: Row) -> None:
    """A VPC's router is on another host, or on one more wire: who is on the same VXLANs has to know where it is."""
    if router.vpc_id is None:
        return
    for (machine_id,) in tx.sql(OTHERS, vpc=router.vpc_id):
        machines.wish_document(tx, machine_id)
    networks = {row.network_id for row in of_vpc(tx, router.vpc_id) if row.network_id is not None}
    for network_id in sorted(networks):
        _tell_network(tx, network_id, but=router.id)


ON_NETWORK = """
select distinct m.id from nic n join machine m on m.id = n.machine_id
where n.network_id = :network and n.removed is null and m.wanted = 'running' and m.removed is null order by m.id
"""


def _tell_network(tx: Tx, network_id: int, but: int) -> None:
    network = tx.get(tables.network, network_id)
    if network is None or network.isolation != Isolation.VXLAN:
        return
    for (machine_id,) in tx.sql(ON_NETWORK, network=network_id):
        if machine_id != but:
            machines.wish_document(tx, machine_id)
