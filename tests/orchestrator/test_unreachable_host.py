"""A host that nobody can reach: one alert with the next step, nothing touched, and the end of it when it comes back."""

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import links
from tests.simulation.cloud import Cloud, running
from tests.simulation.loop import run


def test_a_host_without_a_link_is_one_alert_and_nothing_else():
    """A minute after its link ended, once; its guests stay as they are; the alert ends with the next link."""

    async def main(cloud: Cloud) -> None:
        async with cloud.server():
            zone = await cloud.zone(guests_only=True)
            guest = await cloud.guest(await cloud.network(zone), "g1")
            await cloud.until(running(guest))
            (host,) = await cloud.store.read(lambda tx: list(tx.all(sa.select(tables.host))))
            before = await cloud.earth.hosts[host.id].inventory()
            await cloud.store.run(lambda tx: links.link_down(tx, host.id, host.connected))
            await cloud.clock.sleep(300)
            row = await cloud.row(tables.host, host.id)
            assert "Alert" == row.state
            alerts = await cloud.store.read(lambda tx: list(tx.all(sa.select(tables.alert))))
            told = [alert for alert in alerts if "unreachable" in alert.subject]
            assert 1 == len(told) and 1 == told[0].sent_count and "deleteHost" in told[0].content
            assert before == await cloud.earth.hosts[host.id].inventory()

    cloud = Cloud()
    run(cloud.clock, main(cloud))
