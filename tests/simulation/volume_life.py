"""A volume's life, as its owner makes it: snapshots by a policy and by hand, a volume and a template made of them, back to an
earlier one, all deleted. And what must hold at every end of it."""

from typing import Any

from sysvm.hosts.simulated.agents import usual_outcome
from sysvm.hosts.simulator import SimulatedHost
from sysvm.store import tables
from sysvm.store.queries import jobs, snapshots, turns, volumes
from sysvm.store.queries.events import SYSTEM, About
from sysvm.store.store import Row, Tx
from sysvm.systemvms import schedules
from sysvm.systemvms.schedules import Interval
from sysvm.wire import channel
from tests.simulation.cloud import OWNER, Cloud

POOL = "/pool"


async def live(cloud: Cloud) -> None:
    """The whole story; raises AssertionError when something that must hold does not."""
    volume = await a_volume(cloud)
    policy = await a_policy(cloud, volume)
    first = await cloud.until(lambda tx: newest(tx, volume, "HOURLY"))
    second = await taken(cloud, volume, "by hand")
    assert (None, first.id) == (first.parent_id, second.parent_id), "the second holds what has changed since the first"
    assert 1 == len(await cloud.store.read(lambda tx: tx.rows(tables.snapshot, "policy_id = :id", id=policy)))

    copy = await a_copy(cloud, volume, second)
    await reverted(cloud, volume, first)
    assert [
        (copy.uuid, (first.uuid, second.uuid)),
        (volume_uuid(await there(cloud, volume)), (first.uuid,)),
    ] == told_once(cloud)

    await deleted(cloud, first)
    assert (await there(cloud, first.id, tables.snapshot)).stored, "the second one needs it"
    await deleted(cloud, second)
    await cloud.until(lambda tx: not tx.rows(tables.snapshot, "stored or staged"))
    assert {first.uuid, second.uuid} <= gone_from_store(cloud)
    assert {} == host_of(cloud).storage.staged, "the host keeps nothing"


async def a_volume(cloud: Cloud) -> int:
    """A data volume that has been made, in a zone with a secondary storage VM; what agents do is remembered."""
    zone = await cloud.zone()
    for host in cloud.earth.hosts.values():
        remember(host)

    def make(tx: Tx) -> int:
        (host,) = tx.rows(tables.host, "removed is null")
        pool = tx.insert(
            tables.storage_pool, uuid=cloud.ids.uuid(), zone_id=zone, host_id=host.id, name="p", path=POOL, scope="HOST",
            created=tx.now,
        )  # fmt: skip
        return tx.insert(
            tables.volume, uuid=cloud.ids.uuid(), name="data", type="DATADISK", zone_id=zone, pool_id=pool,
            host_id=host.id, size_bytes=10 << 20, state="Ready", created=tx.now, **OWNER,
        )  # fmt: skip

    made = await cloud.store.run(make)
    await cloud.until(lambda tx: tx.rows(tables.machine, "kind = 'secstorage' and document_live <> '' and agent_up"))
    return made


_deleted: dict[int, set[str]] = {}


def remember(host: SimulatedHost) -> None:
    """Which images its agents are asked to delete."""
    heard = _deleted[id(host)] = set()

    def outcome(body: channel.TaskBody) -> Any:
        if isinstance(body, channel.DeleteImage):
            heard.add(body.image)
        return usual_outcome(body)

    host.agents.outcome = outcome


def gone_from_store(cloud: Cloud) -> set[str]:
    """What has been deleted on the store."""
    return set().union(*(_deleted.get(id(host), set()) for host in cloud.earth.hosts.values()))


def host_of(cloud: Cloud) -> SimulatedHost:
    """The only one."""
    (host,) = cloud.earth.hosts.values()
    return host


def told_once(cloud: Cloud) -> list[tuple[str, tuple[str, ...]]]:
    """What volumes were filled with, in order; doing it again is no difference."""
    return list(dict.fromkeys(host_of(cloud).storage.restored))


def volume_uuid(row: Row) -> str:
    return str(row.uuid)


async def there(cloud: Cloud, id_: int, table: Any = tables.volume) -> Row:
    """A row as it is now."""
    return await cloud.row(table, id_)


