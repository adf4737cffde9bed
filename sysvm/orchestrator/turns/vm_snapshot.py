"""The turn of a snapshot of a whole guest: kept inside the guest's volumes, gone back to, forgotten.

    Allocated   when nothing else is at work on the volumes: whether the guest runs is noted, for one try
    Creating    its host keeps it (sysvm/hosts/storage/checkpoints.py)
    Clearing    that has failed: nothing of the try stays
    Ready       the guest was this last
    Reverting   the guest's host goes back to it; then it is Ready again
    removed     the volumes forget it

Each step is named work of the host, found again after any crash of anybody, and written by the release that sees it done. A guest
that stands still for it does not start meanwhile (store/queries/volumes.why_wait). A failed try is made anew; after TRIES it is
given up, with the reason, and nothing of it stays. What goes wrong with a return fails its job: the guest may be neither here nor
there, so it is told in an alert.
"""

from sysvm.basics.edge import edge
from sysvm.basics.errors import NotYet
from sysvm.basics.log import get_logger
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.engine import Gone, Outcome, Result
from sysvm.orchestrator.turns import hosttasks
from sysvm.orchestrator.turns.notes import in_note_of
from sysvm.store import tables
from sysvm.store.queries import alerts, jobs, machines, turns, vm_snapshots
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.turns import Turn
from sysvm.store.store import Row, Tx
from sysvm.wire import link
from sysvm.wire.machines import OperationState

LOOK_S = 1.0
TRIES = 4
PAUSES_S = (2.0, 10.0, 30.0)
_note = in_note_of(tables.vm_snapshot)

log = get_logger()


async def work(context: Context, turn: Turn) -> Outcome:
    """One step."""
    row = await context.store.read(lambda tx: tx.get(tables.vm_snapshot, turn.id))
    if row is None:
        return Gone()
    if row.removed is not None:
        return await _forget(context, turn, row)
    match row.state:
        case "Allocated":
            return await context.store.run(lambda tx: _begin(tx, turn))
        case "Creating":
            return await _keep(context, turn, row)
        case "Clearing":
            return await _clear(context, turn, row)
        case "Reverting":
            return await _revert(context, turn, row)
        case "Ready":
            return Gone(lambda tx: _served(tx, turn, "ready"))
        case _:
            return Gone(lambda tx: jobs.fail(tx, "vmsnapshot", turn.id, row.error))


async def _do(context: Context, turn: Turn, row: Row, what: str, *, number: int) -> tuple[OperationState, str]:
    """How far a piece of work is. One that cannot be done because the volumes are gone has failed."""
    place = await context.store.read(lambda tx: vm_snapshots.places(tx, row))
    if place is None:
        return OperationState.FAILED, "the guest's volumes, or their host, are gone"
    host, volumes = place
    await edge(f"vmsnapshot before {what}")
    name = f"vmsnapshot:{row.id}:{what}:{number}"
    seen = await hosttasks.run(context, turn, host, name, _body(row, what, volumes))
    if seen.state is not OperationState.RUNNING:
        await hosttasks.forget(context, host, name)
    return seen.state, seen.error


def _body(row: Row, what: str, volumes: list[tuple[str, str]]) -> link.HostTaskBody:
    at = tuple(link.VolumeAt(pool=pool, volume=volume) for pool, volume in volumes)
    memory = row.kind == vm_snapshots.MEMORY
    match what:
        case "keep":
            return link.KeepGuest(volumes=at, snapshot=row.uuid, live=row.live, memory=memory, quiesce=row.quiesce)
        case "revert":
            return link.RevertGuest(volumes=at, snapshot=row.uuid, memory=memory)
        case _:
            return link.ForgetGuest(volumes=at, snapshot=row.uuid)


# ---------------------------------------------------------------- keeping
def _begin(tx: Tx, turn: Turn) -> Outcome:
    row = tx.get(tables.vm_snapshot, turn.id)
    assert row is not None
    machine = tx.get(tables.machine, row.machine_id)
    if machine is None or machine.removed is not None or machine.wanted == "gone":
        return Result(0.0, lambda tx: _give_up(tx, turn, row, "the guest is gone"))
    live = machine.wanted == "running"
    if row.kind == vm_snapshots.MEMORY and not live:
        return Result(0.0, lambda tx: _give_up(tx, turn, row, "the guest does not run any more: it has no memory"))
    if live != (machine.power == "running"):
        raise NotYet(2, "the guest is on its way up or down")
    if why := vm_snapshots.why_not_still(tx, machine.id):
        raise NotYet(1, f"{why}: it is waited for")
    tx.update(tables.vm_snapshot, row.id, state="Creating", live=live, note="")
    return Result(0.0)


