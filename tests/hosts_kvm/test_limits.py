"""How much of its host a machine gets: the values as a table, and what the kernel says of a running QEMU."""

from pathlib import Path

import msgspec
import pytest

from sysvm.hosts import facts
from sysvm.hosts.kvm import bounds
from sysvm.hosts.lxc import cgroups
from sysvm.hosts.system import limits
from sysvm.hosts.system.limits import Limits
from sysvm.wire.machines import ImageStoreMount, Kind
from tests.hosts import ground
from tests.hosts_kvm.stage import KvmStage


@pytest.mark.parametrize(
    ("more", "of_container", "of_vm"),
    [
        ({"cpus": 2, "cpu_mhz": 500}, (200_000, 1000), (300_000, 1000)),
        ({"cpus": 2, "cpu_mhz": 500, "cpu_limited": True}, (50_000, 1000), (50_000, 1000)),
        ({"cpus": 1, "cpu_mhz": 4000, "cpu_limited": True}, (100_000, 4000), (100_000, 4000)),
        ({"cpus": 1, "cpu_mhz": 1, "cpu_limited": True}, (1000, 1), (1000, 1)),
        ({"cpus": 4, "cpu_mhz": 500, "kind": Kind.ROUTER}, (400_000, 1024), (500_000, 1024)),
    ],
)
def test_the_clock_is_a_weight_and_a_limit_where_the_offering_says_so(more, of_container, of_vm):
    spec = ground.spec(1, **{"kind": Kind.GUEST, **more})
    container, vm = limits.of_container(spec, 2000), limits.of_vm(spec, 2000)
    assert (of_container, of_vm) == ((container.quota, container.shares), (vm.quota, vm.shares))


def test_qemu_has_room_of_its_own_beside_the_guests_memory():
    spec = ground.spec(1, memory_mb=1024)
    assert (1024, 1024 + 256 + 640) == (limits.of_container(spec, 2000).memory_mb, limits.of_vm(spec, 2000).memory_mb)


def test_values_for_one_hierarchy_are_written_below_controllers_that_are_switched_on(tmp_path: Path):
    """Control groups of version 2 are a folder of files: what is written where, without a kernel behind it."""
    (tmp_path / "cgroup.controllers").touch()
    cgroups.hold("host/vm", limits.values(Limits(64, 150_000, 500), unified=True), [17], tmp_path)
    found = {path.name: path.read_text() for path in (tmp_path / "host/vm").iterdir()}
    wanted = {"memory.max": str(64 << 20), "cpu.max": "150000 100000", "cpu.weight": "50", "pids.max": "4096"}
    assert wanted | {"cgroup.procs": "17"} == found
    above = [(tmp_path / name / "cgroup.subtree_control").read_text() for name in (".", "host")]
    assert ["+pids"] * 2 == above and not (tmp_path / "host/vm/cgroup.subtree_control").exists()


@pytest.mark.root
async def test_a_running_vm_and_what_shares_its_store_are_bounded_by_the_kernel(stage: KvmStage, tmp_path: Path):
    store = ImageStoreMount(store="99999999-2222-4333-8444-555555555555", path=str(tmp_path))
    spec = stage.spec(50, kind=Kind.SECONDARY_STORAGE, cpu_mhz=500, stores=(store,))
    await stage.driver.ensure_running(spec)
    group = bounds.group(stage.layout, spec.machine, 1)
    members = cgroups.processes(group)
    assert {"qemu-system-x86", "virtiofsd"} == {Path(f"/proc/{pid}/comm").read_text().strip() for pid in members}
    assert stage.pid_of(spec) in members
    names = ("memory.limit_in_bytes", "memory.max", "cpu.cfs_quota_us", "cpu.max", "cpu.shares", "pids.max")
    found = {
        file.name: file.read_text().strip()
        for hierarchy in cgroups.hierarchies()
        for file in (hierarchy / group).glob("*")
        if file.name in names
    }
    wanted = limits.values(limits.of_vm(spec, facts.cpu_mhz()), unified=cgroups.is_unified())
    assert {name: value for name, value in wanted.items() if name in names} == found
    more = msgspec.structs.replace(spec, cpu_mhz=700)
    await stage.driver.ensure_running(more)
    weight = "cpu.weight" if cgroups.is_unified() else "cpu.shares"
    assert {"70" if cgroups.is_unified() else "700"} == {
        (hierarchy / group / weight).read_text().strip()
        for hierarchy in cgroups.hierarchies()
        if (hierarchy / group / weight).exists()
    }
    await stage.driver.ensure_removed(spec.machine, 1, kept_network=False)
    assert [] == [hierarchy for hierarchy in cgroups.hierarchies() if (hierarchy / group).exists()]
