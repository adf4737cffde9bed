"""Public addresses, portable ones among them: list, associate, disassociate, reserve.

An address that is given up stays "Releasing" until the router has dropped it, so that nobody else gets it too early. The
source NAT address of a network is taken when its router is made, and goes with the network.
"""

from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import public_ips as answers
from sysvm.api.call import Accepted, Call, One, Owner, Reply, Rows, Success
from sysvm.api.commands.networks import vpc_tiers
from sysvm.api.commands.networks.networks import usable_network
from sysvm.api.commands.owned import is_admin, is_admins
from sysvm.api.handlers import handler, result
from sysvm.api.listing import contains, fetch, tags_of, visible
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import addresses, limits, machines, networks, portable_ips, public_ips, vpcs
from sysvm.store.queries.events import Actor
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx

ABOUT = "IpAddress"
TAGGED = "PublicIpAddress"


def the_address(call: Call, name: str, *, network: bool = True) -> Row:
    """The allocated address that a parameter names; with a network behind it unless said otherwise."""
    row = call.need(tables.public_ip, name)
    if row.state != "Allocated" or row.system:
        raise Refused(f"Unable to use ip address {tables.unpack_address(row.address)}: it is {row.state}, not allocated")
    if network and row.vpc_id is not None:
        return vpc_tiers.serve_tier(call, row)
    if network and row.network_id is None:
        raise Refused("Unable to create the rule; the ip address is not associated with any network")
    return row


def answer(tx: Tx, public_ip_id: int, *, admin: bool) -> dict[str, Any]:
    """One address with its tags."""
    found = answers.public_ip(public_ips.one(tx, public_ip_id), admin=admin)
    return {**found, "tags": tags_of(tx, TAGGED, [public_ip_id]).get(public_ip_id, [])}


# ---------------------------------------------------------------- list
@handler("listPublicIpAddresses")
def list_public_ip_addresses(call: Call) -> Reply:
    """Allocated addresses that the caller may see; administrators see free ones with allocatedonly=false."""
    ip = tables.public_ip.c
    admin = is_admin(call.caller)
    statement = public_ips.statement().where(*_seen(call, admin), *_filters(call), *_yes_or_no(call))
    rows, count = fetch(call, statement.order_by(ip.ip_range_id, ip.address))
    tags = tags_of(call.tx, TAGGED, [row.id for row in rows])
    return Rows([{**answers.public_ip(row, admin=admin), "tags": tags.get(row.id, [])} for row in rows], count)


def _seen(call: Call, admin: bool) -> list[sa.ColumnElement[bool]]:
    ip = tables.public_ip.c
    state = (call.get("state") or "").capitalize()
    if call.get("allocatedonly", True) and state != "Free":
        found = [ip.state == state] if state else [ip.state.in_(public_ips.TAKEN)]
        return [*found, *visible(call, tables.public_ip)]
    if not admin:
        raise Refused("Free public addresses are shown to administrators only", Why.NOT_ALLOWED)
    return [ip.state == state] if state else []


def _filters(call: Call) -> list[sa.ColumnElement[bool]]:
    ip = tables.public_ip.c
    found: list[sa.ColumnElement[bool]] = []
    if call.get("id"):
        found.append(ip.id == call.need(tables.public_ip, "id").id)
    if call.get("associatednetworkid"):
        found.append(ip.network_id == usable_network(call, call["associatednetworkid"], "associatednetworkid").id)
    for name, table, column in (
        ("zoneid", tables.zone, ip.zone_id),
        ("vlanid", tables.ip_range, ip.ip_range_id),
        ("physicalnetworkid", tables.physical_network, tables.ip_range.c.physical_network_id),
        ("vpcid", tables.vpc, ip.vpc_id),
    ):
        if (of := call.row(table, name)) is not None:
            found.append(column == of.id)
    if call.get("ipaddress"):
        found.append(ip.address == _packed(call["ipaddress"]))
    if word := call.get("keyword"):
        found.append(contains(tables.network.c.name, word))
    return found


