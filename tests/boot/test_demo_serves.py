"""What the demo gives to guests, to the world outside, to viewers and to clients."""

import configparser
import io
import urllib.request
import zipfile

import pytest
from cs import CloudStack
from libcloud.compute.providers import get_driver
from libcloud.compute.types import Provider

from sysvm.cli import routers
from sysvm.cli.client import Json
from tests.api.rows import assert_row_matches_catalogue
from tests.boot.conftest import outside
from tests.boot.patience import NotYet
from tests.boot.screen import Turned, picture, typed
from tests.boot.serial import Serial
from tests.boot.world import World, answers

pytestmark = [pytest.mark.root, pytest.mark.template]


@pytest.fixture
def one(demo: World) -> Serial:
    """The serial line of guest one."""
    return serial(demo, "one")


def serial(demo: World, name: str) -> Serial:
    """The serial line of a guest."""
    machine = demo.uuid(name)
    return Serial(demo.layout.channel(machine, demo.incarnation(machine)) / "serial.sock")


def test_guests_have_the_addresses_and_names_that_the_api_tells(demo: World):
    """By DHCP; each resolves the other."""
    for name, other in (("one", "two"), ("two", "one")):
        mine, theirs = demo.machine(name)["ipaddress"], demo.machine(other)["ipaddress"]
        with serial(demo, name) as line:
            comes(demo, line, "hostname", name)
            comes(demo, line, "ip -4 addr show eth0", f"inet {mine}/24")
            comes(demo, line, f"ping -c 1 -W 5 {other}", f"PING {other} ({theirs})")
            comes(demo, line, f"timeout 30 wget -q -O - http://{theirs}/", f"tiny guest {other}")


def comes(demo: World, line: Serial, command: str, answer: str) -> None:
    """The command says so, if not at once (the other guest may still be booting) then while anything moves."""
    demo.until(lambda: answer in line.ask(command), f"{command} says {answer}")


def test_a_guest_reaches_the_world_as_its_router(demo: World, one: Serial):
    """Source NAT."""
    public = demo.machine("router")["publicip"]
    with one, outside(demo.places.outside) as port:
        comes(demo, one, f"timeout 30 wget -q -O - http://{demo.places.outside}:{port}/", f"you are {public}")


def test_only_what_a_rule_lets_in_comes_in(demo: World):
    """Port 80 answers, 81 does not; a forward without a firewall rule lets nothing in, and one with it does."""
    client, address = demo.client, str(demo.machine("router")["publicip"])
    (ip,) = client.rows("listPublicIpAddresses", "publicipaddress", ipaddress=address)
    assert "tiny guest one" in answers(address, 80)
    with pytest.raises(OSError):
        answers(address, 81)
    forward = client.job(
        "createPortForwardingRule", ipaddressid=ip["id"], protocol="tcp", publicport=81, privateport=80,
        virtualmachineid=demo.uuid("two"), openfirewall="false",
    )["portforwardingrule"]  # fmt: skip
    with pytest.raises(OSError):
        answers(address, 81)
    wall = client.job("createFirewallRule", ipaddressid=ip["id"], protocol="tcp", startport=81, endport=81, cidrlist="0.0.0.0/0")[
        "firewallrule"
    ]
    assert "tiny guest two" in answers(address, 81)
    client.job("deleteFirewallRule", id=wall["id"])
    client.job("deletePortForwardingRule", id=forward["id"])
    with pytest.raises(OSError):
        answers(address, 81)


def test_a_router_explains_what_it_does_with_a_packet(demo: World):
    """The forward that serves and its firewall rule; a port that nobody opened; the same from the command line."""
    client, router = demo.client, demo.machine("router")
    (ip,) = client.rows("listPublicIpAddresses", "publicipaddress", ipaddress=router["publicip"])
    (rule,) = client.rows("listFirewallRules", "firewallrule", ipaddressid=ip["id"], listall="true")
    packet = {"source": demo.places.outside, "destination": ip["ipaddress"], "protocol": "tcp"}

    def explained(port: int) -> Json:
        return dict(client.job("explainPacket", id=router["id"], port=port, **packet)["packetexplanation"])

    passes, dropped = explained(80), explained(81)
    assert ("ACCEPT", rule["id"], "firewallrule") == (passes["verdict"], passes["ruleid"], passes["ruletype"])
    assert demo.machine("one")["ipaddress"] == passes["destination"]
    assert ("DROP", None) == (dropped["verdict"], dropped.get("ruleid"))
    assert_row_matches_catalogue("explainPacket", passes)
    lines = "\n".join(routers.rules(demo.places.folder, router["id"]))
    assert f"# firewallrule {rule['id']}" in lines and "stranger" not in lines


