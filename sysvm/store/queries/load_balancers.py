"""Load balancers: rules of purpose LoadBalancing in `firewall_rule`, and the tables that say more of them.

What belongs to a rule lives as long as its rule: every query asks for living rules, so that removing one is one update.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import owned
from sysvm.store.queries.machines import INTERNAL_LB, machine_by_uuid
from sysvm.store.store import Row, Tx
from sysvm.store.tables import pack_address, unpack_address
from sysvm.wire.balancing import MemberSeen

PURPOSE = "LoadBalancing"
SERVICE = "Lb"
SERVED = ("Staged", "Add", "Active")


def statement() -> sa.Select[Any]:
    """Living rules with their address, network, zone and owner; `source_address` is that of an internal one."""
    rule, more, ip, network = tables.firewall_rule, tables.load_balancer, tables.public_ip, tables.network
    zone = tables.zone
    joined = (
        rule.join(more, more.c.rule_id == rule.c.id)
        .outerjoin(ip, ip.c.id == rule.c.public_ip_id)
        .join(network, network.c.id == rule.c.network_id)
        .join(zone, zone.c.id == network.c.zone_id)
    )
    return (
        sa.select(
            rule,
            more.c.name,
            more.c.description,
            more.c.algorithm,
            more.c.protocol.label("carried"),
            more.c.certificate_id,
            more.c.source_address,
            network.c.uuid.label("network_uuid"),
            ip.c.uuid.label("ip_uuid"),
            sa.func.coalesce(ip.c.address, more.c.source_address).label("ip_address"),
            zone.c.uuid.label("zone_uuid"),
            zone.c.name.label("zone_name"),
            *owned.names(),
        )
        .select_from(owned.joined(joined, rule))
        .where(rule.c.purpose == PURPOSE, rule.c.removed.is_(None))
    )


def one(tx: Tx, rule_id: int) -> Row | None:
    """A rule with what is around it; None when it is no more."""
    return tx.one(statement().where(tables.firewall_rule.c.id == rule_id))


ANY = "select 1 from firewall_rule where network_id = :network and purpose = :purpose and removed is null limit 1"


def of_network(tx: Tx, network_id: int) -> Sequence[Row]:
    """A network's rules that its routers shall serve; internal ones have machines of their own."""
    if not tx.sql(ANY, network=network_id, purpose=PURPOSE):
        return ()  # most networks have none, and every look at a router asks
    rule = tables.firewall_rule.c
    served = (rule.network_id == network_id, rule.state.in_(SERVED), rule.public_ip_id.is_not(None))
    return tx.all(statement().where(*served).order_by(rule.id))


def internal_of(tx: Tx, network_id: int, address: bytes | None = None) -> Sequence[Row]:
    """A tier's rules inside its VPC, of this address of it or of all."""
    rule, more = tables.firewall_rule.c, tables.load_balancer.c
    found = statement().where(rule.network_id == network_id, more.source_address.is_not(None))
    if address is not None:
        found = found.where(more.source_address == address)
    return tx.all(found.order_by(rule.id))


# ---------------------------------------------------------------- members
def members(tx: Tx, rule_ids: Iterable[int]) -> Sequence[Row]:
    """Who stands behind these rules."""
    member = tables.load_balancer_member
    found = sa.select(member).where(member.c.rule_id.in_(list(rule_ids)), member.c.removed.is_(None))
    return tx.all(found.order_by(member.c.id))


def guests_behind(tx: Tx, rule_ids: Sequence[int]) -> dict[int, list[Row]]:
    """Members by rule: rows of `machine`, each with the address by which it stands there."""
    member, machine = tables.load_balancer_member, tables.machine
    found: dict[int, list[Row]] = {}
    if rule_ids:
        joined = machine.join(member, member.c.machine_id == machine.c.id)
        of = sa.select(machine, member.c.rule_id, member.c.address.label("member_address")).select_from(joined)
        for row in tx.all(of.where(member.c.rule_id.in_(rule_ids), member.c.removed.is_(None)).order_by(member.c.id)):
            found.setdefault(row.rule_id, []).append(row)
    return found


