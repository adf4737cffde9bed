"""Strays: what hosts have that is in no record (an extension; CloudStack has nothing like it).

They are found, stopped, kept for `sweep.grace` seconds and then removed by each host's sweep. Here they are listed, kept for
longer, or given to the next sweep. What a host cannot reach any more is not listed: a stray ends with the look that no
longer finds it.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sysvm.api.answers.strays import stray
from sysvm.api.call import Call, Reply, Rows, Success
from sysvm.api.handlers import handler
from sysvm.api.listing import list_rows
from sysvm.store import tables
from sysvm.store.queries import settings, strays
from sysvm.store.queries.events import About
from sysvm.store.store import Row, Tx


@handler("listStrays")
def list_strays(call: Call) -> Rows:
    """Those that are there now, with what is known of them."""
    table, host, zone, machine = tables.stray, tables.host, tables.zone, tables.machine
    statement = (
        sa.select(
            table,
            host.c.uuid.label("host_uuid"),
            host.c.name.label("host_name"),
            zone.c.uuid.label("zone_uuid"),
            zone.c.name.label("zone_name"),
            machine.c.name.label("machine_name"),
            machine.c.kind.label("machine_kind"),
            machine.c.removed.label("machine_removed"),
            machine.c.incarnation.label("machine_incarnation"),
        )
        .join(host, host.c.id == table.c.host_id)
        .join(zone, zone.c.id == host.c.zone_id)
        .outerjoin(machine, machine.c.uuid == table.c.machine)
        .where(table.c.removed.is_(None))
        .order_by(table.c.id)
    )

    def answer(tx: Tx, rows: Sequence[Row]) -> list[dict[str, Any]]:
        grace = float(settings.value(tx, "sweep.grace"))
        return [stray(row, grace) for row in rows]

    refs = {"hostid": (host, table.c.host_id), "zoneid": (zone, host.c.zone_id)}
    return list_rows(call, statement, table, answer, refs=refs, keyword=(table.c.machine, machine.c.name))


@handler("keepStray")
def keep_stray(call: Call) -> Reply:
    """Nobody stops or removes it any more."""
    row, about = _found(call)
    strays.keep(call.tx, row)
    return Success(about=about, description=f"keeping stray {row.machine}")


@handler("removeStray")
def remove_stray(call: Call) -> Reply:
    """The next sweep of its host does it, at once where the host is linked. It is listed until it is gone."""
    row, about = _found(call)
    strays.doom(call.tx, row)
    return Success(about=about, description=f"removing stray {row.machine}")


def _found(call: Call) -> tuple[Row, About]:
    row = call.row(tables.stray, "id")
    assert row is not None  # the parameter is required, and what is gone from its host is not found
    host = call.tx.get(tables.host, row.host_id)
    assert host is not None
    return row, About("Host", host.id, host.uuid, host.name)
