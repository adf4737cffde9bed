"""Network ACLs: lists of numbered rules that say what comes into a tier or a private gateway of a VPC, and what goes out of it.

Every cloud has two lists that nobody changes: default_allow and default_deny. A list is its VPC's; any number of tiers and
private gateways may have it, and all of their routers are told when it changes.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import vpcs as answers
from sysvm.api.call import Accepted, Call, Reply, Rows
from sysvm.api.commands.networks.vpc_tiers import usable_list
from sysvm.api.handlers import handler, result
from sysvm.api.listing import contains, fetch, tags_of, visible
from sysvm.api.rules import firewall
from sysvm.api.rules import vpcs as judge
from sysvm.api.rules.firewall import Match
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import acls, machines, private_gateways, vpcs
from sysvm.store.store import Row, Tx

LIST, ITEM = "NetworkACLList", "NetworkACL"


# ---------------------------------------------------------------- lists
@handler("createNetworkACLList")
def create_network_acl_list(call: Call) -> Reply:
    """An empty list: nothing comes in, everything goes out."""
    if not call.get("vpcid"):
        raise Refused("vpcid must be given: a network ACL list belongs to a VPC")
    vpc = call.need(tables.vpc, "vpcid")
    row = _add_list(call, vpc, call["name"], call.get("description") or "", shown=call.get("fordisplay", True))
    return Accepted((), call.about(LIST, row), f"Creating Network ACL with id: {row.uuid}")


def _add_list(call: Call, vpc: Row, name: str, text: str, *, shown: bool = True) -> Row:
    id_ = call.tx.insert(
        tables.network_acl_list,
        uuid=call.ids.uuid(),
        name=name,
        description=text,
        vpc_id=vpc.id,
        for_display=shown,
        created=call.now,
        **_owner(vpc),
    )
    row = call.tx.get(tables.network_acl_list, id_)
    assert row is not None
    return row


def _owner(row: Row) -> dict[str, Any]:
    return {"account_id": row.account_id, "domain_id": row.domain_id, "domain_path": row.domain_path}


@result("createNetworkACLList")
def _list_result(tx: Tx, job: Row) -> dict[str, Any]:
    row = acls.one_list(tx, job.instance_id)
    return answers.acl_list(row) if row is not None else {"id": job.instance_uuid}


@handler("listNetworkACLLists")
def list_network_acl_lists(call: Call) -> Reply:
    """The lists of the caller's VPCs, and those that every cloud has."""
    table = tables.network_acl_list.c
    statement = acls.lists().where(*_seen_lists(call))
    if (vpc := call.row(tables.vpc, "vpcid")) is not None:
        statement = statement.where(sa.or_(table.vpc_id == vpc.id, table.vpc_id.is_(None)))
    if (network := call.row(tables.network, "networkid")) is not None:
        statement = statement.where(table.id == network.acl_list_id)
    if call.get("name"):
        statement = statement.where(table.name == call["name"])
    if "fordisplay" in call:
        statement = statement.where(table.for_display.is_(call["fordisplay"]))
    if word := call.get("keyword"):
        statement = statement.where(sa.or_(contains(table.name, word), contains(table.description, word)))
    rows, count = fetch(call, statement.order_by(table.id))
    return Rows([answers.acl_list(row) for row in rows], count)


def _seen_lists(call: Call) -> list[sa.ColumnElement[bool]]:
    table = tables.network_acl_list
    if call.get("id"):
        row = call.find(table, call["id"], "id", check=False)
        if row.vpc_id is not None:
            call.check_access(table, row)
        return [table.c.id == row.id]
    own = sa.and_(sa.true(), *visible(call, table))
    return [sa.or_(own, table.c.vpc_id.is_(None))]


def _own_list(call: Call, name: str) -> Row:
    """The list that a parameter names, if it can be changed."""
    row = call.need(tables.network_acl_list, name, check=False)
    if row.vpc_id is None:
        raise Refused(f"Default ACL {row.name} can't be changed or removed")
    call.check_access(tables.network_acl_list, row)
    return row


@handler("updateNetworkACLList")
def update_network_acl_list(call: Call) -> Reply:
    """Another name or description."""
    row = _own_list(call, "id")
    names = {"name": "name", "description": "description", "fordisplay": "for_display"}
    changes = {column: call[name] for name, column in names.items() if name in call}
    if changes:
        call.tx.update(tables.network_acl_list, row.id, **changes)
    return Accepted((), call.about(LIST, row), f"Updating network ACL list: {row.uuid}")


