"""Ranges of public, guest and storage addresses.

A public address is given out once in the whole cloud, whatever its zone and VLAN; so a range that overlaps another one
is refused wherever that is. Public ranges fill `public_ip` with a row per address.

Races: two calls that add overlapping ranges at once are told apart by the store, which runs one writer at a time (SQLite)
or runs the later one again (PostgreSQL, SERIALIZABLE).
"""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import ip_ranges as answers
from sysvm.api.answers.lists import each
from sysvm.api.call import Accepted, Call, One, Reply, Success
from sysvm.api.commands.infrastructure import public_ranges6, shared_ranges6
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows
from sysvm.api.rules import ranges, ranges6
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import addresses, hosts, ip_ranges, physical_networks, private_gateways, zones
from sysvm.store.store import Row, Tx
from sysvm.store.tables import pack_address, unpack_address


def free_of_others(tx: Tx, span: ranges.Span, traffic: str, zone: Row | None, but: int | None = None) -> None:
    """Refused when the range overlaps what the operator has given to something else. Without a zone it is of all of them."""
    others = [
        ranges.Existing(
            row.traffic,
            row.zone_name or "",
            ip_ranges.subnet(row),
            IPv4Address(unpack_address(row.first)),
            IPv4Address(unpack_address(row.last)),
            row.vlan,
        )
        for row in ip_ranges.operators(tx, but)
    ]
    ranges.refuse_overlap(span, others, traffic=traffic, zone=zone.name if zone is not None else "")


def add_range(call: Call, span: ranges.Span, traffic: str, zone: Row | None, **columns: Any) -> int:
    """A new range's id."""
    return call.tx.insert(
        tables.ip_range,
        uuid=call.ids.uuid(),
        zone_id=zone.id if zone is not None else None,
        traffic=traffic,
        gateway=str(span.gateway),
        netmask=span.netmask,
        first=pack_address(span.first),
        last=pack_address(span.last),
        created=call.now,
        **columns,
    )


def at_span(call: Call, pool: Row, zone: Row, first: str = "startip", last: str = "endip") -> ranges.Span:
    """Gives a range other ends, gateway or netmask, unless that leaves a used address outside."""
    span = ranges.span(
        call.get("gateway") or pool.gateway,
        call.get("netmask") or pool.netmask,
        call.get(first) or unpack_address(pool.first),
        call.get(last) or unpack_address(pool.last),
    )
    free_of_others(call.tx, span, pool.traffic, zone, but=pool.id)
    begin, end = pack_address(span.first), pack_address(span.last)
    if count := ip_ranges.outside(call.tx, pool, begin, end):
        raise Refused(f"{count} addresses of the range are in use and would be outside of {span}", Why.IN_USE)
    moved = (str(span.gateway), span.netmask) != (pool.gateway, pool.netmask)
    if moved and ip_ranges.used(call.tx, pool):
        raise Refused("Gateway and netmask can't change while addresses of the range are in use", Why.IN_USE)
    call.tx.update(tables.ip_range, pool.id, first=begin, last=end, gateway=str(span.gateway), netmask=span.netmask)
    return span


def _row(tx: Tx, range_id: int) -> Row:
    row = tx.one(ip_ranges.listing().where(tables.ip_range.c.id == range_id))
    assert row is not None
    return row


def _answer(call: Call, range_id: int, what: str) -> One:
    row = _row(call.tx, range_id)
    return One(answers.vlan_range(row), call.about("VlanIpRange", row), what)


def _zone_of(tx: Tx, pool: Row) -> Row:
    zone = tx.get(tables.zone, pool.zone_id)
    assert zone is not None
    return zone


# ---------------------------------------------------------------- public and shared guest ranges
@handler("createVlanIpRange")
def create_vlan_ip_range(call: Call) -> Reply:
    """A public range (forvirtualnetwork=true), or one of a shared network."""
    network = call.row(tables.network, "networkid")
    if network is None and (zone := _basic_zone(call)) is not None:
        if ranges6.is_given(call.params):
            raise Refused("IPv6 is for shared networks of Advanced zones; give startip, endip, gateway and netmask of IPv4")
        if call.get("forvirtualnetwork"):
            raise Refused("Basic zones have no public ranges; give forvirtualnetwork=false for one of their guests' network")
        return _create_shared(call, zones.basic_network(call.tx, zone.id))
    public = call.get("forvirtualnetwork", network is None)
    if public and network is not None:
        raise Refused("A public range (forvirtualnetwork=true) belongs to no network; leave networkid out")
    return _create_public(call) if public else _create_shared(call, network)


