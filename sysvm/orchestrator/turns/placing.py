"""Giving the wanted incarnation of a machine a host: what has to be there first, which host, and the placement's row."""

from dataclasses import replace

import sqlalchemy as sa

from sysvm.basics.errors import NotYet
from sysvm.orchestrator.context import Context
from sysvm.store import tables
from sysvm.store.queries import (
    addresses,
    affinity_groups,
    hosts,
    image_stores,
    links,
    machines,
    nics,
    placements,
    private_gateways,
    router_pairs,
    runtimes,
    security_groups,
    settings,
    strays,
    system_templates,
    turns,
    volumes,
)
from sysvm.store.queries.system_templates import Chosen
from sysvm.store.store import Row, Tx
from sysvm.systemvms.affinity import FREE
from sysvm.systemvms.machine import Demand, HostSeen, choose_host
from sysvm.systemvms.network import LIVE
from sysvm.wire.machines import Kind, Runtime, Traffic

CONTROL_PREFIX = 16
LIKELY = 4
FIRST_WISH = 1  # of a machine that was just made
SIMULATOR = "Simulator"
UNPLACED = "machine_id = :machine and pool_id is null and removed is null"


def choose(tx: Tx, machine_id: int) -> HostSeen:
    """The host for the machine. Raises NotYet with the reason why there is none, or what has to come first."""
    return tx.once(("host for", machine_id), lambda: _choose(tx, machine_id))


def _choose(tx: Tx, machine_id: int) -> HostSeen:
    machine = tx.get(tables.machine, machine_id)
    assert machine is not None
    if why := strays.must_not_place(tx, machine.zone_id):
        raise NotYet(10, why)
    if machine.kind == Kind.GUEST:
        _networks_first(tx, machine)
        _template_first(tx, machine)
    demand = _demand(tx, machine)
    chosen = choose_host(demand, _all_seen(tx, machine, demand, _likely(tx, machine, demand)))
    if isinstance(chosen, str):  # then all of them are asked, and why none will do is told
        chosen = choose_host(demand, _all_seen(tx, machine, demand, _hosts(tx, machine)))
    if isinstance(chosen, str):
        raise NotYet(10, chosen)
    if machine.kind != Kind.GUEST and (host := tx.get(tables.host, chosen.id)) is not None:
        template_on(tx, machine, host, runtime_on(tx, machine, host)[0])
    return chosen


BESIDE = (Runtime.CONTAINER, Runtime.VM, Runtime.SIMULATED)  # what hosts can hand over


def has_room_beside(tx: Tx, machine: Row, host_id: int) -> bool:
    """Whether the next incarnation of a router can run on this host beside the one that serves there, and take over."""
    host = tx.get(tables.host, host_id)
    if host is None or host.removed is not None or machine.wanted_host_id not in (None, host_id):
        return False
    runtime, _ = runtime_on(tx, machine, host)
    if not runtime == machine.runtime in BESIDE or strays.must_not_place(tx, machine.zone_id):
        return False
    return not isinstance(choose_host(_demand(tx, machine), (_seen(tx, machine, host),)), str)


def place(tx: Tx, context: Context, machine_id: int, beside: int | None = None, apart: int | None = None) -> int:
    """Chooses a host (`beside`: this one; `apart`: this one, while another one has the machine) and writes the placement, with
    what it needs of the host; the placement's id."""
    machine = tx.get(tables.machine, machine_id)
    assert machine is not None
    if beside is not None and not has_room_beside(tx, machine, beside):
        raise NotYet(1, "the host has no room any more for the next incarnation beside the one that serves")
    given = beside if beside is not None else apart
    host_id = given if given is not None else choose(tx, machine_id).id
    row = tx.get(tables.host, host_id)
    assert row is not None
    runtime, why = runtime_on(tx, machine, row)
    template = template_on(tx, machine, row, runtime) if machine.kind != Kind.GUEST else None
    # While another incarnation serves, the row shows that one.
    shown: dict[str, object] = {} if given is not None else {"power": "absent", "agent_up": False, "document_live": ""}
    if apart is None:
        shown |= moved(machine, host_id)
    tx.update(
        tables.machine,
        machine.id,
        runtime=runtime,
        runtime_why=why,
        template_version=template.version if template is not None else "",
        template_id=template.id if template is not None else machine.template_id,
        state_key=machine.state_key or context.keys.vault.seal(context.ids.token()),
        note="",
        **shown,
    )
    if runtime == Runtime.CONTAINER and (store := image_stores.needs_own_kernel(tx, machine)):
        image_stores.cannot_be_mounted(tx, machine.zone_id, store)
    if apart is None:
        control_address(tx, machine, host_id)
    _volumes(tx, machine, row)
    placement = _add_placement(tx, machine, host_id)
    placements.recount(tx, host_id)
    router_pairs.placed(tx, machine, host_id)
    if machine.kind == Kind.GUEST:
        security_groups.moved(tx, machine.id)
    private_gateways.tell_neighbours(tx, machine)
    return placement


