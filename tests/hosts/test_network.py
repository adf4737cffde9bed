"""Segments between hosts and to the world, on real interfaces: two hosts on this machine, joined by a cable of ours."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import msgspec
import pytest

from sysvm.basics.digest import short_name
from sysvm.hosts.layout import Layout
from sysvm.hosts.lxc import LxcDriver
from sysvm.hosts.network import HostNetwork, Underlay
from sysvm.wire.machines import Isolation, MachineSpec, Traffic
from tests.hosts import ground

pytestmark = [pytest.mark.root, pytest.mark.skipif(not ground.is_root(), reason="needs root")]


class Pair:
    """Two hosts and the two ends of their cable."""

    def __init__(self, layouts: list[Layout], networks: list[HostNetwork]) -> None:
        self.layouts, self.networks = layouts, networks
        self.drivers = [LxcDriver(layout, network) for layout, network in zip(layouts, networks, strict=True)]

    async def place(self, host: int, spec: MachineSpec) -> None:
        """The machine's NIC is up on this host."""
        await self.drivers[host].ensure_created(spec)
        self.inside(host, spec, "ip", "link", "set", "eth0", "up")
        self.inside(host, spec, "ip", "addr", "add", spec.nics[0].addresses[0], "dev", "eth0")

    def inside(self, host: int, spec: MachineSpec, *words: str, check: bool = True) -> str:
        namespace = self.layouts[host].run / "ns" / f"{spec.machine}.1.net"
        return ground.sh("nsenter", f"--net={namespace}", *words, check=check)

    def pings(self, host: int, spec: MachineSpec, address: str, *more: str) -> bool:
        return " 0% packet loss" in self.inside(host, spec, "ping", "-c1", "-W2", *more, address, check=False)


