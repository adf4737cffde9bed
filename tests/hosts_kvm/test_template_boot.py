"""The real template as a VM under the driver: it says hello to its host, keeps its state disk, and switches itself off.

One boot and one restart, emulated. What it does inside is the image tests' and the agent's; here are the parts that the
driver gives it.
"""

import asyncio
from pathlib import Path

import pytest

from sysvm.basics.clock import SystemClock
from sysvm.hosts.kvm.connection import Connection
from sysvm.hosts.kvm.daemon import Daemon
from sysvm.hosts.kvm.domain import domain_name
from sysvm.images import agent_layer, ensure
from sysvm.images.places import cache_folder
from sysvm.wire.channel import AgentHello
from sysvm.wire.envelope import Notice
from sysvm.wire.frames import FrameReader
from sysvm.wire.machines import ImageStoreMount, Kind, MachineSpec, Power
from tests.hosts import ground
from tests.hosts_kvm.stage import KvmStage, kvm

import msgspec  # isort: skip

pytestmark = [pytest.mark.root, pytest.mark.template]

CACHE = cache_folder()  # before a test's host has one of its own
STORE = "99999999-2222-4333-8444-555555555555"
PATIENCE_S = 180.0
GRACE_S = 120.0
SHUT_DOWN_BY_ITSELF = 1


def link_images(cache: Path) -> str:
    """The machine's own template and agent, seen in a test's cache; the template's version."""
    template, agent = ensure(CACHE, print), agent_layer(CACHE, print)
    (cache / "templates" / template.version).symlink_to(template.folder)
    place = cache / "agents" / agent.digest
    for name in ("root", "agent.squashfs"):
        file = place / name
        if file.is_dir():
            file.rmdir()
        file.unlink(missing_ok=True)
        file.symlink_to(agent.folder / name)
    return template.version


async def hello(stage: KvmStage, spec: MachineSpec) -> AgentHello:
    """The agent's first words on the virtio-serial port. The deadline moves with every byte that comes."""
    end = stage.driver.channel(spec.machine, spec.incarnation)
    assert end is not None
    reader, writer = await asyncio.open_unix_connection(str(end.socket))
    frames = FrameReader(strict=False)
    try:
        while True:
            async with asyncio.timeout(PATIENCE_S):
                data = await reader.read(65536)
            assert data, "the machine has closed its channel"
            for payload in frames.feed(data):
                notice = msgspec.msgpack.decode(payload, type=Notice)
                return msgspec.msgpack.decode(notice.body, type=AgentHello)
    finally:
        writer.close()


async def why_it_is_off(stage: KvmStage, spec: MachineSpec) -> int:
    """libvirt's reason."""
    connection = Connection(Daemon(stage.layout))
    name = domain_name(spec.machine, spec.incarnation)
    reason = await connection.call(lambda libvirt: libvirt.lookupByName(name).state()[1])
    connection.close()
    return int(reason)


async def test_a_system_vm_boots_says_hello_and_stops_when_asked(tmp_path):
    if not ground.is_root():
        pytest.skip("needs root")
    async with kvm(tmp_path) as stage:
        version = await asyncio.to_thread(link_images, stage.layout.cache)
        spec = msgspec.structs.replace(
            stage.spec(40, kind=Kind.SECONDARY_STORAGE, stores=(ImageStoreMount(store=STORE, path=str(tmp_path)),)),
            template=version,
            memory_mb=256,
        )
        began = SystemClock().now()
        await stage.driver.ensure_running(spec)
        said = await hello(stage, spec)
        print(f"hello after {SystemClock().now() - began:.1f} s")
        assert (said.machine, said.incarnation, said.kind) == (spec.machine, 1, spec.kind)

        await stage.driver.ensure_stopped(spec.machine, 1, GRACE_S)
        assert [seen.power for seen in await stage.driver.look(spec.machine)] == [Power.STOPPED]
        assert await why_it_is_off(stage, spec) == SHUT_DOWN_BY_ITSELF

        await stage.driver.ensure_running(spec)
        again = await hello(stage, spec)
        assert again.boot != said.boot
