"""Wishes that are not served, and machines that keep dying: an alert with the reason, once, and the next step."""

import pytest

from sysvm.store import tables
from sysvm.systemvms.machine import PlacementWanted, Start, Wait, plan_placement
from sysvm.wire.machines import Kind, MachineSeen, Power
from tests.orchestrator.tale import Tale, tell
from tests.simulation.cloud import running


@pytest.mark.parametrize(
    ("deaths", "down_s", "expected"),
    [(0, 0.0, None), (1, 0.0, None), (2, 0.0, 2.0), (2, 2.5, None), (3, 1.0, 4.0), (6, 0.0, 60.0), (99, 0.0, 60.0)],
)
def test_pauses_between_starts_grow(deaths: int, down_s: float, expected: float | None):
    """The first restarts are at once."""
    want = PlacementWanted(Kind.ROUTER, 1, "running", "spec", "document", deaths=deaths, down_s=down_s)
    act = plan_placement(want, MachineSeen(machine="m", incarnation=1, power=Power.STOPPED), 0.0)
    if expected is None:
        assert Start() == act
    else:
        assert isinstance(act, Wait)
        assert expected == act.seconds


def test_a_machine_that_keeps_dying_is_started_ever_more_slowly_and_told_of():
    """One alert after three deaths; after a long life it counts anew."""

    async def story(tale: Tale) -> None:
        cloud = tale.cloud
        guest = await cloud.guest(await cloud.network(tale.zone_id), "g")
        await tale.until(running(guest))
        row = await cloud.row(tables.machine, guest)
        driver = cloud.earth.hosts[row.host_id].driver
        life = driver.life(row.uuid, 1)
        begin, waits = cloud.clock.now(), []
        for _ in range(5):
            driver.kill(row.uuid, 1)
            died = cloud.clock.now()
            while not life.running:
                await cloud.clock.sleep(0.5)
            waits.append(cloud.clock.now() - died)
        assert waits[0] < 2 > waits[1]
        assert [5.0, 15.0] <= waits[3:]
        assert waits == sorted(waits), waits
        assert cloud.clock.now() - begin < 120
        assert 1 == len([text for text in await tale.alerts() if "keeps dying" in text and "stopVirtualMachine" in text])
        await cloud.clock.sleep(1300)
        driver.kill(row.uuid, 1)
        await cloud.clock.sleep(2)
        assert life.running
        (placement,) = await tale.rows(tables.placement, tables.placement.c.machine_id == guest)
        assert 1 == placement.failures

    tell(story, guests_only=True)


def test_a_wish_that_cannot_be_served_is_told_of_once_with_its_reason():
    """And when the reason is gone it is served."""

    async def story(tale: Tale) -> None:
        (host,) = await tale.rows(tables.host)
        store = tale.cloud.store
        await store.run(lambda tx: tx.update(tables.host, host.id, resource_state="Disabled"))
        guest = await tale.cloud.guest(await tale.cloud.network(tale.zone_id), "g")
        await tale.cloud.clock.sleep(4000)
        late = [text for text in await tale.alerts() if "minutes after it was asked for" in text]
        assert 2 == len(late), "the router and the guest"
        assert any("no host of this zone is up and enabled" in text and "stopRouter" in text for text in late)
        assert any("is being implemented" in text and "stopVirtualMachine" in text for text in late)
        shown = await tale.one("listRouters")
        assert "no host of this zone is up and enabled" == shown["note"]
        await store.run(lambda tx: tx.update(tables.host, host.id, resource_state="Enabled"))
        await tale.until(running(guest))
        assert late == [text for text in await tale.alerts() if "minutes after it was asked for" in text]

    tell(story, guests_only=True)
