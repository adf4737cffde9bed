"""Addresses: taking and giving back public, private, control and guest addresses.

Each kind has its own book: a public address is a row of `public_ip` (taking it is an UPDATE), a private and a control
address a row that exists while it is taken, a guest address a live row of `nic_address`. The lowest free one is found
by doubling and halving: a stretch that holds as many taken addresses as it is long is full. That costs one index walk over the
taken ones, in the database, and no list of the free ones.

Not here: which NIC carries an address (queries/nics), and what limits an account has.
Races: two transactions may see the same address as free; a unique constraint on each book lets one of them win and the
store runs the other again.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from sysvm.basics.errors import Refused, Why
from sysvm.basics.ids import Ids, SystemIds
from sysvm.store import tables
from sysvm.store.queries import alerts, events, settings
from sysvm.store.store import Row, Tx
from sysvm.store.tables import pack_address, unpack_address

_ids: Ids = SystemIds()
STRICTNESS = "system.vm.public.ip.reservation.mode.strictness"
CONTROL = (ipaddress.ip_address("169.254.0.2"), ipaddress.ip_address("169.254.255.254"))
METADATA_SERVICE = ipaddress.ip_address("169.254.169.254")  # of other clouds; a guest asks it through its router

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Stretch = tuple[int, int]  # first and last address as numbers, both included


class NoPublicAddress(Refused):
    """Every public address of a zone that the asker may have is taken."""

    def __init__(self, zone_id: int) -> None:
        super().__init__(
            "Insufficient address capacity: no free public IP address in the zone; add a range with createVlanIpRange",
            Why.CAPACITY,
        )
        self.zone_id = zone_id


@dataclass(frozen=True, slots=True)
class PrivateAddress:
    """An address of a management or storage range."""

    address: str
    prefix: int
    gateway: str
    ip_range_id: int


def number_of(packed: bytes) -> int:
    """The 16 bytes as a number."""
    return int.from_bytes(packed, "big")


def packed_of(number: int) -> bytes:
    """A number as the 16 bytes that tables hold."""
    return number.to_bytes(16, "big")


def _number(address: str | Address) -> int:
    return number_of(pack_address(address))


def prefix_of(netmask: str) -> int:
    """24 of 255.255.255.0."""
    return ipaddress.ip_network(f"0.0.0.0/{netmask}").prefixlen if netmask else 24


# ---------------------------------------------------------------- public
def fill_public_range(tx: Tx, ip_range_id: int) -> int:
    """One `public_ip` row for each address of a new range; how many there are."""
    from_range = tx.get(tables.ip_range, ip_range_id)
    if from_range is None:
        raise Refused(f"There is no address range {ip_range_id}")
    numbers = range(number_of(from_range.first), number_of(from_range.last) + 1)
    rows = [_new_public_ip(tx, from_range, number) for number in numbers]
    tx.connection.execute(sa.insert(tables.public_ip), rows)
    return len(rows)


def _new_public_ip(tx: Tx, from_range: Row, number: int) -> dict[str, Any]:
    return {
        "uuid": _ids.uuid(),
        "zone_id": from_range.zone_id,
        "ip_range_id": from_range.id,
        "address": packed_of(number),
        "state": "Free",
        "created": tx.now,
    }


def take_public_ip(
    tx: Tx,
    zone_id: int,
    *,
    system: bool,
    actor: events.Actor,
    network_id: int | None = None,
    vpc_id: int | None = None,
    machine_id: int | None = None,
    source_nat: bool = False,
    wanted: str | None = None,
) -> Row:
    """A public address, now allocated to the actor. Refused for capacity when none is free (see no_public_ip_alert)."""
    vlans = public_vlans(tx, network_id, vpc_id)
    free = _free_public(tx, zone_id, system, actor, wanted, vlans)
    if free is None:
        where = f"VLAN {', '.join(sorted(vlans))}, where its router's public NIC is"
        if wanted is not None:
            beside = f", or not on {where}" if vlans else ""
            raise Refused(f"Public IP address {wanted} is not free in this zone, or not for this account{beside}")
        if vlans and _free_public(tx, zone_id, system, actor, None, frozenset()) is not None:
            raise Refused(f"Insufficient address capacity: no free public IP address on {where}", Why.CAPACITY)
        raise NoPublicAddress(zone_id)
    places = {"network_id": network_id, "vpc_id": vpc_id, "machine_id": machine_id}
    return allocate(tx, free, actor, source_nat=source_nat, system=system, **places)


def public_vlans(tx: Tx, network_id: int | None, vpc_id: int | None) -> frozenset[str]:
    """The VLAN of a router's public NIC, of which there is one: that of the addresses it has. Empty while it has none."""
    held: tuple[Row, ...] = of_network(tx, network_id) if network_id is not None else ()
    if vpc_id is not None:
        held = of_vpc(tx, vpc_id)
    pools = (tx.get(tables.ip_range, row.ip_range_id) for row in held)
    return frozenset(pool.vlan for pool in pools if pool is not None)


