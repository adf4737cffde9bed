"""Security groups: their rows, who is in them, and what a host has to know of them.

A group's rules are enforced where its guests are placed; a rule that speaks of another group needs the addresses of that
group's members, wherever in the zone they are. So whatever changes wakes the hosts of the group and of those groups whose
rules speak of it, and no others. A host that has no link is told when it has one again; nobody waits for it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.basics.ids import Ids, SystemIds
from sysvm.store import tables
from sysvm.store.queries import networks, owned, turns
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx
from sysvm.store.tables import unpack_address
from sysvm.wire.machines import Kind
from sysvm.wire.security_groups import Group, GroupedPort, GroupRule, SecurityGroupsDocument

SERVICE = "SecurityGroup"
DEFAULT, DEFAULT_TEXT = "default", "Default Security Group"
INGRESS, EGRESS = "ingress", "egress"
KIND = "security_groups"  # of turns and of parts of jobs; their id is the host's

_ids: Ids = SystemIds()


# ---------------------------------------------------------------- rows
def statement() -> sa.Select[Any]:
    """Living groups with the names of their owners."""
    group = tables.security_group
    rows = owned.joined(group, group)
    return sa.select(group, *owned.names()).select_from(rows).where(group.c.removed.is_(None))


def one(tx: Tx, group_id: int) -> Row | None:
    """A living group with the names around it."""
    return tx.one(statement().where(tables.security_group.c.id == group_id))


def named(tx: Tx, account_id: int, name: str) -> Row | None:
    """The account's group of that name, in any case of letters."""
    same = "account_id = :account and lower(name) = :name and removed is null"
    return next(iter(tx.rows(tables.security_group, same, account=account_id, name=name.lower())), None)


def add(tx: Tx, owner: dict[str, Any], name: str, description: str) -> Row:
    """A group without rules: nobody reaches its members, they reach everybody."""
    values = {"uuid": _ids.uuid(), "name": name, "description": description, "created": tx.now}
    row = tx.get(tables.security_group, tx.insert(tables.security_group, **values, **owner))
    assert row is not None
    return row


def default_of(tx: Tx, owner: dict[str, Any]) -> Row:
    """The account's default group, made when it is first needed."""
    return named(tx, owner["account_id"], DEFAULT) or add(tx, owner, DEFAULT, DEFAULT_TEXT)


def rules_of(tx: Tx, group_ids: Iterable[int]) -> Sequence[Row]:
    """Living rules of these groups, oldest first."""
    ids = _ids_in(group_ids)
    return tx.rows(tables.security_group_rule, f"removed is null and group_id in ({ids}) order by id") if ids else ()


def members_of(tx: Tx, group_ids: Iterable[int]) -> dict[int, list[str]]:
    """Their guests' uuids."""
    ids = _ids_in(group_ids)
    found: dict[int, list[str]] = {}
    text = "select s.group_id, m.uuid from security_group_member s join machine m on m.id = s.machine_id"
    for group, uuid in tx.sql(f"{text} where s.group_id in ({ids}) order by m.id") if ids else ():
        found.setdefault(group, []).append(uuid)
    return found


def of_guests(tx: Tx, machine_ids: Iterable[int]) -> dict[int, list[Row]]:
    """Their groups, by guest."""
    ids = _ids_in(machine_ids)
    member = tables.security_group_member
    rows = tx.rows(member, f"machine_id in ({ids}) order by group_id") if ids else ()
    groups = {row.id: row for row in _groups(tx, {row.group_id for row in rows})}
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(row.machine_id, []).append(groups[row.group_id])
    return found


def _groups(tx: Tx, group_ids: Iterable[int]) -> Sequence[Row]:
    ids = _ids_in(group_ids)
    return tx.rows(tables.security_group, f"id in ({ids}) order by id") if ids else ()


def _ids_in(ids: Iterable[int]) -> str:
    """Integers of ours, as SQL lists them."""
    return ",".join(str(int(id_)) for id_ in sorted(set(ids)))


# ---------------------------------------------------------------- who is in them
def join(tx: Tx, machine_id: int, group_ids: Iterable[int]) -> tuple[Part, ...]:
    """The guest is in these groups and in no others; what to wait for."""
    member = tables.security_group_member
    before = {row.group_id for row in tx.rows(member, "machine_id = :machine", machine=machine_id)}
    after = set(group_ids)
    tx.change(sa.delete(member).where(member.c.machine_id == machine_id, member.c.group_id.in_(before - after)))
    for group in sorted(after - before):
        tx.insert(member, group_id=group, machine_id=machine_id)
    return changed(tx, before ^ after) if before != after else ()


def leave(tx: Tx, machine_id: int) -> None:
    """The guest is going away: nobody's rule lets it in any more."""
    join(tx, machine_id, ())


def moved(tx: Tx, machine_id: int) -> tuple[Part, ...]:
    """Its addresses or its host are others now."""
    member = tables.security_group_member
    return changed(tx, {row.group_id for row in tx.rows(member, "machine_id = :machine", machine=machine_id)})


