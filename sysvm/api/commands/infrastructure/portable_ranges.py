"""Ranges of portable addresses: public ones that belong to no zone. What becomes of their addresses is in public_ips and
static_nat.

There is one region, number 1. As with other public ranges, each address has a row, and none is given out twice in the cloud.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers.owners import without_empty
from sysvm.api.answers.times import stamp
from sysvm.api.call import Accepted, Call, Reply, Rows
from sysvm.api.commands.infrastructure.ip_ranges import add_range, free_of_others
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows
from sysvm.api.rules import ranges
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import addresses, ip_ranges
from sysvm.store.queries.portable_ips import PORTABLE
from sysvm.store.store import Row, Tx
from sysvm.store.tables import unpack_address

ABOUT = "PortableIpRange"
REGION = 1


@handler("createPortableIpRange")
def create_portable_ip_range(call: Call) -> Reply:
    """Its addresses can be associated at once, in zones whose public addresses are on the same VLAN."""
    if call["regionid"] != REGION:
        raise Refused(f"Unable to find a region with id {call['regionid']}: there is one, {REGION}")
    span = ranges.span(call["gateway"], call["netmask"], call["startip"], call["endip"])
    vlan = ranges.vlan(call.get("vlan"))
    free_of_others(call.tx, span, PORTABLE, None)
    range_id = add_range(call, span, PORTABLE, None, vlan=vlan)
    addresses.fill_public_range(call.tx, range_id)
    row = call.tx.get(tables.ip_range, range_id)
    assert row is not None
    return Accepted((), call.about(ABOUT, row), f"creating a portable public ip range {span}")


@handler("listPortableIpRanges")
def list_portable_ip_ranges(call: Call) -> Reply:
    """Each with its addresses."""
    if call.get("regionid", REGION) != REGION:
        return Rows([], 0)
    pool = tables.ip_range
    statement = sa.select(pool).where(pool.c.traffic == PORTABLE, pool.c.removed.is_(None))
    return list_rows(call, statement, pool, _answers, keyword=(pool.c.vlan, pool.c.gateway))


@handler("deletePortableIpRange")
def delete_portable_ip_range(call: Call) -> Reply:
    """Gone, when nobody has one of its addresses."""
    pool = call.need(tables.ip_range, "id")
    if pool.traffic != PORTABLE:
        raise Refused("This is no portable range; public ones go with deleteVlanIpRange")
    if count := ip_ranges.used(call.tx, pool):
        text = f"Can't delete portable IP range as there are {count} IPs assigned"
        raise Refused(f"{text}; release them first with disassociateIpAddress", Why.IN_USE)
    ip_ranges.remove(call.tx, pool)
    return Accepted((), call.about(ABOUT, pool), f"deleting a portable public ip range {unpack_address(pool.first)}")


@result("createPortableIpRange")
def _created(tx: Tx, job: Row) -> dict[str, Any]:
    return _answers(tx, tx.rows(tables.ip_range, "id = :id", id=job.instance_id))[0]


# ---------------------------------------------------------------- answers
NAMES = (
    ("zone", "zone_id", "zoneid"),
    ("network", "network_id", "networkid"),
    ("vpc", "vpc_id", "vpcid"),
    ("account", "account_id", "accountid"),
    ("domain", "domain_id", "domainid"),
)


def _answers(tx: Tx, found: Sequence[Row]) -> list[dict[str, Any]]:
    return [_answer(pool, tx.all(_addresses(pool.id))) for pool in found]


def _addresses(range_id: int) -> sa.Select[Any]:
    ip = tables.public_ip
    joined: sa.FromClause = ip
    columns = []
    for name, column, shown in NAMES:
        table = tables.metadata.tables[name]
        joined = joined.outerjoin(table, table.c.id == ip.c[column])
        columns.append(table.c.uuid.label(shown))
    mine = ip.c.ip_range_id == range_id
    return sa.select(ip.c.address, ip.c.state, ip.c.allocated, *columns).select_from(joined).where(mine).order_by(ip.c.address)


def _answer(pool: Row, held: Sequence[Row]) -> dict[str, Any]:
    return {
        "id": pool.uuid,
        "regionid": REGION,
        "vlan": pool.vlan,
        "gateway": pool.gateway,
        "netmask": pool.netmask,
        "startip": unpack_address(pool.first),
        "endip": unpack_address(pool.last),
        "portableipaddress": [_address(row) for row in held],
    }


def _address(row: Row) -> dict[str, Any]:
    named = {shown: getattr(row, shown) for _, _, shown in NAMES}
    seen = {"regionid": REGION, "ipaddress": unpack_address(row.address), "state": row.state}
    return without_empty({**seen, "allocated": stamp(row.allocated), **named})
