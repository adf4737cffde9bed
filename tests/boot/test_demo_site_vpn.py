"""Two VPCs of the demo that are each other's other side: their real routers meet, also when one of them is replaced."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sysvm.cli.client import Json
from tests.boot.patience import NotYet
from tests.boot.world import World

pytestmark = [pytest.mark.root, pytest.mark.template]

WORDS = {"ipsecpsk": "between us", "ikepolicy": "aes256-sha256;modp2048", "esppolicy": "aes256-sha256", "dpd": "true"}


@dataclass(frozen=True)
class Side:
    """A VPC with one tier and its gateway."""

    demo: World
    number: int
    vpc: Json
    gateway: Json
    tier: Json

    @property
    def inside(self) -> str:
        """The router's address in the tier."""
        return f"10.{self.number}.1.1"

    @property
    def cidr(self) -> str:
        return f"10.{self.number}.0.0/16"

    @property
    def router(self) -> Json:
        (found,) = self.demo.client.rows("listRouters", "router", vpcid=self.vpc["id"], listall="true")
        return found

    def reaches(self, other: "Side") -> bool:
        """Whether the other router's address inside answers to this one's. Raises NotYet."""
        words = ("ping", "-c", "1", "-W", "1", "-I", self.inside, other.inside)
        argv = ("nsenter", "-t", str(self.demo.init(self.router["id"])), "-n", *words)
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NotYet(f"{other.inside} is silent: {done.stdout}{done.stderr}")
        return True


def side(demo: World, number: int) -> Side:
    """Made by the API."""
    client = demo.client

    def one(command: str, key: str, name: str) -> str:
        return next(str(row["id"]) for row in client.rows(command, key) if row["name"] == name)

    (zone,) = client.rows("listZones", "zone")
    vpc = client.job(
        "createVPC", name=f"v{number}", displaytext="v", cidr=f"10.{number}.0.0/16", zoneid=zone["id"],
        vpcofferingid=one("listVPCOfferings", "vpcoffering", "Default VPC offering"),
    )["vpc"]  # fmt: skip
    tier = client.call(
        "createNetwork", name=f"t{number}", displaytext="t", zoneid=zone["id"], vpcid=vpc["id"],
        networkofferingid=one("listNetworkOfferings", "networkoffering", "DefaultIsolatedNetworkOfferingForVpcNetworks"),
        gateway=f"10.{number}.1.1", netmask="255.255.255.0",
    )["network"]  # fmt: skip
    return Side(demo, number, vpc, client.job("createVpnGateway", vpcid=vpc["id"])["vpngateway"], tier)


@pytest.fixture
def sides(demo: World) -> Iterator[tuple[Side, Side]]:
    """Both; nothing of them is left."""
    made: list[Side] = []
    try:
        made += [side(demo, 8)]
        made += [side(demo, 9)]
        yield made[0], made[1]
    finally:
        for each in made:
            demo.client.job("deleteNetwork", id=each.tier["id"])
            demo.client.job("deleteVPC", id=each.vpc["id"])
        for row in demo.client.rows("listVpnCustomerGateways", "vpncustomergateway"):
            demo.client.job("deleteVpnCustomerGateway", id=row["id"])


def connect(near: Side, far: Side, **words: Any) -> str:
    """A connection from one's gateway to the other's address; its id."""
    client = near.demo.client
    other = client.job(
        "createVpnCustomerGateway", gateway=far.gateway["publicip"], cidrlist=far.cidr, name=f"to {far.number}", **WORDS
    )["vpncustomergateway"]
    gateways = {"s2svpngatewayid": near.gateway["id"], "s2scustomergatewayid": other["id"]}
    return str(client.job("createVpnConnection", **gateways, **words)["vpnconnection"]["id"])


def is_connected(demo: World) -> bool:
    """Both routers say so. Raises NotYet."""
    rows = demo.client.rows("listVpnConnections", "vpnconnection")
    if [row["state"] for row in rows] != ["Connected", "Connected"]:
        raise NotYet(str([(row["state"], row.get("note")) for row in rows]))
    return True


def test_two_vpcs_meet_and_meet_again(demo: World, sides: tuple[Side, Side]) -> None:
    """Told by the API, proved by packets between both insides; which ESP it is, is in the router's details."""
    first, second = sides
    connect(second, first, passive="true")
    begun = connect(first, second)
    demo.until(lambda: is_connected(demo), "both to be connected")
    demo.until(lambda: first.reaches(second) and second.reaches(first), "both insides to answer")
    assert str(first.router["servicenotes"]).startswith("ESP by ")
    demo.client.job("restartVPC", id=first.vpc["id"], cleanup="true")
    demo.until(lambda: first.reaches(second), "the router that came to have its tunnel")
    demo.until(lambda: is_connected(demo), "both to be connected again")
    demo.client.job("deleteVpnConnection", id=begun)
    with pytest.raises(NotYet):
        first.reaches(second)
    assert "servicenotes" not in first.router