def _packed(text: str) -> bytes:
    try:
        return tables.pack_address(text.strip())
    except ValueError:
        raise Refused(f"Invalid IP address {text}") from None


def _yes_or_no(call: Call) -> list[sa.ColumnElement[bool]]:
    ip = tables.public_ip.c
    columns = {"issourcenat": ip.source_nat, "isstaticnat": ip.static_nat, "fordisplay": ip.for_display}
    found: list[sa.ColumnElement[bool]] = [column.is_(call[name]) for name, column in columns.items() if name in call]
    if call.get("forloadbalancing"):
        found += [ip.static_nat.is_(False), sa.or_(ip.network_id.is_not(None), ip.vpc_id.is_not(None))]
    if call.get("forvirtualnetwork") is False:
        found.append(sa.false())  # every public address is of a virtual network
    return found


# ---------------------------------------------------------------- take
@handler("associateIpAddress")
def associate_ip_address(call: Call) -> Reply:
    """An address for a network, a VPC, or the account's default network in a zone."""
    if call.get("vpcid"):
        return _associate_with_vpc(call)
    network = _network(call)
    owner = Owner(network.account_id, network.domain_id, network.domain_path)
    if network.acl_type == "Domain":
        owner = call.owner()
    limits.check_limit(call.tx, owner.account_id, limits.Kind.PUBLIC_IPS)
    actor = Actor(call.caller.user_id, owner.account_id, owner.domain_id, owner.domain_path)
    taken = _take(call, network.zone_id, actor, network_id=network.id)
    if "fordisplay" in call:
        call.tx.update(tables.public_ip, taken.id, for_display=call["fordisplay"])
    text = tables.unpack_address(taken.address)
    return Accepted(
        machines.wish_documents(call.tx, network.id),
        call.about(ABOUT, taken),
        f"associating ip {text} to network: {network.uuid}",
        event=_event(call),
    )


def _associate_with_vpc(call: Call) -> Reply:
    """It is the VPC's; which of its networks it serves is said by the first rule on it."""
    vpc = call.need(tables.vpc, "vpcid")
    if vpc.state == vpcs.DOOMED:
        raise Refused(f"VPC {vpc.name} is being deleted; it can't have another address")
    limits.check_limit(call.tx, vpc.account_id, limits.Kind.PUBLIC_IPS)
    actor = Actor(call.caller.user_id, vpc.account_id, vpc.domain_id, vpc.domain_path)
    taken = _take(call, vpc.zone_id, actor, vpc_id=vpc.id)
    call.tx.update(tables.public_ip, taken.id, for_display=call.get("fordisplay", True))
    text = f"associating ip {tables.unpack_address(taken.address)} to VPC: {vpc.uuid}"
    return Accepted(vpcs.wish_documents(call.tx, vpc.id), call.about(ABOUT, taken), text, event=_event(call))


def _take(call: Call, zone_id: int, actor: Actor, *, network_id: int | None = None, vpc_id: int | None = None) -> Row:
    wanted = call.get("ipaddress")
    if call.get("isportable"):
        return portable_ips.take(call.tx, zone_id, actor, network_id=network_id, vpc_id=vpc_id, wanted=wanted)
    return addresses.take_public_ip(
        call.tx, zone_id, system=False, actor=actor, network_id=network_id, vpc_id=vpc_id, wanted=wanted
    )


def _event(call: Call) -> str:
    return "PORTABLE.IPASSIGN" if call.get("isportable") else "NET.IPASSIGN"


def _network(call: Call) -> Row:
    if call.get("networkid"):
        row = usable_network(call, call["networkid"], "networkid")
        if row.vpc_id is not None:
            raise Refused(f"Network {row.name} is part of a VPC; associate the address with the VPC by vpcid")
    else:
        row = _default_network(call)
    if row.guest_type != "Isolated" or "SourceNat" not in networks.services(call.tx, row):
        raise Refused(f"Can't assign ip to the network {row.name}: its type is {row.guest_type} without source NAT")
    return row


