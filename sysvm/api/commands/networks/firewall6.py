"""IPv6 firewall rules: what of outside comes to guests of a network, and the exceptions of what guests may begin.

A rule is the network's: there is no public address that it could stand on. Nothing comes in that no ingress rule lets in.
"""

from sysvm.api.call import Call, Reply
from sysvm.api.commands.networks import rule_lists
from sysvm.api.commands.networks.networks import usable_network
from sysvm.api.handlers import handler
from sysvm.api.rules import firewall, firewall6
from sysvm.api.rules.firewall import Match, Standing
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import rules, rules6
from sysvm.store.store import Row, Tx


@handler("createIpv6FirewallRule")
def create_ipv6_firewall_rule(call: Call) -> Reply:
    """In force from when the routers have it."""
    network = usable_network(call, call["networkid"], "networkid")
    call.check_access(tables.network, network)
    if network.guest_type != "Isolated" or not network.ip6_cidr:
        raise Refused(f"IPv6 firewall rules are for isolated networks with IPv6; {network.name} is none")
    rule_lists.need_service(call.tx, network.id, "Firewall")
    way = firewall6.way(call.get("traffictype"))
    match = rule_lists.match_of(call, firewall.EGRESS_PROTOCOLS)
    ends = firewall6.ends(way, network.ip6_cidr, call.get("cidrlist", ()), call.get("destcidrlist", ()))
    _refuse_conflict(call.tx, network.id, way, match, ends)
    where = {"network_id": network.id, "destinations": list(ends.destinations), "traffic_type": way}
    row = rule_lists.write(call, rules6.PURPOSE, match, network, ends.sources, **where)
    return rule_lists.changed(call, row, f"Creating ipv6 firewall rule for network {network.uuid}")


def _refuse_conflict(tx: Tx, network_id: int, way: str, match: Match, ends: firewall6.Ends, but: int | None = None) -> None:
    standing = [
        rule_lists.standing(row)
        for row in rules6.of_network(tx, network_id, way)
        if row.id != but and firewall6.share(row.destinations or (), ends.destinations)
    ]
    firewall.refuse_conflict(Standing("", rules.FIREWALL, match, frozenset(ends.sources), network_id), standing)


@handler("listIpv6FirewallRules")
def list_ipv6_firewall_rules(call: Call) -> Reply:
    """Rules of networks, of both directions or of one."""
    rule = tables.firewall_rule.c
    given = call.get("traffictype")
    return rule_lists.list_of(call, rules6.PURPOSE, *((rule.traffic_type == firewall6.way(given),) if given else ()))


@handler("updateIpv6FirewallRule")
def update_ipv6_firewall_rule(call: Call) -> Reply:
    """Another protocol, other ports or networks; what is not given stays."""
    row = rule_lists.the_rule(call, rules6.PURPOSE)
    network = call.tx.get(tables.network, row.network_id)
    assert network is not None
    if call.get("traffictype") and firewall6.way(call["traffictype"]) != row.traffic_type:
        raise Refused("The traffic type of a rule can't change; delete it and create another one")
    match = _changed_match(call, row)
    sources, destinations = (call.get(name) for name in ("cidrlist", "destcidrlist"))
    ends = firewall6.ends(
        row.traffic_type,
        network.ip6_cidr,
        row.sources or () if sources is None else sources,
        row.destinations or () if destinations is None else destinations,
    )
    _refuse_conflict(call.tx, network.id, row.traffic_type, match, ends, row.id)
    call.tx.update(
        tables.firewall_rule, row.id,
        protocol=match.protocol, first_port=match.first, last_port=match.last, icmp_type=match.icmp_type,
        icmp_code=match.icmp_code, sources=list(ends.sources), destinations=list(ends.destinations),
        for_display=call.get("fordisplay", row.for_display),
    )  # fmt: skip
    return rule_lists.changed(call, row, f"Updating ipv6 firewall rule {row.uuid}")


def _changed_match(call: Call, row: Row) -> Match:
    """Ports and ICMP types belong to a protocol: another one begins without those of the old one."""
    name = call.get("protocol", row.protocol)
    same = name.strip().lower() == row.protocol
    first, last = call.get("startport"), call.get("endport")
    if first is None and last is None and same:
        first, last = row.first_port, row.last_port
    icmp_type = call.get("icmptype", row.icmp_type if same else None)
    icmp_code = call.get("icmpcode", row.icmp_code if same else None)
    return firewall.match(name, first, last, icmp_type, icmp_code, firewall.EGRESS_PROTOCOLS)


@handler("deleteIpv6FirewallRule")
def delete_ipv6_firewall_rule(call: Call) -> Reply:
    """Out of force from when the routers have dropped it."""
    return rule_lists.removed(call, rules6.PURPOSE, "Revoking ipv6 firewall rule")
