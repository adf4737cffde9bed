"""How a system VM runs on a host, container or VM, and why so; and which ones would run otherwise by now.

The setting `systemvm.runtime` says so; what it leaves open is a VM where KVM was proved to work. A secondary storage VM whose
zone has an NFS store is a VM wherever one can run, because a container cannot mount it.
"""

from sysvm.store import tables
from sysvm.store.queries import image_stores, links, machines, settings
from sysvm.store.store import Row, Tx
from sysvm.wire.link import HostFacts
from sysvm.wire.machines import Kind, Runtime

BY_HYPERVISOR = {"KVM": Runtime.VM, "LXC": Runtime.CONTAINER, "Simulator": Runtime.SIMULATED}


def offered(facts: HostFacts | None) -> frozenset[str]:
    """What a host can run."""
    hypervisors = facts.hypervisors if facts is not None else ()
    return frozenset(BY_HYPERVISOR[name] for name in hypervisors if name in BY_HYPERVISOR)


def of_system_vm(tx: Tx, machine: Row, host: Row) -> tuple[str, str]:
    """Runtime and reason; not for the simulator's."""
    facts = links.facts_of(host)
    wanted = str(settings.value(tx, "systemvm.runtime", zone_id=machine.zone_id) or "auto")
    how = "KVM" if facts is not None and facts.kvm else "emulated"
    if wanted == "vm":
        return Runtime.VM, f"the setting systemvm.runtime says so; {how}"
    store = image_stores.needs_own_kernel(tx, machine)
    if store and Runtime.VM in offered(facts):
        return Runtime.VM, f"image store {store} is NFS, which a container cannot mount; {how}"
    if wanted == "container":
        return Runtime.CONTAINER, "the setting systemvm.runtime says so"
    if facts is not None and facts.kvm:
        return Runtime.VM, "KVM was proved by booting a kernel"
    return Runtime.CONTAINER, f"KVM does not work here: {facts.kvm_why if facts is not None else 'unknown'}"


def go_back(tx: Tx, zone_id: int) -> None:
    """The zone has no NFS store any more: secondary storage VMs that were VMs for it live their next incarnation as what they
    would be without; downloads go on in it."""
    here = "zone_id = :zone and kind = :kind and wanted = 'running' and runtime = :vm and removed is null"
    for worker in tx.rows(tables.machine, here, zone=zone_id, kind=Kind.SECONDARY_STORAGE, vm=Runtime.VM):
        host = tx.get(tables.host, worker.host_id) if worker.host_id is not None else None
        if host is not None and of_system_vm(tx, worker, host)[0] != worker.runtime:
            machines.replace(tx, worker)
