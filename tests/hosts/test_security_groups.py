"""Security groups on real bridges: who may speak to whom, on one host and between two, and what stays so when the host
agent starts again or somebody changes the rules by hand."""

from collections.abc import AsyncIterator

import pytest

from sysvm.basics.digest import digest
from sysvm.hosts.layout import Layout
from sysvm.hosts.lxc import LxcDriver
from sysvm.hosts.network import HostNetwork
from sysvm.hosts.security_groups import SecurityGroups
from sysvm.wire.machines import Kind, MachineSpec
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

    def __init__(self, layout: Layout, network: HostNetwork) -> None:
        self.layout, self.network = layout, network
        self.driver = LxcDriver(layout, network)
        self.groups = SecurityGroups(layout, network)
        self.web, self.client, self.other = guest(10), guest(11), guest(12)
        self.rules: tuple[GroupRule, ...] = ()
        self.egress: tuple[GroupRule, ...] = ()

    async def place(self, spec: MachineSpec) -> None:
        await self.driver.ensure_created(spec)
        for nic in spec.nics:
            self.inside(spec, "ip", "link", "set", f"eth{nic.device}", "up")
            self.inside(spec, "ip", "addr", "add", nic.addresses[0], "dev", f"eth{nic.device}")

    def document(self) -> SecurityGroupsDocument:
        def members(*specs: MachineSpec) -> tuple[str, ...]:
            return tuple(address(spec) for spec in specs)

        return SecurityGroupsDocument(
            host="h",
            ports=(port(self.web, WEB), port(self.client, CLIENTS), port(self.other, OTHERS)),
            groups=(
                Group(group=WEB, ingress=self.rules),
                Group(group=CLIENTS, egress=self.egress, members=members(self.client)),
                Group(group=OTHERS, members=members(self.other)),
            ),
        )

    async def apply(self, *rules: GroupRule, egress: tuple[GroupRule, ...] = ()) -> None:
        self.rules, self.egress = rules, egress
        document = self.document()
        assert digest(document) == (await self.groups.apply(document)).live

    def inside(self, spec: MachineSpec, *words: str, check: bool = True) -> str:
        key = spec.machine if spec.kind is Kind.ROUTER else f"{spec.machine}.1"
        return ground.sh("nsenter", f"--net={self.layout.run / 'ns' / f'{key}.net'}", *words, check=check)

    def pings(self, one: MachineSpec, two: MachineSpec) -> bool:
        return " 0% packet loss" in self.inside(one, "ping", "-c1", "-W1", address(two), check=False)

    def nft(self, *words: str) -> str:
        return ground.sh("nsenter", f"--net={self.layout.namespace_path}", "nft", *words)


@pytest.fixture
async def lab(tmp_path) -> AsyncIterator[Lab]:
    async with ground.host(tmp_path) as (layout, network):
        made = Lab(layout, network)
        for spec in (made.web, made.client, made.other):
            await made.place(spec)
        yield made


async def test_before_anything_is_known_of_its_groups_a_port_is_closed(lab: Lab):
    assert not lab.pings(lab.client, lab.web)


async def test_the_pair_that_a_rule_allows_talks_and_the_other_does_not(lab: Lab):
    await lab.apply(GroupRule(protocol="icmp", group=CLIENTS))
    assert lab.pings(lab.client, lab.web)
    assert not lab.pings(lab.other, lab.web)
    assert not lab.pings(lab.web, lab.client)  # the rule is about who begins


async def test_it_stays_so_when_the_host_agent_starts_again(lab: Lab):
    await lab.apply(GroupRule(protocol="icmp", group=CLIENTS))
    again = HostNetwork(lab.layout)
    await again.ensure()
    await SecurityGroups(lab.layout, again).mend()
    assert lab.pings(lab.client, lab.web)
    assert not lab.pings(lab.other, lab.web)