def moved(machine: Row, host_id: int) -> dict[str, object]:
    """What the machine's row says when a host has it."""
    return {
        "host_id": host_id,
        "last_host_id": machine.host_id if machine.host_id != host_id else machine.last_host_id,
    }


def _add_placement(tx: Tx, machine: Row, host_id: int) -> int:
    # A machine that moves away and comes back within one incarnation finds its old row here.
    table = tables.placement
    here = "machine_id = :machine and incarnation = :incarnation and host_id = :host"
    old = tx.rows(table, here, machine=machine.id, incarnation=machine.incarnation, host=host_id)
    fresh = {"wanted": "stopped", "power": "absent", "told": 0, "settled": 0, "removed": None, "created": tx.now}
    if old:
        tx.update(table, old[0].id, **fresh)
        return int(old[0].id)
    return int(tx.made(table, machine_id=machine.id, incarnation=machine.incarnation, host_id=host_id, **fresh).id)


def place_at_once(tx: Tx, context: Context, machine_id: int) -> None:
    """Gives a machine that was just made a host in the same transaction. When there is none its own turn says why."""
    try:
        choose(tx, machine_id)
    except NotYet:
        return
    placement = tx.get(tables.placement, place(tx, context, machine_id))
    machine = tx.get(tables.machine, machine_id)
    assert placement is not None and machine is not None
    machines.tell(tx, machine, placement, "running", FIRST_WISH)
    turns.put_off(tx, "machine", machine_id, after=60.0)  # its host is at work on it


def control_address(tx: Tx, machine: Row, host_id: int) -> None:
    """Its NIC of the control network has the address that it has on this host."""
    for nic in nics.of_machine(tx, machine.id):
        if nic.traffic == Traffic.CONTROL:
            address = addresses.take_control_ip(tx, host_id, machine.id)
            if nic.primary is None or nic.primary.text != address:
                nics.readdress(tx, nic, address, CONTROL_PREFIX)


def _volumes(tx: Tx, machine: Row, host: Row) -> None:
    """Volumes (guests have some) that have no pool yet get the host's; from then on they bind the machine to it."""
    if machine.kind != Kind.GUEST:
        return
    rows = tx.rows(tables.volume, UNPLACED, machine=machine.id)
    if not rows:
        return
    pool = volumes.pool_on(tx, host)
    if pool is None:
        raise NotYet(10, f"host {host.name} has no primary storage that is up; add one with createStoragePool")
    for row in rows:
        volumes.give_place(tx, row, host, pool)


# ---------------------------------------------------------------- what comes first
def _networks_first(tx: Tx, machine: Row) -> None:
    for nic in nics.of_machine(tx, machine.id):
        network = tx.get(tables.network, nic.network_id) if nic.network_id is not None else None
        if network is not None and network.state not in LIVE:
            raise NotYet(30, f"network {network.name} is being implemented: {network.note or 'its router starts'}")


def _template_first(tx: Tx, machine: Row) -> None:
    template = tx.get(tables.template, machine.template_id) if machine.template_id is not None else None
    if template is not None and not template.sha256 and machine.hypervisor != SIMULATOR:
        raise NotYet(5, f"template {template.name} has not been downloaded yet")


# ---------------------------------------------------------------- hosts
def _likely(tx: Tx, machine: Row, demand: Demand) -> list[Row]:
    """The few hosts that the planner would prefer: the least loaded ones. None where the machine is bound to some."""
    confined = machine.wanted_host_id or machine.wanted_cluster_id or machine.wanted_pod_id
    if confined is not None or demand.bound_to_volume or demand.near != FREE or demand.tags:
        return []
    found = placements.roomy_hosts(tx, machine.zone_id, demand.hypervisor, demand.memory_mb, LIKELY)
    if machine.host_id is not None and machine.host_id not in {host.id for host in found}:
        found += [host for host in _hosts(tx, machine) if host.id == machine.host_id]
    return found


def _hosts(tx: Tx, machine: Row) -> list[Row]:
    table, clusters = tables.host, tables.cluster
    query = (
        sa.select(table)
        .join(clusters, clusters.c.id == table.c.cluster_id)
        .where(table.c.zone_id == machine.zone_id, table.c.removed.is_(None), clusters.c.allocation_state == "Enabled")
    )
    if machine.wanted_host_id is not None:
        query = query.where(table.c.id == machine.wanted_host_id)
    elif machine.wanted_cluster_id is not None:
        query = query.where(table.c.cluster_id == machine.wanted_cluster_id)
    elif machine.wanted_pod_id is not None:
        query = query.where(table.c.pod_id == machine.wanted_pod_id)
    return list(tx.all(query.order_by(table.c.id)))


