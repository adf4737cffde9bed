"""From rows to the document of a system VM: everything its agent shall make true."""

import base64
import binascii
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import (
    acls,
    addresses,
    balancing,
    certificates,
    consoles,
    image_stores,
    load_balancers,
    nics,
    router_health,
    router_pairs,
    rules6,
    settings,
    specs,
    vpcs,
    vpn_sites,
    vpns,
    wireguard,
)
from sysvm.store.queries import keys as key_queries
from sysvm.store.queries.keys import Keys
from sysvm.store.queries.machines import INTERNAL_LB
from sysvm.store.queries.nics import NicRow
from sysvm.store.store import Row, Tx, among
from sysvm.store.tables import pack_address, unpack_address
from sysvm.systemvms import consoleproxy, internal_lb, router, secstorage, vpc_router
from sysvm.wire.documents import (
    EgressRule,
    FirewallRule,
    HostDocument,
    Interface,
    Login,
    PortForward,
    Ports,
    Protocol,
    StaticNat,
    SystemVmDocument,
)
from sysvm.wire.machines import Kind, Segment, Traffic
from sysvm.wire.vpc import Gateway, Route, Tier

ANY = ("0.0.0.0/0",)


def document_of(tx: Tx, machine: Row, keys: Keys) -> SystemVmDocument | None:
    """What the agent of this machine shall make true; None for guests."""
    match Kind(machine.kind):
        case Kind.ROUTER if machine.role == INTERNAL_LB:
            return internal_lb.document(_internal_facts(tx, machine, keys))
        case Kind.ROUTER if machine.vpc_id is not None:
            return vpc_router.document(_vpc_facts(tx, machine, keys))
        case Kind.ROUTER:
            return router.document(_router_facts(tx, machine, keys))
        case Kind.CONSOLE_PROXY:
            return consoleproxy.document(_proxy_facts(tx, machine, keys))
        case Kind.SECONDARY_STORAGE:
            return secstorage.document(_worker_facts(tx, machine, keys))
        case _:
            return None


# ---------------------------------------------------------------- console proxy, secondary storage
def _proxy_facts(tx: Tx, machine: Row, keys: Keys) -> consoleproxy.ProxyFacts:
    zone = machine.zone_id
    return consoleproxy.ProxyFacts(
        machine=machine.uuid,
        name=machine.name,
        ssl=bool(settings.value(tx, "consoleproxy.sslEnabled", zone_id=zone)),
        certificate=certificates.served(tx, keys.vault),
        relay_ca=keys.authority.ca_pem,
        relay_certificate=key_queries.machine_certificate(tx, keys, machine, ()),
        session_max=int(settings.value(tx, "consoleproxy.session.max", zone_id=zone)),
        load_interval_ms=int(settings.value(tx, "consoleproxy.loadscan.interval", zone_id=zone)),
        draining=machine.draining,
        domain=consoles.url_domain(tx, zone),
        neighbours=consoles.neighbours(tx, machine),
    )


def _worker_facts(tx: Tx, machine: Row, keys: Keys) -> secstorage.WorkerFacts:
    zone = tx.get(tables.zone, machine.zone_id)
    assert zone is not None
    held = {nic.traffic: nic for nic in nics.of_machine(tx, machine.id)}
    outside = Traffic.PUBLIC if Traffic.PUBLIC in held else Traffic.GUEST  # as in a basic zone
    management, public = (_address(held.get(traffic)) for traffic in (Traffic.MANAGEMENT, outside))
    certificate = key_queries.machine_certificate(tx, keys, machine, tuple(filter(None, (management, public))))
    sites = str(settings.value(tx, "secstorage.allowed.internal.sites", zone_id=zone.id) or "")
    return secstorage.WorkerFacts(
        machine=machine.uuid,
        name=machine.name,
        stores=image_stores.to_serve(tx, zone.id, keys.vault),
        management_address=management,
        public_address=public,
        certificate=certificate,
        public_certificate=certificates.served(tx, keys.vault) or certificate,
        ca=keys.authority.ca_pem,
        ticket_key=keys.ticket_key,
        allowed_internal=tuple(site.strip() for site in sites.split(",") if site.strip()),
        own_networks=("169.254.0.0/16", *_management_networks(tx, zone.id)),
        proxy=settings.value(tx, "secstorage.proxy", zone_id=zone.id) or None,
        max_bytes=int(settings.value(tx, "max.template.iso.size")) * 1024**3,
        dns=tuple(filter(None, (zone.internal_dns1, zone.internal_dns2, zone.dns1, zone.dns2))),
        login=Login(public_key=keys.login_public, password=_password(tx, keys)),
    )


