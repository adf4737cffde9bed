"""Physical networks: what a zone's hosts are wired to, and with which VLANs or VNIs guest networks are told apart."""

from typing import Any

from sysvm.api.answers import physical_networks as answers
from sysvm.api.answers.lists import each
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows, slice_rows
from sysvm.api.rules import places, ranges, services
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import alerts, hosts, ip_ranges, physical_networks, vlan_ranges, zones
from sysvm.store.store import Row, Tx

ISOLATION = {"VLAN": ranges.LARGEST_VLAN, "VXLAN": ranges.LARGEST_VNI}
DEFAULT_ISOLATION = "VXLAN"
STATES = {"enabled": "Enabled", "disabled": "Disabled"}
DEFAULT_PROVIDERS = (services.ROUTER, services.VPC_ROUTER, services.INTERNAL_LB)


@handler("createPhysicalNetwork")
def create_physical_network(call: Call) -> Reply:
    """A new physical network, disabled, with its providers, disabled too."""
    zone = call.need(tables.zone, "zoneid")
    methods = _isolation(call.get("isolationmethods"))
    span = (call.get("broadcastdomainrange") or "ZONE").upper()
    if span != "ZONE":
        raise Refused("The broadcastdomainrange of an Advanced zone's physical network is ZONE")
    name = places.name(call["name"], "physical network")
    if zones.named(call.tx, tables.physical_network, name, tables.physical_network.c.zone_id == zone.id):
        raise Refused(f"A physical network with name {name} already exists in zone {zone.name}")
    vnet = ranges.vnet(call.get("vlan"), largest=ISOLATION[methods])
    _free_vnet(call.tx, zone, vnet)
    domain = call.row(tables.domain, "domainid")
    network_id = call.tx.insert(
        tables.physical_network,
        uuid=call.ids.uuid(),
        zone_id=zone.id,
        name=name,
        isolation_methods=methods,
        vlan=vnet,
        network_speed=call.get("networkspeed") or "",
        tags=places.tags(call.get("tags")),
        domain_id=domain.id if domain is not None else None,
        created=call.now,
    )
    for provider in (*DEFAULT_PROVIDERS, *((services.SECURITY_GROUPS,) if zone.security_groups else ())):
        add_provider(call, network_id, provider)
    _tell_if_impossible(call.tx, zone, methods, name)
    network = call.tx.get(tables.physical_network, network_id)
    assert network is not None
    return Accepted((), call.about("PhysicalNetwork", network), f"Creating physical network {name}")


def add_provider(call: Call, network_id: int, name: str, chosen: tuple[str, ...] = ()) -> int:
    """A new, disabled service provider of a physical network."""
    return call.tx.insert(
        tables.service_provider,
        uuid=call.ids.uuid(),
        physical_network_id=network_id,
        name=name,
        services=list(chosen or services.PROVIDERS[name]),
        element_uuid=call.ids.uuid(),
        created=call.now,
    )


def _isolation(given: tuple[str, ...] | None) -> str:
    methods = [method.strip().upper() for method in given or (DEFAULT_ISOLATION,)]
    if len(methods) > 1:
        raise Refused("Only one isolation method can be specified for a physical network")
    if methods[0] not in ISOLATION:
        raise Refused(f"The isolation method {methods[0]} is not supported; it is VXLAN or VLAN")
    return methods[0]


def _free_vnet(tx: Tx, zone: Row, vnet: str, but: int | None = None) -> None:
    """Refused when another physical network of the zone, or a public range, has one of these numbers."""
    for other in physical_networks.of_zone(tx, zone.id):
        if other.id == but:
            continue
        for part in filter(None, vnet.split(",")):
            low, _, high = part.partition("-")
            theirs = [pair.partition("-") for pair in other.vlan.split(",") if pair]
            if any(int(low) <= int(end) and int(begin) <= int(high) for begin, _, end in theirs):
                raise Refused(f"The vlan range {part} overlaps {other.vlan} of physical network {other.name} in this zone")
    for pool in ip_ranges.operators(tx):
        if pool.zone_id == zone.id and pool.traffic == "Public" and ranges.in_vnet(pool.vlan, vnet):
            raise Refused(f"The VLAN {pool.vlan} of a public range lies in {vnet}; guest networks must not share it")


