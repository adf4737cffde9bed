"""The virtual router: from the facts about its networks to the complete document. Pure.

A service that the network's offering leaves out has no section, so it is not run. Rules are sorted by their ids, so that
equal facts make equal documents, whatever the order of the rows.
"""

from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from sysvm.systemvms import load_balancer
from sysvm.systemvms.load_balancer import BalancerFacts
from sysvm.wire.documents import (
    Dhcp6,
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
    Reservation,
    Routed6,
    RouterDocument,
    Rule6,
    SourceNat,
    StaticNat,
)
from sysvm.wire.health import Health
from sysvm.wire.redundancy import Redundancy
from sysvm.wire.vpn import RemoteAccess
from sysvm.wire.wireguard import WireGuard

Rule = TypeVar("Rule", StaticNat, PortForward, FirewallRule, EgressRule, Rule6)


@dataclass(frozen=True, slots=True)
class GuestFacts:
    """A guest's NIC on the router's network."""

    mac: str
    address: str
    hostname: str
    is_default: bool
    userdata: bytes = b""
    metadata: dict[str, str] = field(default_factory=dict)
    password: str | None = None
    address6: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of both families, as far as it has them."""
        return (self.address, self.address6) if self.address6 else (self.address,)


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """The guest network behind the router."""

    device: str
    cidr: str
    gateway: str
    domain: str
    dns: tuple[str, ...]  # of the zone
    services: frozenset[str]
    mtu: int
    source_nat: str | None
    egress_default_allow: bool
    use_external_dns: bool = False
    own_address: str = ""  # the router's, where the gateway is somebody else (shared networks)
    cidr6: str = ""
    own_address6: str = ""
    is_gateway6: bool = False  # the network's own prefix is routed to it
    dns6: tuple[str, ...] = ()  # of the zone

    @property
    def address(self) -> str:
        """Where guests ask the router."""
        return self.own_address or self.gateway

    @property
    def addresses(self) -> tuple[str, ...]:
        """The same of both families, as far as it has them."""
        return (self.address, self.own_address6) if self.has_six else (self.address,)

    @property
    def has_six(self) -> bool:
        """Whether the router serves IPv6 there."""
        return bool(self.cidr6 and self.own_address6)


@dataclass(frozen=True, slots=True)
class RouterFacts:
    """Everything that a router's document is made of."""

    machine: str
    name: str
    network: NetworkFacts
    interfaces: tuple[Interface, ...]
    public_device: str | None
    guests: tuple[GuestFacts, ...] = ()
    static_nat: tuple[StaticNat, ...] = ()
    port_forwards: tuple[PortForward, ...] = ()
    firewall: tuple[FirewallRule, ...] = ()
    egress: tuple[EgressRule, ...] = ()
    ingress6: tuple[Rule6, ...] = ()
    egress6: tuple[Rule6, ...] = ()
    balancer: BalancerFacts | None = None
    stats_interval_s: int = 0
    health: Health | None = None
    vpn: RemoteAccess | None = None
    wireguard: WireGuard | None = None
    redundancy: Redundancy | None = None


def document(facts: RouterFacts) -> RouterDocument:
    """The complete configuration of a router."""
    network = facts.network
    has = network.services.__contains__
    return RouterDocument(
        machine=facts.machine,
        name=facts.name,
        interfaces=facts.interfaces,
        dhcp=(_dhcp(facts),) if has("Dhcp") else (),
        dns=_dns(facts) if has("Dns") else None,
        source_nat=_source_nat(facts) if has("SourceNat") else (),
        static_nat=_sorted(facts.static_nat) if has("StaticNat") else (),
        port_forwards=_sorted(facts.port_forwards) if has("PortForwarding") else (),
        firewall=_sorted(facts.firewall) if has("Firewall") else (),
        egress=(_egress(facts),) if facts.public_device else (),
        metadata=_metadata(facts) if has("UserData") else None,
        balancing=load_balancer.balancing(facts.balancer) if has("Lb") else None,
        vpn=with_users_sorted(facts.vpn) if has("Vpn") and facts.vpn is not None else None,
        wireguard=facts.wireguard if has("Vpn") else None,
        stats_interval_s=facts.stats_interval_s,
        health=facts.health,
        redundancy=facts.redundancy,
        routed6=(_routed6(facts),) if network.has_six and network.is_gateway6 and facts.public_device else (),
    )


def _sorted(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    return tuple(sorted(rules, key=lambda rule: rule.rule))


def with_users_sorted(facts: RemoteAccess) -> RemoteAccess:
    """Equal users make an equal document, whatever the order of their rows."""
    return msgspec.structs.replace(facts, users=tuple(sorted(facts.users, key=lambda user: user.name)))


def _guests(facts: RouterFacts) -> list[GuestFacts]:
    return sorted(facts.guests, key=lambda guest: guest.mac)


def _dhcp(facts: RouterFacts) -> DhcpNetwork:
    network = facts.network
    own = not network.use_external_dns and "Dns" in network.services
    return DhcpNetwork(
        device=network.device,
        cidr=network.cidr,
        gateway=network.gateway,
        dns=(network.address,) if own else network.dns,
        domain=network.domain,
        mtu=network.mtu,
        reservations=tuple(
            Reservation(
                mac=guest.mac, address=guest.address, hostname=guest.hostname, default=guest.is_default,
                address6=guest.address6 if network.has_six else "",
            )
            for guest in _guests(facts)
        ),
        six=_dhcp6(network, own=own) if network.has_six else None,
    )  # fmt: skip


def _dhcp6(network: NetworkFacts, *, own: bool) -> Dhcp6:
    dns = (network.own_address6,) if own else network.dns6
    return Dhcp6(cidr=network.cidr6, dns=dns, is_gateway=network.is_gateway6)


def _dns(facts: RouterFacts) -> Dns:
    network = facts.network
    own = [DnsRecord(name=guest.hostname, addresses=guest.addresses) for guest in _guests(facts) if guest.hostname]
    return Dns(
        domain=network.domain,
        listen=network.addresses,
        allow=(network.cidr, network.cidr6) if network.has_six else (network.cidr,),
        forwarders=(*network.dns, *network.dns6) if network.has_six else network.dns,
        records=(DnsRecord(name="data-server", addresses=network.addresses), *own),
    )


def _source_nat(facts: RouterFacts) -> tuple[SourceNat, ...]:
    network = facts.network
    if network.source_nat is None or facts.public_device is None:
        return ()
    return (SourceNat(device=facts.public_device, public=network.source_nat, source=network.cidr),)


def _egress(facts: RouterFacts) -> Egress:
    network = facts.network
    # Without the Firewall service nobody could open what a denying policy closes.
    allow = network.egress_default_allow or "Firewall" not in network.services
    return Egress(
        device=network.device,
        source=network.cidr,
        allow_by_default=allow,
        rules=_sorted(facts.egress),
    )


def _routed6(facts: RouterFacts) -> Routed6:
    network = facts.network
    return Routed6(
        device=network.device,
        cidr=network.cidr6,
        egress_allow=network.egress_default_allow or "Firewall" not in network.services,
        ingress=_sorted(facts.ingress6),
        egress=_sorted(facts.egress6),
    )


def _metadata(facts: RouterFacts) -> Metadata:
    return Metadata(
        listen=(facts.network.address,),
        guests=tuple(
            GuestData(address=guest.address, userdata=guest.userdata, metadata=guest.metadata, password=guest.password)
            for guest in _guests(facts)
        ),
    )