def _password(tx: Tx, keys: Keys) -> str:
    """Of root on the text console; none unless the operator has given one."""
    if not settings.value(tx, "system.vm.random.password"):
        return ""
    return str(settings.value(tx, "system.vm.password", vault=keys.vault) or "")


def _management_networks(tx: Tx, zone_id: int) -> tuple[str, ...]:
    table = tables.pod
    rows = tx.all(sa.select(table).where(table.c.zone_id == zone_id, table.c.removed.is_(None)).order_by(table.c.id))
    return tuple(str(ipaddress.ip_network(f"{row.gateway}/{row.netmask}", strict=False)) for row in rows if row.gateway)


def _address(nic: NicRow | None) -> str:
    return nic.primary.text if nic is not None and nic.primary is not None else ""


# ---------------------------------------------------------------- router
def _router_facts(tx: Tx, machine: Row, keys: Keys) -> router.RouterFacts:
    network = tx.get(tables.network, machine.network_id)
    assert network is not None
    guest = next(nic for nic in nics.of_machine(tx, machine.id) if nic.traffic == Traffic.GUEST)
    return _facts_of(tx, machine, network, guest, keys)


def _facts_of(tx: Tx, machine: Row, network: Row, guest: NicRow, keys: Keys) -> router.RouterFacts:
    """What the router does for one of its networks, behind its NIC `guest`."""
    held = nics.of_machine(tx, machine.id)
    public = next((nic for nic in held if nic.traffic == Traffic.PUBLIC), None)
    ruled = bool(tx.sql(ANY_RULE, network=network.id))  # most networks of most clouds are not, and are asked nothing more
    rules = _rules(tx, network.id) if ruled else NO_RULES
    facts = _network_facts(tx, network, guest)
    control = next((nic for nic in held if nic.traffic == Traffic.CONTROL), None)
    return router.RouterFacts(
        machine=machine.uuid,
        name=machine.name,
        network=facts,
        interfaces=_interfaces(tx, machine),
        public_device=f"eth{public.device}" if public is not None else None,
        guests=tuple(_guests(tx, network, keys)),
        static_nat=tuple(_static_nats(tx, network.id)),
        port_forwards=tuple(_port_forwards(rules)),
        firewall=tuple(_firewall(rules)),
        egress=tuple(_egress(rules, f"eth{guest.device}", network.cidr)),
        ingress6=rules6.facts(rules.of.get(rules6.PURPOSE, ()), rules6.INGRESS),
        egress6=rules6.facts(rules.of.get(rules6.PURPOSE, ()), rules6.EGRESS),
        stats_interval_s=int(settings.value(tx, "router.stats.interval")),
        health=router_health.wanted(tx, network.zone_id),
        vpn=vpns.facts(tx, network, keys.vault),
        redundancy=router_pairs.facts(tx, machine),
        # Its port is a rule: most networks have none, and are not asked.
        wireguard=wireguard.facts(tx, network, keys.vault) if wireguard.PURPOSE in rules.of else None,
        balancer=balancing.facts(
            tx,
            network,
            keys.vault,
            public=facts.source_nat,
            guest=_address(guest) or None,
            control=_address(control) or None,
        )
        if ruled
        else None,
    )


