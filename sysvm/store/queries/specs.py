"""From rows to the MachineSpec of a placement: what one host shall run."""

import ipaddress
from functools import lru_cache

import sqlalchemy as sa

from sysvm.basics.errors import NotYet
from sysvm.store import tables
from sysvm.store.queries import addresses, nics, private_gateways, security_groups, volumes, zones
from sysvm.store.queries.image_stores import directories, directory
from sysvm.store.queries.machines import INTERNAL_LB
from sysvm.store.queries.nics import NicRow
from sysvm.store.store import Row, Tx
from sysvm.store.tables import unpack_address
from sysvm.wire.machines import (
    Disk,
    DiskLimits,
    ImageStoreMount,
    Iso,
    Isolation,
    Kind,
    MachineSpec,
    Nic,
    Runtime,
    Segment,
    Traffic,
)

CONTROL_GATEWAY = "169.254.0.1/16"
DEFAULT_MEMORY_MB = {Kind.CONSOLE_PROXY: 1024, Kind.SECONDARY_STORAGE: 512, Kind.ROUTER: 512, Kind.GUEST: 128}


def spec_of(tx: Tx, machine: Row, placement: Row, state_key: str) -> MachineSpec:
    """What the placement's host shall run. Raises NotYet when something it needs is not there yet."""
    host = tx.get(tables.host, placement.host_id)
    assert host is not None
    kind = Kind(machine.kind)
    offering = tx.get(tables.service_offering, machine.service_offering_id)
    assert offering is not None
    runtime = Runtime(machine.runtime)
    return MachineSpec(
        machine=machine.uuid,
        incarnation=placement.incarnation,
        name=machine.name,
        kind=kind,
        runtime=runtime,
        hostname=machine.hostname or machine.name,
        cpus=machine.cpus or offering.cpus or 1,
        cpu_mhz=machine.cpu_mhz or offering.cpu_mhz or 500,
        cpu_limited=bool(offering.limit_cpu_use),
        memory_mb=machine.memory_mb or offering.memory_mb or DEFAULT_MEMORY_MB[kind],
        template=machine.template_version,
        disks=disks_of(tx, machine, runtime),
        nics=tuple(_nic(tx, machine, nic, host) for nic in nics.of_machine(tx, machine.id)),
        iso=_iso(tx, machine, host),
        boot_from_iso=kind is Kind.GUEST and machine.iso_id is not None and machine.iso_id == machine.template_id,
        stores=stores_of(tx, machine.zone_id) if kind is Kind.SECONDARY_STORAGE else (),
        state_key=state_key,
        paired=kind is Kind.ROUTER and bool(machine.redundant),
    )


def disks_of(tx: Tx, machine: Row, runtime: Runtime) -> tuple[Disk, ...]:
    """The machine's volumes by device; guests have some."""
    if machine.kind != Kind.GUEST:
        return ()
    rows = tx.rows(
        tables.volume,
        f"machine_id = :machine and removed is null and not {volumes.RESTORING} order by device, id",
        machine=machine.id,
    )
    return tuple(_disk(tx, row, machine, runtime) for row in rows)


def _disk(tx: Tx, row: Row, machine: Row, runtime: Runtime) -> Disk:
    pool = tx.get(tables.storage_pool, row.pool_id) if row.pool_id is not None else None
    if pool is None:
        raise NotYet(10, f"volume {row.name} has no primary storage yet")
    template = tx.get(tables.template, row.template_id) if row.template_id is not None else None
    return Disk(
        volume=row.uuid,
        pool=pool.path,
        size=row.size_bytes,
        format="dir" if runtime is Runtime.CONTAINER else "qcow2",
        template=template.sha256 or None if template is not None else None,
        device=row.device or 0,
        limits=_limits(tx, row, machine) if runtime is not Runtime.CONTAINER else None,
    )


# Parameter of an offering -> what hosts are told.
_LIMITS = {
    f"{unit}{way}rate{tail}": f"{way}_{unit}{told}"
    for unit in ("bytes", "iops")
    for way in ("read", "write")
    for tail, told in (("", ""), ("max", "_peak"), ("maxlength", "_seconds"))
}


