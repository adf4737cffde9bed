"""Offerings of all kinds: their rows, who may see them, and whether something uses them."""

from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.store import Tx

ROUTERS = "Cloud.Com-SoftwareRouter"


def service_offerings() -> sa.Select[Any]:
    """Compute and system offerings."""
    table = tables.service_offering
    return sa.select(table).where(table.c.removed.is_(None)).order_by(table.c.id)


def disk_offerings() -> sa.Select[Any]:
    """Disk offerings."""
    table = tables.disk_offering
    return sa.select(table).where(table.c.removed.is_(None)).order_by(table.c.id)


def network_offerings() -> sa.Select[Any]:
    """Network offerings that users may choose from, with the system offering of their routers, the default one if need be."""
    table, service = tables.network_offering, tables.service_offering
    default = service.alias()
    named = (default.c.unique_name == ROUTERS, default.c.removed.is_(None))
    of_routers = sa.select(default.c.uuid).where(*named).order_by(default.c.id).limit(1)  # PostgreSQL takes no second row
    return (
        sa.select(table, sa.func.coalesce(service.c.uuid, of_routers.scalar_subquery()).label("service_offering_uuid"))
        .outerjoin(service, service.c.id == table.c.service_offering_id)
        .where(table.c.removed.is_(None), table.c.system_only.is_(False))
        .order_by(table.c.id)
    )


def vpc_offerings() -> sa.Select[Any]:
    """VPC offerings."""
    table = tables.vpc_offering
    return sa.select(table).where(table.c.removed.is_(None)).order_by(table.c.id)


def for_caller(table: sa.Table, domain_path: str) -> sa.ColumnElement[bool]:
    """Offerings for everybody, and those of domains on the caller's path. `domain_ids` holds ids between commas."""
    listed = sa.literal(",").concat(table.c.domain_ids).concat(",")
    mine = [listed.contains(f",{part},") for part in domain_path.split("/") if part]
    return sa.or_(table.c.domain_ids == "", *mine)


def of_domain(table: sa.Table, domain_id: int) -> sa.ColumnElement[bool]:
    """Offerings of this domain, and nobody else's but those that it shares."""
    return sa.literal(",").concat(table.c.domain_ids).concat(",").contains(f",{domain_id},")


def in_zone(table: sa.Table, zone_id: int) -> sa.ColumnElement[bool]:
    """Offerings for every zone, and those of this one."""
    listed = sa.literal(",").concat(table.c.zone_ids).concat(",")
    return sa.or_(table.c.zone_ids == "", listed.contains(f",{zone_id},"))


def uses(tx: Tx, table: sa.Table, *which: sa.ColumnElement[bool]) -> int:
    """How many living rows of a table match."""
    count: int = tx.value(sa.select(sa.func.count()).select_from(table).where(table.c.removed.is_(None), *which))
    return count
