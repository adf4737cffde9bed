"""Documents of a router for the tests: one plain network, and what a test adds to it."""

from typing import Any

import msgspec

from sysvm.wire.documents import (
    DhcpNetwork,
    Dns,
    DnsRecord,
    Egress,
    EgressRule,
    FirewallRule,
    GuestData,
    Interface,
    Metadata,
    PortForward,
    Ports,
    Protocol,
    Reservation,
    RouterDocument,
    SourceNat,
    StaticNat,
)
from tests.agent.lab import GUEST_MAC, ROUTER_GUEST_MAC, ROUTER_PUBLIC_MAC, boot_data

PUBLIC, SECOND, GUEST, ROUTER, OUTSIDE = "203.0.113.10", "203.0.113.11", "10.1.1.5", "10.1.1.1", "203.0.113.1"
ANY = ("0.0.0.0/0",)
MACHINE = boot_data().machine


def router(**sections: Any) -> RouterDocument:
    """A router with its addresses and nothing else, plus `sections`."""
    plain = RouterDocument(machine=MACHINE, name="r-4-VM", interfaces=interfaces())
    return msgspec.structs.replace(plain, **sections)


def interfaces(*public: str) -> tuple[Interface, ...]:
    """Both interfaces; further public addresses after the first."""
    return (
        Interface(device="eth0", mac=ROUTER_GUEST_MAC, role="guest", addresses=(f"{ROUTER}/24",)),
        Interface(
            device="eth2",
            mac=ROUTER_PUBLIC_MAC,
            role="public",
            addresses=(f"{PUBLIC}/24", *(f"{each}/24" for each in public)),
            gateway=OUTSIDE,
        ),
    )


def source_nat() -> tuple[SourceNat, ...]:
    """Guests leave as the first public address."""
    return (SourceNat(device="eth2", public=PUBLIC, source="10.1.1.0/24"),)


def egress(allow: bool, *rules: EgressRule) -> tuple[Egress, ...]:
    """The policy of the guest network."""
    return (Egress(device="eth0", source="10.1.1.0/24", allow_by_default=allow, rules=rules),)


def egress_rule(rule: str, port: int, *destinations: str) -> EgressRule:
    """An egress rule about a TCP port."""
    ports = Ports(port, port)
    return EgressRule(rule=rule, device="eth0", protocol=Protocol.TCP, sources=ANY, destinations=destinations, ports=ports)


def forward(rule: str, port: int, to: int, last: int = 0, public: str = PUBLIC, private: str = GUEST) -> PortForward:
    """A TCP port (or a range up to `last`) to the guest."""
    span = (last or port) - port
    return PortForward(
        rule=rule, public=public, protocol=Protocol.TCP, ports=Ports(port, port + span),
        private=private, private_ports=Ports(to, to + span),
    )  # fmt: skip


def allow(rule: str, first: int, last: int = 0, sources: tuple[str, ...] = ANY, public: str = PUBLIC) -> FirewallRule:
    """A firewall rule about TCP ports."""
    return FirewallRule(rule=rule, public=public, protocol=Protocol.TCP, sources=sources, ports=Ports(first, last or first))


def static(rule: str = "static", public: str = SECOND, private: str = GUEST) -> StaticNat:
    """The second public address belongs to the guest."""
    return StaticNat(rule=rule, public=public, private=private)


def dhcp(*more: Reservation, mtu: int = 1450, default: bool = True) -> tuple[DhcpNetwork, ...]:
    """Reservations of the guest and of others."""
    first = Reservation(mac=GUEST_MAC, address=GUEST, hostname="web", default=default)
    return (
        DhcpNetwork(
            device="eth0", cidr="10.1.1.0/24", gateway=ROUTER, dns=(ROUTER,), domain="cs2.cloud.internal", mtu=mtu,
            reservations=(first, *more),
        ),
    )  # fmt: skip


def dns(*records: DnsRecord, forwarders: tuple[str, ...] = (OUTSIDE,)) -> Dns:
    """Name service for the guest network."""
    return Dns(domain="cs2.cloud.internal", listen=(ROUTER,), allow=("10.1.1.0/24",), forwarders=forwarders, records=records)


def metadata(password: str | None = None, userdata: bytes = b"#!/bin/sh\necho hello\n", **keys: str) -> Metadata:
    """What the guest is told about itself."""
    values = {key.replace("_", "-"): value for key, value in keys.items()} or {
        "instance-id": "i-2-3-VM",
        "local-ipv4": GUEST,
    }
    return Metadata(listen=(ROUTER,), guests=(GuestData(address=GUEST, userdata=userdata, metadata=values, password=password),))