def allocate(tx: Tx, public_ip_id: int, actor: events.Actor, **columns: Any) -> Row:
    """A free address is the actor's now."""
    owner = {"account_id": actor.account_id, "domain_id": actor.domain_id, "domain_path": actor.domain_path}
    tx.update(tables.public_ip, public_ip_id, state="Allocated", allocated=tx.now, **owner, **columns)
    taken = tx.get(tables.public_ip, public_ip_id)
    assert taken is not None
    return taken


def of_network(tx: Tx, network_id: int) -> tuple[Row, ...]:
    """The public addresses of a network, oldest row first."""
    return _public_of(tx, "network_id = :of order by id", network_id)


def of_vpc(tx: Tx, vpc_id: int) -> tuple[Row, ...]:
    """Those of a VPC."""
    return _public_of(tx, "vpc_id = :of order by id", vpc_id)


def _public_of(tx: Tx, condition: str, of: int) -> tuple[Row, ...]:
    return tx.once((condition, of), lambda: tuple(tx.rows(tables.public_ip, condition, of=of)), tables.public_ip)


POOLS = """
select id, for_system_vms, account_id, domain_id, vlan from ip_range where zone_id = :zone and traffic = 'Public'
and removed is null order by account_id is null, domain_id is null, id
"""
FREE = "ip_range_id = :pool and state = 'Free' order by address limit 1"
FREE_WANTED = "ip_range_id = :pool and state = 'Free' and address = :wanted"


def _free_public(
    tx: Tx, zone_id: int, system: bool, actor: events.Actor, wanted: str | None, vlans: frozenset[str]
) -> int | None:
    """A free address that this actor may have on these VLANs, if some are said; the best one: of dedicated ranges, then the
    lowest of the oldest range."""
    pools = tx.once((POOLS, zone_id), lambda: tx.sql(POOLS, zone=zone_id), tables.ip_range)
    # Without a reserved range there is nothing to keep apart.
    strict = any(reserved for _, reserved, _, _, _ in pools) and settings.value(tx, STRICTNESS)
    above = {int(part) for part in actor.domain_path.split("/") if part}
    for id_, reserved, account, domain, vlan in sorted(pools, key=lambda pool: bool(pool[1]) != system):
        if (strict and bool(reserved) != system) or (vlans and vlan not in vlans):
            continue
        mine = account in (None, actor.account_id) and (domain is None or domain in above)
        if not (account is None and domain is None if system else mine):
            continue
        if (found := free_in(tx, id_, wanted)) is not None:
            return found
    return None


def free_in(tx: Tx, range_id: int, wanted: str | None) -> int | None:
    """The lowest free address of a range; the wanted one, if it is free there."""
    which, given = (FREE, {}) if wanted is None else (FREE_WANTED, {"wanted": pack_address(wanted)})
    found = tx.rows(tables.public_ip, which, pool=range_id, **given)
    return int(found[0].id) if found else None


def no_public_ip_alert(tx: Tx, zone_id: int) -> None:
    """The zone has no free public address. In a transaction of its own: the refusal has rolled back the first one."""
    zone = tx.get(tables.zone, zone_id)
    name = zone.name if zone is not None else str(zone_id)
    alerts.raise_alert(
        tx,
        alerts.AlertType.PUBLIC_IP,
        f"No free public IP address in zone {name}",
        "Every address of the zone's public ranges is taken. Add a range with createVlanIpRange or release addresses.",
        zone=zone_id,
    )


