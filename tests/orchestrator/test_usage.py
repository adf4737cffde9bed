"""Traffic of public addresses: what routers tell becomes usage records, and nothing counts twice."""

from typing import Any

from sysvm.api import metrics
from sysvm.store.queries import machines, usage
from sysvm.wire.channel import Counter, TrafficReport
from tests.orchestrator.tale import Tale, tell
from tests.simulation.cloud import running

HOUR = 3600.0
DATES = {"startdate": "2023-11-01", "enddate": "2023-12-31"}


class Meter:
    """A router that tells what a test wants."""

    def __init__(self, tale: Tale, machine: str, address: str) -> None:
        self.tale, self.machine, self.address = tale, machine, address

    async def says(self, life: str, sent: int, received: int) -> None:
        """A report about the network's address, and about one that is not its own."""
        counters = (
            Counter(address=self.address, sent=sent, received=received),
            Counter(address="192.0.2.99", sent=10**9, received=10**9),
        )
        report = TrafficReport(life=life, counters=counters)
        await self.tale.cloud.store.run(lambda tx: usage.metered(tx, self.machine, report))

    async def records(self, **more: Any) -> dict[int, list[int]]:
        """Bytes by type, oldest period first."""
        found: dict[int, list[int]] = {}
        for row in await self.tale.ask("listUsageRecords", **{**DATES, **more}):
            found.setdefault(row["usagetype"], []).append(int(row["rawusage"]))
        return found


async def meter(tale: Tale) -> Meter:
    """A network with a router."""
    network = await tale.cloud.network(tale.zone_id)
    guest = await tale.cloud.guest(network, "g")
    await tale.until(running(guest))
    (router,) = await tale.cloud.store.read(lambda tx: machines.routers_of(tx, network))
    (ip,) = await tale.ask("listPublicIpAddresses", listall="true", issourcenat="true")
    return Meter(tale, router.uuid, ip["ipaddress"])


def test_only_what_has_grown_counts_whatever_is_lost_or_told_twice():
    """A late report of an older life, or a counter that was made anew, never takes anything away."""

    async def story(tale: Tale) -> None:
        one = await meter(tale)
        assert await one.records() == {}
        await one.says("a", 100, 1000)
        await one.says("a", 100, 1000)
        await one.says("a", 150, 1600)
        assert await one.records() == {4: [150], 5: [1600]}
        await one.says("b", 30, 0)  # replaced by a machine of its own: it begins at nothing
        await one.says("b", 10, 5)  # somebody has made the ruleset anew by hand
        assert await one.records() == {4: [190], 5: [1605]}
        await one.tale.cloud.store.run(lambda tx: usage.metered(tx, "nobody", TrafficReport(life="a", counters=())))

    tell(story)


def test_each_period_has_a_record_and_dates_choose_among_them():
    """An hour each, because a setting says so; the record names what it is about."""

    async def story(tale: Tale) -> None:
        one = await meter(tale)
        await tale.ask("updateConfiguration", name="usage.stats.job.aggregation.range", value="60")
        await one.says("a", 1, 10)
        await tale.cloud.clock.sleep(HOUR)
        await one.says("a", 3, 30)
        assert await one.records() == {4: [1, 2], 5: [10, 20]}
        assert await one.records(startdate="2023-11-14 22:00:00", enddate="2023-11-14 23:00:00") == {4: [1], 5: [10]}
        assert await one.records(startdate="2023-11-14 23:00:00", enddate="2023-11-14", type=5) == {5: [20]}
        row = (await tale.ask("listUsageRecords", type=4, **DATES))[0]
        (ip,) = await tale.ask("listPublicIpAddresses", listall="true", issourcenat="true")
        (network,) = await tale.ask("listNetworks", listall="true")
        assert (row["usageid"], row["networkid"], row["usage"]) == (ip["id"], network["id"], "1 bytes sent")
        assert (row["account"], row["issourcenat"]) == ("admin", True)
        assert await one.records(usageid=network["id"]) == {}
        assert (network["id"], one.address, 3, 30) in await tale.cloud.store.read(usage.totals)
        page = (await metrics.exposition(tale.cloud.store)).decode()
        named = f'{{network="{network["id"]}",address="{one.address}"}}'
        assert f"sysvm_public_address_received_bytes_total{named} 30\n" in page
        assert 'sysvm_machines{kind="router",power="running"} 1\n' in page

    tell(story)
