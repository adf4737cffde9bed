"""Guests as targets of rules: which guest, and which of its addresses on a network."""

import sqlalchemy as sa

from sysvm.api.call import Call
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import load_balancers, nics
from sysvm.store.queries.nics import NicRow
from sysvm.store.store import Row, Tx
from sysvm.store.tables import pack_address


def the_guest(call: Call, name: str) -> Row:
    """The guest that a parameter names, if it is not going away."""
    call.need(tables.machine, name)
    return named_guest(call, str(call[name]), name)


def named_guest(call: Call, uuid: str, name: str) -> Row:
    """The guest with this uuid, one of those that parameter `name` lists."""
    row = call.find(tables.machine, uuid, name)
    if row.kind != "guest" or row.wanted == "gone" or row.destroyed is not None:
        raise Refused(f"Invalid user vm: {uuid}")
    return row


def nic_on(tx: Tx, machine: Row, network_id: int) -> NicRow | None:
    """The guest's NIC on a network."""
    return next((nic for nic in nics.of_machine(tx, machine.id) if nic.network_id == network_id), None)


def guest_address(tx: Tx, machine: Row, network: Row, wanted: str | None) -> bytes:
    """The guest's primary address on the network, or the wanted one of its others there."""
    nic = nic_on(tx, machine, network.id)
    if nic is None or nic.primary is None:
        raise Refused("VM doesn't belong to network associated with ipAddress")
    if not wanted:
        return pack_address(nic.primary.text)
    if wanted.strip() not in {held.text for held in nic.addresses}:
        raise Refused(f"vmguestip {wanted} is not an address of the vm on network {network.name}")
    return pack_address(wanted.strip())


def address_in_use(tx: Tx, packed: bytes, machine_id: int, network_id: int) -> bool:
    """Whether a rule, a load balancer or static NAT leads to this address of a guest."""
    if load_balancers.stands_behind(tx, machine_id, network_id, packed):
        return True
    rule, ip = tables.firewall_rule.c, tables.public_ip.c
    forward = sa.select(rule.id).where(
        rule.machine_id == machine_id,
        rule.network_id == network_id,
        rule.guest_address == packed,
        rule.removed.is_(None),
    )
    static = sa.select(ip.id).where(
        ip.machine_id == machine_id,
        ip.network_id == network_id,
        ip.guest_address == packed,
        ip.static_nat.is_(True),
    )
    return tx.one(forward.limit(1)) is not None or tx.one(static.limit(1)) is not None