def give_public_ip(tx: Tx, public_ip_id: int) -> None:
    """The address is free again; nothing of its former owner stays on it, nor a portable one in its zone."""
    of_no_zone = {"zone_id": None} if is_portable(tx, public_ip_id) else {}
    tx.update(
        tables.public_ip,
        public_ip_id,
        state="Free",
        network_id=None,
        vpc_id=None,
        machine_id=None,
        guest_address=None,
        source_nat=False,
        static_nat=False,
        system=False,
        for_display=True,
        account_id=None,
        domain_id=None,
        domain_path=None,
        allocated=None,
        **of_no_zone,
    )


IS_PORTABLE = "select 1 from public_ip p join ip_range r on r.id = p.ip_range_id where p.id = :ip and r.traffic = 'Portable'"


def is_portable(tx: Tx, public_ip_id: int) -> bool:
    """Whether the address may go from network to network, also to one of another zone."""
    return bool(tx.sql(IS_PORTABLE, ip=public_ip_id))


# ---------------------------------------------------------------- private
def take_private_ip(tx: Tx, zone_id: int, traffic: str, nic_id: int, pod_id: int | None = None) -> PrivateAddress:
    """The lowest free address of the zone's "Management" or "Storage" ranges, in this pod when one is given."""
    pool = tables.ip_range
    of_zone = sa.select(pool).where(pool.c.zone_id == zone_id, pool.c.traffic == traffic, pool.c.removed.is_(None))
    if pod_id is not None:
        of_zone = of_zone.where(pool.c.pod_id == pod_id)
    for candidate in tx.all(of_zone.order_by(pool.c.id)):
        whole = (number_of(candidate.first), number_of(candidate.last))
        without = [_single(candidate.gateway)] if candidate.gateway else []
        found = _lowest(tx, PRIVATE_TAKEN, candidate.id, whole, without)
        if found is not None:
            tx.insert(tables.private_ip, ip_range_id=candidate.id, address=packed_of(found), nic_id=nic_id)
            text = unpack_address(packed_of(found))
            return PrivateAddress(text, prefix_of(candidate.netmask), candidate.gateway, candidate.id)
    raise Refused(f"Insufficient address capacity: no free {traffic.lower()} address in the zone", Why.CAPACITY)


def give_private_ips(tx: Tx, nic_id: int) -> None:
    """All private addresses of a NIC are free again."""
    tx.change(sa.delete(tables.private_ip).where(tables.private_ip.c.nic_id == nic_id))


# ---------------------------------------------------------------- control
def take_control_ip(tx: Tx, host_id: int, machine_id: int) -> str:
    """The machine's link-local address on a host: the one that it has there, else the lowest free one."""
    book = tables.control_ip
    has = tx.sql("select address from control_ip where host_id = :h and machine_id = :m", h=host_id, m=machine_id)
    if has:
        return unpack_address(has[0][0])
    whole = (_number(CONTROL[0]), _number(CONTROL[1]))
    found = _lowest(tx, CONTROL_TAKEN, host_id, whole, [_single(METADATA_SERVICE)])
    if found is None:
        raise Refused("Insufficient address capacity: the host has no free control address", Why.CAPACITY)
    tx.insert(book, host_id=host_id, address=packed_of(found), machine_id=machine_id)
    return unpack_address(packed_of(found))


def give_control_ip(tx: Tx, host_id: int, machine_id: int) -> None:
    """The machine no longer has an address on the host."""
    book = tables.control_ip
    tx.change(sa.delete(book).where(book.c.host_id == host_id, book.c.machine_id == machine_id))


# ---------------------------------------------------------------- guest
def take_guest_ip(tx: Tx, network: Row, wanted: str | None = None) -> str:
    """An address of a guest network that no live NIC has: the wanted one, or the lowest.

    It is taken when the caller adds it to a NIC in the same transaction.
    """
    stretches, without = guest_stretches(tx, network), [*_not_for_guests(network), *_of_others(tx, network)]
    if wanted is not None:
        return _wanted_guest_ip(tx, network, stretches, without, wanted)
    return _lowest_guest_ip(tx, network, stretches, without)


