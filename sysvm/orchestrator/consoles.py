"""Console sessions on the server's side: a proxy's load, and redeeming a browser's ticket.

A ticket works once and for a minute. It was bound to guest and user when it was made (api/commands/consoles); redeeming it
gives the proxy a grant for the relay of the guest's host, signed here and good for a minute.
"""

import sqlalchemy as sa

from sysvm.basics.errors import Refused, Why
from sysvm.orchestrator.context import Context
from sysvm.store import tables
from sysvm.store.queries import documents, events, settings
from sysvm.store.queries.consoles import ticket_hash
from sysvm.store.queries.events import About, Actor
from sysvm.store.queries.machines import machine_by_uuid
from sysvm.store.store import Row, Tx
from sysvm.wire.channel import ConsoleTarget, LoadReport, RedeemTicket
from sysvm.wire.grants import Grant, sign_grant
from sysvm.wire.machines import Runtime

GRANT_S = 60.0


def redeem(tx: Tx, context: Context, proxy: str, ask: RedeemTicket) -> ConsoleTarget:
    """Where the screen is. Raises Refused, with one text for every kind of bad ticket."""
    refused = Refused("this console ticket is unknown, used or expired; open the console again", Why.NOT_ALLOWED)
    table = tables.console_session
    session = tx.one(sa.select(table).where(table.c.ticket_hash == ticket_hash(ask.ticket)))
    if session is None or session.acquired is not None or session.ended is not None or session.ticket_until < tx.now:
        raise refused
    holder = machine_by_uuid(tx, proxy)
    if holder is None or holder.id != session.proxy_id:
        raise refused
    if settings.value(tx, "novnc.console.sourceip.check.enabled") and ask.client != session.creator_address:
        raise refused
    machine = tx.get(tables.machine, session.machine_id)
    if machine is None or machine.removed is not None or machine.power != "running" or machine.host_id is None:
        raise Refused("the machine is not running")
    tx.update(table, session.id, acquired=tx.now, client_address=ask.client, host_id=machine.host_id)
    _say(tx, session, machine)
    return _target(tx, context, session, machine)


def _target(tx: Tx, context: Context, session: Row, machine: Row) -> ConsoleTarget:
    host = tx.get(tables.host, machine.host_id)
    assert host is not None
    document = documents.host_document(tx, host, context.keys)
    kind = "text" if machine.runtime == Runtime.CONTAINER else "vnc"
    grant = Grant(guest=machine.uuid, machine=machine.uuid, kind=kind, session=session.uuid, expires=tx.now + GRANT_S)
    return ConsoleTarget(
        session=session.uuid,
        guest=machine.uuid,
        name=machine.display_name or machine.name,
        kind=kind,
        relay_host=document.management_address.split("/")[0],
        relay_port=document.relay_port,
        grant=sign_grant(context.keys.grant_key, grant),
    )


def _say(tx: Tx, session: Row, machine: Row) -> None:
    actor = Actor(session.user_id, session.account_id, session.domain_id, session.domain_path)
    events.record(
        tx,
        "VNC.CONNECT",
        f"Console of {machine.name} opened",
        actor=actor,
        about=About("VirtualMachine", machine.id, machine.uuid, machine.name),
    )


def load(tx: Tx, proxy: str, report: LoadReport) -> None:
    """What a proxy carries now; sessions that it no longer has are over."""
    machine = machine_by_uuid(tx, proxy)
    if machine is None:
        return
    tx.update(tables.machine, machine.id, sessions=len(report.sessions), reported=tx.now)
    if report.removed:
        table = tables.console_session
        over = sa.update(table).where(table.c.uuid.in_(report.removed), table.c.ended.is_(None))
        tx.change(over.values(ended=tx.now))
