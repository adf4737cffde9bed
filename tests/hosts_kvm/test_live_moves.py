"""A guest moves between two hosts while it runs, each with a libvirtd and storage of its own, and with what may die meanwhile."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from sysvm.basics.clock import SystemClock
from sysvm.basics.errors import NotYet
from sysvm.basics.tasks import Tasks
from sysvm.ca.authority import Authority
from sysvm.hosts.driver import DriverUnavailable
from sysvm.hosts.identity import Identity
from sysvm.hosts.kvm.mover import KvmMover
from sysvm.hosts.moves.doors import Doors, Guest
from sysvm.hosts.storage.pools import volume_file
from sysvm.hosts.storage.volumes import ensure_volume
from sysvm.wire.link import EnsureLanding, EnsureSent, EnsureVolume, Renewed
from sysvm.wire.machines import Disk, Kind, MachineSeen, MachineSpec, Moving, Power, spec_digest
from tests.hosts import ground
from tests.hosts.progress import until
from tests.hosts_kvm.disks import MIB, a_guest, live, reads_as, write, write_live
from tests.hosts_kvm.stage import KvmStage, kvm

pytestmark = pytest.mark.root
CLOCK = SystemClock()
PARTS = 4  # of 100 MiB each: so long it takes to copy them that something can happen


class End:
    """One of the two hosts."""

    def __init__(self, stage: KvmStage, name: str, address: str, authority: Authority, pool: str, tasks: Tasks) -> None:
        self.stage = stage
        self.name = name
        self.pool = pool
        self.identity = Identity(stage.layout.tls)
        request = self.identity.request(name)
        chain = authority.sign_request(request, name, f"sysvm://c/host/{name}", time.time()).chain
        self.identity.keep(Renewed(host=name, cloud="c", chain=chain, ca=authority.ca_pem))
        self.address = address
        self.told: list[str] = []
        self.tasks = tasks
        self.mover = self.new_mover(tasks)

    def new_mover(self, tasks: Tasks) -> KvmMover:
        doors = Doors(self.stage.layout.namespace, self.address, self.identity.door, tasks)
        return KvmMover(
            self.stage.driver, self.stage.layout, doors, tasks, host=lambda: self.name, context=self.identity.context,
            changed=self.told.append,
        )  # fmt: skip

    async def seen(self, spec: MachineSpec) -> MachineSeen | None:
        found = await self.stage.driver.look(spec.machine)
        return found[0] if found else None


@asynccontextmanager
async def two_ends(tmp_path: Path) -> AsyncIterator[tuple[End, End]]:
    """Two hosts whose namespaces are joined by a wire."""
    if not ground.is_root():
        pytest.skip("needs root")
    authority = Authority.new("c", time.time())
    async with AsyncExitStack() as stack:
        stages = [await stack.enter_async_context(kvm(tmp_path / name)) for name in ("one", "two")]
        names = [f"w{stage.layout.hash8}" for stage in stages]
        ground.sh("ip", "link", "add", names[0], "type", "veth", "peer", "name", names[1])
        addresses = ("192.0.2.1", "192.0.2.2")
        for stage, name, address in zip(stages, names, addresses, strict=True):
            ground.sh("ip", "link", "set", name, "netns", stage.layout.namespace)
            for words in (("addr", "add", f"{address}/24", "dev", name), ("link", "set", name, "up")):
                ground.sh("ip", "-n", stage.layout.namespace, *words)
        tasks = await stack.enter_async_context(Tasks())
        ends = [
            End(stage, f"host-{number}", address, authority, str(tmp_path / f"pool{number}"), tasks)
            for number, (stage, address) in enumerate(zip(stages, addresses, strict=True))
        ]
        try:
            yield ends[0], ends[1]
        finally:
            tasks.stop()


def there(spec: MachineSpec, pool: str) -> MachineSpec:
    """The guest as the other host has it."""
    disks = tuple(msgspec.structs.replace(disk, pool=pool, template=None) for disk in spec.disks)
    return msgspec.structs.replace(spec, disks=disks)


async def landed(end: End, spec: MachineSpec, sender: End, attempt: str) -> MachineSeen:
    """The end is ready to take the guest in; what a look says of it."""
    copied = tuple(disk.volume for disk in spec.disks)
    order = EnsureLanding(spec=spec, attempt=attempt, sender=sender.name, copied=copied)
    await end.mover.begin_landing(order)
    for disk in spec.disks:
        await ensure_volume(EnsureVolume(pool=disk.pool, volume=disk.volume, size=disk.size, format=disk.format))
    await end.mover.ensure_landing(order)
    seen = await end.seen(spec)
    assert seen is not None and (Moving.IN, Power.STOPPED) == (seen.moving, seen.power)
    return seen


async def send(end: End, spec: MachineSpec, to: End, attempt: str) -> MachineSpec:
    """It is on its way."""
    arriving = there(spec, to.pool)
    seen = await landed(to, arriving, end, attempt)
    assert seen.landing is not None
    copied = tuple(disk.volume for disk in spec.disks)
    order = EnsureSent(spec=spec, there=arriving, place=seen.landing, attempt=attempt, copied=copied)
    await end.mover.ensure_sent(order)
    await end.mover.ensure_sent(order)
    return arriving


async def ended(end: End, spec: MachineSpec) -> MachineSeen:
    """What the sender says when nothing is on its way any more."""
    async for _ in until(CLOCK, "the move is over"):
        try:
            seen = await end.seen(spec)
        except (NotYet, DriverUnavailable):  # its libvirtd is just dead
            continue
        assert seen is not None
        if seen.moving is not Moving.OUT:
            return seen
    raise AssertionError


async def test_a_guest_moves_with_its_disk_and_leaves_nothing_behind(tmp_path: Path):
    async with two_ends(tmp_path) as (one, two):
        spec = await a_guest(one.stage, one.pool, 30)
        line = await one.stage.driver.line_to(volume_file(one.pool, "root", "qcow2"))
        assert line is not None
        await write_live(line, "write -P 9 8M 1M")
        arriving = await send(one, spec, two, "attempt-1")
        seen = await ended(one, spec)
        assert (Moving.SENT, Power.STOPPED) == (seen.moving, seen.power), seen.why
        async for _ in until(CLOCK, "it runs there"):
            seen = await two.seen(arriving)
            if seen is not None and seen.power is Power.RUNNING:
                break
        assert Moving.IN == seen.moving
        await two.stage.driver.ensure_created(arriving)
        await two.stage.driver.ensure_running(arriving)
        seen = await two.seen(arriving)
        assert seen is not None
        assert (Moving.NO, Power.RUNNING, spec_digest(arriving)) == (seen.moving, seen.power, seen.spec)
        async for _ in until(CLOCK, "nothing is on its way any more"):
            if not one.mover._driver.marks.sending and "send v-30-VM" not in {task.get_name() for task in asyncio.all_tasks()}:
                break
        assert {"vda": str(volume_file(two.pool, "root", "qcow2"))} == (await live(two.stage, arriving)).disks
        assert (two.stage.layout.channel(spec.machine, 1) / "vnc.sock").is_socket()
        await one.stage.driver.ensure_removed(spec.machine, 1, kept_network=False)
        assert [] == await one.stage.leftovers()
        await two.stage.driver.ensure_stopped(spec.machine, 1, 0.0)
        assert reads_as(volume_file(two.pool, "root", "qcow2"), "read -P 9 8M 1M")
        assert reads_as(volume_file(two.pool, "root", "qcow2"), "read -P 1 6M 1M"), "what the template holds"
        await two.stage.driver.ensure_running(arriving), "it starts as any other"
        await two.stage.driver.ensure_removed(spec.machine, 1, kept_network=False)
        assert [] == await two.stage.leftovers()


async def runs_once(one: End, two: End, spec: MachineSpec) -> MachineSeen:
    """It is called back, and runs where it was; the other end gives up what had come."""
    assert {disk.volume for disk in spec.disks} == {disk.volume for disk in two.mover.landing(spec.machine, 1)}
    await two.stage.driver.ensure_removed(spec.machine, 1, kept_network=False)
    for disk in spec.disks:
        volume_file(two.pool, disk.volume, "qcow2").unlink()
    assert [] == await two.stage.leftovers()
    async for _ in until(CLOCK, "it runs on"):
        try:
            await one.stage.driver.ensure_created(spec)
            await one.stage.driver.ensure_running(spec)
            break
        except (NotYet, DriverUnavailable):
            continue
    seen = await one.seen(spec)
    assert seen is not None
    assert (Moving.NO, Power.RUNNING, "") == (seen.moving, seen.power, seen.why)
    return seen


async def copying(two: End, spec: MachineSpec) -> None:
    """Bytes of its disk have come."""
    file = volume_file(two.pool, spec.disks[0].volume, "qcow2")
    async for _ in until(CLOCK, "some of the disk has come"):
        if file.stat().st_blocks * 512 > 24 * MIB:
            return


async def a_large_guest(one: End, number: int) -> MachineSpec:
    """Its disk takes a while to be copied."""
    order = EnsureVolume(pool=one.pool, volume="large", size=1024 * MIB, format="qcow2")
    await ensure_volume(order)
    write(one.pool, "large", *(f"write -P {part + 1} {part * 100}M 100M" for part in range(PARTS)))
    disk = Disk(volume="large", pool=one.pool, size=1024 * MIB, device=0)
    spec = one.stage.spec(number, kind=Kind.GUEST, disks=(disk,))
    await one.stage.driver.ensure_running(spec)
    return spec


def kill_daemon(end: End) -> None:
    """libvirtd of this host, not its guests."""
    os.kill(int((end.stage.layout.run / "libvirt/libvirtd.pid").read_text()), signal.SIGKILL)


def sender_dies(one: End, two: End, spec: MachineSpec) -> None:
    kill_daemon(one)


def receiver_dies(one: End, two: End, spec: MachineSpec) -> None:
    kill_daemon(two)


def agent_dies(one: End, two: End, spec: MachineSpec) -> None:
    """The sender's host agent, and with it the way between the hosts."""
    for task in asyncio.all_tasks():
        if task.get_name() == f"send {spec.name}":
            task.cancel()


