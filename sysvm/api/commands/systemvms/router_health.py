"""getRouterHealthCheckResults: what a router has found of itself, or finds now.

Results come by themselves (store/queries/router_health.py). Asked for fresh ones, the router makes all checks now, and the answer
waits for them, at most WAIT_S: a router that cannot answer in that time is answered for with what is known.
"""

import asyncio
import json
from typing import Any

import msgspec
import sqlalchemy as sa

from sysvm.api.answers import routers as answers
from sysvm.api.before import Before
from sysvm.api.call import Call, One, Reply
from sysvm.api.commands.systemvms.routers import the_router
from sysvm.api.handlers import handler
from sysvm.basics.errors import Refused, Why
from sysvm.basics.ids import SystemIds
from sysvm.store import tables
from sysvm.store.queries import machine_rows, router_health, turns
from sysvm.store.store import Tx
from sysvm.wire.health import CheckHealth, HealthReport

WAIT_S = 20.0
_LOOK_S = 0.2
_ids = SystemIds()


async def make_them(before: Before) -> str | None:
    """The router's answer, as the task has it; None where nobody asked for one, or none came."""
    if not before.params.get("performfreshchecks"):
        return None
    uuid = str(before.params.get("routerid"))
    task = await before.store.run(lambda tx: _order(tx, uuid))
    if task is None:
        return None
    for _ in range(int(WAIT_S / _LOOK_S)):
        row = await before.store.read(lambda tx: tx.get(tables.task, task))
        if row is None or row.state in ("done", "failed"):
            return row.result if row is not None else None
        await asyncio.sleep(_LOOK_S)
    return None


def _order(tx: Tx, uuid: str) -> int | None:
    """A task for the router's agent; None for what is no running router (the handler says so)."""
    row = tx.one(sa.select(tables.machine).where(tables.machine.c.uuid == uuid, tables.machine.c.removed.is_(None)))
    if row is None or row.kind != "router" or machine_rows.state_of(row) != "Running" or not router_health.is_enabled(tx):
        return None
    task = tx.insert(
        tables.task,
        uuid=_ids.uuid(),
        kind="health",
        machine_id=row.id,
        body=msgspec.json.encode(CheckHealth()).decode(),
        error="",
        deadline=tx.now + WAIT_S,
        created=tx.now,
    )
    turns.wish(tx, "task", task)
    return task


@handler("getRouterHealthCheckResults", reads=False, before=make_them)
def get_router_health_check_results(call: Call) -> Reply:
    """Every check with its newest result and the evidence."""
    row = the_router(call, "routerid")
    if not router_health.is_enabled(call.tx):
        raise Refused(f"Router health checks are not enabled for router: {row.name}", Why.INTERNAL)
    if call.extra is not None:
        found: dict[str, Any] = json.loads(call.extra)
        router_health.heard(call.tx, row.uuid, msgspec.convert(found, HealthReport))
    known = router_health.of(call.tx, [row.id]).get(row.id, router_health.NOTHING)
    return One({"routerid": row.uuid, "healthchecks": answers.checks(known)})
