"""A volume's turn: its bytes are what its row says, on the host where it is.

    revert_id                       it holds what the snapshot holds, whatever it held before
    Creating, made from a snapshot  the same, once
    Creating, uploaded              the same, of what is on the image store; which is not needed there any longer
    Creating, empty                 it exists
    Resizing                        it is at least so large (that of a running guest grows through its guest's driver)
    Migrating                       it is made where it goes, of what its capture has brought to the image store; then it is gone
                                    where it was
    removed                         it is gone

A guest does not start while a volume of it is being filled (store/queries/volumes.why_wait), so nothing is overwritten behind
anybody's back. A root volume that is still to be made of its template is left to its guest's start, which also brings the
template.
"""

from dataclasses import dataclass

from sysvm.basics.edge import edge
from sysvm.basics.errors import Broken
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import hosttasks
from sysvm.orchestrator.turns.notes import in_note_of
from sysvm.store import tables
from sysvm.store.queries import jobs, machines, turns, volume_images, volumes
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.wire import link
from sysvm.wire.machines import OperationState

LOOK_S = 1.0
NOTHING = ("", None)  # is to be done
complain = in_note_of(tables.volume)


@dataclass(frozen=True, slots=True)
class Order:
    """What its host has to do."""

    host: int
    pool: str
    volume: Row
    what: str  # remove | ensure | fill | revert | move | leave
    chain: hosttasks.Chain | None = None


async def work(context: Context, turn: Turn) -> Outcome:
    """One look at the volume."""
    row = await context.store.read(lambda tx: tx.get(tables.volume, turn.id))
    if row is None:
        return Gone()
    order = await context.store.read(lambda tx: plan(tx, row))
    if row.state == "Migrating" and order is None:
        return Gone()  # its capture wakes it
    if order is None:
        return Gone(lambda tx: _served(tx, turn, "ready"))
    name = f"volume:{turn.id}:{order.what}:{turn.wish}"
    await edge("volume before task")
    seen = await hosttasks.run(context, turn, order.host, name, _body(context, order))
    if seen.state is OperationState.RUNNING:
        return Result(LOOK_S, lambda tx: jobs.prolong(tx, "volume", turn.id))
    if seen.state is OperationState.FAILED:
        await hosttasks.forget(context, order.host, name)
        raise Broken(seen.error)
    # Whoever dies here does it again, which changes nothing: no guest may have begun to write.
    await hosttasks.forget(context, order.host, name)
    await edge("volume before release")
    return Gone(lambda tx: made(tx, turn, order))


def plan(tx: Tx, row: Row) -> Order | None:
    """What is to be done; None: nothing."""
    what, source = _what(row)
    there = _place(tx, row.move_host_id, row.move_pool_id)
    if what == "leave" and there is None:
        what, source = _wanted(row)
    place = there if what in ("move", "leave") else _place(tx, row.host_id, row.pool_id)
    if not what or place is None:
        return None
    if what == "move":
        capture = volumes.captured(tx, row)
        return Order(*place, row, what, hosttasks.chain_of(tx, capture, row.zone_id)) if capture is not None else None
    return Order(*place, row, what, _chain(tx, row, source) if what in ("fill", "revert") else None)


def _place(tx: Tx, host_id: int | None, pool_id: int | None) -> tuple[int, str] | None:
    host = tx.get(tables.host, host_id) if host_id is not None else None
    pool = tx.get(tables.storage_pool, pool_id) if pool_id is not None else None
    return (host.id, pool.path) if host is not None and host.removed is None and pool is not None else None


def _chain(tx: Tx, row: Row, source: int | None) -> hosttasks.Chain | None:
    if source is None:
        return hosttasks.uploaded(tx, row)
    snapshot = tx.get(tables.snapshot, source)
    return hosttasks.chain_of(tx, snapshot, row.zone_id) if snapshot is not None else None


def _what(row: Row) -> tuple[str, int | None]:
    if row.state == "Migrating" and row.removed is None:
        return "move", None
    return ("leave", None) if row.move_host_id is not None else _wanted(row)


def _wanted(row: Row) -> tuple[str, int | None]:
    if row.removed is not None:
        return "remove", None
    if row.revert_id is not None:
        return "revert", row.revert_id
    if row.state == "Creating" and row.snapshot_id is not None:
        return "fill", row.snapshot_id
    if row.state == "Creating" and row.image_id is not None:
        return "fill", None
    if row.state == "Resizing" or (row.state == "Creating" and row.template_id is None):
        return "ensure", None
    return NOTHING


def _body(context: Context, order: Order) -> link.HostTaskBody:
    row, pool = order.volume, order.pool
    match order.what:
        case "remove" | "leave":
            return link.RemoveVolume(pool=pool, volume=row.uuid, format=row.format)
        case "ensure":
            return link.EnsureVolume(pool=pool, volume=row.uuid, size=row.size_bytes, format=row.format)
        case _:
            assert order.chain is not None
            return link.RestoreVolume(
                pool=pool,
                volume=row.uuid,
                size=row.size_bytes,
                chain=hosttasks.sources(context, order.chain, pool),
                replace=order.what in ("revert", "move"),
            )


def made(tx: Tx, turn: Turn, order: Order) -> None:
    """The host has done it: what the row says of it from now on, and who has waited for it."""
    row = tx.get(tables.volume, turn.id)
    if row is None:
        return
    if _what(row) != _what(order.volume):
        if _what(row) == NOTHING:  # its guest's start has made it meanwhile
            _served(tx, turn, "ready")
        return  # another wish meanwhile is another piece of work, and the next turn's
    if order.what == "leave":
        tx.update(tables.volume, row.id, move_host_id=None, move_pool_id=None)
        turns.wish(tx, "volume", row.id, host=row.host_id)
        return
    if order.what == "remove":
        jobs.settle(tx, "volume", turn.id, turn.wish, "gone")
        return
    if order.what == "move":
        volumes.moved(tx, row)
        jobs.settle(tx, "volume", turn.id, turn.wish, "ready")
        return
    volume_images.drop(tx, row)
    tx.update(tables.volume, row.id, state="Ready", revert_id=None, image_id=None, note="")
    jobs.settle(tx, "volume", turn.id, turn.wish, "ready")
    if row.machine_id is not None:
        for placement in machines.placements_of(tx, row.machine_id):
            turns.look_again(tx, "placement", placement.id)


def _served(tx: Tx, turn: Turn, outcome: str) -> None:
    """Whoever waited for this has it."""
    jobs.settle(tx, "volume", turn.id, turn.wish, outcome)