def _limits(tx: Tx, volume: Row, machine: Row) -> DiskLimits | None:
    """Those of its disk offering; of a root volume without one, the machine's."""
    own = volume.disk_offering_id
    row = (tables.disk_offering, own) if own is not None else (tables.service_offering, machine.service_offering_id)
    offering = tx.get(*row)
    found = offering.disk_limits if offering is not None and (own is not None or volume.type == "ROOT") else None
    return DiskLimits(**{_LIMITS[name]: value for name, value in found.items()}) if found else None


def _iso(tx: Tx, machine: Row, host: Row) -> Iso | None:
    if machine.iso_id is None:
        return None
    image, pool = tables.pool_image, tables.storage_pool
    row = tx.one(
        sa.select(image.c.sha256, pool.c.path)
        .join(pool, pool.c.id == image.c.pool_id)
        .where(image.c.template_id == machine.iso_id, image.c.host_id == host.id, image.c.state == "ready")
    )
    return Iso(pool=row.path, image=row.sha256) if row is not None else None


def stores_of(tx: Tx, zone_id: int) -> tuple[ImageStoreMount, ...]:
    """The directories that a secondary storage VM of the zone is handed."""
    table = tables.image_store
    here = (table.c.zone_id == zone_id, table.c.removed.is_(None), directories())
    rows = tx.all(sa.select(table).where(*here).order_by(table.c.id))
    return tuple(ImageStoreMount(store=row.uuid, path=directory(row)) for row in rows)


def _nic(tx: Tx, machine: Row, nic: NicRow, host: Row) -> Nic:
    router = machine.kind == Kind.ROUTER
    shown = tuple(f"{address.text}/{address.prefix}" for address in nic.addresses if address.is_primary)
    allowed = tuple(address.text for address in nic.addresses if not address.is_primary)
    if router and nic.traffic == Traffic.PUBLIC:
        allowed += tuple(address for address, _ in public_addresses(tx, machine))
    paired = router and bool(machine.redundant)
    if paired and nic.traffic == Traffic.GUEST:
        network = tx.get(tables.network, machine.network_id)
        allowed += (network.gateway,) if network is not None else ()
    # What one of a pair has it takes when it serves, and not when it boots.
    shared = paired and nic.traffic == Traffic.PUBLIC
    return Nic(
        device=nic.device,
        mac=nic.mac,
        segment=segment_of(tx, nic, host),
        addresses=() if shared else shown,
        gateway=None if shared else nic.gateway or None,
        gateway6=None if shared else nic.gateway6 or None,
        default=nic.is_default,
        mtu=nic.mtu,
        rate_mbit=nic.rate_mbit,
        is_router=router and machine.role != INTERNAL_LB and nic.traffic != Traffic.CONTROL,
        allowed=tuple(dict.fromkeys(allowed)),
        filtered=machine.kind == Kind.GUEST and security_groups.is_filtered(tx, nic.network_id),
    )


def public_addresses(tx: Tx, machine: Row) -> list[tuple[str, int]]:
    """The public addresses of a router's network or VPC with their prefixes, source NAT first."""
    if machine.vpc_id is not None:
        held = addresses.of_vpc(tx, machine.vpc_id)
    else:
        held = addresses.of_network(tx, machine.network_id) if machine.network_id is not None else ()
    taken = sorted((row for row in held if row.state == "Allocated"), key=lambda row: (not row.source_nat, row.address))
    return [(unpack_address(row.address), _prefix_of(tx, row.ip_range_id)) for row in taken]


def _prefix_of(tx: Tx, range_id: int) -> int:
    row = tx.get(tables.ip_range, range_id)
    assert row is not None
    return prefix_of(row.netmask)


@lru_cache(maxsize=256)
def prefix_of(netmask: str) -> int:
    """24 of 255.255.255.0."""
    return ipaddress.ip_network(f"0.0.0.0/{netmask or '255.255.255.0'}").prefixlen


def management_address(tx: Tx, host: Row) -> str | None:
    """The host's own address/prefix on the management network: its address if it lies in its pod's, else none."""
    pod = tx.get(tables.pod, host.pod_id)
    if pod is None or not pod.gateway:
        return None
    net = ipaddress.ip_network(f"{pod.gateway}/{pod.netmask}", strict=False)
    own = host.management_address or host.address
    try:
        inside = ipaddress.ip_address(own) in net
    except ValueError:
        inside = False
    return f"{own if inside else pod.gateway}/{net.prefixlen}"


