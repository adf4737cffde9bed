"""Private gateways of VPCs: createPrivateGateway, listPrivateGateways, deletePrivateGateway.

A gateway is a NIC of the VPC's router on a VLAN or VXLAN of the operator, on the untagged network of the hosts' uplinks, or on
a guest network (`associatednetworkid`). Administrators make them; whose VPC it is leads routes by way of them and chooses their
network ACL list.

Races: two calls for one address on one wire are told apart by a unique index, those for overlapping networks by the store.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, summarize_address_range
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import private_gateways as answers
from sysvm.api.call import Accepted, Call, Owner, Reply
from sysvm.api.commands.networks.vpc_tiers import usable_list
from sysvm.api.commands.owned import is_admin, is_admins
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows
from sysvm.api.rules import private_gateways as judge
from sysvm.api.rules import ranges
from sysvm.api.rules.private_gateways import Place, Tag
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import (
    acls,
    addresses,
    hosts,
    ip_ranges,
    networks,
    physical_networks,
    private_gateways,
    vpcs,
    vpn_sites,
    vpns,
)
from sysvm.store.store import Row, Tx
from sysvm.store.tables import pack_address, unpack_address

ABOUT = "PrivateGateway"


@dataclass(frozen=True, slots=True)
class Wire:
    """What a gateway is plugged into. `network` is the guest network that it is on, if it is on one."""

    key: str
    isolation: str
    number: int | None
    physical_network_id: int | None
    network: Row | None = None


# ---------------------------------------------------------------- create
@handler("createPrivateGateway")
def create_private_gateway(call: Call) -> Reply:
    """There from when the VPC's router has its NIC."""
    vpc = call.need(tables.vpc, "vpcid")
    if vpc.state == vpcs.DOOMED:
        raise Refused(f"VPC {vpc.name} is being deleted; no private gateway can be added to it")
    if call.get("networkofferingid"):
        raise Refused("Private gateways need no network offering here; leave networkofferingid out", Why.UNAVAILABLE)
    place = judge.place(call["gateway"], call["ipaddress"], call["netmask"])
    judge.apart(place.cidr, _taken(call.tx, vpc))
    wire = _wire(call, vpc)
    _check_address(call.tx, wire, place)
    acl = usable_list(call, "aclid", vpc.id) or acls.default(call.tx, acls.DENY)
    id_ = call.tx.insert(
        tables.private_gateway,
        uuid=call.ids.uuid(),
        vpc_id=vpc.id,
        physical_network_id=wire.physical_network_id,
        network_id=wire.network.id if wire.network is not None else None,
        wire=wire.key,
        isolation=wire.isolation,
        tag=wire.number,
        cidr=place.cidr,
        gateway=place.gateway,
        address=pack_address(place.address),
        source_nat=call.get("sourcenatsupported", False),
        acl_list_id=acl.id,
        created=call.now,
        **Owner(vpc.account_id, vpc.domain_id, vpc.domain_path).columns,
    )
    row = call.tx.get(tables.private_gateway, id_)
    assert row is not None
    text = f"Creating private gateway {place.address} of VPC {vpc.uuid}. Id: {row.uuid}"
    return Accepted((private_gateways.want(call.tx, id_),), call.about(ABOUT, row), text)


def _taken(tx: Tx, vpc: Row) -> list[tuple[str, str]]:
    """What the VPC's router reaches elsewhere already."""
    found = [("VPC's own addresses", vpc.cidr)]
    found += [("network of another private gateway", row.cidr) for row in private_gateways.of_vpc(tx, vpc.id)]
    found += [("destination of a static route", row.cidr) for row in vpcs.routes_of(tx, vpc.id)]
    sites = (cidr for row in vpn_sites.of_vpc(tx, vpc.id) for cidr in row.far_cidrs or ())
    found += [("other side of a VPN connection", cidr) for cidr in sites]
    if (vpn := vpns.of_vpc(tx, vpc.id)) is not None:
        ends = IPv4Address(unpack_address(vpn.first)), IPv4Address(unpack_address(vpn.last))
        found += [("range of VPN clients", str(part)) for part in summarize_address_range(*ends)]
    public = (pool for pool in ip_ranges.operators(tx) if pool.traffic == "Public" and pool.zone_id == vpc.zone_id)
    return found + [("subnet of a public range", str(ip_ranges.subnet(pool))) for pool in public]


def _check_address(tx: Tx, wire: Wire, place: Place) -> None:
    if private_gateways.has(tx, wire.key, pack_address(place.address)):
        raise Refused(f"Private ip address {place.address} is another private gateway's on the same network")
    network = wire.network
    if network is None or not network.cidr:
        return
    if network.cidr != place.cidr:
        raise Refused(f"The private gateway's network {place.cidr} is not {network.cidr}, that of network {network.name}")
    if network.gateway == place.address or addresses.is_guest_address(tx, network, place.address):
        raise Refused(f"The ip address {place.address} is already in use in network {network.name}")


# ---------------------------------------------------------------- on the wire
def _wire(call: Call, vpc: Row) -> Wire:
    given, associated = call.get("vlan"), call.row(tables.network, "associatednetworkid")
    if bool(given) == (associated is not None):
        raise Refused("Specify either vlan or associatednetworkid: what the private gateway is plugged into")
    if associated is not None:
        return _of_network(call, vpc, associated)
    physical = _physical_network(call, vpc)
    tag = judge.tag(given, "vxlan" if "VXLAN" in (physical.isolation_methods or "").upper() else "vlan")
    if tag.number is None:
        return Wire(f"private-{vpc.zone_id}-untagged", tag.isolation, None, physical.id)
    standing = _check_tag(call, vpc, tag)
    if standing is not None:
        return _of_network(call, vpc, standing)
    return Wire(f"private-{vpc.zone_id}-{tag.isolation}-{tag.number}", tag.isolation, tag.number, physical.id)


