"""The demo's router balances between both guests, as a container without rights beyond its own."""

import pytest

from tests.boot.patience import NotYet
from tests.boot.world import World, answers

pytestmark = [pytest.mark.root, pytest.mark.template]


def test_two_guests_behind_one_address(demo: World):
    """Both answer in turn; the router's checks say that they do; one that leaves is asked no more; what is deleted is shut."""
    client, address = demo.client, str(demo.machine("router")["publicip"])
    (ip,) = client.rows("listPublicIpAddresses", "publicipaddress", ipaddress=address)
    rule = client.job(
        "createLoadBalancerRule", publicipid=ip["id"], name="tiny", algorithm="roundrobin", publicport=8088, privateport=80
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
