"""A VPC's router with a tier, an outside and a private gateway, with real nft and routes: who may begin a connection with whom.

tier (10.1.1.5) ── eth0 router eth2 ── outside (203.0.113.1)
machine (10.77.0.1, 172.30.0.1 behind it) ── eth3 ──┘ (10.77.0.9)
"""

from collections.abc import Iterator

import pytest

from sysvm.wire.channel import DriftReport
from sysvm.wire.documents import Interface, RouterDocument, SourceNat
from sysvm.wire.explaining import Fate
from sysvm.wire.vpc import AclRule, Gateway, Route, Tier, Vpc
from tests.agent.documents import ANY, GUEST, OUTSIDE, PUBLIC, SECOND, interfaces, router, static
from tests.agent.lab import Lab, sh, until
from tests.agent.questions import explained

pytestmark = pytest.mark.root
OWN, MACHINE, FAR = "10.77.0.9", "10.77.0.1", "172.30.0.1"
MACHINE_MAC, ROUTER_MAC = "02:00:0a:4d:00:01", "02:00:0a:4d:00:09"
NETWORK = "10.77.0.0/24"
ROUTE = Route(destination="172.30.0.0/16", via=MACHINE)


class WithGateway(Lab):
    """The lab with a network of the operator."""

    @property
    def machine(self) -> str:
        return f"sv{self._mark}-priv"

    def _namespaces(self) -> tuple[str, ...]:
        return (*super()._namespaces(), self.machine)

    def build(self) -> None:
        super().build()
        self._link(self.router, "eth3", ROUTER_MAC, self.machine, "eth0", MACHINE_MAC)
        sh("ip", "-n", self.router, "link", "set", "eth3", "up")
        own = (f"address add {MACHINE}/24 dev eth0", f"address add {FAR}/32 dev lo")
        for line in ("link set eth0 up", *own, f"route add default via {OWN}"):
            sh("ip", "-n", self.machine, *line.split())


@pytest.fixture(scope="module")
def world() -> Iterator[WithGateway]:
    """Servers on ports 80 and 81 of both sides, and on 80 outside."""
    lab = WithGateway()
    try:
        lab.build()
        lab.start_agent()
        lab.make_live(document())
        lab.guest_address()
        for port in (80, 81):
            lab.serve(lab.guest, GUEST, port)
            lab.serve(lab.machine, MACHINE, port)
        lab.serve(lab.machine, FAR, 80)
        lab.serve(lab.outside, OUTSIDE, 80)
        yield lab
    finally:
        lab.remove()


def item(number: int, *, allow: bool = True, port: int | None = None, cidrs: tuple[str, ...] = ANY) -> AclRule:
    """A numbered rule; about TCP when it has a port."""
    protocol = "tcp" if port is not None else "all"
    return AclRule(rule=f"acl-{number}", number=number, allow=allow, protocol=protocol, cidrs=cidrs, first=port)


ALL, NONE = (item(1),), (item(2, allow=False),)


def document(
    ingress: tuple[AclRule, ...] = NONE, egress: tuple[AclRule, ...] = NONE, routes: tuple[Route, ...] = (ROUTE,),
    leaves_as: str = "", **sections: object,
) -> RouterDocument:  # fmt: skip
    """A VPC whose tier lets everything in and out, with these rules of its private gateway."""
    gateway = Gateway(device="eth3", cidr=NETWORK, ingress=ingress, egress=egress, leaves_as=leaves_as)
    third = Interface(device="eth3", mac=ROUTER_MAC, role="private", addresses=(f"{OWN}/24",))
    tier = Tier(device="eth0", cidr="10.1.1.0/24", ingress=ALL, egress=())
    return router(
        interfaces=(*interfaces(SECOND), third),
        source_nat=(SourceNat(device="eth2", public=PUBLIC, source="10.1.0.0/16"),),
        vpc=Vpc(cidr="10.1.0.0/16", tiers=(tier,), gateways=(gateway,), routes=routes),
        **sections,
    )


def test_the_list_that_denies_lets_nothing_pass(world: WithGateway):
    world.make_live(document())
    assert world.is_blocked(world.guest, MACHINE, 80)
    assert world.is_blocked(world.guest, FAR, 80)
    assert world.is_blocked(world.machine, GUEST, 80)


def test_rules_say_what_comes_into_its_network_and_what_goes_out(world: WithGateway):
    """And what stands goes on."""
    world.make_live(document(ingress=(item(1, port=80, cidrs=("10.1.1.0/24",)),), egress=(item(3, port=81),)))
    assert f"{GUEST} 80" == world.reached(world.guest, MACHINE, 80) == world.reached(world.guest, FAR, 80)
    assert world.is_blocked(world.guest, MACHINE, 81)
    assert f"{MACHINE} 81" == world.reached(world.machine, GUEST, 81)
    assert world.is_blocked(world.machine, GUEST, 80)
    with world.connected(world.guest, FAR, 80) as standing:
        assert f"{GUEST} 80" == standing.recv(100).decode().strip()
        world.make_live(document())
        standing.sendall(b"still here")
        assert b"still here" == standing.recv(100)


