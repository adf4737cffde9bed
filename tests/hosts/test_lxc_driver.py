"""What is particular to containers: limits, ids, what they see of their host, guests on volumes, stores."""

import json
from pathlib import Path

import msgspec
import pytest

from sysvm.hosts.driver import TextCommand
from sysvm.hosts.lxc import cgroups, config, driver
from sysvm.wire.machines import Disk, ImageStoreMount, Kind, Power
from tests.contract import stages
from tests.hosts import ground

pytestmark = [pytest.mark.root, pytest.mark.skipif(not ground.is_root(), reason="needs root")]


@pytest.fixture
async def stage(tmp_path):
    async with stages.lxc(tmp_path) as made:
        yield made


def inside(stage, spec, script: str) -> str:
    """The output of a script in the running container, as its root."""
    name = f"{spec.machine}.{spec.incarnation}"
    return ground.sh("lxc-attach", "-P", str(stage.layout.lxc), "-n", name, "--", "/bin/sh", "-c", script)


async def test_limits_are_those_of_the_spec(stage):
    spec = ground.spec(10, memory_mb=64, cpus=2, cpu_mhz=500)
    await stage.driver.ensure_running(spec)
    groups = [hierarchy / stage.layout.cgroup / f"{spec.machine}.1" for hierarchy in cgroups.hierarchies()]
    found = {
        file.name: file.read_text().strip()
        for group in groups
        for file in group.glob("lxc.payload.*/*")
        if file.name in ("memory.limit_in_bytes", "memory.max", "cpu.cfs_quota_us", "cpu.max", "pids.max", "cpu.shares")
    }
    if cgroups.is_unified():
        assert found == {"memory.max": str(64 << 20), "cpu.max": "200000 100000", "pids.max": "4096"}
    else:
        wanted = {"memory.limit_in_bytes": str(64 << 20), "cpu.cfs_quota_us": "200000", "cpu.shares": "1000"}
        assert found == wanted | {"pids.max": "4096"}


async def test_a_system_vm_gains_no_rights_and_a_guest_keeps_those_that_its_system_needs(stage):
    """The kernel is asked about the first process: whose it is, what it may never do, and that it goes through a filter."""
    system = ground.spec(16)
    await stage.driver.ensure_running(system)
    found = status_of(stage, system)
    assert ("2", "1") == (found["Seccomp"], found["NoNewPrivs"])
    assert int(found["Uid"].split()[0]) >= 8192 * 65536
    may_ever = int(found["CapBnd"], 16)
    assert {"sys_module": 0, "sys_rawio": 0, "sys_time": 0, "mknod": 0, "sys_ptrace": 0, "net_admin": 1} == {
        name: may_ever >> number & 1
        for name, number in
        {"sys_module": 16, "sys_rawio": 17, "sys_time": 25, "mknod": 27, "sys_ptrace": 19, "net_admin": 12}.items()
    }  # fmt: skip
    refused = config.seccomp(system), config.seccomp(ground.spec(17, kind=Kind.GUEST))
    assert [True, False] == ["bpf errno 1" in text for text in refused]
    assert [True, True] == ["open_by_handle_at errno 1" in text for text in refused]


def status_of(stage, spec) -> dict[str, str]:
    name = f"{spec.machine}.{spec.incarnation}"
    pid = ground.sh("lxc-info", "-P", str(stage.layout.lxc), "-n", name, "-p", "-H").strip()
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


async def test_each_machine_has_ids_of_its_own_and_is_root_only_inside(stage):
    one, two = ground.spec(10), ground.spec(11)
    bases = []
    for spec in (one, two):
        await stage.driver.ensure_running(spec)
        line = inside(stage, spec, "cat /proc/self/uid_map").split()
        bases.append(int(line[1]))
        assert (line[0], line[2]) == ("0", "65536")
    assert abs(bases[0] - bases[1]) >= 65536
    owner = (stage.layout.incarnation(one.machine, 1) / "state" / "started").stat().st_uid
    assert owner == bases[0]


async def test_a_router_can_make_interfaces_also_where_no_udev_has_opened_the_node(stage):
    """The kernel makes it for root alone, and a container's root is not root."""
    driver.TUN.chmod(0o600)
    spec = ground.spec(18)
    await stage.driver.ensure_running(spec)
    assert "opened" in inside(stage, spec, "exec 3<> /dev/net/tun && echo opened")