def test_a_router_is_well_and_its_files_can_be_had(demo: World):
    """Every check of its own is good, made now; its logs and rules come as a zip from secondary storage."""
    client, router = demo.client, demo.machine("router")
    found = client.call("getRouterHealthCheckResults", routerid=router["id"], performfreshchecks="true")
    checks = {one["checkname"]: one for one in found["routerhealthchecks"]["healthchecks"]}
    assert {"dns_check.py", "dhcp_check.py", "iptables_check.py", "gateways_check.py", "dhcp.service"} <= checks.keys()
    assert {} == {name: one for name, one in checks.items() if one.get("success") is False}
    collected = client.job("getDiagnosticsData", targetid=router["id"])["diagnostics"]
    with urllib.request.urlopen(collected["url"], timeout=60) as answer, zipfile.ZipFile(io.BytesIO(answer.read())) as archive:
        assert {"rules", "route", "var/log/sysvm/current"} <= set(archive.namelist())
        assert "table inet sysvm" in archive.read("rules").decode()


def test_a_guest_reads_its_user_data_and_metadata(demo: World, one: Serial):
    """As they are now, not as they were at its start."""
    machine = demo.machine("one")
    demo.client.call("updateVirtualMachine", id=machine["id"], userdata="aGVsbG8gdGlueQ==")

    with one:

        def fetched() -> bool:
            said = one.ask("timeout 10 wget -q -O - http://10.1.1.1/latest/user-data")
            if said != "hello tiny":
                raise NotYet(f"user data is {said!r}")
            return True

        demo.until(fetched, "user data in the guest")
        assert one.ask("timeout 10 wget -q -O - http://10.1.1.1/latest/meta-data/local-ipv4") == machine["ipaddress"]
        assert one.ask("timeout 10 wget -q -O - http://10.1.1.1/latest/meta-data/local-hostname") == "one"


def test_a_reset_password_is_fetched_by_the_guest_once(demo: World):
    """From its router, when it boots next; it can log in with it, and nobody is told again."""
    client, machine = demo.client, demo.uuid("two")
    (tiny,) = client.rows("listTemplates", "template", templatefilter="self", name="tiny")
    client.call("updateTemplate", id=tiny["id"], passwordenabled="true")
    client.job("stopVirtualMachine", id=machine, forced="true")
    password = client.job("resetPasswordForVirtualMachine", id=machine)["virtualmachine"]["password"]
    client.job("startVirtualMachine", id=machine)
    client.call("updateTemplate", id=tiny["id"], passwordenabled="false")

    log = demo.layout.incarnation(machine, demo.incarnation(machine)) / "console.log"
    demo.until(lambda: f"guest: password {password}\r\nguest: user data done" in log.read_bytes().decode(), "it is told")
    with serial(demo, "two") as line:
        asked = "timeout 10 wget -q -O - --header 'DomU_Request: send_my_password' http://10.1.1.1:8080/"
        comes(demo, line, asked, "saved_password")
        kept = line.ask("grep ^root: /etc/shadow").split(":")[1]
        assert line.ask(f"mkpasswd -m sha512 '{password}' {kept.split('$')[2]}") == kept


async def test_a_console_shows_the_screen_once_for_each_ticket(demo: World):
    """Page, websocket, RFB through the proxy, a picture with something on it; the ticket is then worth nothing."""
    answer = demo.client.call("createConsoleEndpoint", virtualmachineid=demo.uuid("one"))["consoleendpoint"]
    assert answer["success"] is True
    proxy = demo.machine("consoleproxy")["publicip"]
    assert answer["url"].startswith(f"http://{proxy}/")
    assert "noVNC" in answers(proxy, 80) or answers(proxy, 80).startswith("HTTP/1.")
    name, pixels = await picture(answer["url"])
    assert name and len(set(pixels[::4])) > 1
    with pytest.raises(Turned):
        await picture(answer["url"])


@pytest.mark.parametrize("kind", ["router", "consoleproxy", "secondarystoragevm"])
async def test_the_console_of_a_container_is_a_login_that_lets_nobody_in(demo: World, kind: str):
    """Text, through proxy and relay, and for the next viewer, too. Never a shell of root."""
    machine = demo.machine(kind)
    login = ("\r", f"{machine['name']} login: ")
    said = await typed(screen_of(demo, kind), login, ("root\r", "Password: "), ("\r", "Login incorrect"))
    assert "#" not in said
    assert await typed(screen_of(demo, kind), ("\r", "\n"))


