"""The steps of a guest's move to another host while it runs, as rows. What to do is decided in systemvms/migration.py.

Each step is written by the release of the machine's turn, so a server that dies repeats one of them. The incoming placement's
spec differs from the other one's only in what is the host's: pools, segments, the image in the drive.
"""

import msgspec

from sysvm.basics.errors import NotYet
from sysvm.orchestrator.turns import ending
from sysvm.store import tables
from sysvm.store.queries import (
    events,
    jobs,
    live_moves,
    machines,
    nics,
    placements,
    security_groups,
    specs,
    turns,
    volumes,
)
from sysvm.store.store import Row, Tx
from sysvm.systemvms.migration import Arrive, Land, Stay
from sysvm.wire import link
from sysvm.wire.machines import LandingPlace, MachineSpec, Traffic

Step = Land | Arrive | Stay
STAYED = "stayed"  # among a guest's details: why it did not move when it was tried


def take(tx: Tx, machine_id: int, wish: int, step: Step) -> None:
    """Writes what the step says."""
    machine = tx.get(tables.machine, machine_id)
    assert machine is not None
    match step:
        case Land(host):
            _land(tx, machine, host, wish)
        case Arrive(left, placement):
            _arrive(tx, machine, left, placement, wish)
        case Stay():
            _stay(tx, machine, step, wish)


# ---------------------------------------------------------------- there
def _land(tx: Tx, machine: Row, host_id: int, wish: int) -> None:
    host = tx.get(tables.host, host_id)
    assert host is not None
    table = tables.placement
    here = "machine_id = :machine and incarnation = :incarnation and host_id = :host"
    old = tx.rows(table, here, machine=machine.id, incarnation=machine.incarnation, host=host_id)
    fresh = {
        "wanted": "incoming", "power": "absent", "told": 0, "settled": 0, "removed": None, "created": tx.now,
        "moving": "", "landing": None, "note": "", "failures": 0,
    }  # fmt: skip
    if old:
        tx.update(table, old[0].id, **fresh)
        id_ = int(old[0].id)
    else:
        id_ = tx.insert(table, machine_id=machine.id, incarnation=machine.incarnation, host_id=host_id, **fresh)
    placement = tx.get(table, id_)
    assert placement is not None
    machines.tell(tx, machine, placement, "incoming", wish)
    placements.recount(tx, host_id)
    security_groups.moved(tx, machine.id)
    _tell_neighbours(tx, machine)


def _tell_neighbours(tx: Tx, machine: Row) -> None:
    """The other hosts of its networks have to know that this one has them, too."""
    for nic in nics.of_machine(tx, machine.id):
        if nic.network_id is not None and nic.traffic == Traffic.GUEST:
            machines.wish_documents(tx, nic.network_id)


def pool_for(tx: Tx, volume: Row, host: Row) -> Row:
    """The primary storage of a host that a volume comes to: its own where both hosts have it."""
    own = tx.get(tables.storage_pool, volume.pool_id) if volume.pool_id is not None else None
    found = own if own is not None and live_moves.is_on(tx, volume, host) else volumes.pool_on(tx, host)
    if found is None:
        raise NotYet(10, f"host {host.name} has no primary storage that is up")
    return found


def copied(tx: Tx, machine_id: int, host: Row) -> tuple[str, ...]:
    """The volumes whose bytes have to come to a host."""
    rows = volumes.of_machine(tx, machine_id)
    return tuple(row.uuid for row in rows if pool_for(tx, row, host).id != row.pool_id)


def as_taken_in(tx: Tx, machine: Row, host: Row, spec: MachineSpec) -> MachineSpec:
    """The spec on the host that takes it in: its disks are in that host's pools."""
    rows = {row.uuid: row for row in volumes.of_machine(tx, machine.id)}
    disks = (msgspec.structs.replace(one, pool=pool_for(tx, rows[one.volume], host).path) for one in spec.disks)
    return msgspec.structs.replace(spec, disks=tuple(disks))


