"""Prefixes of IPv6 that a zone has for its isolated networks; each network gets a /64 of one.

The operator routes the subnets to the networks' routers: `listNetworks` says which one to whom (ip6routes).
"""

from collections.abc import Sequence
from ipaddress import IPv6Network
from typing import Any

from sysvm.api.answers.owners import without_empty
from sysvm.api.answers.times import stamp
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.commands.infrastructure import public_ranges6
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows
from sysvm.api.rules import ranges6
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import prefixes6
from sysvm.store.store import Row, Tx

ABOUT = "GuestIpv6Prefix"


@handler("createGuestNetworkIpv6Prefix")
def create_guest_network_ipv6_prefix(call: Call) -> Reply:
    """Networks that are made from now on may have a subnet of it."""
    zone = call.need(tables.zone, "zoneid")
    cidr = ranges6.prefix(call["prefix"])
    public_ranges6.free_of_others(call.tx, cidr)
    id_ = call.tx.insert(tables.guest_prefix6, uuid=call.ids.uuid(), zone_id=zone.id, cidr=str(cidr), created=call.now)
    row = call.tx.get(tables.guest_prefix6, id_)
    assert row is not None
    return Accepted((), call.about(ABOUT, row), f"Creating guest IPv6 prefix {cidr} for zone={zone.name}")


@result("createGuestNetworkIpv6Prefix")
def _created(tx: Tx, job: Row) -> dict[str, Any]:
    row = tx.one(prefixes6.statement().where(tables.guest_prefix6.c.id == job.instance_id))
    return _answer(row) if row is not None else {"id": job.instance_uuid}


@handler("listGuestNetworkIpv6Prefixes")
def list_guest_network_ipv6_prefixes(call: Call) -> Reply:
    """With how many of their subnets are taken."""
    refs = {"zoneid": (tables.zone, tables.guest_prefix6.c.zone_id)}
    return list_rows(call, prefixes6.statement(), tables.guest_prefix6, _answers, refs=refs)


def _answers(_tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [_answer(row) for row in rows]


def _answer(row: Row) -> dict[str, Any]:
    total = prefixes6.total(row)
    answer = {"id": row.uuid, "prefix": row.cidr, "zoneid": row.zone_uuid, "created": stamp(row.created)}
    return {**without_empty(answer), "usedsubnets": row.used, "availablesubnets": total - row.used, "totalsubnets": total}


@handler("deleteGuestNetworkIpv6Prefix")
def delete_guest_network_ipv6_prefix(call: Call) -> Reply:
    """Refused while a network has a subnet of it."""
    row = call.need(tables.guest_prefix6, "id")
    found = call.tx.one(prefixes6.statement().where(tables.guest_prefix6.c.id == row.id))
    if found is not None and found.used:
        text = f"{found.used} networks have subnets of the prefix {IPv6Network(row.cidr)}; delete them first"
        raise Refused(text, Why.IN_USE)
    call.tx.update(tables.guest_prefix6, row.id, removed=call.now)
    return Accepted((), call.about(ABOUT, row), f"Deleting guest IPv6 prefix {row.cidr}")