def _tell_if_impossible(tx: Tx, zone: Row, methods: str, name: str) -> None:
    if methods == "VLAN" and hosts.can(tx, zone.id, "vlan") is False:
        alerts.raise_alert(
            tx,
            alerts.AlertType.VLAN,
            f"Physical network {name} isolates with VLANs, but no host of zone {zone.name} can",
            "The kernels of its hosts have no 802.1Q. Load the module 8021q on them, or use isolationmethods=VXLAN.",
            zone=zone.id,
        )


def _result(tx: Tx, job: Row) -> dict[str, Any]:
    row = tx.one(physical_networks.listing().where(tables.physical_network.c.id == job.instance_id))
    return answers.physical_network(row) if row is not None else {}


result("createPhysicalNetwork", "updatePhysicalNetwork")(_result)


@handler("listPhysicalNetworks")
def list_physical_networks(call: Call) -> Reply:
    """Physical networks."""
    network = tables.physical_network
    equal = {"name": network.c.name}
    refs = {"zoneid": (tables.zone, network.c.zone_id)}
    answer = each(answers.physical_network)
    return list_rows(call, physical_networks.listing(), network, answer, equal=equal, refs=refs)


@handler("updatePhysicalNetwork")
def update_physical_network(call: Call) -> Reply:
    """Enables or disables a physical network, or changes its VLANs and tags."""
    network = call.need(tables.physical_network, "id")
    changes: dict[str, Any] = {}
    if call.get("state"):
        changes["state"] = _state(call["state"])
    if "networkspeed" in call:
        changes["network_speed"] = call["networkspeed"]
    if "tags" in call:
        changes["tags"] = places.tags(call["tags"])
    if "vlan" in call:
        changes["vlan"] = _other_vnet(call, network)
    if changes:
        call.tx.update(tables.physical_network, network.id, **changes)
    zones.changed(call.tx, network.zone_id)
    return Accepted((), call.about("PhysicalNetwork", network), f"Changing physical network {network.name}")


def _state(text: str) -> str:
    found = STATES.get(text.strip().lower())
    if found is None:
        raise Refused(f"Unable to resolve state '{text}' to a supported value: Enabled or Disabled")
    return found


def _other_vnet(call: Call, network: Row) -> str:
    zone = call.tx.get(tables.zone, network.zone_id)
    assert zone is not None
    vnet = ranges.vnet(call["vlan"], largest=ISOLATION.get(network.isolation_methods, ranges.LARGEST_VNI))
    _free_vnet(call.tx, zone, vnet, but=network.id)
    guest = tables.network
    theirs = guest.c.physical_network_id == network.id
    for tag in physical_networks.tags_in_use(call.tx, theirs):
        if not ranges.in_vnet(str(tag), vnet):
            raise Refused(f"The vlan range {vnet} leaves out {tag}, which a guest network uses", Why.IN_USE)
    for own in vlan_ranges.of_physical_network(call.tx, network.id):
        if not all(ranges.in_vnet(str(tag), vnet) for tag in (own.first, own.last)):
            text = f"The vlan range {vnet} leaves out {own.first}-{own.last}, which is dedicated to an account"
            raise Refused(text, Why.IN_USE)
    return vnet


@handler("deletePhysicalNetwork")
def delete_physical_network(call: Call) -> Reply:
    """Removes a physical network with its traffic types, providers and unused ranges."""
    network = call.need(tables.physical_network, "id")
    guest = tables.network
    if count := zones.living(call.tx, guest, guest.c.physical_network_id == network.id):
        raise Refused(f"The physical network {network.name} is not deletable because there are {count} networks on it")
    gateway = tables.private_gateway
    if count := zones.living(call.tx, gateway, gateway.c.physical_network_id == network.id):
        text = f"The physical network {network.name} is not deletable because there are {count} private gateways on it"
        raise Refused(text, Why.IN_USE)
    pools = physical_networks.ranges_of(call.tx, network.id)
    for pool in pools:
        if count := ip_ranges.used(call.tx, pool):
            raise Refused(
                f"The physical network {network.name} is not deletable because {count} addresses of its public ranges are in use",
                Why.IN_USE,
            )
    for pool in pools:
        ip_ranges.remove(call.tx, pool)
    physical_networks.remove(call.tx, network.id)
    zones.changed(call.tx, network.zone_id)
    return Accepted((), call.about("PhysicalNetwork", network), f"Deleting physical network {network.name}")


@handler("listNetworkIsolationMethods")
def list_isolation_methods(call: Call) -> Reply:
    """How guest networks can be told apart between hosts."""
    return slice_rows(call, [{"name": method} for method in ISOLATION])
