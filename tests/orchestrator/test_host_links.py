"""A host's link: opened anew by reconnectHost, closed for good by deleteHost, which leaves nothing on the host."""

import pytest

from sysvm.basics.errors import Unreachable
from sysvm.store import tables
from sysvm.wire import link
from tests.orchestrator.tale import Tale, tell


def test_reconnecting_drops_the_link_and_the_host_comes_again():
    """The job is over when its document is live over the new link; what runs there never stopped."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        host = await tale.one("listHosts", type="Routing")
        before = (await tale.rows(tables.host))[0].connected
        there = await tale.everywhere()
        await tale.cloud.clock.sleep(5)
        back = await tale.job("reconnectHost", id=host["id"])
        assert "Up" == back["state"]
        row = (await tale.rows(tables.host))[0]
        assert row.connected > before
        assert there == await tale.everywhere()

    tell(story)


def test_a_deleted_host_is_left_clean_and_unlinked():
    """What ran there is stopped, removed, and made anew on the other host; its certificates are worth nothing."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        first, second = await tale.rows(tables.host)
        victim = first if await tale.on(first.id) else second
        simulated = tale.cloud.earth.hosts[victim.id]
        applied: list[link.ApplyHost] = []
        serve = simulated.call

        async def listen(body, answer, **given):
            applied.extend([body] if isinstance(body, link.ApplyHost) else [])
            return await serve(body, answer, **given)

        simulated.call = listen
        await tale.ask("deleteHost", id=victim.uuid, forced=True)
        await tale.until(lambda tx: tx.get(tables.host, victim.id).link_session is None)
        assert [] == await tale.on(victim.id)
        assert () == applied[-1].document.segments == applied[-1].document.pools
        found = await tale.system_vms(2)
        assert {(second if victim is first else first).uuid} == {row["hostid"] for row in found}
        assert [] == await tale.cloud.store.read(
            lambda tx: tx.sql("select id from turn where kind='host' and id=:i", i=victim.id)
        )

    tell(story, hosts=2)


def test_a_deleted_host_that_cannot_be_cleaned_is_unlinked_all_the_same():
    """After some tries; it may not hold up the server for ever."""

    async def story(tale: Tale) -> None:
        await tale.system_vms(2)
        (victim,) = await tale.rows(tables.host)
        tale.cloud.earth.hosts[victim.id].driver.unavailable = "libvirtd is down"
        await tale.ask("deleteHost", id=victim.uuid, forced=True)
        await tale.until(lambda tx: tx.get(tables.host, victim.id).link_session is None)

    tell(story)


def test_a_link_that_was_dropped_is_gone():
    """Nobody can be asked over it."""
    from sysvm.hub.links import Links

    links = Links()
    links.attach(1, object())  # type: ignore[arg-type]
    assert links.has(1)
    links.drop(1)
    links.drop(1)
    assert not links.has(1)
    with pytest.raises(Unreachable):
        links.to(1)