def _of_network(call: Call, vpc: Row, network: Row) -> Wire:
    given = call.row(tables.physical_network, "physicalnetworkid")
    if network.zone_id != vpc.zone_id:
        raise Refused(f"Network {network.name} is not in the zone of VPC {vpc.name}")
    if network.vpc_id is not None:
        raise Refused(f"Network {network.name} is a network of a VPC; a private gateway can't be on it")
    if network.state == "Destroy":
        raise Refused(f"Network {network.name} is being deleted; no private gateway can be added to it")
    if given is not None and given.id != network.physical_network_id:
        raise Refused(f"Network {network.name} is not on physical network {given.name}")
    return Wire(network.uuid, network.isolation, network.tag, network.physical_network_id, network)


def _physical_network(call: Call, vpc: Row) -> Row:
    """The one that is named, or the zone's that carries guests."""
    named = call.row(tables.physical_network, "physicalnetworkid")
    if named is not None and named.zone_id != vpc.zone_id:
        raise Refused(f"Physical network {named.name} is not in the zone of VPC {vpc.name}")
    found = named or networks.guest_physical_network(call.tx, vpc.zone_id)
    if found is None:
        raise Refused("Unable to find the physical network of the private gateway; give physicalnetworkid")
    if found.state != "Enabled":
        raise Refused(f"Physical network {found.name} is not Enabled")
    return found


def _check_tag(call: Call, vpc: Row, tag: Tag) -> Row | None:
    """The guest network that has the tag, where the caller takes it on himself that both are one network."""
    tx = call.tx
    if tag.isolation == "vlan":
        _check_vlan(tx, vpc, tag)
    bypass = bool(call.get("bypassvlanoverlapcheck"))
    network = tables.network
    mine = (network.c.isolation == tag.isolation, network.c.tag == tag.number, network.c.removed.is_(None))
    standing = tx.one(sa.select(network).where(*mine, network.c.zone_id == vpc.zone_id))
    if standing is not None and not bypass:
        raise Refused(
            f"{tag} is network {standing.name}'s; give its id as associatednetworkid, or bypassvlanoverlapcheck=true",
        )
    if standing is None and not bypass:
        _check_dynamic(tx, vpc, tag)
    return standing


def _check_vlan(tx: Tx, vpc: Row, tag: Tag) -> None:
    for pool in ip_ranges.operators(tx):
        if pool.traffic == "Public" and pool.zone_id == vpc.zone_id and pool.vlan == str(tag.number):
            raise Refused(f"The VLAN {tag.number} is that of the public range {unpack_address(pool.first)}")
    if hosts.can(tx, vpc.zone_id, "vlan") is False:
        raise Refused(
            f"No host of the zone of VPC {vpc.name} can use VLAN {tag.number}: their kernels have no 802.1Q. Load the module"
            " 8021q on them, or use vlan=untagged or vlan=vxlan://NUMBER"
        )


def _check_dynamic(tx: Tx, vpc: Row, tag: Tag) -> None:
    for other in physical_networks.of_zone(tx, vpc.zone_id):
        methods = (other.isolation_methods or "").upper().split(",")
        if tag.isolation.upper() in methods and ranges.in_vnet(str(tag.number), other.vlan or ""):
            raise Refused(
                f"The VLAN tag {tag.number} is already being used for dynamic vlan allocation for the guest networks of"
                f" physical network {other.name} ({other.vlan}); choose another one, or give bypassvlanoverlapcheck=true"
            )


# ---------------------------------------------------------------- results, lists
@result("createPrivateGateway")
def _gateway_result(tx: Tx, job: Row) -> dict[str, Any]:
    row = private_gateways.one(tx, job.instance_id)
    return answers.gateway(row, admin=is_admins(tx, job)) if row is not None else {"id": job.instance_uuid}


@handler("listPrivateGateways")
def list_private_gateways(call: Call) -> Reply:
    """Private gateways of the caller's VPCs."""
    table = tables.private_gateway.c
    statement = private_gateways.statement()
    admin = is_admin(call.caller)
    if call.get("ipaddress"):
        statement = statement.where(table.address == pack_address(ranges.ipv4(call["ipaddress"], "ipaddress")))
    if call.get("vlan"):
        statement = statement.where(*_on(call["vlan"]) if admin else (sa.false(),))

    def shown(_: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
        return [answers.gateway(row, admin=admin) for row in rows]

    return list_rows(
        call,
        statement,
        tables.private_gateway,
        shown,
        equal={"state": table.state},
        refs={"vpcid": (tables.vpc, table.vpc_id)},
        keyword=(table.gateway, table.cidr),
    )


def _on(text: str) -> list[sa.ColumnElement[bool]]:
    table = tables.private_gateway.c
    if text.strip().isdecimal():
        return [table.tag == int(text)]
    tag = judge.tag(text, "vlan")
    return [table.isolation == tag.isolation, table.tag == tag.number if tag.number is not None else table.tag.is_(None)]


# ---------------------------------------------------------------- delete
@handler("deletePrivateGateway")
def delete_private_gateway(call: Call) -> Reply:
    """Gone when the VPC's router has lost its NIC; refused while routes lead by way of it."""
    row = call.need(tables.private_gateway, "id")
    count = len(private_gateways.routes_by(call.tx, row.id))
    if count:
        raise Refused(
            f"Can't delete private gateway {row.uuid} as it has {count} static routes applied. Remove the routes first",
            Why.IN_USE,
        )
    part = private_gateways.doom(call.tx, row)
    return Accepted((part,), call.about(ABOUT, row), f"Deleting private gateway: {row.uuid}")
