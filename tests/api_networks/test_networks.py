"""Networks by the API: what is made, what is refused, and rows of the right types."""

import pytest

from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land


async def test_an_isolated_network_has_the_zones_cidr_and_is_only_rows_until_its_first_guest(land: Land):
    network = await land.network()
    assert ("Allocated", "Isolated", "10.1.1.0/24", "10.1.1.1") == (
        network["state"], network["type"], network["cidr"], network["gateway"],
    )  # fmt: skip
    assert_row_matches_catalogue("createNetwork", network)
    assert [] == await land.cloud.turns("network")


async def test_networks_get_different_tags(land: Land):
    first, second = await land.network(name="a"), await land.network(name="b")
    assert ("vxlan://5000", "vxlan://5001") == (first["broadcasturi"], second["broadcasturi"])


async def test_the_gateway_may_be_anywhere_and_guests_keep_to_their_range(land: Land):
    network = await land.network(
        gateway="10.9.0.77", netmask="255.255.255.0", startip="10.9.0.76", endip="10.9.0.79", networkdomain="lab.example.org"
    )
    addresses = [(await land.deploy(networkids=network["id"], name=name))["nic"][0]["ipaddress"] for name in ("a", "b", "c")]
    assert ["10.9.0.76", "10.9.0.78", "10.9.0.79"] == addresses
    with refusal(533, "no free IP address"):
        await land.deploy(networkids=network["id"], name="d")


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"gateway": "10.9.0.1"}, "must be given together"),
        ({"gateway": "10.9.0.0", "netmask": "255.255.255.0"}, "first or last address"),
        ({"gateway": "10.9.0.1", "netmask": "255.0.255.0"}, "Invalid netmask"),
        ({"gateway": "10.9.0.1", "netmask": "255.255.255.0", "startip": "10.8.0.5"}, "is not in"),
        ({"gateway": "10.9.0.1", "netmask": "255.255.255.0", "startip": "10.9.0.9", "endip": "10.9.0.5"}, "is after"),
        ({"gateway": "169.254.3.1", "netmask": "255.255.255.0"}, "another purpose"),
        ({"networkdomain": "-bad-.example"}, "Invalid network domain"),
        ({"acltype": "domain"}, "only for a Shared network"),
        ({"vlan": "120"}, "specifyVlan=false"),
    ],
)
async def test_a_network_that_cannot_be_is_refused(land: Land, params: dict[str, str], text: str):
    with refusal(431, text):
        await land.network(**params)
    assert [] == await land.admin("listNetworks")


async def test_other_peoples_networks_are_neither_seen_nor_used(land: Land):
    one, other = await land.stage.user("one"), await land.stage.user("other")
    network = await land.network(one)
    assert [] == await other("listNetworks", listall=True)
    with refusal(531):
        await land.deploy(other, networkids=network["id"])
    with refusal(531):
        await other("deleteNetwork", id=network["id"])


async def test_a_network_with_guests_stays(land: Land):
    network = await land.network()
    guest = await land.deploy(networkids=network["id"])
    with refusal(536, "not all user vms are expunged"):
        await land.admin("deleteNetwork", id=network["id"])
    await land.admin("destroyVirtualMachine", id=guest["id"], expunge=True)


async def test_deleting_waits_for_the_network_to_be_gone(land: Land):
    network = await land.network()
    accepted = await land.admin("deleteNetwork", id=network["id"])
    assert [("network", "gone")] == await land.open_parts(accepted["jobid"])


async def test_only_a_live_network_can_be_restarted(land: Land):
    network = await land.network()
    with refusal(431, "Correct states are: Implemented, Setup"):
        await land.admin("restartNetwork", id=network["id"])


async def test_restart_with_cleanup_replaces_the_router(land: Land):
    network = await land.network()
    await land.implemented(network["id"])
    accepted = await land.admin("restartNetwork", id=network["id"], cleanup=True)
    assert [("machine", "running"), ("network", "implemented")] == await land.open_parts(accepted["jobid"])


async def test_a_network_is_made_redundant_only_if_its_offering_says_so(land: Land):
    network = await land.network()
    await land.implemented(network["id"])
    with refusal(431, "Redundant router is not supported by the network offering"):
        await land.admin("restartNetwork", id=network["id"], makeredundant=True)


async def test_guests_can_be_kept_to_a_part_of_the_network(land: Land):
    network = await land.network()
    updated = await land.job("updateNetwork", id=network["id"], guestvmcidr="10.1.1.64/27")
    assert "10.1.1.0-10.1.1.63,10.1.1.96-10.1.1.255" == updated["reservediprange"]
    guest = await land.deploy(networkids=network["id"])
    assert "10.1.1.64" == guest["nic"][0]["ipaddress"]
    with refusal(431, "should be a subset"):
        await land.admin("updateNetwork", id=network["id"], guestvmcidr="10.2.0.0/24")


async def test_rows_have_their_services(land: Land):
    await land.network()
    (row,) = await land.admin("listNetworks")
    assert_row_matches_catalogue("listNetworks", row)
    assert {"Dhcp", "Dns", "SourceNat", "Firewall", "PortForwarding"} <= {service["name"] for service in row["service"]}


async def test_tags_of_an_offering_choose_among_several_physical_networks_only(land: Land):
    """Where there is one, it is the one: CloudStack's own tests have offerings with a tag and networks without."""
    offering = await land.admin(
        "createNetworkOffering", name="tagged", displaytext="tagged", guestiptype="Isolated", traffictype="GUEST",
        supportedservices="Dhcp,Dns", tags="native",
        **{f"serviceproviderlist[{n}].{k}": v for n, name in enumerate(("Dhcp", "Dns"))
           for k, v in (("service", name), ("provider", "VirtualRouter"))},
    )  # fmt: skip
    await land.admin("updateNetworkOffering", id=offering["id"], state="Enabled")
    made = await land.network(networkofferingid=offering["id"])
    assert "Allocated" == made["state"]
    other = await land.admin.job("createPhysicalNetwork", name="other", zoneid=land.zone, isolationmethods="VLAN", vlan="300-310")
    await land.admin.job("addTrafficType", physicalnetworkid=other["id"], traffictype="Guest")
    await land.admin.job("updatePhysicalNetwork", id=other["id"], state="Enabled")
    with refusal(431, "Unable to find physical network for guest traffic"):
        await land.network(name="second", networkofferingid=offering["id"])
