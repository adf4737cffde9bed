"""The order in which clients build a zone works, and every row is what the catalogue says."""

from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import Stage, refusal
from tests.api_infrastructure.cloud import PUBLIC, Cloud, make_physical_network, make_zone

LISTS = [
    ("listZones", {}),
    ("listPods", {}),
    ("listClusters", {}),
    ("listHosts", {}),
    ("listPhysicalNetworks", {}),
    ("listNetworkServiceProviders", {}),
    ("listVirtualRouterElements", {}),
    ("listVlanIpRanges", {}),
    ("listStoragePools", {}),
    ("listImageStores", {}),
    ("listServiceOfferings", {}),
    ("listServiceOfferings", {"issystem": True}),
    ("listDiskOfferings", {}),
    ("listNetworkOfferings", {}),
    ("listVPCOfferings", {}),
    ("listHypervisors", {}),
    ("listHypervisorCapabilities", {}),
    ("listSupportedNetworkServices", {}),
    ("listOsTypes", {}),
    ("listOsCategories", {}),
    ("listRegions", {}),
    ("listStorageProviders", {"type": "primary"}),
    ("listNetworkIsolationMethods", {}),
    ("listTrafficTypeImplementors", {}),
]


@pytest.mark.parametrize(("command", "params"), LISTS, ids=[f"{name}{params or ''}" for name, params in LISTS])
async def test_rows_are_as_the_catalogue_says(cloud: Cloud, command: str, params: dict[str, Any]):
    """Each list of a built zone has rows, with declared fields of declared types only."""
    rows = await cloud.admin(command, **params)
    assert rows, command
    for row in rows:
        assert_row_matches_catalogue(command, row)


async def test_rows_that_need_a_parameter(cloud: Cloud):
    """Traffic types, tags of hosts, storage ranges and templates."""
    await cloud.add_host("host2", hosttags="ssd,gpu")
    await cloud.admin.job(
        "createStorageNetworkIpRange", podid=cloud.pod["id"], gateway="172.17.0.1", netmask="255.255.255.0",
        startip="172.17.0.10", endip="172.17.0.20", vlan=77,
    )  # fmt: skip
    await cloud.template()
    for command, params in (
        ("listTrafficTypes", {"physicalnetworkid": cloud.physical["id"]}),
        ("listHostTags", {}),
        ("listStorageNetworkIpRange", {}),
        ("listTemplates", {"templatefilter": "self"}),
    ):
        rows = await cloud.admin(command, **params)
        assert rows, command
        for row in rows:
            assert_row_matches_catalogue(command, row)


async def test_each_step_is_seen_in_the_lists(cloud: Cloud):
    """What was built is there, in the state that it was brought to."""
    admin = cloud.admin
    (zone,) = await admin("listZones", name="zone1")
    assert ("Enabled", "Advanced") == (zone["allocationstate"], zone["networktype"])
    assert {"Enabled"} == {row["state"] for row in await admin("listNetworkServiceProviders")}
    assert {True} == {row["enabled"] for row in await admin("listVirtualRouterElements")}
    assert ["Guest", "Management", "Public", "Storage"] == sorted(
        row["traffictype"] for row in await admin("listTrafficTypes", physicalnetworkid=cloud.physical["id"])
    )
    (host,) = await admin("listHosts", type="Routing")
    assert ("Connecting", "Simulator", "c1") == (host["state"], host["hypervisor"], host["clustername"])
    (pod,) = await admin("listPods", name="pod1")
    assert [{"startip": "172.16.0.10", "endip": "172.16.0.50"}] == [
        {key: row[key] for key in ("startip", "endip")} for row in pod["ipranges"]
    ]
    assert 11 == len(await _public_ips(cloud))


async def _public_ips(cloud: Cloud) -> Any:
    return await cloud.stage.store.read(lambda tx: tx.all(sa.select(tables.public_ip)))


async def test_changes_wake_whoever_works_on_them(cloud: Cloud):
    """The zone's and the host's turns have been wished."""
    assert [1] == await cloud.turns("zone")
    assert [1] == await cloud.turns("host")


async def test_a_zone_is_enabled_only_with_its_traffic_types(stage: Stage):
    """Without Management, Public or Guest traffic the zone could never serve."""
    zone = await make_zone(stage, "z")
    with refusal(431, "Cannot enable this Zone since"):
        await stage.admin("updateZone", id=zone["id"], allocationstate="Enabled")
    await make_physical_network(stage.admin, zone["id"])
    enabled = await stage.admin("updateZone", id=zone["id"], allocationstate="enabled")
    assert "Enabled" == enabled["allocationstate"]


