"""Offerings: the default ones, new ones, who sees them."""

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import Asker, Stage, refusal

SYSTEM_NAMES = (
    "System Offering For Software Router", "System Offering For Console Proxy", "System Offering For Secondary Storage VM",
    "System Offering For Internal LB VM",
)  # fmt: skip
NETWORK_NAMES = (
    "DefaultSharedNetworkOfferingWithSGService", "DefaultSharedNetworkOffering",
    "DefaultIsolatedNetworkOfferingWithSourceNatService", "DefaultIsolatedNetworkOffering",
    "QuickCloudNoServices", "DefaultNetworkOfferingforKubernetesService",
    "DefaultIsolatedNetworkOfferingForVpcNetworks", "DefaultIsolatedNetworkOfferingForVpcNetworksNoLB",
    "DefaultIsolatedNetworkOfferingForVpcNetworksWithInternalLB",
)  # fmt: skip


async def test_every_cloud_has_the_default_offerings(stage: Stage):
    """Under the names by which clients look for them."""
    system = await stage.admin("listServiceOfferings", issystem=True)
    assert sorted([*SYSTEM_NAMES, *(f"{name} - Local Storage" for name in SYSTEM_NAMES)]) == sorted(row["name"] for row in system)
    sizes = {row["systemvmtype"]: row["memory"] for row in system}
    assert {
        "domainrouter": 512,
        "consoleproxy": 1024,
        "secondarystoragevm": 512,
        "internalloadbalancervm": 512,
    } == sizes
    assert list(NETWORK_NAMES) == [row["name"] for row in await stage.admin("listNetworkOfferings")]
    assert ["Default VPC offering", "Redundant VPC offering"] == [row["name"] for row in await stage.admin("listVPCOfferings")]


async def test_unique_names_are_cloudstacks(stage: Stage):
    """The orchestrator finds them by these."""
    table = tables.service_offering
    names = await stage.store.read(
        lambda tx: [row.unique_name for row in tx.all(sa.select(table.c.unique_name).where(table.c.is_system))]
    )
    assert {
        "Cloud.Com-SoftwareRouter",
        "Cloud.com-ConsoleProxy",
        "Cloud.com-SecondaryStorage",
        "Cloud.Com-InternalLBVm",
    } == {name.removesuffix("-Local") for name in names}


async def test_default_offerings_can_not_be_deleted(stage: Stage):
    """Something counts on them."""
    (system, *_) = await stage.admin("listServiceOfferings", issystem=True)
    (network, *_) = await stage.admin("listNetworkOfferings")
    (vpc, *_) = await stage.admin("listVPCOfferings")
    with refusal(431, "Default service offerings cannot be deleted"):
        await stage.admin("deleteServiceOffering", id=system["id"])
    with refusal(431, "Default network offering can't be deleted"):
        await stage.admin("deleteNetworkOffering", id=network["id"])
    with refusal(536, "Default VPC offering can't be deleted"):
        await stage.admin("deleteVPCOffering", id=vpc["id"])


async def test_service_offering_life(stage: Stage):
    """Made, found, renamed, deleted."""
    made = await stage.admin(
        "createServiceOffering", name="tiny", displaytext="Tiny", cpunumber=2, cpuspeed=1000, memory=256, hosttags="ssd",
        tags="fast", rootdisksize=8, networkrate=100, offerha=True,
    )  # fmt: skip
    assert_row_matches_catalogue("createServiceOffering", made)
    assert (2, 1000, 256, 8, 100, True, False) == tuple(
        made[name] for name in ("cpunumber", "cpuspeed", "memory", "rootdisksize", "networkrate", "offerha", "issystem")
    )
    assert [made] == await stage.admin("listServiceOfferings", name="tiny")
    changed = await stage.admin("updateServiceOffering", id=made["id"], name="small", displaytext="Small one")
    assert ("small", "Small one") == (changed["name"], changed["displaytext"])
    await stage.admin("deleteServiceOffering", id=made["id"])
    assert [] == await stage.admin("listServiceOfferings", name="small")


