"""The security groups of a host: its document is live. A turn for each host that has guests in groups, under the host's id.

Beside the host's own turn and not a part of it: members and rules change often, segments and pools do not.
"""

from sysvm.basics.digest import digest
from sysvm.basics.edge import edge
from sysvm.basics.errors import Broken
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.store import tables
from sysvm.store.queries import jobs, security_groups
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Tx
from sysvm.wire import link

RECHECK_S = 600.0


async def work(context: Context, turn: Turn) -> Outcome:
    """Tells the host, which compares it with what its kernel has: telling it again changes nothing."""
    host = await context.store.read(lambda tx: tx.get(tables.host, turn.id))
    if host is None or host.removed is not None:
        return Gone(lambda tx: jobs.settle(tx, security_groups.KIND, turn.id, turn.wish, "live"))
    document = await context.store.read(lambda tx: security_groups.document(tx, host))
    await edge("security groups before apply")
    order = link.ApplySecurityGroups(document=document)
    report = await context.links.to(host.id).call(order, link.HostReport, seconds=60)
    if report.live != digest(document):
        raise Broken("; ".join(report.faults) or "the host has not made its security groups live")
    return Result(RECHECK_S, lambda tx: jobs.settle(tx, security_groups.KIND, turn.id, turn.wish, "live"))


def complain(tx: Tx, id_: int, why: str) -> None:
    """The reason stands in the host's row."""
    tx.update(tables.host, id_, why=f"security groups: {why}")
