"""Routers as the API lists them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.prepared import Prepared
from sysvm.store.queries import machine_rows, nics
from sysvm.store.queries.machines import INTERNAL_LB
from sysvm.store.queries.nics import NicRow
from sysvm.store.store import Row, Tx, among


class NetworkName(NamedTuple):
    """What a NIC's row says of its network."""

    id: int
    uuid: str
    name: str
    guest_type: str
    isolation: str
    tag: int | None


@dataclass(frozen=True, slots=True)
class MachineView:
    """A joined machine row with its NICs and the networks that they are on."""

    row: Row
    nics: tuple[NicRow, ...]
    networks: Mapping[int, NetworkName]

    def nic(self, traffic: str) -> NicRow | None:
        """The first NIC of that traffic."""
        for nic in self.nics:
            if nic.traffic == traffic:
                return nic
        return None


@cache
def living() -> Prepared:
    """All living routers of networks and VPCs."""
    return _routers(tables.machine.c.role != INTERNAL_LB)


@cache
def internal_balancers() -> Prepared:
    """All living machines that balance inside tiers."""
    return _routers(tables.machine.c.role == INTERNAL_LB)


def _routers(of_role: sa.ColumnElement[bool]) -> Prepared:
    machine = tables.machine.c
    unshown = machine_rows.OF_GUESTS | machine_rows.OF_SYSTEM_VMS
    statement = machine_rows.statement(machine.kind == "router", of_role, machine.removed.is_(None), without=unshown)
    return Prepared(statement, order=(machine.id,))


def one(tx: Tx, machine_id: int) -> MachineView | None:
    """One machine of any kind, removed or not."""
    row = machine_rows.one(tx, machine_id)
    return views(tx, [row])[0] if row is not None else None


def views(tx: Tx, rows: Sequence[Row]) -> list[MachineView]:
    """The rows with their NICs."""
    by_machine = nics.of_machines(tx, [row.id for row in rows])
    ids = {nic.network_id for held in by_machine.values() for nic in held if nic.network_id is not None}
    names = network_names(tx, ids)
    return [MachineView(row, tuple(by_machine.get(row.id, ())), names) for row in rows]


NAMES = "select id, uuid, name, guest_type, isolation, tag from network where id in ({ids})"


def network_names(tx: Tx, ids: set[int]) -> dict[int, NetworkName]:
    """Names of networks by id."""
    if not ids:
        return {}
    places, values = among(ids)
    rows = tx.sql(NAMES.format(ids=places), **values)
    return {row[0]: NetworkName._make(row) for row in rows}