def _basic_zone(call: Call) -> Row | None:
    """The basic zone that a call is about, if it is one."""
    pod, zone = call.row(tables.pod, "podid"), call.row(tables.zone, "zoneid")
    physical = call.row(tables.physical_network, "physicalnetworkid")
    id_ = next((row.zone_id for row in (pod, physical) if row is not None), zone.id if zone is not None else None)
    found = call.tx.get(tables.zone, id_) if id_ is not None else None
    return found if found is not None and found.network_type == zones.BASIC else None


def _create_public(call: Call) -> Reply:
    physical = _physical_network(call)
    zone = call.tx.get(tables.zone, physical.zone_id)
    assert zone is not None
    vlan = ranges.vlan(call.get("vlan"))
    _check_vlan(call.tx, zone, physical, vlan)
    six = public_ranges6.columns(call)
    if six and not any(call.get(name) for name in ("gateway", "netmask", "startip", "endip")):
        range_id = public_ranges6.add(call, six, zone_id=zone.id, physical_network_id=physical.id, vlan=vlan)
        zones.changed(call.tx, zone.id)
        return _answer(call, range_id, f"Created public ip range {six['ip6_cidr']} in zone {zone.name}")
    for needed in ("gateway", "netmask", "startip"):
        if not call.get(needed):
            raise Refused(f"Please give {needed}: a public range has gateway, netmask, startip and endip")
    span = ranges.span(call["gateway"], call["netmask"], call["startip"], call.get("endip"))
    free_of_others(call.tx, span, "Public", zone)
    for gateway in private_gateways.of_zone(call.tx, zone.id):
        if span.subnet.overlaps(IPv4Network(gateway.cidr)):
            raise Refused(f"The subnet {span.subnet} overlaps {gateway.cidr}, a private gateway's of VPC {gateway.vpc_name}")
    account, domain_id = _dedicated(call)
    reserved = bool(call.get("forsystemvms"))
    if reserved and domain_id is not None:
        raise Refused("A range can be reserved for system VMs or dedicated to an account, not both")
    range_id = add_range(
        call, span, "Public", zone, vlan=vlan, physical_network_id=physical.id, for_system_vms=reserved,
        account_id=account.id if account is not None else None, domain_id=domain_id, **six,
    )  # fmt: skip
    addresses.fill_public_range(call.tx, range_id)
    zones.changed(call.tx, zone.id)
    return _answer(call, range_id, f"Created public ip range {span} in zone {zone.name}")


def _dedicated(call: Call) -> tuple[Row | None, int | None]:
    project = call.row(tables.project, "projectid")
    account = call.tx.get(tables.account, project.project_account_id) if project is not None else call.named_account()
    if account is not None:
        return account, account.domain_id
    domain = call.row(tables.domain, "domainid")
    return None, domain.id if domain is not None else None


def _physical_network(call: Call) -> Row:
    """The physical network of a public range: the one named, or the only one of the zone that carries Public."""
    zone, named = call.row(tables.zone, "zoneid"), call.row(tables.physical_network, "physicalnetworkid")
    if zone is None and named is None:
        raise Refused("Please give zoneid, or physicalnetworkid")
    zone_id = zone.id if zone is not None else named.zone_id  # type: ignore[union-attr]
    carrying = physical_networks.carrying(call.tx, zone_id, "Public")
    if named is not None:
        carrying = [network for network in carrying if network.id == named.id]
    if not carrying:
        raise Refused("No physical network with traffic type Public; use addTrafficType(traffictype=Public) first")
    if len(carrying) > 1:
        raise Refused("Several physical networks of this zone carry Public traffic; give physicalnetworkid")
    return carrying[0]