def arriving_qemu_dies(one: End, two: End, spec: MachineSpec) -> None:
    os.kill(two.stage.pid_of(spec), signal.SIGKILL)


async def test_whatever_dies_meanwhile_it_runs_once_and_whole(tmp_path: Path):
    """One after the other befalls the same guest, which goes on as the same process; then it moves."""
    async with two_ends(tmp_path) as (one, two):
        spec = await a_large_guest(one, 31)
        pid = one.stage.pid_of(spec)
        for befall in (sender_dies, receiver_dies, agent_dies, arriving_qemu_dies):
            await send(one, spec, two, befall.__name__)
            await copying(two, spec)
            befall(one, two, spec)
            seen = await ended(one, spec)
            assert (Moving.FAILED, Power.RUNNING) == (seen.moving, seen.power), (befall, seen)
            await runs_once(one, two, spec)
            assert pid == one.stage.pid_of(spec), befall
        arriving = await send(one, spec, two, "moves-at-last")
        assert Moving.SENT is (await ended(one, spec)).moving
        await two.stage.driver.ensure_running(arriving)
        await one.stage.driver.ensure_removed(spec.machine, 1, kept_network=False)
        assert [] == await one.stage.leftovers()
        await two.stage.driver.ensure_stopped(spec.machine, 1, 0.0)
        file = volume_file(two.pool, "large", "qcow2")
        assert all(reads_as(file, f"read -P {part + 1} {part * 100}M 100M") for part in range(PARTS))


async def test_a_host_that_is_not_the_sender_is_not_let_in(tmp_path: Path):
    async with two_ends(tmp_path) as (one, two):
        spec = await a_guest(one.stage, one.pool, 32)
        arriving = there(spec, two.pool)
        seen = await landed(two, arriving, one, "attempt-1")
        two.mover._doors.open("attempt-1", Guest("host-9", {"libvirt": two.stage.driver.libvirt_socket}, lambda: True))
        assert seen.landing is not None
        order = EnsureSent(spec=spec, there=arriving, place=seen.landing, attempt="attempt-1", copied=("root",))
        await one.mover.ensure_sent(order)
        assert Moving.FAILED is (await ended(one, spec)).moving
        await runs_once(one, two, spec)
