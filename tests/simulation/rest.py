"""What must hold when a cloud has come to rest, whatever happened before. Each fault is a sentence; none: all is well."""

import re
from collections.abc import Iterator

from sysvm.store import tables
from sysvm.store.queries import machines
from sysvm.store.store import Row, Tx
from sysvm.wire.machines import MachineSeen, Power
from tests.simulation.cloud import Cloud

SYSTEM = ("router", "consoleproxy", "secstorage")
EXPLAINED = re.compile(
    r"died \(|keeps dying|is unreachable|up in zone|did not come to its end in time|minutes after it was asked for"
    r"|Management server .* (is gone|was cut off)"
    r"|System VMs of .* cannot be made|was not replaced|could not be replaced"
    r"|both run on host|just switch from BACKUP to PRIMARY"
)
# What a job may end with when others wanted otherwise, or when the weather was too bad for it.
FAILURES = re.compile(r"superseded|gave up|removed|gone|not replaced|is being|withdrawn", re.IGNORECASE)


async def is_quiet(cloud: Cloud) -> str:
    """What is still going on; empty when nothing is."""
    return await cloud.store.read(_going_on)


def _going_on(tx: Tx) -> str:
    if jobs := tx.sql("select command from job where status = 0"):
        return f"jobs run: {jobs}"
    for row in tx.rows(tables.machine, "removed is null order by id"):
        if why := _at_work(tx, row):
            return f"{row.name}: {why} ({row.note})"
    if busy := tx.sql("select kind, id, tries from turn where tries > 0 or due = 0 or session is not null"):
        return f"turns: {busy}"
    for row in tx.rows(tables.network, "removed is null order by id"):
        if row.state not in ("Implemented", "Allocated", "Setup"):
            return f"network {row.name} is {row.state}"
    return ""


def _at_work(tx: Tx, row: Row) -> str:
    if row.wanted == "gone":
        return "it is going"
    reached = (row.details or {}).get("reached", "")
    if row.wanted == "running" and (row.power != "running" or reached != f"running {row.incarnation}"):
        return "it is not running"
    if row.wanted == "stopped" and row.power not in ("stopped", "absent"):
        return "it is not stopped"
    if row.wanted == "running" and row.kind in SYSTEM and (row.document_live != row.document_wanted or not row.agent_up):
        return "its document is not live"
    if any(one.settled < one.told for one in machines.placements_of(tx, row.id)):
        return "its host is at work"
    return ""


async def faults(cloud: Cloud) -> list[str]:
    """Everything that does not hold."""
    seen = {id_: await host.driver.look_all() for id_, host in cloud.earth.hosts.items()}
    found = await cloud.store.read(lambda tx: [*_hosts(tx, seen), *_rows(tx), *_records(tx)])
    return [*found, *_agents(cloud), *await cloud.store.read(lambda tx: list(_volumes(tx, cloud)))]


def _hosts(tx: Tx, seen: dict[int, tuple[MachineSeen, ...]]) -> Iterator[str]:
    """Each host has what its placements say, and nothing else; each machine runs once, or not at all."""
    rows = {row.uuid: row for row in tx.rows(tables.machine, "1 = 1")}
    placed = {(row.host_id, row.machine_id, row.incarnation): row for row in tx.rows(tables.placement, "removed is null")}
    running: dict[str, int] = {}
    for host, machines_ in seen.items():
        for one in machines_:
            row = rows.get(one.machine)
            name = row.name if row is not None else one.machine
            if row is None or (host, row.id, one.incarnation) not in placed:
                yield f"host {host} has {name} (incarnation {one.incarnation}, {one.power}), which is not placed there"
            if one.power is Power.RUNNING:
                running[one.machine] = running.get(one.machine, 0) + 1
    for uuid, row in rows.items():
        wanted = int(row.removed is None and row.wanted == "running")
        if running.get(uuid, 0) != wanted:
            yield f"{row.name} is wanted {row.wanted} and runs {running.get(uuid, 0)} times"
    for (host, machine, incarnation), row in placed.items():
        there = [one for one in seen[host] if rows_id(rows, one) == machine and one.incarnation == incarnation]
        power = there[0].power if there else Power.ABSENT
        if power != row.power:
            yield f"machine {machine} on host {host} is {power}, its placement says {row.power}"


def rows_id(rows: dict[str, Row], one: MachineSeen) -> int | None:
    """The id of a machine that a host has."""
    row = rows.get(one.machine)
    return row.id if row is not None else None