def _check_vlan(tx: Tx, zone: Row, physical: Row, vlan: str) -> None:
    if vlan == ranges.UNTAGGED:
        return
    for other in physical_networks.of_zone(tx, zone.id):
        if "VLAN" in other.isolation_methods.upper().split(",") and ranges.in_vnet(vlan, other.vlan):
            raise Refused(
                f"The VLAN tag {vlan} is already being used for dynamic vlan allocation for the guest network in zone "
                f"{zone.name} (physical network {other.name}: {other.vlan})"
            )
    if private_gateways.tag_in_use(tx, zone.id, "vlan", int(vlan)):
        raise Refused(f"The VLAN tag {vlan} is a private gateway's in zone {zone.name}; public addresses must not share it")
    if hosts.can(tx, zone.id, "vlan") is False:
        raise Refused(
            f"No host of zone {zone.name} can use VLAN {vlan}: their kernels have no 802.1Q. Load the module 8021q on them, "
            "or use vlan=untagged"
        )


def _create_shared(call: Call, network: Row | None) -> Reply:
    if network is None:
        raise Refused("Please give networkid: a range that is not public belongs to a shared network")
    if network.guest_type != "Shared":
        raise Refused(f"The network {network.name} is {network.guest_type}; only Shared networks have ranges")
    zone = call.tx.get(tables.zone, network.zone_id)
    assert zone is not None
    span6 = ranges6.span(call.params)
    if span6 is not None and not call.get("startip") and network.cidr:
        return _create_shared6(call, network, span6)
    present = [pool for pool in ip_ranges.of_network(call.tx, network.id) if pool.first is not None]
    gateway = call.get("gateway") or network.gateway or (present[0].gateway if present else "")
    netmask = call.get("netmask") or (present[0].netmask if present else "")
    if not gateway or not netmask or not call.get("startip"):
        raise Refused("Please give gateway, netmask, startip and endip")
    span = ranges.span(gateway, netmask, call["startip"], call.get("endip"))
    for other in present:
        first, last = unpack_address(other.first), unpack_address(other.last)
        if span.first <= IPv4Address(last) and IPv4Address(first) <= span.last:
            raise Refused(f"The range {span} overlaps the range {first}-{last} of this network")
        if ip_ranges.subnet(other) != span.subnet:
            raise Refused(f"The ranges of network {network.name} are of subnet {ip_ranges.subnet(other)}, not {span.subnet}")
    vlan = ranges.vlan(call.get("vlan") or (str(network.tag) if network.tag and network.isolation == "vlan" else None))
    range_id = add_range(
        call, span, "Guest", zone, vlan=vlan, network_id=network.id, physical_network_id=network.physical_network_id,
        **(shared_ranges6.columns(call.tx, network, span6) if span6 is not None else {}),
    )  # fmt: skip
    if not network.cidr:
        call.tx.update(tables.network, network.id, cidr=str(span.subnet), gateway=str(span.gateway))
        zones.changed(call.tx, zone.id)
    if span6 is not None:
        shared_ranges6.join(call.tx, network, span6)
    return _answer(call, range_id, f"Created ip range {span} for network {network.name}")


def _create_shared6(call: Call, network: Row, span: ranges6.Span6) -> Reply:
    """A range of IPv6 alone, for a network that has addresses of IPv4."""
    columns = shared_ranges6.columns(call.tx, network, span)
    (first,) = ip_ranges.of_network(call.tx, network.id)[:1]
    range_id = call.tx.insert(
        tables.ip_range,
        uuid=call.ids.uuid(),
        zone_id=network.zone_id,
        physical_network_id=network.physical_network_id,
        network_id=network.id,
        traffic="Guest",
        vlan=first.vlan,
        created=call.now,
        **columns,
    )
    shared_ranges6.join(call.tx, network, span)
    return _answer(call, range_id, f"Created ip range {span} for network {network.name}")


