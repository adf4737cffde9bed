"""A VPC's router with two tiers and an outside, with real nft and routes: who may begin a connection with whom.

web (10.1.1.5) ── eth0 router eth2 ── outside (203.0.113.1)
data (10.1.2.5) ── eth3 ──┘
"""

from collections.abc import Iterator

import pytest

from sysvm.wire.channel import DriftReport
from sysvm.wire.documents import Interface, RouterDocument, SourceNat
from sysvm.wire.explaining import Fate
from sysvm.wire.vpc import AclRule, Route, Tier, Vpc
from tests.agent.documents import ANY, GUEST, OUTSIDE, PUBLIC, SECOND, forward, interfaces, router, static
from tests.agent.lab import Lab, sh, until
from tests.agent.questions import explained

pytestmark = pytest.mark.root
WEB, DATA = GUEST, "10.1.2.5"
DATA_MAC, ROUTER_DATA_MAC = "02:00:0a:01:02:05", "02:00:0a:01:02:01"
REMOTE = "192.168.77.1"  # behind the machine in `data`


class TwoTiers(Lab):
    """The lab with one more tier."""

    @property
    def data(self) -> str:
        return f"sv{self._mark}-data"

    def _namespaces(self) -> tuple[str, ...]:
        return (*super()._namespaces(), self.data)

    def build(self) -> None:
        super().build()
        self._link(self.router, "eth3", ROUTER_DATA_MAC, self.data, "eth0", DATA_MAC)
        sh("ip", "-n", self.router, "link", "set", "eth3", "up")
        own = (f"address add {DATA}/24 dev eth0", f"address add {REMOTE}/32 dev lo")
        for line in ("link set eth0 up", *own, "route add default via 10.1.2.1"):
            sh("ip", "-n", self.data, *line.split())


@pytest.fixture(scope="module")
def world() -> Iterator[TwoTiers]:
    """Servers on port 80 and 81 of both tiers, and on 80 outside."""
    lab = TwoTiers()
    try:
        lab.build()
        lab.start_agent()
        lab.make_live(document())
        lab.guest_address()
        for port in (80, 81):
            lab.serve(lab.guest, WEB, port)
            lab.serve(lab.data, DATA, port)
        lab.serve(lab.data, REMOTE, 80)
        lab.serve(lab.outside, OUTSIDE, 80)
        yield lab
    finally:
        lab.remove()


def item(
    number: int, *, allow: bool = True, protocol: str = "all", port: int | None = None, cidrs: tuple[str, ...] = ANY
) -> AclRule:
    """A numbered rule."""
    return AclRule(rule=f"acl-{number}", number=number, allow=allow, protocol=protocol, cidrs=cidrs, first=port)


ALL = (item(1),)


def document(web: tuple[tuple[AclRule, ...], tuple[AclRule, ...]] = ((), ()),
             data: tuple[tuple[AclRule, ...], tuple[AclRule, ...]] = ((), ()),
             routes: tuple[Route, ...] = (), **sections: object) -> RouterDocument:  # fmt: skip
    """The VPC with these (ingress, egress) of its tiers."""
    tiers = (
        Tier(device="eth0", cidr="10.1.1.0/24", ingress=web[0], egress=web[1]),
        Tier(device="eth3", cidr="10.1.2.0/24", ingress=data[0], egress=data[1]),
    )
    third = Interface(device="eth3", mac=ROUTER_DATA_MAC, role="guest", addresses=("10.1.2.1/24",))
    return router(
        interfaces=(*interfaces(SECOND), third),
        source_nat=(SourceNat(device="eth2", public=PUBLIC, source="10.1.0.0/16"),),
        vpc=Vpc(cidr="10.1.0.0/16", tiers=tiers, routes=routes),
        **sections,
    )


def test_a_tier_without_rules_lets_everything_out_and_nothing_in(world: TwoTiers):
    world.make_live(document())
    assert f"{PUBLIC} 80" == world.reached(world.guest, OUTSIDE, 80) == world.reached(world.data, OUTSIDE, 80)
    assert world.is_blocked(world.guest, DATA, 80)
    assert world.is_blocked(world.data, WEB, 80)


def test_tiers_talk_as_far_as_rules_let_them_and_without_nat(world: TwoTiers):
    world.make_live(document(data=((item(1, protocol="tcp", port=80, cidrs=("10.1.1.0/24",)),), ())))
    assert f"{WEB} 80" == world.reached(world.guest, DATA, 80)
    assert world.is_blocked(world.guest, DATA, 81)
    assert world.is_blocked(world.data, WEB, 80)


def test_the_lower_number_decides(world: TwoTiers):
    rules = (item(1, allow=False, protocol="tcp", port=81), item(2, protocol="tcp"))
    world.make_live(document(data=(rules, ())))
    assert f"{WEB} 80" == world.reached(world.guest, DATA, 80)
    assert world.is_blocked(world.guest, DATA, 81)


def test_one_egress_rule_holds_back_all_that_is_not_said(world: TwoTiers):
    only = (item(1, protocol="tcp", port=80, cidrs=("10.1.2.0/24",)),)
    world.make_live(document(web=((), only), data=(ALL, ())))
    assert f"{WEB} 80" == world.reached(world.guest, DATA, 80)
    assert world.is_blocked(world.guest, DATA, 81)
    assert world.is_blocked(world.guest, OUTSIDE, 80)
    assert f"{PUBLIC} 80" == world.reached(world.data, OUTSIDE, 80)


