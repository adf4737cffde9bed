"""Machines: what is wanted of them. Changes of wishes only; making them true is the orchestrator's."""

from collections.abc import Sequence

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import turns
from sysvm.store.queries.jobs import Part
from sysvm.store.store import Row, Tx

DEADLINE_S = 1800.0


def want(tx: Tx, machine: Row, wanted: str, *, forced: bool = False, host_id: int | None = None) -> Part:
    """The machine shall be running, stopped or gone; `host_id` says where. What a job has to wait for."""
    changes = {"wanted": wanted, "forced": forced, "error": "", "note": "", "deadline": tx.now + DEADLINE_S}
    if host_id is not None:
        changes["wanted_host_id"] = host_id
    tx.update(tables.machine, machine.id, **changes)
    return Part("machine", machine.id, turns.wish(tx, "machine", machine.id), wanted)


def replace(tx: Tx, machine: Row, *, forced: bool = False, host_id: int | None = None) -> Part:
    """The machine shall live its next incarnation (reboot, upgrade, move)."""
    tx.update(tables.machine, machine.id, incarnation=machine.incarnation + 1)
    return want(tx, machine, "running", forced=forced, host_id=host_id)


def routers_of(tx: Tx, network_id: int) -> Sequence[Row]:
    """The living routers of a network."""
    table = tables.machine
    return tx.all(
        sa.select(table).where(table.c.kind == "router", table.c.network_id == network_id, table.c.removed.is_(None))
    )


def wish_documents(tx: Tx, network_id: int) -> tuple[Part, ...]:
    """What the network's routers shall do has changed. Nothing to wait for where no router is wanted."""
    return tuple(
        Part("machine", router.id, turns.wish(tx, "machine", router.id), "live")
        for router in routers_of(tx, network_id)
        if router.wanted == "running"
    )


def wish_document(tx: Tx, machine_id: int) -> Part:
    """What one system VM shall do has changed."""
    return Part("machine", machine_id, turns.wish(tx, "machine", machine_id), "live")


def placements_of(tx: Tx, machine_id: int) -> Sequence[Row]:
    """Where incarnations of the machine are or shall be, oldest first."""
    table = tables.placement
    return tx.all(
        sa.select(table)
        .where(table.c.machine_id == machine_id, table.c.removed.is_(None))
        .order_by(table.c.incarnation, table.c.id)
    )


def machine_by_uuid(tx: Tx, uuid: str) -> Row | None:
    """The living machine with this UUID."""
    table = tables.machine
    return tx.one(sa.select(table).where(table.c.uuid == uuid, table.c.removed.is_(None)))