async def test_a_provider_is_enabled_only_when_its_element_is(stage: Stage):
    """configureVirtualRouterElement comes first."""
    zone = await make_zone(stage, "z")
    physical = await stage.admin.job("createPhysicalNetwork", zoneid=zone["id"], name="p")
    (provider,) = await stage.admin("listNetworkServiceProviders", name="VirtualRouter", physicalnetworkid=physical["id"])
    with refusal(431, "configure the provider first"):
        await stage.admin("updateNetworkServiceProvider", id=provider["id"], state="Enabled")
    (element,) = await stage.admin("listVirtualRouterElements", nspid=provider["id"])
    await stage.admin.job("configureVirtualRouterElement", id=element["id"], enabled=True)
    enabled = await stage.admin.job("updateNetworkServiceProvider", id=provider["id"], state="Enabled")
    assert "Enabled" == enabled["state"]


async def test_a_create_command_answers_with_id_and_job(stage: Stage):
    """`{"id": .., "jobid": ..}`, and the id is the object's."""
    zone = await make_zone(stage, "z")
    accepted = await stage.admin("createPhysicalNetwork", zoneid=zone["id"], name="p")
    (network,) = await stage.admin("listPhysicalNetworks", zoneid=zone["id"])
    assert network["id"] == accepted["id"]
    assert {"id", "jobid"} == set(accepted)


async def test_a_zone_is_taken_apart_in_the_reverse_order(cloud: Cloud):
    """Each step refuses while something is left below it."""
    admin = cloud.admin
    for command, id_ in (("deleteZone", cloud.zone), ("deletePod", cloud.pod), ("deleteCluster", cloud.cluster)):
        with refusal(431):
            await admin(command, id=id_["id"])
    await admin.job("enableStorageMaintenance", id=cloud.pool["id"])
    for command, row in (
        ("deleteImageStore", cloud.store),
        ("deleteStoragePool", cloud.pool),
        ("deleteHost", cloud.host),
        ("deleteCluster", cloud.cluster),
        ("deletePod", cloud.pod),
    ):
        assert {"success": True} == await admin(command, id=row["id"]), command
    await admin.job("deletePhysicalNetwork", id=cloud.physical["id"])
    assert {"success": True} == await admin("deleteZone", id=cloud.zone["id"])
    assert [] == await admin("listZones")
    assert [] == await _public_ips(cloud)


async def test_a_range_that_was_deleted_can_be_made_again(cloud: Cloud):
    """Nothing of it is left behind."""
    await cloud.admin("deleteVlanIpRange", id=cloud.public["id"])
    await cloud.admin("createVlanIpRange", zoneid=cloud.zone["id"], forvirtualnetwork=True, **PUBLIC)
    assert 11 == len(await _public_ips(cloud))


async def test_users_see_enabled_zones_only(cloud: Cloud):
    """And neither internal resolvers nor tokens of them."""
    await make_zone(cloud.stage, "closed")
    user = await cloud.stage.user()
    (zone,) = await user("listZones")
    assert "zone1" == zone["name"]
    assert not {"internaldns1", "guestcidraddress", "zonetoken", "resourcedetails"} & set(zone)


async def test_a_dedicated_zone_is_hidden_from_other_domains(cloud: Cloud):
    """Only the domain that it is for, and those below, see it."""
    domain = await cloud.stage.admin("createDomain", name="east")
    zone = await make_zone(cloud.stage, "private", domainid=domain["id"])
    await cloud.change(tables.zone, zone["id"], allocation_state="Enabled")
    inside, outside = await cloud.stage.user("in", domain_id=domain["id"]), await cloud.stage.user("out")
    assert ["private", "zone1"] == sorted(row["name"] for row in await inside("listZones"))
    assert ["zone1"] == [row["name"] for row in await outside("listZones")]


async def test_a_public_range_is_the_systems_unless_it_is_dedicated(cloud: Cloud):
    """As CloudStack names its owner."""
    user, id_ = await cloud.stage.user("one"), cloud.public["id"]
    assert "system" == cloud.public["account"]
    await cloud.admin("dedicatePublicIpRange", id=id_, account=user.account, domainid=user.domain_id)
    assert ["one"] == [row["account"] for row in await cloud.admin("listVlanIpRanges", id=id_)]
    await cloud.admin("releasePublicIpRange", id=id_)
    assert ["system"] == [row["account"] for row in await cloud.admin("listVlanIpRanges", id=id_)]
