"""Which hosts have room: what is placed on a host is counted on its row, so that choosing among thousands reads a few.

The counts are made anew from the placements by each transaction that adds or ends one, so they cannot drift.
"""

from sysvm.store import tables
from sysvm.store.store import Row, Tx

RECOUNT = """
update host set
    machines = (select count(*) from placement p where p.host_id = host.id and p.removed is null),
    memory_free_mb = memory_bytes / 1048576 - (
        select coalesce(sum(coalesce(m.memory_mb, o.memory_mb, 0)), 0)
        from placement p join machine m on m.id = p.machine_id join service_offering o on o.id = m.service_offering_id
        where p.host_id = host.id and p.removed is null)
where id = :host
"""

# In the planner's order (systemvms.machine.choose_host); the planner has the last word.
ROOMY = """
zone_id = :zone and removed is null and state = 'Up' and resource_state = 'Enabled' and link_session is not null
and (:hypervisor = '' or hypervisor = :hypervisor) and memory_free_mb >= :memory_mb
and cluster_id in (select id from cluster where allocation_state = 'Enabled')
order by machines, memory_free_mb desc, id limit :count
"""


def recount(tx: Tx, host_id: int) -> None:
    """What is placed on the host has changed."""
    tx.sql(RECOUNT, host=host_id)


def roomy_hosts(tx: Tx, zone_id: int, hypervisor: str, memory_mb: int, count: int) -> list[Row]:
    """The `count` least loaded hosts of the zone that have this much memory free."""
    return tx.rows(tables.host, ROOMY, zone=zone_id, hypervisor=hypervisor, memory_mb=memory_mb, count=count)


MIRRORED = ("power", "agent_up", "document_wanted", "document_live", "faults", "service_notes", "note")


NOWHERE: dict[str, object] = {"power": "absent", "agent_up": False, "document_live": "", "faults": [], "service_notes": []}


def show(tx: Tx, machine_id: int) -> None:
    """The machine's row shows the facts of the incarnation that serves, else of the wanted one, else of the last one
    that is somewhere, so that lists need no join."""
    machine = tx.get(tables.machine, machine_id)
    rows = tx.rows(tables.placement, "machine_id = :machine and removed is null order by id", machine=machine_id)
    if machine is None:
        return
    # While it moves there are two of one incarnation: the one that has it is on the machine's host.
    mine = [row for row in rows if row.incarnation == machine.incarnation]
    wanted = max(mine, key=lambda row: (row.host_id == machine.host_id, row.id), default=None)
    others = (row for row in rows if row.document_live and row.wanted in ("running", "away"))
    serving = wanted if wanted is not None and wanted.document_live else next(others, wanted)
    shown = serving if serving is not None else next(reversed(rows), None)
    facts = {name: getattr(shown, name) for name in MIRRORED} if shown is not None else NOWHERE
    changed = {name: value for name, value in facts.items() if value != getattr(machine, name)}
    if changed:
        tx.update(tables.machine, machine_id, **changed)
