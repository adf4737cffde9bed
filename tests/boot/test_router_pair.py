"""A redundant network of the demo: two routers as containers on its host. One is killed while connections go through it, and then
both live their next incarnation, one after the other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from sysvm.cli.client import Json
from tests.boot.patience import NotYet, same
from tests.boot.traffic import UNBORN, Seen, replaced, visiting
from tests.boot.world import World

pytestmark = [pytest.mark.root, pytest.mark.template]
SERVICES = ("Dhcp", "Dns", "UserData", "SourceNat", "StaticNat", "PortForwarding", "Firewall", "Lb")


@dataclass(frozen=True)
class Paired(World):
    """The demo, where "one" and "router" are those of the redundant network; "router" is the one that serves."""

    guest: str = ""
    network: str = ""

    def machine(self, name: str) -> Json:
        """See World."""
        if name == "one":
            return next(row for row in self.machines() if row["id"] == self.guest)
        return self.routers()["PRIMARY"]

    def routers(self) -> dict[str, Json]:
        """Both, by what they say of themselves. Raises NotYet while they are no pair."""
        rows = self.client.rows("listRouters", "router", listall="true", networkid=self.network)
        found = {row["redundantstate"]: row for row in rows if row["state"] == "Running"}
        if set(found) != {"PRIMARY", "BACKUP"} or len(rows) != 2 or not all(row["isredundantrouter"] for row in rows):
            raise NotYet(f"the routers are {[(row['name'], row['state'], row['redundantstate']) for row in rows]}")
        return found


def _offering(demo: World) -> str:
    lists = {f"serviceproviderlist[{number}].service": service for number, service in enumerate(SERVICES)}
    lists |= {f"serviceproviderlist[{number}].provider": "VirtualRouter" for number in range(len(SERVICES))}
    words = {"service": "SourceNat", "capabilitytype": "RedundantRouter", "capabilityvalue": "true"}
    lists |= {f"servicecapabilitylist[0].{name}": value for name, value in words.items()}
    made = demo.client.call(
        "createNetworkOffering", name="two routers", displaytext="two routers", guestiptype="Isolated",
        traffictype="GUEST", supportedservices=",".join(SERVICES), egressdefaultpolicy="true", **lists,
    )["networkoffering"]  # fmt: skip
    demo.client.call("updateNetworkOffering", id=made["id"], state="Enabled")
    return str(made["id"])


@contextmanager
def paired(demo: World) -> Iterator[Paired]:
    """A network with two routers and a guest; gone at the end."""
    (first, *_) = demo.client.rows("listVirtualMachines", "virtualmachine", id=demo.uuid("one"))
    network = demo.client.call(
        "createNetwork", name="paired", displaytext="paired", networkofferingid=_offering(demo), zoneid=first["zoneid"]
    )["network"]["id"]  # fmt: skip
    guest = demo.client.job(
        "deployVirtualMachine", name="paired", serviceofferingid=first["serviceofferingid"], zoneid=first["zoneid"],
        templateid=first["templateid"], networkids=network,
    )["virtualmachine"]["id"]  # fmt: skip
    try:
        yield Paired(demo.state, guest, network)
    finally:
        demo.client.job("destroyVirtualMachine", id=guest, expunge="true")
        demo.client.job("deleteNetwork", id=network)


def outlived(world: Paired, act: Callable[[], object], *, at_birth: int = 0) -> Seen:
    """What is noticed of it: no stream that stands is lost, whoever speaks on it, and no more than `at_birth` of those that are
    just being born."""
    with visiting(world) as visitor:
        seen = replaced(world, visitor, {}, act)
    print(f"{seen.pings_lost} of {seen.pings} pings, {len(seen.lost)} of {seen.streams} streams; {seen.silence_s:.2f} s")
    assert [] == [why for why in seen.lost if not why.startswith(UNBORN)]
    assert len(seen.lost) <= at_birth
    assert seen.streams > 2
    return seen


def serves_now(world: Paired, name: str) -> bool:
    """They are a pair, and that one serves. Raises NotYet."""
    serving = world.routers()["PRIMARY"]["name"]
    if serving != name:
        raise NotYet(f"{serving} serves")
    return True


def killed(world: Paired) -> None:
    """The container of the one that serves dies at once; the other one serves, and the dead one comes back to wait."""
    routers = world.until(world.routers, "the routers are a pair")
    (first, second) = routers["PRIMARY"], routers["BACKUP"]
    world.kill(lambda: world.init(first["id"]))
    world.until(lambda: serves_now(world, second["name"]), "the other one serves, and the first one is back")


def test_connections_outlive_the_router_that_served_and_two_that_are_replaced(demo: World):
    before = demo.census()
    with paired(demo) as world:
        world.until(world.routers, "the routers are a pair")
        # One stream is born at any time. When its server has the word and the other router has not been told of it yet, nobody
        # ever will tell that router.
        outlived(world, lambda: killed(world), at_birth=1)
        assert any("just switch from BACKUP to PRIMARY" in text for text in world.alerts().values())
        numbers = {row["id"]: world.incarnation(row["id"]) for row in world.until(world.routers, "a pair").values()}

        def again() -> None:
            world.client.job("restartNetwork", id=world.network, cleanup="true")
            world.until(world.routers, "the routers are a pair again")

        outlived(world, again)
        assert numbers.keys() == {row["id"] for row in world.routers().values()}
        assert all(world.incarnation(router) > number for router, number in numbers.items())
    demo.until(lambda: same(demo.census(), before), "nothing of the network is on the host")
