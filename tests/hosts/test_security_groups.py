"""Security groups on real bridges: who may speak to whom, on one host and between two, and what stays so when the host
agent starts again or somebody changes the rules by hand."""

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from sysvm.basics.digest import digest, short_name
from sysvm.hosts.layout import Layout
from sysvm.hosts.lxc import LxcDriver
from sysvm.hosts.network import HostNetwork, Underlay, security_groups
from sysvm.hosts.network.generation import ruleset_generation
from sysvm.hosts.security_groups import SecurityGroups
from sysvm.hosts.system.netns import socket_in
from sysvm.wire.machines import Isolation, Kind, MachineSpec, Segment, Traffic
from sysvm.wire.security_groups import Group, GroupedPort, GroupRule, SecurityGroupsDocument
from tests.hosts import ground

pytestmark = [pytest.mark.root, pytest.mark.skipif(not ground.is_root(), reason="needs root")]

WEB, CLIENTS, OTHERS = "group-web", "group-clients", "group-others"
TCP_80 = {"protocol": "tcp", "first": 80, "last": 80}


def guest(number: int, **more: object) -> MachineSpec:
    """A guest's NIC that is held to groups. The test's programs are the guest; its kind does not matter to a port."""
    return ground.spec(number, nics=(ground.nic(number, filtered=True, **more),))


def port(spec: MachineSpec, *groups: str) -> GroupedPort:
    return GroupedPort(machine=spec.machine, incarnation=spec.incarnation, device=0, groups=tuple(sorted(groups)))


def address(spec: MachineSpec) -> str:
    return spec.nics[0].addresses[0].split("/")[0]


class Lab:
    """A host with three guests on one network: a web server (10), a client (11) and somebody else (12)."""

    def __init__(self, layout: Layout, network: HostNetwork, segment: Segment | None = None) -> None:
        self.layout, self.network = layout, network
        self.driver = LxcDriver(layout, network)
        self.groups = SecurityGroups(layout, network)
        self.web, self.client, self.other = (guest(number, on=segment) for number in (10, 11, 12))
        self.here: tuple[MachineSpec, ...] = (self.web, self.client, self.other)

    async def place(self) -> None:
        for spec in self.here:
            await self.driver.ensure_created(spec)
            self.inside(spec, "ip", "link", "set", "eth0", "up")
            self.inside(spec, "ip", "addr", "add", spec.nics[0].addresses[0], "dev", "eth0")

    def document(self, *ingress: GroupRule, egress: tuple[GroupRule, ...] = (), **members: tuple[str, ...]):
        """The web server's rules; `egress` is what clients may send."""
        ports = {self.web: WEB, self.client: CLIENTS, self.other: OTHERS}
        held = {CLIENTS: (address(self.client),), OTHERS: (address(self.other),), **members}
        return SecurityGroupsDocument(
            host="h",
            ports=tuple(port(spec, group) for spec, group in ports.items() if spec in self.here),
            groups=(
                Group(group=WEB, ingress=ingress),
                Group(group=CLIENTS, egress=egress, members=held[CLIENTS]),
                Group(group=OTHERS, members=held[OTHERS]),
            ),
        )

    async def apply(self, *ingress: GroupRule, egress: tuple[GroupRule, ...] = ()) -> None:
        document = self.document(*ingress, egress=egress)
        assert digest(document) == (await self.groups.apply(document)).live

    def namespace(self, spec: MachineSpec) -> str:
        key = spec.machine if spec.kind is Kind.ROUTER else f"{spec.machine}.1"
        return str(self.layout.run / "ns" / f"{key}.net")

    def inside(self, spec: MachineSpec, *words: str, check: bool = True) -> str:
        return ground.sh("nsenter", f"--net={self.namespace(spec)}", *words, check=check)

    def pings(self, one: MachineSpec, two: MachineSpec) -> bool:
        return " 0% packet loss" in self.inside(one, "ping", "-c1", "-W1", address(two), check=False)

    def listens(self, spec: MachineSpec, number: int) -> socket.socket:
        made = socket_in(self.namespace(spec), socket.AF_INET, socket.SOCK_STREAM)
        made.bind((address(spec), number))
        made.listen()
        return made

    def calls(self, one: MachineSpec, two: MachineSpec, number: int) -> socket.socket | None:
        """A connection, or nothing when nobody answers."""
        made = socket_in(self.namespace(one), socket.AF_INET, socket.SOCK_STREAM)
        made.settimeout(1)
        try:
            made.connect((address(two), number))
        except TimeoutError:
            made.close()
            return None
        return made

    def reaches(self, one: MachineSpec, two: MachineSpec, number: int) -> bool:
        made = self.calls(one, two, number)
        if made is not None:
            made.close()
        return made is not None

    def nft(self, *words: str) -> str:
        return ground.sh("nsenter", f"--net={self.layout.namespace_path}", "nft", *words)


@pytest.fixture
async def lab(tmp_path) -> AsyncIterator[Lab]:
    async with ground.host(tmp_path) as (layout, network):
        made = Lab(layout, network)
        await made.place()
        yield made


PING_OF_CLIENTS = GroupRule(protocol="icmp", group=CLIENTS)