@handler("deleteNetworkACLList")
def delete_network_acl_list(call: Call) -> Reply:
    """No more, with its rules; refused while a tier or a private gateway has it."""
    row = _own_list(call, "id")
    tiers, gateways = acls.tiers_with(call.tx, row.id), private_gateways.with_list(call.tx, row.id)
    for count, what in ((len(tiers), "tiers"), (len(gateways), "private gateways")):
        if count:
            raise Refused(f"ACL is still associated with {count} {what}. Cannot delete network ACL: {row.uuid}", Why.IN_USE)
    acls.remove_list(call.tx, row.id)
    return Accepted((), call.about(LIST, row), f"Deleting Network ACL list {row.uuid}")


@handler("replaceNetworkACLList")
def replace_network_acl_list(call: Call) -> Reply:
    """The tier or the private gateway has another list, from when its router has it."""
    gateway = call.row(tables.private_gateway, "gatewayid")
    if (gateway is None) == (not call.get("networkid")):
        raise Refused("Specify either networkid or gatewayid: whose list is to be replaced")
    if gateway is not None:
        return _replace_of_gateway(call, gateway)
    tier = _tier(call)
    found = usable_list(call, "aclid", tier.vpc_id)
    assert found is not None
    call.tx.update(tables.network, tier.id, acl_list_id=found.id)
    machines.need_reachable_router(call.tx, tier.id)
    text = f"Replacing network ACL of network {tier.uuid} with {found.name}"
    return Accepted(machines.wish_documents(call.tx, tier.id), call.about(LIST, found), text)


def _replace_of_gateway(call: Call, gateway: Row) -> Reply:
    found = usable_list(call, "aclid", gateway.vpc_id)
    assert found is not None
    call.tx.update(tables.private_gateway, gateway.id, acl_list_id=found.id)
    machines.need_reachable(call.tx, vpcs.routers_of(call.tx, gateway.vpc_id))
    text = f"Replacing network ACL of private gateway {gateway.uuid} with {found.name}"
    return Accepted(vpcs.wish_documents(call.tx, gateway.vpc_id), call.about(LIST, found), text)


def _tier(call: Call) -> Row:
    row = call.need(tables.network, "networkid")
    if row.vpc_id is None:
        raise Refused(f"Network {row.name} is not part of a VPC: it has no network ACL")
    return row


# ---------------------------------------------------------------- rules
@handler("createNetworkACL")
def create_network_acl(call: Call) -> Reply:
    """In force from when the routers of all tiers with the list have it."""
    home = _home(call)
    match = judge.match(call["protocol"], call.get("startport"), call.get("endport"), call.get("icmptype"), call.get("icmpcode"))
    number = judge.number(call["number"]) if "number" in call else acls.next_number(call.tx, home.id)
    _refuse_taken(call.tx, home, number)
    id_ = call.tx.insert(
        tables.network_acl,
        uuid=call.ids.uuid(),
        acl_list_id=home.id,
        number=number,
        action=judge.one_of(call.get("action"), judge.ACTIONS, "action"),
        traffic_type=judge.one_of(call.get("traffictype"), judge.TRAFFIC, "traffictype"),
        reason=call.get("reason") or "",
        sources=list(firewall.cidrs(call.get("cidrlist", ())) or (firewall.ANYWHERE,)),
        for_display=call.get("fordisplay", True),
        created=call.now,
        **_columns(match),
        **_owner(home),
    )
    row = call.tx.get(tables.network_acl, id_)
    assert row is not None
    return _changed(call, row, f"Creating Network ACL Item with id: {row.uuid}")


def _home(call: Call) -> Row:
    """The list that the rule goes into; a tier that has none of its own gets one."""
    if call.get("aclid"):
        return _own_list(call, "aclid")
    if not call.get("networkid"):
        raise Refused("Cannot create Network ACL Item. ACL Id or network Id is required")
    tier = _tier(call)
    held = call.tx.get(tables.network_acl_list, tier.acl_list_id) if tier.acl_list_id is not None else None
    if held is not None and held.vpc_id is not None:
        return held
    vpc = call.tx.get(tables.vpc, tier.vpc_id)
    assert vpc is not None
    made = _add_list(call, vpc, f"ACL_{tier.uuid}", f"ACL for {tier.uuid}")
    call.tx.update(tables.network, tier.id, acl_list_id=made.id)
    return made


def _refuse_taken(tx: Tx, home: Row, number: int, but: int | None = None) -> None:
    if any(row.number == number and row.id != but for row in acls.of_list(tx, home.id)):
        raise Refused(f"ACL item with number {number} already exists in ACL: {home.uuid}")


def _columns(match: Match) -> dict[str, Any]:
    return {
        "protocol": match.protocol,
        "first_port": match.first,
        "last_port": match.last,
        "icmp_type": match.icmp_type,
        "icmp_code": match.icmp_code,
    }


def _changed(call: Call, row: Row, text: str) -> Accepted:
    return Accepted(acls.wish_documents(call.tx, row.acl_list_id), call.about(ITEM, row), text)


