"""A second host beside the demo's, and a guest that can be on either."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sysvm.cli.demo import tenant
from sysvm.cli.demo.supervisor import Supervisor, program
from sysvm.hosts.layout import Layout
from tests.boot.patience import NotYet
from tests.boot.world import World, sysvm

WIRE = ("198.51.100.1/30", "198.51.100.2/30")


@contextmanager
def two_hosts(demo: World, *words: str) -> Iterator[Layout]:
    """A second host with storage of its own, started with these words, and two wires between them: for guests, and for
    management."""
    folder = demo.state.with_name("second")
    layout = Layout.of(folder)
    ends, managed = ([f"{letter}{place.hash8}" for place in (demo.layout, layout)] for letter in "wm")
    for one, other in (ends, managed):
        subprocess.run(["ip", "link", "add", one, "type", "veth", "peer", "name", other], check=True)
    try:
        first = _with_words(demo, "--underlay-link", ends[0], "--underlay", WIRE[0], "--management-link", managed[0])
        Supervisor(demo.state).add("host", first)
        folder.mkdir()
        (folder / "primary").mkdir()
        Supervisor(demo.state).add("second", [*_second(demo, folder, ends[1], managed[1]), *words])
        demo.until(lambda: _up(demo), "both hosts are up, and reach each other")
        yield layout
    finally:
        Supervisor(demo.state).stop()
        for link in (ends[0], managed[0]):  # if nobody has taken it
            subprocess.run(["ip", "link", "del", link], check=False, capture_output=True)
        done = sysvm("down", "--state", str(folder))
        assert done.returncode == 0, done.stderr


def _with_words(demo: World, *words: str) -> list[str]:
    """How the demo's host agent was started, and more."""
    places = demo.places
    return [
        program(), "agent", "host", "--state", str(demo.state), "--server", f"127.0.0.1:{places.hub_port}",
        "--uplink", places.uplink[1], *words,
    ]  # fmt: skip


def _second(demo: World, folder: Path, wire: str, managed: str) -> list[str]:
    """The line of the second host."""
    (first,) = demo.client.rows("listHosts", "host", type="Routing")
    answer = demo.client.call(
        "addHost", clusterid=first["clusterid"], podid=first["podid"], zoneid=first["zoneid"], hypervisor="KVM",
        url="http://192.0.2.77",
    )["host"]  # fmt: skip
    row = answer[0] if isinstance(answer, list) else answer
    demo.client.call(
        "createStoragePool", name="second", zoneid=first["zoneid"], podid=first["podid"], clusterid=first["clusterid"],
        url=f"file://192.0.2.77{folder}/primary", scope="HOST",
    )  # fmt: skip
    token = row["details"]["join"].split("--token ", 1)[1]
    return [
        program(), "agent", "host", "--state", str(folder), "--server", f"127.0.0.1:{demo.places.hub_port}",
        "--token", token, "--underlay-link", wire, "--underlay", WIRE[1], "--management-link", managed,
    ]  # fmt: skip


def _up(demo: World) -> bool:
    found = demo.client.rows("listHosts", "host", type="Routing")
    if [host["state"] for host in found] != ["Up", "Up"]:
        raise NotYet(str([(host["name"], host["state"]) for host in found]))
    (there,) = demo.client.rows("findHostsForMigration", "host", virtualmachineid=demo.uuid("one"))
    if not there["suitableformigration"]:
        raise NotYet("the second host cannot take guests in yet")
    return True


def a_guest_on_a_wide_network(demo: World) -> tuple[str, str]:
    """A guest that serves its page, on a network that both hosts can have; its id, and where its page is."""
    (first, *_) = demo.client.rows("listVirtualMachines", "virtualmachine", id=demo.uuid("one"))
    zone_id = first["zoneid"]
    (physical,) = demo.client.rows("listPhysicalNetworks", "physicalnetwork")
    demo.client.job("updatePhysicalNetwork", id=physical["id"], vlan="5000-5010")
    (offering,) = demo.client.rows("listNetworkOfferings", "networkoffering", name=tenant.OFFERING)
    network = demo.client.call(
        "createNetwork", name="wide", displaytext="wide", networkofferingid=offering["id"], zoneid=zone_id
    )["network"]  # fmt: skip
    made = demo.client.job(
        "deployVirtualMachine", name="wanderer", serviceofferingid=first["serviceofferingid"], zoneid=zone_id,
        templateid=first["templateid"], networkids=network["id"],
    )["virtualmachine"]  # fmt: skip
    return made["id"], tenant.let_world_in(demo.client, network["id"], made["id"])