def _vpc_facts(tx: Tx, machine: Row, keys: Keys) -> vpc_router.VpcFacts:
    vpc = tx.get(tables.vpc, machine.vpc_id)
    assert vpc is not None
    held = nics.of_machine(tx, machine.id)
    public = next((nic for nic in held if nic.traffic == Traffic.PUBLIC), None)
    plugged = [nic for nic in held if nic.network_id is not None]
    tiers = [(tx.get(tables.network, nic.network_id or 0), nic) for nic in plugged]
    living = [(network, nic) for network, nic in tiers if network is not None]
    private = [(tx.get(tables.private_gateway, nic.private_gateway_id or 0), nic) for nic in held if nic.private_gateway_id]
    gateways = [(row, nic) for row, nic in private if row is not None]
    source_nat = vpcs.source_nat(tx, vpc.id)
    return vpc_router.VpcFacts(
        machine=machine.uuid,
        name=machine.name,
        cidr=vpc.cidr,
        domain=vpc.network_domain or "cloud.internal",
        interfaces=_interfaces(tx, machine),
        public_device=f"eth{public.device}" if public is not None else None,
        source_nat=unpack_address(source_nat.address) if source_nat is not None else None,
        tiers=tuple(_facts_of(tx, machine, network, nic, keys) for network, nic in living),
        acls=tuple(_tier(tx, network, nic) for network, nic in living),
        gateways=tuple(_gateway(tx, row, nic) for row, nic in gateways),
        routes=_routes(tx, vpc, [row.cidr for row, _ in (*living, *gateways)]),
        stats_interval_s=int(settings.value(tx, "router.stats.interval")),
        health=router_health.wanted(tx, vpc.zone_id),
        tunnels=vpn_sites.facts(tx, vpc, keys.vault),
        vpn=vpns.facts_of_vpc(tx, vpc, keys.vault, tuple(network.gateway for network, _ in living[:1])),
    )


def _tier(tx: Tx, network: Row, nic: NicRow) -> Tier:
    ingress, egress = acls.facts(tx, network.acl_list_id)
    return Tier(device=f"eth{nic.device}", cidr=network.cidr, ingress=ingress, egress=egress)


def _gateway(tx: Tx, row: Row, nic: NicRow) -> Gateway:
    ingress, egress = acls.facts(tx, row.acl_list_id)
    return Gateway(
        device=f"eth{nic.device}",
        cidr=row.cidr,
        ingress=ingress,
        egress=egress,
        leaves_as=unpack_address(row.address) if row.source_nat else "",
    )


def _routes(tx: Tx, vpc: Row, cidrs: list[str]) -> tuple[Route, ...]:
    return tuple(Route(destination=cidr, via=via) for cidr, via in vpcs.usable_routes(tx, vpc.id, cidrs))


def _internal_facts(tx: Tx, machine: Row, keys: Keys) -> internal_lb.InternalFacts:
    network = tx.get(tables.network, machine.network_id)
    assert network is not None
    held = {nic.traffic: nic for nic in nics.of_machine(tx, machine.id)}
    own = _address(held.get(Traffic.GUEST))
    rows = load_balancers.internal_of(tx, network.id, pack_address(own))
    control = _address(held.get(Traffic.CONTROL)) or None
    return internal_lb.InternalFacts(
        machine=machine.uuid,
        name=machine.name,
        cidr=network.cidr,
        interfaces=_interfaces(tx, machine),
        balancer=balancing.of_rules(tx, network, rows, keys.vault, public=own, guest=own, control=control),
        health=router_health.wanted(tx, network.zone_id),
    )


def _network_facts(tx: Tx, network: Row, guest: NicRow) -> router.NetworkFacts:
    zone = tx.get(tables.zone, network.zone_id)
    offering = tx.get(tables.network_offering, network.offering_id)
    assert zone is not None and offering is not None
    of_vpc = network.vpc_id is not None
    held = addresses.of_vpc(tx, network.vpc_id) if of_vpc else addresses.of_network(tx, network.id)
    source_nat = next((row.address for row in held if row.source_nat), None)
    return router.NetworkFacts(
        device=f"eth{guest.device}",
        cidr=network.cidr,
        gateway=network.gateway,
        domain=network.domain_name or "cloud.internal",
        dns=tuple(filter(None, (network.dns1 or zone.dns1, network.dns2 or zone.dns2))),
        services=frozenset(offering.services or {}),
        mtu=network.mtu,
        source_nat=unpack_address(source_nat) if source_nat is not None else None,
        egress_default_allow=network.egress_default_allow,
        own_address=_address(guest) if network.guest_type == "Shared" else "",
        use_external_dns=bool(settings.value(tx, "use.external.dns", zone_id=zone.id)),
        cidr6=network.ip6_cidr,
        own_address6=guest.primary6.text if guest.primary6 is not None else "",
        is_gateway6=network.guest_type != "Shared",
        dns6=tuple(filter(None, (zone.ip6dns1, zone.ip6dns2))),
    )


def _interfaces(tx: Tx, machine: Row) -> tuple[Interface, ...]:
    return tuple(_interface(tx, nic, machine) for nic in nics.of_machine(tx, machine.id))