async def a_policy(cloud: Cloud, volume: int) -> int:
    """Every hour, at the minute that begins next."""
    minute = int((cloud.clock.now() + 60) // 60 % 60)
    due = schedules.next_due(schedules.parse(Interval.HOURLY, str(minute), "UTC"), cloud.clock.now())

    def make(tx: Tx) -> int:
        id_ = tx.insert(
            tables.snapshot_policy, uuid=cloud.ids.uuid(), volume_id=volume, interval=0, schedule=str(minute),
            timezone="UTC", most=2, next=due, created=tx.now, **OWNER,
        )  # fmt: skip
        turns.wish(tx, "policy", id_)
        return id_

    return await cloud.store.run(make)


def newest(tx: Tx, volume: int, kind: str) -> Row | None:
    """The newest one that a store has, when the host has nothing of it any more."""
    where = "volume_id = :volume and kind = :kind and state = 'BackedUp' and not staged and removed is null"
    found = tx.rows(tables.snapshot, f"{where} order by id desc limit 1", volume=volume, kind=kind)
    return found[0] if found else None


async def taken(cloud: Cloud, volume: int, name: str) -> Row:
    """A snapshot by hand, when its job is done."""

    def start(tx: Tx) -> tuple[int, str]:
        row = tx.get(tables.volume, volume)
        assert row is not None
        id_, part = snapshots.new(tx, cloud.ids, row, name, "MANUAL")
        return id_, open_job(tx, part)

    id_, job = await cloud.store.run(start)
    await over(cloud, job)
    row = await there(cloud, id_, tables.snapshot)
    assert ("BackedUp", row.sha256) == (row.state, host_of(cloud).storage.sent[row.uuid])
    await cloud.until(lambda tx: newest(tx, volume, "MANUAL"))
    return await there(cloud, id_, tables.snapshot)


def open_job(tx: Tx, *parts: jobs.Part) -> str:
    """A job that waits for the parts; its UUID."""
    return jobs.open_job(tx, jobs.NewJob("m", SYSTEM, parts, {}, About("Snapshot", 1, "u"), "", ""))


async def over(cloud: Cloud, uuid: str, status: int = 1) -> Row:
    """The job, when it has come to this end."""
    (job,) = await cloud.until(lambda tx: tx.rows(tables.job, "uuid = :uuid and status != 0", uuid=uuid))
    assert status == job.status, job.result
    return job


async def a_copy(cloud: Cloud, volume: int, snapshot: Row) -> Row:
    """A new volume, made of a snapshot."""

    def start(tx: Tx) -> tuple[int, str]:
        source = tx.get(tables.volume, volume)
        assert source is not None
        id_ = tx.insert(
            tables.volume, uuid=cloud.ids.uuid(), name="copy", type="DATADISK", zone_id=source.zone_id, state="Creating",
            pool_id=source.pool_id, host_id=source.host_id, snapshot_id=snapshot.id, size_bytes=10 << 20, created=tx.now,
            **OWNER,
        )  # fmt: skip
        row = tx.get(tables.volume, id_)
        assert row is not None
        return id_, open_job(tx, volumes.want(tx, row))

    id_, job = await cloud.store.run(start)
    await over(cloud, job)
    row = await there(cloud, id_)
    assert "Ready" == row.state
    return row


async def reverted(cloud: Cloud, volume: int, snapshot: Row) -> None:
    """The volume holds what it held then."""

    def start(tx: Tx) -> str:
        tx.update(tables.volume, volume, revert_id=snapshot.id, state="RevertSnapshotting")
        row = tx.get(tables.volume, volume)
        assert row is not None
        return open_job(tx, volumes.want(tx, row))

    await over(cloud, await cloud.store.run(start))
    row = await there(cloud, volume)
    assert ("Ready", None) == (row.state, row.revert_id)


async def deleted(cloud: Cloud, snapshot: Row) -> None:
    """It is gone for its owner."""

    def start(tx: Tx) -> str:
        row = tx.get(tables.snapshot, snapshot.id)
        assert row is not None
        return open_job(tx, snapshots.drop(tx, row))

    await over(cloud, await cloud.store.run(start))
