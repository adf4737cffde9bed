"""What firewall, egress, port forwarding and static NAT rules share: lists, what stands on an address, the end of a job."""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import rules as answers
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.commands.networks.networks import usable_network
from sysvm.api.listing import list_rows, tags_of
from sysvm.api.rules import firewall
from sysvm.api.rules.firewall import Match, Standing
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import machines, networks, rules, rules6
from sysvm.store.store import Row, Tx

TAGS = {
    rules.FIREWALL: "FirewallRule",
    rules.EGRESS: "FirewallRule",
    rules6.PURPOSE: "FirewallRule",
    rules.FORWARDING: "PortForwardingRule",
}
ABOUT = TAGS
RENDER: dict[str, Callable[[Row, answers.Tags], dict[str, Any]]] = {
    rules.FIREWALL: answers.firewall,
    rules.EGRESS: answers.firewall,
    rules6.PURPOSE: answers.firewall,
    rules.FORWARDING: answers.forwarding,
}


def list_of(call: Call, purpose: str, *conditions: sa.ColumnElement[bool]) -> Reply:
    """A page of rules of a purpose."""
    rule = tables.firewall_rule.c

    def rows(tx: Tx, found: Sequence[Row]) -> list[dict[str, Any]]:
        return [RENDER[purpose](row, []) for row in found]

    statement = rules.statement(purpose).where(*conditions)
    if call.get("networkid"):
        statement = statement.where(rule.network_id == usable_network(call, call["networkid"], "networkid").id)
    return list_rows(
        call,
        statement,
        tables.firewall_rule,
        rows,
        equal={"fordisplay": rule.for_display},
        refs={"ipaddressid": (tables.public_ip, rule.public_ip_id)},
        keyword=(rule.protocol,),
        tagged=TAGS[purpose],
    )


def the_rule(call: Call, purpose: str, name: str = "id") -> Row:
    """The rule that a parameter names."""
    row = call.need(tables.firewall_rule, name)
    if row.purpose != purpose:
        raise Refused(f"Rule {call[name]} is a {row.purpose} rule, not a {purpose} rule")
    return row


def standing(row: Row, own_uuid: str = "") -> Standing:
    """A rule of the table as the conflict rules see it."""
    return Standing(
        uuid=own_uuid or row.uuid,
        purpose=rules.FIREWALL if row.purpose in (rules.EGRESS, rules6.PURPOSE) else row.purpose,
        match=Match(row.protocol, row.first_port, row.last_port, row.icmp_type, row.icmp_code),
        sources=frozenset(row.sources or ()),
        network_id=row.network_id,
    )


def need_service(tx: Tx, network_id: int, service: str) -> Row:
    """The network, if its offering has the service."""
    network = tx.get(tables.network, network_id)
    assert network is not None
    if service not in networks.services(tx, network):
        raise Refused(f"Network {network.name} doesn't support service {service}: its offering does not have it")
    return network


def match_of(call: Call, protocols: Sequence[str] = firewall.INGRESS_PROTOCOLS) -> Match:
    """What the protocol, ports and ICMP parameters of a firewall or egress rule say."""
    return firewall.match(
        call["protocol"], call.get("startport"), call.get("endport"), call.get("icmptype"), call.get("icmpcode"),
        protocols,
    )  # fmt: skip


def write(call: Call, purpose: str, match: Match, owner: Row, sources: Sequence[str], **more: Any) -> Row:
    """A new rule, owned as `owner` (an address or a network) is."""
    values = {"for_display": call.get("fordisplay", True), **more}
    id_ = call.tx.insert(
        tables.firewall_rule,
        uuid=call.ids.uuid(),
        purpose=purpose,
        protocol=match.protocol,
        first_port=match.first,
        last_port=match.last,
        icmp_type=match.icmp_type,
        icmp_code=match.icmp_code,
        sources=list(sources),
        account_id=owner.account_id,
        domain_id=owner.domain_id,
        domain_path=owner.domain_path,
        created=call.now,
        **values,
    )
    row = call.tx.get(tables.firewall_rule, id_)
    assert row is not None
    return row


def shown(call: Call, purpose: str, text: str) -> Accepted:
    """Whether users are shown the rule."""
    row = the_rule(call, purpose)
    if "fordisplay" in call:
        call.tx.update(tables.firewall_rule, row.id, for_display=call["fordisplay"])
    return changed(call, row, f"{text} {row.uuid}")


def changed(call: Call, row: Row, text: str, state: str | None = None) -> Accepted:
    """The rule is another one now: its network's routers take their new document."""
    if state is not None:
        call.tx.update(tables.firewall_rule, row.id, state=state)
    machines.need_reachable_router(call.tx, row.network_id)
    parts = machines.wish_documents(call.tx, row.network_id)
    return Accepted(parts, call.about(ABOUT[row.purpose], row), text)


def removed(call: Call, purpose: str, text: str) -> Accepted:
    """The rule is no more."""
    row = the_rule(call, purpose)
    rules.remove(call.tx, row)
    return changed(call, row, f"{text} {row.uuid}")


def finished(tx: Tx, job: Row) -> dict[str, Any]:
    """The rule of a finished job: its routers have it, so it is Active."""
    rules.set_active(tx, job.instance_id)
    row = rules.one(tx, job.instance_id)
    if row is None:
        return {"id": job.instance_uuid, "state": "Revoke"}
    return RENDER[row.purpose](row, tags_of(tx, TAGS[row.purpose], [row.id]).get(row.id, []))
