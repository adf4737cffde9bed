"""When a VPC has a router, when its router has a NIC in a tier, and what such a router is told."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sysvm.systemvms import network as steps
from sysvm.systemvms import vpc as plans
from sysvm.systemvms.network import RouterSeen
from sysvm.systemvms.router import GuestFacts, NetworkFacts, RouterFacts
from sysvm.systemvms.vpc import TierRouterSeen, TierSeen, VpcSeen, plan_tier, plan_vpc
from sysvm.systemvms.vpc_router import VpcFacts, document
from sysvm.wire.documents import PortForward, Ports, SourceNat
from sysvm.wire.vpc import Route, Tier

SERVING, STARTING = RouterSeen(1, "running", True), RouterSeen(1, "running", False)
STOPPED, GOING = RouterSeen(1, "stopped", False), RouterSeen(1, "gone", False)


def vpc(**more: Any) -> VpcSeen:
    """A VPC that wants its router."""
    return VpcSeen(**{"doomed": False, "wanted": True, "tiers": 0, "routers": (), **more})


VPCS = [
    (vpc(), steps.AddRouter()),
    (vpc(wanted=False), steps.Implemented(600.0)),
    (vpc(routers=(STARTING,)), steps.Idle(60, "its router starts")),
    (vpc(routers=(STOPPED,)), steps.Idle(60, "its router was stopped by an operator; start it with startRouter")),
    (vpc(routers=(SERVING,)), steps.Implemented(600.0)),
    (vpc(routers=(GOING,)), steps.Idle(60, "its router before is being removed and still has its addresses")),
    (vpc(doomed=True, tiers=1, routers=(SERVING,)), steps.Idle(60, "its tiers and private gateways are being removed")),
    (vpc(doomed=True, routers=(SERVING,)), steps.RemoveRouter(1)),
    (vpc(doomed=True, routers=(GOING,)), steps.Idle(60, "its router is being removed")),
    (vpc(doomed=True), steps.Shut()),
]


@pytest.mark.parametrize(("seen", "step"), VPCS)
def test_the_next_step_of_a_vpc(seen: VpcSeen, step: object):
    assert step == plan_vpc(seen)


def at(*, plugged: bool = True, settled: bool = True, wanted: str = "running") -> TierRouterSeen:
    """The VPC's router, as a tier sees it."""
    return TierRouterSeen(1, wanted, plugged, settled)


def tier(*routers: TierRouterSeen, **more: Any) -> TierSeen:
    """A tier that is new."""
    return TierSeen(**{"doomed": False, "live": False, "routers": routers, **more})


TOLD = steps.Idle(60, "the router of its VPC is being told")
TIERS = [
    (tier(), plans.WantRouter()),
    (tier(at(wanted="gone")), steps.Idle(60, "the router of its VPC is being made")),
    (tier(at(plugged=False)), plans.Plug(1)),
    (tier(at(plugged=False), live=True), plans.Plug(1)),
    (tier(at(settled=False)), TOLD),
    (tier(at()), steps.Implemented(600.0)),
    (tier(at(settled=False), live=True), steps.Implemented(600.0)),
    (
        tier(at(settled=False, wanted="stopped")),
        steps.Idle(60, "the router of its VPC was stopped by an operator; start it with startRouter"),
    ),
    (tier(at(), doomed=True), plans.Unplug(1)),
    (tier(at(plugged=False, settled=False), doomed=True), TOLD),
    (tier(at(plugged=False, settled=False, wanted="stopped"), doomed=True), steps.Shut()),
    (tier(at(plugged=False), doomed=True), steps.Shut()),
    (tier(doomed=True), steps.Shut()),
]


@pytest.mark.parametrize(("seen", "step"), TIERS)
def test_the_next_step_of_a_tier(seen: TierSeen, step: object):
    assert step == plan_tier(seen)


# ---------------------------------------------------------------- documents
SERVICES = frozenset({"Dhcp", "Dns", "UserData", "SourceNat", "StaticNat", "PortForwarding", "NetworkACL"})


