"""Public addresses, firewall, egress, port forwarding and static NAT: what stands beside what."""

from typing import Any

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import refusal
from tests.api_networks.land import Land


@pytest.fixture
async def network(land: Land) -> dict[str, Any]:
    """An implemented network with one guest."""
    made = await land.network()
    await land.deploy(networkids=made["id"], name="web")
    return await land.implemented(made["id"])


async def guest_of(land: Land, name: str = "web") -> dict[str, Any]:
    (row,) = await land.admin("listVirtualMachines", name=name)
    return row


async def test_an_address_is_taken_and_given_back(land: Land, network: dict[str, Any]):
    address = await land.public_ip(network)
    assert ("Allocated", network["id"], False) == (
        address["state"], address["associatednetworkid"], address["issourcenat"],
    )  # fmt: skip
    assert_row_matches_catalogue("associateIpAddress", address)
    accepted = await land.admin("disassociateIpAddress", id=address["id"])
    (row,) = await land.admin("listPublicIpAddresses", id=address["id"])
    assert "Releasing" == row["state"], "nobody gets it before the router has dropped it"
    with refusal(431, "it is Releasing"):
        await land.admin("createFirewallRule", ipaddressid=address["id"], protocol="tcp", startport=1)
    accepted = await land.admin("disassociateIpAddress", id=address["id"])
    await land.serve(accepted["jobid"])
    assert [] == await land.admin("listPublicIpAddresses", id=address["id"])


async def test_the_source_nat_address_stays(land: Land, network: dict[str, Any]):
    (source_nat,) = await land.admin("listPublicIpAddresses", issourcenat=True)
    assert_row_matches_catalogue("listPublicIpAddresses", source_nat)
    with refusal(431, "source nat purposes"):
        await land.admin("disassociateIpAddress", id=source_nat["id"])


async def test_a_full_public_range_is_533_and_an_alert(land: Land, network: dict[str, Any]):
    for _ in range(10):
        await land.public_ip(network)
    for _ in range(2):
        with refusal(533, "createVlanIpRange"):
            await land.admin("associateIpAddress", networkid=network["id"])
    found = await land.rows(sa.select(tables.alert).where(tables.alert.c.name == "ALERT.NETWORK.PUBLICIP"))
    assert [2] == [row.sent_count for row in found], "one alert, counted twice"


async def test_a_firewall_rule_is_active_when_the_router_has_it(land: Land, network: dict[str, Any]):
    address = await land.public_ip(network)
    accepted = await land.admin("createFirewallRule", ipaddressid=address["id"], protocol="TCP", startport=22, endport=23)
    assert [("machine", "live")] == await land.open_parts(accepted["jobid"])
    (row,) = await land.admin("listFirewallRules", id=accepted["id"])
    assert ("Add", "tcp", "0.0.0.0/0") == (row["state"], row["protocol"], row["cidrlist"])
    assert_row_matches_catalogue("listFirewallRules", row)
    await land.serve(accepted["jobid"])
    (row,) = await land.admin("listFirewallRules", id=accepted["id"])
    assert "Active" == row["state"]
    await land.job("deleteFirewallRule", id=row["id"])
    assert [] == await land.admin("listFirewallRules")


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"protocol": "gre"}, "is not supported"),
        ({"protocol": "tcp", "startport": 0}, "publicPort is an invalid value: 0"),
        ({"protocol": "tcp", "startport": 90, "endport": 80}, "Start port can't be bigger than end port"),
        ({"protocol": "tcp", "startport": 1, "endport": 70000}, "range is an invalid value: 70000"),
        ({"protocol": "tcp", "icmptype": 8}, "for ICMP protocol only"),
        ({"protocol": "icmp", "startport": 8}, "when protocol is ICMP"),
        ({"protocol": "icmp", "icmptype": 999}, "Invalid ICMP type"),
        ({"protocol": "tcp", "startport": 80, "cidrlist": "10.0.0.0"}, "Source cidrs formatting error 10.0.0.0"),
        ({"protocol": "tcp", "startport": 80, "cidrlist": "nonsense/8"}, "Source cidrs formatting error"),
    ],
)
async def test_a_rule_that_cannot_be_is_refused(land: Land, network: dict[str, Any], params: dict[str, Any], text: str):
    address = await land.public_ip(network)
    with refusal(431, text):
        await land.admin("createFirewallRule", ipaddressid=address["id"], **params)


