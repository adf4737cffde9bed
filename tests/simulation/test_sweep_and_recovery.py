"""What a host has that nobody recorded, and databases that were restored from a backup: nothing is lost by either."""

import msgspec
import sqlalchemy as sa

from sysvm.hosts.simulated.driver import Life
from sysvm.store import tables
from sysvm.store.queries import machines, strays, templates, turns
from sysvm.store.store import Row, Tx
from sysvm.wire import channel
from sysvm.wire.machines import Kind, MachineSpec, Power, Runtime
from tests.simulation.cloud import OWNER, Cloud, running
from tests.simulation.life import check
from tests.simulation.loop import run

STRAY = MachineSpec(machine="5f0b41de-0000-4000-8000-000000000001", incarnation=4, name="r-99-VM", kind=Kind.ROUTER,
                    runtime=Runtime.SIMULATED, hostname="r-99-VM")  # fmt: skip
GRACE_S = 3600.0  # a day would be 8,640 inventories


async def _put(cloud: Cloud, spec: MachineSpec = STRAY) -> None:
    """Something runs on every host that nobody asked for."""
    for host in cloud.earth.hosts.values():
        await host.driver.ensure_running(spec)


def _lives(cloud: Cloud, machine: str) -> list[Life]:
    return [life for host in cloud.earth.hosts.values() for life in host.driver.lives() if life.spec.machine == machine]


def _strays(tx: Tx) -> list[Row]:
    return list(tx.all(sa.select(tables.stray)))


def _short_grace(tx: Tx) -> None:
    tx.insert(tables.setting, scope="global", scope_id=0, name="sweep.grace", value=str(int(GRACE_S)), updated=tx.now)


def test_what_is_in_no_record_is_stopped_kept_for_the_grace_and_removed():
    """And listed, with an alert that says where it is; what is recorded runs on."""

    async def main(cloud: Cloud) -> None:
        async with cloud.server():
            zone = await cloud.zone(guests_only=True)
            guest = await cloud.guest(await cloud.network(zone), "g1")
            await cloud.until(running(guest))
            await cloud.store.run(_short_grace)
            await _put(cloud)
            (row,) = await cloud.until(_strays)
            await cloud.until(lambda tx: not any(life.running for life in _lives(cloud, STRAY.machine)))
            assert (STRAY.machine, 4, False, None) == (row.machine, row.incarnation, row.kept, row.removed)
            alerts = await cloud.store.read(lambda tx: tx.all(sa.select(tables.alert.c.subject)))
            assert any(STRAY.machine in alert.subject for alert in alerts)
            await cloud.clock.sleep(GRACE_S - 1200)
            assert 1 == len(_lives(cloud, STRAY.machine))
            await cloud.clock.sleep(2400)
            assert [] == _lives(cloud, STRAY.machine)
            (row,) = await cloud.store.read(_strays)
            assert row.removed is not None
            assert await cloud.store.read(running(guest))

    cloud = Cloud()
    run(cloud.clock, main(cloud))


def test_an_incarnation_that_nobody_knows_is_a_stray_though_its_machine_is_known():
    """Beside the one that is recorded, which runs on."""

    async def main(cloud: Cloud) -> None:
        async with cloud.server():
            zone = await cloud.zone(guests_only=True)
            guest = await cloud.guest(await cloud.network(zone), "g1")
            await cloud.until(running(guest))
            row = await cloud.row(tables.machine, guest)
            await _put(cloud, msgspec.structs.replace(STRAY, machine=row.uuid, incarnation=9, kind=Kind.GUEST))
            await cloud.until(lambda tx: [1] == [li.spec.incarnation for li in _lives(cloud, row.uuid) if li.running])

    cloud = Cloud()
    run(cloud.clock, main(cloud))


def test_a_host_that_cannot_look_is_not_swept():
    """Unknown is neither a stray nor gone."""

    async def main(cloud: Cloud) -> None:
        async with cloud.server():
            await cloud.zone(guests_only=True)
            await _put(cloud)
            for host in cloud.earth.hosts.values():
                host.driver.unavailable = "it hangs"
            await cloud.clock.sleep(1300)
            assert all(life.running for life in _lives(cloud, STRAY.machine))

    cloud = Cloud()
    run(cloud.clock, main(cloud))


