"""Two routers with the same MAC and address on one real bridge: one of them is heard, whichever the gates say, and a guest sees
the change within its next packet."""

import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from sysvm.basics.clock import SystemClock
from sysvm.hosts.layout import Layout
from sysvm.hosts.moves.gates import PortGates
from sysvm.hosts.network import HostNetwork
from sysvm.hosts.network.guard import TABLE, parse_shut
from sysvm.hosts.network.host import note_of
from sysvm.hosts.network.plans import Port
from sysvm.hosts.system.durable import write_durably
from sysvm.wire.machines import Kind, MachineSpec, Runtime
from tests.hosts import ground
from tests.hosts.progress import until

pytestmark = [pytest.mark.root, pytest.mark.skipif(not ground.is_root(), reason="needs root")]
ROUTER = "10.1.1.1"


class Net:
    """A guest, and two incarnations of a router that is said to be a VM; namespaces stand for what is in a machine."""

    def __init__(self, layout: Layout, network: HostNetwork) -> None:
        self.layout, self.network = layout, network
        self.gates = PortGates(layout, network)
        first = ground.spec(1, kind=Kind.ROUTER, runtime=Runtime.VM)
        self.routers = {number: msgspec.structs.replace(first, incarnation=number) for number in (1, 2)}
        self.guest = ground.spec(10)
        self._mark = f"svg{secrets.token_hex(3)}"

    @property
    def machine(self) -> str:
        return self.routers[1].machine

    async def build(self) -> None:
        for spec in (self.guest, *self.routers.values()):
            ground.sh("ip", "netns", "add", self.place(spec))
            if spec is not self.guest:
                path = self.layout.spec(spec.machine, spec.incarnation)
                path.parent.mkdir(parents=True)
                write_durably(path, msgspec.json.encode(spec))
            await self.plug(spec, None if spec is self.guest else spec.incarnation != 1)
            self.inside(spec, "ip", "link", "set", "eth0", "up")
            self.inside(spec, "ip", "address", "add", spec.nics[0].addresses[0], "dev", "eth0")

    async def plug(self, spec: MachineSpec, shut: bool | None) -> None:
        note = note_of(spec.machine, spec.incarnation, 0)
        inside = Path("/run/netns") / self.place(spec)
        await self.network.ensure_ports([Port(self.port(spec), spec.nics[0], note, inside, shut)])

    def remove(self) -> None:
        for spec in (self.guest, *self.routers.values()):
            ground.sh("ip", "netns", "delete", self.place(spec), check=False)

    def port(self, spec: MachineSpec) -> str:
        return self.layout.port(spec.machine, spec.incarnation, 0)

    def place(self, spec: MachineSpec) -> str:
        return f"{self._mark}-{spec.machine[-2:]}-{spec.incarnation}"

    def inside(self, spec: MachineSpec, *words: str, check: bool = True) -> str:
        return ground.sh("ip", "netns", "exec", self.place(spec), *words, check=check)

    def pings(self, seconds: str = "2") -> bool:
        return " 0% packet loss" in self.inside(self.guest, "ping", "-c1", f"-W{seconds}", ROUTER, check=False)

    def heard_by(self, number: int) -> int:
        """Frames that have come to a router."""
        counted = self.inside(self.routers[number], "cat", "/proc/net/dev").split("eth0:")[1].split()
        return int(counted[1])

    async def shut(self) -> set[int]:
        """The incarnations that are not heard."""
        return {number for number in self.routers if not await self.gates.is_open(self.machine, number)}


@pytest.fixture
async def net(tmp_path) -> AsyncIterator[Net]:
    async with ground.host(tmp_path) as (layout, network):
        made = Net(layout, network)
        try:
            await made.build()
            yield made
        finally:
            made.remove()


async def test_one_is_heard_whichever_the_gates_say_from_the_next_packet_on(net: Net):
    assert {2} == await net.shut()
    assert net.pings()
    for serves, rests in ((2, 1), (1, 2), (2, 1)):
        for _ in range(2):
            await net.gates.serve(net.machine, serves)
        assert {rests} == await net.shut()
        before = net.heard_by(rests)
        for _ in range(3):
            assert net.pings()
        assert before == net.heard_by(rests)


