"""Firewall, egress and port forwarding rules.

A rule that is removed is out of the next document of its routers at once; nothing has to be undone one by one.
"""

from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import load_balancers
from sysvm.store.store import Row, Tx

FIREWALL, EGRESS, FORWARDING, BALANCING = "Firewall", "Egress", "PortForwarding", load_balancers.PURPOSE
LIVE = ("Staged", "Add", "Active")


def statement(purpose: str) -> sa.Select[Any]:
    """Living rules of a purpose with their address, network and guest."""
    rule, ip, network, machine = tables.firewall_rule, tables.public_ip, tables.network, tables.machine
    joined = (
        rule.join(network, network.c.id == rule.c.network_id)
        .outerjoin(ip, ip.c.id == rule.c.public_ip_id)
        .outerjoin(machine, machine.c.id == rule.c.machine_id)
    )
    return (
        sa.select(
            rule,
            network.c.uuid.label("network_uuid"),
            ip.c.uuid.label("ip_uuid"),
            ip.c.address.label("ip_address"),
            machine.c.uuid.label("machine_uuid"),
            machine.c.hostname.label("machine_name"),
            machine.c.display_name.label("machine_display_name"),
        )
        .select_from(joined)
        .where(rule.c.purpose == purpose, rule.c.removed.is_(None))
    )


def one(tx: Tx, rule_id: int) -> Row | None:
    """A rule with the names around it; None when it is no more."""
    row = tx.get(tables.firewall_rule, rule_id)
    if row is None or row.removed is not None:
        return None
    return tx.one(statement(row.purpose).where(tables.firewall_rule.c.id == rule_id))


def of_address(tx: Tx, public_ip_id: int, *purposes: str) -> list[Row]:
    """Living rules on an address; of these purposes, or of all."""
    rule = tables.firewall_rule
    found = sa.select(rule).where(rule.c.public_ip_id == public_ip_id, rule.c.removed.is_(None))
    if purposes:
        found = found.where(rule.c.purpose.in_(purposes))
    return list(tx.all(found.order_by(rule.c.id)))


NEAR = """
public_ip_id = :ip and removed is null and (
    network_id <> :network or purpose = 'StaticNat' or (protocol = :protocol and (
        first_port is null or last_port is null or (first_port <= :last and last_port >= :first)
    ))
) order by id
"""


def near(tx: Tx, ip: Row, protocol: str, first: int | None, last: int | None) -> list[Row]:
    """Living rules on an address that a new one with this protocol and these ports (None: all) could stand in the way of.

    Whether it does is `api/rules/firewall.py`'s to say; an address may have thousands of others.
    """
    ports = {"first": 0 if first is None else first, "last": 65535 if last is None else last}
    return tx.rows(tables.firewall_rule, NEAR, ip=ip.id, network=ip.network_id, protocol=protocol, **ports)


def egress_of(tx: Tx, network_id: int) -> list[Row]:
    """Living egress rules of a network."""
    rule = tables.firewall_rule
    found = sa.select(rule).where(rule.c.network_id == network_id, rule.c.purpose == EGRESS, rule.c.removed.is_(None))
    return list(tx.all(found.order_by(rule.c.id)))


def remove(tx: Tx, rule: Row) -> None:
    """The rule is no more, nor the firewall rule that was made with it."""
    for id_ in filter(None, (rule.id, rule.related_id)):
        tx.update(tables.firewall_rule, id_, state="Revoke", removed=tx.now)


def remove_of_address(tx: Tx, public_ip_id: int, *purposes: str) -> None:
    """No rule (of these purposes) stands on the address any more."""
    for rule in of_address(tx, public_ip_id, *purposes):
        remove(tx, rule)


def remove_of_guest(tx: Tx, machine_id: int) -> set[int]:
    """What led to a guest that is going away is no more: forwards, static NAT, its place behind load balancers. The
    networks that it was on."""
    rule, ip = tables.firewall_rule, tables.public_ip
    touched = load_balancers.remove_guest(tx, machine_id)
    for row in tx.all(sa.select(rule).where(rule.c.machine_id == machine_id, rule.c.removed.is_(None))):
        remove(tx, row)
        touched.add(row.network_id)
    for row in tx.all(sa.select(ip).where(ip.c.machine_id == machine_id, ip.c.static_nat.is_(True))):
        remove_of_address(tx, row.id)
        tx.update(ip, row.id, static_nat=False, machine_id=None, guest_address=None)
        touched.add(row.network_id)
    return touched


def set_active(tx: Tx, rule_id: int) -> None:
    """Its routers have it."""
    rule = tx.get(tables.firewall_rule, rule_id)
    if rule is None or rule.removed is not None:
        return
    for id_ in filter(None, (rule.id, rule.related_id)):
        tx.update(tables.firewall_rule, id_, state="Active")
