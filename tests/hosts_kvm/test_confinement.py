"""What a QEMU may do on its host: the kernel is asked about the process, and files are tried as its user."""

import asyncio
import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from sysvm.hosts.kvm import domain
from sysvm.hosts.kvm.driver import KvmDriver
from sysvm.hosts.layout import image_path
from sysvm.hosts.storage.pools import volume_file
from sysvm.hosts.system import access, netns
from sysvm.hosts.system.userids import GROUP
from sysvm.wire.machines import Iso, Kind, MachineSpec
from tests.hosts_kvm.disks import MIB, a_disk, a_guest, live, take, write_live
from tests.hosts_kvm.stage import KvmStage

pytestmark = pytest.mark.root


def status_of(pid: int) -> dict[str, str]:
    """What the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def user_of(pid: int) -> int:
    """Real, effective, saved and of files: all the same."""
    (uid,) = set(status_of(pid)["Uid"].split())
    return int(uid)


def may(uid: int, what: str, path: Path) -> bool:
    """Whether this user may read (r), write (w) or list (x) there, with QEMU's group and nothing else."""
    words = {"r": ("head", "-c", "1"), "w": ("dd", "if=/dev/null", "conv=notrunc,nocreat", "status=none"), "l": ("ls",)}
    target = f"of={path}" if what == "w" else str(path)
    one = ("setpriv", f"--reuid={uid}", f"--regid={GROUP}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all")
    return subprocess.run([*one, *words[what], target], capture_output=True).returncode == 0


def seen_by(uid: int, path: Path) -> str:
    return "".join(what for what in "rw" if may(uid, what, path))


async def another_guest(stage: KvmStage, pool: str, number: int, name: str) -> MachineSpec:
    disk = await a_disk(pool, name, MIB, 0)
    spec = stage.spec(number, kind=Kind.GUEST, disks=(disk,))
    await stage.driver.ensure_running(spec)
    return spec


async def test_qemu_is_a_user_of_its_own_without_rights(stage: KvmStage, tmp_path: Path):
    guest, system = await a_guest(stage, str(tmp_path / "pool"), 20), stage.spec(21)
    await stage.driver.ensure_running(system)
    pids = [stage.pid_of(spec) for spec in (guest, system)]
    for pid in pids:
        status = status_of(pid)
        assert {str(GROUP)} == set(status["Gid"].split())
        assert str(GROUP) == status["Groups"]
        assert {"0" * 16} == {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
        assert ("1", "2") == (status["NoNewPrivs"], status["Seccomp"])
    assert 2 == len({user_of(pid) for pid in pids} - {0})


async def test_its_user_has_its_own_files_and_nobody_elses(stage: KvmStage, tmp_path: Path):
    pool, layout = str(tmp_path / "pool"), stage.layout
    spec, system = await a_guest(stage, pool, 22), stage.spec(24)
    other = await another_guest(stage, pool, 23, "other")
    await stage.driver.ensure_running(system)
    (layout.tls).mkdir(parents=True, exist_ok=True, mode=0o700)
    key = layout.tls / "key.pem"
    key.write_text("a key")
    key.chmod(0o600)
    uid = user_of(stage.pid_of(spec))
    root, image = volume_file(pool, "root", "qcow2"), image_path(pool, "b" * 64, "qcow2")
    assert ("rw", "r") == (seen_by(uid, root), seen_by(uid, image))
    foreign = [
        volume_file(pool, "other", "qcow2"),
        layout.incarnation(system.machine, 1) / "state.img",
        layout.incarnation(system.machine, 1) / "console.log",
        layout.boot(system.machine, 1) / "boot.img",
        layout.spec(other.machine, 1),
        layout.host / "ids.json",
        layout.libvirt / "etc/qemu.conf",
        key,
    ]
    assert [] == [path for path in foreign if not path.exists()]
    assert {} == {path: found for path in foreign if (found := seen_by(uid, path))}
    folders = [image.parent, root.parent, layout.run, layout.channel(other.machine, 1), layout.boot(system.machine, 1).parent]
    assert [] == [folder for folder in folders if may(uid, "l", folder)]
    assert may(user_of(stage.pid_of(other)), "r", foreign[0]), "its owner may"


async def test_its_user_speaks_to_nobody_in_the_hosts_network(stage: KvmStage):
    """Somebody listens in the namespace; root reaches him, the user of a QEMU does not."""
    await stage.driver.ensure_running(spec := stage.spec(27))
    uid = user_of(stage.pid_of(spec))
    listener = netns.socket_in(stage.layout.namespace)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    port = listener.getsockname()[1]
    assert [True, False] == [await asyncio.to_thread(reaches, stage, who, port) for who in (0, uid)]
    listener.close()


def reaches(stage: KvmStage, uid: int, port: int) -> bool:
    """Whether a user has a connection; one that is dropped goes nowhere, so that a second says enough."""
    words = ["nsenter", f"--net={stage.layout.namespace_path}", "setpriv", f"--reuid={uid}", f"--regid={GROUP}", "--clear-groups"]
    call = f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)"
    return subprocess.run([*words, "/usr/bin/python3", "-c", call], capture_output=True).returncode == 0