async def test_the_one_behind_a_shut_port_is_not_heard_whatever_it_says(net: Net):
    """It does not even move the bridge's idea of where the MAC is."""
    assert net.pings()
    for _ in range(3):
        net.inside(net.routers[2], "ping", "-c1", "-W1", net.guest.nics[0].addresses[0].split("/")[0], check=False)
        assert net.pings()
    assert 0 == net.heard_by(2)


async def test_what_is_frozen_is_heard_again_by_itself(net: Net):
    await net.gates.freeze(net.machine, 1, 30.0)
    assert ({1, 2}, False) == (await net.shut(), net.pings("1"))
    await net.gates.freeze(net.machine, 1, 0.2)  # another time for the same port
    async for _ in until(SystemClock(), "the port is open again"):
        if await net.shut() == {2}:
            break
    assert net.pings()
    await net.gates.freeze(net.machine, 1, 0.2)
    await net.gates.serve(net.machine, 2)  # from now on it is shut for good
    assert {1} == await net.shut()


async def test_ports_that_are_made_again_are_as_they_were_asked_for_and_a_removed_one_is_forgotten(net: Net):
    for shut, expected in ((None, {2}), (False, set()), (True, {2})):
        await net.plug(net.routers[2], shut)
        assert expected == await net.shut()
    await net.network.remove_port(net.port(net.routers[2]))
    assert frozenset() == await net.network.shut_ports()
    await net.gates.serve(net.machine, 1)  # the other one's spec is still there, its port is not
    assert net.pings()


async def test_a_routers_containers_have_the_same_ports_which_are_shut_for_another_host(tmp_path):
    async with ground.host(tmp_path) as (layout, network):
        gates, spec = PortGates(layout, network), ground.spec(1, kind=Kind.ROUTER)
        for number in (1, 2):
            path = layout.spec(spec.machine, number)
            path.parent.mkdir(parents=True)
            write_durably(path, msgspec.json.encode(msgspec.structs.replace(spec, incarnation=number)))
        port = layout.port(spec.machine, 0, 0)
        for serves in (1, 2):
            await gates.shut(spec.machine, serves)
            assert frozenset({port}) == await network.shut_ports()
            await gates.serve(spec.machine, serves)
            assert frozenset() == await network.shut_ports()


async def test_a_guard_of_an_earlier_agent_is_made_this_ones(tmp_path):
    """Its table outlives it: it had one set, whose elements may have times, and did not know what is frozen."""
    async with ground.host(tmp_path) as (_, network):
        old = f"delete table {TABLE}\nadd table {TABLE}\nadd set {TABLE} shut {{ type ifname; flags timeout; }}\n"
        await network.namespace.nft(old)
        await network.freeze_ports(["sv1"], 30.0)
        await network.switch_ports((), ["sv2"])
        await network.ensure()
        assert frozenset({"sv1", "sv2"}) == await network.shut_ports()


def test_containers_have_no_gates_of_their_own(tmp_path):
    layout = Layout.of(tmp_path)
    spec = ground.spec(1, kind=Kind.ROUTER)
    layout.spec(spec.machine, 1).parent.mkdir(parents=True)
    layout.spec(spec.machine, 1).write_bytes(msgspec.json.encode(spec))
    gates = PortGates(layout, HostNetwork(layout))
    assert (False, False) == (gates.has(spec.machine, 1), gates.has(spec.machine, 2))


def test_what_nft_says_of_shut_ports():
    sets = [
        {"set": {"name": "trunks", "elem": ["sv0"]}},
        {"set": {"name": "shut", "elem": ["sv1"]}},
        {"set": {"name": "frozen", "elem": [{"elem": {"val": "sv2", "timeout": 5, "expires": 3}}]}},
    ]
    assert frozenset({"sv1", "sv2"}) == parse_shut(json.dumps({"nftables": [{"metainfo": {}}, *sets]}))
    assert frozenset() == parse_shut('{"nftables": [{"set": {"name": "shut"}}, {"set": {"name": "frozen"}}]}')
