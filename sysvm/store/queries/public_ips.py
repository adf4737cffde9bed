"""Public addresses as the API lists them, and what stands on one."""

from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import owned, rules
from sysvm.store.store import Row, Tx

TAKEN = ("Allocated", "Allocating", "Releasing", "Reserved")


def statement() -> sa.Select[Any]:
    """Addresses of living ranges with the names around them; free ones, too."""
    ip, pool, zone = tables.public_ip, tables.ip_range, tables.zone
    physical, network, machine = tables.physical_network, tables.network, tables.machine
    vpc = tables.vpc
    joined = (
        ip.join(pool, pool.c.id == ip.c.ip_range_id)
        .join(zone, zone.c.id == ip.c.zone_id)
        .outerjoin(physical, physical.c.id == pool.c.physical_network_id)
        .outerjoin(network, network.c.id == ip.c.network_id)
        .outerjoin(vpc, vpc.c.id == ip.c.vpc_id)
        .outerjoin(machine, sa.and_(machine.c.id == ip.c.machine_id, ip.c.static_nat.is_(True)))
    )
    return (
        sa.select(
            ip,
            zone.c.uuid.label("zone_uuid"),
            zone.c.name.label("zone_name"),
            pool.c.uuid.label("range_uuid"),
            pool.c.vlan.label("range_vlan"),
            pool.c.traffic.label("range_traffic"),
            pool.c.gateway.label("range_gateway"),
            pool.c.netmask.label("range_netmask"),
            physical.c.uuid.label("physical_network_uuid"),
            network.c.uuid.label("network_uuid"),
            network.c.name.label("network_name"),
            vpc.c.uuid.label("vpc_uuid"),
            vpc.c.name.label("vpc_name"),
            machine.c.uuid.label("machine_uuid"),
            machine.c.hostname.label("machine_name"),
            machine.c.display_name.label("machine_display_name"),
            *owned.names(),
        )
        .select_from(owned.joined(joined, ip, maybe=True))
        .where(pool.c.removed.is_(None))
    )


def one(tx: Tx, public_ip_id: int) -> Row:
    """An address with the names around it."""
    row = tx.one(statement().where(tables.public_ip.c.id == public_ip_id))
    assert row is not None
    return row


def release(tx: Tx, ip: Row) -> None:
    """Nothing stands on the address any more; its job gives it back when the router has dropped it."""
    rules.remove_of_address(tx, ip.id)
    tx.update(
        tables.public_ip,
        ip.id,
        state="Releasing",
        static_nat=False,
        guest_address=None,
        machine_id=None,
        source_nat=False,
    )


def static_nat_of(tx: Tx, machine_id: int, but: int) -> Row | None:
    """Another address with static NAT to the machine."""
    ip = tables.public_ip
    return tx.one(sa.select(ip).where(ip.c.machine_id == machine_id, ip.c.static_nat.is_(True), ip.c.id != but))
