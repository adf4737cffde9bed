"""Without charon: messages of its socket, what a VPN is called there, and what the ruleset opens for it."""

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sysvm.agent.roles.router import ipsec_access, rules
from sysvm.agent.roles.router.ipsec_vici import Charon, NoAnswer, decode, encode
from sysvm.agent.roles.router.service import Wrong
from sysvm.wire.vpn import RemoteAccess, VpnUser
from tests.agent.documents import PUBLIC, router

ALICE, BOB = VpnUser(name="alice", password="one"), VpnUser(name="bob", password="two")
PLAIN = RemoteAccess(
    public=PUBLIC, preshared_key="key", first="10.1.2.2", last="10.1.2.8", networks=("10.1.1.0/24",), users=(BOB, ALICE)
)
NAMES = st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=20)
MESSAGES = st.recursive(
    st.dictionaries(NAMES, st.text() | st.lists(st.text(), max_size=4), max_size=4),
    lambda inside: st.dictionaries(NAMES, inside, max_size=3),
    max_leaves=8,
)


def access(**changes: Any) -> ipsec_access.Access:
    found = ipsec_access.render(router(vpn=msgspec.structs.replace(PLAIN, **changes)))
    assert found is not None
    return found


@given(message=MESSAGES)
def test_a_message_is_read_as_it_was_written(message: dict[str, Any]) -> None:
    assert message == decode(encode(message))


@given(data=st.binary(max_size=60))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    """It is a message, or NoAnswer."""
    with contextlib.suppress(NoAnswer):
        decode(data)


def test_where_no_charon_is_there_is_no_answer(tmp_path: Any) -> None:
    with pytest.raises(NoAnswer, match="cannot be reached"):
        Charon(tmp_path / "nobody")


def test_names_say_what_is_loaded() -> None:
    """Another key, range, user or password has another name; the order of users has not."""
    one = access()
    assert one.keys().keys() == access(users=(ALICE, BOB)).keys().keys()
    assert one.connections(kernel=False).keys() != one.connections(kernel=True).keys()
    for changes in ({"preshared_key": "other"}, {"last": "10.1.2.9"}, {"networks": ("10.1.0.0/16",)}):
        assert one.connections(kernel=False).keys() != access(**changes).connections(kernel=False).keys()
    other = access(users=(msgspec.structs.replace(ALICE, password="three"), BOB))
    (gone,) = one.keys().keys() - other.keys().keys()
    assert gone.endswith("-alice") and "one" not in gone


@pytest.mark.parametrize(
    ("first", "last", "routes"),
    [
        ("10.1.2.2", "10.1.2.2", {"10.1.2.2"}),
        ("10.1.2.2", "10.1.2.8", {"10.1.2.2/31", "10.1.2.4/30", "10.1.2.8"}),
        ("10.1.4.0", "10.1.5.255", {"10.1.4.0/23"}),
    ],
)
def test_routes_are_of_the_range_and_no_more(first: str, last: str, routes: set[str]) -> None:
    assert routes == access(first=first, last=last).routes()


@pytest.mark.parametrize(
    "changes",
    [
        {"first": "10.1.2.9"},
        {"first": "nonsense"},
        {"public": "::1"},
        {"networks": ("10.1.1.0/33",)},
        {"users": (ALICE, VpnUser(name="ALICE", password="x"))},
        {"users": (VpnUser(name='a"b', password="x"),)},
        {"users": (VpnUser(name="alice", password=""),)},
        {"users": (VpnUser(name="alice", password="one\ntwo"),)},
        {"users": (VpnUser(name="alice", password="@/etc/shadow"),)},
    ],
)
def test_what_cannot_be_is_wrong(changes: dict[str, Any]) -> None:
    with pytest.raises(Wrong, match="vpn"):
        access(**changes)


def test_ports_are_open_and_clients_see_guests_only() -> None:
    """Whichever way they came in by."""
    chains = {chain.name: chain.rules for chain in rules.render(router(vpn=PLAIN)).chains}
    plain = {chain.name: chain.rules for chain in rules.render(router()).chains}
    assert [f"ip daddr {PUBLIC} udp dport {{ 500, 1701, 4500 }} accept"] == [
        rule for rule in chains["input"] if rule not in plain["input"]
    ]
    they, nets = "10.1.2.2-10.1.2.8", "{ 10.1.1.0/24 }"
    expected = []
    for each in ("ipsec0", "ppp*"):
        expected += [
            f'iifname "{each}" oifname {{ "eth0" }} ip saddr {they} ip daddr {nets} accept',
            f'iifname {{ "eth0" }} oifname "{each}" ip saddr {nets} ip daddr {they} accept',
            *(f'iifname "{each}" oifname "{other}" ip saddr {they} ip daddr {they} accept' for other in ("ipsec0", "ppp*")),
        ]
    assert expected == [rule for rule in chains["forward"] if rule not in plain["forward"]]
