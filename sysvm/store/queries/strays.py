"""What a host has against what is recorded: strays, read-only databases, and adoption after a recovery.

A stray is an incarnation on a host that no placement of that host knows. The rows are read after the look, so that what
was recorded while the host looked is no stray; what left the records meanwhile has left the host as well.

After a recovery from a backup (`recover`) the records are older than the hosts. Until a host is adopted nothing is done on
it and nothing is placed in its zone: what runs there is taken into the records first, in the incarnation that runs. What
the records do not know at all is listed and kept, never stopped: it may be the very thing that the backup was too old for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from sysvm.basics.ids import Ids, SystemIds
from sysvm.store import tables
from sysvm.store.queries import alerts, events, settings, turns
from sysvm.store.queries.alerts import AlertType
from sysvm.store.queries.events import About
from sysvm.store.store import Row, Tx
from sysvm.wire.machines import MachineSeen, Power

FIRST_EPOCH = 1
FENCES_PER_EPOCH = 1000
_ids: Ids = SystemIds()
ROLLED_BACK = "this database was rolled back: nothing is changed on hosts until `sysvm recover` has been run"


@dataclass(frozen=True, slots=True)
class Strays:
    """What is to be done about them."""

    stop: tuple[MachineSeen, ...] = ()
    remove: tuple[MachineSeen, ...] = ()


# ---------------------------------------------------------------- may anything be done?
def read_only(tx: Tx) -> str:
    """Why hosts must be left alone; empty when they need not."""
    flag, _ = _standing(tx)
    return ROLLED_BACK if flag else ""


def _standing(tx: Tx) -> tuple[bool, int]:
    """Whether the database was rolled back, and its epoch: asked about each thing that is looked at."""
    standing = "select read_only, epoch from cloud"
    ((flag, epoch),) = tx.once(standing, lambda: tx.sql(standing), tables.cloud)
    return bool(flag), int(epoch)


def must_wait(tx: Tx, host_id: int) -> str:
    """Why nothing may be done on this host now; empty when it may."""
    flag, epoch = _standing(tx)
    if flag:
        return ROLLED_BACK
    if epoch > FIRST_EPOCH and not is_adopted(tx, host_id, epoch):
        return "the database was recovered: what runs on the host is being adopted first"
    return ""


def is_adopted(tx: Tx, host_id: int, epoch: int) -> bool:
    """Whether what runs on the host is in the records of this epoch."""
    return bool(tx.sql("select 1 from adoption where host_id = :host and epoch >= :epoch", host=host_id, epoch=epoch))


UNADOPTED = """
select h.name from host h where h.zone_id = :zone and h.removed is null and h.connected is not null
and not exists (select 1 from adoption a where a.host_id = h.id and a.epoch >= :epoch) order by h.id limit 1
"""


def must_not_place(tx: Tx, zone_id: int) -> str:
    """Why no machine of the zone may get a host now: it may run on one that has not been seen since the recovery."""
    _, epoch = _standing(tx)
    waits = tx.sql(UNADOPTED, zone=zone_id, epoch=epoch) if epoch > FIRST_EPOCH else []
    if not waits:
        return ""
    return f"host {waits[0][0]} has not been seen since the recovery; wait for it, or remove it with deleteHost"


# ---------------------------------------------------------------- comparing
def compare(tx: Tx, host: Row, seen: Sequence[MachineSeen]) -> Strays:
    """Adopts what has to be, writes down the strays, and says what is to be done about them."""
    flag, epoch = _standing(tx)
    if flag:
        return Strays()
    adopting = not is_adopted(tx, host.id, epoch)
    if adopting and epoch > FIRST_EPOCH:
        for one in seen:
            _adopt(tx, host, one)
    found = _unknown(tx, host, seen)
    _write(tx, host, found, kept=adopting and epoch > FIRST_EPOCH)
    if adopting:
        _adopted(tx, host, epoch)
    return _to_do(tx, host, found)


def _unknown(tx: Tx, host: Row, seen: Sequence[MachineSeen]) -> list[MachineSeen]:
    placed = tx.sql(
        "select m.uuid, p.incarnation from placement p join machine m on m.id = p.machine_id"
        " where p.host_id = :host and p.removed is null",
        host=host.id,
    )
    known = {(uuid, incarnation) for uuid, incarnation in placed}
    return [one for one in seen if one.power is not Power.ABSENT and (one.machine, one.incarnation) not in known]


def of_host(tx: Tx, host_id: int) -> Sequence[Row]:
    """The strays that are there now."""
    table = tables.stray
    return tx.all(sa.select(table).where(table.c.host_id == host_id, table.c.removed.is_(None)).order_by(table.c.id))


def _write(tx: Tx, host: Row, found: list[MachineSeen], *, kept: bool) -> None:
    now_there = {(one.machine, one.incarnation): one for one in found}
    standing = {(row.machine, row.incarnation): row for row in of_host(tx, host.id)}
    for place, row in standing.items():
        if place not in now_there:
            tx.update(tables.stray, row.id, removed=tx.now)
        elif row.power != now_there[place].power:
            tx.update(tables.stray, row.id, power=str(now_there[place].power))
    for (machine, incarnation), one in now_there.items():
        if (machine, incarnation) not in standing:
            tx.insert(
                tables.stray,
                uuid=_ids.uuid(),
                host_id=host.id,
                machine=machine,
                incarnation=incarnation,
                power=str(one.power),
                kept=kept,
                found=tx.now,
            )
            _say(tx, host, one, kept=kept)


def _say(tx: Tx, host: Row, one: MachineSeen, *, kept: bool) -> None:
    text = f"Host {host.name} has machine {one.machine} (incarnation {one.incarnation}), which is in no record: "
    text += "it is left alone, since the database was recovered" if kept else "it is stopped, and removed after a while"
    events.record(tx, "HOST.STRAY", text, about=About("Host", host.id, host.uuid, host.name), level="WARN")
    alerts.raise_alert(tx, AlertType.SYNC, text, zone=host.zone_id)


def _to_do(tx: Tx, host: Row, found: list[MachineSeen]) -> Strays:
    grace = float(settings.value(tx, "sweep.grace"))
    rows = {(row.machine, row.incarnation): row for row in of_host(tx, host.id)}
    mine = [(one, rows[one.machine, one.incarnation]) for one in found]
    free = [(one, row) for one, row in mine if not row.kept and one.power is not Power.UNKNOWN]
    return Strays(
        stop=tuple(one for one, _ in free if one.power is not Power.STOPPED),
        remove=tuple(one for one, row in free if one.power is Power.STOPPED and (row.doomed or row.found + grace <= tx.now)),
    )


# ---------------------------------------------------------------- an operator's word
def keep(tx: Tx, stray: Row) -> None:
    """It is left as it is until somebody says otherwise."""
    tx.update(tables.stray, stray.id, kept=True, doomed=False)


def doom(tx: Tx, stray: Row) -> None:
    """It is stopped and removed without waiting for the grace."""
    tx.update(tables.stray, stray.id, kept=False, doomed=True)
    turns.look_again(tx, "sweep", stray.host_id)


# ---------------------------------------------------------------- recovery
def recover(tx: Tx) -> int:
    """A new epoch for a database that was restored from a backup; its number.

    It is taken from the clock, as is the floor of all fences: so both are above whatever another recovery from the same
    backup has used.
    """
    ((id_, epoch),) = tx.sql("select id, epoch from cloud")
    new = max(int(epoch) + 1, int(tx.now))
    floor = new * FENCES_PER_EPOCH
    tx.update(tables.cloud, id_, epoch=new, read_only=False)
    tx.sql("update turn set session = null, due = 0")
    tx.sql("update turn set fence = :floor where fence < :floor", floor=floor)
    tx.sql("update machine set fence = :floor where fence < :floor", floor=floor)
    tx.sql("update host set link_session = null")
    tx.sql("delete from session")
    events.record(tx, "MANAGEMENT.RECOVER", f"The database was recovered: epoch {new}", level="WARN")
    return new


def _adopt(tx: Tx, host: Row, seen: MachineSeen) -> None:
    """The incarnation that runs here is the machine's, whatever the backup says."""
    table = tables.machine
    machine = tx.one(sa.select(table).where(table.c.uuid == seen.machine, table.c.removed.is_(None)))
    if machine is None or seen.power is Power.ABSENT:
        return
    changes = {"fence": max(machine.fence, seen.fence)}
    if seen.incarnation >= machine.incarnation:
        changes |= {"incarnation": seen.incarnation, "host_id": host.id}
    tx.update(table, machine.id, **changes)
    placement = _placed(tx, host, machine, seen)
    fence = changes["fence"]
    turns.wish(tx, "placement", placement, host=host.id, fence=fence)
    tx.sql(
        "update turn set fence = :fence where kind = 'placement' and id = :id and fence < :fence",
        fence=fence,
        id=placement,
    )
    turns.wish(tx, "machine", machine.id)


def _placed(tx: Tx, host: Row, machine: Row, seen: MachineSeen) -> int:
    """Its placement, with the present power; the machine's turn tells it what it shall be."""
    table = tables.placement
    facts = {"power": str(seen.power), "told": 0, "settled": 0, "removed": None}
    row = tx.one(
        sa.select(table).where(
            table.c.machine_id == machine.id, table.c.host_id == host.id, table.c.incarnation == seen.incarnation
        )
    )
    if row is not None:
        tx.update(table, row.id, **facts)
        return int(row.id)
    wanted = "running" if seen.power is Power.RUNNING else "stopped"
    return tx.insert(
        table, machine_id=machine.id, host_id=host.id, incarnation=seen.incarnation, wanted=wanted, created=tx.now,
        **facts,
    )  # fmt: skip


def _adopted(tx: Tx, host: Row, epoch: int) -> None:
    tx.sql(
        "insert into adoption (host_id, epoch) values (:host, :epoch) on conflict (host_id) do update set epoch = :epoch",
        host=host.id,
        epoch=epoch,
    )
    if epoch > FIRST_EPOCH:
        for (id_,) in tx.sql("select id from placement where host_id = :host and removed is null", host=host.id):
            turns.look_again(tx, "placement", id_)
