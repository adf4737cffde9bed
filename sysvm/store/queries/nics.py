"""NICs of machines and the addresses on them.

A NIC has any number of addresses of both families; the first of each family is the primary one. MAC addresses are
locally administered (06:...), random, and unique among live NICs.

Not here: choosing an address (queries/addresses). Races: two transactions may draw the same MAC or address; a unique
index lets one of them win.
"""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import sqlalchemy as sa

from sysvm.basics.ids import Ids, SystemIds
from sysvm.store import tables
from sysvm.store.queries import addresses
from sysvm.store.store import Row, Tx, among
from sysvm.store.tables import pack_address, unpack_address

_ids: Ids = SystemIds()
OUR_PREFIX = 0x06  # locally administered, unicast


class NicAddress(NamedTuple):
    """An address of a NIC."""

    id: int
    uuid: str
    text: str
    prefix: int
    is_primary: bool

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.text else 4


class NicRow(NamedTuple):
    """A NIC with its addresses, primary ones first."""

    id: int
    uuid: str
    machine_id: int
    network_id: int | None
    traffic: str
    device: int
    mac: str
    gateway: str
    gateway6: str
    netmask: str
    public_range_id: int | None
    private_gateway_id: int | None
    mtu: int
    rate_mbit: int
    is_default: bool
    addresses: tuple[NicAddress, ...] = ()

    @property
    def primary(self) -> NicAddress | None:
        """Its first IPv4 address."""
        for address in self.addresses:  # a plain loop: lists of machines ask this of every NIC
            if address.is_primary and ":" not in address.text:
                return address
        return None

    @property
    def primary6(self) -> NicAddress | None:
        """Its first IPv6 address."""
        for address in self.addresses:
            if address.is_primary and ":" in address.text:
                return address
        return None


def new_mac(tx: Tx) -> str:
    """A MAC address that no live NIC has."""
    while True:
        number = (OUR_PREFIX << 40) | _ids.number(1 << 40)
        mac = number.to_bytes(6, "big").hex(":")
        if not mac_in_use(tx, mac):
            return mac


def mac_in_use(tx: Tx, mac: str) -> bool:
    """Whether a live NIC has it."""
    return bool(tx.sql("select 1 from nic where mac = :mac and removed is null", mac=mac))


def add_nic(
    tx: Tx,
    machine_id: int,
    device: int,
    traffic: str,
    *,
    network_id: int | None = None,
    addresses: Sequence[tuple[str, int]] = (),
    gateway: str = "",
    gateway6: str = "",
    is_default: bool = False,
    mac: str | None = None,
    public_range_id: int | None = None,
    private_gateway_id: int | None = None,
    mtu: int = 1500,
    rate_mbit: int = 0,
) -> int:
    """A new NIC with these (address, prefix) pairs; its id. `traffic` as in wire.machines.Traffic ("guest", ...)."""
    nic = tx.insert(
        tables.nic,
        uuid=_ids.uuid(),
        machine_id=machine_id,
        network_id=network_id,
        traffic=traffic,
        device=device,
        mac=(mac or new_mac(tx)).lower(),
        gateway=gateway,
        gateway6=gateway6,
        netmask=_netmask(addresses),
        is_default=is_default,
        public_range_id=public_range_id,
        private_gateway_id=private_gateway_id,
        mtu=mtu,
        rate_mbit=rate_mbit,
        created=tx.now,
    )
    families: set[int] = set()
    for text, prefix in addresses:
        family = 6 if ":" in text else 4
        add_address(tx, nic, text, prefix, network_id=network_id, is_primary=family not in families)
        families.add(family)
    return nic


def _netmask(addresses: Sequence[tuple[str, int]]) -> str:
    prefix = next((prefix for text, prefix in addresses if ":" not in text), None)
    return "" if prefix is None else _mask_of(prefix)


@lru_cache(maxsize=64)
def _mask_of(prefix: int) -> str:
    return str(ipaddress.ip_network(f"0.0.0.0/{prefix}").netmask)


def add_address(tx: Tx, nic_id: int, text: str, prefix: int, *, network_id: int | None = None, is_primary: bool = False) -> int:
    """One more address on a NIC; its id."""
    return tx.insert(
        tables.nic_address,
        uuid=_ids.uuid(),
        nic_id=nic_id,
        network_id=network_id,
        address=pack_address(text),
        prefix=prefix,
        is_primary=is_primary,
        created=tx.now,
    )


PRIMARY = """
select n.network_id, a.id, a.address from nic n
left join nic_address a on a.nic_id = n.id and a.removed is null and a.is_primary where n.id = :nic
"""


def set_primary(tx: Tx, nic_id: int, text: str, prefix: int, gateway: str) -> None:
    """The NIC's primary IPv4 address is this one and no other; it may have had none (a private one comes later)."""
    book = tables.nic_address
    found = tx.sql(PRIMARY, nic=nic_id)
    for _, id_, packed in found:
        if id_ is not None and ":" not in unpack_address(packed):
            tx.update(book, id_, removed=tx.now)
    add_address(tx, nic_id, text, prefix, network_id=found[0][0], is_primary=True)
    tx.update(tables.nic, nic_id, gateway=gateway, netmask=_netmask([(text, prefix)]))


