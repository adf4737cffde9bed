"""VPCs: make, list, update, restart, delete. Their networks are made with createNetwork (commands/vpc_tiers)."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import networks as network_answers
from sysvm.api.answers import vpcs as answers
from sysvm.api.call import Accepted, Call, Owner, Reply
from sysvm.api.commands.networks import network_making
from sysvm.api.commands.offerings.offering_use import need_usable
from sysvm.api.commands.owned import is_admin, is_admins
from sysvm.api.handlers import handler, result
from sysvm.api.listing import contains, list_rows, tags_of
from sysvm.api.rules import subnets
from sysvm.api.rules import vpcs as judge
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import internal_lbs, limits, machines, networks, nics, vpcs, zones
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx
from sysvm.wire.machines import Traffic

ABOUT = "Vpc"


@handler("createVPC")
def create_vpc(call: Call) -> Reply:
    """There from when its router serves; with start=false its router is made with its first network."""
    zone = call.need(tables.zone, "zoneid")
    offering = call.need(tables.vpc_offering, "vpcofferingid")
    _check_place(call, zone, offering)
    if not call.get("cidr"):
        raise Refused("Unable to create a VPC: cidr must be given")
    cidr = judge.cidr(call["cidr"])
    owner = call.owner()
    need_usable(call.tx, "VPC offering", offering, zone, owner)
    limits.check_limit(call.tx, owner.account_id, limits.Kind.VPCS)
    id_ = call.tx.insert(
        tables.vpc,
        uuid=call.ids.uuid(),
        name=call["name"],
        display_text=call.get("displaytext") or call["name"],
        zone_id=zone.id,
        offering_id=offering.id,
        cidr=cidr,
        network_domain=_domain(call, zone, owner),
        dns1=call.get("dns1", ""),
        dns2=call.get("dns2", ""),
        source_nat_ip=_wanted_address(call, zone),
        public_mtu=judge.public_mtu(call.get("publicmtu", judge.LARGEST_MTU)),
        redundant=bool(offering.redundant),
        wanted=call.get("start", True),
        for_display=call.get("fordisplay", True),
        created=call.now,
        **owner.columns,
    )
    row = call.tx.get(tables.vpc, id_)
    assert row is not None
    return Accepted((vpcs.want(call.tx, id_),), call.about(ABOUT, row), f"creating VPC {row.name}. Id: {row.uuid}")


def _check_place(call: Call, zone: Row, offering: Row) -> None:
    if zone.network_type == zones.BASIC:
        raise Refused(f"Unable to create a VPC in zone {zone.name}: VPCs are for zones of type Advanced")
    if zone.allocation_state == "Disabled" and not call.caller.is_root:
        raise Refused(f"Cannot perform this operation, Zone is currently disabled: {zone.name}", Why.NOT_ALLOWED)
    if offering.state != "Enabled":
        raise Refused(f"Unable to find vpc offering in Enabled state by specified id: {offering.name} is {offering.state}")


def _domain(call: Call, zone: Row, owner: Owner) -> str:
    if call.get("networkdomain"):
        return subnets.check_domain(call["networkdomain"])
    return network_making.default_domain(call.tx, zone, owner)


def _wanted_address(call: Call, zone: Row) -> str:
    """The source NAT address that is asked for. Whoever takes it before the router is made is first."""
    text = str(call.get("sourcenatipaddress") or "").strip()
    if not text:
        return ""
    try:
        packed = tables.pack_address(text)
    except ValueError:
        raise Refused(f"Invalid IP address {text}") from None
    ip = tables.public_ip.c
    if call.tx.one(sa.select(ip.id).where(ip.zone_id == zone.id, ip.address == packed, ip.state == "Free")) is None:
        raise Refused(f"Public IP address {text} is not free in zone {zone.name}")
    return text


@result("createVPC", "updateVPC", "migrateVPC")
def _vpc_result(tx: Tx, job: Row) -> dict[str, Any]:
    row = vpcs.one(tx, job.instance_id)
    return _rows(tx, [row], admin=is_admins(tx, job))[0] if row is not None else {"id": job.instance_uuid}


# ---------------------------------------------------------------- list
@handler("listVPCs")
def list_vpcs(call: Call) -> Reply:
    """VPCs with their networks."""
    vpc = tables.vpc.c
    statement = vpcs.statement()
    for service in call.get("supportedservices", ()):
        statement = statement.where(contains(sa.cast(tables.vpc_offering.c.services, sa.Text), f'"{service}"'))
    admin = is_admin(call.caller)
    return list_rows(
        call,
        statement,
        tables.vpc,
        lambda tx, rows: _rows(tx, rows, admin=admin),
        equal={
            "name": vpc.name,
            "displaytext": vpc.display_text,
            "cidr": vpc.cidr,
            "state": vpc.state,
            "fordisplay": vpc.for_display,
            "restartrequired": vpc.restart_required,
        },
        refs={"zoneid": (tables.zone, vpc.zone_id), "vpcofferingid": (tables.vpc_offering, vpc.offering_id)},
        keyword=(vpc.name, vpc.display_text),
        tagged=ABOUT,
    )


def _rows(tx: Tx, rows: Sequence[Row], *, admin: bool) -> list[dict[str, Any]]:
    network = tables.network.c
    inside = networks.statement().where(network.vpc_id.in_([row.id for row in rows])).order_by(network.id)
    by_vpc: dict[int, list[dict[str, Any]]] = {}
    for tier in tx.all(inside) if rows else ():
        by_vpc.setdefault(tier.vpc_id, []).append(network_answers.network(tier, admin=admin))
    tags = tags_of(tx, ABOUT, [row.id for row in rows])
    return [answers.vpc(row, by_vpc.get(row.id, []), tags.get(row.id, []), admin=admin) for row in rows]


# ---------------------------------------------------------------- change
@handler("updateVPC")
def update_vpc(call: Call) -> Reply:
    """Names, whether users are shown it, and the MTU of its router's public interface."""
    row = call.need(tables.vpc, "id")
    names = {"name": "name", "displaytext": "display_text", "fordisplay": "for_display"}
    changes = {column: call[name] for name, column in names.items() if name in call}
    parts: tuple[Part, ...] = ()
    if "publicmtu" in call:
        changes["public_mtu"] = judge.public_mtu(call["publicmtu"])
        parts = _with_mtu(call.tx, row, call["publicmtu"])
    if changes:
        call.tx.update(tables.vpc, row.id, **changes)
    return Accepted(parts, call.about(ABOUT, row), f"updating VPC Id: {row.uuid}")