async def test_a_customized_offering_has_no_sizes_of_its_own(stage: Stage):
    """Only what a machine may choose."""
    made = await stage.admin(
        "createServiceOffering", name="any", displaytext="any", customized=True, mincpunumber=1, maxcpunumber=4, minmemory=64,
        maxmemory=2048,
    )  # fmt: skip
    assert made["iscustomized"]
    assert not {"cpunumber", "memory"} & set(made)
    limits = {"mincpunumber": "1", "maxcpunumber": "4", "minmemory": "64", "maxmemory": "2048"}
    assert limits == made["serviceofferingdetails"]


async def test_system_offerings_are_for_root_admins(stage: Stage):
    """Kinds are matched without case; nobody else may see them."""
    made = await stage.admin(
        "createServiceOffering", name="big router", displaytext="x", cpunumber=2, cpuspeed=1000, memory=1024, issystem=True,
        systemvmtype="DomainRouter", networkrate=1000,
    )  # fmt: skip
    assert ("domainrouter", True, False) == (made["systemvmtype"], made["issystem"], made["defaultuse"])
    listed = await stage.admin("listServiceOfferings", issystem=True, systemvmtype="domainrouter")
    assert made["id"] in [row["id"] for row in listed]
    user = await stage.user()
    with refusal(531, "Only ROOT admins"):
        await user("listServiceOfferings", issystem=True)
    assert ["Medium Instance", "Small Instance"] == sorted(row["name"] for row in await user("listServiceOfferings"))


async def test_an_offering_of_a_domain_is_seen_there_and_below(stage: Stage):
    """And becomes everybody's with domainid=public."""
    east = await stage.admin("createDomain", name="east")
    below = await stage.admin("createDomain", name="below", parentdomainid=east["id"])
    size = {"cpunumber": 1, "cpuspeed": 500, "memory": 512}
    made = await stage.admin("createServiceOffering", name="theirs", displaytext="x", domainid=east["id"], **size)
    assert (east["id"], "east") == (made["domainid"], made["domain"])
    inside, outside = await stage.user("in", domain_id=below["id"]), await stage.user("out")
    assert 1 == len(await inside("listServiceOfferings", name="theirs"))
    assert [] == await outside("listServiceOfferings", name="theirs")
    await stage.admin("updateServiceOffering", id=made["id"], domainid="public")
    assert 1 == len(await outside("listServiceOfferings", name="theirs"))


@pytest.mark.parametrize("noun", ["ServiceOffering", "DiskOffering"])
async def test_lists_of_a_domain_have_its_own_offerings_only(stage: Stage, noun: str):
    """Nothing that is everybody's, and nothing for those who are elsewhere."""
    east, west = [await stage.admin("createDomain", name=name) for name in ("east", "west")]
    below = await stage.admin("createDomain", name="below", parentdomainid=east["id"])
    more = {"cpunumber": 1, "cpuspeed": 500, "memory": 512} if noun == "ServiceOffering" else {"disksize": 1}
    given = {"displaytext": "x", **more}
    await stage.admin(f"create{noun}", name="theirs", domainid=east["id"], **given)
    await stage.admin(f"create{noun}", name="shared", domainid=f"{east['id']},{west['id']}", **given)

    async def names(who: Asker, **params: str) -> list[str]:
        return [row["name"] for row in await who(f"list{noun}s", **params)]

    assert ["theirs", "shared"] == await names(stage.admin, domainid=east["id"])
    assert ["shared"] == await names(stage.admin, domainid=west["id"])
    inside = await stage.user("in", domain_id=below["id"])
    assert ["theirs", "shared"] == await names(inside, domainid=east["id"])
    assert [] == await names(inside, domainid=below["id"])
    with refusal(531):
        await names(inside, domainid=west["id"])


async def test_a_domain_below_another_one_of_an_offering_is_left_out(stage: Stage):
    """For what is for a domain is for those below it."""
    east, west = [await stage.admin("createDomain", name=name) for name in ("east", "west")]
    below = await stage.admin("createDomain", name="below", parentdomainid=east["id"])
    several = ",".join(domain["id"] for domain in (below, west, east))
    made = await stage.admin("createDiskOffering", name="d", displaytext="d", disksize=1, domainid=several)
    assert {east["id"], west["id"]} == set(made["domainid"].split(","))
    changed = await stage.admin("updateDiskOffering", id=made["id"], domainid=f"{below['id']},{west['id']}")
    assert {below["id"], west["id"]} == set(changed["domainid"].split(","))


