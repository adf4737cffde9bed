"""runDiagnostics (ping, traceroute, arping from inside a system VM) and getDiagnosticsData (its files): tasks of its agent."""

import ipaddress
import json
import re
from typing import Any

import msgspec
import sqlalchemy as sa

from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.handlers import handler, result
from sysvm.api.results import open_secret
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import image_links, keys, machine_rows, settings, turns
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx
from sysvm.wire.channel import Diagnose

KINDS = ("ping", "traceroute", "arping")
DEADLINE_S = 300.0
_harmless = re.compile(r"[\w\-\s.]*")
_hostname = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)


def _target(call: Call) -> Row:
    row = call.need(tables.machine, "targetid")
    if row.kind == "guest":
        raise Refused(f"Unable to find a system vm: {call['targetid']}")
    return running(row)


def running(row: Row) -> Row:
    """The machine, if its agent can be asked. Raises Refused."""
    state = machine_rows.state_of(row)
    if state != "Running":
        raise Refused(f"Unable to execute diagnostics on {row.name}: it is {state}, it must be Running", Why.UNAVAILABLE)
    return row


@handler("runDiagnostics")
def run_diagnostics(call: Call) -> Reply:
    """Exit code and output of one command."""
    row = _target(call)
    kind = call["type"].strip().lower()
    if kind not in KINDS:
        raise Refused(f"Invalid diagnostics type {call['type']}; use one of {', '.join(KINDS)}")
    params = call.get("params", "")
    if not _harmless.fullmatch(params):
        raise Refused("Illegal argument passed as optional parameters: please do not use special characters")
    body = Diagnose(kind=kind, address=_destination(call["ipaddress"]), params=params)
    part = open_task(call, row, "diagnose", body)
    event = {"consoleproxy": "PROXY.DIAGNOSTICS", "secstorage": "SSVM.DIAGNOSTICS"}.get(row.kind, "ROUTER.DIAGNOSTICS")
    about = call.about("SystemVm", row)
    return Accepted((part,), about, f"running {kind} on system vm: {row.uuid}", {"task": part.id}, event=event)


def _destination(text: str) -> str:
    wanted = text.strip()
    try:
        return str(ipaddress.ip_address(wanted))
    except ValueError:
        if _hostname.fullmatch(wanted):
            return wanted
    raise Refused(f"{text} is not a valid IP address or host name")


def open_task(call: Call, row: Row, kind: str, body: object, seconds: float = DEADLINE_S) -> Part:
    """A task for a machine's agent; what to wait for."""
    task = call.tx.insert(
        tables.task,
        uuid=call.ids.uuid(),
        kind=kind,
        machine_id=row.id,
        body=msgspec.json.encode(body).decode(),
        error="",
        deadline=call.now + seconds,
        created=call.now,
    )
    return Part("task", task, turns.wish(call.tx, "task", task), "done")


@result("runDiagnostics")
def _diagnosed(tx: Tx, job: Row) -> dict[str, Any]:
    part = tables.job_part
    task_id = tx.value(part.select().with_only_columns(part.c.thing_id).where(part.c.job_id == job.id))
    task = tx.get(tables.task, task_id)
    found = json.loads(task.result or "{}") if task is not None else {}
    return {
        "exitcode": str(found.get("exit_code", -1)),
        "stdout": found.get("stdout", ""),
        "stderr": found.get("stderr", ""),
    }


@handler("getDiagnosticsData", reads=False)
def get_diagnostics_data(call: Call) -> Reply:
    """Files of a system VM as a zip, at an address of the zone's secondary storage VM."""
    row = _target(call)
    store = _store(call, row)
    body = {"files": [name.strip() for name in call.get("files", ()) if name.strip()], "store": store.uuid}
    key = call.vault.seal(keys.ticket_key(call.tx, call.vault, call.ids))
    seconds = float(settings.value(call.tx, "diagnostics.data.retrieval.timeout"))
    part = open_task(call, row, "collect", body, seconds)
    event = {"consoleproxy": "PROXY.DIAGNOSTICS", "secstorage": "SSVM.DIAGNOSTICS"}.get(row.kind, "ROUTER.DIAGNOSTICS")
    text = f"collecting diagnostics data of system vm: {row.uuid}"
    return Accepted((part,), call.about("SystemVm", row), text, {"task": part.id, "key": key}, secret=True, event=event)


def _store(call: Call, row: Row) -> Row:
    """The image store of the zone that takes the archive."""
    table, most = tables.image_store, float(settings.value(call.tx, "diagnostics.data.disable.threshold"))
    stores = call.tx.all(
        sa.select(table)
        .where(table.c.zone_id == row.zone_id, table.c.removed.is_(None), table.c.read_only.is_(False))
        .order_by(table.c.id)
    )
    free = [store for store in stores if not store.capacity_bytes or store.used_bytes <= most * store.capacity_bytes]
    if not free:
        why = "is full beyond diagnostics.data.disable.threshold" if stores else "takes no files: it has no image store"
        raise Refused(f"Secondary storage of the zone {why}", Why.UNAVAILABLE)
    return free[0]


@result("getDiagnosticsData")
def _collected(tx: Tx, job: Row) -> dict[str, Any]:
    part = tables.job_part
    task_id = tx.value(part.select().with_only_columns(part.c.thing_id).where(part.c.job_id == job.id))
    task = tx.get(tables.task, task_id)
    machine = tx.get(tables.machine, job.instance_id)
    assert task is not None and machine is not None
    kept = json.loads(task.result)
    keeper = image_links.door(tx, kept["zone"])
    if keeper is None:
        return {"url": None}
    file = image_links.file_name(f"diagnostics-{machine.name}", "zip")
    stored = image_links.Stored(kept["image"], kept["sha256"], kept["store"], kept["zone"], file)
    return {"url": image_links.link(tx, open_secret(job.params["key"]), stored, keeper)}