def take_guest_ip6(tx: Tx, network: Row, mac: str, wanted: str | None = None) -> str:
    """An IPv6 address of a guest network, as above: the wanted one, or that of the NIC's MAC, or the lowest.

    That of the MAC is what a guest makes of the prefix itself; a range may be too small for it. Isolated networks have no
    ranges: the prefix is theirs.
    """
    stretches, without = _stretches(tx, network, "6") or [_whole6(network)], [_single(network.ip6_gateway)]
    if wanted is not None:
        return _wanted_guest_ip(tx, network, stretches, without, wanted)
    own = eui64(network.ip6_cidr, mac)
    number = _number(own)
    meant = any(first <= number <= last for first, last in stretches) and own != network.ip6_gateway
    if meant and not _is_taken(tx, network, number):
        return own
    return _lowest_guest_ip(tx, network, stretches, without)


def _whole6(network: Row) -> Stretch:
    whole = ipaddress.IPv6Network(network.ip6_cidr)
    return _number(whole.network_address) + 1, _number(whole.broadcast_address)


def eui64(cidr: str, mac: str) -> str:
    """The address that a MAC gives in a network with a prefix of 64 bits."""
    octets = bytearray.fromhex(mac.replace(":", ""))
    octets[0] ^= 2
    tail = bytes(octets[:3]) + b"\xff\xfe" + bytes(octets[3:])
    return str(ipaddress.IPv6Address(ipaddress.IPv6Network(cidr).network_address.packed[:8] + tail))


def _lowest_guest_ip(tx: Tx, network: Row, stretches: list[Stretch], without: list[Stretch]) -> str:
    for stretch in stretches:
        found = _lowest(tx, GUEST_TAKEN, network.id, stretch, without)
        if found is not None:
            return unpack_address(packed_of(found))
    raise Refused(f"Insufficient address capacity: no free IP address in network {network.name}", Why.CAPACITY)


def _wanted_guest_ip(tx: Tx, network: Row, stretches: list[Stretch], without: list[Stretch], wanted: str) -> str:
    try:
        number = _number(wanted.strip())
    except ValueError:
        raise Refused(f"Invalid IP address {wanted}") from None
    if not any(first <= number <= last for first, last in stretches):
        raise Refused(f"The requested ip address {wanted} is not in the range of network {network.name} for guests")
    if any(first <= number <= last for first, last in without):
        raise Refused(f"The requested ip address {wanted} is reserved in network {network.name}")
    if _is_taken(tx, network, number):
        raise Refused(f"The requested ip address {wanted} is already in use in network {network.name}")
    return unpack_address(packed_of(number))


def _is_taken(tx: Tx, network: Row, number: int) -> bool:
    return bool(tx.sql(GUEST_TAKEN, book=network.id, first=packed_of(number), last=packed_of(number))[0][0])


def guest_stretches(tx: Tx, network: Row) -> list[Stretch]:
    """Where guests get addresses: the ranges of a shared network, else from first to last, else the whole CIDR."""
    given = _stretches(tx, network, "")
    if given:
        return given
    if network.first is not None and network.last is not None:
        return [(number_of(network.first), number_of(network.last))]
    if not network.cidr:
        return []
    whole = ipaddress.ip_network(network.cidr)
    return [(_number(whole.network_address) + 1, _number(whole.broadcast_address) - 1)]


def _stretches(tx: Tx, network: Row, family: str) -> list[Stretch]:
    """The ranges of a shared network; of IPv6 with family "6"."""
    pool = tables.ip_range.c
    first, last = pool[f"first{family}"], pool[f"last{family}"]
    ranges = sa.select(first.label("first"), last.label("last")).where(
        pool.network_id == network.id, pool.removed.is_(None), first.is_not(None)
    )
    return [(number_of(row.first), number_of(row.last)) for row in tx.all(ranges.order_by(pool.id))]