async def test_disks_images_and_copies_come_to_a_guest_and_go_with_its_user(stage: KvmStage, tmp_path: Path):
    pool = str(tmp_path / "pool")
    spec = await a_guest(stage, pool, 25)
    uid = user_of(stage.pid_of(spec))
    data, iso = await a_disk(pool, "data", MIB, 1), image_path(pool, "a" * 64, "iso")
    iso.write_bytes(b"\0" * MIB)
    iso.chmod(0o600)
    more = msgspec.structs.replace(spec, disks=(*spec.disks, data), iso=Iso(pool=pool, image="a" * 64))
    await stage.has(more)
    assert ({"vda", "vdb"}, str(iso)) == (set((await live(stage, spec)).disks), (await live(stage, spec)).iso)
    file = volume_file(pool, "data", "qcow2")
    assert (uid, 0o600) == (file.stat().st_uid, file.stat().st_mode & 0o777)
    await take(stage, pool, "s1", live=True)
    assert "" == seen_by(uid, Path(pool) / "staged/s1.qcow2"), "a copy is the host's when it is whole"
    await stage.driver.ensure_stopped(spec.machine, 1, 0)
    await stage.driver.ensure_running(spec)
    assert 0 == file.stat().st_uid, "what it has lost is root's again"
    await stage.driver.ensure_removed(spec.machine, 1, kept_network=False)
    assert 0 == volume_file(pool, "root", "qcow2").stat().st_uid


async def test_a_guest_that_an_earlier_release_runs_as_root_goes_on_and_is_confined_at_its_next_start(
    stage: KvmStage, tmp_path: Path
):
    pool = str(tmp_path / "pool")
    spec = await another_guest(stage, pool, 26, "root")
    await stage.driver.ensure_stopped(spec.machine, 1, 0)
    await start_as_root(stage.driver, spec)
    assert 0 == user_of(pid := stage.pid_of(spec))
    await stage.driver.ensure_running(spec)
    data = await a_disk(pool, "data", MIB, 1)
    await stage.driver.ensure_disks(msgspec.structs.replace(spec, disks=(*spec.disks, data)))
    await take(stage, pool, "s1", live=True)
    line = await stage.driver.line_to(volume_file(pool, "root", "qcow2"))
    assert line is not None
    await write_live(line, "write -P 9 0 64k")
    assert (pid, {"vda", "vdb"}) == (stage.pid_of(spec), set((await live(stage, spec)).disks))
    await stage.driver.ensure_stopped(spec.machine, 1, 0)
    await stage.driver.ensure_running(msgspec.structs.replace(spec, disks=(*spec.disks, data)))
    uid = user_of(stage.pid_of(spec))
    assert {uid} == {volume_file(pool, name, "qcow2").stat().st_uid for name in ("root", "data")} != {0}


async def start_as_root(driver: KvmDriver, spec: MachineSpec) -> None:
    """As releases before users did: a domain that names none, and files that are root's."""
    places = driver._places(spec)
    xml = domain.domain_xml(spec, places, host=driver._layout.hash8, accelerated=False)
    for disk in spec.disks:
        os.chown(volume_file(disk.pool, disk.volume, "qcow2"), 0, 0)
    os.chown(places.sockets, 0, 0)
    await driver._libvirt.call(lambda connection: connection.defineXML(xml).create())


MODE = access.of_mode(0o750)


@pytest.mark.parametrize(
    ("entries", "group", "rights", "allowed"),
    [
        (MODE, 7, access.WALK, False),
        (access.of_mode(0o751), 7, access.WALK, True),
        (access.with_group(MODE, 7, access.WALK), 7, access.WALK, True),
        (access.with_group(MODE, 7, access.WALK), 7, access.READ, False),
        (access.with_group(MODE, 7, access.WALK), 8, access.WALK, False),
        (access.with_group(access.of_mode(0o755), 7, 0), 7, access.WALK, False),
        ([*[one for one in access.with_group(MODE, 7, 1) if one[0] != 16], (16, 4, 0)], 7, access.WALK, False),
    ],
)
def test_access_lists(entries: list[access.Entry], group: int, rights: int, allowed: bool):
    assert allowed is access.allows(access.parse(access.written(entries)), group, rights)


def test_the_kernel_takes_our_lists_and_others_keep_their_rights(tmp_path: Path):
    folder = tmp_path / "shut"
    folder.mkdir(mode=0o700)
    for group in (7, 8, 7):
        access.allow(folder, group, access.WALK)
    assert [(7, 1), (8, 1)] == [(n, given) for tag, given, n in access.parse(access.written(access._entries(folder))) if tag == 8]
    folder.chmod(0o700)  # which masks them
    access.allow(folder, 7, access.WALK)
    entries = access._entries(folder)
    assert (True, False) == tuple(access.allows(entries, group, access.WALK) for group in (7, 8)), "nobody gains by it"
