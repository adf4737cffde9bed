"""The guard on real bridges: a container that lies is not heard, and each lie is counted at its port."""

import ipaddress
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from msgspec import structs

from sysvm.basics.clock import SystemClock
from sysvm.hosts.lxc import LxcDriver
from sysvm.hosts.network.guard import link_local
from sysvm.hosts.system.netns import socket_in
from sysvm.wire.machines import Kind, MachineSpec, Traffic
from tests.hosts import ground
from tests.hosts.progress import until

pytestmark = [pytest.mark.root, pytest.mark.skipif(not ground.is_root(), reason="needs root")]

MAC, VICTIM, ROUTER = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:01"
ADDRESS, VICTIM_ADDRESS, GATEWAY = "10.1.1.10", "10.1.1.11", "10.1.1.1"
ADDRESS6, NEIGHBOUR6 = "2001:db8:1:2::10", "2001:db8:1:2::11"
ALL = "ff:ff:ff:ff:ff:ff"


def dual_stack(spec: MachineSpec) -> MachineSpec:
    """With an IPv6 address beside the other one."""
    (nic,) = spec.nics
    return structs.replace(spec, nics=(structs.replace(nic, addresses=(*nic.addresses, f"{ADDRESS6}/64")),))


class Net:
    """Three machines on one network: a liar (10), its victim (11) and their router (1)."""

    def __init__(self, layout, network) -> None:
        self.layout, self.network = layout, network
        self.driver = LxcDriver(layout, network)
        self.liar, self.victim = dual_stack(ground.spec(10)), ground.spec(11)
        self.router = ground.spec(1, kind=Kind.ROUTER)

    async def start(self) -> None:
        for spec in (self.liar, self.victim, self.router):
            await self.driver.ensure_created(spec)
            for nic in spec.nics:
                self.inside(spec, "ip", "link", "set", f"eth{nic.device}", "up")
                self.inside(spec, "ip", "addr", "add", nic.addresses[0], "dev", f"eth{nic.device}")

    def namespace(self, spec: MachineSpec) -> str:
        key = spec.machine if spec.kind is Kind.ROUTER else f"{spec.machine}.1"
        return str(self.layout.run / "ns" / f"{key}.net")

    def inside(self, spec: MachineSpec, *words: str, check: bool = True) -> str:
        return ground.sh("nsenter", f"--net={self.namespace(spec)}", *words, check=check)

    def pings(self, spec: MachineSpec, address: str) -> bool:
        return " 0% packet loss" in self.inside(spec, "ping", "-c1", "-W2", address, check=False)

    def packets(self, spec: MachineSpec) -> socket.socket:
        """A raw socket on eth0."""
        made = socket_in(self.namespace(spec), socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        made.bind(("eth0", 3))
        return made

    async def drops(self, spec: MachineSpec, reason: str) -> int:
        number = 0 if spec.kind is Kind.ROUTER else 1
        port = self.layout.port(spec.machine, number, 0)
        return (await self.network.guard_drops()).get(port, {}).get(reason, 0)


@pytest.fixture
async def net(tmp_path) -> AsyncIterator[Net]:
    async with ground.host(tmp_path) as (layout, network):
        made = Net(layout, network)
        await made.start()
        yield made


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def frame(kind: int, payload: bytes, source: str = MAC, target: str = ALL) -> bytes:
    return mac(target) + mac(source) + struct.pack("!H", kind) + payload


def arp(sender_mac: str, sender: str, target: str = VICTIM_ADDRESS, operation: int = 2) -> bytes:
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return head + mac(sender_mac) + socket.inet_aton(sender) + mac(VICTIM) + socket.inet_aton(target)


def ip4(source: str, payload: bytes, protocol: int = 17, target: str = VICTIM_ADDRESS) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
    return head + socket.inet_aton(source) + socket.inet_aton(target) + payload


def udp(source: int, target: int) -> bytes:
    return struct.pack("!HHHH", source, target, 12, 0) + b"data"


def ip6(source: str, payload: bytes, target: str = "ff02::1", following: int = 58) -> bytes:
    addresses = ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(target).packed
    return struct.pack("!IHBB", 6 << 28, len(payload), following, 255) + addresses + payload


def icmp6(kind: int, body: bytes) -> bytes:
    return struct.pack("!BBH", kind, 0, 0) + body


def advertisement(address: str) -> bytes:
    return icmp6(136, struct.pack("!I", 0x20000000) + ipaddress.IPv6Address(address).packed)


OWN6 = str(link_local(MAC))
LIES = {
    "another MAC": ("mac", frame(0x0800, ip4(ADDRESS, udp(1, 2)), source="02:00:00:00:00:99")),
    "the victim's MAC": ("mac", frame(0x0800, ip4(ADDRESS, udp(1, 2)), source=VICTIM)),
    "ARP for the gateway": ("arp", frame(0x0806, arp(MAC, GATEWAY))),
    "ARP for the victim": ("arp", frame(0x0806, arp(MAC, VICTIM_ADDRESS))),
    "ARP with another sender MAC": ("arp", frame(0x0806, arp(ROUTER, ADDRESS))),
    "the victim's address": ("ip", frame(0x0800, ip4(VICTIM_ADDRESS, udp(1, 2)))),
    "an address of nobody": ("ip", frame(0x0800, ip4("192.0.2.7", udp(1, 2)))),
    "a DHCP offer": ("dhcp", frame(0x0800, ip4(ADDRESS, udp(67, 68), target="255.255.255.255"))),
    "a DHCPv6 offer": ("dhcp", frame(0x86DD, ip6(OWN6, udp(547, 546), following=17))),
    "a router advertisement": ("ra", frame(0x86DD, ip6(OWN6, icmp6(134, bytes(12))))),
    "a redirect": ("ra", frame(0x86DD, ip6(OWN6, icmp6(137, bytes(36))))),
    "a neighbour advertisement for another": ("nd", frame(0x86DD, ip6(OWN6, advertisement("fe80::1")))),
    "an IPv6 source of nobody": ("ip", frame(0x86DD, ip6("fd00::7", udp(1, 2), following=17))),
    "an IPv6 address of its subnet": ("ip", frame(0x86DD, ip6(NEIGHBOUR6, udp(1, 2), following=17))),
    "a neighbour advertisement for that": ("nd", frame(0x86DD, ip6(ADDRESS6, advertisement(NEIGHBOUR6)))),
    "a VLAN tag": ("type", frame(0x8100, struct.pack("!HH", 5, 0x0800) + ip4(ADDRESS, udp(1, 2)))),
    "a spanning tree frame": ("type", frame(0x88CC, bytes(40))),
}
TRUTHS = {
    "its own address": frame(0x0800, ip4(ADDRESS, udp(1, 2))),
    "ARP for itself": frame(0x0806, arp(MAC, ADDRESS)),
    "an ARP probe": frame(0x0806, arp(MAC, "0.0.0.0", ADDRESS, 1)),
    "asking for DHCP": frame(0x0800, ip4("0.0.0.0", udp(68, 67), target="255.255.255.255")),
    "its own link-local address": frame(0x86DD, ip6(OWN6, advertisement(OWN6))),
    "its IPv6 address": frame(0x86DD, ip6(ADDRESS6, udp(1, 2), following=17)),
    "a neighbour advertisement for its IPv6 address": frame(0x86DD, ip6(OWN6, advertisement(ADDRESS6))),
    "asking for DHCPv6": frame(0x86DD, ip6(OWN6, udp(546, 547), "ff02::1:2", following=17)),
    "soliciting a router": frame(0x86DD, ip6(OWN6, icmp6(133, bytes(4)), "ff02::2")),
}


async def test_two_containers_on_one_bridge_reach_each_other_and_their_router(net: Net):
    assert net.pings(net.liar, VICTIM_ADDRESS)
    assert net.pings(net.victim, ADDRESS)
    assert net.pings(net.liar, GATEWAY)


async def test_every_lie_is_dropped_and_counted_and_every_truth_arrives(net: Net):
    """One by one: a lie raises its own counter by one and does not arrive; a truth arrives."""
    with net.packets(net.liar) as out, net.packets(net.victim) as heard:
        for what, (reason, lie) in LIES.items():
            before = await net.drops(net.liar, reason)
            out.send(lie)
            assert before + 1 == await net.drops(net.liar, reason), what
            assert lie not in received(heard), what
        for what, truth in TRUTHS.items():
            out.send(truth)
            async for _ in until(SystemClock(), what):
                if truth in received(heard):
                    break


def received(heard: socket.socket) -> list[bytes]:
    """What has arrived so far. A VLAN tag would have been taken off."""
    frames = []
    with suppress(BlockingIOError):
        while True:
            frames.append(heard.recv(2000))
    return frames


async def test_a_lie_does_not_move_the_victims_entry_in_the_bridge(net: Net):
    assert net.pings(net.victim, ADDRESS)
    with net.packets(net.liar) as out:
        out.send(LIES["the victim's MAC"][1])
    assert net.pings(net.liar, VICTIM_ADDRESS)
    shown = ground.sh("bridge", "-n", net.layout.namespace, "fdb", "show", "br", net.layout.bridge("net-1"))
    entries = [line for line in shown.splitlines() if line.startswith(VICTIM) and "permanent" not in line]
    assert [net.layout.port(net.victim.machine, 1, 0)] == [line.split()[2] for line in entries]


async def test_a_router_may_serve_dhcp_forward_and_advertise_but_not_take_a_guests_address(net: Net):
    own6 = str(link_local(ROUTER))
    allowed = [
        frame(0x0800, ip4(GATEWAY, udp(67, 68)), source=ROUTER),
        frame(0x0800, ip4("192.0.2.7", udp(1, 2)), source=ROUTER),
        frame(0x86DD, ip6(own6, icmp6(134, bytes(12))), source=ROUTER),
    ]
    with net.packets(net.router) as out, net.packets(net.victim) as heard:
        for truth in allowed:
            out.send(truth)
            async for _ in until(SystemClock(), "the router is heard"):
                if truth in received(heard):
                    break
        out.send(frame(0x0806, arp(ROUTER, ADDRESS), source=ROUTER))
    assert await net.drops(net.router, "arp") == 1


async def test_a_port_without_rules_is_dark(net: Net):
    port = net.layout.port(net.liar.machine, 1, 0)
    await net.network.namespace.nft(f'delete element bridge sysvm_guard ports {{ "{port}" }}')
    assert not net.pings(net.liar, VICTIM_ADDRESS)
    assert (await net.network.guard_drops())["-"]["unguarded"] > 0


async def test_control_ports_do_not_see_each_other_and_reach_the_host_on_named_ports_only(net: Net):
    control = ground.segment("control", Traffic.CONTROL, gateway="169.254.0.1/16")
    pair = [ground.spec(20 + n, nics=(ground.nic(20 + n, on=control, addresses=(f"169.254.7.{n}/16",)),)) for n in (1, 2)]
    for spec in pair:
        await net.driver.ensure_created(spec)
        net.inside(spec, "ip", "link", "set", "eth0", "up")
        net.inside(spec, "ip", "addr", "add", spec.nics[0].addresses[0], "dev", "eth0")
    assert net.pings(pair[0], "169.254.0.1")
    assert not net.pings(pair[0], "169.254.7.2")
    with socket_in(net.layout.namespace) as listener:
        listener.bind(("169.254.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not reaches(net.namespace(pair[0]), port)
        assert () == await net.network.ensure_segments((control,), frozenset({port}))
        assert reaches(net.namespace(pair[0]), port)


def reaches(namespace: str, port: int) -> bool:
    """A TCP connection to the host on the control network is taken."""
    with socket_in(namespace) as asker:
        asker.settimeout(1)
        try:
            asker.connect(("169.254.0.1", port))
        except TimeoutError:
            return False
    return True


async def test_removing_a_machine_forgets_its_port(net: Net):
    ports = await net.network.guarded_ports()
    await net.driver.ensure_removed(net.liar.machine, 1, kept_network=False)
    assert ports - {net.layout.port(net.liar.machine, 1, 0)} == await net.network.guarded_ports()