def _not_for_guests(network: Row) -> list[Stretch]:
    """The gateway, the network's first and last address, and what the owner keeps for machines of another kind."""
    without = parse_ranges(network.reserved_range)
    if network.gateway:
        without.append(_single(network.gateway))
    if network.cidr:
        whole = ipaddress.ip_network(network.cidr)
        without += [_single(whole.network_address), _single(whole.broadcast_address)]
    return without


OF_GATEWAYS = "select address from private_gateway where network_id = :network and removed is null"
OF_BALANCERS = """
select l.source_address from firewall_rule r join load_balancer l on l.rule_id = r.id
where r.network_id = :network and r.removed is null and l.source_address is not null
"""


def _of_others(tx: Tx, network: Row) -> list[Stretch]:
    """What routers of VPCs have there by their private gateways, and internal load balancers, also while they are no more and
    not yet again."""
    balanced = tx.sql(OF_BALANCERS, network=network.id) if network.vpc_id is not None else ()
    held = (*tx.sql(OF_GATEWAYS, network=network.id), *balanced)
    return [(number_of(packed), number_of(packed)) for (packed,) in held]


def is_guest_address(tx: Tx, network: Row, text: str) -> bool:
    """Whether a living NIC on a guest network has the address."""
    return _is_taken(tx, network, _number(text))


def parse_ranges(text: str) -> list[Stretch]:
    """ "10.1.1.128-10.1.1.254,10.1.2.0/28" as stretches."""
    found = []
    for part in filter(None, (part.strip() for part in (text or "").split(","))):
        if "/" in part:
            whole = ipaddress.ip_network(part, strict=False)
            found.append((_number(whole.network_address), _number(whole.broadcast_address)))
        else:
            first, _, last = part.partition("-")
            found.append((_number(first.strip()), _number((last or first).strip())))
    return found


def _single(address: str | Address) -> Stretch:
    number = _number(address)
    return number, number


# ---------------------------------------------------------------- the lowest free one
PRIVATE_TAKEN = (
    "select count(*) from private_ip where ip_range_id = :book and address >= :first and address <= :last"
)  # fmt: skip
CONTROL_TAKEN = "select count(*) from control_ip where host_id = :book and address >= :first and address <= :last"
GUEST_TAKEN = (
    "select count(*) from nic_address where network_id = :book and removed is null and address >= :first and address <= :last"
)


def _lowest(tx: Tx, taken: str, book: int, whole: Stretch, without: list[Stretch]) -> int | None:
    def count(first: int, last: int) -> int:
        ((number,),) = tx.sql(taken, book=book, first=packed_of(first), last=packed_of(last))
        return int(number)

    found = (lowest_free(count, *stretch) for stretch in subtract(whole, without))
    return next((number for number in found if number is not None), None)


def lowest_but(tx: Tx, taken: str, book: int, whole: Stretch, but: str) -> int | None:
    """The lowest number of a stretch that a book does not have; never that of the address `but`."""
    return _lowest(tx, taken, book, whole, [_single(but)])


def lowest_free(count: Callable[[int, int], int], first: int, last: int) -> int | None:
    """The lowest number from `first` to `last` that is free; `count` tells how many of a stretch are taken.

    Stretches that double in length until one is not full, then halves of that one: few questions, and short ones, where
    the lowest numbers are free.
    """
    length = 1
    while first <= last:
        end = min(first + length - 1, last)
        if count(first, end) < end - first + 1:
            return _halved(count, first, end)
        first, length = end + 1, length * 2
    return None


def _halved(count: Callable[[int, int], int], first: int, last: int) -> int:
    while first < last:
        middle = (first + last) // 2
        if count(first, middle) > middle - first:
            first = middle + 1
        else:
            last = middle
    return first


def subtract(whole: Stretch, without: list[Stretch]) -> list[Stretch]:
    """What is left of a stretch, in order, when others are cut out of it."""
    left = []
    first, last = whole
    for cut_first, cut_last in sorted(without):
        if cut_last < first or cut_first > last:
            continue
        if cut_first > first:
            left.append((first, cut_first - 1))
        first = cut_last + 1
    if first <= last:
        left.append((first, last))
    return left