async def _keep(context: Context, turn: Turn, row: Row) -> Outcome:
    state, error = await _do(context, turn, row, "keep", number=row.tries)
    match state:
        case OperationState.RUNNING:
            return Result(LOOK_S, lambda tx: jobs.prolong(tx, "vmsnapshot", turn.id))
        case OperationState.DONE:
            return Result(0.0, lambda tx: _kept(tx, turn, row))
        case OperationState.FAILED:
            changes = {"state": "Clearing", "error": error}
            return Result(0.0, lambda tx: tx.update(tables.vm_snapshot, turn.id, **changes))


def _kept(tx: Tx, turn: Turn, row: Row) -> None:
    vm_snapshots.taken(tx, row)
    _stir_guest(tx, row)
    jobs.settle(tx, "vmsnapshot", turn.id, turn.wish, "ready")


async def _clear(context: Context, turn: Turn, row: Row) -> Outcome:
    """Then there is another try, or none."""
    why = row.error
    state, _ = await _do(context, turn, row, "clear", number=row.tries)
    if state is OperationState.RUNNING:
        return Result(LOOK_S)
    if row.tries + 1 >= TRIES:
        return Result(0.0, lambda tx: _give_up(tx, turn, row, why))
    log.warning("vm_snapshot_failed", snapshot=row.uuid, tries=row.tries + 1, why=why)
    pause = PAUSES_S[min(row.tries, len(PAUSES_S) - 1)]
    note = f"try {row.tries + 1} of {TRIES} failed: {why}"
    return Result(pause, lambda tx: tx.update(tables.vm_snapshot, turn.id, state="Allocated", tries=row.tries + 1, note=note))


def _give_up(tx: Tx, turn: Turn, row: Row, why: str) -> None:
    tx.update(tables.vm_snapshot, turn.id, state="Error", error=why, note=why)
    remedy = "Delete it with deleteVMSnapshot and make another"
    text = f"VM snapshot {row.name} ({row.uuid}) could not be made: {why}. {remedy}"
    alerts.raise_alert(tx, AlertType.VM_SNAPSHOT, text, zone=row.zone_id)
    jobs.fail(tx, "vmsnapshot", turn.id, why)
    _stir_guest(tx, row)


# ---------------------------------------------------------------- going back
async def _revert(context: Context, turn: Turn, row: Row) -> Outcome:
    state, error = await _do(context, turn, row, "revert", number=turn.wish)
    match state:
        case OperationState.RUNNING:
            return Result(LOOK_S, lambda tx: jobs.prolong(tx, "vmsnapshot", turn.id))
        case OperationState.DONE:
            return Result(0.0, lambda tx: _kept(tx, turn, row))
        case OperationState.FAILED:
            return Result(0.0, lambda tx: _not_reverted(tx, turn, row, error))


def _not_reverted(tx: Tx, turn: Turn, row: Row, why: str) -> None:
    tx.update(tables.vm_snapshot, turn.id, state="Ready", note=why)
    text = f"A guest could not go back to its VM snapshot {row.name} ({row.uuid}): {why}. Try again with revertToVMSnapshot"
    alerts.raise_alert(tx, AlertType.VM_SNAPSHOT, text, zone=row.zone_id)
    jobs.fail(tx, "vmsnapshot", turn.id, why)
    _stir_guest(tx, row)


# ---------------------------------------------------------------- the end of it
async def _forget(context: Context, turn: Turn, row: Row) -> Outcome:
    if row.state == "Allocated":
        return Gone(lambda tx: _served(tx, turn, "gone"))
    state, error = await _do(context, turn, row, "forget", number=turn.wish)
    if state is OperationState.RUNNING:
        return Result(LOOK_S)
    if state is OperationState.FAILED and await context.store.read(lambda tx: vm_snapshots.places(tx, row)) is not None:
        raise NotYet(30, f"the volumes could not forget it: {error}")
    return Gone(lambda tx: _served(tx, turn, "gone"))


def _served(tx: Tx, turn: Turn, outcome: str) -> None:
    jobs.settle(tx, "vmsnapshot", turn.id, turn.wish, outcome)


def _stir_guest(tx: Tx, row: Row) -> None:
    """It may have waited."""
    for placement in machines.placements_of(tx, row.machine_id):
        turns.look_again(tx, "placement", placement.id)


def complain(tx: Tx, id_: int, why: str) -> None:
    """The reason stands in its note; a wait without one leaves the last reason there."""
    if why:
        _note(tx, id_, why)