def _all_seen(tx: Tx, machine: Row, demand: Demand, found: list[Row]) -> tuple[HostSeen, ...]:
    seen = (_seen(tx, machine, host) for host in found)
    if not demand.needs_storage:
        return tuple(seen)
    return tuple(replace(one, has_storage=volumes.pool_on(tx, host) is not None) for one, host in zip(seen, found, strict=True))


def _seen(tx: Tx, machine: Row, host: Row) -> HostSeen:
    facts = links.facts_of(host)
    return HostSeen(
        id=host.id,
        up=host.state == "Up" and host.link_session is not None,
        enabled=host.resource_state == "Enabled",
        hypervisor=host.hypervisor,
        runtimes=runtimes.offered(facts),
        free_memory_mb=host.memory_free_mb,
        machines=host.machines,
        has_volume=machine.kind == Kind.GUEST and _holds_volume(tx, machine.id, host.id),
        has_network=machine.host_id == host.id,
        tags=hosts.tag_set(host.tags),
    )


def _holds_volume(tx: Tx, machine_id: int, host_id: int) -> bool:
    return bool(tx.sql("select 1 from volume where machine_id = :m and host_id = :h limit 1", m=machine_id, h=host_id))


def _demand(tx: Tx, machine: Row) -> Demand:
    offering = tx.get(tables.service_offering, machine.service_offering_id)
    assert offering is not None
    guest = machine.kind == Kind.GUEST
    hypervisor = machine.hypervisor if guest or machine.hypervisor == SIMULATOR else ""
    return Demand(
        hypervisor=hypervisor,
        runtime=_wanted_runtime(tx, machine),
        memory_mb=machine.memory_mb or offering.memory_mb or 128,
        bound_to_volume=guest and _has_made_volumes(tx, machine.id),
        near=affinity_groups.near(tx, machine.id) if guest else router_pairs.near(tx, machine),
        needs_storage=guest and _has_unplaced_volumes(tx, machine.id),
        tags=hosts.tag_set(offering.host_tags),
        within=_within(tx, machine),
    )


def _within(tx: Tx, machine: Row) -> str:
    """Where it may be placed, as a reader knows it."""
    if machine.wanted_host_id is not None and (host := tx.get(tables.host, machine.wanted_host_id)) is not None:
        return f"this zone called {host.name}"
    for table, id_ in ((tables.cluster, machine.wanted_cluster_id), (tables.pod, machine.wanted_pod_id)):
        if id_ is not None and (row := tx.get(table, id_)) is not None:
            return f"{table.name} {row.name}"
    return "this zone"


def _has_unplaced_volumes(tx: Tx, machine_id: int) -> bool:
    return bool(tx.sql(f"select 1 from volume where {UNPLACED} limit 1", machine=machine_id))


def _has_made_volumes(tx: Tx, machine_id: int) -> bool:
    made = "select 1 from volume where machine_id = :m and removed is null and host_id is not null limit 1"
    return bool(tx.sql(made, m=machine_id))


def _wanted_runtime(tx: Tx, machine: Row) -> str:
    """The runtime that a host must offer. A system VM that may be either asks for a container, which every host has
    that could run it as a VM."""
    if machine.kind == Kind.GUEST or machine.hypervisor == SIMULATOR:
        return runtimes.BY_HYPERVISOR[machine.hypervisor]
    if image_stores.needs_own_kernel(tx, machine) and image_stores.can_mount(tx, machine.zone_id):
        return Runtime.VM
    wanted = str(settings.value(tx, "systemvm.runtime", zone_id=machine.zone_id) or "auto")
    return Runtime.VM if wanted == "vm" else Runtime.CONTAINER


def runtime_on(tx: Tx, machine: Row, host: Row) -> tuple[str, str]:
    """How the machine runs on this host, and why so."""
    if machine.kind == Kind.GUEST or machine.hypervisor == SIMULATOR:
        return runtimes.BY_HYPERVISOR[machine.hypervisor], f"the cluster's hypervisor is {machine.hypervisor}"
    return runtimes.of_system_vm(tx, machine, host)


def nowhere_else(tx: Tx, machine: Row, host: Row) -> str:
    """Why no host but this one can take the machine; empty when one can."""
    others = [_seen(tx, machine, other) for other in _hosts(tx, machine) if other.id != host.id]
    chosen = choose_host(_demand(tx, machine), tuple(others))
    return chosen if isinstance(chosen, str) else ""


def template_on(tx: Tx, machine: Row, host: Row, runtime: str) -> Chosen:
    """What a system VM runs there. NotYet while the host has it not."""
    facts = links.facts_of(host)
    if facts is None or not facts.templates:
        raise NotYet(10, f"host {host.name} has no system VM template; build one with `sysvm template build`")
    return system_templates.chosen(tx, machine, host, facts.templates, runtime)
