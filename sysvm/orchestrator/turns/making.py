"""Making the rows of a new system VM: machine, NICs, addresses. What makes it run is the machine's own turn.

NICs in CloudStack's order. Console proxy and secondary storage VM: control, management, public (default). Router: guest,
control, public (default). In a basic zone what is public there is on the guests' network; routers of shared networks have no
public NIC. A VPC's router: control, public, then one NIC for each tier and private gateway as they come.
"""

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from sysvm.basics.errors import NotYet, Refused, Why
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.turns.ending import about, words_of
from sysvm.store import tables
from sysvm.store.queries import addresses, consoles, events, machines, nics, private_gateways, turns, zones
from sysvm.store.queries.events import SYSTEM, Actor
from sysvm.store.queries.prefixes6 import Outside
from sysvm.store.queries.specs import prefix_of
from sysvm.store.store import Row, Tx
from sysvm.store.tables import unpack_address
from sysvm.wire.machines import Kind, Traffic

INTERNAL_LB_PREFIX, INTERNAL_LB_OFFERING = "b", "Cloud.Com-InternalLBVm"
PREFIX = {Kind.CONSOLE_PROXY: "v", Kind.SECONDARY_STORAGE: "s", Kind.ROUTER: "r"}
OFFERING = {
    Kind.CONSOLE_PROXY: "Cloud.com-ConsoleProxy",
    Kind.SECONDARY_STORAGE: "Cloud.com-SecondaryStorage",
    Kind.ROUTER: "Cloud.Com-SoftwareRouter",
}


@dataclass(frozen=True, slots=True)
class New:
    """What a new system VM is."""

    kind: Kind
    zone: Row
    actor: Actor = SYSTEM
    network: Row | None = None
    role: str = ""
    vpc: Row | None = None  # whose router it is
    redundant: bool = False  # a router of a pair


def make(tx: Tx, context: Context, new: New) -> Row:
    """The machine's row, wanted running. NICs are the caller's to add."""
    offering = _offering(tx, new)
    made = tx.made(
        tables.machine,
        uuid=context.ids.uuid(),
        name="",
        kind=str(new.kind),
        hypervisor=_hypervisor(tx, new.zone),
        zone_id=new.zone.id,
        service_offering_id=offering,
        network_id=new.network.id if new.network is not None else None,
        vpc_id=new.vpc.id if new.vpc is not None else None,
        role=new.role,
        redundant=new.redundant,
        account_id=new.actor.account_id,
        domain_id=new.actor.domain_id,
        domain_path=new.actor.domain_path,
        wanted="running",
        deadline=tx.now + machines.DEADLINE_S,
        created=tx.now,
    )
    prefix = INTERNAL_LB_PREFIX if new.role == machines.INTERNAL_LB else PREFIX[new.kind]
    name = f"{prefix}-{made.id}-VM"
    tx.update(tables.machine, made.id, name=name, hostname=name, display_name=name)
    machine = tx.get(tables.machine, made.id)
    assert machine is not None
    turns.wish(tx, "machine", machine.id)
    events.record(
        tx,
        f"{words_of(machine).event}.CREATE",
        f"creating {words_of(machine).title} {name}",
        actor=new.actor,
        about=about(machine),
    )
    return machine


def _offering(tx: Tx, new: New) -> int:
    if new.role == machines.INTERNAL_LB:
        return _default_offering(tx, INTERNAL_LB_OFFERING)
    if new.network is not None:
        network_offering = tx.get(tables.network_offering, new.network.offering_id)
        if network_offering is not None and network_offering.service_offering_id is not None:
            return int(network_offering.service_offering_id)
    if new.vpc is not None:
        vpc_offering = tx.get(tables.vpc_offering, new.vpc.offering_id)
        if vpc_offering is not None and vpc_offering.service_offering_id is not None:
            return int(vpc_offering.service_offering_id)
    return _default_offering(tx, OFFERING[new.kind])


DEFAULT_OFFERING = "select id from service_offering where unique_name = :name and removed is null"


def _default_offering(tx: Tx, name: str) -> int:
    found = tx.once((DEFAULT_OFFERING, name), lambda: tx.sql(DEFAULT_OFFERING, name=name), tables.service_offering)
    if not found:
        raise NotYet(60, f"the default system offering {name} is missing")
    return int(found[0][0])


# By its clusters: a zone has few, and a cluster is of one hypervisor.
HYPERVISORS = """
select distinct hypervisor from cluster c where zone_id = :zone and removed is null
and exists (select 1 from host h where h.cluster_id = c.id and h.removed is null)
"""


def _hypervisor(tx: Tx, zone: Row) -> str:
    """System VMs run on the hosts of any hypervisor; a simulated zone simulates them too."""
    kinds = {kind for (kind,) in tx.sql(HYPERVISORS, zone=zone.id)}
    return next((kind for kind in ("KVM", "LXC") if kind in kinds), next(iter(sorted(kinds)), "KVM"))


def add_control_nic(tx: Tx, machine: Row, device: int) -> None:
    """Link-local; its address is the host's to give, at placing."""
    nics.add_nic(tx, machine.id, device, Traffic.CONTROL)