# ---------------------------------------------------------------- who may speak to whom
async def test_before_anything_is_known_of_its_groups_a_port_is_closed(lab: Lab):
    assert not lab.pings(lab.client, lab.web)


async def test_the_pair_that_a_rule_allows_talks_and_the_other_does_not(lab: Lab):
    await lab.apply(PING_OF_CLIENTS)
    assert lab.pings(lab.client, lab.web)
    assert not lab.pings(lab.other, lab.web)
    assert not lab.pings(lab.web, lab.client)  # the rule is about who begins


async def test_it_stays_so_when_the_host_agent_starts_again(lab: Lab):
    await lab.apply(PING_OF_CLIENTS)
    again = HostNetwork(lab.layout)
    await again.ensure()
    await SecurityGroups(lab.layout, again).mend()
    assert lab.pings(lab.client, lab.web)
    assert not lab.pings(lab.other, lab.web)


async def test_a_rule_is_for_its_ports_and_its_networks_only(lab: Lab):
    with lab.listens(lab.web, 80), lab.listens(lab.web, 81):
        await lab.apply(GroupRule(**TCP_80, cidr="10.1.1.11/32"), GroupRule(**TCP_80, cidr="192.0.2.0/24"))
        assert [True, False] == [lab.reaches(lab.client, lab.web, number) for number in (80, 81)]
        assert not lab.reaches(lab.other, lab.web, 80)
        await lab.apply(GroupRule(**TCP_80, cidr="10.1.1.0/24"), GroupRule(**TCP_80, cidr="10.1.1.11/32"))
        assert lab.reaches(lab.other, lab.web, 80)
        await lab.apply()
        assert not lab.reaches(lab.client, lab.web, 80)


async def test_a_connection_that_stands_goes_on_when_its_rule_is_taken_back(lab: Lab):
    with lab.listens(lab.web, 80) as door:
        await lab.apply(GroupRule(**TCP_80, group=CLIENTS))
        called = lab.calls(lab.client, lab.web, 80)
        assert called is not None
        answered, _ = door.accept()
        await lab.apply()
        for sender, receiver in ((answered, called), (called, answered)):
            sender.sendall(b"on")
            receiver.settimeout(5)
            assert b"on" == receiver.recv(2)
        called.close()
        answered.close()
        assert not lab.reaches(lab.client, lab.web, 80)


async def test_a_group_with_egress_rules_sends_what_they_say_and_nothing_else(lab: Lab):
    everything = GroupRule(protocol="all", cidr="0.0.0.0/0")
    with lab.listens(lab.web, 80), lab.listens(lab.web, 81):
        await lab.apply(everything)
        assert [True, True] == [lab.reaches(lab.client, lab.web, number) for number in (80, 81)]
        await lab.apply(everything, egress=(GroupRule(**TCP_80, cidr="10.1.1.0/24"),))
        assert [True, False] == [lab.reaches(lab.client, lab.web, number) for number in (80, 81)]
        assert not lab.pings(lab.client, lab.web)
        assert lab.pings(lab.other, lab.web)  # of another group


async def test_a_unicast_packet_in_a_broadcast_frame_is_judged_by_the_port_that_it_leaves_by(lab: Lab):
    await lab.apply(GroupRule(protocol="udp", first=9, last=9, group=CLIENTS))
    with socket_in(lab.namespace(lab.web), socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as ear:
        ear.bind(("eth0", 0x0800))
        ear.settimeout(1)
        for spec in (lab.other, lab.client):
            with socket_in(lab.namespace(spec), socket.AF_PACKET, socket.SOCK_RAW) as mouth:
                mouth.bind(("eth0", 0x0800))
                mouth.send(datagram(spec, lab.web))
        heard = ear.recv(2048)
        assert socket.inet_aton(address(lab.client)) == heard[26:30]
        with pytest.raises(TimeoutError):
            ear.recv(2048)


def datagram(one: MachineSpec, two: MachineSpec) -> bytes:
    """A UDP packet to port 9, in a frame for everybody."""
    udp = struct.pack("!HHHH", 5000, 9, 8, 0)
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, *(socket.inet_aton(address(each)) for each in (one, two))
    )
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + head[12:]
    source = bytes.fromhex(one.nics[0].mac.replace(":", ""))
    return b"\xff" * 6 + source + b"\x08\x00" + head + udp


async def test_ports_without_groups_speak_as_before(lab: Lab):
    """Routers and system VMs on the same network: the web server's rules hold for them as for everybody."""
    plain = ground.spec(20, nics=(ground.nic(20),))
    await lab.driver.ensure_created(plain)
    lab.inside(plain, "ip", "link", "set", "eth0", "up")
    lab.inside(plain, "ip", "addr", "add", "10.1.1.20/24", "dev", "eth0")
    await lab.apply()
    assert lab.pings(lab.client, plain)
    assert not lab.pings(plain, lab.client)


