"""Settings that are obeyed at once, and what has had its time."""

import sqlalchemy as sa

from sysvm.store import tables
from sysvm.store.queries import machines
from sysvm.store.store import Tx
from tests.orchestrator.tale import Tale, tell
from tests.simulation.cloud import gone, running

DAY_S = 24 * 3600.0


def test_a_shorter_wait_for_unused_networks_is_obeyed_at_once():
    """The router goes when the new wait is over, not when the old one would have been."""

    async def story(tale: Tale) -> None:
        await tale.ask("updateConfiguration", name="network.gc.wait", value=500)
        network = await tale.cloud.network(tale.zone_id)
        guest = await tale.cloud.guest(network, "g")
        await tale.until(running(guest))
        (router,) = await tale.cloud.store.read(lambda tx: machines.routers_of(tx, network))
        await tale.until(running(router.id))
        row = await tale.cloud.row(tables.machine, guest)
        await tale.cloud.store.run(lambda tx: machines.want(tx, row, "gone"))
        await tale.until(gone(guest))
        await tale.cloud.clock.sleep(60)
        assert (await tale.cloud.row(tables.machine, router.id)).removed is None
        await tale.ask("updateConfiguration", name="network.gc.wait", value=5)
        await tale.until(gone(router.id), patience_s=20)

    tell(story, guests_only=True)


def test_events_and_alerts_are_purged_after_their_days():
    """0 days: never."""

    async def story(tale: Tale) -> None:
        def age(tx: Tx) -> None:
            tx.change(sa.update(tables.event).values(created=tx.now - 16 * DAY_S))
            tx.insert(tables.alert, uuid="a", type=7, name="A", subject="old", content="", sent=tx.now - 400 * DAY_S)

        count = sa.select(sa.func.count()).select_from(tables.event)
        await tale.ask("updateConfiguration", name="event.purge.delay", value=0)
        await tale.cloud.store.run(age)
        await tale.cloud.clock.sleep(130)
        old = count.where(tables.event.c.created < 16 * DAY_S)
        assert 0 < await tale.cloud.store.read(lambda tx: tx.value(count))
        await tale.ask("updateConfiguration", name="event.purge.delay", value=15)
        await tale.until(lambda tx: not tx.value(old.where(tables.event.c.created < tx.now - 15 * DAY_S)))
        assert "old" in await tale.alerts(), "alert.purge.delay is 0"
        await tale.ask("updateConfiguration", name="alert.purge.delay", value=365)
        await tale.until(lambda tx: not tx.sql("select 1 from alert where subject = 'old'"))

    tell(story, guests_only=True)


def test_a_password_is_forgotten_a_day_after_its_guest_has_started():
    """By the database, and by the router, whose document no longer holds it."""

    async def story(tale: Tale) -> None:
        zone, offering, network = await tale.one("listZones"), await tale.offering(), await tale.network()
        guest = await tale.job("deployVirtualMachine", zoneid=zone["id"], serviceofferingid=offering["id"],
                               networkids=network["id"], templateid="5b0f2f3c-0000-4000-8000-000000000001")  # fmt: skip
        assert guest["password"]
        table = tables.machine
        await tale.cloud.clock.sleep(60)
        (row,) = await tale.rows(table, table.c.kind == "guest")
        (router,) = await tale.rows(table, table.c.kind == "router")
        assert row.password is not None

        def days_later(tx: Tx) -> None:
            tx.change(sa.update(tables.placement).values(since=tx.now - 2 * DAY_S))

        await tale.cloud.store.run(days_later)
        await tale.until(lambda tx: tx.get(table, row.id).password is None, patience_s=70)
        await tale.until(lambda tx: tx.get(table, router.id).document_live != router.document_live, patience_s=20)

    tell(story, guests_only=True)


def test_an_account_is_deleted_with_all_that_it_owns():
    """The job is over when guests, router and network are gone; nothing is left on a host."""

    async def story(tale: Tale) -> None:
        zone, offering = await tale.one("listZones"), await tale.offering()
        (role,) = [row for row in await tale.ask("listRoles") if row["name"] == "User"]
        account = await tale.ask("createAccount", username="u", password="long enough pw", firstname="u", lastname="u",
                                 email="u@example.org", roleid=role["id"])  # fmt: skip
        whose = {"account": account["name"], "domainid": account["domainid"]}
        networks = await tale.one("listNetworkOfferings", name="DefaultIsolatedNetworkOfferingWithSourceNatService")
        network = await tale.ask("createNetwork", zoneid=zone["id"], name="n", displaytext="n",
                                 networkofferingid=networks["id"], **whose)  # fmt: skip
        await tale.job("deployVirtualMachine", zoneid=zone["id"], serviceofferingid=offering["id"],
                       networkids=network["id"], templateid="5b0f2f3c-0000-4000-8000-000000000001", **whose)  # fmt: skip
        assert 2 == len(await tale.everywhere())
        await tale.job("deleteAccount", id=account["id"])
        assert [] == await tale.everywhere()
        for command in ("listVirtualMachines", "listRouters", "listNetworks", "listPublicIpAddresses", "listVolumes"):
            assert [] == await tale.ask(command, listall=True), command
        assert account["id"] not in [row["id"] for row in await tale.ask("listAccounts", listall=True)]

    tell(story, guests_only=True)
