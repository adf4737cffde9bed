"""Offerings of domains are for things of accounts in these domains, whoever makes them; those of zones are for that zone."""

from typing import Any

import pytest

from tests.api.stage import Asker, refusal
from tests.api_networks.land import Land

SIZE = {"cpunumber": 1, "cpuspeed": 500, "memory": 128}


async def guest(land: Land, where: dict[str, str]) -> tuple[str, dict[str, Any]]:
    made = await land.admin("createServiceOffering", name="s", displaytext="s", **SIZE, **where)
    return "deployVirtualMachine", {"serviceofferingid": made["id"], "templateid": land.template["id"], "startvm": False}


async def guest_with_disk(land: Land, where: dict[str, str]) -> tuple[str, dict[str, Any]]:
    made = await land.admin("createDiskOffering", name="d", displaytext="d", disksize=1, **where)
    return "deployVirtualMachine", {"serviceofferingid": land.offering["id"], "templateid": land.template["id"],
                                    "diskofferingid": made["id"], "startvm": False}  # fmt: skip


async def volume(land: Land, where: dict[str, str]) -> tuple[str, dict[str, Any]]:
    made = await land.admin("createDiskOffering", name="d", displaytext="d", disksize=1, **where)
    return "createVolume", {"name": "v", "diskofferingid": made["id"]}


async def network(land: Land, where: dict[str, str]) -> tuple[str, dict[str, Any]]:
    made = await land.admin(
        "createNetworkOffering", name="n", displaytext="n", guestiptype="Isolated", traffictype="GUEST",
        supportedservices="Dhcp,Dns,SourceNat", enable=True, **where,
        **{f"serviceproviderlist[{at}].{key}": value for at, service in enumerate(("Dhcp", "Dns", "SourceNat"))
           for key, value in (("service", service), ("provider", "VirtualRouter"))},
    )  # fmt: skip
    return "createNetwork", {"name": "n", "displaytext": "n", "networkofferingid": made["id"]}


async def vpc(land: Land, where: dict[str, str]) -> tuple[str, dict[str, Any]]:
    made = await land.admin("createVPCOffering", name="p", displaytext="p", enable=True,
                            supportedservices="Dhcp,Dns,SourceNat,NetworkACL", **where)  # fmt: skip
    return "createVPC", {"name": "p", "displaytext": "p", "cidr": "10.9.0.0/16", "vpcofferingid": made["id"], "start": False}


MAKERS = (guest, guest_with_disk, volume, network, vpc)


def of(who: Asker) -> dict[str, str]:
    return {"account": who.account, "domainid": who.domain_id}


@pytest.mark.parametrize("make", MAKERS)
async def test_things_of_an_account_elsewhere_do_not_have_it(land: Land, make: Any):
    east, west = [await land.admin("createDomain", name=name) for name in ("east", "west")]
    below = await land.admin("createDomain", name="below", parentdomainid=east["id"])
    command, given = await make(land, {"domainid": east["id"]})
    inside, outside = [await land.stage.user(name, domain_id=domain["id"]) for name, domain in (("in", below), ("out", west))]
    with refusal(531, "is not available to the domain of account out"):
        await land.admin(command, zoneid=land.zone, **given, **of(outside))
    with refusal(531, "is not available to the domain of account out"):
        await outside(command, zoneid=land.zone, **given)
    assert (await land.admin(command, zoneid=land.zone, **given, **of(inside)))["id"]


@pytest.mark.parametrize("make", MAKERS)
async def test_things_in_another_zone_do_not_have_it(land: Land, make: Any):
    other = await land.admin("createZone", name="other", networktype="Advanced", dns1="192.0.2.1", internaldns1="192.0.2.1")
    command, given = await make(land, {"zoneid": other["id"]})
    with refusal(431, "is not available in zone"):
        await land.admin(command, zoneid=land.zone, **given)
