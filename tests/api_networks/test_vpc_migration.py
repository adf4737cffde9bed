"""A VPC goes over to another offering, with its tiers, if all that it has fits."""

from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land
from tests.api_networks.vpcs import made_vpc, make_tier

FULL = "Dhcp,Dns,UserData,SourceNat,StaticNat,PortForwarding,Lb,NetworkACL,Vpn"
SMALL = "Dhcp,Dns,UserData,SourceNat,StaticNat,PortForwarding,NetworkACL"
NO_LB = "DefaultIsolatedNetworkOfferingForVpcNetworksNoLB"


@pytest.fixture
async def vpc(land: Land) -> dict[str, Any]:
    """With a router that runs."""
    return await made_vpc(land, cidr="10.8.0.0/16")


async def offering(land: Land, name: str, services: str, **more: Any) -> str:
    made = await land.job("createVPCOffering", name=name, displaytext=name, supportedservices=services, **more)
    await land.job("updateVPCOffering", id=made["id"], state="Enabled")
    return str(made["id"])


async def test_a_vpc_goes_over_with_its_router(land: Land, vpc: dict[str, Any]):
    """Which lives its next incarnation, on the system offering of the VPC's."""
    big = await land.admin("createServiceOffering", name="big", displaytext="big", cpunumber=2, cpuspeed=500, memory=512,
                           issystem=True, systemvmtype="domainrouter")  # fmt: skip
    other = await offering(land, "other", FULL, serviceofferingid=big["id"])
    tier = await make_tier(land, vpc)
    accepted = await land.admin("migrateVPC", vpcid=vpc["id"], vpcofferingid=other)
    assert [("machine", "running"), ("vpc", "implemented")] == await land.open_parts(accepted["jobid"])
    await land.serve(accepted["jobid"])
    moved = (await land.admin("queryAsyncJobResult", jobid=accepted["jobid"]))["jobresult"]["vpc"]
    assert_row_matches_catalogue("migrateVPC", moved)
    assert (other, tier["id"]) == (moved["vpcofferingid"], moved["network"][0]["id"])
    (router,) = await land.rows(sa.select(tables.machine).where(tables.machine.c.kind == "router"))
    (system,) = await land.rows(sa.select(tables.service_offering).where(tables.service_offering.c.uuid == big["id"]))
    assert (2, system.id) == (router.incarnation, router.service_offering_id)
    assert await land.admin("listEvents", type="NETWORK.MIGRATE")


async def test_what_a_tier_has_must_fit(land: Land, vpc: dict[str, Any]):
    """Or it goes over, too."""
    small = await offering(land, "small", SMALL)
    tier, other = [await make_tier(land, vpc, number) for number in (1, 2)]
    lacking = await land.network_offering(NO_LB)
    to = {"vpcid": vpc["id"], "vpcofferingid": small}
    with refusal(431, "lacks Lb, Vpn, which offering"):
        await land.admin("migrateVPC", **to)
    (held,) = await land.admin("listNetworkOfferings", id=lacking)
    services = {each["name"] for each in held["service"]}
    fits = await offering(land, "fits", ",".join(sorted(services)))
    to["vpcofferingid"] = fits
    named = {"tiernetworkofferings[0].networkid": tier["id"], "tiernetworkofferings[0].networkofferingid": lacking}
    with refusal(431, "of network t2 has"):
        await land.admin("migrateVPC", **to, **named)
    both = {"tiernetworkofferings[1].networkid": other["id"], "tiernetworkofferings[1].networkofferingid": lacking}
    moved = await land.job("migrateVPC", **to, **named, **both)
    assert (fits, {lacking}) == (moved["vpcofferingid"], {each["networkofferingid"] for each in moved["network"]})


async def test_what_cannot_be_migrated_stays_as_it_is(land: Land, vpc: dict[str, Any]):
    plain, tier = await land.network(), await make_tier(land, vpc)
    small = await offering(land, "small", SMALL)
    off = await land.job("createVPCOffering", name="off", displaytext="off", supportedservices=FULL)
    same = vpc["vpcofferingid"]
    at = "tiernetworkofferings[0]."
    isolated = await land.network_offering()
    for params, status, words in (
        ({"vpcofferingid": same}, 431, "has the VPC offering Default VPC offering already"),
        ({"vpcofferingid": off["id"]}, 431, "is not in Enabled state"),
        ({"vpcofferingid": same, f"{at}networkid": tier["id"]}, 431, "has networkid and networkofferingid"),
        ({"vpcofferingid": same, f"{at}networkid": plain["id"], f"{at}networkofferingid": isolated}, 431, "is not in VPC"),
        ({"vpcofferingid": same, f"{at}networkid": tier["id"], f"{at}networkofferingid": isolated}, 431, "lacks Firewall"),
    ):
        with refusal(status, words):
            await land.admin("migrateVPC", **{"vpcid": vpc["id"], **params})
    await land.cloud.change(tables.network, tier["id"], removed=1.0)
    await land.job("createVpnGateway", vpcid=vpc["id"])
    with refusal(536, "has a VPN gateway"):
        await land.admin("migrateVPC", vpcid=vpc["id"], vpcofferingid=small)
    (row,) = await land.admin("listVPCs", id=vpc["id"])
    assert same == row["vpcofferingid"]
