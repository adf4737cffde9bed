"""Load balancers inside VPCs (CloudStack: application load balancers): an address of a tier, served by machines of its own.

The address is taken from the tier's range, or shared with other rules of it. Its machine is made when the first guest is
assigned. Members, stickiness, health checks and certificates are those of any load balancer rule.
"""

from collections.abc import Sequence
from typing import Any

from sysvm.api.answers import load_balancers as answers
from sysvm.api.call import Call, Reply
from sysvm.api.commands.balancing import load_balancers as common
from sysvm.api.commands.networks.networks import usable_network
from sysvm.api.handlers import handler, result
from sysvm.api.listing import list_rows, tags_of
from sysvm.api.rules import load_balancers as judge
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import addresses, internal_lbs, load_balancers, settings
from sysvm.store.store import Row, Tx
from sysvm.store.tables import pack_address
from sysvm.wire.balancing import Carried


@handler("createLoadBalancer")
def create_load_balancer(call: Call) -> Reply:
    """Served from when a guest stands behind it."""
    judge.check_scheme(call["scheme"])
    network = _tier(call)
    algorithm = judge.algorithm(call["algorithm"])
    source, inside = judge.port(call["sourceport"], "sourceport"), judge.port(call["instanceport"], "instanceport")
    judge.refuse_taken_port(source, int(settings.value(call.tx, common.STATISTICS_PORT)), answers_dns=False)
    address = _address(call, network)
    for rule in load_balancers.internal_of(call.tx, network.id, pack_address(address)):
        if rule.first_port == source:
            text = f"The port {source} of {address} is taken by load balancer {rule.name} ({rule.uuid})"
            raise Refused(text, Why.RULE_CONFLICT)
    id_ = common.insert_rule(call, network, source, inside, network_id=network.id, sources=[])
    words = {"name": call["name"], "description": call.get("description") or ""}
    where = {"source_address": pack_address(address)}
    call.tx.insert(tables.load_balancer, rule_id=id_, algorithm=algorithm.value, protocol=Carried.TCP.value, **words, **where)
    row = load_balancers.one(call.tx, id_)
    assert row is not None
    return common.changed(call, row, f"creating load balancer: {row.name}")


def _tier(call: Call) -> Row:
    network, source = call.need(tables.network, "networkid"), call.need(tables.network, "sourceipaddressnetworkid")
    if not internal_lbs.is_provided(call.tx, network):
        raise Refused(
            f"Network {network.name} doesn't support internal load balancers: Lb of its offering has another provider than"
            f" {internal_lbs.PROVIDER}"
        )
    if network.state == "Destroy":
        raise Refused(f"Network {network.name} is being deleted")
    if source.id != network.id:
        raise Refused("sourceipaddressnetworkid must be the load balancer's own network: its machine is in no other one")
    return network


def _address(call: Call, network: Row) -> str:
    if not call.get("sourceipaddress"):
        return addresses.take_guest_ip(call.tx, network)
    text = judge.source_address(call["sourceipaddress"])
    if text in internal_lbs.ruled(call.tx, network.id)[0] or internal_lbs.holds(call.tx, network.id, text):
        return text  # other rules have it, or the machine of those before is on its way out
    return addresses.take_guest_ip(call.tx, network, text)


# ---------------------------------------------------------------- list
@handler("listLoadBalancers")
def list_load_balancers(call: Call) -> Reply:
    """Those inside VPCs that the caller may see, with their guests."""
    rule, more = tables.firewall_rule.c, tables.load_balancer.c
    if call.get("scheme"):
        judge.check_scheme(call["scheme"])
    statement = load_balancers.statement().where(more.source_address.is_not(None))
    if "fordisplay" in call:
        statement = statement.where(rule.for_display.is_(call["fordisplay"]))
    for name in ("networkid", "sourceipaddressnetworkid"):
        if call.get(name):
            statement = statement.where(rule.network_id == usable_network(call, call[name], name).id)
    if call.get("sourceipaddress"):
        statement = statement.where(more.source_address == pack_address(judge.source_address(call["sourceipaddress"])))

    def rows(tx: Tx, found: Sequence[Row]) -> list[dict[str, Any]]:
        behind = load_balancers.guests_behind(tx, [row.id for row in found])
        return [answers.internal(row, behind.get(row.id, ()), []) for row in found]

    return list_rows(
        call,
        statement,
        tables.firewall_rule,
        rows,
        equal={"name": more.name},
        keyword=(more.name, more.description),
        tagged=common.TAGGED,
    )


@handler("deleteLoadBalancer")
def delete_load_balancer(call: Call) -> Reply:
    """No more; with the last one of its address goes the machine."""
    row = common.the_rule(call)
    if row.source_address is None:
        raise Refused(f"Load balancer rule {row.uuid} is a public one; use deleteLoadBalancerRule")
    return common.removed(call, row)


@result("createLoadBalancer")
def _created(tx: Tx, job: Row) -> dict[str, Any]:
    row = load_balancers.one(tx, job.instance_id)
    if row is None:
        return {"id": job.instance_uuid}
    if internal_lbs.at(tx, row.network_id, row.source_address) is not None:
        load_balancers.set_active(tx, row.id)
        row = load_balancers.one(tx, row.id) or row
    behind = load_balancers.guests_behind(tx, [row.id])
    tags = tags_of(tx, common.TAGGED, [row.id])
    return answers.internal(row, behind.get(row.id, ()), tags.get(row.id, []))
