"""Guest VLANs that one account has for its own networks."""

from typing import Any

import pytest

from tests.api.rows import assert_row_matches_catalogue
from tests.api.stage import Asker, refusal
from tests.api_networks.land import Land


async def physical(land: Land, vlan: str = "500-509") -> dict[str, Any]:
    """The physical network of the zone, with ten tags."""
    (found,) = await land.admin("listPhysicalNetworks", zoneid=land.zone)
    await land.admin("updatePhysicalNetwork", id=found["id"], vlan=vlan)
    return dict(found)


async def dedicate(land: Land, who: Asker, span: str, **params: Any) -> dict[str, Any]:
    """A range for the account of that user."""
    (network,) = await land.admin("listPhysicalNetworks", zoneid=land.zone)
    given = {"physicalnetworkid": network["id"], "account": who.account, "domainid": who.domain_id, "vlanrange": span}
    return dict(await land.admin("dedicateGuestVlanRange", **{**given, **params}))


async def tag(land: Land, who: Asker, name: str) -> int:
    """Which tag a new network of the user has."""
    made = await land.network(who, name=name)
    (seen,) = await land.admin("listNetworks", id=made["id"])
    return int(seen["vlan"])


async def test_an_accounts_networks_get_its_own_tags_first_and_nobody_elses_do(land: Land):
    await physical(land)
    owner, other = await land.stage.user("owner"), await land.stage.user("other")
    made = await dedicate(land, owner, "500-501")
    assert_row_matches_catalogue("listDedicatedGuestVlanRanges", made)
    assert ("500-501", "owner") == (made["guestvlanrange"], made["account"])
    assert [502, 503] == [await tag(land, other, name) for name in ("a", "b")]
    assert [500, 501, 504] == [await tag(land, owner, name) for name in ("c", "d", "e")]
    await land.admin("updateConfiguration", name="use.system.guest.vlans", value="false")
    with refusal(533, "Insufficient virtual network capacity"):
        await tag(land, owner, "f")
    assert 505 == await tag(land, other, "g")


async def test_a_range_is_listed_and_released(land: Land):
    network = await physical(land)
    owner = await land.stage.user("owner")
    made = await dedicate(land, owner, "500-501")
    for filter_ in ({}, {"account": "owner", "domainid": owner.domain_id}, {"guestvlanrange": "500-501"}, {"zoneid": land.zone},
                    {"physicalnetworkid": network["id"]}, {"id": made["id"]}):  # fmt: skip
        assert [made] == await land.admin("listDedicatedGuestVlanRanges", **filter_)
    assert [] == await land.admin("listDedicatedGuestVlanRanges", guestvlanrange="502-503")
    await land.admin("releaseDedicatedGuestVlanRange", id=made["id"])
    assert [] == await land.admin("listDedicatedGuestVlanRanges")
    assert 500 == await tag(land, await land.stage.user("other"), "a")


REFUSED = (
    ("600-601", {}, 431, "is not within 500-509"),
    ("508-510", {}, 431, "is not within 500-509"),
    ("503-504,506-507", {}, 431, "expected one range"),
    ("501-502", {}, 431, "overlaps 500-501"),
    ("505-509", {}, 536, "used by network taken of another account"),
    ("503-504", {"account": "nobody"}, 431, "Unable to find account nobody"),
)


@pytest.mark.parametrize(("span", "params", "code", "text"), REFUSED)
async def test_ranges_that_are_refused(land: Land, span: str, params: dict[str, str], code: int, text: str):
    await physical(land, "505-509")
    await tag(land, await land.stage.user("other"), "taken")
    await physical(land)
    owner = await land.stage.user("owner")
    await dedicate(land, owner, "500-501")
    with refusal(code, text):
        await dedicate(land, owner, span, **params)


async def test_the_physical_network_keeps_what_is_dedicated(land: Land):
    network = await physical(land)
    await dedicate(land, await land.stage.user("owner"), "500-501")
    with refusal(536, "leaves out 500-501"):
        await land.admin("updatePhysicalNetwork", id=network["id"], vlan="501-509")
