"""A host's turn: its document (segments, relay, pools) is live; or its link is opened anew; or it leaves the cloud.

A host that was removed while it was linked is left clean: what runs there is stopped and removed (volumes stay), its
document becomes empty, its link is closed. Its certificates were revoked by whoever removed it, so it cannot come back.
When it cannot be brought to that, its link is closed all the same.
"""

import sqlalchemy as sa

from sysvm.basics.digest import digest
from sysvm.basics.edge import edge
from sysvm.basics.errors import Broken, NotYet, Refused, Unreachable
from sysvm.basics.log import get_logger
from sysvm.hub.links import Link
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.store import tables
from sysvm.store.queries import documents, jobs, links
from sysvm.store.queries.machines import machine_by_uuid
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.wire import link
from sysvm.wire.documents import HostDocument
from sysvm.wire.machines import MachineSeen

RECHECK_S = 600.0
REDIAL_S = 60.0
TRIES_TO_CLEAN = 4

log = get_logger()


async def work(context: Context, turn: Turn) -> Outcome:
    """Applies the document. The host compares it with what is live: applying it again changes nothing."""
    host = await context.store.read(lambda tx: tx.get(tables.host, turn.id))
    if host is None:
        return Gone()
    if host.removed is not None:
        return await _leave(context, turn, host)
    if await context.store.read(lambda tx: links.is_renewal_due(tx, host)):
        await context.links.to(host.id).call(link.RenewNow(), link.Nothing, seconds=60)
    if host.state == "Connecting" and host.link_session == context.session:
        context.links.drop(host.id)
        return Result(REDIAL_S, lambda tx: _unlink(tx, host.id))
    document = await context.store.read(lambda tx: documents.host_document(tx, host, context.keys))
    await edge("host before apply")
    report = await context.links.to(turn.id).call(link.ApplyHost(document=document), link.HostReport, seconds=60)
    if report.live != digest(document):
        raise Broken("; ".join(report.faults) or "the host has not made its document live")
    return Result(RECHECK_S, lambda tx: _applied(tx, turn, report.live))


def _applied(tx: Tx, turn: Turn, live: str) -> None:
    host = tx.get(tables.host, turn.id)
    if host is None or host.removed is not None:
        return
    why = host.why if host.resource_state != "Enabled" else ""  # how its maintenance stands is said there too
    tx.update(tables.host, turn.id, document_live=live, why=why)
    jobs.settle(tx, "host", turn.id, turn.wish, "live")


def _unlink(tx: Tx, id_: int) -> None:
    tx.update(tables.host, id_, link_session=None)
    tx.wake("host", id_)


# ---------------------------------------------------------------- leaving
async def _leave(context: Context, turn: Turn, host: Row) -> Outcome:
    if host.link_session == context.session and turn.tries <= TRIES_TO_CLEAN:
        await _clean(context, host)
    context.links.drop(host.id)
    log.info("host_left", host=host.uuid)
    return Gone(lambda tx: tx.update(tables.host, host.id, link_session=None, document_live=""))


async def _clean(context: Context, host: Row) -> None:
    """Nothing of the cloud runs there afterwards. Raises what makes the turn try again."""
    try:
        peer = context.links.to(host.id)
    except Unreachable:
        return
    try:
        looked = await peer.call(link.LookAll(), link.LookedAll, seconds=60)
        for seen in looked.machines:
            await _end(context, peer, seen)
        await peer.call(await _nothing(context, host), link.HostReport, seconds=60)
    except (Refused, NotYet) as why:
        raise Broken(f"host {host.name} could not be cleaned up: {why}") from why


async def _nothing(context: Context, host: Row) -> link.ApplyHost:
    cloud = await context.store.read(lambda tx: tx.value(sa.select(tables.cloud.c.uuid)))
    return link.ApplyHost(document=HostDocument(host=host.uuid, cloud=cloud))


async def _end(context: Context, peer: Link, seen: MachineSeen) -> None:
    machine = await context.store.read(lambda tx: machine_by_uuid(tx, seen.machine))
    if machine is None:
        return  # nobody's here: a sweep's, not ours
    for act in (
        link.EnsureStopped(incarnation=seen.incarnation, grace_s=0.0),
        link.EnsureRemoved(incarnation=seen.incarnation),
    ):
        await peer.call(link.Do(machine=seen.machine, fence=machine.fence + 1, act=act), link.Done, seconds=60)


def complain(tx: Tx, id_: int, why: str) -> None:
    """The reason stands in the host's row."""
    tx.update(tables.host, id_, why=why)