def readdress(tx: Tx, nic: NicRow, text: str, prefix: int) -> None:
    """The same of a NIC that has been read, and leads to no gateway."""
    if nic.primary is not None:
        tx.update(tables.nic_address, nic.primary.id, removed=tx.now)
    add_address(tx, nic.id, text, prefix, network_id=nic.network_id, is_primary=True)
    tx.update(tables.nic, nic.id, gateway="", netmask=_mask_of(prefix))


def of_machine(tx: Tx, machine_id: int) -> Sequence[NicRow]:
    """Live NICs of a machine by device number."""
    return tx.once(
        ("nics", machine_id),
        lambda: tuple(of_machines(tx, [machine_id]).get(machine_id, ())),
        tables.nic,
        tables.nic_address,
    )


# Pages of machines read all their NICs and addresses: written once, run by the driver.
LIVE = """
select n.id, n.uuid, n.machine_id, n.network_id, n.traffic, n.device, n.mac, n.gateway, n.gateway6, n.netmask,
    n.public_range_id, n.private_gateway_id, n.mtu, n.rate_mbit, n.is_default, a.id, a.uuid, a.address, a.prefix, a.is_primary
from nic n left join nic_address a on a.nic_id = n.id and a.removed is null
where n.removed is null and n.machine_id in ({ids}) order by n.machine_id, n.device, n.id, a.is_primary desc, a.id
"""
NIC_COLUMNS = 15


def of_machines(tx: Tx, machine_ids: Sequence[int]) -> dict[int, list[NicRow]]:
    """Live NICs of many machines, by machine; for pages of rows."""
    if not machine_ids:
        return {}
    found: dict[int, list[NicRow]] = {}
    last = 0
    new = tuple.__new__  # past the constructors of named tuples: a page of routers makes a hundred of them
    places, ids = among(machine_ids)
    for line in tx.sql(LIVE.format(ids=places), **ids):
        id_, uuid, packed, prefix, is_primary = line[NIC_COLUMNS:]
        held = () if id_ is None else (new(NicAddress, (id_, uuid, unpack_address(packed), prefix, bool(is_primary))),)
        if line[0] == last:
            nics = found[line[2]]
            nics[-1] = nics[-1]._replace(addresses=nics[-1].addresses + held)
            continue
        last = line[0]
        nic = new(NicRow, (*line[: NIC_COLUMNS - 1], bool(line[NIC_COLUMNS - 1]), held))
        if line[2] in found:
            found[line[2]].append(nic)
        else:
            found[line[2]] = [nic]
    return found


def with_addresses(tx: Tx, rows: Sequence[Row]) -> list[NicRow]:
    """Rows of `nic`, in the same order, with their live addresses."""
    book = tables.nic_address
    live = sa.select(book).where(book.c.nic_id.in_([row.id for row in rows]), book.c.removed.is_(None))
    held: dict[int, list[NicAddress]] = {}
    for row in tx.all(live.order_by(book.c.is_primary.desc(), book.c.id)) if rows else ():
        address = NicAddress(row.id, row.uuid, unpack_address(row.address), row.prefix, bool(row.is_primary))
        held.setdefault(row.nic_id, []).append(address)
    return [_nic(row, tuple(held.get(row.id, ()))) for row in rows]


def _nic(row: Row, held: tuple[NicAddress, ...]) -> NicRow:
    return NicRow(
        id=row.id,
        uuid=row.uuid,
        machine_id=row.machine_id,
        network_id=row.network_id,
        traffic=row.traffic,
        device=row.device,
        mac=row.mac,
        gateway=row.gateway,
        gateway6=row.gateway6,
        netmask=row.netmask,
        is_default=bool(row.is_default),
        public_range_id=row.public_range_id,
        private_gateway_id=row.private_gateway_id,
        mtu=row.mtu,
        rate_mbit=row.rate_mbit,
        addresses=held,
    )


def remove_nic(tx: Tx, nic_id: int) -> None:
    """The NIC and its addresses are gone; private ones are free again."""
    book = tables.nic_address
    tx.change(sa.update(book).where(book.c.nic_id == nic_id, book.c.removed.is_(None)).values(removed=tx.now))
    tx.update(tables.nic, nic_id, removed=tx.now)
    addresses.give_private_ips(tx, nic_id)


def remove_of_machine(tx: Tx, machine_id: int) -> None:
    """All NICs of a machine are gone. Public and control addresses are given back by whoever took them."""
    table = tables.nic
    live = sa.select(table.c.id).where(table.c.machine_id == machine_id, table.c.removed.is_(None))
    for row in tx.all(live):
        remove_nic(tx, row.id)