@pytest.fixture
async def pair(tmp_path) -> AsyncIterator[Pair]:
    ends = [short_name("cab", tmp_path, number) for number in (1, 2)]
    ground.sh("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
    async with AsyncExitStack() as stack:
        stack.callback(ground.sh, "ip", "link", "del", ends[0], check=False)
        layouts, networks = [], []
        for number, end in enumerate(ends, 1):
            folder = tmp_path / str(number)
            layout, _ = await stack.enter_async_context(ground.host(folder))
            network = HostNetwork(layout, Underlay(link=end, address=f"10.9.0.{number}/24"))
            await network.ensure()
            layouts.append(layout)
            networks.append(network)
        yield Pair(layouts, networks)


def vxlan(*peers: str, tag: int = 100):
    """A guest network that other hosts have too."""
    return ground.segment("net-x", Traffic.GUEST, isolation=Isolation.VXLAN, tag=tag, peers=peers)


async def test_machines_of_one_network_meet_across_hosts_and_of_two_networks_do_not(pair: Pair):
    one = ground.spec(10, nics=(ground.nic(10, on=vxlan("10.9.0.2")),))
    two = ground.spec(11, nics=(ground.nic(11, on=vxlan("10.9.0.1")),))
    await pair.place(0, one)
    await pair.place(1, two)
    assert pair.pings(0, one, "10.1.1.11")
    assert pair.pings(0, one, "10.1.1.11", "-M", "do", "-s", "1422")  # the whole 1450 bytes
    stranger = ground.spec(12, nics=(ground.nic(12, on=ground.segment("net-y", isolation=Isolation.VXLAN, tag=101)),))
    await pair.place(1, stranger)
    assert not pair.pings(0, one, "10.1.1.12")


async def test_the_flood_list_is_that_of_the_segment(pair: Pair):
    network, layout = pair.networks[0], pair.layouts[0]
    for peers in (("10.9.0.2", "10.9.0.3"), ("10.9.0.2",), ("10.9.0.4",)):
        for _ in range(2):
            assert () == await network.ensure_segments((vxlan(*peers),), frozenset())
            shown = json.loads(ground.sh("bridge", "-n", layout.namespace, "-j", "fdb", "show", "dev", layout.trunk("net-x")))
            flooded = {entry["dst"] for entry in shown if entry["mac"] == "00:00:00:00:00:00"}
            assert flooded == set(peers)


async def test_a_segment_with_machines_stays_and_goes_with_the_last_and_its_trunk(pair: Pair):
    network, layout = pair.networks[0], pair.layouts[0]
    of_x = {layout.bridge("net-x"), layout.trunk("net-x")}
    own = ground.segment("own", Traffic.CONTROL)
    first, second = (ground.spec(number, nics=(ground.nic(number, on=vxlan("10.9.0.2")),)) for number in (10, 11))
    await network.ensure_segments((own,), frozenset())
    await pair.place(0, first)
    await pair.place(0, second)
    await pair.drivers[0].ensure_removed(first.machine, 1, kept_network=False)
    await network.ensure_segments((own,), frozenset())
    assert of_x <= set(await network.links())
    for _ in range(2):
        await pair.drivers[0].ensure_removed(second.machine, 1, kept_network=False)
        links = set(await network.links())
        assert of_x.isdisjoint(links)
        assert layout.bridge("own") in links
    await network.ensure_segments((), frozenset())
    assert layout.bridge("own") not in await network.links()


async def test_a_vxlan_without_an_underlay_is_refused(tmp_path):
    async with ground.host(tmp_path) as (_, network):
        (fault,) = await network.ensure_segments((vxlan("10.9.0.2"),), frozenset())
        assert "underlay" in fault


async def test_a_vlan_needs_an_uplink_and_a_kernel_that_has_it(tmp_path):
    end = short_name("upl", tmp_path)
    async with ground.host(tmp_path) as (layout, network):
        tagged = ground.segment("public-2", Traffic.PUBLIC, isolation=Isolation.VLAN, tag=200)
        (fault,) = await network.ensure_segments((tagged,), frozenset())
        assert "uplink" in fault
        ground.sh("ip", "link", "add", f"{end[:12]}x", "type", "veth", "peer", "name", end)
        try:
            network = HostNetwork(layout, Underlay(uplink=end))
            await network.ensure()
            probe = ground.sh(
                "unshare", "--net", "sh", "-c", "ip link add link lo name p type vlan id 1 && echo yes", check=False
            )
            faults = await network.ensure_segments((tagged,), frozenset())
            assert bool(probe) == (layout.trunk("public-2") in await network.links())
            assert bool(probe) or "8021q" in faults[0]
        finally:
            ground.sh("ip", "link", "del", f"{end[:12]}x", check=False)


async def test_the_uplink_joins_the_public_segment_to_the_world(tmp_path):
    ours, theirs = short_name("upa", tmp_path), short_name("upb", tmp_path)
    ground.sh("ip", "link", "add", theirs, "type", "veth", "peer", "name", ours)
    try:
        ground.sh("ip", "addr", "add", "198.51.100.1/24", "dev", theirs)
        ground.sh("ip", "link", "set", theirs, "up")
        async with ground.host(tmp_path) as (layout, _):
            network = HostNetwork(layout, Underlay(uplink=ours))
            for _ in range(2):
                await network.ensure()
            nic = ground.nic(10, on=ground.segment("public-1", Traffic.PUBLIC), addresses=("198.51.100.10/24",))
            spec = ground.spec(10, nics=(nic,))
            one = Pair([layout], [network])
            await one.place(0, spec)
            assert one.pings(0, spec, "198.51.100.1")
    finally:
        ground.sh("ip", "link", "del", theirs, check=False)


async def test_a_rate_is_kept_in_both_directions_and_taken_away_again(tmp_path):
    async with ground.host(tmp_path) as (layout, network):
        driver = LxcDriver(layout, network)
        limited = ground.spec(10, nics=(ground.nic(10, rate_mbit=8),))
        port = layout.port(limited.machine, 1, 0)
        await driver.ensure_created(limited)
        assert "rate 8Mbit" in ground.sh("tc", "-n", layout.namespace, "qdisc", "show", "dev", port)
        rules = await network.namespace.command("nft", "list", "chain", "bridge", "sysvm_guard", f"p_{port}")
        assert "limit rate over 1000 kbytes/second" in rules
        free = msgspec.structs.replace(limited, nics=(ground.nic(10),))
        await driver.ensure_nics(free)
        assert "tbf" not in ground.sh("tc", "-n", layout.namespace, "qdisc", "show", "dev", port)


async def test_bridged_packets_never_pass_iptables(tmp_path):
    async with ground.host(tmp_path) as (_, network):
        state = await network.namespace.command("sh", "-c", "cat /proc/sys/net/bridge/bridge-nf-call-* 2>/dev/null || true")
        assert set(state.split()) <= {"0"}
