"""Stickiness and health checks of load balancer rules: one of each for a rule.

Unlike CloudStack's, this router does make the checks: a member that fails them gets no connections.
"""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers import load_balancers as answers
from sysvm.api.call import Accepted, Call, Reply, Rows
from sysvm.api.commands.balancing.load_balancers import the_rule
from sysvm.api.handlers import handler, result
from sysvm.api.listing import slice_rows
from sysvm.api.rules import load_balancers as judge
from sysvm.basics.errors import Refused
from sysvm.store import tables
from sysvm.store.queries import internal_lbs, load_balancers
from sysvm.store.store import Row, Tx

STICKINESS, HEALTH_CHECK = "LBStickinessPolicy", "LBHealthCheckPolicy"
Render = Callable[[Row, Sequence[Row]], dict[str, Any]]


def _accepted(call: Call, balancer: Row, about: str, policy: Row, text: str) -> Accepted:
    parts = internal_lbs.changed(call.tx, balancer)
    return Accepted(parts, call.about(about, policy), f"{text} {policy.uuid} of load balancer {balancer.uuid}")


def _add(call: Call, table: sa.Table, balancer: Row, **columns: Any) -> Row:
    id_ = call.tx.insert(
        table,
        uuid=call.ids.uuid(),
        rule_id=balancer.id,
        description=call.get("description") or "",
        for_display=call.get("fordisplay", True),
        account_id=balancer.account_id,
        domain_id=balancer.domain_id,
        domain_path=balancer.domain_path,
        created=call.now,
        **columns,
    )
    row = call.tx.get(table, id_)
    assert row is not None
    return row


def _listed(call: Call, table: sa.Table, render: Render) -> Rows:
    """The policies of a rule, or one policy with its rule."""
    policy = call.row(table, "id")
    if policy is None and not call.get("lbruleid"):
        raise Refused("Either lbruleid or id must be given")
    balancer = the_rule(call, "lbruleid") if call.get("lbruleid") else None
    if policy is not None:
        balancer = balancer or load_balancers.one(call.tx, policy.rule_id)
        if balancer is None or balancer.id != policy.rule_id:
            return Rows([], 0)
    assert balancer is not None
    found = [
        row
        for row in load_balancers.policies(call.tx, table, [balancer.id])
        if policy is None or row.id == policy.id
        if "fordisplay" not in call or bool(row.for_display) is call["fordisplay"]
    ]
    return slice_rows(call, [render(balancer, found)])


def _of(call: Call, table: sa.Table) -> tuple[Row, Row]:
    """The policy that `id` names, and its rule."""
    policy = call.need(table, "id")
    balancer = load_balancers.one(call.tx, policy.rule_id)
    if balancer is None:
        raise Refused(f"The load balancer of {call['id']} is no more")
    return policy, balancer


def _update(call: Call, table: sa.Table, about: str) -> Accepted:
    policy, balancer = _of(call, table)
    if "fordisplay" in call:
        call.tx.update(table, policy.id, for_display=call["fordisplay"])
    return Accepted((), call.about(about, policy), f"updating {policy.uuid} of load balancer {balancer.uuid}")


def _delete(call: Call, table: sa.Table, about: str) -> Accepted:
    policy, balancer = _of(call, table)
    call.tx.update(table, policy.id, removed=call.now)
    return _accepted(call, balancer, about, policy, "deleting")


def _finished(tx: Tx, job: Row, table: sa.Table, render: Render) -> dict[str, Any]:
    policy = tx.get(table, job.instance_id)
    balancer = load_balancers.one(tx, policy.rule_id) if policy is not None else None
    if policy is None or policy.removed is not None or balancer is None:
        return {"lbruleid": balancer.uuid} if balancer is not None else {}
    load_balancers.set_active(tx, balancer.id)
    return render(balancer, load_balancers.policies(tx, table, [balancer.id]))


# ---------------------------------------------------------------- stickiness
@handler("createLBStickinessPolicy")
def create_lb_stickiness_policy(call: Call) -> Reply:
    """Clients stay with their member from when the routers know how."""
    balancer = the_rule(call, "lbruleid")
    method, params = judge.stickiness(balancer.uuid, call["methodname"], judge.parameters(call.get("param") or ()))
    if load_balancers.policies(call.tx, tables.lb_stickiness, [balancer.id]):
        raise Refused(
            f"Failed to create Stickiness policy: Already two policies attached for the LB Rule id: {balancer.uuid}; delete"
            " the one that it has first"
        )
    row = _add(call, tables.lb_stickiness, balancer, name=call["name"], method=method.value, params=params)
    return _accepted(call, balancer, STICKINESS, row, "creating stickiness policy")


@handler("listLBStickinessPolicies")
def list_lb_stickiness_policies(call: Call) -> Reply:
    """The stickiness of a rule."""
    return _listed(call, tables.lb_stickiness, answers.stickiness)


@handler("updateLBStickinessPolicy")
def update_lb_stickiness_policy(call: Call) -> Reply:
    """Whether users are shown it."""
    return _update(call, tables.lb_stickiness, STICKINESS)


@handler("deleteLBStickinessPolicy")
def delete_lb_stickiness_policy(call: Call) -> Reply:
    """Clients go wherever the algorithm says."""
    return _delete(call, tables.lb_stickiness, STICKINESS)


@result("createLBStickinessPolicy", "updateLBStickinessPolicy")
def _stickiness_result(tx: Tx, job: Row) -> dict[str, Any]:
    return _finished(tx, job, tables.lb_stickiness, answers.stickiness)


# ---------------------------------------------------------------- health checks
@handler("createLBHealthCheckPolicy")
def create_lb_health_check_policy(call: Call) -> Reply:
    """Members are asked from when the routers have it."""
    balancer = the_rule(call, "lbruleid")
    check = judge.health_check(
        call.get("pingpath"),
        call.get("responsetimeout"),
        call.get("intervaltime"),
        call.get("healthythreshold"),
        call.get("unhealthythreshold"),
    )
    if load_balancers.policies(call.tx, tables.lb_health_check, [balancer.id]):
        raise Refused(f"Failed to create HealthCheck policy: Already policy attached for the LB Rule id: {balancer.uuid}")
    columns = {
        "ping_path": check.path,
        "response_s": check.response_s,
        "interval_s": check.interval_s,
        "healthy": check.healthy,
        "unhealthy": check.unhealthy,
    }
    row = _add(call, tables.lb_health_check, balancer, **columns)
    return _accepted(call, balancer, HEALTH_CHECK, row, "creating health check policy")


@handler("listLBHealthCheckPolicies")
def list_lb_health_check_policies(call: Call) -> Reply:
    """The health check of a rule."""
    return _listed(call, tables.lb_health_check, answers.health_checks)


@handler("updateLBHealthCheckPolicy")
def update_lb_health_check_policy(call: Call) -> Reply:
    """Whether users are shown it."""
    return _update(call, tables.lb_health_check, HEALTH_CHECK)


@handler("deleteLBHealthCheckPolicy")
def delete_lb_health_check_policy(call: Call) -> Reply:
    """Members are looked at by their port again."""
    return _delete(call, tables.lb_health_check, HEALTH_CHECK)


@result("createLBHealthCheckPolicy", "updateLBHealthCheckPolicy")
def _health_check_result(tx: Tx, job: Row) -> dict[str, Any]:
    return _finished(tx, job, tables.lb_health_check, answers.health_checks)