def test_with_source_nat_the_vpc_comes_from_the_gateways_address(world: WithGateway):
    """Only there: outside it comes from the public one. Without, it comes as it is."""
    world.make_live(document(ingress=ALL, leaves_as=OWN))
    assert f"{OWN} 80" == world.reached(world.guest, MACHINE, 80) == world.reached(world.guest, FAR, 80)
    assert f"{PUBLIC} 80" == world.reached(world.guest, OUTSIDE, 80)
    world.make_live(document(ingress=ALL))
    assert f"{GUEST} 80" == world.reached(world.guest, FAR, 80)


def test_nobody_behind_it_gets_out_by_public_addresses(world: WithGateway):
    """But to what these lead to in the VPC; and nobody outside gets behind it."""
    world.make_live(document(ingress=ALL, egress=ALL, static_nat=(static("web", SECOND, GUEST),)))
    assert world.is_blocked(world.machine, OUTSIDE, 80)
    assert f"{MACHINE} 80" == world.reached(world.machine, SECOND, 80)
    world.out(world.outside, "ip", "route", "replace", NETWORK, "via", PUBLIC)
    assert world.is_blocked(world.outside, MACHINE, 80)
    world.out(world.outside, "ip", "route", "del", NETWORK)


def test_a_sender_that_no_route_leads_to_does_not_pass(world: WithGateway):
    """What is behind the machine may send as far as a static route says that it is there."""
    world.make_live(document(ingress=ALL, egress=ALL))
    ping = ("ping", "-c", "1", "-W", "1", "-I", FAR, GUEST)
    assert 0 == world.run(world.machine, *ping).returncode
    world.make_live(document(ingress=ALL, egress=ALL, routes=()))
    assert 0 != world.run(world.machine, *ping).returncode
    assert world.is_blocked(world.guest, FAR, 80)


def test_it_answers_pings_and_nothing_else(world: WithGateway):
    world.make_live(document(ingress=ALL, egress=ALL))
    assert 0 == world.run(world.machine, "ping", "-c", "1", "-W", "1", OWN).returncode
    for port in (22, 53, 8080):
        assert world.is_blocked(world.machine, OWN, port), port


def test_what_is_explained_is_what_happens(world: WithGateway):
    world.make_live(document(ingress=(item(7, port=80),), egress=(item(8, port=81), item(9, port=80, cidrs=(f"{OUTSIDE}/32",)))))
    for source, destination, port, passes, rule, words in (
        (GUEST, FAR, 80, True, "acl-7", "172.30.0.1 is reached through eth3 by way of 10.77.0.1"),
        (GUEST, MACHINE, 81, False, "", "no rule of the network ACL lets TCP port 81 from 10.1.1.5 in"),
        (MACHINE, GUEST, 81, True, "acl-1", "10.77.0.1 is reached through eth3, so the packet comes in there"),
        (MACHINE, GUEST, 80, False, "", "no rule of the network ACL lets TCP port 80 to 10.1.1.5 out"),
        (MACHINE, OUTSIDE, 80, False, "", "nobody behind a private gateway goes out by the VPC's public addresses"),
    ):
        said = explained(world, source, destination, port=port)
        whole = " ".join((said.words, *(step.words for step in said.steps)))
        assert (Fate.ACCEPT if passes else Fate.DROP, rule, True) == (said.fate, said.rule, words in whole), whole
        assert passes is not world.is_blocked({GUEST: world.guest, MACHINE: world.machine}[source], destination, port)


@pytest.mark.parametrize(
    ("act", "service"),
    [
        (("ip", "route", "del", ROUTE.destination), "routes"),
        (("ip", "address", "del", f"{OWN}/24", "dev", "eth3"), "interfaces"),
        (("nft", "flush", "chain", "inet", "sysvm", "in_eth3"), "nftables"),
    ],
)
def test_what_somebody_takes_away_comes_again(world: WithGateway, act: tuple[str, ...], service: str):
    world.make_live(document(ingress=ALL, egress=ALL))
    said = len(world.host.notices)
    world.out(world.router, *act)
    drift = world.host.heard(DriftReport, said)
    assert (service, True) == (drift.service, drift.mended)
    assert f"{GUEST} 80" == until(lambda: world.reached(world.guest, FAR, 80), "the way to the machine")


def test_a_gateway_that_goes_leaves_nothing(world: WithGateway):
    """Neither chains nor routes nor source NAT."""
    whole = document(ingress=ALL, leaves_as=OWN)
    world.make_live(whole)
    assert whole.vpc is not None
    world.make_live(router(interfaces=interfaces(SECOND), source_nat=whole.source_nat,
                       vpc=Vpc(cidr="10.1.0.0/16", tiers=whole.vpc.tiers)))  # fmt: skip
    assert "eth3" not in world.out(world.router, "nft", "list", "ruleset")
    assert "" == world.out(world.router, "ip", "route", "show", "proto", "188")
    assert f"{PUBLIC} 80" == world.reached(world.guest, OUTSIDE, 80)
    world.make_live(whole)
