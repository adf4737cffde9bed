"""A guest moves between two hosts while it runs, each with a libvirtd and storage of its own, and with what may die meanwhile."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from sysvm.basics.clock import SystemClock
from sysvm.basics.tasks import Tasks
from sysvm.ca.authority import Authority
from sysvm.hosts.doors import Doors
from sysvm.hosts.identity import Identity
from sysvm.hosts.kvm.mover import KvmMover
from sysvm.hosts.pools import volume_file
from sysvm.hosts.volumes import ensure_volume
from sysvm.wire.link import EnsureLanding, EnsureSent, EnsureVolume, Renewed
from sysvm.wire.machines import MachineSeen, MachineSpec, Moving, Power, spec_digest
from tests.hosts import ground
from tests.hosts.progress import until
from tests.hosts_kvm.stage import KvmStage, kvm
from tests.hosts_kvm.test_hot_disks import a_guest, live, reads_as, write_live

pytestmark = pytest.mark.root
CLOCK = SystemClock()


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
        seen = await end.seen(spec)
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