def _with_mtu(tx: Tx, vpc: Row, mtu: int) -> tuple[Part, ...]:
    for router in vpcs.routers_of(tx, vpc.id):
        for nic in nics.of_machine(tx, router.id):
            if nic.traffic == Traffic.PUBLIC:
                tx.update(tables.nic, nic.id, mtu=mtu)
    return vpcs.wish_documents(tx, vpc.id)


@handler("restartVPC")
def restart_vpc(call: Call) -> Reply:
    """Everything of the VPC is made true again; with cleanup its router lives its next incarnation."""
    row = call.need(tables.vpc, "id")
    if row.state == vpcs.DOOMED:
        raise Refused(f"VPC {row.name} is being deleted; it can't be restarted")
    if call.get("makeredundant") and not row.redundant:
        raise Refused("Redundant routers are not supported by the VPC's offering; make the VPC with a redundant one")
    routers = vpcs.routers_of(call.tx, row.id)
    parts: tuple[Part, ...]
    if call.get("cleanup"):
        parts = tuple(machines.replace(call.tx, router) for router in routers)
    else:
        stopped = (router for router in routers if router.wanted == "stopped")
        parts = tuple(machines.want(call.tx, router, "running") for router in stopped)
        parts += vpcs.wish_documents(call.tx, row.id)
    for tier in vpcs.tiers_of(call.tx, row.id):
        parts += internal_lbs.restart(call.tx, tier.id, cleanup=bool(call.get("cleanup")))
    call.tx.update(tables.vpc, row.id, restart_required=False)
    return Accepted((*parts, vpcs.want(call.tx, row.id)), call.about(ABOUT, row), f"restarting VPC Id: {row.uuid}")


@handler("deleteVPC")
def delete_vpc(call: Call) -> Reply:
    """Gone with its router, addresses and ACL lists; refused while it has networks."""
    row = call.need(tables.vpc, "id")
    tiers = [tier for tier in vpcs.tiers_of(call.tx, row.id) if tier.state != "Destroy"]
    if tiers:
        raise Refused(f"Can't delete VPC {row.name} as its used by {len(tiers)} networks")
    return Accepted(vpcs.doom(call.tx, row.id), call.about(ABOUT, row), f"Deleting VPC Id: {row.uuid}")