def order(
    tx: Tx, machine: Row, placement: Row, host: Row, spec: MachineSpec | None
) -> link.EnsureLanding | link.EnsureSent | None:
    """What its host is told to take it in, or to give it away; None when it does not move."""
    if spec is None or not machine.migration or placement.wanted not in ("incoming", "away"):
        return None
    if placement.wanted == "incoming":
        sender = tx.get(tables.host, machine.host_id)
        assert sender is not None
        return link.EnsureLanding(spec=spec, attempt=machine.migration, sender=sender.uuid, copied=copied(tx, machine.id, host))
    return _sending(tx, machine, spec)


def _sending(tx: Tx, machine: Row, spec: MachineSpec) -> link.EnsureSent | None:
    there = next((row for row in machines.placements_of(tx, machine.id) if row.wanted == "incoming"), None)
    host = tx.get(tables.host, there.host_id) if there is not None else None
    if there is None or host is None or there.landing is None:
        return None
    return link.EnsureSent(
        spec=spec,
        there=as_taken_in(tx, machine, host, specs.spec_of(tx, machine, there, "")),
        place=msgspec.convert(there.landing, LandingPlace),
        attempt=machine.migration,
        copied=copied(tx, machine.id, host),
    )


# ---------------------------------------------------------------- arrived
def _arrive(tx: Tx, machine: Row, left_id: int, placement_id: int, wish: int) -> None:
    left, placement = tx.get(tables.placement, left_id), tx.get(tables.placement, placement_id)
    assert left is not None and placement is not None
    host, old = tx.get(tables.host, placement.host_id), tx.get(tables.host, left.host_id)
    assert host is not None
    for volume in volumes.of_machine(tx, machine.id):
        pool = pool_for(tx, volume, host)
        moved = pool.id != volume.pool_id
        tx.update(
            tables.volume, volume.id, host_id=host.id, pool_id=pool.id,
            move_host_id=volume.host_id if moved else None, move_pool_id=volume.pool_id if moved else None,
        )  # fmt: skip
    tx.update(
        tables.machine, machine.id, host_id=host.id, last_host_id=left.host_id, migrate_host_id=None, migration="", note="",
        details={name: value for name, value in (machine.details or {}).items() if name != STAYED},
    )  # fmt: skip
    machines.tell(tx, machine, left, "gone", wish)
    machines.tell(tx, machine, placement, "running", wish)
    placements.show(tx, machine.id)
    security_groups.moved(tx, machine.id)
    where = f"from host {old.name if old is not None else left.host_id} to host {host.name}"
    text = f"Virtual machine {machine.name} has moved {where} while it ran"
    events.record(tx, "VM.MIGRATE", text, actor=ending.actor(machine), about=ending.about(machine))


def left_behind(tx: Tx, placement: Row) -> None:
    """Nothing of the machine is on the placement's host any more: neither shall volumes be that it has taken away."""
    rows = tx.rows(
        tables.volume, "machine_id = :machine and move_host_id = :host and state <> 'Migrating'",
        machine=placement.machine_id, host=placement.host_id,
    )  # fmt: skip
    for volume in rows:
        turns.wish(tx, "volume", volume.id, host=placement.host_id)


# ---------------------------------------------------------------- stays
def _stay(tx: Tx, machine: Row, step: Stay, wish: int) -> None:
    moves = machine.migrate_host_id is not None
    details = {**(machine.details or {}), STAYED: step.why}
    tx.update(tables.machine, machine.id, migrate_host_id=None, migration="", details=details)
    if step.placement is not None:
        placement = tx.get(tables.placement, step.placement)
        assert placement is not None
        machines.tell(tx, machine, placement, step.wanted, wish)
    if not moves:
        return
    text = f"Virtual machine {machine.name} stays where it is: {step.why}"
    events.record(tx, "VM.MIGRATE", text, actor=ending.actor(machine), about=ending.about(machine), level="ERROR")
    jobs.fail(tx, "machine", machine.id, text, outcome="running")
