"""Load balancer rules. By default the firewall is opened with a rule; it is served with members or without."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import load_balancers as answers
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.commands.networks import firewall as firewall_commands
from sysvm.api.commands.networks import rule_lists
from sysvm.api.commands.networks.networks import usable_network
from sysvm.api.commands.networks.public_ips import the_address
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows, tags_of
from sysvm.api.rules import firewall
from sysvm.api.rules import load_balancers as judge
from sysvm.api.rules.firewall import Match, Standing
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import internal_lbs, load_balancers, networks, rules, settings
from sysvm.store.store import Row, Tx
from sysvm.wire.balancing import Algorithm, Carried

ABOUT = "LoadBalancerRule"
TAGGED = "LoadBalancer"
STATISTICS_PORT = "network.loadbalancer.haproxy.stats.port"


def the_rule(call: Call, name: str = "id") -> Row:
    """The rule that a parameter names, with what is around it."""
    row = rule_lists.the_rule(call, rules.BALANCING, name)
    found = load_balancers.one(call.tx, row.id)
    assert found is not None
    return found


def changed(call: Call, row: Row, text: str) -> Accepted:
    """The rule is another one now: who serves it takes a new document."""
    return Accepted(internal_lbs.changed(call.tx, row), call.about(ABOUT, row), text)


def removed(call: Call, row: Row) -> Accepted:
    """The rule is no more."""
    rules.remove(call.tx, row)
    text = f"deleting load balancer: {row.uuid}"
    return Accepted(internal_lbs.removed(call.tx, row), call.about(ABOUT, row), text)


# ---------------------------------------------------------------- rules
@handler("createLoadBalancerRule")
def create_load_balancer_rule(call: Call) -> Reply:
    """Served from when the routers have it."""
    if not call.get("publicipid"):
        raise Refused("publicipid must be given: there are no load balancers with an address of their own")
    ip = the_address(call, "publicipid")
    if ip.static_nat:
        raise Refused(f"There is 1 to 1 Nat rule specified for the ip address id={ip.uuid}", Why.RULE_CONFLICT)
    network = rule_lists.need_service(call.tx, ip.network_id, load_balancers.SERVICE)
    if call.get("networkid") and call.need(tables.network, "networkid").id != network.id:
        raise Refused(f"The ip address is associated with network {network.name}, not with the given networkid")
    if internal_lbs.is_provided(call.tx, network):
        raise Refused(f"Network {network.name} has internal load balancers only; use createLoadBalancer")
    algorithm, carried = judge.algorithm(call["algorithm"]), judge.carried(call.get("protocol"))
    public, private = judge.port(call["publicport"], "publicPort"), judge.port(call["privateport"], "privatePort")
    dns = bool(ip.source_nat) and "Dns" in networks.services(call.tx, network)
    judge.refuse_taken_port(public, int(settings.value(call.tx, STATISTICS_PORT)), answers_dns=dns)
    row = _add(call, ip, public, private, algorithm, carried)
    return changed(call, row, f"creating load balancer: {row.name} account: {row.account_name}")


def _add(call: Call, ip: Row, public: int, private: int, algorithm: Algorithm, carried: Carried) -> Row:
    match = Match("tcp", public, public)
    new = Standing("", rules.BALANCING, match, network_id=ip.network_id)
    near = rules.near(call.tx, ip, match.protocol, match.first, match.last)
    firewall.refuse_conflict(new, map(rule_lists.standing, near))
    sources = firewall.cidrs(call.get("cidrlist", ()))
    related = None
    if call.get("openfirewall", True) and ip.vpc_id is None:  # in a VPC its network's ACL says who comes in
        related = firewall_commands.add(call, ip, match, sources or (firewall.ANYWHERE,)).id
    where = {"public_ip_id": ip.id, "network_id": ip.network_id}
    id_ = insert_rule(call, ip, public, private, sources=list(sources), related_id=related, **where)
    words = {"name": call["name"], "description": call.get("description") or ""}
    call.tx.insert(
        tables.load_balancer, rule_id=id_, algorithm=algorithm.value, protocol=carried.value, **words
    )  # fmt: skip
    found = load_balancers.one(call.tx, id_)
    assert found is not None
    return found


def insert_rule(call: Call, owner: Row, port: int, private_port: int, **where: Any) -> int:
    """The rule's row, owned as `owner` (an address or a network) is; its id."""
    return call.tx.insert(
        tables.firewall_rule,
        uuid=call.ids.uuid(),
        purpose=rules.BALANCING,
        protocol="tcp",
        first_port=port,
        last_port=port,
        private_first_port=private_port,
        private_last_port=private_port,
        for_display=call.get("fordisplay", True),
        account_id=owner.account_id,
        domain_id=owner.domain_id,
        domain_path=owner.domain_path,
        created=call.now,
        **where,
    )


@handler("listLoadBalancerRules")
def list_load_balancer_rules(call: Call) -> Reply:
    """Rules on public addresses that the caller may see."""
    rule, more, member = tables.firewall_rule.c, tables.load_balancer.c, tables.load_balancer_member.c

    def rows(tx: Tx, found: Sequence[Row]) -> list[dict[str, Any]]:
        return [answers.rule(row, []) for row in found]

    statement = load_balancers.statement().where(more.source_address.is_(None))
    if "fordisplay" in call:
        statement = statement.where(rule.for_display.is_(call["fordisplay"]))
    if call.get("networkid"):
        statement = statement.where(rule.network_id == usable_network(call, call["networkid"], "networkid").id)
    if (guest := call.row(tables.machine, "virtualmachineid")) is not None:
        behind = sa.select(member.rule_id).where(member.machine_id == guest.id, member.removed.is_(None))
        statement = statement.where(rule.id.in_(behind))
    return list_rows(
        call,
        statement,
        tables.firewall_rule,
        rows,
        equal={"name": more.name},
        refs={"publicipid": (tables.public_ip, rule.public_ip_id), "zoneid": (tables.zone, tables.zone.c.id)},
        keyword=(more.name, more.description),
        tagged=TAGGED,
    )


@handler("updateLoadBalancerRule")
def update_load_balancer_rule(call: Call) -> Reply:
    """Another name, algorithm or protocol; the ports stay."""
    row = the_rule(call)
    changes: dict[str, Any] = {name: call[name] for name in ("name", "description") if call.get(name) is not None}
    if call.get("algorithm"):
        changes["algorithm"] = judge.algorithm(call["algorithm"]).value
    if call.get("protocol"):
        changes["protocol"] = judge.carried(call["protocol"]).value
        if row.certificate_id is not None and changes["protocol"] != Carried.SSL:
            raise Refused(f"Load balancer {row.uuid} has a certificate; use removeCertFromLoadBalancer first")
    if changes:
        load_balancers.change(call.tx, row.id, **changes)
    shown = {"for_display": call["fordisplay"]} if "fordisplay" in call else {}
    call.tx.update(tables.firewall_rule, row.id, state="Add", **shown)
    return changed(call, row, f"updating load balancer rule {row.uuid}")


@handler("deleteLoadBalancerRule")
def delete_load_balancer_rule(call: Call) -> Reply:
    """No more, nor the firewall rule that was opened with it."""
    return removed(call, the_rule(call))


@result("createLoadBalancerRule", "updateLoadBalancerRule")
def _rule_result(tx: Tx, job: Row) -> dict[str, Any]:
    load_balancers.set_active(tx, job.instance_id)
    row = load_balancers.one(tx, job.instance_id)
    if row is None:
        return {"id": job.instance_uuid, "state": "Revoke"}
    return answers.rule(row, tags_of(tx, TAGGED, [row.id]).get(row.id, []))