def network(number: int, **more: Any) -> NetworkFacts:
    """A tier."""
    return NetworkFacts(**{
        "device": f"eth{number + 1}", "cidr": f"10.8.{number}.0/24", "gateway": f"10.8.{number}.1", "domain": "v.cloud",
        "dns": ("192.0.2.53",), "services": SERVICES, "mtu": 1500, "source_nat": "203.0.113.9",
        "egress_default_allow": False, **more,
    })  # fmt: skip


def inside(number: int, **more: Any) -> RouterFacts:
    """A tier with a guest and a forward to it."""
    guest = GuestFacts(mac=f"02:00:00:00:0{number}:05", address=f"10.8.{number}.5", hostname=f"g{number}", is_default=True)
    forward = PortForward(rule=f"f{number}", public="203.0.113.9", protocol="tcp", ports=Ports(number, number),
                          private=guest.address, private_ports=Ports(22, 22))  # fmt: skip
    return RouterFacts(**{"machine": "m", "name": "r-1-VM", "network": network(number), "interfaces": (),
                          "public_device": "eth1", "guests": (guest,), "port_forwards": (forward,), **more})  # fmt: skip


ACLS = tuple(Tier(device=f"eth{number + 1}", cidr=f"10.8.{number}.0/24") for number in (1, 2))
WHOLE = VpcFacts(
    machine="m", name="r-1-VM", cidr="10.8.0.0/16", domain="v.cloud", interfaces=(), public_device="eth1",
    source_nat="203.0.113.9", tiers=(inside(1), inside(2)), acls=ACLS,
    routes=(Route(destination="192.168.7.0/24", via="10.8.1.5"),),
)  # fmt: skip


def test_the_document_of_a_vpc_is_those_of_its_tiers_together():
    made = document(WHOLE)
    assert ["eth2", "eth3"] == [each.device for each in made.dhcp]
    assert made.dns is not None and made.metadata is not None and made.vpc is not None
    assert (("10.8.1.1", "10.8.2.1"), ("10.8.1.0/24", "10.8.2.0/24")) == (made.dns.listen, made.dns.allow)
    assert {"data-server": ("10.8.1.1",), "g1": ("10.8.1.5",), "g2": ("10.8.2.5",)} == {
        record.name: record.addresses for record in made.dns.records
    }
    assert ["10.8.1.5", "10.8.2.5"] == [guest.address for guest in made.metadata.guests]
    assert ["f1", "f2"] == [each.rule for each in made.port_forwards]
    assert (SourceNat(device="eth1", public="203.0.113.9", source="10.8.0.0/16"),) == made.source_nat
    assert ((), (), ACLS) == (made.firewall, made.egress, made.vpc.tiers)


def test_a_vpc_without_tiers_has_its_address_and_nothing_else():
    made = document(replace(WHOLE, tiers=(), acls=(), routes=()))
    assert ((), None, None, ()) == (made.dhcp, made.dns, made.metadata, made.port_forwards)
    assert 1 == len(made.source_nat)
    assert made.vpc is not None


def test_a_tier_whose_offering_leaves_a_service_out_has_no_part_of_it():
    plain = inside(2, network=network(2, services=frozenset({"Dhcp"})))
    made = document(replace(WHOLE, tiers=(inside(1), plain)))
    assert made.dns is not None and made.metadata is not None
    assert (("10.8.1.1",), ("10.8.1.1",), ["f1"]) == (
        made.dns.listen, made.metadata.listen, [each.rule for each in made.port_forwards],
    )  # fmt: skip
    assert ["eth2", "eth3"] == [each.device for each in made.dhcp]


@given(st.permutations(WHOLE.tiers), st.permutations(ACLS))
def test_the_order_of_rows_says_nothing(tiers: list[RouterFacts], acls: list[Tier]):
    assert document(WHOLE) == document(replace(WHOLE, tiers=tuple(tiers), acls=tuple(acls)))