async def test_overlapping_firewall_rules_conflict_only_for_the_same_source(land: Land, network: dict[str, Any]):
    address = await land.public_ip(network)
    given = {"ipaddressid": address["id"], "protocol": "tcp"}
    await land.job("createFirewallRule", startport=80, endport=90, cidrlist="10.0.0.0/8", **given)
    with refusal(537, "conflicts with rule"):
        await land.admin("createFirewallRule", startport=85, endport=95, cidrlist="10.0.0.0/8", **given)
    await land.job("createFirewallRule", startport=85, endport=95, cidrlist="192.168.0.0/16", **given)
    await land.job("createFirewallRule", startport=91, cidrlist="10.0.0.0/8", **given)


async def test_a_forward_opens_the_firewall_and_closes_it(land: Land, network: dict[str, Any]):
    address, guest = await land.public_ip(network), await guest_of(land)
    forward = await land.job(
        "createPortForwardingRule", ipaddressid=address["id"], protocol="tcp", publicport=2222, privateport=22,
        virtualmachineid=guest["id"],
    )  # fmt: skip
    assert ("2222", "2222", "22", "22", guest["nic"][0]["ipaddress"], "Active") == tuple(
        forward[name] for name in ("publicport", "publicendport", "privateport", "privateendport", "vmguestip", "state")
    )
    assert_row_matches_catalogue("createPortForwardingRule", forward)
    (opened,) = await land.admin("listFirewallRules")
    assert (2222, 2222, "Active") == (opened["startport"], opened["endport"], opened["state"])
    await land.job("deletePortForwardingRule", id=forward["id"])
    assert ([], []) == (await land.admin("listFirewallRules"), await land.admin("listPortForwardingRules"))


@pytest.mark.parametrize(
    ("code", "params", "text"),
    [
        (431, {"publicport": 80, "publicendport": 89, "privateport": 80, "privateendport": 80}, "equal sizes"),
        (431, {"publicport": 80, "privateport": 80, "protocol": "icmp"}, "not supported"),
        (431, {"publicport": 80, "privateport": 80, "vmguestip": "10.1.1.250"}, "is not an address of the vm"),
        (537, {"publicport": 2200, "publicendport": 2300, "privateport": 2200, "privateendport": 2300}, "conflicts with rule"),
    ],
)
async def test_a_forward_that_cannot_be_is_refused(
    land: Land, network: dict[str, Any], code: int, params: dict[str, Any], text: str
):
    address, guest = await land.public_ip(network), await guest_of(land)
    given = {"ipaddressid": address["id"], "protocol": "tcp", "virtualmachineid": guest["id"]}
    await land.job("createPortForwardingRule", publicport=2222, privateport=22, **given)
    with refusal(code, text):
        await land.admin("createPortForwardingRule", **{**given, **params})


async def test_a_forward_leads_to_guests_of_its_network_only(land: Land, network: dict[str, Any]):
    other = await land.network(name="other")
    stranger = await land.deploy(networkids=other["id"], name="stranger")
    address = await land.public_ip(network)
    with refusal(431, "VM doesn't belong to network"):
        await land.admin(
            "createPortForwardingRule", ipaddressid=address["id"], protocol="tcp", publicport=1, privateport=1,
            virtualmachineid=stranger["id"],
        )  # fmt: skip


async def test_static_nat_needs_an_address_for_itself(land: Land, network: dict[str, Any]):
    address, second, guest = await land.public_ip(network), await land.public_ip(network), await guest_of(land)
    (source_nat,) = await land.admin("listPublicIpAddresses", issourcenat=True)
    with refusal(431, "sourceNat ip address"):
        await land.admin("enableStaticNat", ipaddressid=source_nat["id"], virtualmachineid=guest["id"])
    assert {"success": True} == await land.admin("enableStaticNat", ipaddressid=address["id"], virtualmachineid=guest["id"])
    (row,) = await land.admin("listPublicIpAddresses", isstaticnat=True)
    assert (guest["id"], guest["nic"][0]["ipaddress"]) == (row["virtualmachineid"], row["vmipaddress"])
    assert_row_matches_catalogue("listPublicIpAddresses", row)
    with refusal(537, "is already associated with ip"):
        await land.admin("enableStaticNat", ipaddressid=second["id"], virtualmachineid=guest["id"])
    with refusal(431, "has static nat enabled"):
        await land.admin(
            "createPortForwardingRule", ipaddressid=address["id"], protocol="tcp", publicport=1, privateport=1,
            virtualmachineid=guest["id"],
        )  # fmt: skip
    await land.job("disableStaticNat", ipaddressid=address["id"])
    assert [] == await land.admin("listPublicIpAddresses", isstaticnat=True)


