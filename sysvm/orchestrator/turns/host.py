"""A host's turn: its document (segments, relay, pools) is live."""

from sysvm.basics.digest import digest
from sysvm.basics.edge import edge
from sysvm.basics.errors import Broken
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.store import tables
from sysvm.store.queries import documents
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Tx
from sysvm.wire.documents import HostDocument
from sysvm.wire.link import ApplyHost, HostReport

RECHECK_S = 600.0


async def work(context: Context, turn: Turn) -> Outcome:
    """Applies the document. The host compares it with what is live: applying it again changes nothing."""
    document = await context.store.read(lambda tx: _document(tx, context, turn.id))
    if document is None:
        return Gone()
    await edge("host before apply")
    report = await context.links.to(turn.id).call(ApplyHost(document=document), HostReport, seconds=60)
    if report.live != digest(document):
        raise Broken("; ".join(report.faults) or "the host has not made its document live")
    return Result(RECHECK_S, lambda tx: tx.update(tables.host, turn.id, document_live=report.live, why=""))


def _document(tx: Tx, context: Context, id_: int) -> HostDocument | None:
    host = tx.get(tables.host, id_)
    if host is None or host.removed is not None:
        return None
    return documents.host_document(tx, host, context.keys)


def complain(tx: Tx, id_: int, why: str) -> None:
    """The reason stands in the host's row."""
    tx.update(tables.host, id_, why=why)