async def test_a_vpc_offering_always_has_source_nat_and_network_acls(stage: Stage):
    """Also when it names neither, and when a provider is named for what is only added."""
    accepted = await stage.admin(
        "createVPCOffering", name="v", displaytext="v", supportedservices="Dhcp,Dns",
        **{"serviceproviderlist[0].service": "NetworkACL", "serviceproviderlist[0].provider": "VpcVirtualRouter"},
    )  # fmt: skip
    (made,) = await stage.admin("listVPCOfferings", id=accepted["id"])
    assert {"Dhcp", "Dns", "Gateway", "NetworkACL", "SourceNat"} == {service["name"] for service in made["service"]}


async def test_disks_have_no_cache_and_offerings_say_so(stage: Stage):
    """The mode that CloudStack has by default is accepted, and no other one."""
    made = await stage.admin("createDiskOffering", name="d", displaytext="d", disksize=1, cachemode="none")
    assert "none" == made["cacheMode"]
    with refusal(431, "cache mode of disks is none"):
        await stage.admin("createDiskOffering", name="e", displaytext="e", disksize=1, cachemode="writeback")


async def test_disk_offerings(stage: Stage):
    """Sizes in GB."""
    made = await stage.admin("createDiskOffering", name="d7", displaytext="7 GB", disksize=7, tags="fast")
    assert_row_matches_catalogue("createDiskOffering", made)
    assert (7, False) == (made["disksize"], made["iscustomized"])
    changed = await stage.admin("updateDiskOffering", id=made["id"], name="d8")
    assert ("d8", 7) == (changed["name"], changed["disksize"])
    await stage.admin("deleteDiskOffering", id=made["id"])
    assert ["Custom", "Large", "Medium", "Small"] == sorted(row["name"] for row in await stage.admin("listDiskOfferings"))


async def test_a_network_offering_starts_disabled(stage: Stage):
    """With the services, providers and capabilities that were asked for; users see it once it is enabled."""
    router = await stage.admin(
        "createServiceOffering", name="r", displaytext="r", cpunumber=1, cpuspeed=500, memory=512, issystem=True
    )
    made = await stage.admin(
        "createNetworkOffering", name="redundant", displaytext="r", guestiptype="Isolated", traffictype="GUEST",
        supportedservices="Dhcp,Dns,SourceNat,Firewall", egressdefaultpolicy=True, serviceofferingid=router["id"],
        serviceproviderlist__0__service="Dhcp", serviceproviderlist__0__provider="VirtualRouter",
        serviceproviderlist__1__service="SourceNat", serviceproviderlist__1__provider="virtualrouter",
        servicecapabilitylist__0__service="SourceNat", servicecapabilitylist__0__capabilitytype="RedundantRouter",
        servicecapabilitylist__0__capabilityvalue="true",
    )  # fmt: skip
    assert_row_matches_catalogue("createNetworkOffering", made)
    assert ("Disabled", True, router["id"]) == (made["state"], made["egressdefaultpolicy"], made["serviceofferingid"])
    services = {row["name"]: row for row in made["service"]}
    assert {"Dhcp", "Dns", "SourceNat", "Firewall", "Gateway"} == set(services)
    assert [{"name": "VirtualRouter"}] == services["Dns"]["provider"], "a service without provider gets the router"
    redundant = {row["name"]: row["value"] for row in services["SourceNat"]["capability"]}
    assert "true" == redundant["RedundantRouter"]
    user = await stage.user()
    assert [] == await user("listNetworkOfferings", name="redundant")
    await stage.admin("updateNetworkOffering", id=made["id"], state="enabled")
    assert 1 == len(await user("listNetworkOfferings", name="redundant"))
    with refusal(536, "1 network offerings"):
        await stage.admin("deleteServiceOffering", id=router["id"])
    await stage.admin("deleteNetworkOffering", id=made["id"])
    assert [] == await stage.admin("listNetworkOfferings", name="redundant")


