"""explainPacket and getRouterRules: what the live rules of a router do, asked of its agent (a task).

Neither is CloudStack's. Whoever may see a network may ask about its packets; the rules as a whole are for administrators.
"""

import ipaddress
import json
from typing import Any

import sqlalchemy as sa

from sysvm.api.call import Accepted, Call, Reply
from sysvm.api.commands.systemvms.diagnostics import open_task, running
from sysvm.api.commands.systemvms.routers import the_router
from sysvm.api.handlers import handler, result
from sysvm.basics.errors import Refused, Why
from sysvm.store import tables
from sysvm.store.queries import machine_rows, machines
from sysvm.store.store import Row, Tx
from sysvm.wire.explaining import ExplainPacket, ShowRules

EVENT = "ROUTER.DIAGNOSTICS"
ABOUT = "DomainRouter"
PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58}
WITH_PORTS = (6, 17, 33, 132, 136)
ECHO = {1: 8, 58: 128}


@handler("explainPacket")
def explain_packet(call: Call) -> Reply:
    """Which way a packet would take through a router, and which rule decides."""
    body = _packet(call)
    row = _router(call)
    part = open_task(call, row, "explain", body)
    text = f"explaining a packet from {body.source} to {body.destination} in router: {row.uuid}"
    return Accepted((part,), call.about(ABOUT, row), text, {"task": part.id}, event=EVENT)


def _router(call: Call) -> Row:
    if ("id" in call) == ("networkid" in call):
        raise Refused("Specify either the id of a router or a networkid")
    if "id" in call:
        return running(the_router(call))
    network = call.need(tables.network, "networkid")
    for row in machines.routers_of(call.tx, network.id):
        if machine_rows.state_of(row) == "Running":
            return row
    raise Refused(f"Network {network.name} has no running router", Why.UNAVAILABLE)


def _packet(call: Call) -> ExplainPacket:
    protocol = _protocol(call["protocol"])
    source, destination = _address(call, "source"), _address(call, "destination")
    if source.version != destination.version:
        raise Refused(f"{source} and {destination} are not of one family")
    port = _number(call, "port", 65535, 0)
    if protocol in WITH_PORTS and not port:
        raise Refused("Packets of this protocol have a port: specify it, from 1 to 65535")
    return ExplainPacket(
        source=str(source),
        destination=str(destination),
        protocol=protocol,
        port=port,
        source_port=_number(call, "sourceport", 65535, 40000 if protocol in WITH_PORTS else 0),
        icmp_type=_number(call, "icmptype", 255, ECHO.get(protocol, 0)),
        icmp_code=_number(call, "icmpcode", 255, 0),
    )


def _protocol(text: str) -> int:
    word = text.strip().lower()
    if word.isdecimal() and int(word) <= 255:
        return int(word)
    if word not in PROTOCOLS:
        raise Refused(f"Invalid protocol {text}: use {', '.join(PROTOCOLS)} or the number of a protocol")
    return PROTOCOLS[word]


def _address(call: Call, name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(call[name].strip())
    except ValueError:
        raise Refused(f"Invalid {name} {call[name]}: it is no IP address") from None


def _number(call: Call, name: str, most: int, default: int) -> int:
    given = call.get(name, default)
    if not 0 <= given <= most:
        raise Refused(f"Invalid {name} {given}: use 0 to {most}")
    return int(given)


@result("explainPacket")
def _explained(tx: Tx, job: Row) -> dict[str, Any]:
    row, found = of_task(tx, job)
    return {
        "routerid": row.uuid,
        "routername": row.name,
        "verdict": str(found.get("fate", "unknown")).upper(),
        "explanation": found.get("words", ""),
        **_rule(found),
        "source": found.get("source"),
        "sourceport": found.get("source_port") or None,
        "destination": found.get("destination"),
        "port": found.get("port") or None,
        "arrives": found.get("arrives") or None,
        "leaves": found.get("leaves") or None,
        "steps": [_step(step) for step in found.get("steps", ())],
    }


def _step(step: dict[str, Any]) -> dict[str, Any]:
    named = {name: step.get(name) or None for name in ("place", "effect", "table", "chain")}
    return {**named, "explanation": step.get("words", ""), "rule": step.get("text") or None, **_rule(step)}


def _rule(found: dict[str, Any]) -> dict[str, Any]:
    return {"ruleid": found.get("rule") or None, "ruletype": found.get("kind") or None}


@handler("getRouterRules", reads=False)
def get_router_rules(call: Call) -> Reply:
    """The live rules of a router, each with the rule of the API that stands behind it."""
    row = running(the_router(call))
    part = open_task(call, row, "rules", ShowRules())
    return Accepted((part,), call.about(ABOUT, row), f"reading the rules of router: {row.uuid}", {"task": part.id})


@result("getRouterRules")
def _shown(tx: Tx, job: Row) -> dict[str, Any]:
    row, found = of_task(tx, job)
    rules = [
        {"table": each["table"], "place": each["place"], "rule": each["text"], **_rule(each)} for each in found.get("rules", ())
    ]
    return {"routerid": row.uuid, "routername": row.name, "omitted": found.get("cut", 0), "rules": rules}


def of_task(tx: Tx, job: Row) -> tuple[Row, dict[str, Any]]:
    """The machine that a finished job's task was for, and what it answered."""
    part = tables.job_part
    task_id = tx.value(sa.select(part.c.thing_id).where(part.c.job_id == job.id))
    task = tx.get(tables.task, task_id)
    machine = tx.get(tables.machine, job.instance_id)
    assert task is not None and machine is not None
    return machine, json.loads(task.result or "{}")
