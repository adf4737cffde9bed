"""Which networks a new guest is on, with which addresses. Nothing is written here but a default network."""

import ipaddress
from dataclasses import dataclass
from typing import Any

from sysvm.api.call import Call, Owner
from sysvm.api.commands.networks import network_making
from sysvm.api.commands.networks import security_groups as group_commands
from sysvm.api.commands.networks.networks import usable_network
from sysvm.api.rules import guests as rules
from sysvm.api.rules import ranges6
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import addresses, networks, nics, security_groups, settings
from sysvm.store.store import Row, Tx

REPEATED = "Network id is specified more than once"


@dataclass(frozen=True, slots=True)
class Plug:
    """A NIC that a guest shall have."""

    network: Row
    ip: str | None = None
    mac: str | None = None
    ip6: str | None = None


def chosen(call: Call, zone: Row, owner: Owner) -> list[Plug]:
    """The networks of a deploy call; the first one is the default."""
    listed = call.get("iptonetworklist")
    if listed and (call.get("networkids") or call.get("ipaddress") or call.get("ip6address")):
        raise Refused("ipToNetworkMap can't be specified along with networkIds or ipAddress")
    if listed:
        plugs = [_from_map(call, entry) for entry in listed]
    elif call.get("networkids"):
        plugs = [Plug(usable_network(call, uuid, "networkids")) for uuid in call["networkids"]]
    else:
        plugs = [Plug(_default(call, zone, owner))]
    if not listed:
        plugs[0] = Plug(plugs[0].network, call.get("ipaddress") or None, _mac(call), call.get("ip6address") or None)
    for plug in plugs:
        check(call, plug.network, zone, owner)
    if len({plug.network.id for plug in plugs}) < len(plugs):
        raise Refused(REPEATED)
    return plugs


def _with_groups(call: Call, zone: Row, owner: Owner) -> Row:
    found = networks.shared_ones(call.tx, owner.domain_path, zone.id)
    usable = [row for row in found if security_groups.is_filtered(call.tx, row.id)]
    if not usable:
        raise Refused(f"No network with security enabled is found in zone {zone.name}; an administrator makes one")
    if len(usable) > 1:
        raise Refused("More than 1 network with security groups is found in the zone; please specify networkIds")
    return usable[0]


def _from_map(call: Call, entry: dict[str, str]) -> Plug:
    values = {name.lower(): value for name, value in entry.items()}
    uuid = values.get("networkid") or values.get("networkids")
    if not uuid:
        raise Refused("Unable to find network by ID specified in ipToNetworkMap: networkid is missing")
    mac = values.get("mac")
    return Plug(
        usable_network(call, uuid, "iptonetworklist"),
        values.get("ip") or None,
        rules.mac(mac) if mac else None,
        values.get("ipv6") or None,
    )


def _mac(call: Call) -> str | None:
    return rules.mac(call["macaddress"]) if call.get("macaddress") else None


def _default(call: Call, zone: Row, owner: Owner) -> Row:
    """The zone's network with security groups where the zone has them, else the account's only isolated network, or a new
    one."""
    if zone.security_groups:
        return _with_groups(call, zone, owner)
    found = networks.default_ones(call.tx, owner.account_id, zone.id)
    if len(found) > 1:
        raise Refused("More than 1 default Isolated networks are found for the account; please specify networkIds")
    return found[0] if found else network_making.make_default(call, zone, owner)


def groups(call: Call, owner: Owner, plugs: list[Plug]) -> list[Row]:
    """The security groups of a new guest; none where no network of it has them."""
    if any(security_groups.is_filtered(call.tx, plug.network.id) for plug in plugs):
        return group_commands.chosen(call, owner)
    if group_commands.is_given(call):
        raise Refused("Can't create a vm with security groups: none of its networks has the service SecurityGroup")
    return []


def check(call: Call, network: Row, zone: Row, owner: Owner) -> None:
    """Refused when guests of this owner cannot be put on the network."""
    if network.zone_id != zone.id:
        raise Refused(f"Network {network.name} is not in zone {zone.name}")
    if network.state == "Destroy":
        raise Refused(f"Network {network.name} is being deleted")
    if network.guest_type == "Shared" and not network.cidr:
        raise Refused(f"Network {network.name} has no addresses yet; add a range with createVlanIpRange", Why.CAPACITY)
    if network.acl_type == "Account" and network.account_id != owner.account_id:
        raise Refused(f"Unable to use network {network.name}: it belongs to another account", Why.NOT_ALLOWED)


def plug_in(tx: Tx, machine_id: int, device: int, plug: Plug, *, default: bool) -> int:
    """The NIC with its address; its id."""
    network = plug.network
    if plug.mac is not None and nics.mac_in_use(tx, plug.mac):
        raise Refused(f"Mac address {plug.mac} is already used by another NIC")
    held: tuple[tuple[str, int], ...] = ()
    if network.cidr:
        address = addresses.take_guest_ip(tx, network, plug.ip)
        held = ((address, ipaddress.ip_network(network.cidr).prefixlen),)
    elif plug.ip is not None:
        raise Refused(f"Network {network.name} has no addresses, so {plug.ip} can't be taken from it")
    mac = plug.mac or nics.new_mac(tx)
    if network.ip6_cidr:
        if plug.ip6 is not None and network.guest_type == "Isolated":
            raise Refused(f"Guests of network {network.name} make their IPv6 addresses of its prefix and their MACs")
        held += ((addresses.take_guest_ip6(tx, network, mac, plug.ip6), ranges6.PREFIX),)
    elif plug.ip6 is not None:
        raise Refused(f"Network {network.name} has no IPv6 addresses, so {plug.ip6} can't be taken from it")
    offering = tx.get(tables.network_offering, network.offering_id)
    rate = offering.network_rate if offering is not None and offering.network_rate is not None else None
    return nics.add_nic(
        tx,
        machine_id,
        device,
        "guest",
        network_id=network.id,
        addresses=held,
        gateway=network.gateway,
        gateway6=network.ip6_gateway,
        is_default=default,
        mac=mac,
        mtu=network.mtu,
        rate_mbit=rate if rate is not None else int(settings.value(tx, "vm.network.throttling.rate") or 0),
    )


def check_hostname(tx: Tx, hostname: str, plugged: list[Row], but: int | None = None) -> None:
    """Refused when a guest of one of the networks has the name."""
    for network in plugged:
        if networks.hostname_taken(tx, network.id, hostname, but):
            raise Refused(
                f"The vm with hostName {hostname} already exists in the network domain: {network.domain_name};"
                f" network={network.name}"
            )


def of_guest(tx: Tx, machine_id: int) -> list[Row]:
    """The networks that a guest is on."""
    ids = [nic.network_id for nic in nics.of_machine(tx, machine_id) if nic.network_id is not None]
    found: list[Any] = [tx.get(tables.network, id_) for id_ in ids]
    return [row for row in found if row is not None]
