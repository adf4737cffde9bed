"""The router of a VPC: the documents of its tiers put together, with ACLs in the place of firewall and egress. Pure.

Source NAT is the VPC's: one address for all tiers. A tier whose offering leaves a service out has no part of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sysvm.systemvms import router
from sysvm.systemvms.router import RouterFacts
from sysvm.wire.balancing import Balancing
from sysvm.wire.documents import Dns, Interface, Metadata, RouterDocument, SourceNat
from sysvm.wire.health import Health
from sysvm.wire.vpc import Gateway, Route, Tier, Vpc
from sysvm.wire.vpn import RemoteAccess, Tunnel


@dataclass(frozen=True, slots=True)
class VpcFacts:
    """Everything that the document of a VPC's router is made of; it has a NIC in each of `tiers`, `acls` and `gateways`."""

    machine: str
    name: str
    cidr: str
    domain: str
    interfaces: tuple[Interface, ...]
    public_device: str | None
    source_nat: str | None
    tiers: tuple[RouterFacts, ...] = ()
    acls: tuple[Tier, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    routes: tuple[Route, ...] = ()
    stats_interval_s: int = 0
    health: Health | None = None
    tunnels: tuple[Tunnel, ...] = ()
    vpn: RemoteAccess | None = None


def document(facts: VpcFacts) -> RouterDocument:
    """The complete configuration."""
    tiers = [router.document(tier) for tier in sorted(facts.tiers, key=lambda tier: tier.network.device)]
    return RouterDocument(
        machine=facts.machine,
        name=facts.name,
        interfaces=facts.interfaces,
        dhcp=tuple(each for tier in tiers for each in tier.dhcp),
        dns=_dns(facts, [tier.dns for tier in tiers if tier.dns is not None]),
        source_nat=_source_nat(facts),
        static_nat=tuple(sorted((each for tier in tiers for each in tier.static_nat), key=lambda each: each.rule)),
        port_forwards=tuple(sorted((each for tier in tiers for each in tier.port_forwards), key=lambda each: each.rule)),
        metadata=_metadata([tier.metadata for tier in tiers if tier.metadata is not None]),
        balancing=_balancing([tier.balancing for tier in tiers if tier.balancing is not None]),
        stats_interval_s=facts.stats_interval_s,
        health=facts.health,
        vpc=_vpc(facts),
        vpn=router.with_users_sorted(facts.vpn) if facts.vpn is not None else None,
        tunnels=tuple(sorted(facts.tunnels, key=lambda tunnel: tunnel.connection)),
    )


def _source_nat(facts: VpcFacts) -> tuple[SourceNat, ...]:
    if facts.source_nat is None or facts.public_device is None:
        return ()
    return (SourceNat(device=facts.public_device, public=facts.source_nat, source=facts.cidr),)


def _vpc(facts: VpcFacts) -> Vpc:
    return Vpc(
        cidr=facts.cidr,
        tiers=tuple(sorted(facts.acls, key=lambda tier: tier.device)),
        gateways=tuple(sorted(facts.gateways, key=lambda gateway: gateway.device)),
        routes=tuple(sorted(facts.routes, key=lambda route: route.destination)),
    )


def _dns(facts: VpcFacts, parts: list[Dns]) -> Dns | None:
    """One name service for all tiers: every guest knows the names of all of them."""
    if not parts:
        return None
    return Dns(
        domain=facts.domain,
        listen=_all(part.listen for part in parts),
        allow=_all(part.allow for part in parts),
        forwarders=_all(part.forwarders for part in parts),
        # Each tier has its own `data-server`; the first one's answers for all.
        records=tuple({record.name: record for part in reversed(parts) for record in part.records}.values()),
    )


def _all(parts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for part in parts for each in part))


def _metadata(parts: list[Metadata]) -> Metadata | None:
    if not parts:
        return None
    return Metadata(listen=_all(part.listen for part in parts), guests=tuple(guest for part in parts for guest in part.guests))


def _balancing(parts: list[Balancing]) -> Balancing | None:
    if not parts:
        return None
    return Balancing(
        rules=tuple(sorted((rule for part in parts for rule in part.rules), key=lambda rule: rule.rule)),
        max_connections=max(part.max_connections for part in parts),
        statistics=next((part.statistics for part in parts if part.statistics is not None), None),
    )