# ---------------------------------------------------------------- recovery
async def _born(cloud: Cloud) -> tuple[int, Row]:
    """A guest behind a router, on two hosts."""
    zone = await cloud.zone(hosts=2, guests_only=True)
    network = await cloud.network(zone)
    guest = await cloud.guest(network, "g1")
    await cloud.until(running(guest))
    (router,) = await cloud.store.read(lambda tx: machines.routers_of(tx, network))
    await cloud.until(running(router.id))
    return guest, router


def test_a_recovered_database_adopts_what_runs():
    """The backup knows the router's first incarnation, the host runs the second: that one stays, without a restart, and
    what the backup has never heard of is left alone."""

    async def main(cloud: Cloud) -> None:
        async with cloud.world():
            async with cloud.running_server():
                guest, router = await _born(cloud)
                backup = cloud.backup()
                for _ in range(2):
                    await cloud.store.run(lambda tx: machines.replace(tx, tx.get(tables.machine, router.id)))  # type: ignore[arg-type]
                    await cloud.until(running(router.id))
                assert 3 == (await cloud.row(tables.machine, router.id)).incarnation
            await _put(cloud)
            before = [life.starts for life in _lives(cloud, router.uuid)]
            cloud.restore(backup)
            await cloud.store.run(strays.recover)
            async with cloud.running_server():
                await cloud.until(lambda tx: 3 == tx.get(tables.machine, router.id).incarnation)  # type: ignore[union-attr]
                await cloud.until(running(router.id))
                await cloud.until(running(guest))
                await cloud.clock.sleep(1300)
                assert before == [life.starts for life in _lives(cloud, router.uuid)] == [1]
                assert all(life.running for life in _lives(cloud, STRAY.machine))
                assert {True} == {row.kept for row in await cloud.store.read(_strays)}
                # and it is a cloud again: wishes are served
                await cloud.store.run(lambda tx: machines.replace(tx, tx.get(tables.machine, router.id)))  # type: ignore[arg-type]
                await cloud.until(running(router.id))
                assert 4 == (await cloud.row(tables.machine, router.id)).incarnation

    cloud = Cloud()
    run(cloud.clock, main(cloud))


def test_a_rolled_back_database_changes_nothing_on_hosts():
    """The hosts have obeyed a higher epoch: the server says so, and looks on."""

    async def main(cloud: Cloud) -> None:
        async with cloud.world():
            async with cloud.running_server():
                _, router = await _born(cloud)
                backup = cloud.backup()
            await cloud.store.run(strays.recover)
            async with cloud.running_server():
                await cloud.until(running(router.id))
                await cloud.clock.sleep(60)
            cloud.restore(backup)
            acts = [len(host.driver.acts) for host in cloud.earth.hosts.values()]
            async with cloud.running_server():
                await cloud.until(lambda tx: strays.read_only(tx))
                await cloud.store.run(lambda tx: machines.replace(tx, tx.get(tables.machine, router.id)))  # type: ignore[arg-type]
                await _put(cloud)
                acts = [len(host.driver.acts) for host in cloud.earth.hosts.values()]
                await cloud.clock.sleep(1300)
                assert acts == [len(host.driver.acts) for host in cloud.earth.hosts.values()]
                subjects = await cloud.store.read(lambda tx: tx.all(sa.select(tables.alert.c.subject)))
                assert any("sysvm recover" in row.subject for row in subjects)
            await cloud.store.run(strays.recover)
            async with cloud.running_server():
                await cloud.until(running(router.id))
                assert 2 == (await cloud.row(tables.machine, router.id)).incarnation

    cloud = Cloud()
    run(cloud.clock, main(cloud))