async def test_static_nat_is_refused_on_an_address_with_forwards(land: Land, network: dict[str, Any]):
    address, guest = await land.public_ip(network), await guest_of(land)
    await land.job(
        "createPortForwardingRule", ipaddressid=address["id"], protocol="tcp", publicport=1, privateport=1,
        virtualmachineid=guest["id"],
    )  # fmt: skip
    with refusal(537, "already has PortForwarding rules assigned"):
        await land.admin("enableStaticNat", ipaddressid=address["id"], virtualmachineid=guest["id"])


async def test_ip_forwarding_rules_open_ports_of_static_nat(land: Land, network: dict[str, Any]):
    address, guest = await land.public_ip(network), await guest_of(land)
    with refusal(431, "has no static nat enabled"):
        await land.admin("createIpForwardingRule", ipaddressid=address["id"], protocol="tcp", startport=80)
    await land.admin("enableStaticNat", ipaddressid=address["id"], virtualmachineid=guest["id"])
    made = await land.job("createIpForwardingRule", ipaddressid=address["id"], protocol="tcp", startport=80, endport=81)
    (row,) = await land.admin("listIpForwardingRules", virtualmachineid=guest["id"])
    assert (made["id"], "80", "81") == (row["id"], row["publicport"], row["publicendport"])
    assert_row_matches_catalogue("listIpForwardingRules", row)
    await land.job("deleteIpForwardingRule", id=row["id"])
    assert [] == await land.admin("listIpForwardingRules")


async def test_egress_rules_are_about_the_networks_own_guests(land: Land, network: dict[str, Any]):
    rule = await land.job("createEgressFirewallRule", networkid=network["id"], protocol="all")
    assert ("10.1.1.0/24", "Egress", "all") == (rule["cidrlist"], rule["traffictype"], rule["protocol"])
    assert_row_matches_catalogue("createEgressFirewallRule", rule)
    with refusal(431, "is not within the network's CIDR"):
        await land.admin("createEgressFirewallRule", networkid=network["id"], protocol="tcp", startport=1, cidrlist="10.2.0.0/16")
    with refusal(431, "Do not pass ports to protocol ALL"):
        await land.admin("createEgressFirewallRule", networkid=network["id"], protocol="all", startport=1)
    with refusal(537):
        await land.admin("createEgressFirewallRule", networkid=network["id"], protocol="all")
    assert [rule["id"]] == [row["id"] for row in await land.admin("listEgressFirewallRules")]
    assert [] == await land.admin("listFirewallRules")


async def test_others_neither_see_nor_touch_rules(land: Land, network: dict[str, Any]):
    address = await land.public_ip(network)
    rule = await land.job("createFirewallRule", ipaddressid=address["id"], protocol="tcp", startport=22)
    other = await land.stage.user("other")
    assert [] == await other("listFirewallRules", listall=True)
    for command, params in (
        ("deleteFirewallRule", {"id": rule["id"]}),
        ("createFirewallRule", {"ipaddressid": address["id"], "protocol": "tcp", "startport": 80}),
        ("disassociateIpAddress", {"id": address["id"]}),
        ("createEgressFirewallRule", {"networkid": network["id"], "protocol": "all"}),
    ):
        with refusal(531):
            await other(command, **params)


async def test_expunging_a_guest_takes_away_what_led_to_it(land: Land, network: dict[str, Any]):
    address, nat, guest = await land.public_ip(network), await land.public_ip(network), await guest_of(land)
    await land.job(
        "createPortForwardingRule", ipaddressid=address["id"], protocol="tcp", publicport=1, privateport=1,
        virtualmachineid=guest["id"],
    )  # fmt: skip
    await land.admin("enableStaticNat", ipaddressid=nat["id"], virtualmachineid=guest["id"])
    await land.admin("destroyVirtualMachine", id=guest["id"], expunge=True)
    assert ([], [], []) == (
        await land.admin("listPortForwardingRules"),
        await land.admin("listFirewallRules"),
        await land.admin("listPublicIpAddresses", isstaticnat=True),
    )
