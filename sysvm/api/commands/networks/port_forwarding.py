"""Port forwarding: ports of a public address that lead to a guest. By default the firewall is opened with it."""

from typing import Any

from sysvm.api.call import Call, Reply
from sysvm.api.commands.networks import firewall as firewall_commands
from sysvm.api.commands.networks import rule_lists
from sysvm.api.commands.networks.guest_addresses import guest_address, the_guest
from sysvm.api.commands.networks.public_ips import the_address
from sysvm.api.handlers import handler
from sysvm.api.rules import firewall
from sysvm.api.rules import vpns as vpn_rules
from sysvm.api.rules.firewall import Match, Standing
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import rules, vpns
from sysvm.store.store import Row, Tx


@handler("createPortForwardingRule")
def create_port_forwarding_rule(call: Call) -> Reply:
    """Leads to the guest from when the routers have it."""
    ip = _plain_address(call)
    network = rule_lists.need_service(call.tx, ip.network_id, "PortForwarding")
    if call.get("networkid") and call.need(tables.network, "networkid").id != network.id:
        raise Refused(f"The ip address is associated with network {network.name}, not with the given networkid")
    match, inside = firewall.forwarding(
        call["protocol"],
        (call["publicport"], call.get("publicendport")),
        (call["privateport"], call.get("privateendport")),
    )
    guest = the_guest(call, "virtualmachineid")
    address = guest_address(call.tx, guest, network, call.get("vmguestip"))
    sources = firewall.cidrs(call.get("cidrlist", ()))
    values = {
        "machine_id": guest.id,
        "guest_address": address,
        "private_first_port": inside[0],
        "private_last_port": inside[1],
    }
    row = _add(call, ip, match, sources, values)
    return rule_lists.changed(call, row, f"creating port forwarding rule for ip {tables.unpack_address(ip.address)}")


def _plain_address(call: Call) -> Row:
    ip = the_address(call, "ipaddressid")
    if ip.static_nat:
        raise Refused(f"Unable to create port forwarding rule; ip id={ip.uuid} has static nat enabled")
    return ip


def _add(call: Call, ip: Row, match: Match, sources: tuple[str, ...], values: dict[str, Any]) -> Row:
    new = Standing("", rules.FORWARDING, match, network_id=ip.network_id)
    near = rules.near(call.tx, ip, match.protocol, match.first, match.last)
    firewall.refuse_conflict(new, map(rule_lists.standing, near))
    _refuse_ports_of_a_vpn(call.tx, ip, match)
    related = None
    if call.get("openfirewall", True) and ip.vpc_id is None:  # in a VPC its network's ACL says who comes in
        related = firewall_commands.add(call, ip, match, sources or (firewall.ANYWHERE,)).id
    places = {"public_ip_id": ip.id, "network_id": ip.network_id, "related_id": related}
    return rule_lists.write(call, rules.FORWARDING, match, ip, sources, **places, **values)


@handler("listPortForwardingRules")
def list_port_forwarding_rules(call: Call) -> Reply:
    """Forwards of public addresses."""
    return rule_lists.list_of(call, rules.FORWARDING)


@handler("updatePortForwardingRule")
def update_port_forwarding_rule(call: Call) -> Reply:
    """Another guest, or other ports of the guest."""
    row = rule_lists.the_rule(call, rules.FORWARDING)
    network = call.tx.get(tables.network, row.network_id)
    assert network is not None
    changes: dict[str, Any] = {}
    if call.get("privateport") is not None or call.get("privateendport") is not None:
        begin = call.get("privateport", row.private_first_port)
        end = call.get("privateendport", begin + row.last_port - row.first_port)
        _, inside = firewall.forwarding(row.protocol, (row.first_port, row.last_port), (begin, end))
        changes |= {"private_first_port": inside[0], "private_last_port": inside[1]}
    guest = the_guest(call, "virtualmachineid") if call.get("virtualmachineid") else None
    if guest is not None or call.get("vmguestip"):
        guest = guest or call.tx.get(tables.machine, row.machine_id)
        assert guest is not None
        address = guest_address(call.tx, guest, network, call.get("vmguestip"))
        changes |= {"machine_id": guest.id, "guest_address": address}
    if "fordisplay" in call:
        changes["for_display"] = call["fordisplay"]
    call.tx.update(tables.firewall_rule, row.id, state="Add", **changes)
    return rule_lists.changed(call, row, f"updating port forwarding rule {row.uuid}")


@handler("deletePortForwardingRule")
def delete_port_forwarding_rule(call: Call) -> Reply:
    """No more, nor the firewall rule that was opened with it."""
    return rule_lists.removed(call, rules.FORWARDING, "revoking port forwarding rule")


def _refuse_ports_of_a_vpn(tx: Tx, ip: Row, match: Match) -> None:
    """What a VPC's VPN needs of its address is forwarded to nobody."""
    vpn = vpns.of_address(tx, ip.id) if ip.vpc_id is not None and match.protocol == "udp" else None
    if vpn is not None:
        mine = (Standing(vpn.uuid, vpns.PURPOSE, Match("udp", port, port), network_id=ip.network_id) for port in vpn_rules.PORTS)
        firewall.refuse_conflict(Standing("", rules.FORWARDING, match, network_id=ip.network_id), mine)
