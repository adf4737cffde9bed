"""Volumes and images of a pool, with the real qemu-img and tar."""

import asyncio
import hashlib
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from sysvm.basics.edge import install
from sysvm.basics.errors import NotYet, Refused
from sysvm.hosts.storage import qcow2
from sysvm.hosts.storage.pools import image_file, list_images, list_volumes, volume_file
from sysvm.hosts.storage.volumes import ensure_volume, remove_image, remove_volume
from sysvm.wire.link import EnsureVolume, RemoveImage, RemoveVolume

MIB = 1024 * 1024


@pytest.fixture
def pool(tmp_path) -> str:
    """A primary storage pool."""
    return str(tmp_path / "pool")


def add_image(pool: str, file: Path, fmt: str) -> str:
    """Puts a file into the pool as an image; its digest."""
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    place = image_file(pool, sha256, fmt)
    place.parent.mkdir(parents=True, exist_ok=True)
    file.rename(place)
    return sha256


def make_qcow2(file: Path, *words: str) -> Path:
    """An image made by qemu-img."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *words[:-1], str(file), words[-1]], check=True)
    return file


@pytest.fixture
def template(pool, tmp_path) -> str:
    """A qcow2 image of 4 MiB with one non-zero cluster."""
    file = make_qcow2(tmp_path / "t.qcow2", "4M")
    subprocess.run(["qemu-io", "-c", "write -P 7 0 64k", str(file)], check=True, capture_output=True)
    return add_image(pool, file, "qcow2")


def order(pool: str, **more) -> EnsureVolume:
    return EnsureVolume(**{"pool": pool, "volume": "vol-1", "size": 8 * MIB, "format": "qcow2", **more})


def first_byte(path: Path) -> int:
    """What a guest reads at the start of its disk."""
    out = subprocess.run(["qemu-io", "-r", "-c", "read -v 0 1", str(path)], check=True, capture_output=True, text=True)
    return int(out.stdout.split()[1], 16)


async def test_a_volume_is_an_overlay_on_its_template_and_is_made_once(pool, template):
    made = await ensure_volume(order(pool, template=template))
    path = volume_file(pool, "vol-1", "qcow2")
    inode = path.stat().st_ino
    assert (8 * MIB, 7, f"../images/{template}.qcow2") == (made.size, first_byte(path), qcow2.read(path).backing)
    assert made == await ensure_volume(order(pool, template=template))
    assert inode == path.stat().st_ino


async def test_a_volume_is_never_smaller_than_its_template_and_never_shrinks(pool, template):
    assert (await ensure_volume(order(pool, template=template, size=MIB))).size == 4 * MIB
    assert (await ensure_volume(order(pool, size=MIB))).size == 4 * MIB


async def test_a_volume_grows_and_keeps_what_is_in_it(pool, template):
    await ensure_volume(order(pool, template=template))
    assert (await ensure_volume(order(pool, size=16 * MIB))).size == 16 * MIB
    assert first_byte(volume_file(pool, "vol-1", "qcow2")) == 7


async def test_a_volume_waits_for_its_template(pool):
    with pytest.raises(NotYet, match="is not on primary storage"):
        await ensure_volume(order(pool, template="0" * 64))
    assert list_volumes([pool]) == ()


async def test_volumes_and_images_are_listed_and_removed_twice(pool, template):
    await ensure_volume(order(pool, template=template))
    assert (f"{pool}/vol-1",) == list_volumes([pool])
    assert (f"{pool}/{template}",) == list_images([pool])
    with pytest.raises(Refused, match="is used by volume vol-1"):
        await remove_image(RemoveImage(pool=pool, sha256=template, format="qcow2"))
    for _ in range(2):
        await remove_volume(RemoveVolume(pool=pool, volume="vol-1", format="qcow2"))
        assert list_volumes([pool]) == ()
    for _ in range(2):
        await remove_image(RemoveImage(pool=pool, sha256=template, format="qcow2"))
    assert [path for path in Path(pool).rglob("*") if path.is_file()] == []


class Crash(Exception):
    """The process died here."""


@pytest.mark.parametrize("fmt", ["qcow2", "dir"])
async def test_a_crash_before_the_name_leaves_no_volume_and_no_litter_after_the_next_call(pool, fmt):
    async def die(name: str) -> None:
        raise Crash(name)

    install(die)
    with pytest.raises(Crash):
        await ensure_volume(order(pool, format=fmt))
    install(None)
    assert list_volumes([pool]) == ()
    await ensure_volume(order(pool, format=fmt))
    assert [volume_file(pool, "vol-1", fmt)] == list((Path(pool) / "volumes").iterdir())


async def test_two_callers_of_one_volume_make_one(pool, template):
    made = await asyncio.gather(*(ensure_volume(order(pool, template=template)) for _ in range(4)))
    assert {8 * MIB} == {one.size for one in made}
    assert [entry.name for entry in (Path(pool) / "volumes").iterdir()] == ["vol-1.qcow2"]


@pytest.mark.skipif(os.geteuid() != 0, reason="unpacks owners")
async def test_a_folder_volume_is_the_archive_with_owners_and_without_devices(pool, tmp_path):
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/name").write_text("x")
    os.chown(tree / "etc/name", 1234, 1235)
    (tree / "dev").mkdir()
    os.mknod(tree / "dev/null", 0o020666, os.makedev(1, 3))
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        archive.add(tree, ".")
    sha256 = add_image(pool, tmp_path / "t.tar", "tar")
    await ensure_volume(order(pool, format="dir", template=sha256))
    root = volume_file(pool, "vol-1", "dir")
    assert ((root / "etc/name").stat().st_uid, (root / "etc/name").stat().st_gid) == (1234, 1235)
    assert list((root / "dev").iterdir()) == []


async def test_an_archive_cannot_write_outside_of_its_folder(pool, tmp_path):
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("out/escaped"))
    sha256 = add_image(pool, tmp_path / "t.tar", "tar")
    try:
        await ensure_volume(order(pool, format="dir", template=sha256))
    except NotYet:
        assert list_volumes([pool]) == ()
    assert not (tmp_path / "escaped").exists()


async def test_an_archive_larger_than_its_volume_is_refused(pool, tmp_path):
    (tmp_path / "big").write_bytes(b"x" * MIB)
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        archive.add(tmp_path / "big", "big")
    sha256 = add_image(pool, tmp_path / "t.tar", "tar")
    with pytest.raises(Refused, match="unpacks to"):
        await ensure_volume(order(pool, format="dir", template=sha256, size=1000))
    assert list_volumes([pool]) == ()


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden", "x" * 65])
def test_a_name_that_could_lead_elsewhere_is_refused(pool, name):
    with pytest.raises(Refused):
        volume_file(pool, name, "qcow2")


@pytest.mark.parametrize("folder", ["relative", "/a/../b"])
def test_a_pool_is_an_absolute_path(folder):
    with pytest.raises(Refused):
        volume_file(folder, "v", "qcow2")


# ---------------------------------------------------------------- headers
def test_an_image_that_stands_alone_is_taken(tmp_path):
    assert qcow2.why_not_alone(make_qcow2(tmp_path / "a", "64M").read_bytes()) == ""


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("it has a backing file", ("-u", "-b", "/etc/shadow", "-F", "raw", "1M")),
        ("it has an external data file", ("-o", "data_file={tmp}/data", "1M")),
        ("it has an external data file", ("-o", "data_file={tmp}/data,data_file_raw=on", "1M")),
    ],
)
def test_an_image_that_shows_other_files_is_refused(tmp_path, why, words):
    file = make_qcow2(tmp_path / "a", *(word.format(tmp=tmp_path) for word in words))
    assert why == qcow2.why_not_alone(file.read_bytes())


@pytest.mark.parametrize("head", [b"", b"QFI\xfb", b"QFI\xfb" + b"\xff" * 500, b"x" * 500])
def test_what_is_no_qcow2_is_refused(head):
    assert qcow2.why_not_alone(head) != ""