def add_member(tx: Tx, rule_id: int, machine_id: int, address: bytes) -> None:
    """A guest stands behind the rule with this address."""
    tx.insert(
        tables.load_balancer_member, rule_id=rule_id, machine_id=machine_id, address=address, created=tx.now
    )  # fmt: skip


def remove_members(tx: Tx, member_ids: Iterable[int]) -> None:
    """They stand behind it no more."""
    for id_ in member_ids:
        tx.update(tables.load_balancer_member, id_, removed=tx.now)


def remove_guest(tx: Tx, machine_id: int) -> set[int]:
    """The guest stands behind no rule any more. The networks of the rules that it stood behind."""
    member, rule = tables.load_balancer_member, tables.firewall_rule
    found = tx.all(
        sa.select(member.c.id, rule.c.network_id)
        .join(rule, rule.c.id == member.c.rule_id)
        .where(member.c.machine_id == machine_id, member.c.removed.is_(None), rule.c.removed.is_(None))
    )
    remove_members(tx, [row.id for row in found])
    return {row.network_id for row in found}


def stands_behind(tx: Tx, machine_id: int, network_id: int, address: bytes | None = None) -> bool:
    """Whether the guest (with this address) is a member of a rule of the network."""
    member, rule = tables.load_balancer_member.c, tables.firewall_rule.c
    found = (
        sa.select(member.id)
        .join(tables.firewall_rule, rule.id == member.rule_id)
        .where(
            member.machine_id == machine_id,
            member.removed.is_(None),
            rule.network_id == network_id,
            rule.removed.is_(None),
        )
    )
    if address is not None:
        found = found.where(member.address == address)
    return tx.one(found.limit(1)) is not None


def heard(tx: Tx, router: str, seen: Sequence[MemberSeen]) -> None:
    """What a router's checks say of the members; of others than its network's it has nothing to say."""
    machine = machine_by_uuid(tx, router)
    if machine is None or machine.network_id is None:
        return
    served = internal_of if machine.role == INTERNAL_LB else of_network
    rules = {row.uuid: row.id for row in served(tx, machine.network_id)}
    said = {(rules[each.rule], pack_address(each.address)): each.up for each in seen if each.rule in rules}
    for row in members(tx, rules.values()):
        up = said.get((row.rule_id, bytes(row.address)))
        if up is not None and up != row.up:
            tx.update(tables.load_balancer_member, row.id, up=up)


# ---------------------------------------------------------------- policies and certificates
def policies(tx: Tx, table: sa.Table, rule_ids: Iterable[int]) -> Sequence[Row]:
    """Stickiness (or health checks) of these rules."""
    found = sa.select(table).where(table.c.rule_id.in_(list(rule_ids)), table.c.removed.is_(None))
    return tx.all(found.order_by(table.c.id))


def certificates(tx: Tx, ids: Iterable[int | None]) -> dict[int, Row]:
    """Certificates by their ids."""
    wanted = [id_ for id_ in ids if id_ is not None]
    table = tables.ssl_certificate
    return {row.id: row for row in tx.all(sa.select(table).where(table.c.id.in_(wanted)))} if wanted else {}


def rules_with_certificate(tx: Tx, certificate_id: int) -> Sequence[Row]:
    """Living rules that show a certificate."""
    return tx.all(statement().where(tables.load_balancer.c.certificate_id == certificate_id))


def change(tx: Tx, rule_id: int, **values: Any) -> None:
    """Other words for a rule: its name, algorithm, certificate."""
    more = tables.load_balancer
    tx.change(sa.update(more).where(more.c.rule_id == rule_id).values(**values))


def set_active(tx: Tx, rule_id: int) -> None:
    """Its routers have the rule with all that belongs to it."""
    rule = tx.get(tables.firewall_rule, rule_id)
    if rule is None or rule.removed is not None:
        return
    for id_ in filter(None, (rule.id, rule.related_id)):
        tx.update(tables.firewall_rule, id_, state="Active")
    for table in (tables.load_balancer_member, tables.lb_stickiness, tables.lb_health_check):
        tx.change(
            sa.update(table)
            .where(table.c.rule_id == rule_id, table.c.state == "Add", table.c.removed.is_(None))
            .values(state="Active")
        )


def address_of(row: Row) -> str:
    """The address of a member, as text."""
    return unpack_address(row.address)
