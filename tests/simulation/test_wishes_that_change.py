"""Somebody wants it otherwise while the first wish is being served, at every fault point: the last wish counts."""

import pytest
import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import machines
from sysvm.store.store import Row, Tx
from tests.simulation.cloud import Cloud, add_guest, gone, running
from tests.simulation.faults import Strike, everywhere
from tests.simulation.life import check
from tests.simulation.volume_life import open_job


def _one(tx: Tx, kind: str) -> Row | None:
    table = tables.machine
    return tx.one(sa.select(table).where(table.c.kind == kind, table.c.removed.is_(None)).order_by(table.c.id))


class Quarrel:
    """A guest is started; somebody interferes; in the end what was wanted last is so."""

    def __init__(self, change: str) -> None:
        self._change = change
        self._done = False

    async def strike(self, cloud: Cloud, _name: str) -> None:
        """The other wish, as soon as there is something to want otherwise."""
        self._done = await cloud.store.run(lambda tx: getattr(self, self._change)(tx, cloud))

    def replace_router(self, tx: Tx, _cloud: Cloud) -> bool:
        router = _one(tx, "router")
        if router is not None:
            machines.replace(tx, router)
        return router is not None

    def stop_guest(self, tx: Tx, _cloud: Cloud) -> bool:
        guest = _one(tx, "guest")
        if guest is not None:
            open_job(tx, machines.want(tx, guest, "stopped"))
        return guest is not None

    def stop_and_start_guest(self, tx: Tx, _cloud: Cloud) -> bool:
        guest = _one(tx, "guest")
        if guest is not None:
            open_job(tx, machines.want(tx, guest, "stopped"))
            open_job(tx, machines.want(tx, guest, "running"))
        return guest is not None

    def destroy_guest(self, tx: Tx, _cloud: Cloud) -> bool:
        guest = _one(tx, "guest")
        if guest is not None:
            open_job(tx, machines.want(tx, guest, "gone"))
        return guest is not None

    def another_guest(self, tx: Tx, cloud: Cloud) -> bool:
        network = tx.one(sa.select(tables.network))
        if network is not None:
            add_guest(tx, cloud.ids, network.id, "g2")
        return network is not None

    async def story(self, cloud: Cloud) -> None:
        """From the empty zone to the rest."""
        zone = await cloud.zone(hosts=2, guests_only=True)
        network = await cloud.network(zone)
        guest = await cloud.guest(network, "g1")
        await cloud.until(lambda tx: self._done or running(guest)(tx))
        await self._end(cloud, guest)
        await cloud.until(lambda tx: not tx.rows(tables.job, "status = 0"))  # nobody waits for ever
        await check(cloud)

    async def _end(self, cloud: Cloud, guest: int) -> None:
        if not self._done or self._change in ("stop_and_start_guest", "another_guest"):
            await cloud.until(running(guest))
            for other in await cloud.store.read(lambda tx: tx.rows(tables.machine, "kind = 'guest'")):
                await cloud.until(running(other.id))
        elif self._change == "stop_guest":
            await cloud.until(lambda tx: _rests(tx, guest, "stopped"))
        elif self._change == "destroy_guest":
            await cloud.until(gone(guest))
            await cloud.until(lambda tx: _one(tx, "router") is None, patience_s=3000)
        else:
            await cloud.until(running(guest))
            router = await cloud.store.read(lambda tx: _one(tx, "router"))
            assert router is not None and 2 == router.incarnation
            await cloud.until(running(router.id))


def _rests(tx: Tx, machine: int, outcome: str) -> bool:
    row = tx.get(tables.machine, machine)
    reached = ((row.details or {}) if row is not None else {}).get("reached", "")
    return row is not None and row.power in ("stopped", "absent") and reached.startswith(outcome)


CHANGES = ["replace_router", "stop_guest", "stop_and_start_guest", "destroy_guest", "another_guest"]


@pytest.mark.parametrize("change", CHANGES)
def test_the_last_wish_counts(change: str):
    """Whenever it comes."""
    quarrel = Quarrel(change)
    strike: Strike = quarrel.strike
    assert everywhere(quarrel.story, strike, every=2) > 15
