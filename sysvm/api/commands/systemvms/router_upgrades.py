"""upgradeRouterTemplate: running routers of a scope that would be made of another template now live their next incarnation.

Each is a job of its own, as rebootRouter; all begin at once, and how many are replaced at the same time is the orchestrator's.
"""

import sqlalchemy as sa

from sysvm.api.call import Call, Reply, Rows
from sysvm.api.commands.systemvms.routers import ABOUT, the_router
from sysvm.api.handlers import handler
from sysvm.basics.errors import NotYet, Refused
from sysvm.store import tables
from sysvm.store.queries import jobs, links, machine_rows, machines, system_templates
from sysvm.store.store import Row, Tx

SCOPES = ("id", "zoneid", "podid", "clusterid", "domainid")
MANY = "Multiple parameters not supported. Specify only one among routerId/zoneId/podId/clusterId/accountId/domainId"


@handler("upgradeRouterTemplate")
def upgrade_router_template(call: Call) -> Reply:
    """A job for each router that is replaced; none when all are up to date."""
    rows = [row for row in _chosen(call) if machine_rows.state_of(row) == "Running" and is_outdated(call.tx, row)]
    found = [{"jobid": _replaced(call, row)} for row in rows]
    return Rows(found, len(found))


def _replaced(call: Call, row: Row) -> str:
    part = machines.replace(call.tx, row)
    text = f"upgrading the template of router Vm Id: {row.uuid}"
    new = jobs.NewJob("rebootRouter", call.caller.actor, (part,), {}, call.about(ABOUT, row), "ROUTER.REBOOT", text)
    return jobs.open_job(call.tx, new)


def is_outdated(tx: Tx, row: Row) -> bool:
    """Whether its host would make its next incarnation from another template."""
    host = tx.get(tables.host, row.host_id) if row.host_id is not None else None
    facts = links.facts_of(host) if host is not None else None
    if host is None or facts is None or not (facts.templates and row.runtime):
        return False
    try:
        version: str = system_templates.chosen(tx, row, host, facts.templates, row.runtime).version
    except NotYet:  # another one, which the host takes in meanwhile
        return True
    return bool(version != row.template_version)


def _chosen(call: Call) -> list[Row]:
    given = [name for name in SCOPES if call.get(name)]
    if len(given) > 1:
        raise Refused(MANY)
    if not given:
        raise Refused("Missing parameter: specify one of id, zoneid, podid, clusterid, domainid")
    if given[0] == "id":
        return [the_router(call)]
    machine = tables.machine
    routers = sa.select(machine).where(machine.c.kind == "router", machine.c.removed.is_(None), _scope(call, given[0]))
    return list(call.tx.all(routers.order_by(machine.c.id)))


def _scope(call: Call, name: str) -> sa.ColumnElement[bool]:
    machine, host = tables.machine.c, tables.host.c
    match name:
        case "zoneid":
            return sa.and_(machine.zone_id == call.need(tables.zone, name).id)
        case "podid":
            return machine.host_id.in_(sa.select(host.id).where(host.pod_id == call.need(tables.pod, name).id))
        case "clusterid":
            return machine.host_id.in_(sa.select(host.id).where(host.cluster_id == call.need(tables.cluster, name).id))
    account = call.named_account()
    if account is not None:
        return sa.and_(machine.account_id == account.id)
    return machine.domain_path.startswith(call.need(tables.domain, name).id_path, autoescape=True)
