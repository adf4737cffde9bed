"""A user of a demo's VPN: made by the API, logged in from outside, cut off."""

import sys
from collections.abc import Callable

from tests.agent.vpn_client import VpnClient
from tests.boot.outside import Outside
from tests.boot.patience import NotYet
from tests.boot.world import World

READ = "import sys, urllib.request as web; print(web.urlopen(sys.argv[1], timeout=5).read().decode())"
NAME, PASSWORD = "alice", "wonder.land"


def alice_comes_and_goes(demo: World, place: Outside, meanwhile: Callable[[], object] = lambda: None) -> str:
    """The whole story; nothing of it is left. What the router says about its ESP.

    `meanwhile` happens while she is logged in; afterwards she logs in again.
    """
    client, public = demo.client, str(demo.machine("router")["publicip"])
    (ip,) = client.rows("listPublicIpAddresses", "publicipaddress", ipaddress=public)
    (network,) = client.rows("listNetworks", "network", id=ip["associatednetworkid"])
    vpn = client.job("createRemoteAccessVpn", publicipid=ip["id"])["remoteaccessvpn"]
    client.job("addVpnUser", username=NAME, password=PASSWORD)
    said = str(demo.machine("router")["servicenotes"])
    visitor = VpnClient(place, place.address)
    try:
        credentials = {"public": public, "key": str(vpn["presharedkey"]), "network": str(network["cidr"])}
        assert "" == visitor.login(NAME, PASSWORD, **credentials), both_sides(demo, visitor)
        assert visitor.address == str(vpn["iprange"]).partition("-")[0]
        demo.until(lambda: greets(demo, place), "guest one to answer")
        meanwhile()
        visitor.logout()
        assert "" == visitor.login(NAME, PASSWORD, **credentials), both_sides(demo, visitor)
        demo.until(lambda: greets(demo, place), "guest one to answer")
        client.job("removeVpnUser", username=NAME)
        demo.until(lambda: is_out(visitor), "the client to be told")
        assert "fail" in visitor.login(NAME, PASSWORD, **credentials).lower()
    finally:
        visitor.close()
        client.job("deleteRemoteAccessVpn", publicipid=ip["id"])
    assert [] == [row for row in client.rows("listFirewallRules", "firewallrule") if row["protocol"] == "udp"]
    assert "servicenotes" not in demo.machine("router")
    return said


def both_sides(demo: World, visitor: VpnClient) -> str:
    """What the client's charon has said, and then the end of what the router's has, if it is a container."""
    logs = (demo.state / "host/machines" / str(demo.machine("router")["id"])).glob("*/upper/var/log/sysvm/current")
    return "\n".join([visitor.log(), *(line for log in sorted(logs) for line in log.read_text().splitlines()[-100:])])


def greets(demo: World, place: Outside) -> bool:
    """Guest one's page by its own address. Raises NotYet."""
    url = f"http://{demo.machine('one')['ipaddress']}/"
    page = place.run(place.outside, sys.executable, "-c", READ, url).stdout
    if "tiny guest one" not in page:
        raise NotYet(f"it says {page!r}")
    return True


def is_out(visitor: VpnClient) -> bool:
    """Whether the client knows that its login has ended. Raises NotYet."""
    if visitor.is_in:
        raise NotYet("the client is logged in")
    return True