def _rows(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    tags = tags_of(tx, ITEM, [row.id for row in rows])
    return [answers.acl(row, tags.get(row.id, [])) for row in rows]


@result("createNetworkACL", "updateNetworkACLItem")
def _item_result(tx: Tx, job: Row) -> dict[str, Any]:
    acls.set_active(tx, job.instance_id)
    row = acls.one(tx, job.instance_id)
    return _rows(tx, [row])[0] if row is not None else {"id": job.instance_uuid, "state": "Revoke"}


@handler("listNetworkACLs")
def list_network_acls(call: Call) -> Reply:
    """Rules of the caller's lists; those of the default lists when such a list, or a network that has it, is named."""
    table = tables.network_acl.c
    statement = acls.items()
    named = [*_of_list(call), *_of_network(call), *([sa.true()] if call.get("id") else [])]
    statement = statement.where(*(named or visible(call, tables.network_acl)))
    if call.get("id"):
        statement = statement.where(table.id == _seen_item(call).id)
    for name, column in (("action", table.action), ("traffictype", table.traffic_type), ("protocol", table.protocol)):
        if call.get(name):
            statement = statement.where(sa.func.lower(column) == call[name].lower())
    if "fordisplay" in call:
        statement = statement.where(table.for_display.is_(call["fordisplay"]))
    if word := call.get("keyword"):
        statement = statement.where(sa.or_(contains(table.protocol, word), contains(table.reason, word)))
    rows, count = fetch(call, statement.order_by(table.acl_list_id, table.number))
    return Rows(_rows(call.tx, rows), count)


def _seen_item(call: Call) -> Row:
    row = call.need(tables.network_acl, "id", check=False)
    home = call.tx.get(tables.network_acl_list, row.acl_list_id)
    if home is None or home.vpc_id is not None:
        call.check_access(tables.network_acl, row)
    return row


def _of_list(call: Call) -> list[sa.ColumnElement[bool]]:
    if not call.get("aclid"):
        return []
    row = call.need(tables.network_acl_list, "aclid", check=False)
    if row.vpc_id is not None:
        call.check_access(tables.network_acl_list, row)
    return [tables.network_acl.c.acl_list_id == row.id]


def _of_network(call: Call) -> list[sa.ColumnElement[bool]]:
    network = call.row(tables.network, "networkid")
    return [tables.network_acl.c.acl_list_id == network.acl_list_id] if network is not None else []


def _own_item(call: Call) -> tuple[Row, Row]:
    """The rule and its list, if it can be changed."""
    row = call.need(tables.network_acl, "id", check=False)
    home = call.tx.get(tables.network_acl_list, row.acl_list_id)
    assert home is not None
    if home.vpc_id is None:
        raise Refused(f"Default ACL {home.name} can't be changed")
    call.check_access(tables.network_acl, row)
    return row, home


@handler("updateNetworkACLItem")
def update_network_acl_item(call: Call) -> Reply:
    """Another rule in its place. With partialupgrade=false what is not given is what a new rule would have."""
    row, home = _own_item(call)
    changes: dict[str, Any] = {}
    if "number" in call:
        changes["number"] = judge.number(call["number"])
        _refuse_taken(call.tx, home, changes["number"], but=row.id)
    partial = call.get("partialupgrade", True)
    for name, words, column in (("action", judge.ACTIONS, "action"), ("traffictype", judge.TRAFFIC, "traffic_type")):
        if call.get(name) or not partial:
            changes[column] = judge.one_of(call.get(name), words, name)
    if "cidrlist" in call or not partial:
        changes["sources"] = list(firewall.cidrs(call.get("cidrlist", ())) or (firewall.ANYWHERE,))
    for name, column in (("reason", "reason"), ("fordisplay", "for_display")):
        if name in call:
            changes[column] = call[name]
    changes |= _columns(_other_match(call, row, partial))
    call.tx.update(tables.network_acl, row.id, state="Add", **changes)
    return _changed(call, row, f"Updating Network ACL Item with id: {row.uuid}")


def _other_match(call: Call, row: Row, partial: bool) -> Match:
    given = {name: call[name] for name in ("startport", "endport", "icmptype", "icmpcode") if name in call}
    standing = Match(row.protocol, row.first_port, row.last_port, row.icmp_type, row.icmp_code)
    if not partial:
        standing = Match(row.protocol)
    return judge.changed(standing, given, call.get("protocol"))


@handler("deleteNetworkACL")
def delete_network_acl(call: Call) -> Reply:
    """Out of force from when the routers have dropped it."""
    row, _ = _own_item(call)
    call.tx.update(tables.network_acl, row.id, removed=call.now)
    return _changed(call, row, f"Deleting Network ACL Item {row.uuid}")