def _default_network(call: Call) -> Row:
    zone = call.row(tables.zone, "zoneid")
    if zone is None:
        raise Refused("Unable to figure out zone to assign ip to; specify networkid or zoneid")
    found = networks.default_ones(call.tx, call.owner().account_id, zone.id)
    if len(found) != 1:
        which = "more than one default Isolated network" if found else "no Isolated network"
        raise Refused(f"The account has {which} in zone {zone.name}; specify networkid")
    return found[0]


# ---------------------------------------------------------------- give
@handler("disassociateIpAddress")
def disassociate_ip_address(call: Call) -> Reply:
    """Free again, with all that stood on it gone."""
    row = call.need(tables.public_ip, "id")
    event = "PORTABLE.IPRELEASE" if addresses.is_portable(call.tx, row.id) else "NET.IPRELEASE"
    if row.state == "Reserved":
        addresses.give_public_ip(call.tx, row.id)
        return Accepted((), call.about(ABOUT, row), _releasing(row), event=event)
    if row.source_nat:
        raise Refused("ip address is used for source nat purposes and can not be disassociated.")
    # Asking again for one that is still being released waits again for its router.
    if row.system or row.state not in ("Allocated", "Releasing"):
        raise Refused(f"Can't release ip address {tables.unpack_address(row.address)}: it is {row.state}")
    public_ips.release(call.tx, row)
    parts = _routers_told(call.tx, row)
    if not parts:
        addresses.give_public_ip(call.tx, row.id)
    return Accepted(parts, call.about(ABOUT, row), _releasing(row), event=event)


def _routers_told(tx: Tx, row: Row) -> tuple[Part, ...]:
    if row.vpc_id is not None:
        return vpcs.wish_documents(tx, row.vpc_id)
    return machines.wish_documents(tx, row.network_id) if row.network_id is not None else ()


def _releasing(row: Row) -> str:
    return f"disassociating ip {tables.unpack_address(row.address)}"


@result("associateIpAddress", "updateIpAddress")
def _address_result(tx: Tx, job: Row) -> dict[str, Any]:
    return answer(tx, job.instance_id, admin=is_admins(tx, job))


@result("disassociateIpAddress")
def _released(tx: Tx, job: Row) -> dict[str, Any]:
    row = tx.get(tables.public_ip, job.instance_id)
    if row is not None and row.state == "Releasing":
        addresses.give_public_ip(tx, row.id)
    return {"success": True}


# ---------------------------------------------------------------- beside
@handler("updateIpAddress")
def update_ip_address(call: Call) -> Reply:
    """Whether users are shown it."""
    row = call.need(tables.public_ip, "id")
    if row.account_id is None:
        raise Refused("The ip address is not allocated")
    if "fordisplay" in call:
        call.tx.update(tables.public_ip, row.id, for_display=call["fordisplay"])
    return Accepted((), call.about(ABOUT, row), f"updating ip {tables.unpack_address(row.address)}")


@handler("reserveIpAddress")
def reserve_ip_address(call: Call) -> Reply:
    """Kept for an account, on no network yet."""
    row = call.need(tables.public_ip, "id", check=False)
    if row.state != "Free":
        raise Refused(f"IP address {tables.unpack_address(row.address)} is not free, it cannot be reserved")
    if row.zone_id is None:
        raise Refused("A portable IP address is not reserved; get one for a network with associateIpAddress isportable=true")
    owner = call.owner()
    limits.check_limit(call.tx, owner.account_id, limits.Kind.PUBLIC_IPS)
    call.tx.update(tables.public_ip, row.id, state="Reserved", allocated=call.now, **owner.columns)
    return One(answer(call.tx, row.id, admin=is_admin(call.caller)), call.about(ABOUT, row), "reserving ip")


@handler("releaseIpAddress")
def release_ip_address(call: Call) -> Reply:
    """A reserved address is free again."""
    row = call.need(tables.public_ip, "id")
    if row.state != "Reserved":
        raise Refused(f"IP address {tables.unpack_address(row.address)} is not reserved; use disassociateIpAddress")
    addresses.give_public_ip(call.tx, row.id)
    return Success(about=call.about(ABOUT, row), description="releasing ip")
