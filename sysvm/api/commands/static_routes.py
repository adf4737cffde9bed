"""Static routes of VPCs: networks that are reached by way of a machine in one of the VPC's tiers."""

from collections.abc import Sequence
from typing import Any

from sysvm.api.answers import vpcs as answers
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows, tags_of
from sysvm.api.rules import vpcs as judge
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import vpcs
from sysvm.store.store import Row, Tx
from sysvm.store.tables import pack_address

ABOUT = "StaticRoute"


@handler("createStaticRoute")
def create_static_route(call: Call) -> Reply:
    """In the router from when the job is done."""
    if call.get("gatewayid"):
        raise Refused("There are no private gateways in this cloud; give vpcid and nexthop", Why.UNAVAILABLE)
    if not (call.get("vpcid") and call.get("nexthop")):
        raise Refused("vpcid and nexthop must be given: where to, and by way of whom")
    vpc = call.need(tables.vpc, "vpcid")
    tiers = [(tier.cidr, tier.gateway) for tier in vpcs.tiers_of(call.tx, vpc.id)]
    standing = [row.cidr for row in vpcs.routes_of(call.tx, vpc.id)]
    cidr, hop = judge.route(call["cidr"], call["nexthop"], vpc.cidr, tiers, standing)
    id_ = call.tx.insert(
        tables.static_route,
        uuid=call.ids.uuid(),
        vpc_id=vpc.id,
        cidr=cidr,
        next_hop=pack_address(hop),
        account_id=vpc.account_id,
        domain_id=vpc.domain_id,
        domain_path=vpc.domain_path,
        created=call.now,
    )
    row = call.tx.get(tables.static_route, id_)
    assert row is not None
    parts = vpcs.wish_documents(call.tx, vpc.id)
    return Accepted(parts, call.about(ABOUT, row), f"Applying static route. Static route Id: {row.uuid}")


@result("createStaticRoute")
def _route_result(tx: Tx, job: Row) -> dict[str, Any]:
    row = tx.get(tables.static_route, job.instance_id)
    if row is None or row.removed is not None:
        return {"id": job.instance_uuid, "state": "Revoke"}
    tx.update(tables.static_route, row.id, state="Active")
    return _rows(tx, list(tx.all(vpcs.routes_statement().where(tables.static_route.c.id == row.id))))[0]


def _rows(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    tags = tags_of(tx, ABOUT, [row.id for row in rows])
    return [answers.static_route(row, tags.get(row.id, [])) for row in rows]


@handler("listStaticRoutes")
def list_static_routes(call: Call) -> Reply:
    """The caller's routes."""
    route = tables.static_route.c
    if call.get("gatewayid"):
        raise Refused("There are no private gateways in this cloud", Why.UNAVAILABLE)
    return list_rows(
        call,
        vpcs.routes_statement(),
        tables.static_route,
        _rows,
        equal={"state": route.state},
        refs={"vpcid": (tables.vpc, route.vpc_id)},
        keyword=(route.cidr,),
        tagged=ABOUT,
    )


@handler("deleteStaticRoute")
def delete_static_route(call: Call) -> Reply:
    """Out of the router from when the job is done."""
    row = call.need(tables.static_route, "id")
    call.tx.update(tables.static_route, row.id, removed=call.now)
    parts = vpcs.wish_documents(call.tx, row.vpc_id)
    return Accepted(parts, call.about(ABOUT, row), f"Deleting static route. Static route Id: {row.uuid}")
