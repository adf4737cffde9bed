"""Network ACL lists and their numbered rules; who has to be told when they change."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import machines, private_gateways, vpcs
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx
from sysvm.wire.vpc import AclRule

DENY, ALLOW = "default_deny", "default_allow"
ANY = ("0.0.0.0/0",)


def lists() -> sa.Select[Any]:
    """Living lists with their VPC; those that every cloud has have none."""
    table, vpc = tables.network_acl_list, tables.vpc
    return (
        sa.select(table, vpc.c.uuid.label("vpc_uuid"), vpc.c.name.label("vpc_name"))
        .select_from(table.outerjoin(vpc, vpc.c.id == table.c.vpc_id))
        .where(table.c.removed.is_(None))
    )


def one_list(tx: Tx, list_id: int) -> Row | None:
    """A list with its VPC; None when it is no more."""
    return tx.one(lists().where(tables.network_acl_list.c.id == list_id))


def items() -> sa.Select[Any]:
    """Living rules with their list."""
    table, home = tables.network_acl, tables.network_acl_list
    return (
        sa.select(
            table,
            home.c.uuid.label("list_uuid"),
            home.c.name.label("list_name"),
            home.c.vpc_id.label("list_vpc_id"),
        )
        .select_from(table.join(home, home.c.id == table.c.acl_list_id))
        .where(table.c.removed.is_(None))
    )


def one(tx: Tx, acl_id: int) -> Row | None:
    """A rule with its list; None when it is no more."""
    return tx.one(items().where(tables.network_acl.c.id == acl_id))


def default(tx: Tx, name: str) -> Row:
    """One of the lists that every cloud has."""
    (row,) = tx.rows(tables.network_acl_list, "name = :name and vpc_id is null and removed is null", name=name)
    return row


def of_list(tx: Tx, list_id: int) -> Sequence[Row]:
    """The living rules of a list, lowest number first."""
    return tx.rows(tables.network_acl, "acl_list_id = :list and removed is null order by number", list=list_id)


def next_number(tx: Tx, list_id: int) -> int:
    """After the last one."""
    return max((row.number for row in of_list(tx, list_id)), default=0) + 1


def tiers_with(tx: Tx, list_id: int) -> Sequence[Row]:
    """The living networks that have the list."""
    return tx.rows(tables.network, "acl_list_id = :list and removed is null order by id", list=list_id)


def wish_documents(tx: Tx, list_id: int) -> tuple[Part, ...]:
    """The list is another one now: the routers of all tiers and private gateways that have it are told, each once."""
    holders = (*tiers_with(tx, list_id), *private_gateways.with_list(tx, list_id))
    mine = dict.fromkeys(holder.vpc_id for holder in holders)
    for vpc_id in mine:
        machines.need_reachable(tx, vpcs.routers_of(tx, vpc_id))
    return tuple(part for vpc_id in mine for part in vpcs.wish_documents(tx, vpc_id))


def set_active(tx: Tx, acl_id: int) -> None:
    """The routers have it."""
    row = tx.get(tables.network_acl, acl_id)
    if row is not None and row.removed is None:
        tx.update(tables.network_acl, acl_id, state="Active")


def remove_list(tx: Tx, list_id: int) -> None:
    """The list and its rules are no more."""
    rule = tables.network_acl
    tx.change(sa.update(rule).where(rule.c.acl_list_id == list_id, rule.c.removed.is_(None)).values(removed=tx.now))
    tx.update(tables.network_acl_list, list_id, removed=tx.now)


def facts(tx: Tx, list_id: int | None) -> tuple[tuple[AclRule, ...], tuple[AclRule, ...]]:
    """What comes into and what goes out of a tier with this list; without one nothing comes in."""
    rows = of_list(tx, list_id) if list_id is not None else ()
    into = tuple(_rule(row) for row in rows if row.traffic_type == "Ingress")
    return into, tuple(_rule(row) for row in rows if row.traffic_type == "Egress")


def _rule(row: Row) -> AclRule:
    return AclRule(
        rule=row.uuid,
        number=row.number,
        allow=row.action == "Allow",
        protocol=row.protocol,
        cidrs=tuple(row.sources or ANY),
        first=row.first_port,
        last=row.last_port,
        icmp_type=row.icmp_type,
        icmp_code=row.icmp_code,
    )