HOSTS = """
select distinct p.host_id, h.link_session from placement p join host h on h.id = p.host_id
join security_group_member s on s.machine_id = p.machine_id
where p.removed is null and h.removed is null and (s.group_id in ({ids}) or s.group_id in (
    select group_id from security_group_rule where removed is null and other_group_id in ({ids})))
"""


def changed(tx: Tx, group_ids: Iterable[int]) -> tuple[Part, ...]:
    """Something about these groups is not as it was: their hosts are told. What to wait for."""
    ids = _ids_in(group_ids)
    hosts = tx.sql(HOSTS.format(ids=ids)) if ids else ()
    wishes = [(host, linked, tell(tx, host)) for host, linked in sorted(hosts)]
    return tuple(Part(KIND, host, wish, "live") for host, linked, wish in wishes if linked is not None)


def tell(tx: Tx, host_id: int) -> int:
    """The host's security groups shall be looked through; the number of the wish."""
    return turns.wish(tx, KIND, host_id, host=host_id)


# ---------------------------------------------------------------- what a host has to know
def is_filtered(tx: Tx, network_id: int | None) -> bool:
    """Whether guests on the network are held to their groups."""
    network = tx.get(tables.network, network_id) if network_id is not None else None
    return network is not None and SERVICE in networks.services(tx, network)


PORTS = """
select m.id, m.uuid, p.incarnation, n.device, n.network_id from placement p join machine m on m.id = p.machine_id
join nic n on n.machine_id = m.id
where p.host_id = :host and p.removed is null and p.wanted <> 'gone' and m.kind = :kind and m.removed is null
    and n.removed is null and n.traffic = 'guest' order by m.uuid, p.incarnation, n.device
"""


def document(tx: Tx, host: Row) -> SecurityGroupsDocument:
    """The ports of the host that are held to groups, their groups, and the members of those that their rules speak of."""
    filtered: dict[int, bool] = {}
    rows = [row for row in tx.sql(PORTS, host=host.id, kind=str(Kind.GUEST)) if _on_filtered(tx, row[4], filtered)]
    held = of_guests(tx, {row[0] for row in rows})
    local = {group.id: group for groups in held.values() for group in groups}
    rules = rules_of(tx, local)
    spoken_of = {rule.other_group_id for rule in rules if rule.other_group_id is not None}
    groups = {**local, **{group.id: group for group in _groups(tx, spoken_of)}}
    addresses = _addresses(tx, spoken_of, host.zone_id)
    return SecurityGroupsDocument(
        host=host.uuid,
        ports=tuple(_port(row, held.get(row[0], [])) for row in rows),
        groups=tuple(
            _group(group, [rule for rule in rules if rule.group_id == group.id], groups, addresses.get(group.id, []))
            for group in sorted(groups.values(), key=lambda group: str(group.uuid))
        ),
    )


def _on_filtered(tx: Tx, network_id: int, known: dict[int, bool]) -> bool:
    if network_id not in known:
        known[network_id] = is_filtered(tx, network_id)
    return known[network_id]


def _port(row: Sequence[Any], groups: list[Row]) -> GroupedPort:
    _, machine, incarnation, device, _ = row
    held = tuple(sorted(group.uuid for group in groups))
    return GroupedPort(machine=machine, incarnation=incarnation, device=device, groups=held)


def _group(row: Row, rules: list[Row], groups: dict[int, Row], addresses: list[str]) -> Group:
    def of(direction: str) -> tuple[GroupRule, ...]:
        return tuple(_rule(rule, groups) for rule in rules if rule.direction == direction)

    return Group(group=row.uuid, ingress=of(INGRESS), egress=of(EGRESS), members=tuple(sorted(addresses)))


def _rule(row: Row, groups: dict[int, Row]) -> GroupRule:
    icmp = row.protocol.startswith("icmp")
    first, last = (row.icmp_type, row.icmp_code) if icmp else (row.first_port, row.last_port)
    return GroupRule(
        protocol=row.protocol,
        first=None if first == -1 else first,
        last=None if last == -1 else last,
        cidr=row.cidr,
        group=groups[row.other_group_id].uuid if row.other_group_id is not None else "",
    )


MEMBERS = """
select s.group_id, n.network_id, a.address from security_group_member s join machine m on m.id = s.machine_id
join nic n on n.machine_id = m.id join nic_address a on a.nic_id = n.id
where s.group_id in ({ids}) and m.zone_id = :zone and m.removed is null and n.removed is null and a.removed is null
"""


def _addresses(tx: Tx, group_ids: Iterable[int], zone_id: int) -> dict[int, list[str]]:
    """Of their members in the zone, on networks with security groups: there the guard sees to it that nobody else has them."""
    ids = _ids_in(group_ids)
    found: dict[int, list[str]] = {}
    filtered: dict[int, bool] = {}
    for group, network, packed in tx.sql(MEMBERS.format(ids=ids), zone=zone_id) if ids else ():
        if _on_filtered(tx, network, filtered):
            found.setdefault(group, []).append(unpack_address(packed))
    return found