def test_a_change_is_live_and_what_stands_goes_on(world: TwoTiers):
    world.make_live(document(data=(ALL, ())))
    with world.connected(world.guest, DATA, 80) as standing:
        assert f"{WEB} 80" == standing.recv(100).decode().strip()
        world.make_live(document(data=((item(1, allow=False), item(2)), ())))
        assert world.is_blocked(world.guest, DATA, 80)
        standing.sendall(b"still here")
        assert b"still here" == standing.recv(100)


def test_from_outside_only_what_is_led_here_and_let_in(world: TwoTiers):
    """A port forward needs no firewall rule, but the tier's leave; so does static NAT."""
    led = {"port_forwards": (forward("web", 2080, 80),), "static_nat": (static("data", SECOND, DATA),)}
    world.make_live(document(**led))
    assert world.is_blocked(world.outside, PUBLIC, 2080)
    assert world.is_blocked(world.outside, SECOND, 80)
    web, data = (((item(1, protocol="tcp", port=port),), ()) for port in (80, 81))
    world.make_live(document(web=web, data=data, **led))
    assert f"{OUTSIDE} 80" == world.reached(world.outside, PUBLIC, 2080)
    assert world.is_blocked(world.outside, SECOND, 80)
    assert f"{OUTSIDE} 81" == world.reached(world.outside, SECOND, 81)
    assert f"{SECOND} 80" == world.reached(world.data, OUTSIDE, 80)


def test_nobody_outside_reaches_a_private_address(world: TwoTiers):
    """Also with a tier that lets everything in, and a route that leads here."""
    world.make_live(document(web=(ALL, ()), data=(ALL, ())))
    world.out(world.outside, "ip", "route", "replace", "10.1.0.0/16", "via", PUBLIC)
    assert world.is_blocked(world.outside, WEB, 80)
    world.out(world.outside, "ip", "route", "del", "10.1.0.0/16")


def test_a_static_route_leads_by_way_of_a_machine_in_a_tier(world: TwoTiers):
    """There and back; when somebody removes it by hand it comes again."""
    route = Route(destination="192.168.77.0/24", via=DATA)
    world.make_live(document(web=(ALL, ()), data=(ALL, ()), routes=(route,)))
    assert f"{WEB} 80" == world.reached(world.guest, REMOTE, 80)
    said = len(world.host.notices)
    world.out(world.router, "ip", "route", "del", "192.168.77.0/24")
    drift = world.host.heard(DriftReport, said)
    assert ("routes", True) == (drift.service, drift.mended)
    assert f"{WEB} 80" == until(lambda: world.reached(world.guest, REMOTE, 80), "the route")
    world.make_live(document(web=(ALL, ()), data=(ALL, ())))
    assert "" == world.out(world.router, "ip", "route", "show", "192.168.77.0/24")


def test_a_tier_that_goes_leaves_nothing(world: TwoTiers):
    """Its chains go; the other tier is not touched."""
    world.make_live(document(data=(ALL, ())))
    whole = document(data=(ALL, ()))
    assert whole.vpc is not None
    one = router(
        interfaces=interfaces(SECOND), source_nat=whole.source_nat, vpc=Vpc(cidr="10.1.0.0/16", tiers=whole.vpc.tiers[:1])
    )
    world.make_live(one)
    names = {each["chain"]["name"] for each in world.nft() if "chain" in each}
    assert ({"in_eth0", "out_eth0"}, set()) == (names & {"in_eth0", "out_eth0"}, names & {"in_eth3", "out_eth3"})
    assert f"{PUBLIC} 80" == world.reached(world.guest, OUTSIDE, 80)
    world.make_live(whole)


def test_what_is_explained_is_what_happens(world: TwoTiers):
    """Fate and rule, and words about what no rule speaks of."""
    rules = (item(7, protocol="tcp", port=80, cidrs=("10.1.1.0/24",)), item(8, allow=False, protocol="tcp", port=81))
    only = (item(9, protocol="tcp", port=80),)
    world.make_live(document(data=(rules, ()), web=((item(6),), only), static_nat=(static("data", SECOND, DATA),)))
    for source, destination, port, passes, rule, words in (
        (WEB, DATA, 80, True, "acl-7", "network ACL rule acl-7"),
        (WEB, DATA, 81, False, "", "no rule of the network ACL lets TCP port 81 to 10.1.2.5 out"),
        (DATA, WEB, 80, True, "acl-6", "network ACL rule acl-6"),
        (WEB, OUTSIDE, 80, True, "", "what its own network lets out goes on through eth2"),
        (OUTSIDE, SECOND, 81, False, "acl-8", "network ACL rule acl-8: drops it"),
        (OUTSIDE, SECOND, 80, False, "", "no rule of the network ACL lets TCP port 80 from 203.0.113.1 in"),
    ):
        said = explained(world, source, destination, port=port)
        whole = " ".join((said.words, *(step.words for step in said.steps)))
        assert (Fate.ACCEPT if passes else Fate.DROP, rule, True) == (said.fate, said.rule, words in whole), whole
        namespace = {WEB: world.guest, DATA: world.data, OUTSIDE: world.outside}[source]
        assert passes is not world.is_blocked(namespace, destination, port)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (item(1, protocol="gre"), "'gre' is no protocol"),
        (item(1, protocol="tcp", port=70000), "70000-70000 is no range of ports"),
        (item(1, cidrs=("nowhere",)), "'nowhere' is no IPv4 network"),
    ],
)
def test_a_rule_that_cannot_be_leaves_the_rules_that_are(world: TwoTiers, wrong: AclRule, words: str):
    world.make_live(document(data=(ALL, ())))
    report = world.apply(document(data=((wrong,), ())))
    assert [("nftables", True)] == [(fault.service, f"network ACL acl-1: {words}" in fault.why) for fault in report.faults]
    assert f"{WEB} 80" == world.reached(world.guest, DATA, 80)
    world.make_live(document())
