"""createNetwork: an isolated network of an account, or a shared one that an administrator gives addresses and a VLAN.

Also makes the network that a guest gets when its account has none. What a tier of a VPC may be is in commands/vpc_tiers.
"""

import ipaddress
from dataclasses import dataclass

import sqlalchemy as sa

from sysvm.api.answers import networks as answers
from sysvm.api.call import Call, One, Owner, Reply
from sysvm.api.commands.infrastructure import shared_ranges6
from sysvm.api.commands.networks import vpc_tiers
from sysvm.api.commands.networks.networks import ABOUT
from sysvm.api.commands.offerings.offering_use import need_usable
from sysvm.api.commands.owned import is_admin
from sysvm.api.handlers import handler
from sysvm.api.rules import ranges6, subnets
from sysvm.api.rules.ranges6 import Span6
from sysvm.api.rules.services import is_redundant
from sysvm.api.rules.subnets import Subnet
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import (
    limits,
    networks,
    prefixes6,
    private_gateways,
    security_groups,
    settings,
    turns,
    vlan_ranges,
    zones,
)
from sysvm.store.queries.events import About
from sysvm.store.store import Row, Tx
from sysvm.wire.machines import Isolation

VXLAN_MTU, PLAIN_MTU = 1450, 1500
LARGEST_TAG = {"vlan": 4094, "vxlan": 16777215}
OTHERS_TOO = "use.system.guest.vlans"


@dataclass(frozen=True, slots=True)
class Wire:
    """How a network is kept apart from others."""

    physical_network_id: int | None
    isolation: Isolation
    tag: int | None

    @property
    def mtu(self) -> int:
        """What fits into it."""
        return VXLAN_MTU if self.isolation is Isolation.VXLAN else PLAIN_MTU


@dataclass(frozen=True, slots=True)
class New:
    """What a new network is."""

    name: str
    display_text: str
    zone: Row
    offering: Row
    owner: Owner
    subnet: Subnet | None
    wire: Wire
    acl_type: str
    domain_name: str
    vpc_id: int | None = None
    acl_list_id: int | None = None
    span6: Span6 | None = None


@handler("createNetwork")
def create_network(call: Call) -> Reply:
    """The network's rows; with a persistent offering its routers are made at once."""
    zone = call.need(tables.zone, "zoneid")
    offering = _offering(call)
    vpc = vpc_tiers.vpc_of(call, zone, offering)
    shared = offering.guest_type == "Shared"
    _check_caller(call, zone, shared)
    if zone.network_type == zones.BASIC:
        _check_basic(call, zone, offering)
    subnet = vpc_tiers.subnet(call, vpc) if vpc is not None else _subnet(call, zone, offering, shared)
    owner = Owner(vpc.account_id, vpc.domain_id, vpc.domain_path) if vpc is not None else call.owner()
    need_usable(call.tx, "Network offering", offering, zone, owner)
    wire = _wire(call, zone, offering, owner)
    acl_type = _acl_type(call, shared)
    new = New(
        name=call["name"],
        display_text=call.get("displaytext") or call["name"],
        zone=zone,
        offering=offering,
        owner=owner,
        subnet=subnet,
        wire=wire,
        acl_type=acl_type,
        domain_name=vpc.network_domain if vpc is not None else _domain_name(call, zone, owner),
        vpc_id=vpc.id if vpc is not None else None,
        acl_list_id=vpc_tiers.acl_of(call, vpc) if vpc is not None else None,
        span6=_span6(call, zone, shared),
    )
    id_ = insert(call, new)
    if shared and subnet is not None:
        _add_range(call, id_, new, subnet)
    row = networks.one(call.tx, id_)
    about = About(ABOUT, id_, row.uuid, row.name)
    return One({**answers.network(row, admin=is_admin(call.caller)), "tags": []}, about, f"creating network {row.name}")


def insert(call: Call, new: New) -> int:
    """Writes the network, if its owner may have one more; its id."""
    limits.check_limit(call.tx, new.owner.account_id, limits.Kind.NETWORKS)
    tx, subnet = call.tx, new.subnet
    id_ = tx.insert(
        tables.network,
        uuid=call.ids.uuid(),
        name=new.name,
        display_text=new.display_text,
        zone_id=new.zone.id,
        physical_network_id=new.wire.physical_network_id,
        offering_id=new.offering.id,
        vpc_id=new.vpc_id,
        acl_list_id=new.acl_list_id,
        guest_type=new.offering.guest_type,
        acl_type=new.acl_type,
        state="Allocated",
        cidr=subnet.cidr if subnet else "",
        gateway=subnet.gateway if subnet else "",
        ip6_cidr=str(new.span6.subnet) if new.span6 else "",
        ip6_gateway=str(new.span6.gateway) if new.span6 else "",
        first=tables.pack_address(subnet.first) if subnet else None,
        last=tables.pack_address(subnet.last) if subnet else None,
        domain_name=new.domain_name,
        dns1=call.get("dns1", ""),
        dns2=call.get("dns2", ""),
        isolation=str(new.wire.isolation),
        tag=new.wire.tag,
        mtu=min(call.get("privatemtu") or new.wire.mtu, new.wire.mtu),
        egress_default_allow=bool(new.offering.egress_default_allow),
        redundant=is_redundant(new.offering),
        created=tx.now,
        **new.owner.columns,
    )
    if prefixes6.is_dual(new.offering):
        prefixes6.join(tx, id_)
    if new.offering.is_persistent or new.vpc_id is not None:
        turns.wish(tx, "network", id_)
    return id_


