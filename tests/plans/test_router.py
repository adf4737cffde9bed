"""A router's document is a function of the facts: services that are left out, and no dependence on the order of rows."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sysvm.basics.digest import digest
from sysvm.systemvms.router import GuestFacts, NetworkFacts, RouterFacts, document
from sysvm.wire.documents import Dhcp6, PortForward, Ports, SourceNat

ALL = frozenset({"Dhcp", "Dns", "UserData", "SourceNat", "StaticNat", "PortForwarding", "Firewall"})
NETWORK = NetworkFacts(
    device="eth0", cidr="10.1.1.0/24", gateway="10.1.1.1", domain="cs1.cloud", dns=("192.0.2.53",), services=ALL,
    mtu=1500, source_nat="203.0.113.10", egress_default_allow=False,
)  # fmt: skip
GUESTS = tuple(
    GuestFacts(mac=f"02:00:00:00:00:{n:02x}", address=f"10.1.1.{n}", hostname=f"g{n}", is_default=True) for n in range(5, 9)
)


def forward(rule: int) -> PortForward:
    """A rule; only its number matters here."""
    return PortForward(rule=str(rule), public="203.0.113.10", protocol="tcp", ports=Ports(rule, rule), private="10.1.1.5",
                       private_ports=Ports(22, 22))  # fmt: skip


def facts(**more: Any) -> RouterFacts:
    """A router with four guests."""
    return RouterFacts(**{"machine": "m", "name": "r-1-VM", "network": NETWORK, "interfaces": (),
                          "public_device": "eth2", "guests": GUESTS, **more})  # fmt: skip


SECTIONS = [
    ("Dhcp", "dhcp", ()),
    ("Dns", "dns", None),
    ("SourceNat", "source_nat", ()),
    ("PortForwarding", "port_forwards", ()),
    ("UserData", "metadata", None),
]


@pytest.mark.parametrize(("service", "section", "empty"), SECTIONS)
def test_a_service_that_the_offering_leaves_out_is_not_run(service: str, section: str, empty: object):
    """Its section is empty; with the service it is not."""
    full = facts(port_forwards=(forward(1),))
    without = replace(full, network=replace(NETWORK, services=ALL - {service}))
    assert empty != getattr(document(full), section)
    assert empty == getattr(document(without), section)


@given(st.permutations(GUESTS), st.permutations([forward(n) for n in range(4)]))
def test_the_order_of_rows_says_nothing(guests: list[GuestFacts], rules: list[PortForward]):
    """Equal facts have equal digests, else a router would be configured for nothing."""
    first = facts(port_forwards=tuple(forward(n) for n in range(4)))
    again = facts(guests=tuple(guests), port_forwards=tuple(rules))
    assert digest(document(first)) == digest(document(again))


def test_a_new_guest_is_another_document():
    """What changed must be seen to have changed."""
    assert digest(document(facts())) != digest(document(facts(guests=GUESTS[1:])))


def test_without_an_own_resolver_guests_ask_the_zones():
    """DHCP names the router itself only when it resolves."""
    assert ("10.1.1.1",) == document(facts()).dhcp[0].dns
    alone = replace(NETWORK, services=ALL - {"Dns"})
    assert ("192.0.2.53",) == document(facts(network=alone)).dhcp[0].dns
    assert ("192.0.2.53",) == document(facts(network=replace(NETWORK, use_external_dns=True))).dhcp[0].dns


def test_no_address_no_source_nat():
    """A network that has no public address yet is not translated to nothing."""
    assert (SourceNat(device="eth2", public="203.0.113.10", source="10.1.1.0/24"),) == document(facts()).source_nat
    assert () == document(facts(network=replace(NETWORK, source_nat=None))).source_nat
    assert () == document(facts(public_device=None)).source_nat


def test_egress_is_open_where_nobody_could_open_it():
    """A denying policy without the Firewall service would shut guests in for ever."""
    assert not document(facts()).egress[0].allow_by_default
    assert document(facts(network=replace(NETWORK, services=ALL - {"Firewall"}))).egress[0].allow_by_default


SIX = replace(
    NETWORK, own_address="10.1.1.2", cidr6="2001:db8:1:2::/64", own_address6="2001:db8:1:2::2", dns6=("2001:db8:53::1",)
)  # fmt: skip
DUAL = tuple(replace(guest, address6=f"2001:db8:1:2::{guest.address.rpartition('.')[2]}") for guest in GUESTS)


def test_a_dual_stack_network_is_served_in_both_families():
    """Reservations, names, the resolver and who may ask it."""
    made = document(facts(network=SIX, guests=DUAL))
    assert Dhcp6(cidr="2001:db8:1:2::/64", dns=("2001:db8:1:2::2",)) == made.dhcp[0].six
    assert [f"2001:db8:1:2::{n}" for n in range(5, 9)] == [each.address6 for each in made.dhcp[0].reservations]
    assert made.dns is not None
    assert (("10.1.1.2", "2001:db8:1:2::2"), ("10.1.1.0/24", "2001:db8:1:2::/64")) == (made.dns.listen, made.dns.allow)
    assert ("192.0.2.53", "2001:db8:53::1") == made.dns.forwarders
    assert ("10.1.1.5", "2001:db8:1:2::5") == next(each.addresses for each in made.dns.records if each.name == "g5")


def test_guests_of_a_dual_stack_network_ask_the_zones_resolvers_when_the_router_is_none():
    alone = replace(SIX, services=ALL - {"Dns"})
    assert Dhcp6(cidr="2001:db8:1:2::/64", dns=("2001:db8:53::1",)) == document(facts(network=alone)).dhcp[0].six


@pytest.mark.parametrize("missing", [{"cidr6": ""}, {"own_address6": ""}])
def test_without_a_subnet_or_an_address_of_its_own_a_router_says_nothing_of_ipv6(missing: dict[str, str]):
    made = document(facts(network=replace(SIX, **missing), guests=DUAL))
    assert (None, {""}) == (made.dhcp[0].six, {each.address6 for each in made.dhcp[0].reservations})
    assert made.dns is not None
    assert (("10.1.1.2",), ("10.1.1.0/24",), ("192.0.2.53",)) == (made.dns.listen, made.dns.allow, made.dns.forwarders)
