"""A whole simulated server, its API and some hosts, for one story in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.store import Row, Tx
from sysvm.wire.machines import MachineSeen
from tests.simulation.client import Client, ground
from tests.simulation.cloud import Cloud
from tests.simulation.loop import run

LONGEST_S = 20000.0  # virtual


class Tale:
    """A cloud and the admin in it."""

    def __init__(self, cloud: Cloud, zone_id: int) -> None:
        self.cloud = cloud
        self.zone_id = zone_id
        self.client = Client(cloud)
        self.ask, self.job, self.one = self.client.ask, self.client.job, self.client.one

    async def rows(self, table: sa.Table, *where: Any) -> list[Row]:
        """Rows of a table."""
        return list(await self.cloud.store.read(lambda tx: tx.all(sa.select(table).where(*where).order_by(table.c.id))))

    async def until(self, condition: Callable[[Tx], Any], **given: Any) -> Any:
        """See Cloud.until."""
        return await self.cloud.until(condition, **given)

    async def everywhere(self) -> list[MachineSeen]:
        """Whatever any host has."""
        return [seen for host in self.cloud.earth.hosts.values() for seen in await host.driver.look_all()]

    async def on(self, host_id: int) -> list[str]:
        """UUIDs of what one host has."""
        return [seen.machine for seen in await self.cloud.earth.hosts[host_id].driver.look_all()]

    async def system_vms(self, count: int) -> list[dict[str, Any]]:
        """The system VMs, once that many are Running."""
        for _ in range(600):
            found = await self.ask("listSystemVms")
            if count == len(found) == sum(row["state"] == "Running" for row in found):
                return found
            await self.cloud.clock.sleep(1)
        raise AssertionError(f"not {count} running system VMs: {found}")

    async def offering(self) -> dict[str, Any]:
        """A small compute offering."""
        return await self.ask("createServiceOffering", name="g", displaytext="g", cpunumber=1, cpuspeed=500, memory=128)

    async def network(self) -> dict[str, Any]:
        """An isolated network."""
        zone = await self.one("listZones")
        offering = await self.one("listNetworkOfferings", name="DefaultIsolatedNetworkOfferingWithSourceNatService")
        return await self.ask("createNetwork", zoneid=zone["id"], name="n", displaytext="n", networkofferingid=offering["id"])

    async def traffic(self) -> None:
        """The physical network carries all that a zone must have to be enabled."""
        (physical,) = await self.ask("listPhysicalNetworks")
        for kind in ("Management", "Public"):
            await self.ask("addTrafficType", physicalnetworkid=physical["id"], traffictype=kind)

    async def alerts(self) -> list[str]:
        """What stands in the alerts."""
        return [row.subject for row in await self.rows(tables.alert)]

    async def told(self) -> list[str]:
        """What stands in the events."""
        return [row.description for row in await self.rows(tables.event)]


def tell(story: Callable[[Tale], Awaitable[None]], **zone: Any) -> None:
    """Runs a story in a fresh cloud; `zone`: see Cloud.zone."""
    cloud = Cloud()

    async def main() -> None:
        async with cloud.server():
            zone_id = await cloud.zone(**zone)
            await cloud.store.run(lambda tx: ground(tx, cloud, zone_id))
            await asyncio.wait_for(story(Tale(cloud, zone_id)), LONGEST_S)

    run(cloud.clock, main())


# ---------------------------------------------------------------- what many stories begin with
async def a_guest(tale: Tale) -> dict[str, Any]:
    """It runs."""
    zone, offering, network = await tale.one("listZones"), await tale.offering(), await tale.network()
    guest = await tale.job("deployVirtualMachine", zoneid=zone["id"], serviceofferingid=offering["id"],
                           networkids=network["id"], templateid="5b0f2f3c-0000-4000-8000-000000000001")  # fmt: skip
    return await tale.one("listVirtualMachines", id=guest["id"])


async def registered(tale: Tale, name: str = "t", *, packed: bool = False, **more: Any) -> dict[str, Any]:
    """A template that shall be downloaded."""
    url = f"http://example.org/{name}.raw{'.xz' if packed else ''}"
    zone = await tale.one("listZones")
    return (
        await tale.ask("registerTemplate", name=name, displaytext=name, url=url, format="RAW",
                       hypervisor="Simulator", zoneid=zone["id"], **more)
    )[0]  # fmt: skip


async def status(tale: Tale, template: dict[str, Any], *, ends: tuple[str, ...]) -> str:
    """Its status once it begins with one of these."""
    for _ in range(4000):
        (row,) = await tale.ask("listTemplates", templatefilter="all", id=template["id"])
        if row["status"].startswith(ends):
            return row["status"]
        await tale.cloud.clock.sleep(1)
    raise AssertionError(row["status"])