# ---------------------------------------------------------------- what is live
@pytest.mark.parametrize(
    "harm",
    [
        ("flush", "chain", "bridge", "sysvm_groups", "arrive"),
        ("flush", "map", "bridge", "sysvm_groups", "into"),
        ("add", "rule", "bridge", "sysvm_groups", "arrive", "accept"),
        ("insert", "rule", "bridge", "sysvm_groups", "onward", "accept"),
    ],
)
async def test_what_somebody_changes_by_hand_is_mended(lab: Lab, harm: tuple[str, ...]):
    await lab.apply(PING_OF_CLIENTS)
    before = listed(lab)
    lab.nft(*harm)
    assert before != listed(lab)
    await lab.groups.mend()
    assert before == listed(lab)
    assert [True, False] == [lab.pings(spec, lab.web) for spec in (lab.client, lab.other)]


async def test_rules_are_listed_again_only_when_somebody_has_made_a_transaction(lab: Lab):
    await lab.apply(PING_OF_CLIENTS)
    begin = ruleset_generation(lab.layout.namespace)
    for _ in range(2):
        await lab.groups.mend()
        assert begin == ruleset_generation(lab.layout.namespace)
    lab.nft("add", "rule", "bridge", "sysvm_groups", "arrive", "accept")
    assert begin + 1 == ruleset_generation(lab.layout.namespace)
    await lab.groups.mend()
    assert begin + 2 == ruleset_generation(lab.layout.namespace)


def listed(lab: Lab) -> security_groups.Listed:
    return security_groups.parse(lab.nft("-j", "list", "table", *security_groups.TABLE.split()))


async def test_a_member_costs_an_element_and_a_rule_its_chain(lab: Lab):
    await lab.apply(PING_OF_CLIENTS)
    live, members = listed(lab), (address(lab.client), "10.1.1.99")
    wanted = security_groups.render(lab.layout, lab.document(PING_OF_CLIENTS, **{CLIENTS: members}))
    (line,) = security_groups.change(live, wanted).splitlines()
    assert line.startswith("add element") and "10.1.1.99" in line and address(lab.client) not in line
    wanted = security_groups.render(lab.layout, lab.document(PING_OF_CLIENTS, GroupRule(**TCP_80, group=CLIENTS)))
    lines = security_groups.change(live, wanted).splitlines()
    assert ["flush", "add"] == sorted({line.split()[0] for line in lines}, reverse=True)
    assert 1 == len({line.split()[4] for line in lines})  # of one chain


async def test_every_kind_of_rule_is_taken_by_the_kernel_and_read_back(lab: Lab):
    both = [
        {"protocol": "tcp", "first": 1, "last": 65535},
        {"protocol": "udp", "first": 53, "last": 53},
        {"protocol": "tcp"},
        {"protocol": "all"},
        {"protocol": "47"},
    ]
    rules = [GroupRule(**each, cidr=cidr) for each in both for cidr in ("0.0.0.0/0", "10.0.0.0/25", "10.0.0.128/25", "::/0")]
    rules += [GroupRule(**each, group=CLIENTS) for each in both]
    icmp = [{"protocol": "icmp"}, {"protocol": "icmp", "first": 8}, {"protocol": "icmp", "first": 3, "last": 4}]
    rules += [GroupRule(**each, cidr="10.0.0.0/8") for each in icmp]
    rules += [GroupRule(protocol="icmpv6", cidr="fd00::/8"), GroupRule(protocol="icmpv6", first=128, group=CLIENTS)]
    await lab.apply(*rules, egress=tuple(rules))
    await lab.apply(*rules[1:], egress=tuple(rules[:-1]))


async def test_guests_that_are_gone_leave_nothing(lab: Lab):
    await lab.apply(PING_OF_CLIENTS)
    for spec in lab.here:
        await lab.driver.ensure_removed(spec.machine, 1, kept_network=False)
    empty = SecurityGroupsDocument(host="h")
    assert digest(empty) == (await lab.groups.apply(empty)).live
    left = listed(lab)
    assert (set(security_groups.FIXED), {}, {}, {}) == (set(left.chains), left.sets, left.into, left.out)
    assert "elements" not in lab.nft("list", "set", *security_groups.TABLE.split(), "filtered")


# ---------------------------------------------------------------- two hosts
async def test_members_on_another_host_are_known_and_others_there_are_not(tmp_path):
    ends = [short_name("cab", tmp_path, number) for number in (1, 2)]
    ground.sh("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
    async with AsyncExitStack() as stack:
        stack.callback(ground.sh, "ip", "link", "del", ends[0], check=False)
        labs = []
        for number, end in enumerate(ends, 1):
            layout, _ = await stack.enter_async_context(ground.host(tmp_path / str(number)))
            network = HostNetwork(layout, Underlay(link=end, address=f"10.9.0.{number}/24"))
            await network.ensure()
            wire = ground.segment("net-x", Traffic.GUEST, isolation=Isolation.VXLAN, tag=101, peers=(f"10.9.0.{3 - number}",))
            labs.append(Lab(layout, network, wire))
        one, two = labs
        one.here, two.here = (one.web,), (two.client, two.other)
        for each in labs:
            await each.place()
            await each.apply(PING_OF_CLIENTS)
        assert two.pings(two.client, one.web)
        assert not two.pings(two.other, one.web)