def _interface(tx: Tx, nic: NicRow, machine: Row) -> Interface:
    held = [f"{address.text}/{address.prefix}" for address in nic.addresses]
    if nic.traffic == Traffic.PUBLIC:
        taken = (f"{text}/{prefix}" for text, prefix in specs.public_addresses(tx, machine))
        held = list(dict.fromkeys((*held, *taken)))
    if nic.traffic == Traffic.GUEST and router_pairs.is_one(machine):
        held.append("{}/{}".format(*router_pairs.gateway(tx, machine)))
    return Interface(
        device=f"eth{nic.device}",
        mac=nic.mac,
        role=nic.traffic,
        addresses=tuple(held),
        gateway=nic.gateway or None if nic.is_default else None,
        gateway6=nic.gateway6 or None if nic.is_default else None,
        mtu=nic.mtu,
        rate_mbit=nic.rate_mbit,
    )


GUESTS = """
select m.id from machine m join nic n on n.machine_id = m.id
where n.network_id = :network and n.removed is null and m.kind = 'guest' and m.removed is null order by m.id
"""


def _guests(tx: Tx, network: Row, keys: Keys) -> Iterator[router.GuestFacts]:
    ids = dict.fromkeys(id_ for (id_,) in tx.sql(GUESTS, network=network.id))
    places, given = among(ids) if ids else ("", {})
    rows = {row.id: row for row in tx.rows(tables.machine, f"id in ({places})", **given)} if ids else {}
    for machine, held in nics.of_machines(tx, list(rows)).items():
        for nic in held:
            if nic.network_id == network.id and nic.primary is not None:
                yield _guest(tx, rows[machine], nic, nic.primary.text, keys)


def _guest(tx: Tx, row: Row, nic: NicRow, address: str, keys: Keys) -> router.GuestFacts:
    return router.GuestFacts(
        mac=nic.mac,
        address=address,
        hostname=row.hostname or row.name,
        is_default=nic.is_default,
        userdata=_decode(row.userdata),
        metadata=_metadata(tx, row, address, nic.network_id),
        password=keys.vault.open(row.password) if row.password else None,
        address6=nic.primary6.text if nic.primary6 is not None else "",
    )


def _decode(text: str | None) -> bytes:
    try:
        return base64.b64decode(text or "", validate=False)
    except binascii.Error:
        return b""


def _metadata(tx: Tx, row: Row, address: str, network_id: int | None) -> dict[str, str]:
    zone = tx.get(tables.zone, row.zone_id)
    offering = tx.get(tables.service_offering, row.service_offering_id)
    assert zone is not None and offering is not None
    public = _public_addresses_of_guests(tx, network_id).get(row.id)
    keys = "\n".join(str(key) for key in row.key_pairs or ())
    return {
        "service-offering": offering.name,
        "availability-zone": zone.name,
        "local-ipv4": address,
        "local-hostname": row.hostname or row.name,
        "public-ipv4": public or address,
        "public-hostname": public or address,
        "instance-id": row.uuid,
        "vm-id": row.uuid,
        "public-keys": keys,
        "cloud-identifier": f"CloudStack-{{{_cloud_uuid(tx)}}}",
        "cloud-name": "CloudStack",
    }


def _cloud_uuid(tx: Tx) -> str:
    return tx.once("uuid of the cloud", lambda: str(tx.sql("select uuid from cloud")[0][0]), tables.cloud)


def _public_addresses_of_guests(tx: Tx, network_id: int | None) -> dict[int, str]:
    """By static NAT; read once for all guests of the network."""
    text = "select machine_id, address from public_ip where network_id = :network and static_nat"

    def find() -> dict[int, str]:
        return {machine: unpack_address(packed) for machine, packed in tx.sql(text, network=network_id)}

    return tx.once((text, network_id), find, tables.public_ip)


RULED = """
select id, address from public_ip
where id in (select public_ip_id from firewall_rule where network_id = :network and removed is null)
"""
ANY_RULE = "select 1 from firewall_rule where network_id = :network and removed is null limit 1"
LIVE = "network_id = :network and removed is null and state in ('Add', 'Active')"
OTHERS = f"{LIVE} and purpose <> 'PortForwarding'"
# There may be thousands of them: only what is needed, as the driver gives it.
FORWARDS = f"""
select uuid, public_ip_id, protocol, first_port, last_port, guest_address, private_first_port, private_last_port
from firewall_rule where purpose = 'PortForwarding' and {LIVE}
"""
PROTOCOL = {str(protocol): protocol for protocol in Protocol}


