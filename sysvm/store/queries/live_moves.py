"""Which guests can move to which hosts while they run, and the wish that one does. What becomes of it is its turn's.

Reasons are what a user reads. They are told from rows, so a host may still refuse when it is asked.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import affinity_groups, hosts, machine_rows, machines, snapshots, turns, vm_snapshots, volumes
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx

FEATURE = "live-migration"
MOVABLE = ("KVM", "Simulator")


def why_not(tx: Tx, machine: Row) -> str:
    """Why this guest can't move now, wherever to; empty when it can."""
    if machine.hypervisor not in MOVABLE:
        return f"Unsupported Hypervisor Type for VM migration: a guest of hypervisor {machine.hypervisor} is stopped to be moved"
    if machine.migrate_host_id is not None:
        return f"VM {machine.name} is being migrated already"
    state = machine_rows.state_of(machine)
    if state != "Running":
        return f"VM is not Running, unable to migrate the vm {machine.name}: it is {state}"
    if any(placement.host_id != machine.host_id for placement in machines.placements_of(tx, machine.id)):
        return f"VM {machine.name} is yet to be removed from the host that it was on; try again later"
    if vm_snapshots.of_machine(tx, machine.id):
        return "VM with VM Snapshots cannot be migrated, because they are on its host; delete them with deleteVMSnapshot"
    here = tx.get(tables.host, machine.host_id)
    if here is None or here.state != "Up" or here.link_session is None:
        return "the host that it is on is not Up"
    return _why_not_volumes(tx, machine) or ("" if _can_send(here) else f"host {here.name} cannot send running guests")


def _why_not_volumes(tx: Tx, machine: Row) -> str:
    for volume in volumes.of_machine(tx, machine.id):
        if volume.state != "Ready" or volume.revert_id is not None:
            return f"Volume {volume.name} is {volume.state}; wait until it is Ready"
        if volume.move_host_id is not None:
            return f"Volume {volume.name} is yet to be removed where it was; try again later"
        if (busy := snapshots.of_volume_under_way(tx, volume.id)) is not None:
            return f"Snapshot {busy.name} is being made of volume {volume.name}; wait for it or delete it"
    return ""


def _can_send(host: Row) -> bool:
    return FEATURE in (host.facts or {}).get("features", ())


def why_not_to(tx: Tx, machine: Row, host: Row) -> str:
    """Why this guest can't move to this host; empty when it can."""
    if host.id == machine.host_id:
        return "Cannot migrate VM, VM is already present on this host, please specify valid destination host to migrate the VM"
    here = tx.get(tables.host, machine.host_id) if machine.host_id is not None else None
    if here is not None and here.cluster_id != host.cluster_id:
        return f"Cannot migrate VM, host {host.name} is in another cluster than the VM's"
    cluster = tx.get(tables.cluster, host.cluster_id)
    if host.state != "Up" or host.link_session is None:
        return f"Cannot migrate VM, host {host.name} is not Up (it is {host.state})"
    if host.resource_state != "Enabled" or cluster is None or cluster.allocation_state != "Enabled":
        return f"Cannot migrate VM, host {host.name} is not Enabled (it is {host.resource_state})"
    if not _can_send(host):
        return f"Cannot migrate VM, host {host.name} cannot take running guests in"
    need = memory_of(tx, machine)
    if host.memory_free_mb < need:
        return f"Cannot migrate VM, host {host.name} has {host.memory_free_mb} MB of memory free and the VM needs {need} MB"
    if needs_copies(tx, machine, host) and volumes.pool_on(tx, host) is None:
        return f"Cannot migrate VM, host {host.name} has no primary storage that is up"
    if missing := _tags_of(tx, machine) - hosts.tag_set(host.tags):
        return f"Cannot migrate VM, host {host.name} lacks tags of its offering: {', '.join(sorted(missing))}"
    if not affinity_groups.near(tx, machine.id).allows(host.id):
        return f"Cannot migrate VM, its affinity groups forbid host {host.name}"
    return ""


def memory_of(tx: Tx, machine: Row) -> int:
    """Its memory in MB."""
    offering = tx.get(tables.service_offering, machine.service_offering_id)
    return int(machine.memory_mb or (offering.memory_mb if offering is not None else 0) or 128)


def _tags_of(tx: Tx, machine: Row) -> frozenset[str]:
    offering = tx.get(tables.service_offering, machine.service_offering_id)
    return hosts.tag_set(offering.host_tags if offering is not None else "")


def needs_copies(tx: Tx, machine: Row, host: Row) -> bool:
    """Whether bytes of its volumes have to be copied to that host."""
    return any(not is_on(tx, volume, host) for volume in volumes.of_machine(tx, machine.id))


def is_on(tx: Tx, volume: Row, host: Row) -> bool:
    """Whether a host has the storage that the volume is on."""
    pool = tx.get(tables.storage_pool, volume.pool_id) if volume.pool_id is not None else None
    return pool is not None and pool.host_id in (None, host.id) and pool.cluster_id in (None, host.cluster_id)


def neighbours(tx: Tx, machine: Row) -> Sequence[Row]:
    """The other hosts of its cluster, the least loaded first."""
    here = tx.get(tables.host, machine.host_id) if machine.host_id is not None else None
    if here is None:
        return ()
    table = tables.host
    others = (table.c.cluster_id == here.cluster_id, table.c.id != here.id, table.c.removed.is_(None))
    return tx.all(sa.select(table).where(*others).order_by(table.c.machines, table.c.memory_free_mb.desc(), table.c.id))


def best(tx: Tx, machine: Row) -> Row | str:
    """The host that it should move to, or why there is none."""
    reasons = []
    near = affinity_groups.near(tx, machine.id)
    for host in sorted(neighbours(tx, machine), key=lambda host: near.taste(host.id), reverse=True):
        why = why_not_to(tx, machine, host)
        if not why:
            return host
        reasons.append(why)
    return reasons[0] if reasons else "its cluster has no other host"


def can(tx: Tx, machine: Row) -> bool:
    """Whether it can move to some host now."""
    return machine.kind == "guest" and not why_not(tx, machine) and not isinstance(best(tx, machine), str)


def why_not_any(tx: Tx, machine: Row) -> str:
    """Why it can move to no host; empty when it can."""
    found = best(tx, machine)
    return why_not(tx, machine) or (found if isinstance(found, str) else "")


def is_busy(tx: Tx, machine: Row) -> bool:
    """Whether it moves now, or something is being done to it that will soon be over: then it may be able to move."""
    if machine.kind != "guest" or machine.wanted != "running":
        return False
    return machine.migrate_host_id is not None or bool(_why_not_volumes(tx, machine))


def begin(tx: Tx, attempt: str, machine: Row, host: Row) -> Part:
    """It shall move there while it runs."""
    tx.update(tables.machine, machine.id, migrate_host_id=host.id, migration=attempt, note="")
    return Part("machine", machine.id, turns.wish(tx, "machine", machine.id), "running")
