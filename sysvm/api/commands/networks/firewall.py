"""Firewall rules: what may reach a public address. Without one nothing may."""

from sysvm.api.call import Call, Reply
from sysvm.api.commands.networks import rule_lists
from sysvm.api.commands.networks.public_ips import the_address
from sysvm.api.handlers import handler, result
from sysvm.api.rules import firewall
from sysvm.api.rules.firewall import Match, Standing
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import rules
from sysvm.store.store import Row


@handler("createFirewallRule")
def create_firewall_rule(call: Call) -> Reply:
    """Open from when the routers have it."""
    if (call.get("type") or "user").lower() != "user":
        raise Refused("System firewall rules are made by the cloud itself")
    ip = the_address(call, "ipaddressid")
    rule_lists.need_service(call.tx, ip.network_id, "Firewall")
    match = rule_lists.match_of(call)
    row = add(call, ip, match, firewall.cidrs(call.get("cidrlist", ())) or (firewall.ANYWHERE,))
    return rule_lists.changed(call, row, f"creating firewall rule for ip {tables.unpack_address(ip.address)}")


def add(call: Call, ip: Row, match: Match, sources: tuple[str, ...], *, display: bool = True) -> Row:
    """Writes the rule, if nothing stands against it."""
    new = Standing("", rules.FIREWALL, match, frozenset(sources), ip.network_id)
    near = rules.near(call.tx, ip, match.protocol, match.first, match.last)
    firewall.refuse_conflict(new, map(rule_lists.standing, near))
    shown = call.get("fordisplay", display)
    places = {"public_ip_id": ip.id, "network_id": ip.network_id}
    return rule_lists.write(call, rules.FIREWALL, match, ip, sources, for_display=shown, **places)


@handler("listFirewallRules")
def list_firewall_rules(call: Call) -> Reply:
    """Rules on public addresses."""
    return rule_lists.list_of(call, rules.FIREWALL)


@handler("deleteFirewallRule")
def delete_firewall_rule(call: Call) -> Reply:
    """Closed from when the routers have dropped it."""
    return rule_lists.removed(call, rules.FIREWALL, "revoking firewall rule")


@handler("updateFirewallRule")
def update_firewall_rule(call: Call) -> Reply:
    """Whether users are shown it."""
    return rule_lists.shown(call, rules.FIREWALL, "updating firewall rule")


result(
    "createFirewallRule", "updateFirewallRule", "createEgressFirewallRule", "updateEgressFirewallRule",
    "createIpv6FirewallRule", "updateIpv6FirewallRule",
    "createPortForwardingRule", "updatePortForwardingRule",
)(rule_lists.finished)  # fmt: skip