def test_a_read_only_server_does_no_turn_of_any_kind():
    """Not those that speak with agents or storage either: a template that is wanted, an image and a volume that are not, a
    question, a host's maintenance, a zone that lost its system VMs. Each shows why; nothing is even asked of a host."""
    kinds = ("image", "machine", "maintenance", "task", "template", "volume", "zone")

    async def main(cloud: Cloud) -> None:
        async with cloud.world():
            async with cloud.running_server():
                zone = await cloud.zone()
                await cloud.until(lambda tx: len([r for r in tx.rows(tables.machine, "1 = 1") if running(r.id)(tx)]) == 2)
                await cloud.clock.sleep(5)
            await cloud.store.run(lambda tx: tx.sql("update cloud set read_only = :yes", yes=True))
            await cloud.store.run(lambda tx: _wants(tx, cloud, zone))
            asked: list[str] = []
            for host in cloud.earth.hosts.values():
                _listen(host, asked)
            before = await cloud.store.read(_rows_of_work)
            async with cloud.running_server():
                await cloud.clock.sleep(200)
                assert set() == {name for name in asked if name not in ("Look", "LookAll")}
                assert before == await cloud.store.read(_rows_of_work)
                turned = await cloud.store.read(lambda tx: {kind for (kind,) in tx.sql("select kind from turn")})
                assert set(kinds) <= turned, "a turn was forgotten"
            await cloud.store.run(strays.recover)
            async with cloud.running_server():
                await cloud.until(lambda tx: _rows_of_work(tx) != before)
                await cloud.until(lambda tx: tx.rows(tables.template_copy, "state = 'DOWNLOADED'"))

    cloud = Cloud()
    run(cloud.clock, main(cloud))


def _listen(host, asked: list[str]) -> None:
    call = host.call

    async def listening(body, answer, **given):
        asked.append(type(body).__name__)
        return await call(body, answer, **given)

    host.call = listening


def _wants(tx: Tx, cloud: Cloud, zone: int) -> None:
    """Work of every kind."""
    life = {"created": tx.now}
    template = tx.insert(tables.template, uuid=cloud.ids.uuid(), name="t", format="QCOW2", url="http://x/t", **life, **OWNER)
    templates.want_copy(tx, template, zone)
    (host,) = tx.rows(tables.host, "1 = 1")
    pool = tx.insert(tables.storage_pool, uuid=cloud.ids.uuid(), zone_id=zone, host_id=host.id, name="p", path="/p", **life)
    image = tx.insert(
        tables.pool_image,
        pool_id=pool,
        host_id=host.id,
        template_id=template,
        sha256="0" * 64,
        state="unwanted",
        **life,
    )
    volume = tx.insert(
        tables.volume, uuid=cloud.ids.uuid(), name="v", zone_id=zone, pool_id=pool, host_id=host.id, removed=tx.now, **life,
        **OWNER,
    )  # fmt: skip
    (machine,) = tx.rows(tables.machine, "kind = 'consoleproxy'")
    body = msgspec.json.encode(channel.Diagnose(kind="ping", address="192.0.2.1")).decode()
    task = tx.insert(tables.task, uuid=cloud.ids.uuid(), kind="diagnose", machine_id=machine.id, body=body, **life)
    machines.replace(tx, machine)
    tx.update(tables.host, host.id, resource_state="PrepareForMaintenance")
    for kind, id_ in (("image", image), ("volume", volume), ("task", task), ("maintenance", host.id), ("zone", zone)):
        turns.wish(tx, kind, id_, host=host.id if kind in ("image", "volume") else None)


def _rows_of_work(tx: Tx) -> list[object]:
    """What turns change, but why they do not."""
    return [
        tx.sql("select id, state, removed from template_copy order by id"),
        tx.sql("select id, state from pool_image order by id"),
        tx.sql("select id, state, removed from task order by id"),
        tx.sql("select id, resource_state from host order by id"),
        tx.sql("select id, incarnation, wanted, removed from machine order by id"),
        tx.sql("select id, wanted, removed from placement order by id"),
    ]


def test_a_host_that_was_not_seen_since_the_recovery_holds_up_placing():
    """What the backup wants to run may run there."""

    async def main(cloud: Cloud) -> None:
        async with cloud.world():
            async with cloud.running_server():
                guest, _ = await _born(cloud)
            await cloud.store.run(strays.recover)
            why = await cloud.store.read(
                lambda tx: strays.must_not_place(tx, tx.get(tables.machine, guest).zone_id)  # type: ignore[union-attr]
            )
            assert "h0 has not been seen since the recovery" in why
            async with cloud.running_server():
                await cloud.until(running(guest))
                await check(cloud)
                assert Power.RUNNING == (await cloud.row(tables.machine, guest)).power

    cloud = Cloud()
    run(cloud.clock, main(cloud))