ADDRESSES = {
    "a public address belongs to nobody": "select address from public_ip p where p.state = 'Allocated' and not exists "
    "(select 1 from network n where n.id = p.network_id and n.removed is null) and not exists "
    "(select 1 from machine m where m.id = p.machine_id and m.removed is null)",
    "a free public address belongs to a network": "select address from public_ip where state = 'Free' and "
    "(network_id is not null or machine_id is not null)",
    "a control address belongs to a machine that is not there": "select c.address from control_ip c where "
    "c.machine_id is not null and not exists (select 1 from placement p where p.machine_id = c.machine_id and "
    "p.host_id = c.host_id and p.removed is null)",
    "a private address belongs to a machine that is gone": "select p.address from private_ip p join nic n on n.id = p.nic_id "
    "join machine m on m.id = n.machine_id where m.removed is not null",
    "two NICs of a network have one address": "select a.network_id, a.address from nic_address a join nic n on n.id = a.nic_id "
    "join machine m on m.id = n.machine_id where a.network_id is not null and a.removed is null and m.removed is null "
    "group by a.network_id, a.address having count(*) > 1",
    "a network has two routers": "select network_id from machine where kind = 'router' and role <> 'INTERNAL_LB_VM' "
    "and removed is null and network_id not in (select id from network where redundant) "
    "group by network_id having count(*) > 1",
    "a redundant network has three routers": "select network_id from machine where kind = 'router' and removed is null "
    "and redundant group by network_id having count(*) > 2",
    "two routers of a pair serve": "select network_id from machine where kind = 'router' and removed is null and redundant "
    "and redundant_state = 'PRIMARY' group by network_id having count(*) > 1",
    "a redundant network is served by one router": "select id from network n where redundant and removed is null "
    "and state = 'Implemented' and vpc_id is null and 2 <> (select count(*) from machine m where m.network_id = n.id "
    "and m.kind = 'router' and m.removed is null)",
    "nobody of a pair serves": "select id from network n where redundant and removed is null and state = 'Implemented' "
    "and vpc_id is null and not exists (select 1 from machine m where m.network_id = n.id and m.kind = 'router' "
    "and m.redundant_state = 'PRIMARY' and m.removed is null)",
    "a machine that is gone is placed": "select p.id from placement p join machine m on m.id = p.machine_id "
    "where p.removed is null and m.removed is not null",
    "a machine is placed twice": "select machine_id from placement where removed is null group by machine_id having count(*) > 1",
    "a stray is there": "select machine from stray where removed is null",
    "a part of a job is open": "select id from job_part where state = 0",
    "a turn is about a machine that is gone": "select id from turn where kind = 'machine' and id in "
    "(select id from machine where removed is not null)",
    "a host's count of machines has drifted": "select id from host h where machines <> "
    "(select count(*) from placement p where p.host_id = h.id and p.removed is null)",
    "a note tells of an internal error": "select name from machine where note like '%internal error%'",
}


def _rows(tx: Tx) -> Iterator[str]:
    for sentence, query in ADDRESSES.items():
        for row in tx.sql(query):
            yield f"{sentence}: {row}"


def _records(tx: Tx) -> Iterator[str]:
    """Whoever reads the records is told why things are as they are."""
    for row in tx.rows(tables.alert, "1 = 1"):
        if not EXPLAINED.search(row.subject):
            yield f"an alert that nobody can explain: {row.subject}"
    for row in tx.rows(tables.job, "status = 2"):
        if not FAILURES.search(row.result or ""):
            yield f"{row.command} failed without a reason that anybody would accept: {row.result}"


def _agents(cloud: Cloud) -> Iterator[str]:
    """What is live in a system VM is what its host says is live."""
    for host in cloud.earth.hosts.values():
        for life in host.driver.lives():
            seen = host.agents.seen(life.spec.machine, life.spec.incarnation)
            if life.running and str(life.spec.kind) in SYSTEM and (seen is None or not seen.live):
                yield f"{life.spec.name} has no live document"


def _volumes(tx: Tx, cloud: Cloud) -> Iterator[str]:
    """Bytes of volumes that were removed are gone."""
    kept = {row.uuid for row in tx.rows(tables.volume, "removed is null")}
    for id_, host in cloud.earth.hosts.items():
        there = {name.rsplit("/", 1)[-1] for name in host.storage._volumes}
        yield from (f"host {id_} has the bytes of volume {uuid}, which is gone" for uuid in sorted(there - kept))
