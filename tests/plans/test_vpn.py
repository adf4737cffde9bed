"""The VPN's part of a router's document, and what a range, a name and a password may be."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sysvm.api.rules import vpns
from sysvm.basics.errors import Refused
from sysvm.systemvms.router import document
from sysvm.wire.vpn import RemoteAccess, VpnUser
from tests.plans.test_router import ALL, NETWORK, facts

ACCESS = RemoteAccess(
    public="203.0.113.10", preshared_key="key", first="10.1.2.2", last="10.1.2.8", networks=("10.1.1.0/24",),
    users=(VpnUser(name="bob", password="b"), VpnUser(name="alice", password="a")),
)  # fmt: skip
SERVED = replace(NETWORK, services=ALL | {"Vpn"})


def test_without_the_service_there_is_no_vpn():
    assert document(facts(vpn=ACCESS)).vpn is None
    assert document(facts(vpn=ACCESS, network=SERVED)).vpn is not None
    assert document(facts(network=SERVED)).vpn is None


def test_the_order_of_users_says_nothing():
    other = RemoteAccess(**{name: getattr(ACCESS, name) for name in ACCESS.__struct_fields__} | {"users": ACCESS.users[::-1]})
    assert document(facts(vpn=ACCESS, network=SERVED)) == document(facts(vpn=other, network=SERVED))


@given(first=st.ip_addresses(v=4), size=st.integers(-3, 1 << 17))
def test_clients_are_beside_what_is_there_and_leave_the_first_address(first: IPv4Address, size: int):
    """Whatever the range: refused, or inside it and apart from the guests."""
    last = int(first) + size
    if not 0 <= last < 1 << 32:
        return
    try:
        low, high = vpns.clients(f"{first}-{IPv4Address(last)}", [("guest ip range", "10.1.1.0/24")])
    except Refused:
        return
    assert (IPv4Address(low), int(IPv4Address(high))) == (first + 1, last)
    assert IPv4Address(high) < IPv4Address("10.1.1.0") or IPv4Address(low) > IPv4Address("10.1.1.255")


@pytest.mark.parametrize("name", ["bob", "a" * 64, "Bob.Smith_1-2@example.org"])
def test_a_name_that_can_be(name: str):
    assert name == vpns.name(name)


@pytest.mark.parametrize("password", ["pw1", "p" * 32, "a@b+c=d.e_f-g"])
def test_a_password_that_can_be(password: str):
    assert password == vpns.password(password)
