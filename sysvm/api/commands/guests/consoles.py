"""The console of a machine: an address that a browser can open, once and within a minute."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers.times import stamp
from sysvm.api.call import Call, One, Reply
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows
from sysvm.api.rules.guests import KEYBOARD, KEYBOARDS
from sysvm.store import tables
from sysvm.store.queries import consoles
from sysvm.store.store import Row, Tx
from sysvm.systemvms.consoleproxy import host_name, page_url

LATER = "Console access will be ready in a few minutes. Please try it again later."


@handler("createConsoleEndpoint")
def create_console_endpoint(call: Call) -> Reply:
    """Success or not, the answer is 200: `success` and `details` tell."""
    machine = call.need(tables.machine, "virtualmachineid", check=False)
    refused = _refusal(call, machine)
    if refused:
        return One({"success": False, "details": refused})
    proxy = consoles.assign(call.tx, machine)
    if proxy is None:
        return One({"success": False, "details": LATER})
    extra = call.get("token", "")
    ticket = consoles.open_session(call.tx, call.ids, machine, proxy, call.caller.actor, call.caller.address, extra)
    told = (machine.details or {}).get(KEYBOARD, "")
    keyboard = told if told in KEYBOARDS else ""
    return One(_endpoint(call.tx, proxy, ticket, extra, keyboard))


def _refusal(call: Call, machine: Row) -> str:
    owned = call.caller.sees(machine.account_id, machine.domain_path)
    if not owned or (machine.kind != "guest" and not call.caller.is_root):
        return "Permission denied"
    if machine.power != "running":
        name = machine.display_name or machine.name
        return (
            f"Server Internal Error: VM {name} must be running to connect console, "
            "sending blank response for console access request"
        )
    return ""


def _endpoint(tx: Tx, proxy: Row, ticket: str, extra: str, keyboard: str) -> dict[str, Any]:
    secure = consoles.are_secure(tx, proxy.zone_id)
    domain = consoles.url_domain(tx, proxy.zone_id)
    address = consoles.public_address(tx, proxy.id)
    socket = {
        "token": ticket,
        "host": host_name(address, domain),
        "port": "8443" if secure else "8080",
        "path": "websockify",
    }
    if extra:
        socket["extra"] = extra
    return {
        "success": True,
        "url": page_url(address, domain, secure=secure, token=ticket, extra=extra, language=keyboard),
        "websocket": socket,
    }


@handler("listConsoleSessions")
def list_console_sessions(call: Call) -> Reply:
    """Sessions, by default those that are open."""
    table = tables.console_session
    query = sa.select(table)
    if call.get("activeonly", True):
        query = query.where(table.c.ended.is_(None), table.c.acquired.is_not(None))
    machine = call.row(tables.machine, "virtualmachineid")
    if machine is not None:
        query = query.where(table.c.machine_id == machine.id)
    return list_rows(call, query, table, _sessions)


def _sessions(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [_session(tx, row) for row in rows]


def _session(tx: Tx, row: Row) -> dict[str, Any]:
    machine, host = tx.get(tables.machine, row.machine_id), tx.get(tables.host, row.host_id or 0)
    user, account = tx.get(tables.user, row.user_id), tx.get(tables.account, row.account_id)
    domain = tx.get(tables.domain, row.domain_id)
    return {
        "id": row.uuid,
        "created": stamp(row.created),
        "acquired": stamp(row.acquired),
        "removed": stamp(row.ended),
        "domain": domain.name if domain else None,
        "domainid": domain.uuid if domain else None,
        "account": account.name if account else None,
        "user": user.username if user else None,
        "userid": user.uuid if user else None,
        "virtualmachineid": machine.uuid if machine else None,
        "virtualmachinename": machine.display_name or machine.name if machine else None,
        "hostid": host.uuid if host else None,
        "hostname": host.name if host else None,
        "consoleendpointcreatoraddress": row.creator_address or None,
        "clientaddress": row.client_address or None,
        "roundtripms": row.round_trip_us / 1000 if row.round_trip_us is not None else None,
    }