# ---------------------------------------------------------------- what is acceptable
def _offering(call: Call) -> Row:
    offering = call.need(tables.network_offering, "networkofferingid")
    if offering.system_only or offering.traffic_type != "Guest":
        raise Refused("Can't use system network offering, or one that is not for guests")
    if offering.state != "Enabled":
        raise Refused(f"Can't use specified network offering id as its state is not Enabled: {offering.name}")
    return offering


def _check_caller(call: Call, zone: Row, shared: bool) -> None:
    if zone.allocation_state == "Disabled" and not call.caller.is_root:
        raise Refused(f"Cannot perform this operation, Zone is currently disabled: {zone.name}", Why.NOT_ALLOWED)
    if shared and not call.caller.is_root:
        raise Refused("Only root admin is allowed to create shared networks", Why.NOT_ALLOWED)
    if call.get("vlan") and not call.caller.is_root:
        raise Refused("Only ROOT admin is allowed to specify vlanId or bypass vlan overlap check", Why.NOT_ALLOWED)


def _check_basic(call: Call, zone: Row, offering: Row) -> None:
    """A basic zone has one network, which everybody shares."""
    if offering.guest_type != "Shared" or security_groups.SERVICE not in (offering.services or {}):
        raise Refused("In a Basic zone a network can be made with an offering of type Shared with SecurityGroup only")
    if zones.basic_network(call.tx, zone.id) is not None:
        raise Refused(f"Only one network is allowed in Basic zone {zone.name}; give it more addresses with createVlanIpRange")


def _acl_type(call: Call, shared: bool) -> str:
    given = (call.get("acltype") or ("domain" if shared else "account")).lower()
    if given not in ("account", "domain"):
        raise Refused(f"Invalid acltype {call['acltype']}; it is account or domain")
    if given == "domain" and not shared:
        raise Refused("AclType=Domain can be specified only for a Shared network")
    return given.capitalize()


def _subnet(call: Call, zone: Row, offering: Row, shared: bool) -> Subnet | None:
    gateway, netmask = call.get("gateway"), call.get("netmask")
    start, end = call.get("startip"), call.get("endip")
    if offering.guest_type == "L2":
        if gateway or netmask or start:
            raise Refused("A network of guest type L2 has no addresses; leave out gateway, netmask and startip")
        return None
    if zone.network_type == zones.BASIC and not (gateway or netmask or start):
        return None  # addresses come by createVlanIpRange
    if shared and not (gateway and netmask and start):
        raise Refused("StartIp/endIp/gateway/netmask are required when create network of type Shared")
    if not gateway and not netmask:
        if start or end:
            raise Refused("startip and endip need gateway and netmask")
        return subnets.of_cidr(zone.guest_cidr or "10.1.1.0/24")
    if not (gateway and netmask):
        raise Refused("Gateway and netmask must be given together")
    return subnets.subnet(gateway, netmask, start, end)


def _span6(call: Call, zone: Row, shared: bool) -> Span6 | None:
    if ranges6.is_given(call.params) and not (shared and zone.network_type != zones.BASIC):
        raise Refused(
            "Addresses of IPv6 are given for shared networks of Advanced zones, and isolated ones get theirs from their zone;"
            " leave out startipv6, endipv6, ip6gateway and ip6cidr here"
        )
    return ranges6.span(call.params)


# ---------------------------------------------------------------- on the wire
def _wire(call: Call, zone: Row, offering: Row, owner: Owner) -> Wire:
    physical = call.row(tables.physical_network, "physicalnetworkid")
    physical = physical or networks.guest_physical_network(call.tx, zone.id, offering.tags)
    if physical is None:
        raise Refused(
            f"Unable to find physical network for guest traffic in zone {zone.name}: it must be Enabled and have traffic"
            " type Guest"
        )
    if physical.zone_id != zone.id:
        raise Refused(f"Physical network {physical.name} is not in zone {zone.name}")
    given = call.get("vlan") or ("untagged" if zone.network_type == zones.BASIC else None)
    if given and not offering.specify_vlan:
        raise Refused("Unable to create a network with a vlan: its offering has specifyVlan=false")
    if offering.specify_vlan and not given:
        raise Refused("Unable to create a network: its offering has specifyVlan=true, so vlan is required")
    return _given_wire(call.tx, physical, given) if given else wire_of(call.tx, physical, owner)


def _given_wire(tx: Tx, physical: Row, text: str) -> Wire:
    tag = subnets.vlan_tag(text)
    if tag is None:
        return Wire(physical.id, Isolation.NONE, None)
    if private_gateways.tag_in_use(tx, physical.zone_id, "vlan", tag):
        raise Refused(f"VLAN {tag} is a private gateway's; choose another one, or associate the gateway with the network")
    if networks.tag_in_use(tx, "vlan", tag):
        raise Refused(f"Network with vlan {text} already exists or overlaps with other network")
    return Wire(physical.id, Isolation.VLAN, tag)