async def test_a_network_offerings_router_must_be_a_routers_offering(stage: Stage):
    """Not a guest's, nor a console proxy's."""
    given = {"name": "n", "guestiptype": "Isolated", "traffictype": "Guest", "supportedservices": "Dhcp"}
    for row in (
        (await stage.admin("listServiceOfferings"))[0],
        (await stage.admin("listServiceOfferings", issystem=True, systemvmtype="consoleproxy"))[0],
    ):
        with refusal(431, "not a system offering for routers"):
            await stage.admin("createNetworkOffering", serviceofferingid=row["id"], **given)


async def test_filters_of_network_offerings(stage: Stage):
    """By services, source NAT, VPC and kind of network."""

    async def names(**params: object) -> set[str]:
        return {row["name"] for row in await stage.admin("listNetworkOfferings", **params)}

    assert {name for name in NETWORK_NAMES if "Vpc" in name} == await names(forvpc=True)
    assert {name for name in NETWORK_NAMES if "Shared" in name or name == "QuickCloudNoServices"} == await names(
        guestiptype="shared"
    )
    assert "DefaultIsolatedNetworkOfferingWithSourceNatService" in await names(sourcenatsupported=True, forvpc=False)
    assert "DefaultIsolatedNetworkOffering" in await names(sourcenatsupported=False)
    assert {"DefaultSharedNetworkOfferingWithSGService"} == await names(supportedservices="SecurityGroup,Dhcp")
    assert {"DefaultIsolatedNetworkOfferingWithSourceNatService"} == await names(availability="required")


async def test_who_balances_inside_a_vpc_does_so_only_there(stage: Stage):
    """The scheme follows from the provider, and nothing else may be said of it."""

    def given(name: str, provider: str, scheme: str = "") -> dict[str, object]:
        chosen = {"service": "Lb", "capabilitytype": "LbSchemes", "capabilityvalue": scheme}
        return {
            "name": name, "displaytext": name, "guestiptype": "Isolated", "traffictype": "GUEST", "forvpc": True,
            "supportedservices": "Dhcp,Dns,SourceNat,Lb,NetworkACL",
            "serviceproviderlist__0__service": "Lb", "serviceproviderlist__0__provider": provider,
            **({f"servicecapabilitylist__0__{key}": value for key, value in chosen.items()} if scheme else {}),
        }  # fmt: skip

    for provider, scheme in (("InternalLbVm", "public"), ("VpcVirtualRouter", "internal")):
        with refusal(431, f"Provider {provider} doesn't support capability LbSchemes={scheme}"):
            await stage.admin("createNetworkOffering", **given("wrong", provider, scheme))
    made = await stage.admin("createNetworkOffering", **given("right", "InternalLbVm"))
    (balancing,) = [row for row in made["service"] if row["name"] == "Lb"]
    assert "internal" in {row["value"] for row in balancing["capability"] if row["name"] == "LbSchemes"}


async def test_vpc_offerings(stage: Stage):
    """Made by a job; the id is in the first answer."""
    accepted = await stage.admin("createVPCOffering", name="v", displaytext="v", supportedservices="Dhcp,Dns,SourceNat,Lb")
    (made,) = await stage.admin("listVPCOfferings", id=accepted["id"])
    assert_row_matches_catalogue("listVPCOfferings", made)
    assert "Disabled" == made["state"]
    enabled = await stage.admin.job("updateVPCOffering", id=made["id"], state="Enabled")
    assert "Enabled" == enabled["state"]
    await stage.admin.job("deleteVPCOffering", id=made["id"])
    assert [] == await stage.admin("listVPCOfferings", name="v")


async def test_supported_services(stage: Stage):
    """With providers and capabilities."""
    (balancer,) = await stage.admin("listSupportedNetworkServices", service="lb")
    assert ["VirtualRouter", "VpcVirtualRouter", "InternalLbVm"] == [row["name"] for row in balancer["provider"]]
    values = {row["name"]: row["value"] for row in balancer["capability"]}
    assert "roundrobin,leastconn,source" == values["SupportedLBAlgorithms"]
    of_router = await stage.admin("listSupportedNetworkServices", provider="VirtualRouter")
    assert {
        "Vpn",
        "Dhcp",
        "Dns",
        "Gateway",
        "Firewall",
        "Lb",
        "UserData",
        "SourceNat",
        "StaticNat",
        "PortForwarding",
    } == {row["name"] for row in of_router}
