"""Egress rules: what guests may start towards outside. The offering's policy says whether a rule allows or denies."""

from sysvm.api.call import Call, Reply
from sysvm.api.commands.networks import rule_lists
from sysvm.api.commands.networks.networks import usable_network
from sysvm.api.handlers import handler
from sysvm.api.rules import firewall
from sysvm.api.rules.firewall import Standing
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import rules


@handler("createEgressFirewallRule")
def create_egress_firewall_rule(call: Call) -> Reply:
    """In force from when the routers have it."""
    network = usable_network(call, call["networkid"], "networkid")
    call.check_access(tables.network, network)
    if network.guest_type != "Isolated":
        raise Refused(f"Egress firewall rules are supported on isolated networks only; {network.name} is {network.guest_type}")
    rule_lists.need_service(call.tx, network.id, "Firewall")
    match = rule_lists.match_of(call, firewall.EGRESS_PROTOCOLS)
    sources = firewall.egress_sources(call.get("cidrlist", ()), network.cidr)
    destinations = firewall.cidrs(call.get("destcidrlist", ()), "Destination")
    new = Standing("", rules.FIREWALL, match, frozenset(sources), network.id)
    same_targets = [row for row in rules.egress_of(call.tx, network.id) if _share(row.destinations, destinations)]
    firewall.refuse_conflict(new, map(rule_lists.standing, same_targets))
    where = {"network_id": network.id, "destinations": list(destinations), "traffic_type": "Egress"}
    row = rule_lists.write(call, rules.EGRESS, match, network, sources, **where)
    return rule_lists.changed(call, row, f"creating egress firewall rule for network {network.uuid}")


def _share(standing: list[str] | None, new: tuple[str, ...]) -> bool:
    """Whether two rules have a destination in common; none given means anywhere."""
    return not standing or not new or bool(set(standing) & set(new))


@handler("listEgressFirewallRules")
def list_egress_firewall_rules(call: Call) -> Reply:
    """Rules of networks."""
    return rule_lists.list_of(call, rules.EGRESS)


@handler("deleteEgressFirewallRule")
def delete_egress_firewall_rule(call: Call) -> Reply:
    """Out of force from when the routers have dropped it."""
    return rule_lists.removed(call, rules.EGRESS, "revoking egress firewall rule")


@handler("updateEgressFirewallRule")
def update_egress_firewall_rule(call: Call) -> Reply:
    """Whether users are shown it."""
    return rule_lists.shown(call, rules.EGRESS, "updating egress firewall rule")
