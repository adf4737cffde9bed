"""VPCs and tiers, made by the API or as the orchestrator would have made them."""

from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import nics
from sysvm.store.store import Tx
from tests.api.stage import Asker
from tests.api_networks.land import Land

TIER = "DefaultIsolatedNetworkOfferingForVpcNetworks"
PLAIN = "DefaultIsolatedNetworkOfferingWithSourceNatService"
VPC = "10.7.0.0/16"


async def vpc_params(land: Land, **more: Any) -> dict[str, Any]:
    (offering,) = await land.admin("listVPCOfferings", name="Default VPC offering")
    return {"name": "v", "cidr": "10.8.0.0/16", "zoneid": land.zone, "vpcofferingid": offering["id"], **more}


async def make_vpc(land: Land, who: Asker | None = None, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = await land.job("createVPC", who=who, **await vpc_params(land, **more))
    return made


async def tier_params(land: Land, vpc: dict[str, Any], number: int = 1, **more: Any) -> dict[str, Any]:
    offering = await land.network_offering(more.pop("offering", TIER))
    given = {"name": f"t{number}", "zoneid": land.zone, "networkofferingid": offering, "vpcid": vpc["id"],
             "gateway": f"10.8.{number}.1", "netmask": "255.255.255.0"}  # fmt: skip
    return {name: value for name, value in {**given, **more}.items() if value is not None}


async def make_tier(land: Land, vpc: dict[str, Any], number: int = 1, who: Asker | None = None, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = await (who or land.admin)("createNetwork", **await tier_params(land, vpc, number, **more))
    return made


async def addresses(land: Land, vpc: dict[str, Any], many: int) -> list[dict[str, Any]]:
    return [await land.job("associateIpAddress", vpcid=vpc["id"]) for _ in range(many)]


async def made_vpc(land: Land, who: Asker | None = None, name: str = "vpc", cidr: str = VPC) -> dict[str, Any]:
    """As the orchestrator would have made it."""
    asker = who or land.admin
    (offering,) = await land.admin("listVPCOfferings", name="Default VPC offering")
    accepted = await asker("createVPC", zoneid=land.zone, name=name, displaytext=name, cidr=cidr, vpcofferingid=offering["id"])
    await land.serve(accepted["jobid"])

    def write(tx: Tx) -> None:
        row = tx.one(sa.select(tables.vpc).where(tables.vpc.c.uuid == accepted["id"]))
        owner = {"account_id": row.account_id, "domain_id": row.domain_id, "domain_path": row.domain_path}
        free = tx.one(sa.select(tables.public_ip).where(tables.public_ip.c.state == "Free").limit(1))
        tx.update(tables.public_ip, free.id, state="Allocated", vpc_id=row.id, source_nat=True, **owner)
        host = tx.value(sa.select(tables.host.c.id))
        small = tx.value(sa.select(tables.service_offering.c.id).limit(1))
        router = tx.insert(
            tables.machine, uuid=land.stage.ids.uuid(), name=f"r-{row.id}-VM", kind="router", hypervisor="Simulator",
            zone_id=row.zone_id, host_id=host, service_offering_id=small, vpc_id=row.id, role="VIRTUAL_ROUTER",
            wanted="running", power="running", agent_up=True, document_live="x", template_version="4.20.0",
            created=tx.now, **owner,
        )  # fmt: skip
        nics.add_nic(tx, router, 2, "public", addresses=((tables.unpack_address(free.address), 24),), is_default=True)

    await land.stage.store.run(write)
    (found,) = await asker("listVPCs", id=accepted["id"])
    return found
