"""A host's sweep: what it has that is in no record is stopped, listed, kept for `sweep.grace`, and then removed.

Not here: what a stray is, and adoption after a recovery (store/queries/strays). Volumes are never swept. A host that has
obeyed a higher epoch refuses our acts, a rolled-back database (read-only) plans none.

Races thought of: a machine that is placed while the host looks has its row before anything of it is on the host, and rows
are read after the look. Acts carry the fence that the look showed: whoever has raised it since is right, and we are stale.
"""

from sysvm.basics.edge import edge
from sysvm.basics.errors import Stale
from sysvm.basics.log import get_logger
from sysvm.hub.links import Link
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.store import tables
from sysvm.store.queries import strays, turns
from sysvm.store.queries.strays import Strays
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.wire import link
from sysvm.wire.machines import MachineSeen

EVERY_S = 600.0
GRACE_S = 10.0
LOOK_S = 60.0
ACT_S = 120.0

log = get_logger()


async def work(context: Context, turn: Turn) -> Outcome:
    """One look at everything on a host."""
    host = await context.store.read(lambda tx: tx.get(tables.host, turn.id))
    if host is None or host.removed is not None:
        return Gone()
    peer = context.links.to(host.id)
    looked = await peer.call(link.LookAll(), link.LookedAll, seconds=LOOK_S)
    await edge("sweep looked")
    found = await context.store.run(lambda tx: _compare(tx, context, turn, host, looked))
    await _clear(peer, found)
    return Result(0.0 if found.stop or found.remove else EVERY_S)


def _compare(tx: Tx, context: Context, turn: Turn, host: Row, looked: link.LookedAll) -> Strays:
    if not turns.holds(tx, context.session, turn):
        raise Stale("another server sweeps this host now")
    return strays.compare(tx, host, looked.machines)


async def _clear(peer: Link, found: Strays) -> None:
    for seen in found.stop:
        await _do(peer, seen, link.EnsureStopped(incarnation=seen.incarnation, grace_s=GRACE_S))
        log.warning("stray_stopped", machine=seen.machine, incarnation=seen.incarnation)
    for seen in found.remove:
        await _do(peer, seen, link.EnsureRemoved(incarnation=seen.incarnation))
        log.warning("stray_removed", machine=seen.machine, incarnation=seen.incarnation)


async def _do(peer: Link, seen: MachineSeen, act: link.ActBody) -> None:
    await peer.call(link.Do(machine=seen.machine, fence=seen.fence, act=act), link.Done, seconds=ACT_S)


def complain(tx: Tx, id_: int, why: str) -> None:
    """A host that cannot be swept says so elsewhere: its own turn looks at it too."""
