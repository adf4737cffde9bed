"""What the daemons of a pair are told, and what is refused; no root."""

import msgspec
import pytest

from sysvm.agent.roles.router import interfaces, pairing, rules
from sysvm.agent.roles.router.service import Wrong
from sysvm.wire.documents import Interface
from sysvm.wire.redundancy import Redundancy
from tests.agent.documents import OUTSIDE, PUBLIC, ROUTER, router
from tests.agent.lab import ROUTER_GUEST_MAC, ROUTER_PUBLIC_MAC

SHARED = (f"{ROUTER}/24", f"{PUBLIC}/24")
SAID = Redundancy(device="eth0", own="10.1.1.2", peer="10.1.1.3", priority=100, shared=SHARED)
GUEST = Interface(device="eth0", mac=ROUTER_GUEST_MAC, role="guest", addresses=("10.1.1.2/24", f"{ROUTER}/24"))
PUBLIC_NIC = Interface(device="eth2", mac=ROUTER_PUBLIC_MAC, role="public", addresses=(f"{PUBLIC}/24",), gateway=OUTSIDE)
DOCUMENT = router(interfaces=(GUEST, PUBLIC_NIC), redundancy=SAID)


def test_shared_addresses_and_ways_out_are_no_business_of_the_interfaces():
    guest, public = interfaces.render(DOCUMENT)
    assert (("10.1.1.2/24",), ()) == (guest.addresses, public.addresses)
    assert () == public.gateways


def test_keepalived_has_them_all():
    pair = pairing.render(DOCUMENT)
    assert pair is not None
    text = pairing.keepalived(pair, serves=False)
    for part in (f"{ROUTER}/24 dev eth0", f"{PUBLIC}/24 dev eth2", f"0.0.0.0/0 via {OUTSIDE} dev eth2", "nopreempt"):
        assert part in text


def test_one_without_a_peer_speaks_to_itself_and_not_to_guests():
    pair = pairing.render(msgspec.structs.replace(DOCUMENT, redundancy=msgspec.structs.replace(SAID, peer="")))
    assert pair is not None
    assert "unicast_peer {\n    10.1.1.2\n" in pairing.keepalived(pair, serves=False)


def test_the_peer_alone_is_heard():
    (vrrp, entries) = pairing.doors(DOCUMENT)
    assert all('iifname "eth0" ip saddr 10.1.1.3' in rule for rule in (vrrp, entries))
    (chain,) = [chain for chain in rules.render(DOCUMENT).chains if chain.name == "input"]
    assert vrrp in chain.rules
    assert () == pairing.doors(router())


BAD = [
    ({"peer": "10.1.1"}, "no IPv4 address"),
    ({"interval_s": 0}, "priority and interval"),
    ({"priority": 255}, "priority and interval"),
    ({"shared": (f"{PUBLIC}/24",)}, "eth0 has no shared address"),
    ({"device": "eth0; reboot"}, "no interface name"),
]


@pytest.mark.parametrize(("change", "why"), BAD)
def test_what_cannot_be_is_refused(change: dict[str, object], why: str):
    """One line of the table."""
    said = msgspec.structs.replace(SAID, **change)
    with pytest.raises(Wrong, match=why):
        pairing.render(msgspec.structs.replace(DOCUMENT, redundancy=said))