def wire_of(tx: Tx, physical: Row, owner: Owner) -> Wire:
    """A tag of the physical network's range, by its isolation method, rather one that is dedicated to the owner; without a
    range a plain bridge."""
    method = "vxlan" if "VXLAN" in (physical.isolation_methods or "").upper() else "vlan"
    ranges = subnets.tag_ranges(physical.vlan or "", LARGEST_TAG[method])
    if not ranges:
        return Wire(physical.id, Isolation.NONE, None)
    own, nobodys = vlan_ranges.choice(tx, physical.id, owner.account_id, ranges)
    if not own or settings.value(tx, OTHERS_TOO, account_id=owner.account_id):
        own += nobodys
    return Wire(physical.id, Isolation(method), networks.take_tag(tx, method, own))


def _add_range(call: Call, network_id: int, new: New, subnet: Subnet) -> None:
    first, last = tables.pack_address(subnet.first), tables.pack_address(subnet.last)
    _refuse_overlap(call.tx, new, subnet, first, last)
    made = call.tx.get(tables.network, network_id)
    assert made is not None
    call.tx.insert(
        tables.ip_range,
        uuid=call.ids.uuid(),
        zone_id=new.zone.id,
        physical_network_id=new.wire.physical_network_id,
        network_id=network_id,
        traffic="Guest",
        vlan=f"vlan://{new.wire.tag}" if new.wire.tag is not None else "untagged",
        gateway=subnet.gateway,
        netmask=subnet.netmask,
        first=first,
        last=last,
        created=call.now,
        **shared_ranges6.columns(call.tx, made, new.span6),
    )


def _refuse_overlap(tx: Tx, new: New, subnet: Subnet, first: bytes, last: bytes) -> None:
    """Untagged shared networks of a physical network are one segment; so are those of one tag."""
    pool = tables.ip_range.c
    vlan = f"vlan://{new.wire.tag}" if new.wire.tag is not None else "untagged"
    overlapping = sa.select(pool.first, pool.last).where(
        pool.physical_network_id == new.wire.physical_network_id,
        pool.removed.is_(None),
        pool.vlan == vlan,
        pool.first <= last,
        pool.last >= first,
    )
    found = tx.one(overlapping)
    if found is not None:
        there = f"{tables.unpack_address(found.first)}-{tables.unpack_address(found.last)}"
        raise Refused(f"The IP range {subnet.first}-{subnet.last} overlaps with {there} of the same VLAN")


# ---------------------------------------------------------------- names
def _domain_name(call: Call, zone: Row, owner: Owner) -> str:
    if call.get("networkdomain"):
        return subnets.check_domain(call["networkdomain"])
    return default_domain(call.tx, zone, owner)


def default_domain(tx: Tx, zone: Row, owner: Owner) -> str:
    """The account's network domain, its domain's, its zone's, or one made of its id."""
    account, domain = tx.get(tables.account, owner.account_id), tx.get(tables.domain, owner.domain_id)
    for row in (account, domain, zone):
        if row is not None and row.network_domain:
            return str(row.network_domain)
    suffix = settings.value(tx, "guest.domain.suffix", zone_id=zone.id) or "cloud.internal"
    return f"cs{owner.account_id:x}{suffix}"


# ---------------------------------------------------------------- the network of a guest whose account has none
def make_default(call: Call, zone: Row, owner: Owner) -> Row:
    """An isolated network with the default offering."""
    offering = tables.network_offering
    found = call.tx.one(
        sa.select(offering)
        .where(
            offering.c.removed.is_(None),
            offering.c.state == "Enabled",
            offering.c.guest_type == "Isolated",
            offering.c.for_vpc.is_(False),
            offering.c.specify_vlan.is_(False),
        )
        .order_by(
            sa.func.coalesce(offering.c.unique_name, "") != networks.DEFAULT_OFFERING,
            offering.c.availability != "Required",
            offering.c.id,
        )
    )
    if found is None or "SourceNat" not in (found.services or {}):
        raise Refused(
            "Unable to find network offering with availability=Required to automatically create the network as a part of"
            " vm creation"
        )
    physical = networks.guest_physical_network(call.tx, zone.id, found.tags)
    if physical is None:
        raise Refused(f"Unable to find physical network for guest traffic in zone {zone.name}")
    account = call.tx.get(tables.account, owner.account_id)
    name = f"{account.name if account is not None else 'account'}-network"
    new = New(
        name, name, zone, found, owner, subnets.of_cidr(zone.guest_cidr or "10.1.1.0/24"),
        wire_of(call.tx, physical, owner), "Account", default_domain(call.tx, zone, owner),
    )  # fmt: skip
    row = call.tx.get(tables.network, insert(call, new))
    assert row is not None
    return row


def prefix_of(network: Row) -> int:
    """24 of the network's 10.1.1.0/24."""
    return ipaddress.ip_network(network.cidr).prefixlen