def add_management_nic(tx: Tx, machine: Row, device: int) -> None:
    """An address of the pod's range."""
    nic = nics.add_nic(tx, machine.id, device, Traffic.MANAGEMENT)
    taken = addresses.take_private_ip(tx, machine.zone_id, "Management", nic)
    nics.set_primary(tx, nic, taken.address, taken.prefix, taken.gateway)


def add_public_nic(
    tx: Tx, machine: Row, device: int, ip: Row, *, rate_mbit: int = 0, mtu: int = 1500, six: Outside | None = None
) -> None:
    """The default NIC, with an address of a public range, and one of IPv6; `rate_mbit` is for each direction."""
    row = tx.get(tables.ip_range, ip.ip_range_id)
    assert row is not None
    nics.add_nic(
        tx,
        machine.id,
        device,
        Traffic.PUBLIC,
        addresses=(
            (unpack_address(ip.address), prefix_of(row.netmask)),
            *(((six.address, six.prefix),) if six is not None else ()),
        ),
        gateway=row.gateway,
        gateway6=six.gateway if six is not None else "",
        is_default=True,
        public_range_id=row.id,
        rate_mbit=rate_mbit,
        mtu=mtu,
    )


def add_guest_nic(tx: Tx, machine: Row, device: int, network: Row, *, is_gateway: bool, address: str = "") -> None:
    """On a guest network: as its gateway, or by the default NIC with an address of its own and the gateway that is there.

    `address`: one that is kept for it already.
    """
    mac = nics.new_mac(tx)
    address = address or (network.gateway if is_gateway else addresses.take_guest_ip(tx, network))
    held: tuple[tuple[str, int], ...] = ((address, int(network.cidr.rpartition("/")[2])),)
    if network.ip6_cidr:
        address6 = network.ip6_gateway if is_gateway else addresses.take_guest_ip6(tx, network, mac)
        held += ((address6, int(network.ip6_cidr.rpartition("/")[2])),)
    nics.add_nic(
        tx,
        machine.id,
        device,
        Traffic.GUEST,
        network_id=network.id,
        addresses=held,
        gateway="" if is_gateway else network.gateway,
        gateway6="" if is_gateway else network.ip6_gateway,
        is_default=not is_gateway,
        mac=mac,
        mtu=network.mtu,
    )


def add_paired_nics(tx: Tx, machine: Row, network: Row, ip: Row, *, rate_mbit: int) -> None:
    """Of a router in a pair: an address of its own among guests, whose gateway the serving one is."""
    own = (addresses.take_guest_ip(tx, network), int(network.cidr.rpartition("/")[2]))
    nics.add_nic(
        tx, machine.id, 0, Traffic.GUEST, network_id=network.id, addresses=(own,), mtu=network.mtu
    )  # fmt: skip
    add_control_nic(tx, machine, 1)
    add_public_nic(tx, machine, 2, ip, rate_mbit=rate_mbit)


def add_private_nic(tx: Tx, machine: Row, device: int, gateway: Row) -> None:
    """On the wire of a VPC's private gateway, with the address that is asked for."""
    nics.add_nic(
        tx,
        machine.id,
        device,
        Traffic.PRIVATE,
        addresses=((unpack_address(gateway.address), int(gateway.cidr.rpartition("/")[2])),),
        private_gateway_id=gateway.id,
        mtu=private_gateways.mtu_of(tx, gateway),
    )


def make_with_public_address(tx: Tx, context: Context, kind: Kind, zone: Row, role: str = "") -> Row:
    """A console proxy or a secondary storage VM: exactly one public address each; in a basic zone one of the guests' network."""
    machine = make(tx, context, New(kind, zone, role=role))
    add_control_nic(tx, machine, 0)
    add_management_nic(tx, machine, 1)
    if zone.network_type == zones.BASIC:
        add_guest_nic(tx, machine, 2, _guest_network(tx, zone), is_gateway=False)
    else:
        ip = addresses.take_public_ip(tx, zone.id, system=True, actor=SYSTEM, machine_id=machine.id)
        add_public_nic(tx, machine, 2, ip)
    if kind is Kind.CONSOLE_PROXY:
        consoles.tell_neighbours(tx, machine)
    return machine


def _guest_network(tx: Tx, zone: Row) -> Row:
    network = zones.basic_network(tx, zone.id)
    if network is None or not network.cidr:
        raise NotYet(60, f"zone {zone.name} has no guest network with addresses yet")
    return network


async def add_router(context: Context, owner: sa.Table, id_: int, make: Callable[[Tx], object]) -> None:
    """The router of a network or a VPC is made. Without a free public address the zone has an alert, and the turn waits."""
    try:
        await context.together.look(make)
    except Refused as refused:
        if refused.why is not Why.CAPACITY:
            raise
        row = await context.store.read(lambda tx: tx.get(owner, id_))
        assert row is not None
        await context.store.run(lambda tx: addresses.no_public_ip_alert(tx, row.zone_id))
        raise NotYet(30, refused.text) from refused