@handler("listVlanIpRanges")
def list_vlan_ip_ranges(call: Call) -> Reply:
    """Public ranges and those of shared networks."""
    pool = tables.ip_range
    statement = ip_ranges.listing().where(pool.c.traffic.in_(("Public", "Guest")))
    if "forvirtualnetwork" in call:
        statement = statement.where(pool.c.traffic == ("Public" if call["forvirtualnetwork"] else "Guest"))
    if call.get("vlan"):
        statement = statement.where(pool.c.vlan == ranges.vlan(call["vlan"]))
    account = call.named_account()
    if account is not None:
        statement = statement.where(pool.c.account_id == account.id)
    elif (domain := call.row(tables.domain, "domainid")) is not None:
        statement = statement.where(pool.c.domain_id == domain.id)
    refs: dict[str, tuple[sa.Table, sa.ColumnElement[Any]]] = {
        "zoneid": (tables.zone, pool.c.zone_id),
        "podid": (tables.pod, pool.c.pod_id),
        "networkid": (tables.network, pool.c.network_id),
        "physicalnetworkid": (tables.physical_network, pool.c.physical_network_id),
    }
    return list_rows(call, statement, pool, each(answers.vlan_range), refs=refs, keyword=(pool.c.vlan, pool.c.gateway))


@handler("updateVlanIpRange")
def update_vlan_ip_range(call: Call) -> Reply:
    """Moves the ends of a range, or reserves it for system VMs."""
    pool = _vlan_range(call)
    if ranges6.is_given(call.params):
        raise Refused("IPv6 ranges can't be changed; delete the range and create another one")
    zone = _zone_of(call.tx, pool)
    if any(call.get(name) for name in ("startip", "endip", "gateway", "netmask")):
        if pool.first is None:
            raise Refused("A range of IPv6 has no addresses of IPv4; create another range for them")
        if pool.traffic == "Guest":
            raise Refused("Ranges of shared networks can't be changed; delete the range and create another one")
        span = at_span(call, pool, zone)
        if pool.traffic == "Public":
            _refill(call, pool, span)
    if "forsystemvms" in call:
        if call["forsystemvms"] and pool.domain_id is not None:
            raise Refused("A range can be reserved for system VMs or dedicated to an account, not both")
        call.tx.update(tables.ip_range, pool.id, for_system_vms=call["forsystemvms"])
    zones.changed(call.tx, pool.zone_id)
    return _answer(call, pool.id, f"Changed ip range of zone {zone.name}")


def _refill(call: Call, pool: Row, span: ranges.Span) -> None:
    """Rows for new addresses, none for those outside; used ones are inside."""
    ip = tables.public_ip
    first, last = pack_address(span.first), pack_address(span.last)
    outside = sa.or_(ip.c.address < first, ip.c.address > last)
    call.tx.change(sa.delete(ip).where(ip.c.ip_range_id == pool.id, outside))
    for address in ip_ranges.missing(call.tx, pool.id, first, last):
        call.tx.insert(ip, uuid=call.ids.uuid(), zone_id=pool.zone_id, ip_range_id=pool.id, address=address, created=call.now)


def _vlan_range(call: Call) -> Row:
    pool = call.need(tables.ip_range, "id")
    if pool.traffic not in ("Public", "Guest"):
        raise Refused(f"This is a {pool.traffic.lower()} range; it has commands of its own")
    return pool


@handler("deleteVlanIpRange")
def delete_vlan_ip_range(call: Call) -> Reply:
    """Removes a range none of whose addresses is in use."""
    pool = _vlan_range(call)
    if count := ip_ranges.used(call.tx, pool):
        raise Refused(
            f"The range can't be deleted: {count} of its addresses are in use. Release them first (disassociateIpAddress, "
            "deleteNetwork; system VMs give theirs back when their zone is disabled)",
            Why.IN_USE,
        )
    ip_ranges.remove(call.tx, pool)
    if pool.first6 is not None and pool.network_id is not None:
        shared_ranges6.leave(call.tx, pool.network_id)
    zones.changed(call.tx, pool.zone_id)
    first, last = (pool.first, pool.last) if pool.first is not None else (pool.first6, pool.last6)
    shown = f"{unpack_address(first)}-{unpack_address(last)}"
    return Success(about=call.about("VlanIpRange", pool), description=f"Deleted ip range {shown}")


