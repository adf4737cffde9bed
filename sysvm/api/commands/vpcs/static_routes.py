"""Static routes of VPCs: networks that are reached by way of a machine in one of the VPC's tiers, or of a private gateway."""

from collections.abc import Sequence
from typing import Any

from sysvm.api.answers import vpcs as answers
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows, tags_of
from sysvm.api.rules import vpcs as judge
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import private_gateways, vpcs
from sysvm.store.store import Row, Tx
from sysvm.store.tables import pack_address, unpack_address

ABOUT = "StaticRoute"


@handler("createStaticRoute")
def create_static_route(call: Call) -> Reply:
    """In the router from when the job is done."""
    vpc, next_hop = _way(call)
    tiers = [(tier.cidr, tier.gateway) for tier in vpcs.tiers_of(call.tx, vpc.id)]
    gateways = [row for row in private_gateways.of_vpc(call.tx, vpc.id) if row.state != private_gateways.DELETING]
    homes = [*tiers, *((row.cidr, unpack_address(row.address)) for row in gateways)]
    standing = [row.cidr for row in vpcs.routes_of(call.tx, vpc.id)]
    cidr, hop = judge.route(call["cidr"], next_hop, vpc.cidr, homes, standing)
    judge.beside(cidr, [row.cidr for row in gateways])
    id_ = call.tx.insert(
        tables.static_route,
        uuid=call.ids.uuid(),
        vpc_id=vpc.id,
        cidr=cidr,
        next_hop=pack_address(hop),
        private_gateway_id=next((row.id for row in gateways if judge.is_in(hop, row.cidr)), None),
        account_id=vpc.account_id,
        domain_id=vpc.domain_id,
        domain_path=vpc.domain_path,
        created=call.now,
    )
    row = call.tx.get(tables.static_route, id_)
    assert row is not None
    parts = vpcs.wish_documents(call.tx, vpc.id)
    return Accepted(parts, call.about(ABOUT, row), f"Applying static route. Static route Id: {row.uuid}")


def _way(call: Call) -> tuple[Row, str]:
    """The VPC and the next hop: those of a private gateway, or what the caller says."""
    gateway = call.row(tables.private_gateway, "gatewayid")
    if gateway is None:
        if not (call.get("vpcid") and call.get("nexthop")):
            raise Refused("Specify gatewayid, or vpcid and nexthop: by way of whom")
        return call.need(tables.vpc, "vpcid"), call["nexthop"]
    if gateway.state == private_gateways.DELETING:
        raise Refused(f"Private gateway {gateway.uuid} is being deleted; no route can lead by way of it")
    vpc = call.row(tables.vpc, "vpcid") or call.tx.get(tables.vpc, gateway.vpc_id)
    assert vpc is not None
    if vpc.id != gateway.vpc_id:
        raise Refused(f"Private gateway {gateway.uuid} is not of VPC {vpc.name}")
    hop = call.get("nexthop") or gateway.gateway
    if not judge.is_in(hop, gateway.cidr):
        raise Refused(f"The next hop {hop} is not in {gateway.cidr}, the network of the private gateway")
    return vpc, hop


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
    return list_rows(
        call,
        vpcs.routes_statement(),
        tables.static_route,
        _rows,
        equal={"state": route.state},
        refs={"vpcid": (tables.vpc, route.vpc_id), "gatewayid": (tables.private_gateway, route.private_gateway_id)},
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
