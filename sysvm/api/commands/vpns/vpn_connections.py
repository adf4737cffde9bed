"""Site-to-site VPN, the connections: made and reset by the VPC's router, which says how they are (queries/vpn_sites)."""

from collections.abc import Sequence
from typing import Any

from sysvm.api import results
from sysvm.api.answers import vpn_sites as answers
from sysvm.api.call import Accepted, Call, Owner, Reply
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows
from sysvm.api.rules import vpn_sites as judge
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import private_gateways, settings, vpcs, vpn_sites
from sysvm.store.store import Row, Tx

ABOUT = "VpnConnection"
MOST = "site2site.vpn.vpngateway.connection.limit"


@handler("createVpnConnection")
def create_vpn_connection(call: Call) -> Reply:
    """Begun when the router has it; a passive one waits for the other side."""
    near = call.need(tables.vpn_gateway, "s2svpngatewayid")
    far = call.need(tables.vpn_customer_gateway, "s2scustomergatewayid")
    _refuse(call, near, far)
    id_ = call.tx.insert(
        tables.vpn_connection,
        uuid=call.ids.uuid(),
        gateway_id=near.id,
        customer_id=far.id,
        passive=call.get("passive", False),
        for_display=call.get("fordisplay", True),
        created=call.now,
        **Owner(near.account_id, near.domain_id, near.domain_path).columns,
    )
    return _told(call, id_, f"creating VPN connection to {far.name}")


def _refuse(call: Call, near: Row, far: Row) -> None:
    if near.account_id != far.account_id:
        raise Refused("VPN connection can only be established between same account's VPN gateway and customer gateway!")
    there = vpn_sites.of_gateway(call.tx, near.id)
    if any(row.customer_id == far.id for row in there):
        raise Refused(f"The vpn connection with customer gateway {far.name} and vpn gateway {near.uuid} already existed!")
    vpc = call.tx.get(tables.vpc, near.vpc_id)
    assert vpc is not None
    judge.refuse_overlap(far.name, far.cidrs or (), vpc.cidr, [cidr for row in there for cidr in row.far_cidrs or ()])
    for gateway in private_gateways.of_vpc(call.tx, vpc.id):
        if any(judge.overlap(cidr, gateway.cidr) for cidr in far.cidrs or ()):
            text = f"The subnets of customer gateway {far.name} are overlapped with {gateway.cidr}, a private gateway's network"
            raise Refused(text)
    most = int(settings.value(call.tx, MOST))
    if len(there) >= most:
        raise Refused(f"There are too many VPN connections with current VPN gateway! The limit is {most}")


def _told(call: Call, connection_id: int, text: str, *, secret: bool = True) -> Accepted:
    row = vpn_sites.connection(call.tx, connection_id)
    assert row is not None
    vpn_sites.need_reachable_router(call.tx, row.vpc_id)
    return Accepted(vpcs.wish_documents(call.tx, row.vpc_id), call.about(ABOUT, row), text, secret=secret)


@result("createVpnConnection", "resetVpnConnection", "updateVpnConnection")
def _result(tx: Tx, job: Row) -> dict[str, Any]:
    row = vpn_sites.connection(tx, job.instance_id)
    if row is None:
        return {"id": job.instance_uuid, "state": "Removed"}
    vpn_sites.set_told(tx, row)
    fresh = vpn_sites.connection(tx, job.instance_id)
    assert fresh is not None
    return _answers(tx, [fresh], [results.open_secret(fresh.far_preshared_key)])[0]


def _answers(tx: Tx, rows: Sequence[Row], keys: Sequence[str]) -> list[dict[str, Any]]:
    running = vpn_sites.has_router(tx, [row.vpc_id for row in rows])
    return [answers.connection(row, key, has_router=row.vpc_id in running) for row, key in zip(rows, keys, strict=True)]


@handler("listVpnConnections")
def list_vpn_connections(call: Call) -> Reply:
    """Connections with what both sides are, and how they are."""
    table = tables.vpn_connection
    return list_rows(
        call,
        vpn_sites.connections(),
        table,
        lambda tx, rows: _answers(tx, rows, [call.vault.open(row.far_preshared_key) for row in rows]),
        equal={"fordisplay": table.c.for_display},
        refs={"vpcid": (tables.vpc, tables.vpn_gateway.c.vpc_id)},
        keyword=(tables.vpn_customer_gateway.c.name, table.c.state),
    )


@handler("resetVpnConnection")
def reset_vpn_connection(call: Call) -> Reply:
    """Ended, and begun again."""
    row = call.need(tables.vpn_connection, "id")
    if row.state == vpn_sites.PENDING:
        raise Refused(f"VPN connection {row.uuid} is pending: its router has not got it yet")
    vpn_sites.begin_anew(call.tx, row)
    return _told(call, row.id, f"resetting VPN connection {row.uuid}")


@handler("updateVpnConnection")
def update_vpn_connection(call: Call) -> Reply:
    """Whether users are shown it."""
    row = call.need(tables.vpn_connection, "id")
    if "fordisplay" in call:
        call.tx.update(tables.vpn_connection, row.id, for_display=call["fordisplay"])
    return Accepted((), call.about(ABOUT, row), f"updating VPN connection {row.uuid}", secret=True)


@handler("deleteVpnConnection")
def delete_vpn_connection(call: Call) -> Reply:
    """Ended; nothing of it stays in the router."""
    row = call.need(tables.vpn_connection, "id")
    told = _told(call, row.id, f"deleting VPN connection {row.uuid}", secret=False)
    found = vpn_sites.connection(call.tx, row.id)
    assert found is not None
    vpn_sites.remove_connection(call.tx, found)
    return told
