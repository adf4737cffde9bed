"""Guests as the API lists them, and making their rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.prepared import Prepared
from sysvm.store.queries import (
    affinity_groups,
    instance_groups,
    internal_lbs,
    machine_rows,
    machines,
    routers,
    rules,
    security_groups,
    settings,
    vm_snapshots,
)
from sysvm.store.queries.jobs import Part
from sysvm.store.queries.routers import MachineView
from sysvm.store.store import Row, Tx

KEY_NAMES = "SSH.KeyPairNames"
ENCRYPTED_PASSWORD = "Encrypted.Password"  # for the private half of one of its SSH keys
INTERNAL_DETAILS = frozenset({KEY_NAMES, ENCRYPTED_PASSWORD, "reached", "stayed"})


@dataclass(frozen=True, slots=True)
class GuestView:
    """A guest with what its row shows besides."""

    machine: MachineView
    root: Row | None  # its root volume
    public: Row | None  # a public address with static NAT to it
    guest_os: Row | None
    iso: Row | None
    user_data: Row | None
    groups: Sequence[Row] = ()
    near: Sequence[Row] = ()  # affinity groups
    group: str | None = None  # the uuid of its instance group


@cache
def living() -> Prepared:
    """Living guests."""
    machine = tables.machine.c
    return Prepared(machine_rows.statement(machine.kind == "guest", machine.removed.is_(None)), order=(machine.id,))


def one(tx: Tx, machine_id: int) -> GuestView:
    """A guest, removed or not."""
    row = machine_rows.one(tx, machine_id)
    assert row is not None
    return views(tx, [row])[0]


def views(tx: Tx, rows: Sequence[Row]) -> list[GuestView]:
    """The rows with all around them, in a fixed number of queries."""
    if not rows:
        return []
    ids = {row.id for row in rows}
    roots = {row.machine_id: row for row in _among(tx, tables.volume, "machine_id", ids, "type = 'ROOT' and ")}
    public = {row.machine_id: row for row in _among(tx, tables.public_ip, "machine_id", ids, "static_nat and ")}
    systems = _named(tx, tables.guest_os, [row.template_guest_os_id for row in rows])
    isos = _named(tx, tables.template, [row.iso_id for row in rows])
    data = _named(tx, tables.user_data, [row.user_data_id for row in rows])
    groups = security_groups.of_guests(tx, ids)
    near = affinity_groups.of_guests(tx, ids)
    named = instance_groups.uuids_of(tx, rows)
    return [
        GuestView(
            view,
            roots.get(view.row.id),
            public.get(view.row.id),
            systems.get(view.row.template_guest_os_id),
            isos.get(view.row.iso_id),
            data.get(view.row.user_data_id),
            groups.get(view.row.id, ()),
            near.get(view.row.id, ()),
            named.get((view.row.account_id, view.row.group_name)),
        )
        for view in routers.views(tx, rows)
    ]


def _among(tx: Tx, table: sa.Table, column: str, ids: set[int], condition: str = "") -> Sequence[Row]:
    """Rows whose column is one of `ids` (integers of ours), the oldest last."""
    return tx.rows(table, f"{condition}{column} in ({','.join(map(str, sorted(ids)))}) order by id desc")


def _named(tx: Tx, table: sa.Table, ids: Sequence[int | None]) -> Mapping[Any, Row]:
    wanted = {id_ for id_ in ids if id_ is not None}
    return {row.id: row for row in _among(tx, table, "id", wanted)} if wanted else {}


def volumes_of(tx: Tx, machine_id: int) -> Sequence[Row]:
    """Living volumes of a guest by device."""
    volume = tables.volume
    return tx.all(
        sa.select(volume)
        .where(volume.c.machine_id == machine_id, volume.c.removed.is_(None))
        .order_by(volume.c.device, volume.c.id)
    )


def expunge(tx: Tx, row: Row) -> Part:
    """The guest shall be gone, with what leads to it; its data volumes stay, and are nobody's."""
    for network_id in rules.remove_of_guest(tx, row.id):
        machines.wish_documents(tx, network_id)
        internal_lbs.wish_documents(tx, network_id)
    security_groups.leave(tx, row.id)
    affinity_groups.join(tx, row.id, ())
    volume = tables.volume.c
    tx.change(
        sa.update(tables.volume)
        .where(volume.machine_id == row.id, volume.type != "ROOT", volume.removed.is_(None))
        .values(machine_id=None, device=None, attached=None)
    )
    for snapshot in vm_snapshots.of_machine(tx, row.id):
        vm_snapshots.drop(tx, snapshot)
    tx.update(tables.machine, row.id, destroyed=row.destroyed if row.destroyed is not None else tx.now)
    return machines.want(tx, row, "gone", forced=True)


def due_for_expunge(tx: Tx) -> Sequence[Row]:
    """Guests that were destroyed so long ago that they can no longer be recovered."""
    machine = tables.machine
    delay = float(settings.value(tx, "expunge.delay"))
    return tx.all(
        sa.select(machine)
        .where(
            machine.c.kind == "guest",
            machine.c.removed.is_(None),
            machine.c.wanted != "gone",
            machine.c.destroyed.is_not(None),
            machine.c.destroyed <= tx.now - delay,
        )
        .limit(100)
    )
