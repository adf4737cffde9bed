"""Egress rules: what guests may start towards outside. The offering's policy says whether a rule allows or denies."""

from sysvm.api.call import Call, Reply
from sysvm.api.commands import rule_lists
from sysvm.api.commands.networks import usable_network
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
        raise Refused(
            f"Egress firewall rules are supported on isolated networks only; {network.name} is {network.guest_type}"
        )
    rule_lists.need_service(call.tx, network.id, "Firewall")
    match = firewall.match(
        call["protocol"], call.get("startport"), call.get("endport"), call.get("icmptype"), call.get("icmpcode"),
        firewall.EGRESS_PROTOCOLS,
    )  # fmt: skip
    sources = firewall.egress_sources(call.get("cidrlist", ()), network.cidr)
    destinations = firewall.cidrs(call.get("destcidrlist", ()), "Destination")
    new = Standing("", rules.FIREWALL, match, frozenset(sources), network.id)
    same_targets = [row for row in rules.egress_of(call.tx, network.id) if _share(row.destinations, destinations)]
    firewall.refuse_conflict(new, map(rule_lists.standing, same_targets))
    id_ = call.tx.insert(
        tables.firewall_rule,
        uuid=call.ids.uuid(),
        purpose=rules.EGRESS,
        network_id=network.id,
        protocol=match.protocol,
        first_port=match.first,
        last_port=match.last,
        icmp_type=match.icmp_type,
        icmp_code=match.icmp_code,
        sources=list(sources),
        destinations=list(destinations),
        traffic_type="Egress",
        for_display=call.get("fordisplay", True),
        account_id=network.account_id,
        domain_id=network.domain_id,
        domain_path=network.domain_path,
        created=call.now,
    )
    row = call.tx.get(tables.firewall_rule, id_)
    assert row is not None
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
    row = rule_lists.the_rule(call, rules.EGRESS)
    if "fordisplay" in call:
        call.tx.update(tables.firewall_rule, row.id, for_display=call["fordisplay"])
    return rule_lists.changed(call, row, f"updating egress firewall rule {row.uuid}")