@handler("dedicatePublicIpRange")
def dedicate_public_ip_range(call: Call) -> Reply:
    """Gives a public range to an account or domain."""
    pool = _vlan_range(call)
    if pool.traffic != "Public" or pool.for_system_vms:
        raise Refused("Only public ranges that are not reserved for system VMs can be dedicated")
    if pool.domain_id is not None:
        raise Refused("The range is dedicated already; use releasePublicIpRange first")
    account, domain_id = _dedicated(call)
    ip = tables.public_ip
    strangers = sa.select(sa.func.count()).select_from(ip).where(ip.c.ip_range_id == pool.id, ip.c.state != "Free")
    if account is not None:
        strangers = strangers.where(ip.c.account_id != account.id)
    if count := call.tx.value(strangers):
        raise Refused(f"{count} addresses of the range are used by others", Why.IN_USE)
    call.tx.update(tables.ip_range, pool.id, account_id=account.id if account is not None else None, domain_id=domain_id)
    return _answer(call, pool.id, "Dedicated a public ip range")


@handler("releasePublicIpRange")
def release_public_ip_range(call: Call) -> Reply:
    """Gives a dedicated range back to everybody."""
    pool = _vlan_range(call)
    if pool.domain_id is None:
        raise Refused("The range is not dedicated to anybody")
    call.tx.update(tables.ip_range, pool.id, account_id=None, domain_id=None)
    return Success(about=call.about("VlanIpRange", pool), description="Released a dedicated public ip range")


# ---------------------------------------------------------------- storage ranges
@handler("createStorageNetworkIpRange")
def create_storage_range(call: Call) -> Reply:
    """A range of the storage network, from which secondary storage VMs get an address."""
    pod = call.need(tables.pod, "podid")
    zone = call.tx.get(tables.zone, pod.zone_id)
    assert zone is not None
    if not zones.has_traffic(call.tx, zone.id, "Storage"):
        raise Refused("No physical network of this zone carries Storage traffic; use addTrafficType(traffictype=Storage)")
    span = ranges.span(call["gateway"], call["netmask"], call["startip"], call.get("endip"))
    free_of_others(call.tx, span, "Storage", zone)
    vlan = ranges.vlan(str(call["vlan"]) if call.get("vlan") else None)
    range_id = add_range(call, span, "Storage", zone, pod_id=pod.id, vlan=vlan)
    zones.changed(call.tx, zone.id)
    row = _row(call.tx, range_id)
    return Accepted((), call.about("StorageNetworkIpRange", row), f"Creating storage ip range {span}")


@result("createStorageNetworkIpRange", "updateStorageNetworkIpRange")
def _storage_result(tx: Tx, job: Row) -> dict[str, Any]:
    return answers.storage_range(_row(tx, job.instance_id))


@handler("listStorageNetworkIpRange")
def list_storage_ranges(call: Call) -> Reply:
    """Storage ranges."""
    pool = tables.ip_range
    statement = ip_ranges.listing().where(pool.c.traffic == "Storage")
    refs = {"zoneid": (tables.zone, pool.c.zone_id), "podid": (tables.pod, pool.c.pod_id)}
    return list_rows(call, statement, pool, each(answers.storage_range), refs=refs, keyword=(pool.c.gateway,))


def _storage_range(call: Call) -> Row:
    pool = call.need(tables.ip_range, "id")
    if pool.traffic != "Storage":
        raise Refused("This is no range of a storage network")
    return pool


@handler("updateStorageNetworkIpRange")
def update_storage_range(call: Call) -> Reply:
    """Moves the ends of a storage range, or its VLAN."""
    pool = _storage_range(call)
    zone = _zone_of(call.tx, pool)
    at_span(call, pool, zone)
    if call.get("vlan"):
        call.tx.update(tables.ip_range, pool.id, vlan=ranges.vlan(str(call["vlan"])))
    zones.changed(call.tx, zone.id)
    return Accepted((), call.about("StorageNetworkIpRange", pool), "Changing a storage ip range")


@handler("deleteStorageNetworkIpRange")
def delete_storage_range(call: Call) -> Reply:
    """Removes a storage range none of whose addresses is in use."""
    pool = _storage_range(call)
    if count := ip_ranges.used(call.tx, pool):
        raise Refused(f"The range is in use: {count} of its addresses belong to secondary storage VMs", Why.IN_USE)
    ip_ranges.remove(call.tx, pool)
    zones.changed(call.tx, pool.zone_id)
    return Accepted((), call.about("StorageNetworkIpRange", pool), "Deleting a storage ip range")
