"""The demo's router balances between both guests, as a container without rights beyond its own."""

import json

import pytest
from libcloud.loadbalancer.base import Member
from libcloud.loadbalancer.drivers.cloudstack import CloudStackLBDriver

from sysvm.cli.client import Keys
from tests.boot.patience import NotYet
from tests.boot.world import World, answers

pytestmark = [pytest.mark.root, pytest.mark.template]


def test_two_guests_behind_one_address(demo: World):
    """Both answer in turn; the router's checks say that they do; one that leaves is asked no more; what is deleted is shut."""
    client, address = demo.client, str(demo.machine("router")["publicip"])
    (ip,) = client.rows("listPublicIpAddresses", "publicipaddress", ipaddress=address)
    rule = client.job(
        "createLoadBalancerRule",
        publicipid=ip["id"],
        name="tiny",
        algorithm="roundrobin",
        publicport=8088,
        privateport=80,
    )["loadbalancer"]
    both = f"{demo.uuid('one')},{demo.uuid('two')}"
    client.job("assignToLoadBalancerRule", id=rule["id"], virtualmachineids=both)
    demo.until(lambda: {"one", "two"} == who(address), "both guests to answer")
    client.job("createLBHealthCheckPolicy", lbruleid=rule["id"], pingpath="/", intervaltime=1)

    def healthy() -> bool:
        rows = client.rows("listLoadBalancerRuleInstances", "loadbalancerruleinstance", id=rule["id"])
        if ["UP", "UP"] != [row.get("servicestate") for row in rows]:
            raise NotYet(f"the members are {[(row['name'], row.get('servicestate')) for row in rows]}")
        return True

    demo.until(healthy, "the router to tell of both")
    client.job("removeFromLoadBalancerRule", id=rule["id"], virtualmachineids=demo.uuid("one"))
    assert {"two"} == who(address)
    client.job("deleteLoadBalancerRule", id=rule["id"])
    with pytest.raises(OSError):
        answers(address, 8088)


def who(address: str) -> set[str]:
    """Which guests answer four requests. Raises NotYet when one is not answered."""
    found = set()
    for _ in range(4):
        text = answers(address, 8088)
        name = next((each for each in ("one", "two") if f"tiny guest {each}" in text), None)
        if name is None:
            raise NotYet(f"nobody answers: {text[:60]!r}")
        found.add(name)
    return found


def test_libcloud_makes_a_balancer_and_removes_it(demo: World):
    """With an address of its own, members, and nothing left."""
    keys = Keys(**json.loads((demo.state / "keys.json").read_text()))
    driver = CloudStackLBDriver(
        keys.api, keys.secret, secure=False, host="127.0.0.1", port=demo.places.api_port, path="/client/api"
    )
    network = demo.client.rows("listNetworks", "network")[0]["id"]
    members = [Member(demo.uuid(name), None, None) for name in ("one", "two")]
    balancer = driver.create_balancer("cloud", members, port=8088, private_port=80, network_id=network)
    demo.until(lambda: {"one", "two"} == who(balancer.ip), "both guests to answer")
    assert {demo.machine(name)["ipaddress"] for name in ("one", "two")} == {each.ip for each in balancer.list_members()}
    balancer.detach_member(members[0])
    assert {"two"} == who(balancer.ip)
    assert balancer.destroy() is None
    assert [] == driver.list_balancers()
    with pytest.raises(OSError):
        answers(balancer.ip, 8088)