def segment_of(tx: Tx, nic: NicRow, host: Row) -> Segment:
    """The bridge that a NIC is plugged into."""
    match nic.traffic:
        case Traffic.CONTROL:
            return control_segment()
        case Traffic.MANAGEMENT | Traffic.STORAGE:
            return management_segment(tx, host)
        case Traffic.PUBLIC:
            return public_segment(tx, nic.public_range_id)
        case Traffic.PRIVATE:
            return private_segment(tx, nic.private_gateway_id, host)
        case _:
            return guest_segment(tx, nic.network_id, host)


def control_segment() -> Segment:
    """Link-local, between a host and its own system VMs."""
    return Segment(key="control", traffic=Traffic.CONTROL, gateway=CONTROL_GATEWAY)


def management_segment(tx: Tx, host: Row) -> Segment:
    """Between hosts, system VMs and operators."""
    return Segment(key="management", traffic=Traffic.MANAGEMENT, gateway=management_address(tx, host))


def public_segment(tx: Tx, range_id: int | None) -> Segment:
    """The network of a public range; ranges of one VLAN share it."""
    row = tx.get(tables.ip_range, range_id) if range_id is not None else None
    vlan = (row.vlan if row is not None else "").removeprefix("vlan://")
    tag = int(vlan) if vlan.isdigit() else None
    isolation = Isolation.VLAN if tag is not None else Isolation.NONE
    return Segment(key=f"public-{vlan or 'untagged'}", traffic=Traffic.PUBLIC, isolation=isolation, tag=tag)


def guest_segment(tx: Tx, network_id: int | None, host: Row) -> Segment:
    """A guest network on one host, with the other hosts that carry it."""
    network = tx.get(tables.network, network_id) if network_id is not None else None
    if network is None:
        raise NotYet(10, "a NIC has no network")
    isolation = Isolation(network.isolation)
    peers = _carriers(tx, CARRIERS, network.id, host.id) if isolation is Isolation.VXLAN else ()
    return Segment(
        key=network.uuid,
        traffic=Traffic.GUEST,
        isolation=isolation,
        tag=network.tag,
        mtu=network.mtu,
        peers=peers,
        outside=_is_basic(tx, network.zone_id),
    )


def private_segment(tx: Tx, gateway_id: int | None, host: Row) -> Segment:
    """What a private gateway is plugged into: a guest network, a VLAN or VXLAN of the operator, or the untagged network."""
    gateway = tx.get(tables.private_gateway, gateway_id) if gateway_id is not None else None
    if gateway is None:
        raise NotYet(10, "a NIC has no private gateway")
    if gateway.network_id is not None:
        return guest_segment(tx, gateway.network_id, host)
    isolation = Isolation(gateway.isolation)
    if isolation is Isolation.NONE:
        return Segment(key="public-untagged", traffic=Traffic.PUBLIC)
    return Segment(
        key=gateway.wire,
        traffic=Traffic.GUEST,
        isolation=isolation,
        tag=gateway.tag,
        mtu=private_gateways.mtu_of(tx, gateway),
        peers=_carriers(tx, ON_WIRE, gateway.wire, host.id) if isolation is Isolation.VXLAN else (),
    )


def _is_basic(tx: Tx, zone_id: int) -> bool:
    zone = tx.get(tables.zone, zone_id)
    return zone is not None and zone.network_type == zones.BASIC


CARRIERS = """
select distinct p.host_id from nic n join placement p on p.machine_id = n.machine_id
where n.network_id = :of and n.removed is null and p.removed is null and p.host_id <> :host
union
select p.host_id from private_gateway g join nic n on n.private_gateway_id = g.id
join placement p on p.machine_id = n.machine_id
where g.network_id = :of and n.removed is null and p.removed is null and p.host_id <> :host
"""
ON_WIRE = """
select distinct p.host_id from private_gateway g join nic n on n.private_gateway_id = g.id
join placement p on p.machine_id = n.machine_id
where g.wire = :of and n.removed is null and p.removed is null and p.host_id <> :host
"""


def _carriers(tx: Tx, statement: str, of: int | str, host_id: int) -> tuple[str, ...]:
    """Underlay addresses of the other hosts where a network or a wire has a machine."""
    ids = [id_ for (id_,) in tx.sql(statement, of=of, host=host_id)]
    hosts = [row for row in (tx.get(tables.host, id_) for id_ in ids) if row is not None and row.removed is None]
    return tuple(sorted({(row.facts or {}).get("underlay") or row.address for row in hosts}))