def screen_of(demo: World, name: str) -> str:
    """The address of a guest's screen, or of a kind of system VM's."""
    answer = demo.client.call("createConsoleEndpoint", virtualmachineid=demo.uuid(name))["consoleendpoint"]
    assert answer["success"] is True, answer
    return str(answer["url"])


@pytest.mark.parametrize(
    ("command", "key"),
    [("listSystemVms", "systemvm"), ("listRouters", "router"), ("listVirtualMachines", "virtualmachine"),
     ("listHosts", "host"), ("listTemplates", "template"), ("listNetworks", "network"), ("listVolumes", "volume")],
)  # fmt: skip
def test_rows_are_as_the_catalogue_says(demo: World, command: str, key: str):
    """Every field is declared and of its type; the list is not empty."""
    more = {"templatefilter": "all"} if command == "listTemplates" else {}
    rows = demo.client.rows(command, key, listall="true", **more)
    assert rows != []
    for row in rows:
        assert_row_matches_catalogue(command, row)


def test_the_clients_that_people_have_work_with_the_file_that_it_wrote(demo: World):
    """`cs` and libcloud."""
    read = configparser.ConfigParser()
    read.read(demo.state / "cloudstack.ini")
    known = dict(read["cloudstack"])
    cs = CloudStack(endpoint=known["endpoint"], key=known["key"], secret=known["secret"])
    assert {row["name"] for row in cs.listVirtualMachines(fetch_list=True)} == {"one", "two"}
    assert [row["state"] for row in cs.listNetworks(fetch_list=True)] == ["Implemented"]
    driver = get_driver(Provider.CLOUDSTACK)(
        known["key"], known["secret"], secure=False, host="127.0.0.1", port=demo.places.api_port, path="/client/api"
    )
    assert {node.name for node in driver.list_nodes()} == {"one", "two"}
    assert [network.name for network in driver.ex_list_networks()] == ["demo"]


def test_answers_have_what_ansible_reads_without_asking(demo: World):
    """The modules of ngine_io.cloudstack end with a KeyError otherwise: an address of every host, the providers' own key."""
    assert [row["name"] for row in demo.client.rows("listHosts", "host") if not row.get("ipaddress")] == []
    providers = demo.client.rows("listStorageProviders", "dataStoreProvider", type="primary")
    assert "DefaultPrimary" in {row["name"] for row in providers}


def test_a_second_run_is_cheap_and_changes_nothing(demo: World):
    """Every step finds itself done, and the table tells of every machine."""
    demo.until(demo.all_run, "everything runs")
    before, things = demo.addresses(), things_of(demo)
    said = demo.up("--runtime", "container")
    demo.until(demo.all_run, "everything runs still")
    assert (demo.addresses(), changes(things, things_of(demo))) == (before, []), said
    told = ("the setting systemvm.runtime says so", "the cluster's hypervisor is KVM", demo.places.endpoint)
    # System VMs are numbered as they are made: which comes first is nobody's promise.
    assert [word for word in (*before, "container", "vm", *told) if word not in said] == [], said


LISTS = {
    "listZones": "zone", "listPods": "pod", "listClusters": "cluster", "listHosts": "host", "listNetworks": "network",
    "listPhysicalNetworks": "physicalnetwork", "listTrafficTypes": "traffictype", "listVlanIpRanges": "vlaniprange",
    "listStoragePools": "storagepool", "listImageStores": "imagestore", "listTemplates": "template",
    "listPublicIpAddresses": "publicipaddress", "listPortForwardingRules": "portforwardingrule",
    "listFirewallRules": "firewallrule", "listEgressFirewallRules": "firewallrule", "listVolumes": "volume",
}  # fmt: skip
NEEDS = {"listTemplates": {"templatefilter": "all"}}


def things_of(demo: World) -> set[str]:
    """What the lists show: which list, and the id and name of each row."""
    client = demo.client
    physical = client.rows("listPhysicalNetworks", "physicalnetwork")[0]["id"]
    needs = {**NEEDS, "listTrafficTypes": {"physicalnetworkid": physical}}
    return {
        f"{name}: {row['id']} {row.get('name', '')}"
        for name, key in LISTS.items()
        for row in client.rows(name, key, listall="true", **needs.get(name, {}))
    }


def changes(before: set[str], after: set[str]) -> list[str]:
    """What came and what went."""
    return [f"came: {thing}" for thing in sorted(after - before)] + [f"went: {thing}" for thing in sorted(before - after)]
