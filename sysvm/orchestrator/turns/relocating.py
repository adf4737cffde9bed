"""A router's move to another host while it serves, as rows. What to do is decided in systemvms/relocation.py.

While two hosts have an incarnation of it, the machine's row names the one that serves; the control network is each host's own,
so the one that comes has another address there until it serves.
"""

import msgspec

from sysvm.basics.errors import NotYet
from sysvm.orchestrator.context import Context
from sysvm.orchestrator.turns import ending, placing
from sysvm.store import tables
from sysvm.store.queries import addresses, events, machines, nics, placements, specs, turns
from sysvm.store.queries.nics import NicRow
from sysvm.store.store import Row, Tx
from sysvm.wire import link
from sysvm.wire.documents import RouterDocument
from sysvm.wire.machines import Kind, LandingPlace, MachineSpec, Moving, Segment, Traffic

FEATURE = "handover"
STAYED = "stayed"  # among its details: why it did not move when it was tried


def other_host(tx: Tx, machine: Row) -> int | None:
    """The host on which a router's next incarnation can begin while another one has the one that serves."""
    if machine.kind != Kind.ROUTER or machine.forced or machine.wanted != "running" or machine.redundant:
        return None
    placed = machines.placements_of(tx, machine.id)
    if not placed or any(row.incarnation == machine.incarnation for row in placed):
        return None
    here = tx.get(tables.host, placed[-1].host_id)
    if here is None or here.link_session is None or not _can(here):
        return None
    try:
        chosen = placing.choose(tx, machine.id)
    except NotYet:
        return None
    there = tx.get(tables.host, chosen.id)
    if there is None or any(row.host_id == there.id for row in placed) or not _can(there):
        return None
    return int(there.id) if placing.runtime_on(tx, machine, there)[0] == machine.runtime else None


def _can(host: Row) -> bool:
    return FEATURE in (host.facts or {}).get("features", ())


def begin(tx: Tx, context: Context, machine_id: int, host_id: int, wish: int) -> None:
    """The next incarnation is made ready there."""
    placed = placing.place(tx, context, machine_id, apart=host_id)
    machine, placement = tx.get(tables.machine, machine_id), tx.get(tables.placement, placed)
    assert machine is not None and placement is not None
    tx.update(tables.placement, placed, wanted="incoming", moving="", landing=None, note="", failures=0)
    machines.tell(tx, machine, placement, "incoming", wish)
    _tell_neighbours(tx, machine)


NEIGHBOURS = """
select distinct p.id from placement p join nic n on n.machine_id = p.machine_id
where n.network_id = :network and n.removed is null and p.removed is null
"""


def _tell_neighbours(tx: Tx, machine: Row) -> None:
    """The other hosts of its networks have to know that this one has them, too."""
    for nic in nics.of_machine(tx, machine.id):
        if nic.network_id is not None and nic.traffic == Traffic.GUEST:
            for (id_,) in tx.sql(NEIGHBOURS, network=nic.network_id):
                turns.look_again(tx, "placement", id_)


def arrive(tx: Tx, machine: Row, placement: Row) -> None:
    """The placement has the machine from now on."""
    addresses.take_control_ip(tx, placement.host_id, machine.id)
    placing.control_address(tx, machine, placement.host_id)
    details = {name: value for name, value in (machine.details or {}).items() if name != STAYED}
    tx.update(tables.machine, machine.id, details=details, note="", **placing.moved(machine, placement.host_id))
    placements.show(tx, machine.id)
    old, new = tx.get(tables.host, machine.host_id), tx.get(tables.host, placement.host_id)
    assert new is not None
    text = f"Router {machine.name} is now on host {new.name}" + (f", was on host {old.name}" if old is not None else "")
    events.record(tx, "ROUTER.MIGRATE", text, actor=ending.actor(machine), about=ending.about(machine))


def stayed(tx: Tx, machine: Row, why: str) -> None:
    """Where it was to go to another host, nobody wants it there any more, and whoever empties this one is told why."""
    if machine.kind == Kind.ROUTER and len({row.host_id for row in machines.placements_of(tx, machine.id)}) > 1:
        details = {**(machine.details or {}), STAYED: why}
        tx.update(tables.machine, machine.id, details=details, wanted_host_id=None)


# ---------------------------------------------------------------- what the two hosts are told
def as_there(
    tx: Tx, machine: Row, placement: Row, spec: MachineSpec, document: RouterDocument | None
) -> tuple[MachineSpec, RouterDocument | None]:
    """What it is on the placement's host: its address of the control network is that host's."""
    own = addresses.take_control_ip(tx, placement.host_id, machine.id)
    held = f"{own}/{placing.CONTROL_PREFIX}"
    held_now = (nic.primary for nic in nics.of_machine(tx, machine.id) if _is_control(nic))
    elsewhere = next((primary.text for primary in held_now if primary is not None), "")
    if elsewhere == own:
        return spec, document
    replace = msgspec.structs.replace
    ports = (replace(one, addresses=(held,)) if _is_control(one.segment) else one for one in spec.nics)
    spec = replace(spec, nics=tuple(ports))
    if document is None:
        return spec, None
    inside = (replace(one, addresses=(held,)) if one.role == Traffic.CONTROL else one for one in document.interfaces)
    document = replace(document, interfaces=tuple(inside))
    page = document.balancing.statistics if document.balancing is not None else None
    if document.balancing is not None and page is not None:
        page = replace(page, addresses=tuple(own if one == elsewhere else one for one in page.addresses))
        document = replace(document, balancing=replace(document.balancing, statistics=page))
    return spec, document


def order(tx: Tx, machine: Row, placement: Row, spec: MachineSpec) -> link.EnsureLanding | link.EnsureSent | None:
    """What a host is told about its half of the move; None where there is no other half (yet)."""
    if placement.wanted == "incoming":
        old = _other(tx, machine, placement, -1)
        host = tx.get(tables.host, old.host_id) if old is not None else None
        if old is None or host is None:
            return None
        return link.EnsureLanding(spec=spec, attempt=_attempt(machine, placement), sender=host.uuid)
    new = _other(tx, machine, placement, 1) if placement.wanted == "away" else None
    if new is None or new.landing is None or new.moving != Moving.IN:
        return None
    return link.EnsureSent(
        spec=spec,
        there=msgspec.structs.replace(specs.spec_of(tx, machine, new, ""), incarnation=new.incarnation),
        place=msgspec.convert(new.landing, LandingPlace),
        attempt=_attempt(machine, new),
    )


def _is_control(of: NicRow | Segment) -> bool:
    return of.traffic == Traffic.CONTROL


def _attempt(machine: Row, incoming: Row) -> str:
    """Each incarnation comes once."""
    return f"{machine.uuid}.{incoming.incarnation}"


def _other(tx: Tx, machine: Row, placement: Row, way: int) -> Row | None:
    """The incarnation before this one (way -1), or the one after it."""
    rows = machines.placements_of(tx, machine.id)
    return next((row for row in rows[::way] if (row.incarnation - placement.incarnation) * way > 0), None)