async def test_a_system_vm_reads_its_boot_data_and_cannot_change_it(stage):
    spec = ground.spec(10)
    await stage.driver.ensure_running(spec)
    boot = json.loads(inside(stage, spec, "cat /sysvm/boot/boot.json"))
    assert (boot["machine"], boot["incarnation"], boot["state_key"]) == (spec.machine, 1, "a secret")
    assert "failed" in inside(stage, spec, "touch /sysvm/boot/x 2>/dev/null && touch /sysvm/host/x || echo failed")


async def test_the_template_is_never_written(stage):
    spec = ground.spec(10)
    await stage.driver.ensure_running(spec)
    inside(stage, spec, "echo changed > /etc/changed; echo changed > /usr/lib/sysvm/init")
    root = stage.layout.template_root("busybox")
    assert not (root / "etc/changed").exists()
    assert "changed" not in (root / "usr/lib/sysvm/init").read_text()
    assert root.stat().st_uid == 0


async def test_a_new_incarnation_has_a_fresh_root_and_a_fresh_state(stage):
    spec = ground.spec(10)
    await stage.driver.ensure_running(spec)
    inside(stage, spec, "touch /etc/old /sysvm/state/old")
    new = msgspec.structs.replace(spec, incarnation=2)
    await stage.driver.ensure_running(new)
    assert inside(stage, new, "ls /etc/old /sysvm/state/old 2>/dev/null || true") == ""


async def test_a_store_is_seen_inside_and_what_is_written_belongs_to_root_on_the_host(stage, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    (store / "image").write_text("bytes")
    mount = ImageStoreMount(store="s1", path=str(store))
    spec = ground.spec(10, kind=Kind.SECONDARY_STORAGE, stores=(mount,))
    await stage.driver.ensure_running(spec)
    assert inside(stage, spec, "cat /sysvm/store/s1/image; echo new > /sysvm/store/s1/new") == "bytes"
    assert ((store / "new").stat().st_uid, (store / "new").read_text()) == (0, "new\n")
    await stage.driver.ensure_removed(spec.machine, 1, kept_network=False)
    assert sorted(file.name for file in store.iterdir()) == ["image", "new"]


async def test_a_guest_runs_from_its_volume_which_outlives_it(stage, tmp_path):
    volume = tmp_path / "pool/volumes/v1"
    (stage.layout.template_root("busybox")).rename(tmp_path / "guest")
    volume.parent.mkdir(parents=True)
    (tmp_path / "guest").rename(volume)
    (volume / "usr/lib/sysvm/init").rename(volume / "sbin/init")
    (volume / "sbin/init").write_text("#!/bin/sh\ntrap 'exit 0' PWR\nwhile :; do sleep 1 & wait $!; done\n")
    disk = Disk(volume="v1", pool=str(tmp_path / "pool"), size=1, format="dir")
    spec = ground.spec(10, kind=Kind.GUEST, disks=(disk,))
    await stage.driver.ensure_running(spec)
    inside(stage, spec, "echo mine > /etc/mine")
    assert stage.driver.channel(spec.machine, 1) is None
    assert isinstance(stage.driver.console(spec.machine), TextCommand)
    await stage.driver.ensure_removed(spec.machine, 1, kept_network=False)
    assert ((volume / "etc/mine").read_text(), (volume / "etc/mine").stat().st_uid) == ("mine\n", 0)
    assert await stage.leftovers() == []


async def test_a_machine_without_its_template_is_refused_with_its_name(stage):
    spec = msgspec.structs.replace(ground.spec(10), template="gone")
    with pytest.raises(Exception, match="template 'gone' is not on this host"):
        await stage.driver.ensure_running(spec)
    assert [seen.power for seen in await stage.driver.look(spec.machine)] == [Power.STOPPED]
    await stage.driver.ensure_removed(spec.machine, 1, kept_network=False)
    assert await stage.leftovers() == []


async def test_two_hosts_on_one_machine_do_not_see_each_other(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    async with stages.lxc(tmp_path / "a") as one, stages.lxc(tmp_path / "b") as two:
        spec = ground.spec(10)
        await one.driver.ensure_running(spec)
        await two.driver.ensure_running(spec)
        await one.driver.ensure_removed(spec.machine, 1, kept_network=False)
        assert await one.driver.look_all() == ()
        assert [seen.power for seen in await two.driver.look_all()] == [Power.RUNNING]


def test_paths_with_spaces_are_written_as_lxc_reads_them():
    from sysvm.hosts.lxc.config import Places, render

    path = Path("/a b")
    places = Places(path, path, path, path, path, path, path, "g", 1, 2000, path)
    text = render(ground.spec(10), places, unified_cgroup=True)
    assert "lxc.mount.entry = /a\\040b/state sysvm/state none bind,create=dir 0 0" in text
