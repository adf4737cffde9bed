"""Rules of security groups: who may reach the members, and whom they may reach. One for each CIDR or group of a call.

A rule is in force when the hosts of the group's guests have it. Connections that stand go on when it is taken back.
"""

from typing import Any

from sysvm.api.answers import security_groups as answers
from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.commands.networks import security_groups as commands
from sysvm.api.commands.networks.security_groups import ABOUT
from sysvm.api.handlers import handler, result
from sysvm.api.rules import security_groups as judge
from sysvm.api.rules.firewall import Match
from sysvm.api.rules.security_groups import Given
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import security_groups
from sysvm.store.queries.security_groups import EGRESS, INGRESS
from sysvm.store.store import Row, Tx

End = tuple[str, int | None]  # a CIDR, or the id of a group
NEW = "rules"  # of a job: the rules that its call has made


@handler("authorizeSecurityGroupIngress")
def authorize_security_group_ingress(call: Call) -> Reply:
    """Lets others reach the members."""
    return _authorized(call, INGRESS)


@handler("authorizeSecurityGroupEgress")
def authorize_security_group_egress(call: Call) -> Reply:
    """Lets members reach others: from the first such rule on, those only."""
    return _authorized(call, EGRESS)


def _authorized(call: Call, direction: str) -> Accepted:
    group = commands.the_group(call, "securitygroupid", "securitygroupname")
    given = Given(call.get("startport"), call.get("endport"), call.get("icmptype"), call.get("icmpcode"))
    match = judge.match(call.get("protocol"), given)
    ends: list[End] = [(cidr, None) for cidr in judge.cidrs(call.get("cidrlist", ()), match)]
    ends += [("", id_) for id_ in _groups(call, group)]
    if not ends:
        raise Refused("At least one cidr or at least one security group needs to be specified")
    standing = {_key(rule) for rule in security_groups.rules_of(call.tx, [group.id])}
    fresh = [end for end in ends if (direction, match, end) not in standing]
    if not fresh:
        raise Refused(f"The rule already exists in security group {group.name}", Why.RULE_CONFLICT)
    made = [_insert(call, group, direction, match, end) for end in fresh]
    parts = security_groups.changed(call.tx, [group.id])
    text = f"Adding {direction.capitalize()} Rule to security group {group.name}"
    return Accepted(parts, call.about(ABOUT, group), text, {NEW: made})


def _groups(call: Call, group: Row) -> list[int]:
    """The ids of the groups that `usersecuritygrouplist` names, each by its account and its name."""
    found: dict[int, None] = {}
    for entry in call.get("usersecuritygrouplist") or ():
        values = {name.lower(): value for name, value in entry.items()}
        account, name = values.get("account"), values.get("group")
        if not account or not name:
            raise Refused("Invalid user group specified, fields 'group' and 'account' cannot be null")
        found[_group_of(call.tx, group, account, name)] = None
    return list(found)


def _group_of(tx: Tx, group: Row, account: str, name: str) -> int:
    living = "name = :name and domain_id = :domain and removed is null"
    owner = next(iter(tx.rows(tables.account, living, name=account, domain=group.domain_id)), None)
    if owner is None:
        raise Refused(f"Nonexistent account '{account}' when trying to authorize rules for security group {group.name}")
    if name.lower() == security_groups.DEFAULT:
        columns = {"account_id": owner.id, "domain_id": owner.domain_id, "domain_path": owner.domain_path}
        return int(security_groups.default_of(tx, columns).id)
    other = security_groups.named(tx, owner.id, name)
    if other is None:
        raise Refused(f"Nonexistent group {name} for account {account} is given, unable to authorize traffic")
    return int(other.id)


def _key(rule: Row) -> tuple[str, Match, End]:
    match = Match(rule.protocol, rule.first_port, rule.last_port, rule.icmp_type, rule.icmp_code)
    return rule.direction, match, (rule.cidr, rule.other_group_id)


def _insert(call: Call, group: Row, direction: str, match: Match, end: End) -> int:
    cidr, other = end
    return call.tx.insert(
        tables.security_group_rule,
        uuid=call.ids.uuid(),
        group_id=group.id,
        direction=direction,
        protocol=match.protocol,
        first_port=match.first,
        last_port=match.last,
        icmp_type=match.icmp_type,
        icmp_code=match.icmp_code,
        cidr=cidr,
        other_group_id=other,
        created=call.now,
    )


@result("authorizeSecurityGroupIngress")
@result("authorizeSecurityGroupEgress")
def _authorized_result(tx: Tx, job: Row) -> dict[str, Any]:
    """The group with the rules that this call has made, and no others."""
    row = security_groups.one(tx, job.instance_id)
    if row is None:
        return {"id": job.instance_uuid}
    (view,) = commands.views(tx, [row])
    made = set(job.params.get(NEW, ()))
    mine = [rule for rule in view.rules if rule.id in made]
    return answers.group(answers.GroupView(view.row, mine, view.others, view.guests))


@handler("revokeSecurityGroupIngress")
def revoke_security_group_ingress(call: Call) -> Reply:
    """Nobody new comes in by this rule."""
    return _revoked(call, INGRESS)


@handler("revokeSecurityGroupEgress")
def revoke_security_group_egress(call: Call) -> Reply:
    """Nothing new goes out by this rule; everything does when it was the last one."""
    return _revoked(call, EGRESS)


def _revoked(call: Call, direction: str) -> Accepted:
    rule = call.need(tables.security_group_rule, "id")
    group = call.tx.get(tables.security_group, rule.group_id)
    if group is None or rule.direction != direction:
        raise Refused(f"Unable to find security rule with id {call['id']}")
    call.check_access(tables.security_group, group)
    parts = security_groups.changed(call.tx, [group.id])
    call.tx.update(tables.security_group_rule, rule.id, removed=call.now)
    text = f"Revoking {direction.capitalize()} Rule of security group {group.name}"
    return Accepted(parts, call.about(ABOUT, group), text)