@dataclass(frozen=True, slots=True)
class _Rules:
    """A network's rules by purpose, and the addresses that they are about."""

    of: dict[str, list[Row]]
    forwards: list[tuple[Any, ...]]
    address: dict[int | None, str]


NO_RULES = _Rules({}, [], {})


def _rules(tx: Tx, network_id: int) -> _Rules:
    of: dict[str, list[Row]] = {}
    for row in tx.rows(tables.firewall_rule, OTHERS, network=network_id):
        of.setdefault(row.purpose, []).append(row)
    forwards = tx.sql(FORWARDS, network=network_id)
    ruled = tx.sql(RULED, network=network_id) if of or forwards else ()
    return _Rules(of, forwards, {id_: unpack_address(address) for id_, address in ruled})


def _ports(first: int | None, last: int | None) -> Ports | None:
    return None if first is None else Ports(first, first if last is None else last)


def _static_nats(tx: Tx, network_id: int) -> Iterator[StaticNat]:
    for row in addresses.of_network(tx, network_id):
        if row.static_nat and row.guest_address is not None:
            yield StaticNat(rule=row.uuid, public=unpack_address(row.address), private=unpack_address(row.guest_address))


def _port_forwards(rules: _Rules) -> Iterator[PortForward]:
    for uuid, public_ip, protocol, first, last, guest, to_first, to_last in rules.forwards:
        yield PortForward(
            rule=uuid,
            public=rules.address[public_ip],
            protocol=PROTOCOL[protocol],
            ports=Ports(first, last or first),
            private=unpack_address(guest),
            private_ports=Ports(to_first, to_last or to_first),
        )


def _firewall(rules: _Rules) -> Iterator[FirewallRule]:
    for row in rules.of.get("Firewall", ()):
        yield FirewallRule(
            rule=row.uuid,
            public=rules.address[row.public_ip_id],
            protocol=Protocol(row.protocol),
            sources=tuple(row.sources or ANY),
            ports=_ports(row.first_port, row.last_port),
            icmp_type=row.icmp_type,
            icmp_code=row.icmp_code,
        )


def _egress(rules: _Rules, device: str, cidr: str) -> Iterator[EgressRule]:
    for row in rules.of.get("Egress", ()):
        yield EgressRule(
            rule=row.uuid,
            device=device,
            protocol=Protocol(row.protocol),
            sources=tuple(row.sources or (cidr,)),
            destinations=tuple(row.destinations or ()),
            ports=_ports(row.first_port, row.last_port),
            icmp_type=row.icmp_type,
            icmp_code=row.icmp_code,
        )


# ---------------------------------------------------------------- host
def host_document(tx: Tx, host: Row, keys: Keys) -> HostDocument:
    """What a host carries: the segments every host has, what its relay trusts, its pools."""
    (cloud,) = tx.all(sa.select(tables.cloud))
    address = specs.management_address(tx, host)
    return HostDocument(
        host=host.uuid,
        cloud=cloud.uuid,
        segments=(specs.control_segment(), specs.management_segment(tx, host), *_public_segments(tx, host.zone_id)),
        management_address=address or "",
        grant_key=keys.grant_public,
        pools=pools_of(tx, host),
    )


def _public_segments(tx: Tx, zone_id: int) -> list[Segment]:
    table = tables.ip_range
    rows = tx.all(
        sa.select(table)
        .where(table.c.zone_id == zone_id, table.c.traffic == "Public", table.c.removed.is_(None))
        .order_by(table.c.id)
    )
    found = {segment.key: segment for segment in (specs.public_segment(tx, row.id) for row in rows)}
    return list(found.values())


def pools_of(tx: Tx, host: Row) -> tuple[str, ...]:
    """Primary storage directories that this host uses."""
    table = tables.storage_pool
    rows = tx.all(
        sa.select(table.c.path)
        .where(
            table.c.zone_id == host.zone_id,
            table.c.removed.is_(None),
            sa.or_(table.c.host_id == host.id, table.c.host_id.is_(None)),
            sa.or_(table.c.cluster_id == host.cluster_id, table.c.cluster_id.is_(None)),
        )
        .order_by(table.c.id)
    )
    return tuple(dict.fromkeys(row.path for row in rows if row.path))
