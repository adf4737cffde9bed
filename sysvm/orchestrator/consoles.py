"""Console sessions on the server's side: a browser's ticket, the page that comes back, a proxy's load.

A ticket works once and for a minute. It was bound to guest and user when it was made (api/commands/consoles); redeeming it
gives the proxy a grant for the relay of the guest's host, signed here and good for a minute, and the page a secret to come
back with: through the same proxy or another one, as often as it likes, each time with the secret it was given last. An answer
may be lost on its way to the page, so the secret before works, too, until the page has used the new one.

Races thought of: a proxy tells of a session's end after its page has gone on elsewhere (only the session's own proxy may end
it); a proxy dies and tells nothing (its next report lacks the session, or the page comes back).
"""

import sqlalchemy as sa

from sysvm.basics.errors import NotYet, Refused, Why
from sysvm.orchestrator.context import Context
from sysvm.store import tables
from sysvm.store.queries import documents, events, settings
from sysvm.store.queries.consoles import ticket_hash, url_domain
from sysvm.store.queries.events import About, Actor
from sysvm.store.queries.machines import machine_by_uuid
from sysvm.store.store import Row, Tx
from sysvm.wire.channel import ConsoleTarget, LoadReport, RedeemTicket, ResumeSession
from sysvm.wire.grants import Grant, sign_grant
from sysvm.wire.machines import Kind, Runtime

GRANT_S = 60.0
RESUME_S = 300.0  # how long after its connection was lost a session may come back
REPORT_LAG_S = 10.0  # no report is under way for longer


def redeem(tx: Tx, context: Context, proxy: str, ask: RedeemTicket) -> ConsoleTarget:
    """Where the screen is. Raises Refused, with one text for every kind of bad ticket."""
    refused = Refused("this console ticket is unknown, used or expired; open the console again", Why.NOT_ALLOWED)
    table = tables.console_session
    session = tx.one(sa.select(table).where(table.c.ticket_hash == ticket_hash(ask.ticket)))
    if session is None or session.acquired is not None or session.ended is not None or session.ticket_until < tx.now:
        raise refused
    holder = machine_by_uuid(tx, proxy)
    if holder is None or not _may_serve(tx, session, holder) or _is_elsewhere(tx, session, ask.client):
        raise refused
    machine = _running(tx, session)
    secret = _attach(tx, context, session, holder, ask.client, before=None)
    tx.update(table, session.id, acquired=tx.now, host_id=machine.host_id)
    _say(tx, session, machine)
    return _target(tx, context, session, machine, secret)


def resume(tx: Tx, context: Context, proxy: str, ask: ResumeSession) -> ConsoleTarget:
    """The same session again, wherever its screen is now. Raises Refused, with one text for every kind of bad secret."""
    refused = Refused("this console session is over; open the console again", Why.NOT_ALLOWED)
    table, shown = tables.console_session, ticket_hash(ask.secret)
    known = sa.or_(table.c.resume_hash == shown, table.c.resume_before == shown)
    session = tx.one(sa.select(table).where(known))
    holder = machine_by_uuid(tx, proxy)
    if session is None or holder is None or not _may_come_back(tx, session) or _is_elsewhere(tx, session, ask.client):
        raise refused
    if not _is_neighbour(tx, session, holder):
        raise refused
    machine = _running(tx, session)
    secret = _attach(tx, context, session, holder, ask.client, before=shown)
    tx.update(tables.machine, machine.id, console_proxy_id=holder.id, console_assigned=tx.now)
    return _target(tx, context, session, machine, secret)


def _may_serve(tx: Tx, session: Row, holder: Row) -> bool:
    """The proxy that the ticket is for; or any of the zone where all have one name and a balancer chooses."""
    domain = url_domain(tx, holder.zone_id)
    balanced = bool(domain) and not domain.startswith("*.")
    return holder.id == session.proxy_id or (balanced and _is_neighbour(tx, session, holder))


def _is_neighbour(tx: Tx, session: Row, holder: Row) -> bool:
    return bool(holder.kind == Kind.CONSOLE_PROXY and holder.zone_id == _zone_of(tx, session))


def _is_elsewhere(tx: Tx, session: Row, client: str) -> bool:
    checked = bool(settings.value(tx, "novnc.console.sourceip.check.enabled"))
    return checked and client != session.creator_address


def _may_come_back(tx: Tx, session: Row) -> bool:
    """Not long after it was lost, and while its user may still do anything here."""
    user, account = tx.get(tables.user, session.user_id), tx.get(tables.account, session.account_id)
    lost_s = tx.now - session.ended if session.ended is not None else 0.0
    return lost_s <= RESUME_S and all(
        who is not None and who.removed is None and who.state == "enabled" for who in (user, account)
    )


def _zone_of(tx: Tx, session: Row) -> int | None:
    machine = tx.get(tables.machine, session.machine_id)
    return machine.zone_id if machine is not None else None


def _running(tx: Tx, session: Row) -> Row:
    machine = tx.get(tables.machine, session.machine_id)
    if machine is None or machine.removed is not None or machine.power != "running" or machine.host_id is None:
        raise NotYet(1, "the machine is not running")
    return machine


def _attach(tx: Tx, context: Context, session: Row, proxy: Row, client: str, before: str | None) -> str:
    """The session is at this proxy now; answers the secret to come back with."""
    secret = context.ids.token(32)
    tx.update(
        tables.console_session,
        session.id,
        proxy_id=proxy.id,
        client_address=client,
        attached=tx.now,
        ended=None,
        resume_hash=ticket_hash(secret),
        resume_before=before,
    )
    return secret


def _target(tx: Tx, context: Context, session: Row, machine: Row, secret: str) -> ConsoleTarget:
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
        resume=secret,
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
    """What a proxy carries now; sessions of it that it has no longer are over."""
    machine = machine_by_uuid(tx, proxy)
    if machine is None:
        return
    tx.update(tables.machine, machine.id, sessions=len(report.sessions), reported=tx.now)
    table = tables.console_session
    here = {session.session: session for session in report.sessions}
    for row in tx.all(sa.select(table).where(table.c.proxy_id == machine.id, table.c.ended.is_(None))):
        session = here.get(row.uuid)
        if session is not None and session.round_trip_ms is not None:
            tx.update(table, row.id, round_trip_us=round(session.round_trip_ms * 1000))
        elif session is None and row.attached is not None and _is_over(tx, row, report):
            tx.update(table, row.id, ended=tx.now)


def _is_over(tx: Tx, session: Row, report: LoadReport) -> bool:
    """A report may have been written before the session began, unless it names the end."""
    return session.uuid in report.removed or tx.now - session.attached > REPORT_LAG_S
